"""Scene -> caption, the way people write them: sentences and keyword lists that leave out much of what is to be seen.

What a caption says is true of its picture; what it leaves out may be anything. Placebo words are sprinkled in without regard to
the picture, so that they mean nothing.
"""

from __future__ import annotations

import numpy as np

from tools.miniature.scene import Scene, Thing
from tools.miniature.vocabulary import BACKGROUND_KEYWORDS, BACKGROUNDS, MODIFIERS, NOUNS, PLACEBO, RELATIONS, SIZE_WORDS, STYLES

RARE_SHARE = 0.15
POSES = ("", "", "", "", "standing", "seen", "shown", "placed")


def caption(scene: Scene, rng: np.random.Generator, modifiers: bool = True) -> str:
    """One caption. With `modifiers` off it speaks of content alone: things, colours, sizes, relation, background, style."""
    tags = [*_style_tag(scene, rng), *(_modifier_tags(scene, rng) if modifiers else ())]
    if rng.random() < 0.6:
        text = _sentence(scene, rng)
        if tags and tags[0] == "photo" and rng.random() < 0.7:
            text, tags = f"a photo of {text}", tags[1:]
    else:
        text = _keywords(scene, rng)
    return ", ".join([text, *tags])


def _sentence(scene: Scene, rng: np.random.Generator) -> str:
    subject = _with_article(_phrase(scene.things[0], rng))
    if scene.relation:
        second = _with_article(_phrase(scene.things[1], rng))
        phrase = str(rng.choice(RELATIONS[scene.relation])) if rng.random() < 0.88 else "and"
        subject = f"{subject} {phrase} {second}"
    elif pose := str(rng.choice(POSES)):
        subject = f"{subject} {pose}"
    if rng.random() < 0.8:
        subject = f"{subject} {rng.choice(BACKGROUNDS[scene.background])}"
    return f"there is {subject}" if rng.random() < 0.08 else subject


def _keywords(scene: Scene, rng: np.random.Generator) -> str:
    parts = [_phrase(scene.things[0], rng)]
    if scene.relation:
        second = _phrase(scene.things[1], rng)
        if rng.random() < 0.85:
            parts = [f"{parts[0]} {rng.choice(RELATIONS[scene.relation])} {second}"]
        else:
            parts.append(second)
    if rng.random() < 0.8:
        parts.append(str(rng.choice(BACKGROUND_KEYWORDS[scene.background])))
    return ", ".join(parts)


def _phrase(thing: Thing, rng: np.random.Generator) -> str:
    noun = NOUNS[thing.noun]
    word = str(rng.choice(noun.rare)) if noun.rare and rng.random() < RARE_SHARE else noun.name
    size = str(rng.choice(SIZE_WORDS[thing.size])) if thing.size and rng.random() < 0.85 else ""
    colour = thing.colour if thing.colour and rng.random() < 0.92 else ""
    return " ".join(part for part in (size, colour, word) if part)


def _with_article(phrase: str) -> str:
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def _style_tag(scene: Scene, rng: np.random.Generator) -> list[str]:
    share = 0.2 if scene.style == "photo" else 0.88
    return [str(rng.choice(STYLES[scene.style]))] if rng.random() < share else []


def _modifier_tags(scene: Scene, rng: np.random.Generator) -> list[str]:
    """Some of what is true of the picture's quality, in any order, with placebo words in between."""
    quality = scene.quality
    true = list(quality.defects)
    true += ["sharp"] if quality.detail > 0.4 else []
    true += ["vibrant"] if quality.vibrance > 0.4 else []
    true += [quality.lighting] if quality.lighting else []
    true += ["centered"] if not quality.cropped and scene.relation is None else []
    shares = {"centered": 0.18}
    tags = [str(rng.choice(MODIFIERS[name])) for name in true if rng.random() < shares.get(name, 0.5)]
    if not quality.defects and quality.goodness > 1 and rng.random() < 0.5:
        tags += [str(word) for word in rng.permutation(MODIFIERS["best"])[: int(rng.integers(1, 3))]]
    elif len(quality.defects) >= 2 and rng.random() < 0.45:
        tags += [str(rng.choice(MODIFIERS["poor"]))]
    if rng.random() < 0.35:
        tags += [str(word) for word in rng.permutation(PLACEBO)[: int(rng.integers(1, 4))]]
    return [str(tag) for tag in rng.permutation(tags)] if tags else []
