"""Stage: a text tower learns to read, from text alone, what captions say: which things, in which colour and size, how they lie to
each other, before what, in which style, with which qualities.

A contrastive loss by itself teaches a small tower the few words that tell most pictures apart (backgrounds, styles) and lets the
many nouns drown: a linear probe finds the noun of a caption in its end mark in one case of three. So every token must also keep
itself and the words just before it readable, which binds a colour to the thing after it.
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

WINDOW = 3  # tokens that must stay readable at each place: itself and the two before it
TOKENS = 384  # of a batch, at which that is asked: a head over the whole vocabulary is the dear part
APART = ("embedding", "heads")  # for AdamW; after 150 steps Muon reads the second noun in 51 % of captions, AdamW for everything in 8 %
UNSAID = -100  # cross_entropy's label for what counts neither way


def fields(nouns: int) -> dict[str, int]:
    """What an end mark is asked, one choice each, and of how many: the last choice of each is 'none'."""
    thing = {"noun": nouns + 1, "colour": len(COLOURS) + 1, "size": len(SIZES) + 1}
    things = {f"{place} {name}": count for place in ("first", "second") for name, count in thing.items()}
    return {**things, "count": len(COUNT_WORDS) + 1, "relation": len(RELATIONS) + 1, "background": len(BACKGROUNDS), "style": len(STYLES)}


def answers(scene: Scene, text: str, nouns: int, rare: bool) -> list[int]:
    """The truth for `fields`. A noun that the text calls by a rare name counts only where `rare` is set."""
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
    said = rare or name in text or plural(name) in text
    colour = list(COLOURS).index(thing.colour) if thing.colour else len(COLOURS)
    return thing.noun if said else UNSAID, colour, SIZES.index(thing.size) if thing.size else len(SIZES)


def said_modifiers(text: str) -> list[float]:
    """Multi-hot over MODIFIERS: which of them the text names."""
    tags = set(text.split(", "))
    return [float(not tags.isdisjoint(phrases)) for phrases in MODIFIERS.values()]


def said_loss(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy over what is not UNSAID; 0, not NaN, where everything is."""
    from torch.nn import functional as F

    return F.cross_entropy(logits.float(), truth, ignore_index=UNSAID, reduction="sum") / (truth != UNSAID).sum().clamp(min=1)


class Reader:
    """The heads and the loss that teach a text tower to read. `rare`: whether rare names are taught too; a painter is not told what
    they mean, and so is a little unsure of them, as large models are."""

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
        """`states`: the text tower's at every token and at the end mark, of `read`, the tokens of `texts`."""
        import torch
        from torch.nn import functional as F

        every, end = states
        truth = torch.tensor(
            [answers(scene, text, self.nouns, self.rare) for scene, text in zip(scenes, texts, strict=True)], device=end.device
        )
        said = self.heads["fields"](end).split(list(self.fields.values()), -1)
        parse = sum(F.cross_entropy(logits.float(), truth[:, place], ignore_index=UNSAID) for place, logits in enumerate(said))
        modifiers = torch.tensor([said_modifiers(text) for text in texts], device=end.device)
        named = F.binary_cross_entropy_with_logits(self.heads["modifiers"](end).float(), modifiers) * len(MODIFIERS)
        return parse + named + self._tokens(every, read["input_ids"], read["attention_mask"].bool())

    def _tokens(self, states: torch.Tensor, ids: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        """How well each token that is `there` (n, tokens) tells its own id and those of the tokens before it."""
        import torch
        from torch.nn import functional as F

        kept = torch.stack([F.pad(ids, (back, 0), value=UNSAID)[:, : ids.shape[1]] for back in range(WINDOW)], -1)
        places = there.flatten().nonzero().flatten()
        places = places[torch.randperm(len(places))[:TOKENS].to(places.device)]
        logits = self.heads["tokens"](states.flatten(0, 1)[places]).view(len(places) * WINDOW, -1)
        return F.cross_entropy(logits.float(), kept.flatten(0, 1)[places].flatten(), ignore_index=UNSAID) * WINDOW


def train_reading(
    name: str, tower: torch.nn.Module, reader: Reader, tokenizer: CLIPTokenizer, schedule: Schedule, batch: int, work: Path, seed: int,
    say: Callable[[str], None],
) -> None:  # fmt: skip
    """Train `tower` (a CLIP's text model) and `reader` on captions of scenes drawn afresh; nothing is rendered."""
    import torch

    device = device_of(tower)

    def loss(rng: np.random.Generator) -> torch.Tensor:
        scenes = [draw_scene(rng, reader.nouns) for _ in range(batch)]
        texts = [caption(scene, rng) for scene in scenes]
        read = {key: value.to(device) for key, value in tokens(tokenizer, texts).items()}
        with mixed_precision(device):
            said = tower(**read)
            return reader.loss((said.last_hidden_state, said.pooler_output), read, scenes, texts)

    module = torch.nn.ModuleDict({"tower": tower, "heads": reader.heads})
    train(name, module, loss, schedule, work, seed, say, lambda both, decay: muon(both, decay, APART))
