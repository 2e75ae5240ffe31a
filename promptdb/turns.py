"""The turns of conversations: texts, pictures with their scores, costs, and the state of the conversation after each.

A turn continues an earlier one, usually the one before, after an undo one further back: a thread is a tree and nothing in it is lost.
Adding the same turn twice changes nothing, so a node that runs again after a kill does no harm.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from limner.promptdb.store import PromptDB


@dataclass(frozen=True, slots=True)
class TurnPicture:
    """A picture shown under `number`, from 1, with its scores by scorer name."""

    number: int
    drawing: str
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Turn:
    """One turn. `place`: its number in the thread, from 1. `parent`: the place that it continues, 0 for none. `said`, `reply`: what the
    person and the agent wrote. `actions`: how the person's words were understood. `cost`: what this turn spent. `document`: the state of
    the conversation afterwards, JSON-able. `made`: ISO 8601, UTC.
    """

    thread: str
    place: int
    parent: int
    said: str
    reply: str
    actions: Sequence[Mapping[str, Any]] = ()
    cost: Mapping[str, float] = field(default_factory=dict)
    document: Mapping[str, Any] = field(default_factory=dict)
    pictures: Sequence[TurnPicture] = ()
    made: str = ""


class Turns:
    """The turns of one thread."""

    def __init__(self, db: PromptDB, thread: str) -> None:
        self._db, self.thread = db, thread

    def add(self, turn: Turn) -> None:
        """Stores a turn, replacing one at the same place."""
        now = turn.made or datetime.now(UTC).isoformat(timespec="milliseconds")
        row = (turn.thread, turn.place, turn.parent, turn.said, turn.reply, *map(_text, (turn.actions, turn.cost, turn.document)), now)
        with self._db.transaction():
            self._db.write(
                "INSERT INTO turn (thread, place, parent, said, reply, actions, cost, document, made) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (thread, place) DO UPDATE SET parent = excluded.parent, said = excluded.said, reply = excluded.reply, "
                "actions = excluded.actions, cost = excluded.cost, document = excluded.document",
                [row],
            )
            self._db.write("DELETE FROM turn_picture WHERE thread = ? AND place = ?", [(turn.thread, turn.place)])
            self._db.write(
                "INSERT INTO turn_picture (thread, place, number, drawing, scores) VALUES (?, ?, ?, ?, ?)",
                [(turn.thread, turn.place, item.number, item.drawing, _text(item.scores)) for item in turn.pictures],
            )

    def get(self, place: int) -> Turn | None:
        """Returns the turn at `place`, or None."""
        found = self._turns("AND place = ?", [place])
        return found[0] if found else None

    def all(self) -> list[Turn]:
        """Returns all turns in order, undone ones included."""
        return self._turns("", [])

    def line(self, place: int) -> list[Turn]:
        """Returns the turns from the first to the one at `place`, without undone ones; empty where there is none."""
        turns, found = {turn.place: turn for turn in self.all()}, list[Turn]()
        while place in turns and len(found) < len(turns):
            found.append(turns[place])
            place = turns[place].parent
        return found[::-1]

    def last(self) -> int:
        """Returns the highest place; 0 in an empty thread."""
        return int(self._db.query("SELECT coalesce(max(place), 0) FROM turn WHERE thread = ?", [self.thread])[0][0])

    def _turns(self, where: str, parameters: list[Any]) -> list[Turn]:
        columns = "thread, place, parent, said, reply, actions, cost, document, made"
        rows = self._db.query(f"SELECT {columns} FROM turn WHERE thread = ? {where} ORDER BY place", [self.thread, *parameters])
        sql = f"SELECT place, number, drawing, scores FROM turn_picture WHERE thread = ? {where} ORDER BY place, number"
        pictures: dict[int, list[TurnPicture]] = {}
        for place, number, drawing, scores in self._db.query(sql, [self.thread, *parameters]):
            pictures.setdefault(place, []).append(TurnPicture(number, drawing, json.loads(scores)))
        return [
            Turn(thread, place, parent, said, reply, *_read(actions, cost, document), tuple(pictures.get(place, ())), made)
            for thread, place, parent, said, reply, actions, cost, document, made in rows
        ]


def threads(db: PromptDB, limit: int = 50) -> list[dict[str, Any]]:
    """Returns the conversations, the latest first: {thread, turns, said (the person's first text), started, last}."""
    rows = db.query(
        "SELECT t.thread, count(*), min(t.made), max(t.made), "
        "(SELECT f.said FROM turn f WHERE f.thread = t.thread ORDER BY f.place LIMIT 1) "
        "FROM turn t GROUP BY t.thread ORDER BY max(t.made) DESC, max(t.number) DESC LIMIT ?",
        [limit],
    )
    return [{"thread": thread, "turns": count, "said": said, "started": first, "last": last} for thread, count, first, last, said in rows]


def _text(value: Any) -> str:
    return json.dumps(list(value) if isinstance(value, list | tuple) else dict(value), ensure_ascii=False)


def _read(actions: str, cost: str, document: str) -> tuple[list[dict[str, Any]], dict[str, float], dict[str, Any]]:
    return json.loads(actions), json.loads(cost), json.loads(document)
