"""Pictures that other tools made, drawn again, refined and judged: what is carried is drawn, and the rest is named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from limner.promptdb.generated.record import Generated, Lora
from limner.promptdb.records import Conditioning
from limner.serve.commands.from_picture import brought, conditioning_of
from limner.tools.prompt_language.novelai import read_novelai
from tests.commands import command
from tests.tiny_card import tiny_with_card

pytestmark = pytest.mark.filterwarnings("ignore:the embedding has next to no mean")  # as those of untrained encoders

INFO = "a (red:1.3) cat, <lora:ink:0.8> fur BREAK snow\nNegative prompt: dog\nSteps: 3, Sampler: Euler a, CFG scale: 3, Seed: 42, \
Size: {size}, Model: other, Clip skip: 2, Version: v1.10.1"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield tiny_with_card(tmp_path_factory.mktemp("brought") / "sd1")


def picture(path: Path, text: str, keyword: str = "parameters") -> Path:
    texts = PngInfo()
    texts.add_text(keyword, text)
    Image.new("RGB", (24, 24), "red").save(path, pnginfo=texts)
    return path


def test_a_picture_of_a1111s_is_drawn_with_what_the_checkpoint_can_draw(
    capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path
) -> None:
    options = ("--checkpoint", tiny, "--out", tmp_path / "out")
    path = picture(tmp_path / "a.png", INFO.format(size="24x16"))
    done = command(capfd, "generate", "--from", path, "--json", *options)
    (row,) = done.document["images"]
    assert (row["prompt"], row["negative"], row["seed"]) == ("a [red:0-1:1.3] cat, fur snow", "dog", 42)
    assert (row["settings"]["steps"], row["settings"]["guidance_scale"]) == (3, 3.0)
    assert (row["settings"]["width"], row["settings"]["height"]) == (24, 16)
    assert row["settings"]["scheduler"] == "EulerAncestralDiscreteScheduler"
    assert done.document["from"]["tool"] == "a1111"
    assert done.document["from"]["not_carried"] == ["<lora:ink:0.8>", "checkpoint other", "Clip skip 2"]
    by_hand = command(capfd, "generate", "--from", path, "--seed", 5, "--steps", 2, "--count", 2, "--json", *options).document
    assert [item["seed"] for item in by_hand["images"]] == [5, 6] and by_hand["images"][0]["settings"]["steps"] == 2
    told = command(capfd, "generate", "--from", picture(tmp_path / "b.png", INFO.format(size="4096x4096")), *options)
    assert told.code == 0 and "Clip skip 2" in told.err and "size 4096x4096" in told.err


def test_pasted_infotext_is_drawn_and_refined_as_what_it_says(
    capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path
) -> None:
    options = ("--checkpoint", tiny, "--out", tmp_path / "out")
    text = INFO.format(size="16x16")
    done = command(capfd, "generate", text, "--json", *options).document
    assert (done["images"][0]["prompt"], done["images"][0]["seed"]) == ("a [red:0-1:1.3] cat, fur snow", 42)
    assert done["from"]["picture"] == "the infotext" and "<lora:ink:0.8>" in done["from"]["not_carried"]
    seeds = ("--budget", 20, "--search-seeds", 1, "--heldout-seeds", 2, "--method", "rewrite")
    assert command(capfd, "refine", text, *seeds, "--json", *options).document["prompt"] == "a red cat, fur snow"
    for wrong in (("generate", text, "a dog"), ("attack", text)):
        refused = command(capfd, *wrong, *options)
        assert refused.code == 2 and "infotext" in refused.err and refused.err.count("\n") == 1


def test_a_picture_of_our_own_is_drawn_again_to_the_pixel(capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path) -> None:
    options = ("--checkpoint", tiny, "--out", tmp_path / "out", "--json")
    first = command(capfd, "generate", "a cat", "--seed", 3, "--steps", 2, *options).document["images"][0]
    again = command(capfd, "generate", "--from", first["path"], *options).document
    assert again["images"][0]["drawing_id"] == first["drawing_id"] and "from" not in again


def test_refine_takes_the_words_and_settings_and_names_the_rest(
    capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path
) -> None:
    path = picture(tmp_path / "a.png", INFO.format(size="24x16"))
    seeds = ("--budget", 20, "--search-seeds", 1, "--heldout-seeds", 2)
    options = ("--checkpoint", tiny, "--method", "rewrite", *seeds, "--out", tmp_path / "o")
    done = command(capfd, "refine", "--from", path, "--steps", 2, "--json", *options)
    assert done.document["prompt"] == "a red cat, fur snow"
    left = done.document["from"]["not_carried"]
    assert {"<lora:ink:0.8>", "Clip skip 2"} <= set(left)
    assert done.document["typed"] == {"prompt": "a (red:1.3) cat, <lora:ink:0.8> fur BREAK snow", "negative": "dog"}
    assert "(red:1.3)" in done.document["result"]["typed"]["prompt"] and "dog" in done.document["result"]["typed"]["negative"]
    run = command(capfd, "runs", "show", done.document["run"], "--out", tmp_path / "o", "--json").document
    assert (run["settings"]["seed"], run["settings"]["steps"], run["settings"]["guidance_scale"]) == (42, 2, 3.0)
    for wrong in (("a cat", "--from", path), ("--resume", "x", "--from", path)):
        refused = command(capfd, "refine", *wrong, "--out", tmp_path / "o")
        assert refused.code == 2 and refused.err.count("\n") == 1


def test_score_reads_the_prompt_of_each_picture(capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path) -> None:
    one, other = (picture(tmp_path / f"{name}.png", f"a {name}\nSteps: 3, Seed: 1, Size: 8x8") for name in ("cat", "dog"))
    options = ("--checkpoint", tiny, "--json")
    document = command(capfd, "score", one, *options).document
    assert document["prompt"] == "a cat" and document == command(capfd, "score", one, "a cat", *options).document
    both = command(capfd, "score", one, other, *options).document
    assert [item["prompt"] for item in both] == ["a cat", "a dog"] and both[0] == document
    asked = command(capfd, "score", one, other, "--prompt", "a cow", *options).document
    assert {item["prompt"] for item in asked} == {"a cow"}
    plain = tmp_path / "plain.png"
    Image.new("RGB", (8, 8)).save(plain)
    refused = command(capfd, "score", plain, *options)
    assert refused.code == 2 and "give the prompt" in refused.err and refused.err.count("\n") == 1


def test_seeds_and_steps_out_of_range_are_named(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png", "a cat\nSteps: 900, Sampler: Odd, Seed: 91823744123, CFG scale: 7, Size: 8x8")
    found = brought(path)
    assert found.changes == {"guidance_scale": 7.0}
    assert [item.split(" (")[0] for item in found.left] == ["seed 91823744123", "steps 900", "sampler Odd"]
    assert brought(path, {"seed", "steps", "guidance_scale"}).changes == {}


@pytest.mark.parametrize(
    ("found", "words", "left"),
    [
        (Generated("a (cat:1.2), [a|b]", notation="a1111"), "a (cat:1.2), [a|b]", "a1111 marks"),
        (Generated("a fox, embedding:cozy, (lamp:1.1)", notation="comfyui"), "a fox, lamp", "embedding:cozy"),
        (Generated("a fox (in fog)1.3", notation="invokeai"), "a fox in fog", ""),
        (Generated("a <b> fox [x]", notation="plain"), "a <b> fox [x]", ""),
    ],
)
def test_every_notation_becomes_words(found: Generated, words: str, left: str) -> None:
    conditioning, missed = conditioning_of(found)
    assert conditioning.text == words
    assert any(item.startswith(left) for item in missed) if left else not missed


def test_networks_beside_the_prompt_are_named(tmp_path: Path) -> None:
    graph = {
        "1": {"class_type": "KSampler", "inputs": {"positive": ["2", 0], "negative": ["3", 0], "model": ["4", 0]}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a fox"}},
        "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "fog"}},
        "4": {"class_type": "LoraLoader", "inputs": {"lora_name": "clay.safetensors", "strength_model": 0.8, "model": ["5", 0]}},
        "5": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "m.safetensors"}},
    }
    found = brought(picture(tmp_path / "a.png", json.dumps(graph), "prompt"))
    assert found.found.loras == (Lora("clay", 0.8),) and found.left == ("LoRA clay 0.8", "checkpoint m")


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("a {cat}", {"cat": "21/20"}),
        ("{{a}} [b] [[c]]", {"a": "441/400", "b": "20/21", "c": "400/441"}),
        ("1.3::glowing koi::, river", {"glowing koi": "13/10"}),
        ("0.5::{dim}:: x", {"dim": "21/40"}),
        ("a} cat] {never closed", {"never closed": "21/20"}),
        ("2::all of it", {"all of it": "2"}),
    ],
)
def test_novelais_brackets(text: str, weights: dict[str, str]) -> None:
    conditioning, _ = read_novelai(text)
    said = {conditioning.text[span.start : span.end]: span.weight for span in conditioning.spans}
    assert said == {words: Fraction(weight) for words, weight in weights.items()}


def test_novelais_negative_weights_are_named() -> None:
    conditioning, reasons = read_novelai("a hat, -1::red::, blue")
    assert conditioning.text == "a hat, , blue" and any(reason.level == "unsupported" for reason in reasons)


@given(st.text(st.characters(codec="utf-8", exclude_characters="{}[]:"), max_size=50))
def test_text_without_brackets_is_itself(text: str) -> None:
    assert read_novelai(text)[0] == Conditioning(text)


def test_a_negative_prompt_given_by_hand_holds_over_that_of_a_picture(
    capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path
) -> None:
    options = ("--checkpoint", tiny, "--out", tmp_path / "out", "--negative", "blue", "--json")
    path = picture(tmp_path / "a.png", INFO.format(size="24x16"))
    for asked in (("--from", path), (INFO.format(size="24x16"),)):
        [row] = command(capfd, "generate", *asked, *options).document["images"]
        assert (row["negative"], row["seed"]) == ("blue", 42)
