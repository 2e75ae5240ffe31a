"""The labelled substitutions, and the threshold that they give an encoder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from limner.tools.lexicon.calibration import Substitution, calibrate, labelled


def examples(cosines: Sequence[float], keep: Sequence[bool]) -> list[Substitution]:
    return [Substitution("a word", "word", f"{cosine:.4f}", "n", label) for cosine, label in zip(cosines, keep, strict=True)]


def by_name(texts: Sequence[str]) -> np.ndarray:
    """A toy encoder: a text that ends in a number lies at that cosine from every other; lengths differ from 1."""
    rows = []
    for text in texts:
        last = text.split()[-1]
        cosine = float(last) if last[-1].isdigit() else 1.0
        rows.append([3 * cosine, 3 * np.sqrt(1 - cosine**2)])
    return np.array(rows)


def test_the_list_is_large_balanced_and_of_several_parts_of_speech() -> None:
    rows = labelled()
    assert len(rows) >= 300
    assert 0.4 <= np.mean([row.keep for row in rows]) <= 0.6
    assert {row.part for row in rows} == set("nvar")


def test_each_row_replaces_a_word_that_is_there_and_stands_once() -> None:
    rows = labelled()
    assert len({(row.prompt, row.word, row.substitute) for row in rows}) == len(rows)
    assert all(row.changed != row.prompt for row in rows)


def test_a_perfect_encoder_recalls_everything_without_false_accepts() -> None:
    found = calibrate(by_name, examples([0.9, 0.8, 0.3, 0.2], [True, True, False, False]))
    assert (found.recall, found.false_accepts, found.acceptance) == (1, 0, 0.5)
    assert found.threshold == pytest.approx(0.8)


def test_false_accepts_stay_within_the_bound() -> None:
    rng = np.random.default_rng(0)
    found = calibrate(by_name, examples(rng.uniform(0, 1, 200), rng.uniform(size=200) < 0.5), false_accepts=0.05)
    assert 0 < found.false_accepts <= 0.05


def test_an_encoder_that_tells_nothing_apart_accepts_nothing() -> None:
    found = calibrate(by_name, examples([0.5, 0.5], [True, False]))
    assert (found.acceptance, found.recall, found.threshold > 1) == (0, 0, True)


def test_a_gate_shuts_out_what_the_encoder_would_accept() -> None:
    found = calibrate(by_name, examples([0.9, 0.8, 0.95], [True, True, False]), gate=lambda example: example.substitute < "0.92")
    assert (found.recall, found.false_accepts) == (1, 0)


def test_one_label_alone_calibrates_nothing() -> None:
    with pytest.raises(ValueError, match="both labels"):
        calibrate(by_name, examples([0.5], [True]))


def test_the_result_prints_acceptance_and_recall() -> None:
    assert "recall 100.0%" in str(calibrate(by_name, examples([0.9, 0.1], [True, False])))
