"""The aesthetic head: LAION's layers folded into one map, its ReLU variant not, the text never looked at."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from limner.promptdb.errors import BadInput
from limner.tools.scoring.aesthetic import LINEAR_LAYERS, RELU_LAYERS, AestheticScorer, apply_head, read_head
from limner.tools.scoring.base import Scorer
from limner.tools.scoring.clip import ClipEncoder
from tests.tools.scoring.tiny_clips import pictures, save_tiny_clip

WIDTHS = (48, 40, 24, 16, 8, 1)
SIZES = ((32, 32), (64, 40), (33, 90))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> ClipEncoder:
    return ClipEncoder.open(save_tiny_clip(tmp_path_factory.mktemp("clip"), seed=3))


def laion(relu: bool, seed: int = 0) -> torch.nn.Sequential:
    """The Sequential that LAION trained, narrow: activations sit where its comments have them."""
    generator = torch.Generator().manual_seed(seed)
    parts: list[torch.nn.Module] = []
    for index, (wide, narrow) in enumerate(pairwise(WIDTHS)):
        layer = torch.nn.Linear(wide, narrow)
        with torch.no_grad():
            layer.weight.copy_(torch.randn(narrow, wide, generator=generator) / wide**0.5)
            layer.bias.copy_(torch.randn(narrow, generator=generator))
        parts.append(layer)
        if relu and index < 4:
            parts.append(torch.nn.ReLU())
        if index < 3:
            parts.append(torch.nn.Dropout(0.2))
    return torch.nn.Sequential(*parts).eval()


def save(network: torch.nn.Sequential, path: Path) -> Path:
    tensors = {f"layers.{key}": value.contiguous() for key, value in network.state_dict().items()}
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)
    return path


@pytest.mark.parametrize(("relu", "file", "layers"), [(False, "head.pth", 1), (True, "head.safetensors", 5)])
def test_a_laion_head_gives_what_its_own_network_gives(encoder: ClipEncoder, tmp_path: Path, relu: bool, file: str, layers: int) -> None:
    network = laion(relu)
    places = tuple(int(key.split(".")[0]) for key in network.state_dict() if key.endswith("weight"))
    assert places == (RELU_LAYERS if relu else LINEAR_LAYERS)
    path = save(network, tmp_path / file)
    assert len(read_head(path)) == layers
    images = pictures(*SIZES)
    scores = AestheticScorer(encoder, path).score(images, ["a cat", "", "anything"])
    expected = network(encoder.image_features(images).clone()).squeeze(-1)
    np.testing.assert_allclose(scores, expected.detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("shape", [(48,), (1, 48)])
def test_a_linear_head_is_read(encoder: ClipEncoder, tmp_path: Path, shape: tuple[int, ...]) -> None:
    weight = torch.linspace(-1, 1, 48)
    save_file({"weight": weight.reshape(shape).clone(), "bias": torch.tensor([5.0])}, tmp_path / "head.safetensors")
    images = pictures(*SIZES)
    scores = AestheticScorer(encoder, tmp_path / "head.safetensors").score(images, [""] * 3)
    np.testing.assert_allclose(scores, (encoder.image_features(images) @ weight + 5).numpy(), atol=1e-5)


def test_the_text_is_not_looked_at_and_duties_are_done(encoder: ClipEncoder, tmp_path: Path) -> None:
    scorer = AestheticScorer(encoder, save(laion(False), tmp_path / "head.pth"))
    assert isinstance(scorer, Scorer) and scorer.higher_is_better and scorer.version
    images = pictures(*SIZES)
    np.testing.assert_array_equal(scorer.score(images, ["a", "b", "c"]), scorer.score(images, ["x " * 500] * 3))
    alone = [scorer.score([image], ["a"])[0] for image in images]
    np.testing.assert_allclose(scorer.score(images, [""] * 3), alone, atol=1e-4)
    assert scorer.score([], []).shape == (0,)
    with pytest.raises(ValueError, match="as many texts"):
        scorer.score(images, ["a"])


def test_another_head_is_another_version(encoder: ClipEncoder, tmp_path: Path) -> None:
    first = AestheticScorer(encoder, save(laion(False, 0), tmp_path / "a.pth"))
    second = AestheticScorer(encoder, save(laion(False, 1), tmp_path / "b.pth"))
    assert first.version != second.version


def test_the_score_can_be_followed_back_to_the_features(tmp_path: Path) -> None:
    features = torch.randn(2, 48).requires_grad_(True)
    apply_head(read_head(save(laion(True), tmp_path / "head.pth")), features).sum().backward()
    assert features.grad is not None and features.grad.abs().max() > 0


def test_a_head_that_does_not_fit_is_refused(encoder: ClipEncoder, tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(1, 7), "bias": torch.zeros(1)}, tmp_path / "narrow.safetensors")
    with pytest.raises(BadInput, match="reads features of 7 numbers, but the CLIP model gives 48"):
        AestheticScorer(encoder, tmp_path / "narrow.safetensors")
    save_file({"something": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(BadInput, match="no aesthetic head"):
        AestheticScorer(encoder, tmp_path / "other.safetensors")
    broken = {f"layers.{key}": value for key, value in laion(False).state_dict().items()}
    torch.save({**broken, "layers.2.weight": torch.zeros(24, 3)}, tmp_path / "broken.pth")
    with pytest.raises(BadInput, match="do not follow"):
        read_head(tmp_path / "broken.pth")
