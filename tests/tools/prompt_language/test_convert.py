"""Which dialect a prompt is in, and conversions as a whole."""

from __future__ import annotations

import gc
import json
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.promptdb.errors import BadInput
from limner.promptdb.records import Conditioning
from limner.tools.prompt_language.convert import convert
from limner.tools.prompt_language.dialects import DIALECTS, told_dialect
from limner.tools.prompt_language.document import to_document
from limner.tools.prompt_language.parse import read
from limner.tools.prompt_language.write import write
from tests.prompt_samples import SAMPLES, prompts
from tests.tools.prompt_language.prompts import prompts_of_words

GOLDEN = {
    "a cat in the snow": "plain",
    r"16:9 [sic]": "plain",
    "balloon party ] static [ shape animal": "plain",
    "state-of-the-art, well-lit, sci-fi": "plain",
    "a cat (tabby), on a sofa": "plain",
    "a portrait of Ana (1920s), c++ book, 4k+, hot::2 dog": "plain",
    "ROMEO AND JULIET": "plain",
    "Futuristic drone {prompt} . sleek": "plain",
    "1girl, :), >:), \\o/, (c)2019 studio": "plain",
    "a cat --ar 16:9": "plain",
    "a cat, [anime:0-1:1.5] style": "df",
    "[x:1->0.5:1]": "df",
    "a (small) cat [x:0.5-1:1]": "df",
    "[beauty:0.5->0:0.75], [esoteric:1->0.5:0.5]": "df",
    "a [x:-0.5-1:1]": "df",
    "a [x:nan-1:1]": "df",
    "a [x:0.5-1.5:-1]": "df",
    "a [x:1e-1-1:1]": "df",
    "a [cat:dog:0.5]": "a1111",
    "a [[x:2]:5]": "a1111",
    "a [cat:10]": "a1111",
    "a [cat::0.3] (x:1.2)": "a1111",
    "a [(cat:1.5):0.3]": "a1111",
    "a [cow|horse] in a field": "a1111",
    "a cat <lora:style:0.8>": "a1111",
    "a (cat:1.2)": "a1111",
    "((masterpiece)), a cat": "a1111",
    "1girl, (smile), [blurry]": "a1111",
    r"hatsune miku \(vocaloid\)": "a1111",
    "a cat BREAK a dog": "a1111",
    "cats AND dogs": "a1111",
    "embedding:cozy, a room": "comfyui",
    "a (cat)1.3": "compel",
    "a (red cat)++": "compel",
    "a cat++": "compel",
    "a portrait withLora(inkpunk, 0.7)": "compel",
    '("a", "b").blend(1, 1)': "compel",
    "cat.swap(dog)": "compel",
    "{{masterpiece}}, a cat": "novelai",
    "1.3::red hair::, a girl": "novelai",
}

UNCLEAR = ["[x:0.5-1:1] (cat:1.2)", "[x:0.5-1:1] [cat:dog:0.5]", "a cat++ <lora:x:1>"]


@pytest.mark.parametrize("prompt", GOLDEN)
def test_the_dialect_is_told_from_the_marks(prompt: str) -> None:
    told = told_dialect(prompt)
    assert told.dialect == GOLDEN[prompt]
    assert bool(told.mark) == (told.dialect != "plain")


@pytest.mark.parametrize("prompt", UNCLEAR)
def test_marks_that_exclude_one_another_are_refused_with_the_choices(prompt: str) -> None:
    with pytest.raises(BadInput, match="--dialect") as found:
        convert(prompt, "df")
    assert "\n" not in str(found.value)


def test_a_mark_of_two_dialects_is_read_as_the_more_common_ones_and_said() -> None:
    assert any("read as A1111" in reason.why for reason in convert("a (cat:1.2)", "df").reasons)
    assert not any("read as" in reason.why for reason in convert("a (cat:1.2)", "df", "a1111").reasons)


@settings(deadline=None)
@given(prompts_of_words())
def test_a_prompt_with_a_triple_is_never_taken_for_another_dialect(conditioning: Conditioning) -> None:
    if conditioning.spans:
        try:
            assert told_dialect(write(conditioning)).dialect == "df"
        except BadInput as error:
            assert "--dialect" in str(error)


@pytest.mark.parametrize("file", SAMPLES, ids=lambda file: file.stem)
def test_what_people_write_is_plain_text_but_for_whole_tags_in_brackets(file: Path) -> None:
    """DiffusionDB's and Lexica's people put brackets around words; only where a tag stands in them, or they are doubled, they are marks."""
    for line in prompts(file):
        told = told_dialect(line)
        assert told.dialect == "plain" or (told.dialect == "a1111" and told.mark[0] in "([")


@settings(deadline=None)
@given(st.text(max_size=60) | st.text("ab[]():|.01->+\\ {}", max_size=40), st.sampled_from([None, *DIALECTS]), st.sampled_from(DIALECTS))
def test_any_text_is_converted_or_refused_and_nothing_else(text: str, source: str | None, to: str) -> None:
    try:
        done = convert(text, to, source, steps=10)
    except BadInput as error:
        assert str(error)
        return
    assert json.loads(json.dumps(done.written.output)) == done.written.output


@settings(deadline=None)
@given(prompts_of_words(), st.integers(1, 60))
def test_df_through_a1111_and_back_keeps_what_acts_when(conditioning: Conditioning, steps: int) -> None:
    out = convert(write(conditioning), "a1111", "df", steps)
    if not out.written.output.strip():
        return
    back = convert(out.written.output, "df", "a1111", steps)
    again = convert(str(back.written.output), "a1111", "df", steps)
    assert again.written.output.split() == out.written.output.split()


@pytest.mark.parametrize(
    "unit",
    [
        *("[", "(", ")", "+", "-", "1", ".", ": ", "\\", "<a:", "[1:", "(:1", "a-+", "x+,", "[a:0-"),
        *("[a:0-1:2] ", "(a:1.2)", "(a)1.2", "[a:b:0.5]"),
    ],
)
@pytest.mark.parametrize("source", [None, *DIALECTS])
def test_no_text_takes_more_than_linear_time(unit: str, source: str | None) -> None:
    """A quadratic reader would need minutes for the longer one."""

    def seconds(count: int) -> float:
        """Without the garbage collector, whose passes cost what all tests before have left in memory."""
        gc.disable()
        try:
            start = time.process_time()
            with suppress(BadInput):
                convert("[" + unit * count, "a1111", source, 10, lenient=True)
            return time.process_time() - start
        finally:
            gc.enable()

    seconds(100)
    assert seconds(20000) < 40 * max(seconds(2000), 0.01)


def test_ten_thousand_ranges_are_a_graph_only_for_known_steps() -> None:
    source = ", ".join(f"[x:{number}/20000-1:1]" for number in range(1, 10000))
    with pytest.raises(BadInput, match="--steps"):
        convert(source, "comfyui")
    assert len(convert(source, "comfyui", steps=10).written.output) < 30


def test_a_document_and_a_graph_are_read_as_what_they_are() -> None:
    prompt = read("a [cat:0.5-1:1]", "[blur:0-0.5:1]")
    found = convert(json.dumps(to_document(prompt)), "df")
    assert (found.written.output, found.written.negative) == ("a [cat:0.5-1:1]", "[blur:0-0.5:1]")
    graph = convert("a [cat:0.5-1:1]", "comfyui", steps=10).written.output
    assert convert(json.dumps(graph), "df").written.output == "a [cat:0.5-1:1]"


def test_a_prompt_may_begin_with_a_brace() -> None:
    assert convert("{a cat} in a box", "a1111").written.output == "{a cat} in a box"


def test_what_the_text_of_df_prompt_cannot_say_is_reported() -> None:
    document = to_document(Conditioning("a cat", spans=read("a [cat:0.5-1:1.5]").spans, range_unit="sigma", weight_mode="none"))
    found = convert(json.dumps(document), "df")
    assert found.fidelity == "unsupported"
    assert [reason.level for reason in found.reasons] == ["unsupported", "approximate"]


def test_lenient_reading_says_what_it_took_for_text() -> None:
    found = convert("a ] static [ shape", "a1111", "df", lenient=True)
    assert found.written.output == r"a \] static \[ shape"
    assert [reason.why.startswith("taken for plain text") for reason in found.reasons] == [True, True]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"text": "a", "to": "midjourney"}, "midjourney"),
        ({"text": "a", "to": "df", "source": "midjourney"}, "midjourney"),
        ({"text": " \n", "to": "df"}, "empty"),
        ({"text": "a", "to": "df", "steps": 0}, "between 1 and 1000"),
        ({"text": "a", "to": "df", "steps": 10**9}, "between 1 and 1000"),
        ({"text": "a \udc80", "to": "df"}, "Unicode"),
        ({"text": '{"version": 1, "text": "a \\ud800"}', "to": "df"}, "Unicode"),
        ({"text": '{"version": 1', "to": "df"}, "JSON"),
        ({"text": '{"version": 1, "text": "a"}', "to": "df", "negative": "b"}, "--negative"),
    ],
)
def test_what_cannot_be_converted_is_refused(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        convert(**arguments)  # type: ignore[arg-type]
