"""Templates: choices and wildcards by the syntax of Dynamic Prompts, by a seed and one by one; braces of other tools left alone."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.promptdb.errors import BadInput
from limner.tools.prompt_language.wildcards import LONGEST, NO_WILDCARDS, is_template, parse, restored, take


class Names(dict[str, list[str]]):
    """Wildcards that need no files."""

    def values(self, name: str) -> Sequence[str]:
        if name not in self:
            raise BadInput(f"there is no wildcard {name!r}")
        return self[name]


NAMES = Names(
    season=["summer", "{autumn|fall}", "winter"],
    sky=["__season__ sky", "3::fog"],
    first=["__second__"],
    second=["a", "x __first__"],
    self=["__self__"],
    bomb0=["z"],
    **{f"bomb{number}": [f"__bomb{number - 1}__ __bomb{number - 1}__"] for number in range(1, 25)},
)


@pytest.mark.parametrize(
    ("template", "prompts"),
    [
        ("a {tin|clay} pot", ["a tin pot", "a clay pot"]),
        ("{0.5::dawn|0.1::noon} light", ["dawn light", "noon light"]),
        ("{2$$a|b|c}", ["a, b", "a, c", "b, a", "b, c", "c, a", "c, b"]),
        ("{1-2$$ and $$a|b}", ["a", "b", "a and b", "b and a"]),
        ("{-2$$a|b}", ["a", "b", "a, b", "b, a"]),
        ("{2-$$a|b}", ["a, b", "b, a"]),
        ("{9$$a|b}", ["a, b", "b, a"]),
        ("{2$$__season__}", None),
        ("__season__ is near", ["summer is near", "autumn is near", "fall is near", "winter is near"]),
        ("{old {oak|elm}|pine}", ["old oak", "old elm", "pine"]),
        ("a pot{, glazed|}", ["a pot, glazed", "a pot"]),
        ("({tin|clay}:1.2), <lora:{x|y}:0.5>", None),
        ("{a|a|b}", ["a", "b"]),
        ("{0::a|b}", ["b"]),
        ("{{tin|clay}}", ["{tin}", "{clay}"]),
        ("__sky__", ["summer sky", "autumn sky", "fall sky", "winter sky", "fog"]),
    ],
)
def test_every_prompt_of_a_template_in_turn(template: str, prompts: list[str] | None) -> None:
    found = list(parse(template).combinations(NAMES))
    assert prompts is None or found == prompts
    assert len(set(found)) == len(found) and {parse(template).expand(seed, NAMES) for seed in range(200)} == set(found)


@pytest.mark.parametrize(
    "text",
    [
        "a {masterpiece} cat, {{detailed}}, [dog|cat]",  # NovelAI's emphasis, A1111's alternation
        "a cat :} and a dog :{",
        "[dog|cat] :}",
        r"a \{tin\|clay\} pot",
        "<lora:my__own__style:0.8>, __, a_b__c, ____",
        '{"text": "a|b", "version": 1}',
        "costs $5, 50$$",
        "",
    ],
)
def test_text_that_can_be_something_else_is_no_template(text: str) -> None:
    assert not is_template(text)
    assert parse(text).expand(3) == text and list(parse(text).combinations()) in ([text], [" ".join(text.split())])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a {tin|clay pot", "character 3 is not closed"),
        ("a {tin|{clay|wood} pot", "character 3 is not closed"),
        ("{tin|clay} pot}", "character 15 closes no choice"),
        ("a tin|clay} pot", "closes no choice"),
        ("{a|2$$b|c}", "belongs at the beginning"),
        ("{3-2$$a|b}", "at least 3"),
        ("{0::a|0::b}", "weight 0"),
        ("${x=a} cat", "variables"),
        ("__a(b=c)__", "parameters"),
        ("{a|" * 60 + "b" + "}" * 60, "nested"),
        ("{a|b}" * 300, "parts"),
    ],
)
def test_a_template_that_cannot_be_read_is_one_line(text: str, words: str) -> None:
    with pytest.raises(BadInput, match=words) as error:
        parse(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"), [("__self__", "self -> self"), ("__first__", "first -> second -> first"), ("{a|__none__}", "'none'")]
)
def test_wildcards_that_call_themselves_or_do_not_exist_are_found_whatever_is_chosen(text: str, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        parse(text).check(NAMES)
    with pytest.raises(BadInput, match="--wildcards"):
        parse(text).check(NO_WILDCARDS)


def test_wildcards_that_call_ever_more_others_end_in_one_line() -> None:
    template = parse("__bomb24__")
    template.check(NAMES)
    for found in (lambda: template.expand(0, NAMES), lambda: next(template.combinations(NAMES))):
        with pytest.raises(BadInput, match=f"more than {LONGEST}"):
            found()


def test_weights_are_followed() -> None:
    counts = Counter(parse("{3::a|b|0.0::c}").expand(seed) for seed in range(2000))
    assert 0.7 < counts["a"] / 2000 < 0.8 and counts["c"] == 0


def test_combinations_are_made_one_at_a_time() -> None:
    many = parse(" ".join(["{a|b|c|d|e|f|g|h}"] * 40))
    assert take(many.combinations(), 3) == (["a " * 39 + each for each in "abc"], True)
    assert take(parse("{a|b}").combinations(), 2) == (["a", "b"], False)
    assert list(itertools.islice(many.combinations(limit=2), 5)) == ["a " * 39 + "a", "a " * 39 + "b"]


words = st.sampled_from(["a", "red fox", "at dawn", "", "x, y", "(z:1.1)"])


def choice(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    bound = st.sampled_from(["", "", "2$$", "1-2$$", "-2$$", "1-$$ + $$"])
    option = st.tuples(st.sampled_from(["", "", "2::", "0.5::"]), inner).map("".join)
    return st.tuples(bound, st.lists(option, min_size=2, max_size=3)).map(lambda parts: "{" + parts[0] + "|".join(parts[1]) + "}")


templates = st.recursive(
    words | st.just("__season__"),
    lambda inner: choice(inner) | st.lists(inner, min_size=1, max_size=3).map(" ".join),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(text=templates, seed=st.integers(0, 2**31))
def test_an_expansion_is_the_same_for_its_seed_has_no_marks_and_is_one_of_the_combinations(text: str, seed: int) -> None:
    template = parse(text)
    found = template.expand(seed, NAMES)
    assert found == template.expand(seed, NAMES)
    assert not set("{}|$") & set(found) and "__" not in found
    every, more = take(template.combinations(NAMES), 3000)
    assert more or " ".join(found.split()) in every


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("{}|$_\\:ab2-() <>,.*/"), max_size=40) | st.text(max_size=40))
def test_any_text_is_read_or_refused_in_one_line_and_comes_back_to_the_letter(text: str) -> None:
    try:
        template = parse(text)
    except BadInput as error:
        assert "\n" not in str(error)
        return
    assert restored(template.sheltered(), template.marks()) == text
    assert restored({"x": [template.sheltered(5), 1]}, [""] * 5 + template.marks()) == {"x": [text, 1]}
    if template.is_plain:
        assert template.expand(0) == text and not template.spans


def test_json_that_holds_bars_is_no_template() -> None:
    assert not is_template(json.dumps({"1": {"class_type": "CLIPTextEncode", "inputs": {"text": "{a|b}"}}}))
