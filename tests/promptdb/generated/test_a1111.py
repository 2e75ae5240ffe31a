"""Infotext: its three parts, quoted values, networks, and what other tools make of the form."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.promptdb.errors import BadInput
from limner.promptdb.generated.a1111 import blocks, divide, is_infotext, read_infotext
from limner.promptdb.generated.record import Lora

SIMPLE = "a lamp in fog\nNegative prompt: text, logo\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 42, Size: 64x96, Version: v1.9.4"
FULL = """an iron bridge, (fog:1.2), <lora:rust_v2:0.7>, rststyle,
 wet stone BREAK
[dawn:dusk:0.4], gulls
Negative prompt: (worst quality, low quality:1.4), extra
arches
Steps: 28, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: 3051772981, Size: 512x768, Model hash: 0a1b, \
Model: ironWorld, Denoising strength: 0.42, Clip skip: 2, ControlNet 0: "Module: depth, Model: c [cfd0], Weight: 0.8", \
ADetailer prompt: "still face, \\"keeper\\" of it", Hires upscale: 2, Lora hashes: "rust_v2: 9f1c", \
Hashes: {"model": "0a1b", "vae": "77"}, Version: f2.0.1v1.10.1"""


def test_the_parts_of_an_infotext_come_apart() -> None:
    found = read_infotext(SIMPLE)
    assert (found.prompt, found.negative) == ("a lamp in fog", "text, logo")
    assert (found.seed, found.steps, found.cfg, found.sampler, found.size) == (42, 20, 7.0, "Euler a", (64, 96))
    assert (found.tool, found.notation, found.notes, found.labels) == ("a1111", "a1111", (), ("Version v1.9.4",))


def test_prompts_over_several_lines_keep_every_character_and_networks_are_listed_beside() -> None:
    found = read_infotext(FULL)
    assert found.prompt == "an iron bridge, (fog:1.2), <lora:rust_v2:0.7>, rststyle,\n wet stone BREAK\n[dawn:dusk:0.4], gulls"
    assert found.negative == "(worst quality, low quality:1.4), extra\narches"
    assert found.loras == (Lora("rust_v2", 0.7),)
    assert (found.sampler, found.schedule, found.model, found.tool) == ("DPM++ 2M", "Karras", "ironWorld", "forge")


def test_what_is_not_carried_is_named_and_what_changes_nothing_stands_apart() -> None:
    found = read_infotext(FULL)
    assert "Clip skip 2" in found.notes and "Denoising strength 0.42" in found.notes and "Hires upscale 2" in found.notes
    assert 'ADetailer prompt still face, "keeper" of it' in found.notes
    assert any(note.startswith("ControlNet 0") for note in found.notes)
    assert [label.split()[0] for label in found.labels] == ["Model", "Lora", "Hashes", "Version"]


def test_json_values_as_sites_write_them_hold_commas() -> None:
    resources = '[{"type":"lora","weight":0.8,"name":"a, b"},{"id":1}]'
    text = f"x\nSteps: 9, Seed: 3, Civitai resources: {resources}, Size: 8x8, Tiling: on, off, Eta: 1"
    settings = dict(divide(text).settings)
    assert json.loads(settings["Civitai resources"])[0]["name"] == "a, b"
    assert settings["Size"] == "8x8" and settings["Tiling"] == "on, off" and settings["Eta"] == "1"


@pytest.mark.parametrize(
    "text",
    [
        "a cat\r\nNegative prompt: dog\r\nSteps: 5, Seed: 1, Size: 8x8\r\n",
        "a cat\nNegative prompt: dog\nSteps: 5, Seed: 1, Size: 8x8\nTemplate: a {cat|cow}",
        "a cat Negative prompt: dog Steps: 5, Sampler: Euler, Seed: 1, Size: 8x8",
        "a cat\n  Negative prompt: dog\nSteps: 5, Seed: 1, Size: 8x8, ",
    ],
)
def test_other_line_ends_lines_behind_and_lost_line_ends_are_read(text: str) -> None:
    found = read_infotext(text)
    assert (found.prompt, found.negative, found.steps, found.seed, found.size) == ("a cat", "dog", 5, 1, (8, 8))


@pytest.mark.parametrize(
    "text", ["a cat", "Steps: three, to the temple", "Steps: 12 of a stair, gold", "a temple\nSteps: 12", "Negative prompt: blurry"]
)
def test_words_are_no_infotext(text: str) -> None:
    assert not is_infotext(text)


@pytest.mark.parametrize(
    ("tag", "weight"),
    [
        *(("<lora:a>", 1), ("<lora:a:0.5>", 0.5), ("<lora:a:0.5:0.9>", 0.9)),
        *(("<lyco:a:te=0.5:unet=0.8>", 0.8), ("<LORA:a:-1>", -1), ("<lora:a:x>", 1)),
    ],
)
def test_the_strength_of_a_network_is_that_of_the_unet(tag: str, weight: float) -> None:
    assert read_infotext(f"x {tag}").loras == (Lora("a", weight),)


def test_a_file_of_infotexts_is_cut_behind_every_line_of_settings() -> None:
    lines = list(enumerate(["", *SIMPLE.split("\n"), "", *SIMPLE.replace("lamp", "bell").split("\n"), "left over"], start=1))
    found = list(blocks(lines))
    assert [(number, text.split("\n")[0]) for number, text in found] == [(2, "a lamp in fog"), (6, "a bell in fog"), (9, "left over")]
    assert [is_infotext(text) for _, text in found] == [True, True, False]


def test_ten_megabytes_are_refused_in_one_line() -> None:
    for text in ("a, " * 3_500_000 + "\nSteps: 5, Seed: 1", "a\nSteps: 5, Seed: 1" + ", x: [" * 1_700_000, "\n" * 10_000_000):
        with pytest.raises(BadInput, match="at most") as caught:
            read_infotext(text)
        assert "\n" not in str(caught.value)


LINE = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=40).filter(
    lambda text: "Steps:" not in text and "Negative prompt:" not in text
)


@given(st.lists(LINE, min_size=1, max_size=4), st.lists(LINE, max_size=3), st.integers(0, 2**64 - 1))
def test_prompts_of_any_characters_come_back_to_the_letter(prompt: list[str], negative: list[str], seed: int) -> None:
    asked, unwanted = "\n".join(prompt).strip(), "\n".join(negative).strip()
    found = read_infotext(f"{asked}\nNegative prompt: {unwanted}\nSteps: 3, Sampler: Euler, Seed: {seed}, Size: 8x8")
    assert (found.prompt, found.negative, found.seed) == (asked, unwanted, seed)


VALUE = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)


@given(st.lists(VALUE, min_size=1, max_size=6))
def test_quoted_values_come_back_to_the_letter(values: list[str]) -> None:
    line = ", ".join(f"Key {number}: {json.dumps(value, ensure_ascii=False)}" for number, value in enumerate(values))
    settings = divide(f"x\nSteps: 3, Seed: 1, {line}").settings
    assert [value for key, value in settings if key.startswith("Key")] == [value.strip() for value in values]


@given(st.text())
def test_no_text_is_too_odd_to_be_divided(text: str) -> None:
    divide(f"x\nSteps: 3, Seed: 1, {text}")
    divide(text)
