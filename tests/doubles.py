"""Stand-ins for what a test must not need: trained weights, a scorer's network, the clock. All are deterministic.

They fulfil the protocols of `tools/diffusion/base.py` and `tools/scoring/base.py`; the database and the image files are real ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from limner.promptdb.images import ImageStore
from limner.promptdb.records import Drawing, SamplerSettings
from limner.promptdb.store import PromptDB
from limner.tools.diffusion.base import CancelToken, Drawn, Hooks, PromptTooLong


def open_store(folder: Path) -> tuple[PromptDB, ImageStore]:
    """A real database and image folder, e.g. in `tmp_path`; opening the same folder again finds what was put there."""
    return PromptDB.open(folder / "limner.db"), ImageStore(folder / "images")


class FakeClock:
    """A clock that stands still until told: `Budget(clock=FakeClock())`."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


def picture_of(value: float, size: tuple[int, int] = (8, 8)) -> Image.Image:
    """A plain picture whose colour holds a number of [0, 1) to 24 bits."""
    number = round(value * 2**24)
    return Image.new("RGB", size, (number >> 16, number >> 8 & 255, number & 255))


def value_of(image: Image.Image) -> float:
    """The number that `picture_of` put there."""
    red, green, blue = np.asarray(image)[0, 0].tolist()
    return (red << 16 | green << 8 | blue) / 2**24


def hashed_value(drawing: Drawing) -> float:
    """A number of [0, 1) that looks random and is the same for the same drawing anywhere."""
    return int.from_bytes(hashlib.sha256(drawing.id.encode()).digest()[:3], "big") / 2**24


class FakeImageModel:
    """An ImageModel that paints one plain colour: `value(drawing)`, a number of [0, 1) that `FakeScorer` reads back.

    `rows` counts UNet rows, `drawn` the drawings in order, `calls` the batched calls. Seeds in `nan_seeds` give no image. Texts of
    more than `limit` words are refused. `on_bucket` is called before each bucket of `bucket` pictures with the drawings in it.
    """

    name = "fake"
    device = "cpu"

    def __init__(
        self,
        value: Callable[[Drawing], float] = hashed_value,
        *,
        nan_seeds: Sequence[int] = (),
        bucket: int = 4,
        limit: int = 75,
        fingerprint: str = "fake-weights",
        settings: SamplerSettings | None = None,
        on_bucket: Callable[[list[Drawing]], None] | None = None,
    ) -> None:
        self.value = value
        self.nan_seeds = frozenset(nan_seeds)
        self.bucket = bucket
        self.limit = limit
        self.fingerprint = fingerprint
        self.default_settings = settings or SamplerSettings(steps=4, width=8, height=8)
        self.on_bucket = on_bucket
        self.rows = 0
        self.calls = 0
        self.drawn: list[Drawing] = []

    def token_count(self, text: str) -> tuple[int, int]:
        return len(text.split()), self.limit

    @property
    def most_windows(self) -> int:
        return 1

    def unet_rows(self, drawings: Sequence[Drawing]) -> int:
        return sum(drawing.settings.unet_rows for drawing in {drawing.id: drawing for drawing in drawings}.values())

    def draw(
        self,
        drawings: Sequence[Drawing],
        on_drawn: Callable[[Drawn], None] | None = None,
        *,
        cancel: CancelToken | None = None,
        hooks: Hooks | None = None,
    ) -> list[Drawn]:
        self.calls += 1
        for drawing in drawings:
            for text in (drawing.conditioning.text, drawing.conditioning.negative):
                tokens, limit = self.token_count(text)
                if tokens > limit:
                    raise PromptTooLong(drawing.conditioning.text, tokens, limit)
        results: list[Drawn] = []
        for start in range(0, len(drawings), self.bucket):
            batch = list(drawings[start : start + self.bucket])
            if cancel:
                cancel.check()
            if self.on_bucket:
                self.on_bucket(batch)
            self.rows += self.unet_rows(batch)
            self.drawn += batch
            fresh = [Drawn(drawing, self._paint(drawing), self.bucket, self.device) for drawing in batch]
            for drawn in fresh:
                if on_drawn:
                    on_drawn(drawn)
            results += fresh
        return results

    def _paint(self, drawing: Drawing) -> Image.Image | None:
        if drawing.seed in self.nan_seeds:
            return None
        return picture_of(self.value(drawing), (drawing.settings.width, drawing.settings.height))


class FakeScorer:
    """A Scorer that returns the number in a picture of `FakeImageModel`, or `value(image, text)`.

    `calls` counts calls, `judged` the (image, text) pairs.
    """

    def __init__(
        self,
        name: str = "fake",
        value: Callable[[Image.Image, str], float] | None = None,
        *,
        version: str = "1",
        higher_is_better: bool = True,
        held_out: bool = False,
    ) -> None:
        self.name = name
        self.version = version
        self.higher_is_better = higher_is_better
        self.held_out = held_out
        self.value = value or (lambda image, text: value_of(image))
        self.calls = 0
        self.judged = 0

    def score(self, images: Sequence[Image.Image], texts: Sequence[str]) -> np.ndarray:
        if len(images) != len(texts):
            raise ValueError(f"{len(images)} images need as many texts, not {len(texts)}")
        self.calls += 1
        self.judged += len(images)
        return np.array([self.value(image, text) for image, text in zip(images, texts, strict=True)], dtype=np.float32)
