"""Writes prompts as practitioners do: a subject, then tags (most useful, some placebo, some harmful), and a negative prompt.

    python main.py miniature prompts --count 50000 --file professional.jsonl

makes tens of thousands of distinct ones, for a language model to train on. Equal seeds make equal prompts, so only a small seed file
ships with the project. Prompts are split by subject: no subject occurs in two splits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np

from limner.tools.miniature.world.captions import CONTENT, caption
from limner.tools.miniature.world.scene import Quality, Scene, draw_scene
from limner.tools.miniature.world.vocabulary import GOOD, HARMFUL, MODIFIERS, NEUTRAL, NOUNS, PLACEBO

SPLITS = (("train", 90), ("validation", 5), ("test", 5))  # percent of the subjects
HARMFUL_SHARE = 0.12  # share of the prompts with a tag that spoils the picture
NEUTRAL_SHARE = 0.3
FORMS = 6  # professional prompts for each wording of a subject


def professional_form(subject: str, rng: np.random.Generator) -> dict[str, str]:
    """Returns one professional prompt for `subject`: {text, subject, negative, source}."""
    tags = [_phrase(name, rng) for name in rng.permutation(GOOD)[: int(rng.integers(2, 6))]]
    tags += [str(word) for word in rng.permutation(PLACEBO)[: int(rng.integers(0, 4))]]
    if rng.random() < NEUTRAL_SHARE:
        tags.append(_phrase(str(rng.choice(NEUTRAL)), rng))
    if rng.random() < HARMFUL_SHARE:
        tags.append(_phrase(str(rng.choice(HARMFUL)), rng))
    against = [_phrase(name, rng) for name in rng.permutation(HARMFUL)[: int(rng.integers(2, 6))]]
    text = ", ".join([subject, *(str(tag) for tag in rng.permutation(tags))])
    return {"text": text, "subject": subject, "negative": ", ".join(against), "source": "miniature"}


def professional_corpus(seed: int, nouns: int, count: int) -> Iterator[dict[str, str]]:
    """Yields `count` distinct professional prompts: {text, subject, negative, source, split}. The world has millions of them."""
    rng, seen = np.random.default_rng([seed, 1703]), set[str]()
    while len(seen) < count:
        scene = draw_scene(rng, nouns, photo_share=0.75)
        subject, split = caption(_plain(scene), rng, CONTENT), split_of(scene)
        for _ in range(FORMS):
            row = professional_form(subject, rng)
            if row["text"] not in seen and len(seen) < count:
                seen.add(row["text"])
                yield {**row, "split": split}


def split_of(scene: Scene) -> str:
    """Returns the split of a scene's subject, by a hash of its things and their colours: wording and background do not matter."""
    things = scene.things if scene.relation else scene.things[:1]
    key = "+".join(sorted(f"{thing.colour or ''} {NOUNS[thing.noun].name}" for thing in things))
    place = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") % 100
    for name, share in SPLITS:
        if place < share:
            return name
        place -= share
    raise AssertionError("the shares of SPLITS add up to 100")


def _plain(scene: Scene) -> Scene:
    return Scene(scene.things, scene.relation, scene.background, scene.style, Quality(), scene.seed)


def _phrase(name: str, rng: np.random.Generator) -> str:
    phrases: Sequence[str] = MODIFIERS[name]
    return str(rng.choice(list(phrases)))
