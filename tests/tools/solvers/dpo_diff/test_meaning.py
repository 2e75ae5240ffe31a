"""The meaning filter of an attack: words by sense, prompts by an encoder's calibrated cosine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from limner.promptdb.records import Conditioning
from limner.tools.lexicon.calibration import FALSE_ACCEPTS
from limner.tools.scoring.adversarial import Adversarial
from limner.tools.scoring.clip import ClipEncoder, SphericalClipScorer
from limner.tools.scoring.hps import HpsScorer
from limner.tools.solvers.dpo_diff.meaning import (
    Encoder,
    MeaningFilter,
    calibrated,
    find_encoder,
    minilm,
    own_clip,
    same_senses,
    words_alone,
)
from tests.doubles import open_store
from tests.tools.scoring.tiny_clips import save_tiny_clip

PROMPT = "a big red car on a beach"


@pytest.mark.parametrize(
    ("text", "same"),
    [
        (PROMPT, True),
        ("a large red automobile on a beach", True),
        ("a small red car on a beach", False),
        ("a big red car on a street", False),
        ("a big red car", False),
        ("a big red car on a beach with a dog", False),
    ],
)
def test_every_word_that_changed_must_keep_a_sense_of_what_stood_there(text: str, same: bool) -> None:
    assert same_senses(PROMPT, text) is same


def test_without_any_model_the_filter_still_tells_synonyms_from_others() -> None:
    filtered = MeaningFilter(PROMPT, words_alone(), calibrated(words_alone()))
    assert filtered(Conditioning("a large red car on a beach"))
    assert not filtered(Conditioning("a blue house at night"))
    assert filtered.allowed(PROMPT)


def test_the_calibration_stays_within_its_bound_and_is_kept(tmp_path: Path) -> None:
    calls: list[int] = []

    def encode(texts: Sequence[str]) -> np.ndarray:
        calls.append(len(texts))
        return words_alone().encode(texts)

    db, _ = open_store(tmp_path)
    encoder = Encoder("counted", encode, True)
    found = calibrated(encoder, db)
    assert found.n >= 300 and found.false_accepts <= FALSE_ACCEPTS and found.recall > 0.3
    before = len(calls)
    assert calibrated(encoder, db) == found and len(calls) == before


def test_a_published_threshold_is_never_undercut() -> None:
    found = calibrated(Encoder("strict", words_alone().encode, False, threshold=0.97))
    assert found.threshold >= 0.97


def test_an_encoder_that_sees_no_difference_accepts_nothing_beyond_the_bound() -> None:
    blind = Encoder("blind", lambda texts: np.ones((len(texts), 3)), False)
    assert calibrated(blind).false_accepts <= FALSE_ACCEPTS


def test_the_tower_for_similarity_is_taken_whatever_stands_before_it(tmp_path: Path) -> None:
    clip = ClipEncoder.open(save_tiny_clip(tmp_path / "one"))
    other = ClipEncoder.open(save_tiny_clip(tmp_path / "two", seed=1))
    for scorers in ([SphericalClipScorer(clip), HpsScorer(other)], [HpsScorer(other), Adversarial(SphericalClipScorer(clip))]):
        found = own_clip(scorers)
        assert found is not None and found.name == f"clip-text-{clip.version}" and found.with_senses
    assert own_clip([HpsScorer(other)]) is None


def test_what_is_here_is_preferred_in_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("limner.tools.solvers.dpo_diff.meaning.minilm", lambda: Encoder("minilm", words_alone().encode, True))
    clip = SphericalClipScorer(ClipEncoder.open(save_tiny_clip(tmp_path)))
    assert find_encoder([clip]).name == "minilm"
    monkeypatch.setattr("limner.tools.solvers.dpo_diff.meaning.minilm", lambda: None)
    assert find_encoder([clip]).name.startswith("clip-text-")
    assert find_encoder([]).name == words_alone().name


def test_minilm_is_used_where_its_extra_is_installed() -> None:
    model = minilm()
    if model is None:
        pytest.skip("the extra `minilm` is not installed")
    assert calibrated(model).recall > 0.3
