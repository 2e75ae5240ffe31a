"""compel: prompts for runs of steps, and its weights."""

from __future__ import annotations

from fractions import Fraction as F

import pytest
from hypothesis import given, settings

from limner.promptdb.errors import BadInput
from limner.promptdb.records import Conditioning, EffectSpan
from limner.tools.prompt_language.assemble import LocatedError
from limner.tools.prompt_language.compel import read_compel, write_compel
from limner.tools.prompt_language.fidelity import worst
from limner.tools.prompt_language.parse import read
from limner.tools.prompt_language.schedule import elapsed_by_step, segments
from tests.tools.prompt_language.prompts import STEPS, prompts_of_words


@pytest.mark.parametrize(
    ("source", "written"),
    [
        ("a cat", "a cat"),
        ("a [cat:0-1:1.5], dog", "a (cat)1.5, dog"),
        (r"a (small) [cat\::0-1:2]", r"a \(small\) (cat:)2"),
        ("a [cat:0-1:1.5]5", "a (cat)1.5 5"),
        ('"C++", well-lit', r"\"C++\", well-lit"),
    ],
)
def test_what_is_written(source: str, written: str) -> None:
    assert write_compel(read(source)).output == written


def test_signs_at_the_end_of_a_word_are_kept_from_meaning_emphasis() -> None:
    found = write_compel(read("C++ code"))
    assert found.output == r"C\+\+ code"
    assert worst(found.reasons) == "approximate"


def test_words_that_come_and_go_become_a_list_of_prompts() -> None:
    written = write_compel(read("a [cat:0.85-1:1], [x:0-0.5:1.5]", "[blur:0.5-1:1]"), 10)
    assert written.output == [
        {"start": 0, "stop": 2, "prompt": "a cat, ", "negative": "blur"},
        {"start": 2, "stop": 5, "prompt": "a , ", "negative": "blur"},
        {"start": 5, "stop": 10, "prompt": "a , (x)1.5", "negative": ""},
    ]
    with pytest.raises(BadInput, match="--steps"):
        write_compel(read("a [cat:0.85-1:1]"))


@settings(deadline=None)
@given(prompts_of_words(), STEPS)
def test_each_prompt_reads_back_as_what_acts_at_its_steps(conditioning: Conditioning, steps: int) -> None:
    written = write_compel(conditioning, steps).output
    rows = written if isinstance(written, list) else [{"start": 0, "stop": steps, "prompt": written}]
    for row in rows:
        [segment] = [
            item
            for item in segments(conditioning.text, conditioning.spans, elapsed_by_step(steps))
            if item.start <= row["start"] < item.stop
        ]
        again, _ = read_compel(row["prompt"])
        assert again.text.split() == segment.text.split()
        assert [again.text[span.start : span.end] for span in again.spans] == [
            segment.text[span.start : span.end] for span in segment.spans
        ]


def test_how_faithful_it_is() -> None:
    assert worst(write_compel(read("[x:0.85-1:1]"), 10).reasons) == "exact"
    assert worst(write_compel(read("[x:0-1:1.5]")).reasons) == "approximate"


@pytest.mark.parametrize(
    ("prompt", "word", "weight"),
    [
        ("a (big cat)1.3, b", "big cat", F(13, 10)),
        ("a cat++, b", "cat", F(121, 100)),
        ("a cat-, b", "cat", F(9, 10)),
        ("a (cat)--, b", "cat", F(81, 100)),
        ("a ((cat)2)1.5 b", "cat", F(3)),
    ],
)
def test_what_its_weights_mean(prompt: str, word: str, weight: F) -> None:
    found, _ = read_compel(prompt)
    start = found.text.index(word)
    assert found.spans == (EffectSpan(start, start + len(word), weight=weight),)
    assert found.weight_mode == "lerp_from_empty"


def test_brackets_without_a_weight_group_and_escapes_are_text() -> None:
    assert read_compel(r"a (cat) \(dog\) state-of-the-art") == (Conditioning("a cat (dog) state-of-the-art"), ())


@pytest.mark.parametrize(
    ("prompt", "at", "words"),
    [
        ("a (cat", 2, "never closed"),
        ("a cat)", 5, "closes nothing"),
        ('("a", "b").blend(1, 1)', 9, "no counterpart"),
        ("cat.swap(dog)", 3, "no counterpart"),
        ("a cat" + "+" * 100, 2, "64"),
    ],
)
def test_what_has_no_counterpart_is_an_error_at_its_place(prompt: str, at: int, words: str) -> None:
    with pytest.raises(LocatedError, match=words) as found:
        read_compel(prompt)
    assert found.value.at == at
