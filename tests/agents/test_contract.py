"""The intent contract on the string: what counts as lost, negated or banned, and that the later wish wins."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.agents.contract import Contract
from limner.agents.intent_words import clauses_of
from limner.promptdb.errors import BadInput
from limner.promptdb.records import Conditioning


@pytest.mark.parametrize(
    ("contract", "text", "negative", "breach"),
    [
        (Contract(pins=("red car",)), "a Red  car, sharp", "", None),
        (Contract(pins=("red car",)), "a car that is red", "", "lost pin"),
        (Contract(pins=("car",)), "a scar", "", "lost pin"),
        (Contract(pins=("car",)), "a car", "car, blurry", "negated pin"),
        (Contract(triggers=("oHwX man",)), "a photo of oHwX man", "", None),
        (Contract(triggers=("oHwX man",)), "a photo of ohwx man", "", "lost trigger"),
        (Contract(bans=("8k",)), "a car, 8K", "", "banned word"),
        (Contract(bans=("8k",)), "a car", "8k", None),
        (Contract(traits=("blue eyes",)), "a cat", "", None),
    ],
)
def test_breaches(contract: Contract, text: str, negative: str, breach: str | None) -> None:
    found = contract.breach(text, negative)
    assert (found[0] if found else None) == breach


def test_pinned_and_banned_at_once_is_refused_and_the_later_wish_counts() -> None:
    with pytest.raises(BadInput, match="both pinned and banned"):
        Contract(pins=("red car",), bans=("car",)).check()
    changed = Contract(pins=("car",)).adding("bans", ["Car"])
    assert changed == Contract(bans=("Car",))
    assert changed.adding("pins", ["car"]) == Contract(pins=("car",))


def test_a_prompt_that_holds_a_banned_word_is_refused_before_anything_is_drawn() -> None:
    with pytest.raises(BadInput, match="banned words 'car'"):
        Contract(bans=("car",)).check_prompt("a red car")


@given(st.lists(st.text(min_size=1, max_size=20), max_size=4), st.lists(st.text(min_size=1, max_size=20), max_size=4))
def test_json_keeps_it_whole(pins: list[str], bans: list[str]) -> None:
    contract = Contract().adding("pins", pins).adding("bans", bans)
    assert Contract.from_json(contract.to_json()) == contract


@pytest.mark.parametrize("clause", ["pins", "triggers", "bans", "traits"])
def test_a_contract_with_any_clause_is_one(clause: str) -> None:
    assert Contract(**{clause: ("x",)}) and not Contract()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("contract", "refusal"),
    [
        (Contract(pins=("red car",), bans=("blue",)), ""),
        (Contract(pins=("red car",), bans=("car",)), "both pinned and banned"),
        (Contract(triggers=("ohwx",), bans=("OHWX",)), "both pinned and banned"),
        (Contract(pins=("car",), bans=("red car",)), ""),  # a pin may be part of what is banned
        (Contract(pins=("car",), bans=("",)), ""),
        (Contract(pins=("x" * 120,)), ""),
        (Contract(pins=("x" * 121,)), "120 characters"),
        (Contract(bans=("x" * 121,)), "120 characters"),
        (Contract(traits=("x" * 121,)), "120 characters"),
    ],
)
def test_which_contracts_are_refused(contract: Contract, refusal: str) -> None:
    if not refusal:
        assert contract.check() is contract
    else:
        with pytest.raises(BadInput, match=refusal):
            contract.check()


@pytest.mark.parametrize(("ban", "refused"), [("car", True), ("CAR", True), ("scar", False), ("", False), (" ", False)])
def test_a_prompt_that_holds_a_banned_word_itself_is_refused(ban: str, refused: bool) -> None:
    contract = Contract(bans=("neon", ban))
    if refused:
        with pytest.raises(BadInput, match="itself holds"):
            contract.check_prompt("a red car")
    else:
        contract.check_prompt("a red car")


PROMPT = "three old owls on a grey wall, no cars, art by Ines Falk"


NOTHING = Contract()


def kept(contract: Contract = NOTHING, prompt: str = PROMPT) -> Contract:
    return contract.of(clauses_of(Conditioning(prompt)))


@pytest.mark.parametrize(
    ("text", "negative", "breach"),
    [
        ("three owls, grey stone wall, Ines Falk", "blurry, car", None),
        (PROMPT, "", None),
        ("owls on a grey wall, art by Ines Falk", "", "lost pin"),
        ("three owls, grey wall, Ines Falk, cars", "", "banned word"),
        ("three owls, grey wall, Ines Falk", "three owls", "negated pin"),
        ("three owls, grey wall, Ines Falk", "grey wall", "negated pin"),
        ("three owls, grey wall, Ines Falk", "cars", None),
    ],
)
def test_what_a_prompt_keeps_by_itself_is_checked_like_what_was_asked_for(text: str, negative: str, breach: str | None) -> None:
    found = kept().breach(text, negative)
    assert (found[0] if found else None) == breach


def test_what_was_let_go_of_is_not_checked() -> None:
    free = kept(Contract(let_go=("counts", "cars")))
    assert [item.kind for item in free.automatic] == ["colour", "name"]
    assert free.breach("an owl, grey wall, Ines Falk, a car") is None and free.unwanted == ()
    assert kept(Contract(let_go=("all",))).automatic == ()


def test_what_was_asked_for_counts_more_than_what_a_prompt_keeps_by_itself() -> None:
    assert [item.kind for item in kept(Contract(pins=("two cars",))).automatic] == ["count", "colour", "name"]
    assert [item.kind for item in kept(Contract(bans=("grey",))).automatic] == ["count", "name", "negation"]
    assert len(kept(Contract(bans=("", " "))).automatic) == 4


def test_the_words_of_a_negation_are_no_fault_of_the_prompt_that_says_it() -> None:
    asked = Contract(bans=("cars",))
    with pytest.raises(BadInput, match="itself holds"):
        asked.check_prompt(PROMPT)
    kept(asked).check_prompt(PROMPT)
    assert kept(asked).unwanted == ("cars",)
    with pytest.raises(BadInput, match="itself holds"):
        kept(asked, "no cars but some cars").check_prompt("no cars but some cars")


def test_what_a_search_must_not_replace_and_what_must_not_come_in() -> None:
    contract = kept(Contract(pins=("wall",), triggers=("ohwx",), bans=("8k", " ")))
    assert contract.fixed == ("wall", "ohwx", "three", "owls", "grey", "Ines Falk")
    assert contract.unwanted == ("8k", "cars") and bool(kept()) and contract.kept == ("wall", "ohwx")


def test_only_what_was_asked_for_is_written_down() -> None:
    contract = kept(Contract(pins=("wall",), let_go=("names",)))
    assert contract.to_json() == {"pins": ["wall"], "triggers": [], "bans": [], "traits": [], "let_go": ["names"]}
    assert Contract.from_json(contract.to_json()) == Contract(pins=("wall",), let_go=("names",))
    assert "let_go" not in Contract().to_json()
