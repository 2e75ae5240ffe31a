"""Content ids: what is equal has one id on any machine, what differs has another."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import unicodedata
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.promptdb.records import (
    AdapterSetting,
    Conditioning,
    Drawing,
    EffectSpan,
    Instruction,
    Prompt,
    SamplerSettings,
    canonical_text,
    text_id,
)

ROOT = Path(__file__).parents[2]
TEXTS = st.text(st.characters(codec="utf-8"), max_size=40)
PARTS = st.fractions(0, 1, max_denominator=1000)


@st.composite
def spans_of(draw: st.DrawFn, text: str) -> tuple[EffectSpan, ...]:
    """Spans of `text` that do not overlap."""
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=6)))
    spans = []
    for start, end in zip(cuts[::2], cuts[1::2], strict=False):
        lo, hi = sorted((draw(PARTS), draw(PARTS)))
        spans.append(EffectSpan(start, end, lo, hi, draw(st.fractions(0, 3, max_denominator=100))))
    return tuple(spans)


@st.composite
def conditionings(draw: st.DrawFn, texts: st.SearchStrategy[str] = TEXTS) -> Conditioning:
    text, negative = canonical_text(draw(texts)), canonical_text(draw(texts))
    eta = draw(st.none() | st.lists(st.floats(0, 1), min_size=1, max_size=4).map(tuple))
    return Conditioning(
        text,
        negative,
        draw(spans_of(text)),
        draw(spans_of(negative)),
        draw(st.sampled_from(["mean_restore", "none", "norm_restore", "lerp_from_empty"])),
        draw(st.sampled_from(["step", "sigma"])),
        draw(st.none() | st.builds(AdapterSetting, st.text("abcdef0123456789", min_size=4), st.just(eta), st.floats(0, 2))),
    )


@settings(deadline=None)
@given(conditionings())
def test_a_conditioning_comes_back_from_json_equal_and_with_its_id(conditioning: Conditioning) -> None:
    again = Conditioning.from_json(json.loads(json.dumps(conditioning.to_json())))
    assert again == conditioning
    assert again.id == conditioning.id


FEW_TEXTS = st.sampled_from(["", "a", "ab"])  # so that two draws are often equal, or nearly


@settings(deadline=None)
@given(conditionings(FEW_TEXTS), conditionings(FEW_TEXTS))
def test_conditionings_share_an_id_exactly_when_they_are_equal(left: Conditioning, right: Conditioning) -> None:
    assert (left.id == right.id) == (left == right)


@settings(deadline=None)
@given(TEXTS)
def test_composed_and_decomposed_text_with_any_line_ends_and_outer_blanks_is_one_conditioning(text: str) -> None:
    said_otherwise = " \t" + unicodedata.normalize("NFD", text).replace("\n", "\r\n") + "\n"
    assert Conditioning(said_otherwise).id == Conditioning(unicodedata.normalize("NFD", text).replace("\n", "\r")).id


@given(TEXTS)
def test_canonical_text_is_canonical_already(text: str) -> None:
    assert canonical_text(canonical_text(text)) == canonical_text(text)


@settings(deadline=None)
@given(st.data(), TEXTS)
def test_the_order_in_which_spans_are_given_does_not_matter(data: st.DataObject, text: str) -> None:
    text = canonical_text(text)
    spans = data.draw(spans_of(text))
    shuffled = data.draw(st.permutations(spans))
    assert Conditioning(text, spans=tuple(shuffled)).id == Conditioning(text, spans=spans).id


def test_what_changes_nothing_is_dropped_from_the_canonical_form() -> None:
    plain = Conditioning("a red cat")
    assert Conditioning("a red cat", spans=(EffectSpan(0, 5),)) == plain
    assert Conditioning("a red cat", weight_mode="none", range_unit="sigma") == plain
    assert Conditioning("a red cat", adapter=AdapterSetting("w", scale=0)) == plain
    assert Conditioning("a red cat", spans=(EffectSpan(0, 1, weight=Fraction(3, 2)),), weight_mode="none") != Conditioning(
        "a red cat", spans=(EffectSpan(0, 1, weight=Fraction(3, 2)),)
    )


def test_neighbours_that_act_alike_are_one_span() -> None:
    halves = tuple(EffectSpan(start, end, hi=Fraction(1, 2)) for start, end in ((2, 4), (4, 5), (6, 9)))
    assert Conditioning("a red cat", spans=halves).spans == (EffectSpan(2, 5, hi=Fraction(1, 2)), EffectSpan(6, 9, hi=Fraction(1, 2)))
    heavier = EffectSpan(4, 5, hi=Fraction(1, 2), weight=Fraction(2))
    assert len(Conditioning("a red cat", spans=(halves[0], heavier)).spans) == 2


def test_numbers_are_held_as_written() -> None:
    span = EffectSpan(0, 1, lo="0.29", hi=0.3, weight=1.1)  # type: ignore[arg-type]
    assert (span.lo, span.hi, span.weight) == (Fraction(29, 100), Fraction(3, 10), Fraction(11, 10))
    assert span.lo * 100 == 29


@pytest.mark.parametrize(
    "spans",
    [
        (EffectSpan(0, 3, hi=Fraction(1, 2)), EffectSpan(2, 5, hi=Fraction(1, 2))),
        (EffectSpan(3, 100, hi=Fraction(1, 2)),),
    ],
)
def test_spans_that_overlap_or_leave_the_text_are_refused(spans: tuple[EffectSpan, ...]) -> None:
    with pytest.raises(ValueError, match="span"):
        Conditioning("a red cat", spans=spans)


@pytest.mark.parametrize("bad", [{"start": 3, "end": 3}, {"lo": 0.6, "hi": 0.5}, {"hi": 1.5}, {"weight": -1}])
def test_impossible_spans_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"span|range"):
        EffectSpan(**{"start": 0, "end": 5, **bad})  # type: ignore[arg-type]


def test_a_drawing_is_told_apart_by_everything_that_moves_a_pixel() -> None:
    base = Drawing(Conditioning("a cat"), 1, SamplerSettings(), "weights")
    others = [
        replace(base, conditioning=Conditioning("a dog")),
        replace(base, conditioning=Conditioning("a cat", negative="blurry")),
        replace(base, seed=2),
        replace(base, checkpoint="other"),
        *(
            replace(base, settings=replace(base.settings, **change))
            for change in (
                {"scheduler": "EulerDiscreteScheduler"},
                {"steps": 21},
                {"guidance_scale": 7.0},
                {"width": 128},
                {"height": 128},
                {"dtype": "float16"},
            )
        ),
    ]
    assert len({base.id, *(other.id for other in others)}) == 1 + len(others)
    assert Drawing(Conditioning(" a cat\n"), 1, SamplerSettings(), "weights").id == base.id


def test_a_guidance_scale_written_as_a_whole_number_is_the_same_setting() -> None:
    whole = Drawing(Conditioning("a cat"), 1, SamplerSettings(guidance_scale=7), "w")
    assert whole.id == Drawing(Conditioning("a cat"), 1, SamplerSettings(guidance_scale=7.0), "w").id


def test_a_step_with_guidance_costs_two_rows_and_without_one() -> None:
    assert SamplerSettings(steps=20, guidance_scale=7.5).unet_rows == 40
    assert SamplerSettings(steps=20, guidance_scale=1).unet_rows == 20


def test_an_adapter_setting_written_in_whole_numbers_is_the_same_one() -> None:
    whole, real = (Conditioning("a", adapter=AdapterSetting("w", eta, scale)) for eta, scale in (((0, 1), 2), ((-0.0, 1.0), 2.0)))
    assert whole == real
    assert whole.id == real.id
    assert Conditioning("a", adapter=AdapterSetting("w", ())) == Conditioning("a", adapter=AdapterSetting("w"))


def test_one_prompt_is_the_same_in_any_case_and_spacing_and_keeps_its_own() -> None:
    assert text_id("A  Red\tcat ") == text_id("a red cat") != text_id("a red cats")
    assert Prompt(" A Red  Cat ").text == "A Red  Cat"
    assert Prompt("A  Red Cat").id == Prompt("a red cat", source="elsewhere").id


def test_an_instruction_is_its_text_whatever_led_to_it() -> None:
    assert Instruction("be vivid", parent="x", finding="dull").id == Instruction("be vivid\n").id


def test_an_id_is_the_hash_of_a_canonical_document_in_any_process() -> None:
    """The documents are written out: ids are in people's databases and image files, and a change of form orphans them all."""
    program = (
        "from limner.promptdb.records import *\n"
        "c = Conditioning('a r\\u00e9d cat', 'blurry', (EffectSpan(2, 5, 0, '0.5', 1.5),))\n"
        "print(c.id, Drawing(c, 7, SamplerSettings(), 'w').id, Prompt('A  cat').id, Instruction('x').id)"
    )
    conditioning = sha('["conditioning",{"negative":"blurry","spans":[[2,5,"0","1/2","3/2"]],"text":"a réd cat"}]')
    settings = '{"dtype":"float32","guidance_scale":7.5,"height":64,"scheduler":"DDIMScheduler","steps":20,"width":64}'
    expected = [conditioning, sha(f'["drawing","{conditioning}",7,{settings},"w"]'), sha('["text","a cat"]'), sha('["instruction","x"]')]
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
        assert printed.stdout.split() == expected


def sha(document: str) -> str:
    return hashlib.sha256(document.encode()).hexdigest()[:24]
