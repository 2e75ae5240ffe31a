"""Whether a changed prompt still means the same: the condition that an attack's candidates must fulfil (DPO-Diff, eq. 6).

The paper asks for a cosine of at least 0.9 of sentence-T5. Here the encoder is what there is: sentence-T5 or MiniLM where installed, else
the text tower of the checkpoint's own CLIP together with WordNet's sense check. Each has a threshold of its own, found on the labelled
substitutions that come with the lexicon at no more than 5 % false accepts.
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

T5_THRESHOLD = 0.9  # the paper's, of sentence-T5
USUAL = 0.9  # share of the substitutions that keep the meaning and agree in sense, whose cosine is still enough
VERSION = 2


@dataclass(frozen=True)
class Encoder:
    """Texts to vectors. `name`: stable, with a version. `threshold`: a published one, None where it is to be calibrated. `with_senses`:
    whether WordNet must agree too, word by word."""

    name: str
    encode: Encode
    with_senses: bool
    threshold: float | None = None


@dataclass(frozen=True)
class MeaningFilter:
    """`allowed(text)`: whether it means what `reference` does, by cosine and, where wanted, by senses."""

    reference: str
    encoder: Encoder
    calibration: Calibration

    def __call__(self, conditioning: Conditioning) -> bool:
        return self.allowed(conditioning.text)

    def allowed(self, text: str) -> bool:
        if text == self.reference:
            return True
        if self.encoder.with_senses and not same_senses(self.reference, text):
            return False
        return self.cosine(text) >= self.calibration.threshold

    def cosine(self, text: str) -> float:
        here, there = np.asarray(self.encoder.encode([self.reference, text]), np.float64)
        return float(here @ there / (np.linalg.norm(here) * np.linalg.norm(there)))


def meaning_kept(evaluator: Evaluator, reference: str) -> Callable[[Conditioning], bool]:
    """The filter of the best encoder that is here."""
    encoder = find_encoder(evaluator.scorers)
    return MeaningFilter(reference, encoder, calibrated(encoder, evaluator.db))


def find_encoder(scorers: Sequence[Scorer]) -> Encoder:
    """Sentence-T5, else MiniLM, else the text tower of the first CLIP among the scorers; without any, words by WordNet alone."""
    return sentence_t5() or minilm() or own_clip(scorers) or words_alone()


def calibrated(encoder: Encoder, db: PromptDB | None = None) -> Calibration:
    """Threshold, acceptance and recall of an encoder on the labelled list; kept in the database, since it takes a moment."""
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
    """Whether every stretch of words that changed keeps a sense of what stood there."""
    from difflib import SequenceMatcher

    before, after = ([word.lower() for word in Words.split(item).words] for item in (reference, text))
    wordnet = load()
    for kind, start, end, there, until in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind == "equal":
            continue
        old, new = before[start:end], after[there:until]
        # Neighbours that both changed are one stretch; word by word where as many stand there as before.
        pairs = list(zip(old, new, strict=True)) if len(old) == len(new) else [(" ".join(old), " ".join(new))]
        if not all(left and right and keeps_sense(left, right, wordnet) for left, right in pairs):
            return False
    return True


@lru_cache(maxsize=1)
def minilm() -> Encoder | None:
    """The sentence encoder of the extra `minilm`, or None."""
    try:
        model = MiniLM()
    except BadInput:
        return None
    return Encoder(model.name, model.embed, True)


def sentence_t5() -> Encoder | None:
    """sentence-transformers/sentence-t5-base where that library is installed and the weights are on this machine, or None."""
    if find_spec("sentence_transformers") is None:
        return None
    model = _local_t5()
    return None if model is None else Encoder("sentence-t5-base", lambda texts: model.encode(list(texts)), False, T5_THRESHOLD)


@lru_cache(maxsize=1)
def _local_t5() -> Any:
    from sentence_transformers import SentenceTransformer

    try:
        return SentenceTransformer("sentence-transformers/sentence-t5-base", local_files_only=True)
    except Exception:  # not on this machine; every version says so in its own way
        return None


def own_clip(scorers: Sequence[Scorer]) -> Encoder | None:
    """The text tower of the first CLIP for similarity among the scorers; a preference model's tower has learned something else."""
    for scorer in scorers:
        inner = scorer.scorer if isinstance(scorer, Adversarial) else scorer
        encoder = getattr(inner, "encoder", None)
        if isinstance(inner, ClipScorer) and isinstance(encoder, ClipEncoder) and not inner.held_out:
            return Encoder(f"clip-text-{encoder.version}", partial(_text_features, encoder), True)
    return None


def words_alone() -> Encoder:
    """No network: how many words stayed, and WordNet's senses."""
    return Encoder(f"words-{VERSION}", _words, True)


def _text_features(encoder: ClipEncoder, texts: Sequence[str]) -> np.ndarray:
    return encoder.text_features(texts).cpu().numpy()


def _words(texts: Sequence[str]) -> np.ndarray:
    """A bag of hashed words: no more than how much of a text stayed the same."""
    from zlib import crc32

    rows = np.zeros((len(texts), 512))
    for row, text in zip(rows, texts, strict=True):
        for word in re.findall(r"\w+", text.lower()):
            row[crc32(word.encode()) % 512] += 1
    return rows + 1e-9


def _senses_agree(row: Substitution) -> bool:
    return keeps_sense(row.word, row.substitute, load())


def _usual(encoder: Encoder, rows: Sequence[Substitution], gate: Gate) -> float:
    """What nine of ten substitutions that keep the meaning reach. Where the sense check alone meets the bound, a threshold by false accepts
    would be no threshold, and several small changes could add up."""
    keepers = [row for row in rows if row.keep and gate(row)]
    return float(np.quantile(cosines(encoder.encode, keepers), 1 - USUAL)) if keepers else -1.0


def _at(encoder: Encoder, rows: Sequence[Substitution], gate: Gate, threshold: float) -> Calibration:
    """What a given threshold does on the list."""
    passed = (cosines(encoder.encode, rows) >= threshold) & np.array([gate(row) for row in rows])
    keep = np.array([row.keep for row in rows])
    return Calibration(threshold, float(passed.mean()), float(passed[keep].mean()), float(passed[~keep].mean()), len(rows))
