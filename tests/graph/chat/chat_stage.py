"""A stage for conversations without weights or servers: a model that paints numbers, scorers that read them, the offline stand-in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from limner.agents.llm.offline import OfflineChat
from limner.graph.chat.context import ChatServices
from limner.graph.chat.threads import Chats
from limner.graph.context import Models
from limner.graph.models import Lease
from limner.graph.settings import Settings
from limner.promptdb.errors import BadInput
from limner.promptdb.records import Drawing
from tests.doubles import FakeImageModel, FakeScorer
from tests.graph.stage import likes


def services(
    folder: Path,
    value: Callable[[Drawing], float] | None = None,
    model: FakeImageModel | None = None,
    chat: Any = None,
    solvers: Mapping[str, Any] | None = None,
    **settings: Any,
) -> ChatServices:
    """The same folder again finds what earlier services left. Knows the checkpoints `fake` and `other`."""
    paint = model or FakeImageModel(value or likes("sharp"))

    def opener(chosen: Settings, lease: Lease) -> Models:
        if chosen.checkpoint not in ("fake", "other"):
            raise BadInput(f"there is no checkpoint {chosen.checkpoint!r}")
        scorers = [FakeScorer("liking"), FakeScorer("likeness"), FakeScorer("truth", held_out=True)]
        return Models(None, paint, tuple(scorers), paint.default_settings)  # type: ignore[arg-type]

    given = {"checkpoint": "fake", "budget": 200, "heldout_seeds": 4, **settings}
    return ChatServices(Settings(out=str(folder), **given), None, opener, chat or (lambda budget, db: OfflineChat()), solvers or {})


def talk(chats: Chats, thread: str, *said: str) -> list[dict[str, Any]]:
    """Say those things one after the other; what the thread waits for after each."""
    return [list(chats.send(thread, text))[-1]["payload"] for text in said]
