"""A style is a LoRA that stock diffusers loads; a merge is the mean of two; training one leaves the base as it was."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from limner.promptdb.errors import BadInput
from limner.promptdb.records import Conditioning, Drawing
from limner.tools.diffusion.checkpoint import open_checkpoint
from limner.tools.diffusion.sampling.sampler import Sampler
from limner.tools.miniature.recipe.style_training import merged, save_style, train_style
from limner.tools.miniature.train import WEIGHTS
from limner.tools.miniature.world.style_specs import SPECS
from limner.tools.scoring.asked import World
from limner.tools.training import Schedule
from tests.tools.miniature.glyph_sheet import GLYPHS

Parts = dict[str, dict[str, torch.Tensor]]
PROMPT = "a cat on a beach"


@pytest.fixture(scope="module")
def styles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Parts]:
    """Two styles after a few steps, on the embedded checkpoint."""
    base = open_checkpoint("miniature", "cpu")
    before = {name: value.clone() for name, value in base.unet.state_dict().items()}
    made = {}
    for spec in SPECS[:2]:
        parts = base.unet, base.text_encoder, base.vae, base.tokenizer, 60, 8
        work = tmp_path_factory.mktemp(spec.name)
        made[spec.name] = train_style(spec, *parts, Schedule(3, 0.05, 1), 4, work, 0, GLYPHS, lambda text: None)
    assert all(torch.equal(before[name], value) for name, value in base.unet.state_dict().items())
    return made


@pytest.fixture(scope="module")
def folder(styles: dict[str, Parts], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded checkpoint with these two and their merge on its card."""
    folder = tmp_path_factory.mktemp("styled") / "weights"
    shutil.copytree(WEIGHTS, folder)
    first, second = (styles[spec.name] for spec in SPECS[:2])
    both = {**styles, "both": {part: merged(first[part], second[part]) for part in first}}
    for name, parts in both.items():
        save_style(parts, folder / "styles" / name)
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    card["styles"] = {name: {"lora": f"styles/{name}", "triggers": [name]} for name in both}
    (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")
    return folder


def drawn(name: str) -> torch.Tensor:
    checkpoint = open_checkpoint(name, "cpu")
    settings = checkpoint.default_settings
    return Sampler(checkpoint).render([Drawing(Conditioning(PROMPT), 5, settings, checkpoint.fingerprint)], 1)


def test_stock_diffusers_draws_the_same_with_the_same_style(folder: Path) -> None:
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.load_lora_weights(folder / "styles" / "neon", weight_name="pytorch_lora_weights.safetensors")
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))["recommended"]
    images = pipeline(
        PROMPT,
        num_inference_steps=card["steps"],
        guidance_scale=card["guidance_scale"],
        generator=torch.Generator().manual_seed(5),
        output_type="np",
    ).images
    ours = drawn(f"{folder}:neon").clamp(0, 1)
    assert (ours.permute(0, 2, 3, 1) - torch.from_numpy(images)).abs().max() < 1e-5
    assert (ours - drawn(str(folder)).clamp(0, 1)).abs().max() > 0.01


def test_a_style_has_a_card_and_a_fingerprint_of_its_own_and_is_small(folder: Path) -> None:
    base, style = open_checkpoint(str(folder), "cpu"), open_checkpoint(f"{folder}:neon", "cpu")
    assert style.fingerprint != base.fingerprint
    assert style.card.document["style"] == {"name": "neon", "lora": "styles/neon", "triggers": ["neon"]}
    assert "style" not in base.card.document
    assert all(file.stat().st_size < 1.5e6 for file in (folder / "styles").rglob("*.safetensors"))
    keys = load_file(folder / "styles" / "neon" / "pytorch_lora_weights.safetensors")
    assert {key.split(".")[0] for key in keys} == {"unet", "text_encoder"}


def test_every_layer_that_was_trained_is_in_use(folder: Path, styles: dict[str, Parts]) -> None:
    style = open_checkpoint(f"{folder}:neon", "cpu")
    for part, module in (("unet", style.unet), ("text_encoder", style.text_encoder)):
        loaded = [value for name, value in module.named_parameters() if "lora_" in name]
        assert len(loaded) == len(styles["neon"][part])
        assert sum(float(value.abs().sum()) for value in loaded) == pytest.approx(
            sum(float(value.float().abs().sum()) for value in styles["neon"][part].values()), rel=1e-4
        )


def test_a_merge_is_the_mean_of_its_sources(styles: dict[str, Parts]) -> None:
    first, second = (styles[spec.name]["unet"] for spec in SPECS[:2])
    both = merged(first, second)
    down = next(key for key in first if "down" in key or "lora_A" in key)
    up = down.replace("lora_A", "lora_B").replace("down", "up")

    def change(lora: dict[str, torch.Tensor]) -> torch.Tensor:
        return lora[up].flatten(1).double() @ lora[down].flatten(1).double()

    assert torch.allclose(change(both), (change(first) + change(second)) / 2, atol=1e-4)


@pytest.mark.parametrize(("style", "message"), [("oil", "has no style 'oil'; there are neon, watercolor, both"), ("", "no checkpoint")])
def test_an_unknown_style_is_refused_with_the_ones_that_are_there(folder: Path, style: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        open_checkpoint(f"{folder}:{style}", "cpu")


def test_truncated_style_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "weights"
    shutil.copytree(folder, copy)
    file = copy / "styles" / "neon" / "pytorch_lora_weights.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(BadInput) as refused:
        open_checkpoint(f"{copy}:neon", "cpu")
    assert "\n" not in str(refused.value)


def test_a_checkpoint_without_styles_says_so(tmp_path: Path) -> None:
    copy = tmp_path / "weights"
    shutil.copytree(WEIGHTS, copy)
    card = json.loads((copy / "card.json").read_text(encoding="utf-8"))
    card.pop("styles", None)
    (copy / "card.json").write_text(json.dumps(card), encoding="utf-8")
    with pytest.raises(BadInput, match="has no style 'neon'; it has none"):
        open_checkpoint(f"{copy}:neon", "cpu")


def test_a_trigger_alone_asks_the_judge_for_its_style() -> None:
    """As `evaluate miniature` asks; behind a prompt it would not, where the prompt names another style ("a photo of ...")."""
    world = World.read(WEIGHTS / "judge" / "world.json")
    for spec in SPECS:
        assert {world.read_prompt(trigger).style for trigger in spec.triggers} <= set(spec.looks)
        assert {world.read_prompt(f"a photo of a cat, {trigger}").style for trigger in spec.triggers} == {"photo"}
