"""The judge: an attribute classifier that checks whether a picture shows what its prompt asks for. No search may use it.

It reads pictures with a network trained on ground truth (`judge_network.py`) and prompts with a vocabulary (`asked.py`); it shares no
weights and no text encoder with any scorer.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from limner.promptdb.errors import BadInput
from limner.tools.scoring.asked import Asked, World

if TYPE_CHECKING:
    from limner.tools.scoring.judge_network import JudgeNetwork, Seen


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is right in one picture. None where the prompt does not ask for it.

    Colours, numbers and relation are judged only for things that are there. `score`: share of the asked attributes that are right; a
    missing thing also counts against its colour, number and relation. NaN where the prompt asks for nothing that the judge knows.
    """

    objects: tuple[bool, ...]
    colours: tuple[bool | None, ...]
    relation: bool | None
    background: bool | None
    style: bool | None
    defects: tuple[str, ...]
    score: float
    counts: tuple[bool | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Sight:
    """What the judge detects in one picture, whatever the prompt.

    `colours`: of each thing, None for its natural one. `count`: number of one kind, None where the judge does not count. `relation`: of the
    first to the second of two things, in the vocabulary's order.
    """

    things: tuple[str, ...]
    colours: tuple[str | None, ...]
    count: int | None
    relation: str | None
    background: str
    style: str
    defects: tuple[str, ...]


class Judge:
    """A scorer whose value is the share of asked attributes that are right, in [0, 1]."""

    higher_is_better = True
    held_out = True

    def __init__(self, name: str, network: JudgeNetwork, world: World, version: str, side: int = 64) -> None:
        self.name = name
        self.version = version
        self.world = world
        self._network = network
        self._side = side

    @classmethod
    def open(cls, folder: Path, name: str = "judge", device: str = "cpu") -> Judge:
        """Reads `judge.json`, `world.json` and `judge.safetensors` from `folder`. Raises BadInput where one is missing or broken."""
        import torch
        from safetensors.torch import load_file

        from limner.tools.scoring.judge_network import JudgeNetwork

        world = World.read(folder / "world.json")
        weights = folder / "judge.safetensors"
        try:
            settings = json.loads((folder / "judge.json").read_text(encoding="utf-8"))
            network = JudgeNetwork(**settings["sizes"], channels=tuple(settings["channels"]))
            network.load_state_dict({key: value.float() for key, value in load_file(weights).items()})
        except Exception as error:  # safetensors raises its own untyped errors for truncated files
            raise BadInput(f"the judge in {folder} cannot be read: {str(error).splitlines()[0]}") from error
        version = hashlib.sha256(weights.read_bytes() + (folder / "world.json").read_bytes()).hexdigest()[:12]
        return cls(name, network.eval().requires_grad_(False).to(torch.device(device)), world, version)

    def score(self, images: Sequence[Image.Image], texts: Sequence[str]) -> np.ndarray:
        """Returns (n,) float32 in [0, 1]; NaN for a text that asks for nothing in the vocabulary."""
        return np.array([verdict.score for verdict in self.verdicts(images, texts)], np.float32)

    def recognises(self, text: str) -> bool:
        """Returns whether `text` asks for anything in the vocabulary, so that a picture can get it right or wrong."""
        return self.world.read_prompt(text).attributes > 0

    def verdicts(self, images: Sequence[Image.Image], texts: Sequence[str], batch: int = 64) -> list[Verdict]:
        """Returns a verdict for each image and the text at the same index. Raises ValueError where the lengths differ."""
        if len(images) != len(texts):
            raise ValueError(f"{len(images)} images but {len(texts)} texts")
        asked = {text: self.world.read_prompt(text) for text in set(texts)}
        verdicts: list[Verdict] = []
        for start in range(0, len(images), batch):
            seen = self._seen(images[start : start + batch])
            verdicts += [self._verdict(seen, row, asked[text]) for row, text in enumerate(texts[start : start + batch])]
        return verdicts

    def see(self, images: Sequence[Image.Image], batch: int = 64) -> list[Sight]:
        """Returns what the judge detects in each picture."""
        sights: list[Sight] = []
        for start in range(0, len(images), batch):
            part = images[start : start + batch]
            seen = self._seen(part)
            sights += [self._sight(seen, row) for row in range(len(part))]
        return sights

    def _seen(self, images: Sequence[Image.Image]) -> Seen:
        import torch

        pixels = np.stack([np.asarray(image.convert("RGB").resize((self._side, self._side))) for image in images])
        with torch.inference_mode():
            device = next(self._network.parameters()).device
            return self._network(torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).float() / 255)

    def _sight(self, seen: Seen, row: int) -> Sight:
        world = self.world
        places = (seen.presence[row] > 0).nonzero().flatten().tolist()
        colours = (*world.names("colours"), None)
        relation = None
        if len(places) == 2:
            relation = relation_of(*(seen.centre[row, places[0]] - seen.centre[row, places[1]]).tolist())
        return Sight(
            tuple(world.names("nouns")[place] for place in places),
            tuple(colours[int(seen.colour[row, place].argmax())] for place in places),
            None if seen.count is None else int(seen.count[row].argmax()) + 1,
            relation,
            world.names("backgrounds")[int(seen.background[row].argmax())],
            world.names("styles")[int(seen.style[row].argmax())],
            tuple(name for name, logit in zip(world.defects, seen.defects[row].tolist(), strict=True) if logit > 0),
        )

    def _verdict(self, seen: Seen, row: int, asked: Asked) -> Verdict:
        world = self.world
        nouns, colours = world.names("nouns"), (*world.names("colours"), None)
        places = [nouns.index(thing.noun) for thing in asked.things]
        objects = tuple(bool(seen.presence[row, place] > 0) for place in places)
        colour_right = tuple(
            world.of_colour(thing.noun, colours[int(seen.colour[row, place].argmax())], thing.colour) if thing.colour and there else None
            for thing, place, there in zip(asked.things, places, objects, strict=True)
        )
        counts = tuple(
            int(seen.count[row].argmax()) + 1 == thing.count if thing.count and there and seen.count is not None else None
            for thing, there in zip(asked.things, objects, strict=True)
        )
        relation = None
        if asked.relation and len(places) == 2 and all(objects):
            dx, dy = (seen.centre[row, places[0]] - seen.centre[row, places[1]]).tolist()
            relation = relation_of(dx, dy) == asked.relation
        background = _is(world.names("backgrounds"), seen.background[row], asked.background)
        style = _is(world.names("styles"), seen.style[row], asked.style)
        defects = tuple(name for name, logit in zip(world.defects, seen.defects[row].tolist(), strict=True) if logit > 0)
        right = sum(objects) + sum(bool(ok) for ok in (*colour_right, *counts)) + bool(relation) + bool(background) + bool(style)
        score = right / asked.attributes if asked.attributes else math.nan
        return Verdict(objects, colour_right, relation, background, style, defects, score, counts)


def relation_of(dx: float, dy: float) -> str:
    """Returns the relation of the first of two things to the second, from the difference of their positions (x to the right, y down)."""
    if abs(dx) >= abs(dy):
        return "left" if dx < 0 else "right"
    return "above" if dy < 0 else "below"


def _is(names: tuple[str, ...], logits: object, asked: str | None) -> bool | None:
    return None if asked is None else names[int(logits.argmax())] == asked  # type: ignore[attr-defined]
