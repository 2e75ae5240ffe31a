"""The language, read: every character is text, syntax or a located error."""

from __future__ import annotations

import re
import time
from fractions import Fraction as F
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.promptdb.records import Conditioning, EffectSpan, canonical_text
from limner.tools.prompt_language.assemble import LocatedError
from limner.tools.prompt_language.parse import parse, read
from limner.tools.prompt_language.write import write, write_negative
from tests.prompt_samples import SAMPLES, SHORT, bracketed, prompts
from tests.tools.prompt_language.prompts import TEXTS, conditionings

# what it means


def test_the_two_notations_of_a_range_mean_the_same() -> None:
    first_half = Conditioning("a cat", spans=(EffectSpan(2, 5, F(0), F(1, 2), F(3, 2)),))
    for written in ("0.5-1", "1->0.5", "1|->0.5", "1 → 0.5", "1↦.5", " 1/2 - 1.0 "):
        assert read(f"a [cat:{written}:1.5]") == first_half


def test_the_paper_s_examples_read_as_the_paper_means_them() -> None:
    friends = read(
        "illustration studio portrait of three friends dancing at a concert [in a scenic environment by beeple:1->0:1.0], "
        "[trending on artstation:0.5->0:0.75]"
    )
    assert friends.text.endswith("concert in a scenic environment by beeple, trending on artstation")
    [late] = friends.spans  # full range at weight 1 is plain text
    assert friends.text[late.start : late.end] == "trending on artstation"
    assert late.effect == (F(1, 2), F(1), F(3, 4))
    cats = read("cats [on a ship deck:1->0:1.0], [intricate:1->0:1.25], [by justin gerard and artgerm:1->0.5:1.0], [8 k:1->0:0.5]")
    assert [(cats.text[span.start : span.end], *span.effect) for span in cats.spans] == [
        ("intricate", 0, 1, F(5, 4)),
        ("by justin gerard and artgerm", 0, F(1, 2), 1),
        ("8 k", 0, 1, F(1, 2)),
    ]


@pytest.mark.parametrize("written", ["[x:0-1:1]", "[x:0-1:1.0]", "[x:1->0:1]", "[x:0.0-1.00:1/1]", "x"])
def test_a_full_range_at_weight_one_is_the_plain_prompt(written: str) -> None:
    assert read(f"a {written}") == Conditioning("a x")


def test_numbers_are_exact_and_not_what_floats_make_of_them() -> None:
    [span] = read("[x:0.29-0.57:1.1]").spans
    assert (1 - span.hi, 1 - span.lo, span.weight) == (F(29, 100), F(57, 100), F(11, 10))


def test_fragments_of_one_word_that_act_alike_are_that_word() -> None:
    assert read("[det:0-0.5:0.75][ailed:0-0.5:0.75]") == read("[detailed:0-0.5:0.75]")


def test_blanks_at_the_ends_of_the_words_stand_outside() -> None:
    assert read("[ highly:0-0.5:0.75][ detailed:0-0.5:0.75]") == read("[highly:0-0.5:0.75] [detailed:0-0.5:0.75]")
    assert read("a[cat :0-0.5:1]b") == read("a[cat:0-0.5:1] b")
    assert read("a[\\ cat:0-0.5:1]").spans == (EffectSpan(1, 5, F(1, 2)),)


def test_the_negative_prompt_has_spans_of_its_own() -> None:
    both = read("a [cat:0.5-1:1]", "[blurry:0-0.5:1.5], dull")
    assert both.negative == "blurry, dull"
    assert both.negative_spans == (EffectSpan(0, 6, F(1, 2), F(1), F(3, 2)),)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (r"a \[b\] c", "a [b] c"),
        (r"C:\dir and JoJo\'s \(x\)", r"C:\dir and JoJo\'s \(x\)"),
        (r"a \: b", r"a \: b"),
        (r"a \\ b", r"a \\ b"),
        (r"\\\[", "\\["),
        (r"[16\:9:0-1:1]", "16:9"),
        (r"[a\[b\]\\:0-1:1]", "a[b]\\"),
    ],
)
def test_a_backslash_is_itself_except_before_what_it_escapes(written: str, meant: str) -> None:
    assert read(written).text == meant


def test_unicode_survives_in_words_and_text() -> None:
    found = read("ein süßer 🐈, [水彩画:0-0.5:1.2], [naïve:0.5-1:1]")
    assert found.text == "ein süßer 🐈, 水彩画, naïve"
    assert [found.text[span.start : span.end] for span in found.spans] == ["水彩画", "naïve"]


def test_a_decomposed_letter_is_the_composed_one_and_offsets_follow() -> None:
    assert read("cafe\u0301 [cre\u0300me:0-0.5:2]") == read("caf\u00e9 [cr\u00e8me:0-0.5:2]")


# what is wrong, and where


@pytest.mark.parametrize(
    ("source", "at", "words"),
    [
        ("a [x:1-0.5:1]", 5, "reversed"),
        ("a [x:0.5->1:1]", 5, "reversed"),
        ("a [x:0.5-1.5:1]", 5, "leaves 0..1"),
        ("a [x:-0.5-1:1]", 5, "between 0 and 1"),
        ("a [x:nan-1:1]", 5, "between 0 and 1"),
        ("a [x:0-inf:1]", 5, "between 0 and 1"),
        ("a [x:0-1/0:1]", 5, "between 0 and 1"),
        ("a [x::1]", 5, "between 0 and 1"),
        ("a [x:0-1:-1]", 9, "at least 0"),
        ("a [x:0-1:nan]", 9, "at least 0"),
        ("a [x:0-1: inf]", 10, "at least 0"),
        ("a [x:0-1:1e400]", 9, "at least 0"),
        ("a [x:0-1:]", 9, "at least 0"),
        ("a [x:0-1:" + "9" * 5000 + "]", 9, "at least 0"),
        ("a [:0-1:1]", 3, "no words"),
        ("a [ :0-1:1]", 3, "no words"),
        ("a [] b", 2, "empty"),
        ("a [x b", 2, "never closed"),
        ("a x] b", 3, "closes nothing"),
        ("a [x [y:0-1:2]:0-1:1]", 5, "do not nest"),
        ("a [foo] b", 2, "no triple"),
        ("a [x:0-1] b", 2, "no triple"),
        ("a [style: anime:0-1:1.5] b", 8, r"\:"),
        ("a [cat:dog:0.5]", 7, "--dialect a1111"),
        ("a [cat:0.5]", 2, "--dialect a1111"),
        ("e[\u0301:0-1:2]", 1, "accent"),
    ],
)
def test_what_cannot_be_read_is_an_error_at_its_place(source: str, at: int, words: str) -> None:
    with pytest.raises(LocatedError) as found:
        parse(source)
    assert found.value.at == at
    assert words in str(found.value)
    assert f"character {at + 1}:" in str(found.value) and "\n" not in str(found.value)


def test_the_caret_stands_below_the_place_also_after_wide_characters() -> None:
    with pytest.raises(LocatedError) as found:
        parse("水彩 [x:2-3:1]")
    line, caret = found.value.shown.split("\n")
    assert line == "水彩 [x:2-3:1]"
    assert caret == " " * 8 + "^"


def test_of_many_errors_the_first_is_told_and_lenient_reading_names_them_all() -> None:
    source = "[a] [b:0-0.5:1] [c:0-2:1] d]"
    with pytest.raises(LocatedError, match="character 1:"):
        parse(source)
    found = parse(source, lenient=True)
    assert [problem.at for problem in found.problems] == [0, 19, 27]
    assert found.spoken() == ("[a] b [c:0-2:1] d]", (EffectSpan(4, 5, F(1, 2)),))


def test_lenient_reading_keeps_a_triple_within_stray_brackets() -> None:
    assert read("[a [b:0-0.5:2] c", lenient=True) == Conditioning("[a b c", spans=(EffectSpan(3, 4, F(1, 2), F(1), F(2)),))


# nothing lost, nothing doubled


SYNTAX = ["[a:0-1:1]", "[ b :0.5-1:2]", "[\u0301c:0-.5:1]", "[d", ":0-1:1]", "[", "]", ":", "\\", "0.5", "-", "->", "e", "\u0301", " "]
SOURCES = TEXTS | st.lists(st.sampled_from(SYNTAX), max_size=14).map("".join)


@settings(max_examples=500, deadline=None)
@given(SOURCES, st.booleans())
def test_every_character_is_in_exactly_one_piece(source: str, lenient: bool) -> None:
    try:
        found = parse(source, lenient)
    except LocatedError as error:
        assert not lenient
        assert 0 <= error.at <= len(canonical_text(source))
        return
    assert found.source == canonical_text(source)
    ends = [0, *(piece.end for piece in found.pieces)]
    assert [piece.start for piece in found.pieces] == ends[:-1]
    assert ends[-1] == len(found.source)


@settings(max_examples=500, deadline=None)
@given(SOURCES)
def test_the_text_is_the_source_without_its_syntax(source: str) -> None:
    """Backslashes apart, which may be escapes: literal text and words joined, nothing lost or doubled."""
    found = parse(source, lenient=True)
    expected = ""
    for piece in found.pieces:
        written = found.source[piece.start : piece.end]
        if piece.span is not None:
            written = re.sub(r":[^:]*:[^:]*\]\Z", "", written[1:])
        expected += written
    assert "".join(piece.text for piece in found.pieces).replace("\\", "") == expected.replace("\\", "")
    assert found.spoken()[0] == "".join(piece.text for piece in found.pieces).strip()


@settings(max_examples=300, deadline=None)
@given(TEXTS.map(lambda text: text.replace("[", "").replace("]", "")))
def test_text_without_brackets_is_itself(text: str) -> None:
    assert read(text) == Conditioning(text)


@settings(max_examples=500, deadline=None)
@given(conditionings())
def test_what_is_written_is_read_back(conditioning: Conditioning) -> None:
    assert read(write(conditioning), write_negative(conditioning)) == conditioning


@settings(max_examples=300, deadline=None)
@given(SOURCES)
def test_the_canonical_form_of_anything_is_canonical(source: str) -> None:
    once = write(read(source, lenient=True))
    assert write(read(once)) == once


def test_ten_thousand_triples_take_linear_time() -> None:
    def seconds(count: int) -> float:
        source = "".join(f"[word{number}:0.{number % 9 + 1}-1:1.{number % 7 + 1}], " for number in range(count))
        start = time.process_time()
        assert len(read(source).spans) == count
        return time.process_time() - start

    seconds(100)
    few, many = min(seconds(2500) for _ in range(3)), min(seconds(10000) for _ in range(3))
    assert many < 10 * few  # 4 if linear, 16 if quadratic


@pytest.mark.parametrize("unit", ["[", "]", "\\", "[\\[", "[a:", "[a:0-1:1", "e\u0301[", "[\u0301:0-1:2]", "\\ [", "a[ :"])
def test_no_input_takes_more_than_linear_time(unit: str) -> None:
    """A quadratic reader would need minutes for the longer one."""

    def seconds(count: int) -> float:
        start = time.process_time()
        write(read(unit * count, lenient=True))
        return time.process_time() - start

    seconds(100)
    few, many = min(seconds(4000) for _ in range(2)), min(seconds(40000) for _ in range(2))
    assert many < 50 * max(few, 0.01)  # 10 if linear, 100 if quadratic


@pytest.mark.parametrize("file", SAMPLES, ids=lambda file: file.stem)
def test_what_people_write_survives_with_its_stray_brackets(file: Path) -> None:
    for line in prompts(file):
        assert read(line, lenient=True) == Conditioning(line)


def test_stray_brackets_are_located_where_reading_is_strict() -> None:
    stray = bracketed(SHORT)
    assert stray
    for line in stray:
        with pytest.raises(LocatedError, match="write"):
            read(line)
        assert read(re.sub(r"[\[\]]", r"\\\g<0>", line)) == Conditioning(line)
