"""A1111's language: what is written is read by an evaluator of our own, which follows its documentation step by step."""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction as F

import pytest
from hypothesis import example, given, settings

from limner.promptdb.errors import BadInput
from limner.promptdb.records import Conditioning, EffectSpan
from limner.tools.prompt_language.a1111 import read_a1111, write_a1111
from limner.tools.prompt_language.assemble import LocatedError
from limner.tools.prompt_language.fidelity import worst
from limner.tools.prompt_language.parse import read
from limner.tools.prompt_language.schedule import elapsed_by_step, segments
from tests.tools.prompt_language.prompts import STEPS, conditionings, prompts_of_words

ESCAPABLE = "\\()[]|:"
OPEN, WEIGHT, CLOSE, HIDDEN = "\ud800", "\ud801", "\ud802", 0xDC00  # surrogates, which no prompt holds


def said_at(prompt: str, call: int, steps: int) -> tuple[str, int]:
    """Text of a prompt of A1111's at a model call, and how many stretches of it are emphasized, by rewriting innermost brackets until none
    is left. By its documentation, [from:to:n] is `from` for the first n steps."""
    text = re.sub(r"\\(.)", lambda match: chr(HIDDEN + ESCAPABLE.index(match[1])), prompt, flags=re.DOTALL)
    text = re.sub(r"\(([^()]*):([\d.]+)\)", rf"{OPEN}\1{WEIGHT}\2{CLOSE}", text)

    def square(match: re.Match[str]) -> str:
        *words, number = match[1].split(":")
        if not words:  # one of several pairs counts
            return match[1] if match[1].startswith(OPEN) and match[1].endswith(CLOSE) else f"{OPEN}{match[1]}{WEIGHT}{CLOSE}"
        before, after = ["", *words][-2:]
        return before if call < int(number) else after

    while (rewritten := re.sub(r"\[([^\[\]]*)\]", square, text)) != text:
        text = rewritten
    plain = re.sub(rf"{OPEN}|{WEIGHT}[\d.]*{CLOSE}", "", text)
    return re.sub("[\udc00-\udc06]", lambda match: ESCAPABLE[ord(match[0]) - HIDDEN], plain), text.count(OPEN)


def no_words_that_divide(conditioning: Conditioning) -> bool:
    return not re.search(r"\b(?:AND|BREAK)\b", conditioning.text + "\n" + conditioning.negative)


@settings(max_examples=300, deadline=None)
@given(conditionings(), STEPS)
@example(read(r"[a\[b\]\:c:0.3-0.7:1.5]|(x:1.2)"), 10)
def test_with_absolute_steps_it_says_the_same_at_every_step(conditioning: Conditioning, steps: int) -> None:
    written = write_a1111(conditioning, steps)
    for segment in segments(conditioning.text, conditioning.spans, elapsed_by_step(steps)):
        for call in (segment.start, segment.stop - 1):
            text, emphasized = said_at(written.output, call, steps)
            assert text == re.sub(r"\b(?:AND|BREAK)\b", lambda match: match[0].lower(), segment.text)
            assert emphasized == len(segment.spans)


@settings(max_examples=300, deadline=None)
@given(conditionings().filter(no_words_that_divide), STEPS)
def test_there_and_back_keeps_the_steps_and_the_words(conditioning: Conditioning, steps: int) -> None:
    written = write_a1111(conditioning, steps)
    try:
        again, _ = read_a1111(written.output, written.negative, steps)
    except BadInput as error:  # a letter whose accent has other effects: the offsets of readers cannot tell them apart
        assert "accent" in str(error)
        return
    for before, after in (
        ((conditioning.text, conditioning.spans), (again.text, again.spans)),
        ((conditioning.negative, conditioning.negative_spans), (again.negative, again.negative_spans)),
    ):
        said = [spoken(text, spans, steps) for text, spans in (before, after)]
        assert said[0] == said[1]


def spoken(text: str, spans: tuple[EffectSpan, ...], steps: int) -> list[str]:
    """What is said at each step, without blanks, which brackets may have gathered or shed."""
    found = segments(text, spans, elapsed_by_step(steps))
    words = [unicodedata.normalize("NFC", "".join(segment.text.split())) for segment in found]
    return [word for word, segment in zip(words, found, strict=True) for _ in range(segment.start, segment.stop)]


@settings(max_examples=200, deadline=None)
@given(prompts_of_words(), STEPS)
def test_phrases_come_back_with_their_weights(conditioning: Conditioning, steps: int) -> None:
    places = elapsed_by_step(steps)
    written = write_a1111(conditioning, steps)
    again, _ = read_a1111(written.output, steps=steps)
    for left, right in zip(segments(conditioning.text, conditioning.spans, places), segments(again.text, again.spans, places), strict=True):
        assert (left.start, left.stop, left.text.split()) == (right.start, right.stop, right.text.split())
        weights = [[(item.text[span.start : span.end], float(span.weight)) for span in item.spans] for item in (left, right)]
        if worst(written.reasons) == "exact":
            assert weights[0] == weights[1]


@pytest.mark.parametrize(
    ("source", "steps", "written"),
    [
        ("a [cat:0.85-1:1]", 10, "a [cat::2]"),
        ("a [cat:0-0.5:1]", 25, "a [cat:13]"),
        ("a [cat:0.25-0.75:1.5]", 20, "a [[(cat:1.5)::15]:5]"),
        ("a [cat:0-1:1.5]", 20, "a (cat:1.5)"),
        ("a [cat:0-0.5:1], dog", 1, "a , dog"),
        (r"a (small\) [c:d:0-1:2]".replace("c:d", r"c\:d"), 20, r"a \(small\\\) (c\:d:2)"),
        ("a <lora:x:1> AND [b:0-1:2]", 20, r"a <lora\:x:1> and (b:2)"),
        ("[x:0-1:10/11]", 20, "[x]"),
        ("a [cat:0.5-1:1]", None, "a [cat::0.5]"),
        ("a [cat:0-0.25:2]", None, "a [(cat:2):0.75]"),
    ],
)
def test_what_is_written(source: str, steps: int | None, written: str) -> None:
    assert write_a1111(read(source), steps).output == written


def test_how_faithful_it_is() -> None:
    timed, weighted = read("[x:0.85-1:1]"), read("[x:0-1:1.5]")
    assert worst(write_a1111(timed, 10).reasons) == "exact"
    assert worst(write_a1111(timed).reasons) == "off-by-one"
    assert worst(write_a1111(read("[x:0-1/3:1]")).reasons) == "approximate"
    assert worst(write_a1111(weighted).reasons) == "exact"
    assert worst(write_a1111(read("[x:0-1:1/3]")).reasons) == "approximate"
    by_noise = Conditioning(timed.text, spans=timed.spans, range_unit="sigma")
    assert worst(write_a1111(by_noise, 10).reasons) == "unsupported"
    lerp = Conditioning(weighted.text, spans=weighted.spans, weight_mode="lerp_from_empty")
    assert worst(write_a1111(lerp).reasons) == "approximate"


@pytest.mark.parametrize(
    ("prompt", "meant"),
    [
        ("a (cat)", "a [cat:0-1:1.1]"),
        ("a ((cat))", "a [cat:0-1:1.21]"),
        ("a (big (cat:1.5):2)", "a [big:0-1:2] [cat:0-1:3]"),
        ("a [cat]", "a [cat:0-1:10/11]"),
        ("a [cat:dog:0.25]", "a [cat:0.75-1:1][dog:0-0.75:1]"),
        ("a [cat::0.25]", "a [cat:0.75-1:1]"),
        ("a [cat: .25]", "a [cat:0-0.75:1]"),
        ("a [(cat:1.5):5]", "a [cat:0-0.75:1.5]"),
        ("a [[cat::15]:5]", "a [cat:0.25-0.75:1]"),
        ("[a:[b:c:15]:5]", "[a:0.75-1:1][b:0.25-0.75:1][c:0-0.25:1]"),
        ("[[a::5]:15]b", "b"),
        ("a [cat:0]", "a cat"),
        ("a [cat:99]", "a"),
        (r"a \(cat\) \[x\] 16:9", r"a (cat) \[x\] 16:9"),
        (r"a (16\:9:2)", r"a [16\:9:0-1:2]"),
        (r"[a:0\-1:0.5]", "[a:0.5-1:1][0-1:0-0.5:1]"),
        ("a [b:c]", r"a [b\:c:0-1:10/11]"),
    ],
)
def test_what_its_language_means(prompt: str, meant: str) -> None:
    assert read_a1111(prompt, steps=20)[0] == read(meant)


def test_a_fraction_falls_on_the_step_where_a1111_s_floats_put_it() -> None:
    found, reasons = read_a1111("[x:0.29]", steps=100)
    [segment, _] = segments(found.text, found.spans, elapsed_by_step(100))
    assert (segment.start, segment.stop, segment.text) == (0, 28, "")
    assert worst(reasons) == "exact"
    assert worst(read_a1111("[x:0.29]")[1]) == "off-by-one"


@pytest.mark.parametrize(
    ("prompt", "at", "words"),
    [
        ("a [b|c]", 2, "no counterpart"),
        ("a [b:c:d:0.5]", 2, "colon"),
        ("a [b:1.5]", 2, "older versions"),
        ("a [b:-1]", 2, "number of steps"),
        ("a (b:-1)", 2, "at least 0"),
        ("a [cat:0-1:1.5]", 2, "--dialect df"),
        ("(" * 200 + ")" * 200, 100, "deep"),
    ],
)
def test_what_has_no_counterpart_is_an_error_at_its_place(prompt: str, at: int, words: str) -> None:
    with pytest.raises(LocatedError, match=re.escape(words)) as found:
        read_a1111(prompt, steps=20)
    assert found.value.at == at


def test_an_absolute_step_needs_to_know_among_how_many() -> None:
    with pytest.raises(LocatedError, match="--steps"):
        read_a1111("a [cat:5]")


def test_edits_fed_as_df_prompt_and_triples_fed_as_edits_are_refused() -> None:
    for prompt in ("a [cat:dog:0.5]", "a [cat:0.5]", "a [cat::0.5]"):
        with pytest.raises(LocatedError, match="--dialect a1111"):
            read(prompt)
    with pytest.raises(LocatedError, match="--dialect df"):
        read_a1111("a [cat:0.5-1:0.75]")


def test_weights_multiply_exactly() -> None:
    assert read_a1111("([cat])")[0] == Conditioning("cat")
    assert read_a1111("(((x)))")[0].spans[0].weight == F(1331, 1000)


def weights(prompt: str) -> list[tuple[str, float]]:
    """The stretches of a prompt with their weights, as A1111's parse_prompt_attention lists them."""
    read, found, position = read_a1111(prompt)[0], list[tuple[str, float]](), 0
    for span in (*read.spans, None):
        end = span.start if span else len(read.text)
        found += [(read.text[position:end], 1.0)] if position < end else []
        if span:
            found.append((read.text[span.start : span.end], round(float(span.weight), 6)))
            position = span.end
    return found


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("normal text", [("normal text", 1.0)]),
        ("an (important) word", [("an ", 1.0), ("important", 1.1), (" word", 1.0)]),
        ("(unbalanced", [("unbalanced", 1.1)]),
        ("[unbalanced", [("unbalanced", round(1 / 1.1, 6))]),
        (r"\(literal\]", [("(literal]", 1.0)]),
        ("(unnecessary)(parens)", [("unnecessaryparens", 1.1)]),
        ("1girl, :), (smile)", [("1girl, :), ", 1.0), ("smile", 1.1)]),
        (r">:) \o/ ]", [(">:) o/ ]", 1.0)]),
        ("(a [b) c", [("a", 1.1), (" b ", 1.0), ("c", round(1 / 1.1, 6))]),
        ("(none:0) left", [("none", 0.0), (" left", 1.0)]),
    ],
)
def test_emphasis_is_what_a1111_publishes_of_its_parser(prompt: str, expected: list[tuple[str, float]]) -> None:
    """The examples of parse_prompt_attention's own documentation, and what it makes of brackets out of balance."""
    assert weights(prompt) == expected


def test_the_longest_of_a1111s_published_examples() -> None:
    """Weights by value; a blank at the end of a stretch is outside of its span here, which changes no token."""
    found = weights("a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).")
    by_words = {words.strip(" ,."): weight for words, weight in found if words.strip(" ,.")}
    assert by_words == pytest.approx({"a": 1.1, "house": 1.573, "on": 1.0, "hill": 0.55, "sun": 1.1, "sky": 1.4641}, abs=1e-5)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("test", [(10, "test")]),
        ("a [b:3]", [(3, "a"), (10, "a b")]),
        ("a [b: 3]", [(3, "a"), (10, "a b")]),
        ("[(a:2):3]", [(3, ""), (10, "a")]),
        ("a [b : c : 1] d", [(1, "a b d"), (10, "a c d")]),
        ("a[b:[c:d:2]:1]e", [(1, "abe"), (2, "ace"), (10, "ade")]),
        ("a [unbalanced", [(10, "a unbalanced")]),
        ("a [b:.5] c", [(5, "a c"), (10, "a b c")]),
        ("((a][:b:c [d:3]", [(3, "a]:b:c"), (10, "a]:b:c d")]),
    ],
)
def test_edits_are_scheduled_as_a1111_publishes_it(prompt: str, expected: list[tuple[int, str]]) -> None:
    """The examples of get_learned_conditioning_prompt_schedules for 10 steps: (last step, words), blanks aside."""
    read = read_a1111(prompt, steps=10)[0]
    runs = segments(read.text, read.spans, elapsed_by_step(10))
    assert [(run.stop, " ".join(run.text.split())) for run in runs] == expected


def test_brackets_out_of_balance_are_said() -> None:
    assert [reason.level for reason in read_a1111("1girl, :)")[1]] == ["exact"]
    assert "closes nothing" in read_a1111("1girl, :)")[1][0].why and "never closed" in read_a1111("(a")[1][0].why
