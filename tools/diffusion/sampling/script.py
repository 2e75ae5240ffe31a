"""Turns a DF-Prompt into embeddings per step: the text of the active words is encoded separately for every distinct set, never masked.

A text longer than the encoder's window is encoded in chunks side by side. Prompt and negative prompt then have equally many: the shorter
one is filled up with the empty text's, as A1111 and compel do, or repeated, as ComfyUI does, which changes nothing in attention.

One text encoding serves all steps and prompts with the same set (PAE, Mo et al. 2024, its executor). Inactive words are removed from
the text, so the later rows are those of the text without them. Scripts can be compared before anything is encoded: prompts with equal
scripts up to a step share every UNet row up to it.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from limner.promptdb.errors import BadInput
from limner.promptdb.records import Chunking, Conditioning, WeightMode
from limner.tools.diffusion.sampling.conditioning import SameEveryStep, StepEmbeddings, TextEncoding, TokenIds
from limner.tools.diffusion.sampling.timing import Timing
from limner.tools.diffusion.sampling.weighting import apply_weights, token_weights
from limner.tools.prompt_language.schedule import Segment, segments

if TYPE_CHECKING:
    import torch

MOST_REPEATED = 4
"""How many times as long as the longest text a common length may be for texts to be repeated to it; ComfyUI has the same bound."""

CAPACITY = 4096
"""Number of cached scripts; a quarter as many weighted embeddings are cached."""


@dataclass(frozen=True, slots=True)
class Saying:
    """One window of a text as the encoders read it: padded token ids, and weights of the `rows` whose weight is not 1.

    Equal sayings have bit-identical embeddings, whatever texts they come from.
    """

    ids: TokenIds
    rows: tuple[tuple[int, float], ...] = ()
    mode: WeightMode = "mean_restore"


Sayings = tuple[Saying, ...]
"""A whole text: its windows, whose embeddings lie side by side."""


@dataclass(frozen=True, slots=True)
class Line:
    """The text input from model call `start` on. `negative` is None where guidance is off. `key` identifies both sides."""

    start: int
    positive: Sayings
    negative: Sayings | None
    key: bytes


@dataclass(frozen=True, slots=True)
class Script:
    """One prompt's text input from first to last model call: the first line starts at 0, and neighbouring lines differ."""

    lines: tuple[Line, ...]
    starts: tuple[int, ...] = field(repr=False)

    @property
    def length(self) -> int:
        """Returns the number of windows, equal for all its texts. Scripts of different length cannot share a batch."""
        return len(self.lines[0].positive)

    def at(self, step: int) -> Line:
        """Returns the line that holds at model call `step`."""
        return self.lines[bisect_right(self.starts, step) - 1]

    def during(self, start: int, stop: int) -> tuple[Line, ...]:
        """Returns the lines that hold at some call of `start`..`stop`, half open."""
        return self.lines[bisect_right(self.starts, start) - 1 : bisect_right(self.starts, stop - 1)]

    def keys(self, calls: int) -> tuple[bytes, ...]:
        """Returns the key at each call: scripts that share a prefix of keys have equal text input there."""
        ends = (*self.starts[1:], calls)
        return tuple(line.key for line, end in zip(self.lines, ends, strict=True) for _ in range(end - line.start))


@dataclass(frozen=True, slots=True)
class BySegment:
    """A prompt whose words come and go: `embeddings[i]` from step `starts[i]` on; the first start is 0."""

    starts: tuple[int, ...]
    embeddings: tuple[torch.Tensor, ...]

    def at(self, step: int) -> torch.Tensor:
        """Returns the embedding (tokens, dim) for model call `step`."""
        return self.embeddings[bisect_right(self.starts, step) - 1]


class Scripts:
    """Turns conditionings into scripts, and sayings into embeddings, for one checkpoint; caches both."""

    def __init__(self, encoding: TextEncoding, capacity: int = CAPACITY) -> None:
        self.encoding = encoding
        self.capacity = capacity
        self._scripts: OrderedDict[tuple[str, Timing, bool], Script] = OrderedDict()
        self._weighted: OrderedDict[tuple[str, str, Saying], torch.Tensor] = OrderedDict()

    def script(self, conditioning: Conditioning, timing: Timing, guided: bool) -> Script:
        """Returns the script of a conditioning at the calls of `timing`; without negatives where it is not `guided`.

        Raises PromptTooLong where the words active at one time need more chunks than are read, unless the encoding may truncate, and
        BadInput for a weight on a part of a token and for an adapter.
        """
        key = conditioning.id, timing, guided
        if key not in self._scripts:
            self._scripts[key] = self._read(conditioning, timing, guided)
            if len(self._scripts) > self.capacity:
                self._scripts.popitem(last=False)
        self._scripts.move_to_end(key)
        return self._scripts[key]

    def embeddings(self, sayings: Iterable[Saying]) -> dict[Saying, torch.Tensor]:
        """Returns the embedding (tokens, dim) of each distinct saying; every text is encoded once."""
        checkpoint = self.encoding.checkpoint
        owner = checkpoint.fingerprint, str(checkpoint.unet.dtype)
        found = {saying: self._weighted.get((*owner, saying)) if saying.rows else None for saying in sayings}
        missing = [saying for saying, embedding in found.items() if embedding is None]
        if missing:
            empty = self.encoding.token_ids([""]) if any(saying.mode == "lerp_from_empty" for saying in missing) else []
            plain = self.encoding.embed([*(saying.ids for saying in missing), *empty])
            for saying in missing:
                before = plain[saying.ids]
                after = apply_weights(before, dict(saying.rows), saying.mode, plain[empty[0]] if empty else before)
                found[saying] = after
                if saying.rows:
                    self._weighted[*owner, saying] = after
            while len(self._weighted) > self.capacity // 4:
                self._weighted.popitem(last=False)
        return {saying: embedding for saying, embedding in found.items() if embedding is not None}

    def _read(self, conditioning: Conditioning, timing: Timing, guided: bool) -> Script:
        if conditioning.adapter is not None:
            raise BadInput(f"drawing with an adapter is not supported yet: pass the plain text {conditioning.text[:60]!r}")
        places = timing.places(conditioning.range_unit)
        positive = segments(conditioning.text, conditioning.spans, places, breaks=conditioning.breaks)
        unwanted = conditioning.negative, conditioning.negative_spans, places
        negative = segments(*unwanted, breaks=conditioning.negative_breaks) if guided else ()
        said = self._equally_long([self._sayings(segment, conditioning) for segment in (*positive, *negative)], conditioning.chunking)
        starts = [segment.start for segment in positive], [segment.start for segment in negative]
        lines: list[Line] = []
        for start in sorted({*starts[0], *starts[1]}):
            first = said[bisect_right(starts[0], start) - 1]
            second = said[len(positive) + bisect_right(starts[1], start) - 1] if guided else None
            key = hashlib.blake2b(repr((first, second)).encode(), digest_size=16).digest()
            if not lines or lines[-1].key != key:
                lines.append(Line(start, first, second, key))
        return Script(tuple(lines), tuple(line.start for line in lines))

    def _sayings(self, segment: Segment, conditioning: Conditioning) -> Sayings:
        windows = self.encoding.chunks(segment.text, segment.breaks, conditioning.chunking)
        weights = self._weights(segment)
        found = []
        for window in windows:
            rows = {token - window.tokens.start + 1: weights[token] for token in window.tokens if token in weights}
            found.append(Saying(window.ids, tuple(sorted(rows.items())), conditioning.weight_mode) if rows else Saying(window.ids))
        return tuple(found)

    def _equally_long(self, said: list[Sayings], chunking: Chunking) -> list[Sayings]:
        """Returns the texts with as many windows as the longest, filled up or, as ComfyUI does, repeated."""
        lengths = {len(each) for each in said}
        if len(lengths) == 1:
            return said
        longest = max(lengths)
        common = math.lcm(*lengths)
        if chunking == "word" and common <= MOST_REPEATED * longest:
            return [each * (common // len(each)) for each in said]
        empty = Saying(self.encoding.token_ids([""])[0])
        return [(*each, *[empty] * (longest - len(each))) for each in said]

    def _weights(self, segment: Segment) -> dict[int, float]:
        """Returns the weights of the text's tokens, counted from 0. Encoders side by side share rows, so they must split the words into
        equal tokens.
        """
        if not segment.spans:
            return {}
        tokenizers = self.encoding.checkpoint.tokenizers
        with self.encoding.reading:
            found = [token_weights(tokenizer, segment.text, segment.spans) for tokenizer in tokenizers]
        if any(weights != found[0] for weights in found):
            raise BadInput("the text encoders of this checkpoint divide the weighted words differently, and share their rows")
        return found[0]


def step_embeddings(
    scripts: Scripts, conditionings: Sequence[Conditioning], timing: Timing, guided: bool
) -> tuple[list[StepEmbeddings], list[StepEmbeddings]]:
    """Returns positive and negative embeddings, one for each conditioning; no negatives where guidance is off.

    Raises as `Scripts.script` does.
    """
    read = [scripts.script(item, timing, guided) for item in conditionings]
    positive = [[(line.start, line.positive) for line in script.lines] for script in read]
    negative = [[(line.start, line.negative) for line in script.lines if line.negative] for script in read] if guided else []
    known = scripts.embeddings(saying for lines in (*positive, *negative) for _, sayings in lines for saying in sayings)

    def whole(lines: Sequence[tuple[int, Sayings]]) -> StepEmbeddings:
        turns = [(start, sayings) for place, (start, sayings) in enumerate(lines) if place == 0 or sayings != lines[place - 1][1]]
        found = tuple(side_by_side(sayings, known) for _, sayings in turns)
        return SameEveryStep(found[0]) if len(found) == 1 else BySegment(tuple(start for start, _ in turns), found)

    return [whole(lines) for lines in positive], [whole(lines) for lines in negative]


def side_by_side(sayings: Sayings, known: Mapping[Saying, torch.Tensor]) -> torch.Tensor:
    """Returns the embedding (windows x tokens, dim) of a text from those of its windows; of one window, that window's own."""
    if len(sayings) == 1:
        return known[sayings[0]]
    import torch

    return torch.cat([known[saying] for saying in sayings])
