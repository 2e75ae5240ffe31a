"""The prompt database as documents: prompts imported, found, counted, exported, merged and checked. Draws nothing, needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast, get_args

from limner.graph.settings import Settings
from limner.promptdb import upkeep
from limner.promptdb.errors import BadInput
from limner.promptdb.files.export import FORMATS, Format, export_file, form_of
from limner.promptdb.files.ingest import LISTED, import_file, import_pictures
from limner.promptdb.files.read_generated import is_picture_file, pictures_in
from limner.promptdb.files.reading import nothing_read
from limner.promptdb.search.filters import Filters
from limner.promptdb.search.keyword import highlights
from limner.promptdb.search.merit import merits
from limner.promptdb.search.modifier_kinds import KINDS
from limner.promptdb.search.modifiers import additions, count_modifiers, frequent
from limner.promptdb.search.search import By, index_of, meaning_of, search
from limner.promptdb.seed import open_database
from limner.promptdb.store import PromptDB
from limner.serve.terminal.watching import Tell

Document = dict[str, Any]

DECIMALS = 4


def import_files(settings: Settings, files: Sequence[Path], source: str | None, tell: Tell, column: str | None = None) -> Document:
    """Adds the prompts of files, of pictures and of folders of pictures, and styles as instructions; a row or picture that cannot be used
    is counted and named.

    `read` rows are those added (prompts and styles), already there (`duplicates`) and refused (`malformed_rows`). Raises BadInput for a
    file that cannot be read and a folder without pictures, where what was added before stays, and where nothing at all can be used.
    """
    files = [path.expanduser() for path in files]
    absent = next((path for path in files if not path.exists()), None)
    if absent is not None:
        raise BadInput(f"there is no file {absent}")
    folders = {path: pictures_in(path) for path in files if path.is_dir()}
    names = ("read", "added", "duplicates", "styles", "pictures", "long", "malformed_rows", "resumed")
    document: Document = {**dict.fromkeys(names, 0), "malformed": [], "notes": []}
    empty: BadInput | None = None
    with open_database(settings.database) as db:
        for path in files:
            pictures = folders.get(path) or ([path] if is_picture_file(path) else [])
            if pictures:
                folder = path if path in folders else path.parent
                report = import_pictures(db, pictures, source or folder.resolve().name or "pictures", partial(tell, path.name or str(path)))
            else:
                report = import_file(db, path, source, partial(tell, path.name), column)
            for name in names:
                document[name] += getattr(report, name)
            room = LISTED - len(document["malformed"])
            document["malformed"] += [
                {"file": str(pictures[line - 1] if pictures else path), "line": 0 if pictures else line, "reason": reason}
                for line, reason in report.malformed[:room]
            ]
            document["notes"] += [{"file": str(path), "note": note} for note in report.notes]
            if report.read == report.malformed_rows and not report.resumed:
                empty = empty or nothing_read(path, report.malformed[0] if report.malformed else None, bool(pictures))
                document["notes"].append({"file": str(path), "note": "holds no prompts"})
        if empty and document["read"] == document["malformed_rows"] and not document["resumed"]:
            raise empty
        count_modifiers(db, partial(tell, "modifiers"))
        index_of(db).segments(db, partial(tell, "likeness"))
    return document


def find(settings: Settings, query: str, limit: int, filters: Filters, by: str, differing: bool) -> list[Document]:
    """Returns prompts, best first. Scores are comparable within one answer only. `highlights`: offsets of the query's words."""
    if by not in get_args(By):
        raise BadInput(f"--by knows {', '.join(get_args(By))}, not {by!r}")
    with open_database(settings.database) as db:
        return find_in(db, query, limit, filters, cast(By, by), differing)


def find_in(db: PromptDB, query: str, limit: int, filters: Filters, by: By, differing: bool) -> list[Document]:
    """Returns the same from a database that is open."""
    hits = search(db, query, limit, filters, by, differing)
    found = highlights(db, query, [hit.prompt.text for hit in hits])
    known = merits(db, [hit.prompt.id for hit in hits])
    return [
        {
            "id": hit.prompt.id,
            "text": hit.prompt.text,
            "subject": hit.prompt.subject,
            "negative": hit.prompt.negative,
            "source": hit.prompt.source,
            "nsfw": hit.prompt.nsfw,
            "score": round(hit.score, DECIMALS),
            "merit": round(known[hit.prompt.id][0], DECIMALS) if hit.prompt.id in known else None,
            "highlights": [list(span) for span in spans],
        }
        for hit, spans in zip(hits, found, strict=True)
    ]


def embed(settings: Settings, tell: Tell) -> Document:
    """Embeds the prompts that have no vector yet. Raises BadInput where MiniLM is not installed."""
    with open_database(settings.database) as db:
        embedded = meaning_of(db).take_up(db, partial(tell, "meaning"))
        return {"embedded": embedded, "prompts": db.count_prompts()}


def count(settings: Settings) -> Document:
    """Returns the rows of every table, the prompts by source, and the modifiers in most prompts."""
    with open_database(settings.database) as db:
        count_modifiers(db)
        sources = dict(db.query("SELECT source, count(*) FROM prompt GROUP BY source ORDER BY 2 DESC, 1"))
        common = {item.phrase: item.df for item in frequent(db, 10)}
        return {"database": str(db.path), **db.stats(), "sources": sources, "modifiers": common}


def add_to(settings: Settings, subject: str, limit: int, kind: str | None) -> list[Document]:
    """Returns what professionals add to a subject; without one, the modifiers in most prompts."""
    if kind is not None and kind not in KINDS:
        raise BadInput(f"--kind knows {', '.join(KINDS)}, not {kind!r}")
    with open_database(settings.database) as db:
        count_modifiers(db)
        if not subject.strip():
            total = max(1, db.count_prompts())
            common = frequent(db, limit, kind)
            return [{"modifier": m.phrase, "kind": m.kind, "count": m.df, "share": round(m.df / total, DECIMALS)} for m in common]
        found = additions(db, subject, limit, kind=kind)
    return [{"modifier": m.phrase, "kind": m.kind, "count": m.count, "share": m.share, "lift": m.lift} for m in found]


def export(settings: Settings, file: Path, form: str | None, source: str | None, pictures: bool, tell: Tell) -> Document:
    """Writes the prompts to a file; returns its path, its format and the number of rows.

    `form`: a format; None for that of the file's ending. Raises BadInput for an unknown format.
    """
    if form is not None and form not in FORMATS:
        raise BadInput(f"--format knows {', '.join(FORMATS)}, not {form!r}")
    chosen: Format = form or form_of(file)
    with open_database(settings.database) as db:
        rows = export_file(db, file.expanduser(), chosen, source, pictures, partial(tell, file.name))
    return {"file": str(file), "format": chosen, "rows": rows}


def dedupe(settings: Settings, dry_run: bool, tell: Tell) -> Document:
    """Merges prompts that differ in marks alone; with `dry_run`, only counts them."""
    with open_database(settings.database) as db:
        merged = len(upkeep.duplicates(db, partial(tell, "prompts"))) if dry_run else upkeep.dedupe(db, partial(tell, "prompts"))
        count_modifiers(db, partial(tell, "modifiers"))
        return {"merged": 0 if dry_run else merged, "found": merged, "prompts": db.count_prompts()}


def vacuum(settings: Settings) -> Document:
    """Builds the index of words anew and gives unused space back; returns the size in bytes before and after."""
    with _existing(settings) as db:
        before, after = upkeep.vacuum(db)
        return {"database": str(db.path), "before": before, "after": after}


def check(settings: Settings) -> Document:
    """Returns `ok`, and what is wrong where it is not."""
    with _existing(settings) as db:
        problems = upkeep.check(db)
        found = [{"what": problem.what, "count": problem.count, "first": list(problem.first)} for problem in problems]
        return {"database": str(db.path), "ok": not found, "problems": found}


def _existing(settings: Settings) -> PromptDB:
    if not settings.database.exists():
        raise BadInput(f"there is no database {settings.database}; name it with --db, or its folder with --out")
    return PromptDB.open(settings.database)
