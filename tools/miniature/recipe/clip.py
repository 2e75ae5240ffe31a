"""Stages 2 and 3: two CLIPs with different seeds. One lends its text encoder to the checkpoint, the other is the alignment scorer.

The loss is contrastive, on batches made of whole groups (pictures that differ in one attribute). Auxiliary heads on both towers predict
the things and their attributes; they only help training and are discarded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from limner.tools.miniature.recipe.dataset import GROUP, Dataset, one_change
from limner.tools.miniature.recipe.reading import IGNORED, Reader, masked_cross_entropy, train_reading
from limner.tools.miniature.recipe.tokenizer import POSITIONS, tokens
from limner.tools.miniature.recipe.vae import to_pixels
from limner.tools.miniature.world.captions import ANY, FULL, caption
from limner.tools.miniature.world.scene import SIDE, Scene
from limner.tools.miniature.world.vocabulary import BACKGROUNDS, COLOURS, RELATIONS, STYLES
from limner.tools.training import Schedule, device_of, mixed_precision, muon, train

if TYPE_CHECKING:
    import torch
    from transformers import CLIPModel, CLIPTokenizer

# CLIP's own normalisation of pixels in [0, 1].
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


FULL_SHARE = 0.6  # share of the captions in contrastive training that leave nothing out, so that every attribute helps to match
# The patch embedding stays with Muon: after 400 steps the image tower then names half of all cells, with AdamW one in twelve.
APART = ("token_embedding", "position_embedding", "class_embedding", "heads", "projection")  # for AdamW, not Muon


@contextmanager
def plain_attention(model: CLIPModel) -> Iterator[None]:
    """Uses unfused attention inside the context.

    Gradients are equal, and the fused kernel's backward pass costs a CPU nearly half of a step.
    """
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation("sdpa")


def new_clip(tokenizer: CLIPTokenizer, width: int = 128, text_layers: int = 4, image_layers: int = 4, seed: int = 0) -> CLIPModel:
    """Returns an untrained CLIPModel for 64x64 pictures in patches of 8."""
    import torch
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(seed)
    tower = {"hidden_size": width, "intermediate_size": 4 * width, "num_attention_heads": 4, "projection_dim": width}
    marks = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    text = {**marks, "vocab_size": len(tokenizer), "max_position_embeddings": POSITIONS}
    config = CLIPConfig(
        text_config={**tower, **text, "num_hidden_layers": text_layers},
        vision_config={**tower, "num_hidden_layers": image_layers, "image_size": 64, "patch_size": 8},
        projection_dim=width,
    )
    return CLIPModel(config)


def normalised(pictures: np.ndarray) -> torch.Tensor:
    """Converts pictures (n, 64, 64, 3) uint8 to the image tower's input (n, 3, 64, 64)."""
    import torch

    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return ((to_pixels(pictures) + 1) / 2 - mean) / std


def text_features(model: CLIPModel, texts: dict[str, torch.Tensor]) -> torch.Tensor:
    """Returns unit features (n, width) of tokenized texts."""
    return _unit(model.get_text_features(**{name: value.to(model.device) for name, value in texts.items()}))


def image_features(model: CLIPModel, pixels: torch.Tensor) -> torch.Tensor:
    """Returns unit features (n, width) of normalised pixels."""
    return _unit(model.get_image_features(pixel_values=pixels.to(model.device)))


def _unit(output: Any) -> torch.Tensor:
    import torch

    return torch.nn.functional.normalize(output.pooler_output.float(), dim=-1)


def truth_vector(scene: Scene, nouns: int) -> np.ndarray:
    """Returns a multi-hot vector of the scene's nouns, colours, background and style, concatenated in this order."""
    colours, backgrounds, styles = list(COLOURS), list(BACKGROUNDS), list(STYLES)
    vector = np.zeros(nouns + len(colours) + len(backgrounds) + len(styles), np.float32)
    for thing in scene.things:
        vector[thing.noun] = 1
        if thing.colour:
            vector[nouns + colours.index(thing.colour)] = 1
    vector[nouns + len(colours) + backgrounds.index(scene.background)] = 1
    vector[nouns + len(colours) + len(backgrounds) + styles.index(scene.style)] = 1
    return vector


def cell_truth(scene: Scene, side: int = 8) -> np.ndarray:
    """Returns (side * side, 2) int64: the noun and the colour at the centre of each cell of the picture, row by row.

    -1 where no thing stands. The colour is an index into COLOURS, len(COLOURS) for the natural colour, and IGNORED in pictures without
    colours.
    """
    cells = np.full((side, side, 2), -1)
    middles = (np.arange(side) + 0.5) * SIDE / side
    for thing in scene.things:
        inside = [np.abs(middles - centre) < thing.pixels / 2 for centre in (thing.y, thing.x)]
        colour = IGNORED if scene.grey else list(COLOURS).index(thing.colour) if thing.colour else len(COLOURS)
        cells[np.ix_(*inside)] = (thing.noun, colour)
    return cells.reshape(-1, 2)


class _Namer:
    """Heads on the image tower: the pooled features predict everything, each patch predicts the thing there and its colour."""

    def __init__(self, width: int, nouns: int) -> None:
        import torch

        self.nouns = nouns
        labels = nouns + len(COLOURS) + len(BACKGROUNDS) + len(STYLES)
        sizes = {"whole": labels, "noun": nouns + 1, "colour": len(COLOURS) + 1, "order": len(RELATIONS) + 3}
        self.heads = torch.nn.ModuleDict({name: torch.nn.Linear(width, size) for name, size in sizes.items()})

    def loss(self, features: torch.Tensor, patches: torch.Tensor, scenes: list[Scene]) -> torch.Tensor:
        import torch
        from torch.nn import functional as F

        device = features.device
        truth = torch.from_numpy(np.stack([truth_vector(scene, self.nouns) for scene in scenes])).to(device)
        cells = torch.from_numpy(np.stack([cell_truth(scene) for scene in scenes])).to(device)
        noun, colour = cells[..., 0].flatten(), cells[..., 1].flatten()
        there = noun >= 0
        kinds = [list(RELATIONS).index(scene.relation) if scene.relation else len(RELATIONS) + scene.count - 1 for scene in scenes]
        order = torch.tensor(kinds, device=device)
        names = self.heads["noun"](patches).flatten(0, 1).float()
        whole = F.binary_cross_entropy_with_logits(self.heads["whole"](features).float(), truth) * truth.shape[1]
        empty = F.cross_entropy(names[~there], torch.full_like(noun[~there], self.nouns))
        named = F.cross_entropy(names[there], noun[there])
        coloured = masked_cross_entropy(self.heads["colour"](patches).flatten(0, 1)[there], colour[there])
        return whole + 2 * (named + empty + 0.5 * coloured) + F.cross_entropy(self.heads["order"](features).float(), order)


def train_seeing(
    name: str, model: CLIPModel, namer: _Namer, data: Dataset, schedule: Schedule, batch: int, work: Path, seed: int,
    say: Callable[[str], None],
) -> None:  # fmt: skip
    """Trains the image tower and `namer` on pictures alone, before it sees any caption.

    A tower that recognises things first needs fewer captions to learn their names. `batch`: pictures a step. `work`: folder of snapshots.
    """
    import torch

    device = device_of(model)

    def loss(rng: np.random.Generator) -> torch.Tensor:
        rows = np.sort(rng.choice(len(data), batch, replace=False))
        with mixed_precision(device):
            seen = model.vision_model(pixel_values=normalised(data.pictures[rows]).to(device))
            image = model.visual_projection(seen.pooler_output).float()
            return namer.loss(image, seen.last_hidden_state[:, 1:], [data.scene(int(row)) for row in rows])

    parts = {"vision": model.vision_model, "projection": model.visual_projection, "heads": namer.heads}
    train(name, torch.nn.ModuleDict(parts), loss, schedule, work, seed, say, lambda module, decay: muon(module, decay, APART))


def train_clip(
    name: str, model: CLIPModel, tokenizer: CLIPTokenizer, data: Dataset, reading: Schedule, seeing: Schedule | None,
    schedule: Schedule, batch: int, work: Path, seed: int, rare: bool, say: Callable[[str], None],
) -> None:  # fmt: skip
    """Trains a CLIP with CLIP's symmetric contrastive loss and learned temperature, after each tower was trained alone.

    First the text tower learns to read (`reading`), and where `seeing` is given the image tower learns to see. In the contrastive phase
    both go on with their auxiliary losses, and each picture must also prefer its caption to that of a scene that differs in one attribute.
    """
    import torch
    from torch.nn import functional as F

    device, width = device_of(model), model.config.projection_dim
    reader = Reader(width, len(tokenizer), data.nouns, rare)
    namer = _Namer(width, data.nouns)
    heads = torch.nn.ModuleDict({"reader": reader.heads, "namer": namer.heads}).to(device)

    def loss(rng: np.random.Generator) -> torch.Tensor:
        groups = rng.choice(len(data) // GROUP, batch // GROUP, replace=False)
        rows = np.sort((groups[:, None] * GROUP + np.arange(GROUP)).ravel())
        scenes = [data.scene(int(row)) for row in rows]
        texts = [caption(scene, rng, FULL if rng.random() < FULL_SHARE else ANY) for scene in scenes]
        others = [caption(one_change(scene, rng, data.nouns), rng, FULL) for scene in scenes]
        read = {key: value.to(device) for key, value in tokens(tokenizer, texts + others).items()}
        with mixed_precision(device):
            seen = model.vision_model(pixel_values=normalised(data.pictures[rows]).to(device))
            image = model.visual_projection(seen.pooler_output).float()
            output = model.text_model(**read)
            text = model.text_projection(output.pooler_output).float()
            named = namer.loss(image, seen.last_hidden_state[:, 1:], scenes)
        logits = model.logit_scale.exp().clamp(max=100) * F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).T
        # Two scenes of a group may get captions that fit both: label smoothing keeps that from counting as an error.
        labels = torch.arange(len(rows), device=device)
        contrast = (
            F.cross_entropy(logits, labels, label_smoothing=0.02) + F.cross_entropy(logits[:, : len(rows)].T, labels, label_smoothing=0.02)
        ) / 2
        own = {key: value[: len(rows)] for key, value in read.items()}
        states = output.last_hidden_state[: len(rows)], output.pooler_output[: len(rows)]
        return contrast + 0.25 * named + 0.1 * reader.loss(states, own, scenes, texts)

    with plain_attention(model):
        train_reading(f"{name}.reading", model.text_model, reader, tokenizer, reading, 2 * batch, work, seed, say)
        if seeing:
            train_seeing(f"{name}.seeing", model, namer, data, seeing, batch, work, seed, say)
        both = torch.nn.ModuleDict({"clip": model, "heads": heads})
        train(name, both, loss, schedule, work, seed, say, lambda module, decay: muon(module, decay, APART))
    model.eval()
