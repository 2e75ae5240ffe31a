"""Draws many drawings as one tree: drawings that are equal so far are one row, which forks where they start to differ.

Equal seed, guidance scale and sampler, and equal text input at every model call so far, give equal latents, so each shared call is made
once. At a fork latents, solver history and noise streams are copied, and every branch continues as if it were alone. K drawings that
differ from call s of T on take s + K (T - s) calls instead of K T.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from limner.promptdb.records import Drawing
from limner.tools.diffusion.base import Hooks
from limner.tools.diffusion.checkpoint import Checkpoint
from limner.tools.diffusion.sampling.conditioning import StepEmbeddings
from limner.tools.diffusion.sampling.denoising import Denoising
from limner.tools.diffusion.sampling.script import Sayings, Script, Scripts, side_by_side
from limner.tools.diffusion.sampling.timing import Timing

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Batch:
    """Decoded pictures, and for each the drawings it belongs to (several where their text input never differs).

    `bucket`: rows of the last model calls, padding included.
    """

    drawings: tuple[tuple[Drawing, ...], ...]
    pictures: torch.Tensor
    bucket: int


@dataclass(frozen=True, slots=True)
class Branch:
    """Drawings that are equal so far. `row`: their row in the denoising they come from."""

    row: int
    drawings: tuple[Drawing, ...]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How rows are batched. `bucket(count)`: padded size of the next batch of `count` rows. `smaller(bucket)`: called when memory ran out
    with that size; returns whether to try a smaller one.
    """

    bucket: Callable[[int], int]
    smaller: Callable[[int], bool]


class Population:
    """Distinct drawings with equal settings except the guidance scale, with guidance on or off and texts of as many windows for all.

    `shared`: whether equal drawings share rows. `rows`: UNet rows computed so far, without padding.
    """

    def __init__(self, checkpoint: Checkpoint, scripts: Scripts, timing: Timing, drawings: Sequence[Drawing], shared: bool = True) -> None:
        self.checkpoint = checkpoint
        self.scripts = scripts
        self.timing = timing
        self.settings = drawings[0].settings
        self.guided = self.settings.guidance_scale > 1
        self.drawings = drawings
        self.shared = shared
        self.rows = 0
        self._script_of: Mapping[str, Script] = {item.id: scripts.script(item.conditioning, timing, self.guided) for item in drawings}

    def batches(self, sizes: Sizes, decode: Callable[[torch.Tensor, int], torch.Tensor], hooks: Hooks | None = None) -> Iterator[Batch]:
        """Draws and yields batch by batch; further branches of a fork wait. `decode`: latents and the number of wanted rows to pictures."""
        import torch

        waiting: list[tuple[Denoising | None, list[Branch], int]] = [(None, self._roots(), 0)]
        while waiting:
            parent, branches, step = waiting.pop()
            bucket = sizes.bucket(len(branches))
            batch, rest = branches[:bucket], branches[bucket:]
            stop = min(self._fork(branch, step) for branch in batch)
            try:
                denoising = self._advance(parent, batch, bucket, range(step, stop), hooks)
                if stop == self.timing.calls:
                    with torch.inference_mode():
                        pictures = decode(denoising.latents, len(batch))
            except torch.OutOfMemoryError:
                if not sizes.smaller(bucket):
                    raise
                waiting.append((parent, branches, step))
                continue
            if rest:
                waiting.append((parent, rest, step))
            if stop == self.timing.calls:
                yield Batch(tuple(branch.drawings for branch in batch), pictures, bucket)
            else:
                waiting.append((denoising, self._parted(batch, stop), stop))

    def _roots(self) -> list[Branch]:
        if not self.shared:
            return [Branch(0, (drawing,)) for drawing in self.drawings]
        groups: dict[tuple[int, float, bytes], list[Drawing]] = {}
        for drawing in self.drawings:
            start = drawing.seed, drawing.settings.guidance_scale, self._script_of[drawing.id].at(0).key
            groups.setdefault(start, []).append(drawing)
        return [Branch(0, tuple(group)) for group in groups.values()]

    def _fork(self, branch: Branch, step: int) -> int:
        """Returns the next call at which the drawings of `branch`, equal at `step`, differ; the number of calls where they never do."""
        scripts = [self._script_of[drawing.id] for drawing in branch.drawings]
        if len(scripts) > 1:
            for start in sorted({start for script in scripts for start in script.starts if start > step}):
                if len({script.at(start).key for script in scripts}) > 1:
                    return start
        return self.timing.calls

    def _parted(self, batch: Sequence[Branch], step: int) -> list[Branch]:
        """Returns the branches into which the rows of `batch` fork at call `step`."""
        parted: list[Branch] = []
        for row, branch in enumerate(batch):
            groups: dict[bytes, list[Drawing]] = {}
            for drawing in branch.drawings:
                groups.setdefault(self._script_of[drawing.id].at(step).key, []).append(drawing)
            parted += [Branch(row, tuple(group)) for group in groups.values()]
        return parted

    def _advance(self, parent: Denoising | None, batch: Sequence[Branch], bucket: int, steps: range, hooks: Hooks | None) -> Denoising:
        """Returns the denoising of `batch` after `steps`; `parent` is unchanged."""
        import torch

        if parent is None and hooks and hooks.on_batch:
            hooks.on_batch([branch.drawings[0] for branch in batch])
        padded = [*batch, *[batch[-1]] * (bucket - len(batch))]
        first = [branch.drawings[0] for branch in padded]
        positives, negatives = self._embeddings(first, steps)
        with torch.inference_mode():
            if parent is None:
                scales = [drawing.settings.guidance_scale for drawing in first]
                denoising = Denoising(self.checkpoint, self.settings, [drawing.seed for drawing in first], scales)
            else:
                denoising = parent.fork([branch.row for branch in padded])
            denoising.run(positives, negatives, hooks, len(batch), steps)
        self.rows += len(batch) * len(steps) * (2 if self.guided else 1)
        return denoising

    def _embeddings(self, drawings: Sequence[Drawing], steps: range) -> tuple[list[StepEmbeddings], list[StepEmbeddings]]:
        scripts = [self._script_of[drawing.id] for drawing in drawings]
        lines = [line for script in scripts for line in script.during(steps.start, steps.stop)]
        texts = dict.fromkeys(text for line in lines for text in (line.positive, line.negative) if text)
        windows = self.scripts.embeddings(saying for text in texts for saying in text)
        known = {text: side_by_side(text, windows) for text in texts}
        positives: list[StepEmbeddings] = [_Side(script, known, "positive") for script in scripts]
        return positives, [_Side(script, known, "negative") for script in scripts] if self.guided else []


@dataclass(frozen=True, slots=True)
class _Side:
    """The positive or the negative side of a script as embeddings."""

    script: Script
    known: Mapping[Sayings, torch.Tensor]
    side: str

    def at(self, step: int) -> torch.Tensor:
        return self.known[getattr(self.script.at(step), self.side)]


def shared_calls(scripts: Iterable[tuple[tuple[int, float], Script]], calls: int) -> int:
    """Returns the number of model calls, one row each, to draw all of these as a tree; each has (seed, guidance scale) and its script."""
    heads = sorted((start, script.keys(calls)) for start, script in scripts)
    total = calls if heads else 0
    for (left, before), (right, after) in pairwise(heads):
        agreed = next((n for n in range(calls) if before[n] != after[n]), calls) if left == right else 0
        total += calls - agreed
    return total
