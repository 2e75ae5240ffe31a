"""Emphasis in a text's embedding: which rows belong to a stretch of text, and what a weight does to them.

All arithmetic is in fp32. Weights of 1 change no bit. Sources: PAE (Mo et al., CVPR 2024), whose weighting is that of
stable-diffusion-webui ("Original" emphasis); ComfyUI and compel for `lerp_from_empty`.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from limner.promptdb.errors import BadInput
from limner.promptdb.records import EffectSpan, WeightMode

if TYPE_CHECKING:
    import torch

SMALLEST_MEAN = 1e-6
"""Below it an embedding's mean is noise, and restoring it would scale everything up: encoders such as SDXL's are centred."""

SLACK = 2.0
"""Factor by which restoring may leave the range that the weights alone explain."""


def token_weights(tokenizer: Any, text: str, spans: Sequence[EffectSpan]) -> dict[int, float]:
    """Returns the weights that are not 1 of the tokens of `text`, which are counted from 0.

    Raises BadInput where a weight covers only a part of one token, which has a single row of the embedding.
    """
    if all(span.weight == 1 for span in spans):
        return {}
    encoded = tokenizer(text, add_special_tokens=False, truncation=False, verbose=False, return_offsets_mapping=True)
    weights = dict[int, float]()
    for number, (start, end) in enumerate(encoded.offset_mapping):
        covering = {span.weight for span in spans if span.start < end and start < span.end}
        inside = any(span.start <= start and end <= span.end for span in spans)
        if len(covering) > 1 or (covering not in (set(), {Fraction(1)}) and not inside):
            raise BadInput(f"{text[start:end]!r} in {text[:60]!r} is one token, and only a part of it is weighted; weight the whole word")
        if covering and covering != {Fraction(1)}:
            weights[number] = float(covering.pop())
    return weights


def apply_weights(embedding: torch.Tensor, rows: Mapping[int, float], mode: WeightMode, empty: torch.Tensor) -> torch.Tensor:
    """Returns `embedding` (tokens, dim) with its `rows` weighted, in its own dtype; the same object where there are none.

    mean_restore: rows times weight, then all times mean(before) / mean(after), the mean over all rows and dimensions. Where positive and
    negative values nearly cancel, that factor is noise, and is left out with a warning.
    norm_restore: the same with the Euclidean norm of the whole. none: rows times weight.
    lerp_from_empty: rows moved away from, or towards, those of `empty`, the embedding of the empty text (tokens, dim).
    """
    if not rows:
        return embedding
    import torch

    before = embedding.float()
    factors = torch.ones(len(before), 1, device=before.device)
    for row, weight in rows.items():
        factors[row] = weight
    if mode == "lerp_from_empty":
        return torch.lerp(empty.float(), before, factors).to(embedding.dtype)
    after = before * factors
    if mode == "mean_restore":
        after = after * _ratio(before.mean(), after.mean(), rows.values())
    elif mode == "norm_restore":
        after = after * _ratio(before.norm(), after.norm(), rows.values())
    return after.to(embedding.dtype)


def _ratio(before: torch.Tensor, after: torch.Tensor, weights: Collection[float]) -> float:
    """Returns before / after. Returns 1, with a warning, where the weights cannot explain the ratio.

    Were all rows' means of one sign, it would lie between 1 / (largest weight) and 1 / (smallest weight).
    """
    ratio = float(before) / float(after) if float(after) else 0.0
    if not 1 / (SLACK * max(1.0, *weights)) <= ratio <= SLACK / min(1.0, *weights) or abs(float(before)) < SMALLEST_MEAN:
        warnings.warn("the embedding has next to no mean to restore, and it is left unrestored", RuntimeWarning, stacklevel=3)
        return 1.0
    return ratio
