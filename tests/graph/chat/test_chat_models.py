"""Checkpoints of conversations: leased while something is drawn, so that several turns at once take turns, and none waits for itself."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from limner.graph import models
from limner.graph.chat.context import ChatServices
from limner.graph.chat.threads import Chats
from limner.graph.context import Models
from limner.graph.models import Lease, ModelPool
from limner.graph.settings import Settings
from limner.promptdb.errors import BadInput
from tests.doubles import FakeImageModel, FakeScorer
from tests.graph.chat.chat_stage import services, talk


class Drawing:
    """An opener whose checkpoints come from the lease. `most`: pictures that were being drawn at one time. `seen`: what was loaded then."""

    def __init__(self, pool: ModelPool) -> None:
        self.pool, self.most, self._now = pool, 0, 0
        self.seen: list[list[tuple[str, bool]]] = []
        self.models = {name: FakeImageModel(fingerprint=name, on_bucket=self._draw) for name in ("fake", "other")}

    def _draw(self, batch: list[Any]) -> None:
        self._now += 1
        self.most = max(self.most, self._now)
        self.seen.append([(row.checkpoint, row.leased) for row in self.pool.loaded()])
        time.sleep(0.01)
        self._now -= 1

    def __call__(self, settings: Settings, lease: Lease) -> Models:
        model = self.models.get(settings.checkpoint)
        if model is None:
            raise BadInput(f"there is no checkpoint {settings.checkpoint!r}")
        lease.checkpoint(settings.checkpoint, None, None)
        return Models(None, model, (FakeScorer("liking"),), model.default_settings)  # type: ignore[arg-type]


@pytest.fixture
def drawing(monkeypatch: pytest.MonkeyPatch) -> Drawing:
    monkeypatch.setattr(models, "open_checkpoint", lambda name, device, dtype: SimpleNamespace(name=name, device_name="cpu"))
    return Drawing(ModelPool())


def chats_of(folder: Path, drawing: Drawing) -> Chats:
    plain = services(folder)
    return Chats(ChatServices(plain.settings, drawing.pool, drawing, plain.open_chat, plain.solvers))


def test_a_conversation_goes_to_another_checkpoint_and_back_in_a_pool_of_one(tmp_path: Path, drawing: Drawing) -> None:
    chats = chats_of(tmp_path, drawing)
    thread = chats.start()
    talk(chats, thread, "a red car")
    assert list(chats.send(thread, action={"kind": "checkpoint", "text": "other"}))[-1]["payload"]["checkpoint"] == "other"
    assert list(chats.send(thread, action={"kind": "checkpoint", "text": "fake"}))[-1]["payload"]["checkpoint"] == "fake"
    assert {row for rows in drawing.seen for row in rows} == {("fake", True), ("other", True)}
    assert [(row.checkpoint, row.leased) for row in drawing.pool.loaded()] == [("fake", False)]
    assert chats.services.checkpoints == ["fake", "other"]


def test_what_draws_nothing_opens_nothing(tmp_path: Path, drawing: Drawing) -> None:
    chats = chats_of(tmp_path, drawing)
    thread = chats.start()
    replies = talk(chats, thread, "status", "find prompts about cars", "help", "pin red")
    assert drawing.pool.loaded() == [] and "Pictures: 0 of" in replies[0]["reply"]


def test_turns_at_the_same_time_draw_one_after_the_other(tmp_path: Path, drawing: Drawing) -> None:
    chats = chats_of(tmp_path, drawing)
    threads = [chats.start() for _ in range(3)]
    replies: dict[str, Any] = {}

    def converse(thread: str, checkpoint: str) -> None:
        list(chats.send(thread, action={"kind": "checkpoint", "text": checkpoint}))
        replies[thread] = talk(chats, thread, f"a red car {thread}", "compare", "left", "accept 1")[-1]

    working = [threading.Thread(target=converse, args=pair) for pair in zip(threads, ("fake", "other", "fake"), strict=True)]
    for item in working:
        item.start()
    for item in working:
        item.join(60)
    assert not any(item.is_alive() for item in working) and drawing.most == 1
    assert all(len(rows) == 1 and rows[0][1] for rows in drawing.seen)
    assert all(replies[thread]["accepted"] for thread in threads)
