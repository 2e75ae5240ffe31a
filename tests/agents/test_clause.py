"""When another wording keeps a clause, when it breaks it, and what lets go of it."""

from __future__ import annotations

import pytest

from limner.agents.clause import Clause, singular, told
from limner.agents.intent_words import clauses_of
from limner.promptdb.records import Conditioning


def clause(prompt: str, kind: str) -> Clause:
    return next(item for item in clauses_of(Conditioning(prompt)) if item.kind == kind)


@pytest.mark.parametrize(
    ("prompt", "kind", "text", "broken"),
    [
        ("three owls", "count", "3 owls on a branch", False),
        ("3 owls", "count", "Three sleepy old owls", False),
        ("three owls", "count", "four owls", True),
        ("three owls", "count", "owls, three moons", True),
        ("three owls", "count", "some owls", True),
        ("three owls", "count", "three birds", True),
        ("three owls", "count", "three hats on owls", True),
        ("three owls", "count", "three very old sleepy owls", True),  # "very" ends a phrase
        ("three owls", "count", "three old fat sleepy owls", False),
        ("three owls", "count", "three old fat sleepy grey owls", True),
        ("three owls", "count", "a forest, owls", True),
        ("two foxes", "count", "two fox cubs", False),
        ("two foxes", "count", "a fox", True),
        ("two gas stoves", "count", "two gas stoves", False),
        ("two berries", "count", "2 berry", False),
        ("two buses", "count", "two bus stops, buses", True),
        ("two dresses", "count", "two dress", False),
        ("a pair of boots", "count", "two old boots", False),
        ("a pair of boots", "count", "a pair of old boots", False),
        ("2boys", "count", "two boys", True),  # a tag is kept as a tag
        ("a red van", "colour", "a red delivery van", False),
        ("a red van", "colour", "a red, van", True),
        ("a red van", "colour", "a blue van", True),
        ("a red van", "colour", "a van in a red garage", True),
        ("a red van", "colour", "a red hat on a van", True),
        ("a red van", "colour", "red and rusty vans", False),
        ("a red van", "colour", "a red lorry", False),
        ("a red van", "colour", "a blue lorry", True),
        ("grey walls", "colour", "gray stone wall", False),
        ("a red van and a blue van", "colour", "a red van, a blue van", False),
        ("a red van and a blue van", "colour", "a blue van, another blue van", True),
        ('a sign "OPEN 24H"', "quoted text", "neon sign, OPEN 24H", False),
        ('a sign "OPEN 24H"', "quoted text", 'neon sign, "open 24h"', True),
        ('a sign "OPEN 24H"', "quoted text", 'neon sign, "OPEN"', True),
        ("“one, two” on a wall", "quoted text", 'wall, "one,  two"', False),
        ("art by Ines Falk", "name", "etching by ines falk", False),
        ("art by Ines Falk", "name", "etching by Falk", True),
        ("a street, no cars", "negation", "a street at dawn", False),
        ("a street, no cars", "negation", "a street, no cars, dawn", False),
        ("a street, no cars", "negation", "a street without any cars", False),
        ("a street, no cars", "negation", "a street, red car", True),
        ("a street, no cars", "negation", "a street with cars", True),
        ("a street, no cars", "negation", "a street, no cars, two cars", True),
        ("a street, no cars", "negation", "a street, cartoon", False),
        ("a box without lids or hinges", "negation", "a box without lids or hinges, oak", False),
        ("no foxes", "negation", "a fox", True),
    ],
)
def test_what_another_wording_keeps(prompt: str, kind: str, text: str, broken: bool) -> None:
    assert clause(prompt, kind).broken_by(text) is broken


@pytest.mark.parametrize(
    ("wish", "gone"),
    [
        *((wish, True) for wish in ("all", "counts", "count", "COUNT", "owls", "three owls", "three old owls", "Three  Old owls")),
        *((wish, False) for wish in ("names", "owl", "", " ", "four owls")),
    ],
)
def test_what_lets_go_of_a_clause(wish: str, gone: bool) -> None:
    assert clause("three old owls", "count").let_go_by([wish]) is gone
    assert not clause("three old owls", "count").let_go_by([])


def test_what_a_search_may_not_replace() -> None:
    assert clause("three old owls", "count").fixed == ("three", "owls")
    assert clause("a red delivery van", "colour").fixed == ("red",)
    assert clause("art by Ines Falk", "name").fixed == ("Ines Falk",)
    assert clause("no cars", "negation").fixed == ()


def test_which_keywords_hold_what_must_stay() -> None:
    van = clause("a red delivery van", "colour")
    assert van.concerns("red van") and van.concerns("a red delivery van") and not van.concerns("warm light")
    assert not clause("no cars", "negation").concerns("cars")


def test_a_network_is_neither_words_of_the_prompt_nor_lost_with_them() -> None:
    tag = Clause("network", "<lora:moss:1>", "<lora:moss:1>")
    assert tag.broken_by("fern") is False and tag.concerns("<lora:moss:1>") is False and tag.fixed == ()


@pytest.mark.parametrize(
    ("word", "one"),
    [
        *(("owls", "owl"), ("glass", "glass"), ("gas", "gas"), ("bus", "bus"), ("boxes", "box"), ("dishes", "dish"), ("ties", "tie")),
        *(("flies", "fly"), ("ies", "ies"), ("Birches", "birch"), ("dresses", "dress"), ("bees", "bee"), ("sses", "sse")),
    ],
)
def test_words_are_compared_without_a_plural_s(word: str, one: str) -> None:
    assert singular(word) == one


def test_a_person_is_told_in_one_line_with_the_way_out() -> None:
    prompt = 'three owls, a shop sign "OPEN", grey walls, no cars'
    assert told(clauses_of(Conditioning(prompt))) == [
        'kept by itself: "OPEN" (quoted text), three owls (count), grey walls (colour); '
        "kept out by itself, by the negative prompt too: cars; let go with --let-go"
    ]
    assert told([]) == []
    eight = ", ".join(f"{number} owls" for number in range(2, 10))
    assert told(clauses_of(Conditioning(eight)))[0].endswith("9 owls (count); let go with --let-go")
    nine = ", ".join(f"{number} owls" for number in range(2, 11))
    assert told(clauses_of(Conditioning(nine)))[0].endswith("9 owls (count) and 1 more; let go with --let-go")
