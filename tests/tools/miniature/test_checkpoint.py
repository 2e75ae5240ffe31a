"""The embedded checkpoint is what it says: stock diffusers opens it, its parts are small and safe, its card is true."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from limner.promptdb.errors import BadInput
from limner.promptdb.records import Conditioning, Drawing
from limner.tools.diffusion.checkpoint import Checkpoint, open_checkpoint
from limner.tools.diffusion.sampling.sampler import Sampler
from limner.tools.miniature.train import WEIGHTS, train
from limner.tools.miniature.world.style_specs import SPECS
from limner.tools.miniature.world.vocabulary import WORLD
from limner.tools.scoring.asked import World
from limner.tools.scoring.base import Scorer
from limner.tools.scoring.registry import open_scorer
from tests.tools.miniature.glyph_sheet import GLYPHS

MEGABYTES = 60
PROMPTS = ["a red car on a beach", "a penguin in the snow, watercolor", "a cat above a blue bus"]


@pytest.fixture(scope="module")
def miniature() -> Checkpoint:
    return open_checkpoint("miniature", "cpu")


def test_stock_diffusers_opens_it_and_draws_the_same_pictures(miniature: Checkpoint) -> None:
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(WEIGHTS, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    settings = miniature.default_settings
    drawings = [Drawing(Conditioning(text, "blurry"), seed, settings, miniature.fingerprint) for seed, text in enumerate(PROMPTS)]
    ours = Sampler(miniature).render(drawings, 4).clamp(0, 1).permute(0, 2, 3, 1).numpy()
    theirs = pipeline(
        PROMPTS,
        negative_prompt=["blurry"] * len(PROMPTS),
        num_inference_steps=settings.steps,
        guidance_scale=settings.guidance_scale,
        generator=[torch.Generator().manual_seed(drawing.seed) for drawing in drawings],
        output_type="np",
    ).images
    assert theirs.shape == (3, 64, 64, 3)
    assert np.abs(ours - theirs).max() < 1e-5


def test_its_weights_are_safetensors_and_small() -> None:
    files = [path for path in WEIGHTS.rglob("*") if path.is_file()]
    weights = [path for path in files if path.suffix == ".safetensors"]
    assert sum(path.stat().st_size for path in weights) < MEGABYTES * 1e6
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".jsonl"}


def test_it_is_a_small_stable_diffusion_on_the_noise_schedule_of_the_first_generation(miniature: Checkpoint) -> None:
    scheduler = json.loads((WEIGHTS / "scheduler" / "scheduler_config.json").read_text())
    assert (scheduler["beta_start"], scheduler["beta_end"], scheduler["beta_schedule"]) == (0.00085, 0.012, "scaled_linear")
    assert miniature.tokenizer.model_max_length == 77
    assert (miniature.vae_factor, miniature.latent_channels) == (4, 8)
    assert miniature.unet.config.sample_size == 16


def test_every_scorer_of_the_card_opens_and_only_the_judge_is_held_out(miniature: Checkpoint) -> None:
    card = miniature.card
    scorers = {name: open_scorer(name, miniature) for name in card.scorers}
    assert set(scorers) == {"preference", "alignment", "aesthetic", "judge"}
    assert all(isinstance(scorer, Scorer) for scorer in scorers.values())
    assert {name for name, scorer in scorers.items() if scorer.held_out} == {"judge"} == {card.judge}
    assert card.objective == "preference"


def test_the_card_lists_the_nouns_that_the_judge_knows(miniature: Checkpoint) -> None:
    world = World.read(miniature.card.path("judge/world.json"))
    assert list(world.names("nouns")) == miniature.card.document["nouns"]
    assert len(miniature.card.document["nouns"]) >= 60


def test_the_card_says_how_its_parts_were_made_and_what_they_reached(miniature: Checkpoint) -> None:
    document = miniature.card.document
    assert set(document["recipe"]) >= {"preset", "seed"}
    assert document["measured"]["fresh_scenes"] >= 1000
    assert "note" not in document["recipe"]


@pytest.mark.parametrize(("renders", "least"), [("judge_on_renders", 0.92), ("judge_on_plain_renders", 0.955)])
def test_the_judge_is_right_in_most_questions_of_every_kind(miniature: Checkpoint, renders: str, least: float) -> None:
    heads = dict(miniature.card.document["measured"][renders])
    assert 0 < heads.pop("object_exact") <= 1
    assert set(heads) == {"object", "count", "colour", "relation", "background", "style", "defects"}
    assert min(heads.values()) >= least, heads


def test_a_placebo_word_in_the_prompt_gains_nothing_by_itself(miniature: Checkpoint) -> None:
    """The preference scorer is asked about the user's prompt: a word that only the drawn prompt holds acts through the picture alone."""
    scorer = open_scorer("preference", miniature)
    image = Sampler(miniature).draw([Drawing(Conditioning(PROMPTS[0]), 3, miniature.default_settings, miniature.fingerprint)])[0].image
    assert image is not None
    assert scorer.score([image], [PROMPTS[0]])[0] == pytest.approx(scorer.score([image] * 2, [PROMPTS[0], PROMPTS[1]])[0], abs=1e-4)


@pytest.mark.parametrize(("change", "message"), [({"preset": "tpu"}, "unknown preset"), ({"stages": ("unet", "gan")}, "unknown stage")])
def test_a_recipe_that_is_not_there_is_refused_before_anything_is_written(tmp_path: Path, change: dict, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(BadInput, match=message):
        train(out=tmp_path / "out", work=tmp_path / "work", **change)
    assert list(tmp_path.iterdir()) == []


UNET_FILE = "diffusion_pytorch_model.safetensors"
KEEP = ("vae", "text_encoder", "alignment", "judge", "preference", "styles")


@pytest.mark.slow
def test_the_recipe_runs_from_nothing_to_a_checkpoint_that_opens(tmp_path: Path) -> None:
    train(out=tmp_path / "out", work=tmp_path / "work", share=0.0003, glyphs=GLYPHS, say=lambda text: None)
    opened = open_checkpoint(str(tmp_path / "out"), "cpu")
    assert {open_scorer(name, opened).name for name in opened.card.scorers} == {"preference", "alignment", "aesthetic", "judge"}
    assert (tmp_path / "work" / "samples.png").is_file()
    card = opened.card.document
    assert {name: entry["split"] for name, entry in card["styles"].items()} == {spec.name: spec.split for spec in SPECS}
    assert all(opened.card.path(file).is_file() for file in card["prompts"].values())
    assert open_checkpoint(f"{tmp_path / 'out'}:{SPECS[-1].name}", "cpu").fingerprint != opened.fingerprint
    assert card["world"] == WORLD
    assert card["hard"]["threshold"] > 0 and {"hard.train", "hard.heldout"} <= {*card["prompts"]}

    style = tmp_path / "out" / "styles" / "neon" / "pytorch_lora_weights.safetensors"
    kept_style = load_file(style)
    before = load_file(tmp_path / "out" / "judge" / "judge.safetensors"), load_file(tmp_path / "out" / "unet" / UNET_FILE)
    train(out=tmp_path / "out", work=tmp_path / "again", seed=1, keep=KEEP, share=0.0003, glyphs=GLYPHS, say=lambda text: None)
    after = load_file(tmp_path / "out" / "judge" / "judge.safetensors"), load_file(tmp_path / "out" / "unet" / UNET_FILE)
    assert not [path for path in (tmp_path / "out").rglob("*.json") if str(tmp_path) in path.read_text(encoding="utf-8")]
    assert all(torch.equal(before[0][name], after[0][name]) for name in before[0])
    again = load_file(style)
    assert kept_style.keys() == again.keys() and all(torch.equal(kept_style[name], again[name]) for name in again)
    assert not all(torch.equal(before[1][name], after[1][name]) for name in before[1])
    assert json.loads((tmp_path / "out" / "card.json").read_text())["recipe"]["kept"] == sorted(KEEP)
    assert not list((tmp_path / "again").glob("vae*"))
