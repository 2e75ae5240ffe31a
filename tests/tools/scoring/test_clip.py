"""CLIP similarity and spherical loss: transformers' own numbers, whatever shares the batch."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file

from limner.promptdb.errors import BadInput
from limner.tools.scoring.base import Scorer
from limner.tools.scoring.clip import ClipEncoder, ClipScorer, SphericalClipScorer, spherical_loss
from limner.tools.scoring.preprocessing import ClipPreprocessing
from tests.tools.scoring.tiny_clips import SIDE, pictures, save_tiny_clip

SIZES = ((32, 32), (64, 64), (51, 80), (100, 33), (20, 24))
TEXTS = ("a red cat", "a blue dog on the cat", "photo of a dog", "sharp", "a cat")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture
def encoder(folder: Path) -> ClipEncoder:
    return ClipEncoder.open(folder)


@pytest.mark.parametrize(
    "document",
    [
        {"size": {"shortest_edge": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}},
        {"size": SIDE, "crop_size": SIDE, "resample": 2, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4]},
        {"size": {"height": SIDE, "width": SIDE}, "do_center_crop": False},
        {"size": {"shortest_edge": 40}, "crop_size": {"height": SIDE, "width": SIDE}},
    ],
)
def test_preprocessing_equals_that_of_transformers(tmp_path: Path, document: dict[str, object]) -> None:
    import json

    from transformers import CLIPImageProcessorPil

    (tmp_path / "preprocessor_config.json").write_text(json.dumps(document), "utf-8")
    images = [*pictures(*SIZES), pictures((40, 40))[0].convert("RGBA"), pictures((40, 60))[0].convert("L")]
    ours = ClipPreprocessing.read(tmp_path, SIDE)(images)
    processor = CLIPImageProcessorPil(**document)
    theirs = processor([image.convert("RGB") for image in images], return_tensors="pt")["pixel_values"]
    assert ours.shape == (len(images), 3, SIDE, SIDE)
    assert (ours - theirs).abs().max() < 1e-5


def test_preprocessing_that_does_not_fit_the_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text('{"size": 224, "crop_size": 224}', "utf-8")
    with pytest.raises(BadInput, match="the model beside it reads 32x32"):
        ClipPreprocessing.read(tmp_path, SIDE)
    (tmp_path / "preprocessor_config.json").write_text('{"size": "big"}', "utf-8")
    with pytest.raises(BadInput, match="not a CLIP image processor"):
        ClipPreprocessing.read(tmp_path, SIDE)


def test_similarity_is_the_cosine_that_transformers_gives(folder: Path, encoder: ClipEncoder) -> None:
    from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

    model = CLIPModel.from_pretrained(folder).eval()
    processor = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    images = pictures(*SIZES)
    pixels = processor(images, return_tensors="pt")["pixel_values"]
    tokens = CLIPTokenizer.from_pretrained(folder)(list(TEXTS), padding="max_length", max_length=24, return_tensors="pt")
    with torch.no_grad():
        output = model(pixel_values=pixels, **tokens)
    expected = (output.image_embeds * output.text_embeds).sum(-1).numpy()
    scores = ClipScorer(encoder).score(images, TEXTS)
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert np.ptp(scores) > 0.01
    np.testing.assert_allclose(SphericalClipScorer(encoder).score(images, TEXTS), np.arccos(expected) ** 2 / 2, atol=1e-4)


@pytest.mark.parametrize("kind", [ClipScorer, SphericalClipScorer])
def test_scorers_do_their_duties(encoder: ClipEncoder, kind: type[ClipScorer]) -> None:
    scorer = kind(encoder)
    assert isinstance(scorer, Scorer) and scorer.version and not scorer.held_out
    images = pictures(*SIZES)
    together = scorer.score(images, TEXTS)
    assert together.dtype == np.float32 and np.isfinite(together).all()
    alone = np.concatenate([scorer.score([image], [text]) for image, text in zip(images, TEXTS, strict=True)])
    np.testing.assert_allclose(together, alone, atol=1e-4)
    np.testing.assert_allclose(scorer.score(images * 8, TEXTS * 8), np.tile(alone, 8), atol=1e-4)
    assert scorer.score([], []).shape == (0,)
    with pytest.raises(ValueError, match="as many texts"):
        scorer.score(images, TEXTS[:2])


def test_direction_is_up_for_similarity_and_down_for_the_loss(encoder: ClipEncoder) -> None:
    assert ClipScorer(encoder).higher_is_better and not SphericalClipScorer(encoder).higher_is_better
    images = pictures(*[(32, 32)] * 6)
    texts = ["a red cat"] * 6
    order = np.argsort(ClipScorer(encoder).score(images, texts))
    np.testing.assert_array_equal(order, np.argsort(-SphericalClipScorer(encoder).score(images, texts)))


def test_a_text_is_encoded_once_for_all_its_pictures(folder: Path, tmp_path: Path) -> None:
    encoder = ClipEncoder.open(Path(shutil.copytree(folder, tmp_path / "copy")))
    encoded: list[int] = []
    count = lambda module, args, kwargs, output: encoded.append(len(kwargs["input_ids"]))  # noqa: E731
    encoder.model.text_model.register_forward_hook(count, with_kwargs=True)
    scorer = ClipScorer(encoder)
    first = scorer.score(pictures(*[(32, 32)] * 10), ["a cat", "a dog"] * 5)
    assert sum(encoded) == 2
    np.testing.assert_array_equal(scorer.score(pictures(*[(32, 32)] * 10), ["a cat", "a dog"] * 5), first)
    assert sum(encoded) == 2


def test_texts_over_the_limit_are_cut_and_counted(folder: Path, tmp_path: Path) -> None:
    encoder = ClipEncoder.open(Path(shutil.copytree(folder, tmp_path / "copy")))
    scorer = ClipScorer(encoder)
    image = pictures((32, 32))
    cut, longer = scorer.score(image, ["cat " * 30])[0], scorer.score(image, ["cat " * 90])[0]
    assert cut == pytest.approx(longer, abs=1e-6)  # the 22 words that fit are the same
    scorer.score(image, ["cat " * 22])
    scorer.score(image, ["cat " * 30])
    assert encoder.truncated == 2


def test_scorers_of_one_folder_share_the_model(folder: Path) -> None:
    assert ClipEncoder.open(folder).model is (first := ClipEncoder.open(folder)).model
    assert ClipEncoder.open(folder) is first


def test_the_version_follows_the_weights_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    version = ClipEncoder.open(folder).version
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    assert ClipEncoder.open(copy).version == version
    weights = load_file(copy / "model.safetensors")
    weights["text_projection.weight"] = weights["text_projection.weight"] * 1.001
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    assert ClipEncoder.open(copy).version != version


def _without(folder: Path, key: str) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file({name: value for name, value in weights.items() if name != key}, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda folder: (folder / "config.json").unlink(), "no config.json"),
        (lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"), "pickled weights are not read"),
        (lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-100]), "corrupt"),
        (lambda folder: (folder / "config.json").write_text("{"), "not valid JSON"),
        (lambda folder: _without(folder, "visual_projection.weight"), "first visual_projection.weight"),
    ],
)
def test_a_folder_that_is_no_whole_model_is_refused_in_one_line(folder: Path, tmp_path: Path, damage: object, says: str) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    damage(copy)  # type: ignore[operator]
    with pytest.raises(BadInput, match=says) as caught:
        ClipEncoder.open(copy)
    assert "\n" not in str(caught.value)


def test_spherical_loss_is_half_the_squared_angle() -> None:
    angles = torch.linspace(0, 3.1, 50, dtype=torch.float64)
    x = torch.tensor([1.0, 0.0], dtype=torch.float64).expand(50, 2)
    y = torch.stack([angles.cos(), angles.sin()], dim=-1)
    torch.testing.assert_close(spherical_loss(x, y), angles**2 / 2)
    assert spherical_loss(x[0], -x[0]) == pytest.approx(math.pi**2 / 2, abs=0.01)
    assert spherical_loss(x[0], y[:1][0]) == 0


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_spherical_loss_has_a_finite_gradient_everywhere(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.nn.functional.normalize(torch.randn(4, 8, generator=generator), dim=-1)
    y = torch.stack([x[0], -x[1], x[2] + 1e-4, torch.nn.functional.normalize(torch.randn(8, generator=generator), dim=0)])
    x.requires_grad_(True)
    spherical_loss(x, y).sum().backward()
    assert x.grad is not None and torch.isfinite(x.grad).all()
    assert (x.grad[3] @ (y[3] - x[3].detach())) < 0  # towards the text the loss falls


def test_the_loss_can_be_followed_back_to_the_pixels(encoder: ClipEncoder) -> None:
    pixels = encoder.prepare(pictures((32, 32))).requires_grad_(True)
    text = encoder.text_features(["a red cat"])
    before = spherical_loss(encoder.encode_pixels(pixels), text)
    before.sum().backward()
    assert pixels.grad is not None and pixels.grad.abs().max() > 0
    stepped = pixels.detach() - 0.05 * pixels.grad / pixels.grad.norm()
    assert spherical_loss(encoder.encode_pixels(stepped), text) < before
    assert encoder.model.text_projection.weight.grad is None


def test_grey_and_transparent_pictures_are_scored(encoder: ClipEncoder) -> None:
    images = [Image.new("L", (40, 40), 100), Image.new("RGBA", (40, 40), (1, 2, 3, 4)), Image.new("1", (8, 8))]
    assert np.isfinite(ClipScorer(encoder).score(images, ["a cat"] * 3)).all()
