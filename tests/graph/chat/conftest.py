"""Every conversation of these tests has its events checked."""

from __future__ import annotations

import pytest

from limner.graph.chat.threads import Chats
from tests.checked_events import checked


@pytest.fixture(autouse=True)
def events_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Chats, "send", checked(Chats.send))
    monkeypatch.setattr(Chats, "resume", checked(Chats.resume))
