"""The embedded checkpoint is what it says: stock diffusers opens it, its parts are small and safe, its card is true."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from limner.promptdb.errors import BadInput
from limner.promptdb.records import Conditioning, Drawing
from limner.tools.diffusion.checkpoint import Checkpoint, open_checkpoint
from limner.tools.diffusion.sampling.sampler import Sampler
from limner.tools.miniature.train import WEIGHTS, train
from limner.tools.miniature.world.nouns import NOUNS
from limner.tools.miniature.world.render import render
from limner.tools.miniature.world.scene import Scene, draw_scene
from limner.tools.miniature.world.style_specs import SPECS
from limner.tools.miniature.world.vocabulary import DEFECTS, WORLD
from limner.tools.scoring.asked import World
from limner.tools.scoring.base import Scorer
from limner.tools.scoring.judge import Judge, Sight
from limner.tools.scoring.registry import open_scorer
from tests.tools.miniature.glyph_sheet import GLYPHS

MEGABYTES = 60
Asks = Callable[[Scene], object]
Sees = Callable[[Scene, Sight], object]
OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above"}
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


@pytest.fixture(scope="module")
def fresh(miniature: Checkpoint) -> list[tuple[Scene, Sight]]:
    """400 scenes that neither training nor the card's figures have seen, and what the judge sees in their pictures."""
    rng, judge = np.random.default_rng(20_261), open_scorer("judge", miniature)
    assert isinstance(judge, Judge)
    scenes = [draw_scene(rng, len(miniature.card.document["nouns"])) for _ in range(400)]
    return list(zip(scenes, judge.see([Image.fromarray(render(scene, GLYPHS)) for scene in scenes]), strict=True))


def names(scene: Scene) -> set[str]:
    return {NOUNS[thing.noun].name for thing in scene.things}


def painted(scene: Scene) -> str:
    return scene.look or scene.style


def from_first_noun(scene: Scene) -> str | None:
    """The relation of the two things as the judge tells it: of the one that comes first in the vocabulary to the other."""
    first, second = scene.things
    return scene.relation if first.noun < second.noun else OPPOSITE[scene.relation or ""]


def clear(scene: Scene) -> bool:
    quality = scene.quality
    return not (quality.lighting or quality.palette or quality.weather or quality.defects)


@pytest.mark.parametrize(
    ("kind", "wanted", "right", "least"),
    [
        ("things", lambda scene: True, lambda scene, seen: set(seen.things) == names(scene), 0.85),
        ("things where it is clear", clear, lambda scene, seen: set(seen.things) == names(scene), 0.9),
        ("number", lambda scene: not scene.relation, lambda scene, seen: seen.count == scene.count, 0.97),
        ("relation", lambda scene: scene.relation, lambda scene, seen: seen.relation == from_first_noun(scene), 0.82),
        ("background", lambda scene: True, lambda scene, seen: seen.background == scene.background, 0.95),
        ("style where it is a photo", lambda scene: painted(scene) == "photo", lambda scene, seen: seen.style == "photo", 0.9),
        ("style where it is none", lambda scene: painted(scene) != "photo", lambda scene, seen: seen.style == painted(scene), 0.87),
        ("no defect", lambda scene: not scene.quality.defects, lambda scene, seen: not seen.defects, 0.9),
        ("a defect", lambda scene: scene.quality.defects, lambda scene, seen: set(seen.defects) & set(scene.quality.defects), 0.8),
    ],
)  # fmt: skip
def test_the_judge_is_right_about_fresh_scenes_of_every_kind(
    fresh: list[tuple[Scene, Sight]], kind: str, wanted: Asks, right: Sees, least: float
) -> None:
    """Rare answers by themselves: whoever says "photo, no defect" to everything fails two of them."""
    answers = [bool(right(scene, seen)) for scene, seen in fresh if wanted(scene)]
    assert len(answers) >= 40 and np.mean(answers) >= least, (kind, len(answers), np.mean(answers))


def test_the_figures_on_the_card_are_those_of_its_judge(miniature: Checkpoint, fresh: list[tuple[Scene, Sight]]) -> None:
    """Within four standard errors of what 400 other scenes say."""
    heads = miniature.card.document["measured"]["judge_on_renders"]
    assert set(heads) == {"object", "object_exact", "count", "colour", "relation", "background", "style", "defects"}
    found = {
        "object_exact": [set(seen.things) == names(scene) for scene, seen in fresh],
        "background": [seen.background == scene.background for scene, seen in fresh],
        "style": [seen.style == painted(scene) for scene, seen in fresh],
        "defects": [(name in seen.defects) == (name in scene.quality.defects) for scene, seen in fresh for name in DEFECTS],
    }
    for head, answers in found.items():
        error = np.sqrt(heads[head] * (1 - heads[head]) / len(fresh))
        assert abs(np.mean(answers) - heads[head]) < 4 * error, head


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
