"""The style checkpoints: the look that each draws plain prompts in, and whether a prompt optimizer may train on it.

Five are sources. Three are unseen: a merge of two sources, as most shared checkpoints are merges; one near a source (ink has outlines as
comic does); and one unlike all sources.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from limner.tools.miniature.world.captions import CONTENT, caption
from limner.tools.miniature.world.scene import Quality, Scene, draw_scene
from limner.tools.miniature.world.vocabulary import HARMFUL, MODIFIERS, PLACEBO, TRIGGERS

QUALITY_TAGS = ("masterpiece", "best quality", "sharp focus", "vibrant colors")
MANUAL = 100  # prompts of each style checkpoint


@dataclass(frozen=True, slots=True)
class StyleSpec:
    """One style checkpoint.

    `split`: "source" or "unseen". `looks`: its look, or two looks for a merge, whose weights are made of its sources'.
    """

    name: str
    split: str
    looks: tuple[str, ...]
    kin: str  # how it is related to the sources, or ""

    @property
    def triggers(self) -> tuple[str, ...]:
        """The trigger words of the checkpoint; a merge has the first one of each of its sources."""
        return tuple(TRIGGERS[look][0] for look in self.looks) if len(self.looks) > 1 else TRIGGERS[self.looks[0]]


SPECS: tuple[StyleSpec, ...] = (
    *(StyleSpec(name, "source", (name,), "") for name in ("neon", "watercolor", "comic", "pixel", "vintage")),
    StyleSpec("neon-watercolor", "unseen", ("neon", "watercolor"), "a merge of two sources"),
    StyleSpec("ink", "unseen", ("ink",), "near comic"),
    StyleSpec("blueprint", "unseen", ("blueprint",), "foreign to all sources"),
)


def manual_prompts(spec: StyleSpec, seed: int, nouns: int, count: int = MANUAL) -> Iterator[dict[str, str]]:
    """Yields prompts as a practitioner writes them for that checkpoint: {prompt: the plain one, text, negative}.

    `text` adds the checkpoint's trigger words and tags that help with every checkpoint.
    """
    rng = np.random.default_rng([seed, 1900, [item.name for item in SPECS].index(spec.name)])
    seen = set[str]()
    while len(seen) < count:
        scene: Scene = draw_scene(rng, nouns, photo_share=1.0)
        plain = caption(Scene(scene.things, scene.relation, scene.background, "photo", Quality(), 0), rng, CONTENT)
        if plain in seen:
            continue
        seen.add(plain)
        triggers = [str(word) for word in rng.permutation(list(spec.triggers))[: int(rng.integers(1, 3))]]
        tags = [str(word) for word in rng.permutation(list(QUALITY_TAGS))[: int(rng.integers(2, 5))]]
        tags += [str(rng.choice(list(PLACEBO)))] if rng.random() < 0.4 else []
        against = [str(rng.choice(list(MODIFIERS[str(name)]))) for name in rng.permutation(list(HARMFUL))[: int(rng.integers(2, 5))]]
        yield {"prompt": plain, "text": ", ".join([plain, *triggers, *tags]), "negative": ", ".join(against)}
