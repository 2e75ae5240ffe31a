"""PromptDB: stores prompts, drawings, scores, candidates, votes and answers, each found by its content.

Adding the same thing twice changes nothing. Knows how records become rows and back; knows nothing of drawing, scoring or image files
(images.py stores those, under the hashes stored here).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from limner.promptdb.connection import Connection
from limner.promptdb.errors import BadInput
from limner.promptdb.library import BATCH, PromptLibrary
from limner.promptdb.records import (
    Candidate,
    Conditioning,
    Drawing,
    SamplerSettings,
    Score,
    Vote,
    canonical_text,
    text_id,
)
from limner.promptdb.schema import SCHEMA_VERSION, TABLES

__all__ = ["BATCH", "PromptDB", "StoredDrawing"]


@dataclass(frozen=True, slots=True)
class StoredDrawing:
    """A drawing that was made. `image`: its hash in the ImageStore, None where the model drew NaN. `bucket`: the padded batch size."""

    drawing: Drawing
    image: str | None
    bucket: int
    device: str


class PromptDB(PromptLibrary):
    """The database. Use it as a context manager, or close it. Any thread may use it, and any number of processes the same file."""

    @classmethod
    def open(cls, path: Path | str, *, busy_seconds: float = 30.0) -> PromptDB:
        """Opens or makes the database at `path` (`:memory:` for one that is gone on close).

        Raises BadInput where the file belongs to another program, is newer than this version, cannot be written, or stays locked for
        `busy_seconds`.
        """
        return cls(Connection(path, busy_seconds))

    def __enter__(self) -> PromptDB:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self._db.close()

    def stats(self) -> dict[str, int]:
        """Returns the rows of every table, `bytes` (size of the database) and `schema` (its version)."""
        counts = {table: self._count(table) for table in TABLES}
        ((pages,),), ((page_size,),) = self._db.rows("PRAGMA page_count"), self._db.rows("PRAGMA page_size")
        return {**counts, "bytes": pages * page_size, "schema": SCHEMA_VERSION}

    def register_text(self, text: str) -> str:
        """Stores a reference text, apart from the prompts that are searched; returns its id."""
        id = text_id(text)
        self._db.write("INSERT OR IGNORE INTO reference (id, text) VALUES (?, ?)", [(id, canonical_text(text))])
        return id

    def text(self, id: str) -> str | None:
        """Returns the text of a reference or prompt id; None where it is unknown."""
        rows = self._db.rows("SELECT text FROM reference WHERE id = ? UNION ALL SELECT text FROM prompt WHERE id = ?", [id, id])
        return rows[0][0] if rows else None

    def imported(self, file: str) -> str | None:
        """Returns what was noted of a shipped file or folder when it was imported last; None where it never was."""
        rows = self._db.rows("SELECT digest FROM import WHERE file = ?", [file])
        return rows[0][0] if rows else None

    def note_import(self, file: str, digest: str) -> None:
        """Stores what identifies the content of a shipped file or folder that was imported."""
        self._db.write("INSERT OR REPLACE INTO import (file, digest) VALUES (?, ?)", [(file, digest)])

    def add_drawing(self, drawing: Drawing, image: str | None, bucket: int, device: str) -> None:
        """Stores a drawing with its image's hash (None: it was dropped). Of two processes that made the same drawing, the first one's is
        stored.
        """
        with self.transaction():
            self._add_conditioning(drawing.conditioning)
            self._add_image(image, drawing)
            settings = json.dumps(drawing.settings.to_json())
            self._db.write(
                "INSERT OR IGNORE INTO drawing (id, conditioning, seed, settings, checkpoint, image, bucket, device) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [(drawing.id, drawing.conditioning.id, drawing.seed, settings, drawing.checkpoint, image, bucket, device)],
            )

    def replace_image(self, drawing: Drawing, image: str | None, bucket: int, device: str) -> None:
        """Replaces the image of a drawing whose file was lost. Its scores are removed unless the pixels are the same."""
        with self.transaction():
            self.add_drawing(drawing, image, bucket, device)
            self._add_image(image, drawing)
            self._db.write(
                "DELETE FROM score WHERE drawing = ? AND EXISTS (SELECT 1 FROM drawing WHERE id = ? AND image IS NOT ?)",
                [(drawing.id, drawing.id, image)],
            )
            self._db.write("UPDATE drawing SET image = ?, bucket = ?, device = ? WHERE id = ?", [(image, bucket, device, drawing.id)])

    def stored_drawing(self, drawing_id: str) -> StoredDrawing | None:
        """Returns the drawing of that id; None where it was not made."""
        return self.stored_drawings([drawing_id]).get(drawing_id)

    def stored_drawings(self, ids: Iterable[str]) -> dict[str, StoredDrawing]:
        """Returns those of `ids` that were made, by id."""
        rows = self._db.rows_for(f"SELECT d.id, d.image, d.bucket, d.device, {_DRAWING} FROM {_DRAWINGS} WHERE d.id IN", ids)
        return {id: StoredDrawing(_drawing(*columns), image, bucket, device) for id, image, bucket, device, *columns in rows}

    def add_scores(self, scores: Iterable[Score]) -> None:
        """Stores scores. Raises ValueError for a value that is not finite; none of them is stored then."""
        rows = [(score.drawing, score.reference, score.scorer, score.version, float(score.value)) for score in scores]
        for drawing, _, scorer, _, value in rows:
            if not math.isfinite(value):
                raise ValueError(f"scorer {scorer!r} gave {value} for drawing {drawing}; a score must be finite")
        self._db.write("INSERT OR IGNORE INTO score (drawing, reference, scorer, version, value) VALUES (?, ?, ?, ?, ?)", rows)

    def scores(self, drawing_ids: Iterable[str], reference: str, scorer: str, version: str) -> dict[str, float]:
        """Returns the values by drawing id, for those of the drawings that were scored."""
        sql = "SELECT drawing, value FROM score WHERE reference = ? AND scorer = ? AND version = ? AND drawing IN"
        return dict(self._db.rows_for(sql, drawing_ids, [reference, scorer, version]))

    def scores_of(self, drawing_id: str) -> list[Score]:
        """Returns all scores of a drawing, ordered by reference, scorer and version."""
        sql = "SELECT drawing, reference, scorer, version, value FROM score WHERE drawing = ? ORDER BY reference, scorer, version"
        return [Score(*row) for row in self._db.rows(sql, [drawing_id])]

    def best(
        self, reference: str, scorer: str, version: str, limit: int = 10, *, higher_is_better: bool = True
    ) -> list[tuple[Drawing, float]]:
        """Returns the best drawings for a reference with their scores, best first; scores are compared to 1e-4, ties ordered by id."""
        rows = self._db.rows(
            f"SELECT s.value, {_DRAWING} FROM {_DRAWINGS} JOIN score s ON s.drawing = d.id "
            "WHERE s.reference = ? AND s.scorer = ? AND s.version = ? "
            f"ORDER BY round(s.value, 4) {'DESC' if higher_is_better else 'ASC'}, d.id LIMIT ?",
            [reference, scorer, version, limit],
        )
        return [(_drawing(*columns), value) for value, *columns in rows]

    def add_candidate(self, candidate: Candidate) -> None:
        """Stores a candidate. A conditioning that is proposed twice in a run keeps its first origin and parent."""
        with self.transaction():
            self._add_conditioning(candidate.conditioning)
            self._db.write(
                "INSERT OR IGNORE INTO candidate (run, conditioning, origin, parent, note) VALUES (?, ?, ?, ?, ?)",
                [(candidate.run, candidate.conditioning.id, candidate.origin, candidate.parent, candidate.note)],
            )

    def candidates(self, run: str) -> list[Candidate]:
        """Returns the candidates of a run in the order in which they were proposed."""
        return [_candidate(*row) for row in self._db.rows(f"SELECT {_CANDIDATE} WHERE c.run = ? ORDER BY c.number", [run])]

    def lineage(self, run: str, conditioning_id: str) -> list[Candidate]:
        """Returns the candidates from the first ancestor down to the one asked for; empty where the run has no such candidate."""
        path: list[Candidate] = []
        seen: set[str] = set()
        ancestor: str | None = conditioning_id
        while ancestor is not None and ancestor not in seen:
            seen.add(ancestor)
            rows = self._db.rows(f"SELECT {_CANDIDATE} WHERE c.run = ? AND c.conditioning = ?", [run, ancestor])
            if not rows:
                break
            path.append(_candidate(*rows[0]))
            ancestor = path[-1].parent
        return path[::-1]

    def add_vote(self, vote: Vote) -> None:
        """Stores a vote, in place of the same voter's earlier vote on the pair. Raises BadInput where the winner is neither of the two."""
        if vote.winner not in (vote.left, vote.right, None):
            raise BadInput(f"a vote's winner must be one of its two drawings, or none for a tie, not {vote.winner!r}")
        self._db.write(
            "INSERT INTO vote (reference, left_drawing, right_drawing, winner, voter) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (reference, left_drawing, right_drawing, voter) DO UPDATE SET winner = excluded.winner",
            [(vote.reference, vote.left, vote.right, vote.winner, vote.voter)],
        )

    def votes(self, reference: str | None = None) -> list[Vote]:
        """Returns the votes in the order in which they were given. `reference`: only those for this reference text's id; None for all."""
        where, parameters = ("", []) if reference is None else ("WHERE reference = ?", [reference])
        sql = f"SELECT reference, left_drawing, right_drawing, winner, voter FROM vote {where} ORDER BY number"
        return [Vote(*row) for row in self._db.rows(sql, parameters)]

    def stored_answer(self, key: str) -> str | None:
        """Returns a chat model's stored answer; None where there is none. `key`: hash of everything that the answer depends on."""
        rows = self._db.rows("SELECT answer FROM answer WHERE key = ?", [key])
        return rows[0][0] if rows else None

    def add_answer(self, key: str, model: str, answer_json: str) -> None:
        """Stores a chat model's answer, unless one is stored under `key` already."""
        self._db.write("INSERT OR IGNORE INTO answer (key, model, answer) VALUES (?, ?, ?)", [(key, model, answer_json)])

    def add_conditionings(self, conditionings: Iterable[Conditioning]) -> None:
        """Stores conditionings, so that they can be read by id."""
        for conditioning in conditionings:
            self._add_conditioning(conditioning)

    def _add_conditioning(self, conditioning: Conditioning) -> None:
        row = (conditioning.id, conditioning.text, conditioning.negative, json.dumps(conditioning.to_json()))
        self._db.write("INSERT OR IGNORE INTO conditioning (id, text, negative, document) VALUES (?, ?, ?, ?)", [row])

    def _add_image(self, image: str | None, drawing: Drawing) -> None:
        if image is not None:
            row = (image, drawing.settings.width, drawing.settings.height)
            self._db.write("INSERT OR IGNORE INTO image (id, width, height) VALUES (?, ?, ?)", [row])


_DRAWING = "k.document, d.seed, d.settings, d.checkpoint"
_DRAWINGS = "drawing d JOIN conditioning k ON k.id = d.conditioning"
_CANDIDATE = "c.run, k.document, c.origin, c.parent, c.note FROM candidate c JOIN conditioning k ON k.id = c.conditioning"


def _drawing(conditioning: str, seed: int, settings: str, checkpoint: str) -> Drawing:
    return Drawing(Conditioning.from_json(json.loads(conditioning)), seed, SamplerSettings(**json.loads(settings)), checkpoint)


def _candidate(run: str, conditioning: str, origin: str, parent: str | None, note: str) -> Candidate:
    return Candidate(run, Conditioning.from_json(json.loads(conditioning)), origin, parent, note)
