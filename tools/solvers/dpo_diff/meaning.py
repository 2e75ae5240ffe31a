"""Checks whether a changed prompt still means the same: the condition on an attack's candidates (DPO-Diff, eq. 6).

The paper asks for a cosine of at least 0.9 of sentence-T5. Here the encoder is sentence-T5 or MiniLM where installed, else the text tower
of the checkpoint's own CLIP together with WordNet's sense check. Each has its own threshold, found on the labelled substitutions of the
lexicon at no more than 5 % false accepts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from importlib.util import find_spec
from typing import Any

import numpy as np

from limner.promptdb.errors import BadInput
from limner.promptdb.records import Conditioning, content_id
from limner.promptdb.search.minilm import MiniLM
from limner.promptdb.store import PromptDB
from limner.tools.evaluator import Evaluator
from limner.tools.lexicon.calibration import Calibration, Encode, Gate, Substitution, calibrate, cosines, labelled
from limner.tools.lexicon.sense_check import keeps_sense
from limner.tools.lexicon.wordnet import load
from limner.tools.scoring.adversarial import Adversarial
from limner.tools.scoring.base import Scorer
from limner.tools.scoring.clip import ClipEncoder, ClipScorer
from limner.tools.solvers.dpo_diff.space import Words

T5_THRESHOLD = 0.9  # the paper's, for sentence-T5
USUAL = 0.9  # the threshold accepts at most this share of the substitutions that keep the meaning and pass the sense check
VERSION = 2


@dataclass(frozen=True)
class Encoder:
    """Encodes texts to vectors.

    `name`: stable, with a version. `threshold`: a published one, None to calibrate it. `with_senses`: WordNet must agree too, word by word.
    """

    name: str
    encode: Encode
    with_senses: bool
    threshold: float | None = None


@dataclass(frozen=True)
class MeaningFilter:
    """Accepts texts that mean the same as `reference`, by cosine and, where the encoder asks for it, by senses."""

    reference: str
    encoder: Encoder
    calibration: Calibration

    def __call__(self, conditioning: Conditioning) -> bool:
        """Whether the conditioning's prompt is accepted."""
        return self.allowed(conditioning.text)

    def allowed(self, text: str) -> bool:
        """Whether `text` means the same as the reference."""
        if text == self.reference:
            return True
        if self.encoder.with_senses and not same_senses(self.reference, text):
            return False
        return self.cosine(text) >= self.calibration.threshold

    def cosine(self, text: str) -> float:
        """Returns the cosine between `text` and the reference."""
        here, there = np.asarray(self.encoder.encode([self.reference, text]), np.float64)
        return float(here @ there / (np.linalg.norm(here) * np.linalg.norm(there)))


def meaning_kept(evaluator: Evaluator, reference: str) -> Callable[[Conditioning], bool]:
    """Returns the filter with the best available encoder."""
    encoder = find_encoder(evaluator.scorers)
    return MeaningFilter(reference, encoder, calibrated(encoder, evaluator.db))


def find_encoder(scorers: Sequence[Scorer]) -> Encoder:
    """Returns sentence-T5, else MiniLM, else the text tower of the first CLIP among the scorers, else WordNet's senses alone."""
    return sentence_t5() or minilm() or own_clip(scorers) or words_alone()


def calibrated(encoder: Encoder, db: PromptDB | None = None) -> Calibration:
    """Returns an encoder's calibration on the labelled substitutions, stored in `db`."""
    rows = labelled()
    key = content_id(["meaning", VERSION, encoder.name, encoder.threshold, encoder.with_senses, [asdict(row) for row in rows]])
    if db is not None and (stored := db.stored_answer(key)):
        return Calibration(**json.loads(stored))
    gate: Gate = _senses_agree if encoder.with_senses else lambda row: True
    found = calibrate(encoder.encode, rows, gate=gate)
    least = encoder.threshold if encoder.threshold is not None else _usual(encoder, rows, gate)
    if least > found.threshold:
        found = _at(encoder, rows, gate, least)
    if db is not None:
        db.add_answer(key, "calibration", json.dumps(asdict(found)))
    return found


def same_senses(reference: str, text: str) -> bool:
    """Whether every changed stretch of words keeps a sense of the words it replaces."""
    from difflib import SequenceMatcher

    before, after = ([word.lower() for word in Words.split(item).words] for item in (reference, text))
    wordnet = load()
    for kind, start, end, there, until in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind == "equal":
            continue
        old, new = before[start:end], after[there:until]
        # Changed neighbours form one stretch, compared word by word where the number of words is equal.
        pairs = list(zip(old, new, strict=True)) if len(old) == len(new) else [(" ".join(old), " ".join(new))]
        if not all(left and right and keeps_sense(left, right, wordnet) for left, right in pairs):
            return False
    return True


@lru_cache(maxsize=1)
def minilm() -> Encoder | None:
    """Returns the sentence encoder of the extra `minilm`, or None where it is not installed."""
    try:
        model = MiniLM()
    except BadInput:
        return None
    return Encoder(model.name, model.embed, True)


def sentence_t5() -> Encoder | None:
    """Returns sentence-transformers/sentence-t5-base, or None where the library or the weights are missing."""
    if find_spec("sentence_transformers") is None:
        return None
    model = _local_t5()
    return None if model is None else Encoder("sentence-t5-base", lambda texts: model.encode(list(texts)), False, T5_THRESHOLD)


@lru_cache(maxsize=1)
def _local_t5() -> Any:
    from sentence_transformers import SentenceTransformer

    try:
        return SentenceTransformer("sentence-transformers/sentence-t5-base", local_files_only=True)
    except Exception:  # weights missing; versions of the library raise different errors
        return None


def own_clip(scorers: Sequence[Scorer]) -> Encoder | None:
    """Returns the text tower of the first CLIP similarity scorer, or None. A preference model's tower was trained for something else."""
    for scorer in scorers:
        inner = scorer.scorer if isinstance(scorer, Adversarial) else scorer
        encoder = getattr(inner, "encoder", None)
        if isinstance(inner, ClipScorer) and isinstance(encoder, ClipEncoder) and not inner.held_out:
            return Encoder(f"clip-text-{encoder.version}", partial(_text_features, encoder), True)
    return None


def words_alone() -> Encoder:
    """Returns an encoder without a network: the share of unchanged words, together with WordNet's senses."""
    return Encoder(f"words-{VERSION}", _words, True)


def _text_features(encoder: ClipEncoder, texts: Sequence[str]) -> np.ndarray:
    return encoder.text_features(texts).cpu().numpy()


def _words(texts: Sequence[str]) -> np.ndarray:
    """Returns bags of hashed words, which measure only how many words stayed."""
    from zlib import crc32

    rows = np.zeros((len(texts), 512))
    for row, text in zip(rows, texts, strict=True):
        for word in re.findall(r"\w+", text.lower()):
            row[crc32(word.encode()) % 512] += 1
    return rows + 1e-9


def _senses_agree(row: Substitution) -> bool:
    return keeps_sense(row.word, row.substitute, load())


def _usual(encoder: Encoder, rows: Sequence[Substitution], gate: Gate) -> float:
    """Returns the cosine that nine of ten substitutions that keep the meaning reach.

    Where the sense check alone satisfies the bound, calibration would accept any cosine, and several small changes could add up.
    """
    keepers = [row for row in rows if row.keep and gate(row)]
    return float(np.quantile(cosines(encoder.encode, keepers), 1 - USUAL)) if keepers else -1.0


def _at(encoder: Encoder, rows: Sequence[Substitution], gate: Gate, threshold: float) -> Calibration:
    """Returns the calibration of a given threshold."""
    passed = (cosines(encoder.encode, rows) >= threshold) & np.array([gate(row) for row in rows])
    keep = np.array([row.keep for row in rows])
    return Calibration(threshold, float(passed.mean()), float(passed[keep].mean()), float(passed[~keep].mean()), len(rows))
