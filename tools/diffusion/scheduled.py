"""What a DF-Prompt says at each step, as embeddings: the text that acts is encoded anew for every set of acting words, never masked.

One text encoding for each distinct set, however many steps and prompts share it (PAE, Mo et al. 2024, its executor). Words that do not
act are gone from the text, so the rows of later words are those of the text without them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from promptdb.errors import BadInput
from promptdb.records import Conditioning, WeightMode
from tools.df_prompt.schedule import Segment, segments
from tools.diffusion.base import PromptTooLong
from tools.diffusion.conditioning import SameEveryStep, StepEmbeddings, TextEncoding
from tools.diffusion.weighting import apply_weights, weighted_rows

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class BySegment:
    """A prompt whose words come and go: `embeddings[i]` from step `starts[i]` on; the first start is 0."""

    starts: tuple[int, ...]
    embeddings: tuple[torch.Tensor, ...]

    def at(self, step: int) -> torch.Tensor:
        return self.embeddings[bisect_right(self.starts, step) - 1]


def step_embeddings(
    encoding: TextEncoding, conditionings: Sequence[Conditioning], places: Sequence[Fraction], guided: bool
) -> tuple[list[StepEmbeddings], list[StepEmbeddings]]:
    """Positive and negative embeddings, a pair for each conditioning; no negatives where guidance is off. `places`: where each model call
    begins in the elapsed denoising, as `tools.df_prompt.schedule` counts it, one sequence for all.

    Raises PromptTooLong for a set of acting words over the encoder's limit, unless the encoding may truncate, and BadInput for a weight on
    a part of a token or an adapter.
    """
    for item in conditionings:
        if item.adapter is not None:
            raise BadInput("an adapter is not part of per-step embeddings")
    positive = [(item, segments(item.text, item.spans, places)) for item in conditionings]
    negative = [(item, segments(item.negative, item.negative_spans, places)) for item in conditionings] if guided else []
    said = [segment for _, found in (*positive, *negative) for segment in found]
    for item, found in (*positive, *negative):
        _check(encoding, item, found)
    weighted = any(segment.spans for segment in said)
    known = encoding.encode([*(segment.text for segment in said), *([""] if weighted else [])])
    emphasized = dict[tuple[Segment, WeightMode], "torch.Tensor"]()

    def embedding(segment: Segment, mode: WeightMode) -> torch.Tensor:
        plain = known[segment.text]
        if not segment.spans:
            return plain
        key = Segment(0, 0, segment.text, segment.spans), mode
        if key not in emphasized:
            emphasized[key] = apply_weights(plain, _rows(encoding, segment), mode, known[""])
        return emphasized[key]

    def whole(item: Conditioning, found: Sequence[Segment]) -> StepEmbeddings:
        each = tuple(embedding(segment, item.weight_mode) for segment in found)
        if len(each) == 1:
            return SameEveryStep(each[0])
        return BySegment(tuple(segment.start for segment in found), each)

    return [whole(*pair) for pair in positive], [whole(*pair) for pair in negative]


def _check(encoding: TextEncoding, conditioning: Conditioning, found: Sequence[Segment]) -> None:
    for segment in found:
        tokens, limit = encoding.token_count(segment.text)
        if tokens > limit and not encoding.truncate:
            raise PromptTooLong(Conditioning(segment.text, conditioning.negative), tokens, limit)
        _rows(encoding, segment)


def _rows(encoding: TextEncoding, segment: Segment) -> dict[int, float]:
    """Rows of the embedding that are weighted. Encoders side by side share rows, so they must share tokens."""
    tokenizers = encoding.checkpoint.tokenizers
    _, limit = encoding.token_count("")
    rows = [weighted_rows(tokenizer, segment.text, segment.spans, limit + 2) for tokenizer in tokenizers]
    if any(row != rows[0] for row in rows):
        raise BadInput("the text encoders of this checkpoint divide the weighted words differently, and share their rows")
    return rows[0]
