"""Finds an encoder's threshold: how similar two prompts must be to mean the same, from labelled substitutions.

The paper accepts a substitution at a cosine of at least 0.9 of sentence-T5 embeddings (DPO-Diff, sec. 6 and appendix). Other encoders have
other scales, so their threshold is found on `substitutions.jsonl`, with a bounded share of false accepts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from limner.promptdb.errors import BadInput

FILE = Path(__file__).with_name("substitutions.jsonl")
FALSE_ACCEPTS = 0.05

Encode = Callable[[Sequence[str]], np.ndarray]
"""Returns (texts, dim) vectors of texts, of any dimension and any norm above 0."""

Gate = Callable[["Substitution"], bool]


@dataclass(frozen=True, slots=True)
class Substitution:
    """A word in a short prompt and its substitute. `keep`: our label, whether the prompt still means the same picture."""

    prompt: str
    word: str
    substitute: str
    part: str
    keep: bool

    @property
    def changed(self) -> str:
        """The prompt with the first occurrence of the word replaced, as a whole word."""
        words = self.prompt.split(" ")
        at = words.index(self.word)
        return " ".join([*words[:at], self.substitute, *words[at + 1 :]])


@dataclass(frozen=True, slots=True)
class Calibration:
    """`threshold`: least accepted cosine. `n`: number of examples. Shares in [0, 1]: `acceptance` of all examples, `recall` of those that
    keep the meaning, `false_accepts` of those that change it.
    """

    threshold: float
    acceptance: float
    recall: float
    false_accepts: float
    n: int

    def __str__(self) -> str:
        return (
            f"cosine >= {self.threshold:.4f}: accepts {self.acceptance:.1%} of {self.n} substitutions, recall {self.recall:.1%}, "
            f"false accepts {self.false_accepts:.1%}"
        )


def labelled(file: Path = FILE) -> tuple[Substitution, ...]:
    """Returns the labelled substitutions. Raises BadInput for a missing or malformed file."""
    try:
        return tuple(Substitution(**json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, ValueError, TypeError) as error:
        raise BadInput(f"the labelled substitutions in {file.name} cannot be read ({error}); restore the file") from error


def calibrate(
    encode: Encode, examples: Sequence[Substitution], false_accepts: float = FALSE_ACCEPTS, gate: Gate = lambda example: True
) -> Calibration:
    """Returns the lowest threshold at which at most `false_accepts` of the examples that change the meaning pass.

    `gate`: a second condition for passing, such as WordNet's sense check. Where no threshold satisfies the bound, it is above 1 and nothing
    passes. Raises ValueError unless there are examples of both labels.
    """
    keep = np.array([example.keep for example in examples], bool)
    if keep.all() or not keep.any():
        raise ValueError("a calibration needs substitutions of both labels")
    found = cosines(encode, examples)
    found[[not gate(example) for example in examples]] = -np.inf
    allowed = int(np.floor(false_accepts * np.count_nonzero(~keep) + 1e-9))
    # At most `allowed` changing examples may lie at or above the threshold: it must exceed the next one.
    barrier = np.sort(found[~keep])[::-1][allowed] if allowed < np.count_nonzero(~keep) else -np.inf
    above = found[(found > barrier) & np.isfinite(found)]
    threshold = float(above.min()) if len(above) else float(np.nextafter(max(barrier, 1.0), 2.0))
    passed = found >= threshold
    return Calibration(threshold, float(passed.mean()), float(passed[keep].mean()), float(passed[~keep].mean()), len(examples))


def cosines(encode: Encode, examples: Sequence[Substitution]) -> np.ndarray:
    """Returns (examples,) cosines between each prompt and its changed form."""
    texts = list(dict.fromkeys(text for example in examples for text in (example.prompt, example.changed)))
    vectors = np.asarray(encode(texts), np.float64)
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = dict(zip(texts, vectors, strict=True))
    return np.array([float(rows[example.prompt] @ rows[example.changed]) for example in examples])
