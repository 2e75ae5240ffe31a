"""Which words act when. The expected steps are the reference's, computed from its formula on whole numbers."""

from __future__ import annotations

from fractions import Fraction as F

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.promptdb.records import Conditioning, EffectSpan
from limner.tools.prompt_language.parse import read
from limner.tools.prompt_language.schedule import acting, elapsed_by_sigma, elapsed_by_step, segments, timetable
from tests.tools.prompt_language.prompts import PARTS, STEPS, conditionings

RANGES = {"0-1": (0, 100), "0.5-1": (50, 100), "0-0.5": (0, 50), "0.85-1": (85, 100), "0.29-0.57": (29, 57), "0.3-0.3": (30, 30)}


def steps_of(written: str, steps: int) -> list[int]:
    [row] = timetable(read(f"[x:{written}:1.5]"), elapsed_by_step(steps))
    return list(range(row.start, row.stop))


@pytest.mark.parametrize("written", RANGES)
@pytest.mark.parametrize("steps", [1, 7, 10, 20, 25, 50, 100])
def test_the_step_table_is_the_reference_s_in_whole_numbers(written: str, steps: int) -> None:
    low, high = RANGES[written]
    assert steps_of(written, steps) == list(range(steps - high * steps // 100, steps - low * steps // 100))


@pytest.mark.parametrize(
    ("written", "steps", "first", "stop"),
    [
        ("0.85-1", 10, 0, 2),
        ("0.85-1", 50, 0, 8),
        ("0.5-1", 25, 0, 13),
        ("0-0.5", 25, 13, 25),
        ("0.5-1", 7, 0, 4),
        ("0-0.5", 7, 4, 7),
        ("0-0.5", 1, 0, 0),
        ("0-0.29", 100, 71, 100),
        ("0-0.57", 100, 43, 100),
    ],
)
def test_the_steps_named_in_the_specification(written: str, steps: int, first: int, stop: int) -> None:
    assert steps_of(written, steps) == list(range(first, stop))


@given(PARTS, STEPS)
def test_two_ranges_that_meet_share_out_all_steps(border: F, steps: int) -> None:
    places = elapsed_by_step(steps)
    early, late = (list(acting(EffectSpan(0, 1, *part), places)) for part in ((F(0), border), (border, F(1))))
    assert early + late == list(range(steps))


@settings(deadline=None)
@given(conditionings(), STEPS)
def test_segments_share_out_the_steps_and_say_what_acts_at_each(conditioning: Conditioning, steps: int) -> None:
    text, spans = conditioning.text, conditioning.spans
    found = segments(text, spans, elapsed_by_step(steps))
    assert [step for segment in found for step in range(segment.start, segment.stop)] == list(range(steps))
    for segment in found:
        for step in {segment.start, segment.stop - 1}:
            gone = {at for span in spans if not span.lo <= F(step, steps) < span.hi for at in range(span.start, span.end)}
            assert segment.text == "".join(char for at, char in enumerate(text) if at not in gone)
        marked = [(segment.text[span.start : span.end], span.weight) for span in segment.spans]
        assert marked == [
            (text[span.start : span.end], span.weight)
            for span in spans
            if span.weight != 1 and span.lo <= F(segment.start, steps) < span.hi
        ]


@settings(deadline=None)
@given(conditionings(), STEPS)
def test_there_are_no_more_segments_than_borders_make(conditioning: Conditioning, steps: int) -> None:
    found = segments(conditioning.text, conditioning.spans, elapsed_by_step(steps))
    borders = {border for span in conditioning.spans for border in (span.lo, span.hi)} - {F(0), F(1)}
    assert len(found) <= min(steps, len(borders) + 1)


def test_the_three_ranges_of_the_policy_make_two_texts() -> None:
    prompt = read("portrait, [x:0-0.5:1], [y:0.5-1:1], [z:0-1:0.75]")
    found = segments(prompt.text, prompt.spans, elapsed_by_step(10))
    assert [(segment.start, segment.stop, segment.text) for segment in found] == [(0, 5, "portrait, , y, z"), (5, 10, "portrait, x, , z")]
    assert [[(segment.text[span.start : span.end], span.weight) for span in segment.spans] for segment in found] == [[("z", F(3, 4))]] * 2


def test_what_never_acts_is_as_if_removed() -> None:
    with_it, without = read("a cat, [x:0.5-0.5:2]"), read("a cat,")
    for steps in (1, 7, 20):
        [segment] = segments(with_it.text, with_it.spans, elapsed_by_step(steps))
        assert (segment.text.rstrip(), segment.spans) == (without.text, ())


def test_ranges_may_be_of_the_noise_level_instead() -> None:
    sigmas = [10.0, 6.0, 3.0, 1.0]  # half of the noise is gone at the third call
    [first_half] = read("[x:0.5-1:1]").spans
    assert list(acting(first_half, elapsed_by_step(4))) == [0, 1]
    assert list(acting(first_half, elapsed_by_sigma(sigmas))) == [0, 1]
    assert list(acting(first_half, elapsed_by_sigma([10.0, 4.0, 2.0, 1.0]))) == [0]
    whole = EffectSpan(0, 1, F(0), F(1), F(2))
    assert list(acting(whole, elapsed_by_sigma([10.0, 5.0, 0.0]))) == [0, 1, 2]


@pytest.mark.parametrize("sigmas", [[], [0.0], [1.0, 2.0], [-1.0]])
def test_noise_that_does_not_fall_is_refused(sigmas: list[float]) -> None:
    with pytest.raises(ValueError, match="fall"):
        elapsed_by_sigma(sigmas)


@given(st.integers(-3, 0))
def test_there_is_at_least_one_step(steps: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        elapsed_by_step(steps)


def test_a_timetable_names_all_words_with_their_steps() -> None:
    prompt = read("a cat, [sharp focus:0-0.5:0.75] in snow", "[blurry:0.85-1:1], dull")
    assert [(row.words, row.weight, row.start, row.stop, row.negative) for row in timetable(prompt, elapsed_by_step(10))] == [
        ("a cat", 1, 0, 10, False),
        ("sharp focus", F(3, 4), 5, 10, False),
        ("in snow", 1, 0, 10, False),
        ("blurry", 1, 0, 2, True),
        ("dull", 1, 0, 10, True),
    ]
