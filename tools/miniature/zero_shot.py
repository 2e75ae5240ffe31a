"""How well a CLIP knows the world: which of all captions that differ in one attribute it picks for a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tools.miniature.clip import image_features, normalised, text_features
from tools.miniature.scene import Scene
from tools.miniature.tokenizer import tokens
from tools.miniature.vocabulary import BACKGROUNDS, COLOURS, NOUNS, RELATIONS, STYLES

if TYPE_CHECKING:
    from transformers import CLIPModel, CLIPTokenizer


def describe(scene: Scene, **other: str) -> str:
    """One fixed sentence about a scene; `other` replaces an attribute (noun, colour, relation, background, style)."""
    first = scene.things[0]
    colour = other.get("colour", first.colour or "")
    text = f"a {colour} {other.get('noun', NOUNS[first.noun].name)}"
    if scene.relation:
        second = scene.things[1]
        text += f" {RELATIONS[other.get('relation', scene.relation)][0]} a {second.colour or ''} {NOUNS[second.noun].name}"
    text += f" {BACKGROUNDS[other.get('background', scene.background)][0]}, {STYLES[other.get('style', scene.style)][0]}"
    return " ".join(text.split())


def zero_shot(model: CLIPModel, tokenizer: CLIPTokenizer, scenes: list[Scene], pictures: np.ndarray, nouns: int) -> dict[str, float]:
    """Share of pictures whose true caption wins, for each attribute. Chance: 1 in nouns, 8, 4, 8, 6."""
    import torch

    choices = {
        "noun": [noun.name for noun in NOUNS[:nouns]], "colour": list(COLOURS), "relation": list(RELATIONS),
        "background": list(BACKGROUNDS), "style": list(STYLES),
    }  # fmt: skip
    right: dict[str, list[bool]] = {name: [] for name in choices}
    with torch.inference_mode():
        images = image_features(model, normalised(pictures))
        for scene, image in zip(scenes, images, strict=True):
            for name, values in choices.items():
                truth = _truth(scene, name)
                if truth is None:
                    continue
                texts = text_features(model, tokens(tokenizer, [describe(scene, **{name: value}) for value in values]))
                right[name].append(values[int((texts @ image).argmax())] == truth)
    return {name: float(np.mean(values)) for name, values in right.items() if values}


def _truth(scene: Scene, attribute: str) -> str | None:
    first = scene.things[0]
    if attribute == "noun":
        return NOUNS[first.noun].name
    return first.colour if attribute == "colour" else getattr(scene, attribute)
