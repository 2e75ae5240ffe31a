"""Stage: trains a text tower on captions alone, to predict what they say: things, colours, sizes, relation, background, style, qualities.

A contrastive loss by itself teaches a small tower the few words that distinguish most pictures (backgrounds, styles) and neglects the many
nouns: a linear probe on the end-of-text state finds the caption's noun in one case of three. So every token's state must also predict
its own token and those just before it, which binds a colour to the thing after it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from limner.tools.miniature.recipe.tokenizer import tokens
from limner.tools.miniature.world.captions import caption
from limner.tools.miniature.world.nouns import NOUNS, plural
from limner.tools.miniature.world.scene import Scene, Thing, draw_scene
from limner.tools.miniature.world.vocabulary import BACKGROUNDS, COLOURS, COUNT_WORDS, MODIFIERS, RELATIONS, SIZES, STYLES
from limner.tools.training import Schedule, device_of, mixed_precision, muon, train

if TYPE_CHECKING:
    import torch
    from transformers import CLIPTokenizer

WINDOW = 3  # tokens that each state must predict: its own and the two before it
TOKENS = 384  # states of a batch at which that is trained: a head over the whole vocabulary is expensive
APART = ("embedding", "heads")  # for AdamW; after 150 steps Muon finds the second noun in 51 % of captions, AdamW for everything in 8 %
IGNORED = -100  # cross_entropy's label for what counts neither way


def fields(nouns: int) -> dict[str, int]:
    """Returns {question: number of choices} for the end-of-text state. For things and relation the last choice means none."""
    thing = {"noun": nouns + 1, "colour": len(COLOURS) + 1, "size": len(SIZES) + 1}
    things = {f"{place} {name}": count for place in ("first", "second") for name, count in thing.items()}
    return {**things, "count": len(COUNT_WORDS) + 1, "relation": len(RELATIONS) + 1, "background": len(BACKGROUNDS), "style": len(STYLES)}


def answers(scene: Scene, text: str, nouns: int, rare: bool) -> list[int]:
    """Returns the right choice for each of `fields`. A noun that the text calls by a rarer name counts only where `rare` is set."""
    first, second = scene.things[0], scene.things[1] if scene.relation else None
    relation = list(RELATIONS).index(scene.relation) if scene.relation else len(RELATIONS)
    return [
        *_thing_answers(first, text, nouns, rare),
        *_thing_answers(second, text, nouns, rare),
        scene.count - 1,
        relation,
        list(BACKGROUNDS).index(scene.background),
        list(STYLES).index(scene.style),
    ]


def _thing_answers(thing: Thing | None, text: str, nouns: int, rare: bool) -> tuple[int, int, int]:
    if thing is None:
        return nouns, len(COLOURS), len(SIZES)
    name = NOUNS[thing.noun].name
    counts = rare or name in text or plural(name) in text
    colour = list(COLOURS).index(thing.colour) if thing.colour else len(COLOURS)
    return thing.noun if counts else IGNORED, colour, SIZES.index(thing.size) if thing.size else len(SIZES)


def named_modifiers(text: str) -> list[float]:
    """Returns a multi-hot vector over MODIFIERS: which of them the text names."""
    tags = set(text.split(", "))
    return [float(not tags.isdisjoint(phrases)) for phrases in MODIFIERS.values()]


def masked_cross_entropy(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Returns the mean cross-entropy over the labels that are not IGNORED; 0, not NaN, where all are."""
    from torch.nn import functional as F

    return F.cross_entropy(logits.float(), truth, ignore_index=IGNORED, reduction="sum") / (truth != IGNORED).sum().clamp(min=1)


class Reader:
    """The heads and the loss that train a text tower to read.

    `rare`: also teach rarer names. The UNet's text encoder is not taught them, so that it knows them less well, as large models do.
    """

    def __init__(self, width: int, vocabulary: int, nouns: int, rare: bool) -> None:
        import torch

        self.nouns, self.rare, self.fields = nouns, rare, fields(nouns)
        self.heads = torch.nn.ModuleDict(
            {
                "fields": torch.nn.Linear(width, sum(self.fields.values())),
                "modifiers": torch.nn.Linear(width, len(MODIFIERS)),
                "tokens": torch.nn.Linear(width, WINDOW * vocabulary),
            }
        )

    def loss(
        self, states: tuple[torch.Tensor, torch.Tensor], read: dict[str, torch.Tensor], scenes: Sequence[Scene], texts: Sequence[str]
    ) -> torch.Tensor:
        """Returns the loss of a batch.

        `states`: the text tower's states at every token and at the end of text; `read`: the tokens of `texts`.
        """
        import torch
        from torch.nn import functional as F

        every, end = states
        truth = torch.tensor(
            [answers(scene, text, self.nouns, self.rare) for scene, text in zip(scenes, texts, strict=True)], device=end.device
        )
        answered = self.heads["fields"](end).split(list(self.fields.values()), -1)
        parse = sum(F.cross_entropy(logits.float(), truth[:, place], ignore_index=IGNORED) for place, logits in enumerate(answered))
        modifiers = torch.tensor([named_modifiers(text) for text in texts], device=end.device)
        named = F.binary_cross_entropy_with_logits(self.heads["modifiers"](end).float(), modifiers) * len(MODIFIERS)
        return parse + named + self._tokens(every, read["input_ids"], read["attention_mask"].bool())

    def _tokens(self, states: torch.Tensor, ids: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        """Returns the loss of predicting, at each token where `there` (n, tokens) holds, its own id and those of the tokens before it."""
        import torch
        from torch.nn import functional as F

        kept = torch.stack([F.pad(ids, (back, 0), value=IGNORED)[:, : ids.shape[1]] for back in range(WINDOW)], -1)
        places = there.flatten().nonzero().flatten()
        places = places[torch.randperm(len(places))[:TOKENS].to(places.device)]
        logits = self.heads["tokens"](states.flatten(0, 1)[places]).view(len(places) * WINDOW, -1)
        return F.cross_entropy(logits.float(), kept.flatten(0, 1)[places].flatten(), ignore_index=IGNORED) * WINDOW


def train_reading(
    name: str, tower: torch.nn.Module, reader: Reader, tokenizer: CLIPTokenizer, schedule: Schedule, batch: int, work: Path, seed: int,
    say: Callable[[str], None],
) -> None:  # fmt: skip
    """Trains `tower` (a CLIP's text model) and `reader` on captions of newly drawn scenes; no picture is rendered."""
    import torch

    device = device_of(tower)

    def loss(rng: np.random.Generator) -> torch.Tensor:
        scenes = [draw_scene(rng, reader.nouns) for _ in range(batch)]
        texts = [caption(scene, rng) for scene in scenes]
        read = {key: value.to(device) for key, value in tokens(tokenizer, texts).items()}
        with mixed_precision(device):
            output = tower(**read)
            return reader.loss((output.last_hidden_state, output.pooler_output), read, scenes, texts)

    module = torch.nn.ModuleDict({"tower": tower, "heads": reader.heads})
    train(name, module, loss, schedule, work, seed, say, lambda both, decay: muon(both, decay, APART))
