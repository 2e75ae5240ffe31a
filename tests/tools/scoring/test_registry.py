"""The registry: the card's scorers first, then the published ones; what is missing is said with what to fetch."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from limner.promptdb.errors import BadInput
from limner.tools.diffusion.card import Card
from limner.tools.scoring.aesthetic import AestheticScorer
from limner.tools.scoring.clip import ClipScorer, SphericalClipScorer
from limner.tools.scoring.hps import HpsScorer
from limner.tools.scoring.registry import PUBLISHED, open_scorer, scorer_names, unavailable
from tests.tools.scoring.tiny_clips import open_clip_names, pictures, save_tiny_clip

IMAGES = pictures((32, 32), (40, 60))
TEXTS = ("a cat", "a dog")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(autouse=True)
def nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No weights on this machine but those that a test puts into the returned hub cache."""
    for name in ("LIMNER_HPS_DIR", "LIMNER_CLIP_DIR", "LIMNER_CLIP_L_DIR", "LIMNER_AESTHETIC_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def checkpoint(folder: Path, scorers: dict[str, dict[str, str]], judge: str = "") -> Any:
    """What the registry reads of a checkpoint: its card, name, device, tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "card.json").write_text(json.dumps({"scorers": scorers, "judge": judge}), "utf-8")
    return SimpleNamespace(name="toy", card=Card.read(folder), device="cpu", tokenizer=None)


def test_every_kind_on_a_card_is_opened_under_the_cards_name(tmp_path: Path, clip: Path) -> None:
    shutil.copytree(clip, tmp_path / "toy" / "align")
    shutil.copytree(clip, tmp_path / "toy" / "taste")
    (tmp_path / "toy" / "beauty").mkdir()
    for folder in ("taste", "beauty"):
        save_file({"weight": torch.ones(1, 48), "bias": torch.zeros(1)}, tmp_path / "toy" / folder / "head.safetensors")
    toy = checkpoint(
        tmp_path / "toy",
        {
            "alignment": {"kind": "clip", "path": "align"},
            "loss": {"kind": "spherical_clip", "path": "align"},
            "preference": {"kind": "hps", "path": "align"},
            "aesthetic": {"kind": "aesthetic", "path": "taste"},
            "beauty": {"kind": "aesthetic", "path": "beauty", "clip": "align"},
        },
    )
    kinds: dict[str, type] = {"alignment": ClipScorer, "loss": SphericalClipScorer, "preference": HpsScorer}
    kinds |= {"aesthetic": AestheticScorer, "beauty": AestheticScorer}
    for name, kind in kinds.items():
        scorer = open_scorer(name, toy)
        assert type(scorer) is kind and scorer.name == name and not scorer.held_out
        assert np.isfinite(scorer.score(IMAGES, TEXTS)).all()
        assert unavailable(name, toy) == ""
    assert scorer_names(toy) == list(dict.fromkeys([*kinds, *PUBLISHED]))


def test_a_card_goes_before_the_published_scorer_of_that_name(tmp_path: Path, clip: Path) -> None:
    shutil.copytree(clip, tmp_path / "toy" / "own")
    toy = checkpoint(tmp_path / "toy", {"clip": {"kind": "clip", "path": "own"}})
    assert isinstance(open_scorer("clip", toy), ClipScorer)
    with pytest.raises(BadInput, match="hf download"):
        open_scorer("clip")


def test_the_cards_judge_is_held_out_of_searches(tmp_path: Path, clip: Path) -> None:
    shutil.copytree(clip, tmp_path / "toy" / "own")
    toy = checkpoint(tmp_path / "toy", {"clip": {"kind": "clip", "path": "own"}, "strict": {"kind": "clip", "path": "own"}}, judge="strict")
    assert open_scorer("strict", toy).held_out and not open_scorer("clip", toy).held_out


def test_an_unknown_name_is_answered_with_those_there_are(tmp_path: Path) -> None:
    toy = checkpoint(tmp_path / "toy", {"mine": {"kind": "clip", "path": "x"}})
    with pytest.raises(BadInput, match=r"no scorer 'hsp'; there are mine, clip, spherical_clip, hpsv2, hpsv2\.1, aesthetic"):
        open_scorer("hsp", toy)


def test_a_card_that_points_nowhere_is_refused(tmp_path: Path, clip: Path) -> None:
    shutil.copytree(clip, tmp_path / "toy" / "own")
    scorers = {
        "odd": {"kind": "oracle", "path": "own"},
        "gone": {"kind": "clip", "path": "away"},
        "headless": {"kind": "aesthetic", "path": "own"},
    }
    toy = checkpoint(tmp_path / "toy", scorers)
    for name, says in {"odd": "the kind 'oracle'", "gone": "away", "headless": r"head\.safetensors"}.items():
        with pytest.raises(BadInput, match=says):
            open_scorer(name, toy)
        assert unavailable(name, toy)


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_a_published_scorer_without_weights_says_what_to_fetch_and_where_to_put_it(name: str) -> None:
    with pytest.raises(BadInput) as caught:
        open_scorer(name)
    line = str(caught.value)
    assert "\n" not in line and name in line and "LIMNER_" in line and ("hf download" in line or "fetch" in line)
    assert unavailable(name) == line


def test_hps_files_are_found_through_the_variable(tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()
    for vocabulary in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(clip / vocabulary, weights / vocabulary)
    torch.save({"state_dict": open_clip_names(clip)}, weights / "HPS_v2.1_compressed.pt")
    monkeypatch.setenv("LIMNER_HPS_DIR", str(weights))
    scorer = open_scorer("hpsv2.1")
    assert scorer.name == "hpsv2.1" and np.isfinite(scorer.score(IMAGES, TEXTS)).all()
    with pytest.raises(BadInput, match=r"HPS_v2_compressed\.pt"):
        open_scorer("hpsv2")
    monkeypatch.setenv("LIMNER_HPS_DIR", str(weights / "HPS_v2.1_compressed.pt"))
    np.testing.assert_array_equal(open_scorer("hpsv2.1").score(IMAGES, TEXTS), scorer.score(IMAGES, TEXTS))
    with pytest.raises(BadInput, match="which is not hpsv2"):
        open_scorer("hpsv2")
    monkeypatch.setenv("LIMNER_HPS_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(BadInput, match="which is not there"):
        open_scorer("hpsv2.1")


def test_a_clip_model_folder_of_hps_weights_serves_too(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMNER_HPS_DIR", str(clip))
    assert isinstance(open_scorer("hpsv2"), HpsScorer)


def test_weights_in_the_hub_cache_are_found_without_a_network(nothing_installed: Path, clip: Path) -> None:
    repository = nothing_installed / "models--openai--clip-vit-base-patch32"
    shutil.copytree(clip, repository / "snapshots" / "abc")
    assert isinstance(open_scorer("clip"), ClipScorer)
    assert isinstance(open_scorer("spherical_clip"), SphericalClipScorer)
    (repository / "snapshots" / "000").mkdir()
    (repository / "snapshots" / "000" / "model.safetensors").write_bytes(b"another revision")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc", "utf-8")
    assert isinstance(open_scorer("clip"), ClipScorer)


def test_laions_head_is_found_with_the_clip_beside_it(tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "aesthetic"
    shutil.copytree(clip, folder / "clip")
    monkeypatch.setenv("LIMNER_AESTHETIC_DIR", str(folder))
    with pytest.raises(BadInput, match=r"sac\+logos\+ava1-l14-linearMSE\.pth"):
        open_scorer("aesthetic")
    torch.save({"weight": torch.ones(1, 48), "bias": torch.zeros(1)}, folder / "sac+logos+ava1-l14-linearMSE.pth")
    assert isinstance(open_scorer("aesthetic"), AestheticScorer)
    shutil.rmtree(folder / "clip")
    with pytest.raises(BadInput, match="openai/clip-vit-large-patch14"):
        open_scorer("aesthetic")
