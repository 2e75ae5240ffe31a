"""Searching by an embedding model's vectors: kept, taken up where they ended, compared exactly; and MiniLM where it is installed."""

from __future__ import annotations

import importlib.util
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from limner.promptdb.errors import BadInput
from limner.promptdb.records import Prompt
from limner.promptdb.search import meaning, minilm
from limner.promptdb.search.meaning import MeaningIndex
from limner.promptdb.search.search import meaning as by_meaning
from limner.promptdb.store import PromptDB
from limner.promptdb.upkeep import dedupe


class Bags:
    """Stands for a model: the sum of a fixed random vector for every word. `asked`: texts embedded."""

    name, size = "bags", 64

    def __init__(self) -> None:
        self.asked = 0

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        self.asked += len(texts)
        rows = [sum(np.random.default_rng(zlib.crc32(word.encode())).normal(size=64) for word in text.split()) for text in texts]
        return np.stack([row / np.linalg.norm(row) for row in rows]).astype(np.float32)


@pytest.fixture
def db(tmp_path: Path):
    with PromptDB.open(tmp_path / "limner.db") as opened:
        opened.add_prompts(Prompt(f"w{number} w{number % 7} w{number % 11}") for number in range(300))
        yield opened


def test_the_nearest_are_those_that_comparing_everything_finds(db: PromptDB, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meaning, "SPAN", 64)
    monkeypatch.setattr(meaning, "CANDIDATES", 100)
    model = Bags()
    index = MeaningIndex(model, tmp_path / "vectors")
    assert index.take_up(db) == 300
    everything = model.embed([prompt.text for prompt in db.prompts()])
    cosines = everything @ model.embed(["w5 w6 w123"])[0]
    found = index.nearest(db, "w5 w6 w123", 5)
    assert [number - 1 for number, _ in found] == np.argsort(-cosines)[:5].tolist()
    assert [cosine for _, cosine in found] == pytest.approx(np.sort(cosines)[::-1][:5].tolist(), abs=2e-3)


def test_only_what_is_missing_is_embedded_in_the_next_process_too(db: PromptDB, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meaning, "SPAN", 64)
    MeaningIndex(Bags(), tmp_path / "vectors").take_up(db)
    db.add_prompts([Prompt("w900"), Prompt("w901")])
    model = Bags()
    index = MeaningIndex(model, tmp_path / "vectors")
    assert index.take_up(db) == model.asked == 2
    assert index.nearest(db, "w901", 1) == [(302, pytest.approx(1, abs=1e-3))]


def test_an_embedding_that_was_ended_goes_on_where_it_was(db: PromptDB, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meaning, "SPAN", 64)

    class Ended(Bags):
        def embed(self, texts: Sequence[str]) -> np.ndarray:
            if self.asked >= 128:
                raise KeyboardInterrupt
            return super().embed(texts)

    with pytest.raises(KeyboardInterrupt):
        MeaningIndex(Ended(), tmp_path / "vectors").take_up(db)
    assert MeaningIndex(Bags(), tmp_path / "vectors").take_up(db) == 300 - 128


def test_many_missing_prompts_are_not_embedded_by_a_search(db: PromptDB, tmp_path: Path) -> None:
    index = MeaningIndex(Bags(), tmp_path / "vectors")
    with pytest.raises(BadInput, match="300 prompts are not embedded yet; run `db embed`"):
        index.take_up(db, most=200)
    assert index.nearest(db, "w1", 5) == []


def test_vectors_of_numbers_that_were_given_again_are_not_used(db: PromptDB, tmp_path: Path) -> None:
    db.add_prompts([Prompt("last one"), Prompt("last one!")])
    index = MeaningIndex(Bags(), tmp_path / "vectors")
    index.take_up(db)
    dedupe(db)
    assert index.nearest(db, "last one", 1) == []
    assert index.take_up(db) == db.count_prompts()


def test_without_minilm_the_message_says_what_to_do(db: PromptDB, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "PACKAGE", "no_such_package")
    with pytest.raises(BadInput, match="extra `minilm`"):
        by_meaning(db, "a castle")


def test_other_weights_than_the_published_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"other")
    with pytest.raises(BadInput, match="not the published"):
        minilm.MiniLM(tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec(minilm.PACKAGE) is None, reason="the extra `minilm` is not installed")
def test_minilm_finds_by_meaning_what_no_word_shares(tmp_path: Path) -> None:
    with PromptDB.open(tmp_path / "limner.db") as db:
        db.add_prompts(map(Prompt, ["a feline asleep on a couch", "an automobile in the desert", "a medieval fortress", "a bowl of soup"]))
        assert by_meaning(db, "castle", 1)[0].prompt.text == "a medieval fortress"
        assert by_meaning(db, "kitten on the sofa", 1)[0].prompt.text == "a feline asleep on a couch"
        assert by_meaning(db, "car", 1)[0].prompt.text == "an automobile in the desert"
