"""Measures how well a CLIP knows the world: which of several captions that differ in one attribute it picks for a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from limner.tools.miniature.recipe.clip import image_features, normalised, text_features
from limner.tools.miniature.recipe.dataset import one_change
from limner.tools.miniature.recipe.tokenizer import tokens
from limner.tools.miniature.world.nouns import NOUNS, plural
from limner.tools.miniature.world.scene import Scene, Thing
from limner.tools.miniature.world.vocabulary import BACKGROUNDS, COLOURS, COUNT_WORDS, RELATIONS, STYLES

if TYPE_CHECKING:
    from transformers import CLIPModel, CLIPTokenizer

VARIANTS = 16


def describe(scene: Scene, **other: str) -> str:
    """Returns one fixed sentence that names all of a scene's content but sizes; `other` replaces noun, colour, relation, background or
    style.
    """
    first = _thing(scene.things[0], scene.count, other)
    text = f"{COUNT_WORDS[scene.count][0]} {first}" if scene.count > 1 else f"a {first}"
    if scene.relation:
        text += f" {RELATIONS[other.get('relation', scene.relation)][0]} a {_thing(scene.things[1], 1, {})}"
    text += f" {BACKGROUNDS[other.get('background', scene.background)][0]}, {STYLES[other.get('style', scene.style)][0]}"
    return " ".join(text.split())


def _thing(thing: Thing, count: int, other: dict[str, str]) -> str:
    name = other.get("noun", NOUNS[thing.noun].name)
    return f"{other.get('colour', thing.colour or '')} {plural(name) if count > 1 else name}"


def variants(scene: Scene, rng: np.random.Generator, nouns: int, count: int = VARIANTS) -> list[str]:
    """Returns `count` different sentences: the true one first, then those of scenes that differ from it in one attribute."""
    texts = [describe(scene)]
    while len(texts) < count:
        text = describe(one_change(scene, rng, nouns))
        if text not in texts:
            texts.append(text)
    return texts


def variants_right(
    model: CLIPModel, tokenizer: CLIPTokenizer, scenes: list[Scene], pictures: np.ndarray, nouns: int, seed: int = 0
) -> float:
    """Returns the share of pictures whose true sentence wins among `VARIANTS` that differ in one attribute.

    `pictures`: (n, 64, 64, 3) uint8, of `scenes`.
    """
    import torch

    rng, right = np.random.default_rng([seed, 16]), []
    with torch.inference_mode():
        for scene, image in zip(scenes, image_features(model, normalised(pictures)), strict=True):
            texts = text_features(model, tokens(tokenizer, variants(scene, rng, nouns)))
            right.append(int((texts @ image).argmax()) == 0)
    return float(np.mean(right))


def zero_shot(model: CLIPModel, tokenizer: CLIPTokenizer, scenes: list[Scene], pictures: np.ndarray, nouns: int) -> dict[str, float]:
    """Returns for each attribute the share of pictures whose true caption wins; chance is 1 in `nouns`, 10, 4, 10 and 6.

    `pictures`: (n, 64, 64, 3) uint8, of `scenes`.
    """
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
