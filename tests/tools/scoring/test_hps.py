"""HPS: its own preprocessing, and the published files with open_clip's names give the features of the same CLIPModel."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from limner.promptdb.errors import BadInput
from limner.tools.scoring.base import Scorer
from limner.tools.scoring.clip import ClipEncoder, ClipScorer
from limner.tools.scoring.hps import HpsScorer, clean_text, config_of, open_hps
from limner.tools.scoring.preprocessing import MEAN, STD, PadPreprocessing
from tests.tools.scoring.tiny_clips import SIDE, open_clip_names, pictures, save_tiny_clip

TEXTS = ("a red cat", "a blue dog on the cat", "photo of a dog")
SIZES = ((32, 32), (60, 90), (100, 33))
BLACK = [-mean / std for mean, std in zip(MEAN, STD, strict=True)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_clip(tmp_path_factory.mktemp("hps"), activation="gelu")


def tokenizer(folder: Path) -> object:
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(folder)


def test_a_wide_picture_is_padded_with_black_above_and_below_not_cropped() -> None:
    image = pictures((64, 32))[0]
    pixels = PadPreprocessing(32)([image])[0]
    assert pixels.shape == (3, 32, 32)
    for rows in (pixels[:, :8], pixels[:, 24:]):
        np.testing.assert_allclose(rows.numpy(), np.broadcast_to(np.array(BLACK)[:, None, None], rows.shape), atol=1e-5)
    whole = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255
    shrunk = torch.nn.functional.interpolate(whole, (16, 32), mode="bicubic", align_corners=False, antialias=True)[0]
    expected = (shrunk - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    torch.testing.assert_close(pixels[:, 8:24], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("size", "left", "right"), [((30, 60), 8, 8), ((45, 100), 9, 9), ((29, 64), 9, 9), ((31, 66), 8, 9), ((20, 32), 6, 6)]
)
def test_a_tall_picture_is_centred_whatever_its_size(size: tuple[int, int], left: int, right: int) -> None:
    """White on black: `left` and `right` columns are padding, an odd one goes to the right."""
    pixels = PadPreprocessing(32)([pictures(size)[0].point(lambda level: 255)])[0, 0, 16]
    dark = np.isclose(pixels.numpy(), BLACK[0], atol=1e-4)
    assert dark.tolist() == [True] * left + [False] * (32 - left - right) + [True] * right


def test_a_very_long_picture_keeps_at_least_one_row() -> None:
    assert torch.isfinite(PadPreprocessing(32)(pictures((400, 3)))).all()


def test_score_is_the_cosine_of_features_under_its_own_preprocessing(folder: Path) -> None:
    from transformers import CLIPModel

    images = pictures(*SIZES)
    tokens = tokenizer(folder)(list(TEXTS), padding="max_length", max_length=24, return_tensors="pt")  # type: ignore[operator]
    with torch.no_grad():
        output = CLIPModel.from_pretrained(folder).eval()(pixel_values=PadPreprocessing(SIDE)(images), **tokens)
    expected = (output.image_embeds * output.text_embeds).sum(-1).numpy()
    scorer = HpsScorer(open_hps(folder))
    np.testing.assert_allclose(scorer.score(images, TEXTS), expected, atol=1e-5)
    plain = ClipScorer(ClipEncoder.open(folder)).score(images, TEXTS)
    assert abs(scorer.score(images, TEXTS) - plain)[0] < 1e-5  # a square picture of the right size needs no preprocessing
    assert abs(scorer.score(images, TEXTS) - plain)[1:].max() > 1e-3


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("a “red” car, it’s new", 'a "red" car, it\'s new'),
        ("salt &amp; pepper", "salt & pepper"),
        ("salt &amp;amp; pepper &lt;3", "salt & pepper <3"),
        ("  a\tcastle \n at  night ", "a castle at night"),
        ("a caf\u00c3\u00a9 by the ﬁre", "a café by the fire"),
        ("a plain prompt, sharp focus", "a plain prompt, sharp focus"),
    ],
)
def test_a_text_is_cleaned_as_open_clip_does(typed: str, read: str) -> None:
    assert clean_text(typed) == read


def test_a_score_is_that_of_the_cleaned_text(folder: Path) -> None:
    encoder = open_hps(folder)
    typed, read, kept = encoder.text_features(["a “red” &amp;  car", 'a "red" & car', "a red car"])
    assert torch.equal(typed, read) and not torch.equal(read, kept)


def test_duties(folder: Path) -> None:
    scorer = HpsScorer(open_hps(folder), "preference")
    assert isinstance(scorer, Scorer) and scorer.higher_is_better and scorer.name == "preference"
    images = pictures(*SIZES)
    alone = [scorer.score([image], [text])[0] for image, text in zip(images, TEXTS, strict=True)]
    np.testing.assert_allclose(scorer.score(images, TEXTS), alone, atol=1e-4)
    assert scorer.score([], []).shape == (0,)
    with pytest.raises(ValueError, match="as many texts"):
        scorer.score(images, TEXTS[:1])
    assert scorer.version != ClipEncoder.open(folder).version


def _as_safetensors(tensors: dict[str, torch.Tensor], folder: Path) -> Path:
    save_file({f"model.{key}": value for key, value in tensors.items()}, folder / "hps.safetensors")
    return folder / "hps.safetensors"


def _as_published(tensors: dict[str, torch.Tensor], folder: Path) -> Path:
    torch.save({"state_dict": tensors}, folder / "HPS_v2_compressed.pt")
    return folder / "HPS_v2_compressed.pt"


def _as_distributed(tensors: dict[str, torch.Tensor], folder: Path) -> Path:
    torch.save({"epoch": 3, "state_dict": {f"module.{key}": value.half().float() for key, value in tensors.items()}}, folder / "full.pt")
    return folder / "full.pt"


@pytest.mark.parametrize(("save", "within"), [(_as_safetensors, 1e-6), (_as_published, 1e-6), (_as_distributed, 5e-3)])
def test_a_published_file_gives_the_features_of_the_same_clip_model(
    folder: Path, tmp_path: Path, save: Callable[[dict[str, torch.Tensor], Path], Path], within: float
) -> None:
    theirs = open_hps(folder)
    ours = open_hps(save(open_clip_names(folder), tmp_path), tokenizer=tokenizer(folder))
    images = pictures(*SIZES)
    assert (ours.image_features(images) - theirs.image_features(images)).abs().max() < within
    assert (ours.text_features(TEXTS) - theirs.text_features(TEXTS)).abs().max() < within


def test_vit_h_14_is_recognised_by_its_shapes() -> None:
    shapes = {
        "visual.positional_embedding": (257, 1280),
        "visual.conv1.weight": (1280, 3, 14, 14),
        "positional_embedding": (77, 1024),
        "token_embedding.weight": (49408, 1024),
        "text_projection": (1024, 1024),
        "visual.transformer.resblocks.0.mlp.c_fc.weight": (5120, 1280),
        "transformer.resblocks.0.mlp.c_fc.weight": (4096, 1024),
        **{f"visual.transformer.resblocks.{layer}.ln_1.weight": (1280,) for layer in range(32)},
        **{f"transformer.resblocks.{layer}.ln_1.weight": (1024,) for layer in range(24)},
    }
    config = config_of({key: torch.empty(shape, device="meta") for key, shape in shapes.items()})
    vision, text = config.vision_config, config.text_config
    assert (vision.num_hidden_layers, vision.num_attention_heads, vision.image_size, vision.patch_size) == (32, 16, 224, 14)
    assert (text.num_hidden_layers, text.num_attention_heads, text.max_position_embeddings, text.eos_token_id) == (24, 16, 77, 49407)
    assert (vision.intermediate_size, text.intermediate_size, config.projection_dim) == (5120, 4096, 1024)
    assert vision.hidden_act == text.hidden_act == "gelu"


class Malice:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (os.environ["LIMNER_TEST_MARK"],)


def test_a_pt_file_never_runs_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMNER_TEST_MARK", str(tmp_path / "ran"))
    torch.save({"state_dict": Malice()}, tmp_path / "evil.pt")
    with pytest.raises(BadInput, match="no plain tensors"):
        open_hps(tmp_path / "evil.pt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda tensors: tensors.pop("ln_final.bias"), "text_model.final_layer_norm.bias"),
        (lambda tensors: tensors.update({"extra": torch.zeros(1)}), "first extra"),
        (lambda tensors: tensors.pop("visual.conv1.weight"), "no CLIP in open_clip's names"),
        (lambda tensors: tensors.update({"visual.ln_pre.bias": torch.zeros(3)}), "no CLIP in open_clip's names"),
    ],
)
def test_a_file_that_is_no_whole_model_is_refused_in_one_line(
    folder: Path, tmp_path: Path, change: Callable[[dict[str, torch.Tensor]], object], says: str
) -> None:
    tensors = open_clip_names(folder)
    change(tensors)
    path = _as_safetensors(tensors, tmp_path)
    with pytest.raises(BadInput, match=says) as caught:
        open_hps(path, tokenizer=tokenizer(folder))
    assert "\n" not in str(caught.value)


def test_damaged_missing_and_tokenless_files_are_refused(folder: Path, tmp_path: Path) -> None:
    path = _as_safetensors(open_clip_names(folder), tmp_path)
    with pytest.raises(BadInput, match=r"vocab\.json and merges\.txt"):
        open_hps(path)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(BadInput, match="corrupt"):
        open_hps(path, tokenizer=tokenizer(folder))
    (tmp_path / "cut.pt").write_bytes(b"PK\x03\x04 not a zip")
    with pytest.raises(BadInput, match="fetch it again"):
        open_hps(tmp_path / "cut.pt")
    with pytest.raises(BadInput, match="there is no file"):
        open_hps(tmp_path / "nowhere.pt")
