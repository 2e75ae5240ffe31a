from __future__ import annotations

from fractions import Fraction

from limner.promptdb.records import Conditioning
from limner.tools.prompt_language.parse import read
from limner.tools.solvers.df_prompt.sliding import slide, telling_span


def test_the_word_that_shows_most_is_slid_from_start_to_end() -> None:
    prompt = read("a cat, [red:0-1:2], [sharp focus:0-0.5:1.25]")
    span = telling_span(prompt)
    assert span is not None and prompt.text[span.start : span.end] == "sharp focus"
    places = slide(prompt, span)
    assert [(float(place.lo), float(place.hi)) for place in places] == [(0, 0.5), (0.125, 0.625), (0.25, 0.75), (0.375, 0.875), (0.5, 1)]
    assert places[-1].conditioning == prompt
    assert all(place.conditioning.text == prompt.text and place.conditioning.spans[0] == prompt.spans[0] for place in places)


def test_words_that_only_weigh_slide_in_halves() -> None:
    prompt = read("a [red:0-1:2] cat")
    places = slide(prompt, prompt.spans[0], 3)
    assert [place.hi - place.lo for place in places] == [Fraction(1, 2)] * 3
    assert {place.conditioning.spans[0].weight for place in places} == {2}


def test_a_plain_prompt_has_nothing_to_slide() -> None:
    assert telling_span(Conditioning("a cat")) is None
