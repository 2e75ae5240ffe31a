"""CLIP's similarity of picture and text: as cosine, and as the spherical loss that DPO-Diff minimises.

Reads any CLIPModel folder in transformers' format, safetensors only, with the folder's own preprocessing in Pillow and torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import numpy as np
from PIL import Image

from limner.promptdb.errors import BadInput
from limner.tools.diffusion.weights import check_safetensors, fingerprint
from limner.tools.scoring.preprocessing import ClipPreprocessing
from limner.tools.scoring.published import first_line

if TYPE_CHECKING:
    import torch

BATCH = 32
TEXTS_KEPT = 4096  # cached text features: a prompt is encoded once for all its pictures
CONFIGURATION = ("config.json", "preprocessor_config.json", "tokenizer.json", "vocab.json", "merges.txt")

Prepare = Callable[[Sequence[Image.Image]], "torch.Tensor"]
Clean = Callable[[str], str]
"""What is done to a text before it is tokenized."""


def spherical_loss(image_features: torch.Tensor, text_features: torch.Tensor) -> torch.Tensor:
    """Returns 2 arcsin(|x - y| / 2)^2 of unit vectors along the last axis: half the squared angle, from 0 (equal) to pi^2/2 (opposite).

    Lower is better; the search loss of DPO-Diff (Wang et al. 2024). Differentiable: the distance is clamped just below 2, where the slope
    of arcsin is infinite.
    """
    import torch

    distance = torch.linalg.vector_norm(image_features - text_features, dim=-1)
    return 2 * torch.arcsin((distance / 2).clamp(max=1 - 1e-6)) ** 2


class ClipEncoder:
    """Encodes pictures and texts to unit features (float32, on the model's device).

    Texts over the token limit are truncated: they are references to compare with, not prompts to draw.
    """

    def __init__(self, model: Any, tokenizer: Any, prepare: Prepare, version: str, clean: Clean = str) -> None:
        self.model = model
        self.prepare = prepare
        self.clean = clean
        self.version = version
        self._tokenizer = tokenizer
        self._limit = int(model.config.text_config.max_position_embeddings)
        self._texts: dict[str, torch.Tensor] = {}
        self._cut: set[str] = set()

    @classmethod
    def open(cls, folder: Path, device: str | torch.device = "cpu") -> ClipEncoder:
        """Opens the model in `folder` with its own preprocessing; scorers with equal folder and device share it. Raises BadInput."""
        version = folder_version(folder)
        key = (str(folder.resolve()), str(device), version)
        encoder = _opened.get(key)
        if encoder is None:
            model, tokenizer = load_clip(folder, device)
            encoder = cls(model, tokenizer, ClipPreprocessing.read(folder, model.config.vision_config.image_size), version)
            _opened[key] = encoder
        return encoder

    @property
    def truncated(self) -> int:
        """The number of distinct texts that were truncated."""
        return len(self._cut)

    def encode_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        """Returns unit features (n, width) of preprocessed pictures (n, 3, height, width); differentiable."""
        return _unit(self.model.get_image_features(pixel_values=pixels))

    def image_features(self, images: Sequence[Image.Image]) -> torch.Tensor:
        """Returns unit features (n, width) of pictures of any size."""
        import torch

        device = self.model.device
        with torch.inference_mode():
            parts = [self.encode_pixels(self.prepare(images[at : at + BATCH]).to(device)) for at in range(0, len(images), BATCH)]
            return torch.cat(parts) if parts else torch.empty(0, self.model.config.projection_dim, device=device)

    def text_features(self, texts: Sequence[str]) -> torch.Tensor:
        """Returns unit features (n, width) of texts; cached."""
        import torch

        distinct = list(dict.fromkeys(texts))
        found = {text: self._texts[text] for text in distinct if text in self._texts}
        fresh = [text for text in distinct if text not in found]
        for start in range(0, len(fresh), BATCH):
            part = fresh[start : start + BATCH]
            with torch.no_grad():  # not inference mode: gradient code compares with these features
                found.update(zip(part, _unit(self.model.get_text_features(**self._tokens(part))), strict=True))
        self._texts.update(found)
        for text in list(self._texts)[: max(0, len(self._texts) - TEXTS_KEPT)]:
            del self._texts[text]
        return torch.stack([found[text] for text in texts]) if texts else torch.empty(0, self.model.config.projection_dim)

    def cosine(self, images: Sequence[Image.Image], texts: Sequence[str]) -> torch.Tensor:
        """Returns the cosine (n,) of each picture with the text at the same index. Raises ValueError where the lengths differ."""
        check_pairs(images, texts)
        return (self.image_features(images) * self.text_features(texts).to(self.model.device)).sum(dim=-1)

    def _tokens(self, texts: list[str]) -> dict[str, torch.Tensor]:
        import torch

        cleaned = [self.clean(text) for text in texts]
        self._cut.update(
            text for text, ids in zip(texts, self._tokenizer(cleaned, verbose=False)["input_ids"], strict=True) if len(ids) > self._limit
        )
        rows = self._tokenizer(cleaned, truncation=True, max_length=self._limit)["input_ids"]
        longest = max(map(len, rows))
        pad = self._tokenizer.pad_token_id or 0
        ids = torch.tensor([row + [pad] * (longest - len(row)) for row in rows], device=self.model.device)
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows], device=self.model.device)
        return {"input_ids": ids, "attention_mask": mask}


class ClipScorer:
    """The cosine of CLIP's features, in [-1, 1], unscaled (usually 0.2 to 0.35 for a good match)."""

    higher_is_better = True

    def __init__(self, encoder: ClipEncoder, name: str = "clip", held_out: bool = False) -> None:
        self.encoder = encoder
        self.name = name
        self.held_out = held_out
        self.version = encoder.version

    def score(self, images: Sequence[Image.Image], texts: Sequence[str]) -> np.ndarray:
        """Returns the cosines, (n,) float32. Raises ValueError where the lengths differ."""
        return to_numbers(self.encoder.cosine(images, texts))


class SphericalClipScorer(ClipScorer):
    """The spherical loss of CLIP's features: in [0, pi^2/2], lower is better (usually 0.7 to 1.0)."""

    higher_is_better = False

    def __init__(self, encoder: ClipEncoder, name: str = "spherical_clip", held_out: bool = False) -> None:
        super().__init__(encoder, name, held_out)

    def score(self, images: Sequence[Image.Image], texts: Sequence[str]) -> np.ndarray:
        """Returns the losses, (n,) float32. Raises ValueError where the lengths differ."""
        check_pairs(images, texts)
        device = self.encoder.model.device
        return to_numbers(spherical_loss(self.encoder.image_features(images), self.encoder.text_features(texts).to(device)))


def check_pairs(images: Sequence[object], texts: Sequence[object]) -> None:
    """Raises ValueError where the lengths differ."""
    if len(images) != len(texts):
        raise ValueError(f"{len(images)} images need as many texts, not {len(texts)}")


def to_numbers(scores: torch.Tensor) -> np.ndarray:
    """Returns a tensor as a float32 array on the CPU."""
    return scores.float().cpu().numpy().astype(np.float32)


def folder_version(folder: Path) -> str:
    """Returns a hash of everything that affects a score: weights, configuration, tokenizer. Raises BadInput where there is no model."""
    if not (folder / "config.json").is_file():
        raise BadInput(f"{folder} has no config.json: give the folder of a CLIPModel in transformers' format")
    weights = sorted(file.name for file in folder.glob("model*.safetensors"))
    if not weights:
        raise BadInput(f"{folder} has no model.safetensors; pickled weights are not read: fetch or convert them")
    for name in weights:
        check_safetensors(folder / name)
    return fingerprint(folder, [*weights, *(name for name in CONFIGURATION if (folder / name).is_file())])


def load_clip(folder: Path, device: str | torch.device) -> tuple[Any, Any]:
    """Returns (CLIPModel, tokenizer), frozen, in float32. Raises BadInput where either cannot be read completely."""
    import torch
    from transformers import AutoTokenizer, CLIPModel
    from transformers.utils import logging

    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        model, info = CLIPModel.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except MemoryError:
        raise
    except Exception as error:  # loaders raise what their parsers raise
        raise BadInput(f"the CLIP model in {folder} cannot be read ({first_line(error)}): fetch it again") from error
    finally:
        if bars:
            logging.enable_progress_bar()
    absent = sorted(map(str, [*info["missing_keys"], *info["mismatched_keys"]]))
    if absent:  # the loader fills them with random numbers
        raise BadInput(f"{len(absent)} weights of the CLIP model in {folder} are missing or of another shape, first {absent[0]}")
    return model.requires_grad_(False).eval().to(device), tokenizer


def _unit(output: Any) -> torch.Tensor:
    import torch

    # Since transformers 5 the features are a field of an output object.
    return torch.nn.functional.normalize(getattr(output, "pooler_output", output).float(), dim=-1)


_opened: WeakValueDictionary[tuple[str, str, str], ClipEncoder] = WeakValueDictionary()
