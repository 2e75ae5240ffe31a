"""Scorers as losses of tensors: the same numbers, upright pictures, finite gradients.

Properties 11 and 12 of DPO-Diff.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from limner.tools.scoring.adversarial import Adversarial
from limner.tools.scoring.clip import ClipEncoder, ClipScorer, SphericalClipScorer, spherical_loss
from limner.tools.scoring.differentiable import differentiable, prepare
from limner.tools.scoring.hps import HpsScorer
from limner.tools.scoring.preprocessing import ClipPreprocessing, PadPreprocessing, to_unit
from tests.doubles import FakeScorer
from tests.tools.scoring.tiny_clips import SIDE, pictures, save_tiny_clip

TEXT = "a red cat"


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> ClipEncoder:
    return ClipEncoder.open(Path(save_tiny_clip(tmp_path_factory.mktemp("clip"))))


@pytest.fixture(scope="module")
def padded(encoder: ClipEncoder) -> ClipEncoder:
    return ClipEncoder(encoder.model, encoder._tokenizer, PadPreprocessing(SIDE), "padded")


def lopsided(size: tuple[int, int]) -> Image.Image:
    """No two of its flips and turns are alike."""
    width, height = size
    y, x = np.mgrid[0:height, 0:width] / max(size)
    return Image.fromarray((255 * np.stack([x, y**2, (x > 0.6) * 0.5], axis=-1)).astype(np.uint8))


@pytest.mark.parametrize("size", [(SIDE, SIDE), (64, 64), (80, 48)])
def test_the_loss_of_a_tensor_is_the_score_of_its_picture_upright(encoder: ClipEncoder, padded: ClipEncoder, size: tuple[int, int]) -> None:
    image = lopsided(size)
    tensor = to_unit([image])
    for scorer, sign in ((SphericalClipScorer(encoder), 1), (ClipScorer(encoder), -1), (HpsScorer(padded), -1)):
        loss = differentiable(scorer, TEXT)
        assert loss is not None
        expected = sign * float(scorer.score([image], [TEXT])[0])
        assert float(loss(tensor)) == pytest.approx(expected, abs=3e-3)
        turned = float(loss(tensor.transpose(2, 3)))
        assert abs(turned - expected) > 3e-3, "a transposed picture must not score the same"


def test_the_preprocessing_on_tensors_is_pillows(encoder: ClipEncoder) -> None:
    for size in ((64, 64), (80, 48), (20, 30)):
        [image] = pictures(size)
        found = prepare(encoder, to_unit([image]))
        assert torch.allclose(found, encoder.prepare([image]), atol=0.05)
        assert found.shape == (1, 3, SIDE, SIDE)


def test_an_attack_minimises_exactly_the_negated_loss(encoder: ClipEncoder) -> None:
    scorer = SphericalClipScorer(encoder)
    attack = Adversarial(scorer)
    assert attack.higher_is_better and (attack.name, attack.version, attack.held_out) == (scorer.name, scorer.version, False)
    plain, turned = differentiable(scorer, TEXT), differentiable(attack, TEXT)
    assert plain is not None and turned is not None
    tensor = to_unit([lopsided((32, 32))])
    assert float(turned(tensor)) == -float(plain(tensor))
    assert np.array_equal(attack.score([lopsided((32, 32))], [TEXT]), scorer.score([lopsided((32, 32))], [TEXT]))


def test_gradients_reach_the_picture_and_what_is_saturated_has_none(encoder: ClipEncoder) -> None:
    loss = differentiable(SphericalClipScorer(encoder), TEXT)
    assert loss is not None
    tensor = to_unit([lopsided((SIDE, SIDE))]).clone()
    tensor[:, :, :4] = 1.7
    tensor.requires_grad_()
    loss(tensor).sum().backward()
    assert tensor.grad is not None and tensor.grad.isfinite().all() and tensor.grad.abs().max() > 0
    assert tensor.grad[:, :, :4].abs().max() == 0
    assert all(parameter.grad is None for parameter in encoder.model.parameters())


def test_what_has_no_gradient_says_so() -> None:
    assert differentiable(FakeScorer("any"), TEXT) is None
    assert differentiable(Adversarial(FakeScorer("any")), TEXT) is None


@given(st.floats(0, math.pi))
def test_the_spherical_loss_is_half_the_squared_angle(angle: float) -> None:
    u = torch.tensor([1.0, 0.0], dtype=torch.float64)
    v = torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
    loss = float(spherical_loss(u, v))
    assert loss == pytest.approx(angle**2 / 2, abs=0.01 if angle > 3.13 else 1e-6)
    assert 0 <= loss <= math.pi**2 / 2
    assert loss == float(spherical_loss(v, u))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_its_gradient_is_finite_where_vectors_are_equal_or_opposite(sign: float) -> None:
    u = torch.tensor([0.6, 0.8], requires_grad=True)
    spherical_loss(u, sign * torch.tensor([0.6, 0.8])).backward()
    assert u.grad is not None and u.grad.isfinite().all()


def test_unknown_preprocessing_is_refused(encoder: ClipEncoder) -> None:
    assert isinstance(encoder.prepare, ClipPreprocessing)
    with pytest.raises(TypeError):
        prepare(ClipEncoder(encoder.model, encoder._tokenizer, lambda images: to_unit(images), "x"), torch.zeros(1, 3, 32, 32))
