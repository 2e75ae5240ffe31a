"""The `db` commands: parse, call commands/database.py, print. What is heavy is imported inside the command that needs it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from limner.graph.settings import Settings
from limner.serve.cli.options import STORED, Column, Json, takes_settings
from limner.serve.terminal.printing import console, print_json

PROBLEMS = 1  # exit code of `db check` where something is wrong
NAMED = 10  # malformed rows that a person is shown

app = typer.Typer(help="The prompt database.", rich_markup_mode=None)

Source = Annotated[str | None, typer.Option("--source", help="only prompts filed under this name")]


@app.command("import")
@takes_settings(*STORED)
def db_import(
    settings: Settings,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="parquet, JSON, CSV, text, infotext, styles; pictures, folders")],
    source: Annotated[str | None, typer.Option("--source", help="file the prompts under this name")] = None,
    column: Column = None,
    as_json: Json = False,
) -> None:
    """Add prompts from files, and from pictures that say how they were made; those already there are counted, malformed rows are named.
    Ended half-way, it goes on where it was."""
    from limner.serve.commands import database
    from limner.serve.terminal.watching import progress_bar

    with progress_bar() as tell:
        document = database.import_files(settings, files, source, tell, column)
    if as_json:
        return print_json(document)
    styles = f", {document['styles']} styles kept as instructions" if document["styles"] else ""
    pictures = f"{styles}, {document['pictures']} pictures" if document["pictures"] else styles
    resumed = f" (behind {document['resumed']} rows that were loaded before)" if document["resumed"] else ""
    counts = f"{document['added']} added{pictures}, {document['duplicates']} already there, {document['malformed_rows']} malformed"
    print(f"{document['read']} row{'' if document['read'] == 1 else 's'} read: {counts}{resumed}")
    if document["long"]:
        print(f"{document['long']} rows have prompts longer than a CLIP encoder reads", file=sys.stderr)
    for row in document["notes"]:
        print(f"{row['file']}: {row['note']}", file=sys.stderr)
    for row in document["malformed"][:NAMED]:
        place = f"{row['file']}, line {row['line']}" if row["line"] else row["file"]  # a picture has no lines
        print(f"{place}: {row['reason']}", file=sys.stderr)


@app.command("search")
@takes_settings(*STORED)
def db_search(
    settings: Settings,
    query: Annotated[str, typer.Argument(help="words, or a whole prompt")],
    limit: Annotated[int, typer.Option("--limit", min=1)] = 20,
    by: Annotated[str, typer.Option("--by", help="words, likeness, both, or meaning (an extra: see db embed)")] = "both",
    differing: Annotated[bool, typer.Option("--diverse", help="hits that are unlike each other")] = False,
    source: Source = None,
    min_score: Annotated[float | None, typer.Option("--min-score", help="mean gain in runs, in spreads, at least this")] = None,
    nsfw: Annotated[bool, typer.Option("--nsfw", help="show what is probably unsafe, too")] = False,
    min_words: Annotated[int | None, typer.Option("--min-words", min=0)] = None,
    max_words: Annotated[int | None, typer.Option("--max-words", min=0)] = None,
    contains: Annotated[list[str] | None, typer.Option("--contains", help="a phrase that must be there; repeatable")] = None,
    excludes: Annotated[list[str] | None, typer.Option("--excludes", help="a phrase that must not be there; repeatable")] = None,
    as_json: Json = False,
) -> None:
    """Find prompts, best first."""
    from limner.promptdb.search.filters import SAFE_BELOW, Filters
    from limner.serve.commands import database
    from limner.serve.terminal import printing

    safe = None if nsfw else SAFE_BELOW
    filters = Filters(source, min_score, safe, min_words, max_words, tuple(contains or ()), tuple(excludes or ()))
    rows = database.find(settings, query, limit, filters, by, differing)
    if as_json:
        return print_json(rows)
    printing.print_hits(rows, console())


@app.command("embed")
@takes_settings(*STORED)
def db_embed(settings: Settings, as_json: Json = False) -> None:
    """Prepare searching by meaning with MiniLM (extra `minilm`). Hours for a million prompts; ended, it goes on where it was."""
    from limner.serve.commands import database
    from limner.serve.terminal.watching import progress_bar

    with progress_bar() as tell:
        document = database.embed(settings, tell)
    if as_json:
        return print_json(document)
    print(f"{document['embedded']} embedded, {document['prompts']} prompts in all")


@app.command("modifiers")
@takes_settings(*STORED)
def db_modifiers(
    settings: Settings,
    subject: Annotated[str, typer.Argument(help="a thing or a modifier; none: the most frequent modifiers")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1)] = 20,
    kind: Annotated[str | None, typer.Option("--kind", help="style, lighting, quality, artist, medium, ...")] = None,
    as_json: Json = False,
) -> None:
    """What professionals add to a subject, and how many times as often as elsewhere (lift)."""
    from limner.serve.commands import database
    from limner.serve.terminal import printing

    rows = database.add_to(settings, subject, limit, kind)
    if as_json:
        return print_json(rows)
    printing.print_rows(rows, ("modifier", "kind", "count", "share", *(("lift",) if subject.strip() else ())), console())


@app.command("stats")
@takes_settings(*STORED)
def db_stats(settings: Settings, as_json: Json = False) -> None:
    """Count what the database holds."""
    from limner.serve.commands import database
    from limner.serve.terminal import printing

    document = database.count(settings)
    if as_json:
        return print_json(document)
    printing.print_tree(document, console())


@app.command("export")
@takes_settings(*STORED)
def db_export(
    settings: Settings,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="what to write: .jsonl, .csv or .parquet")],
    form: Annotated[str | None, typer.Option("--format", help="jsonl, csv or parquet; by default as FILE ends")] = None,
    source: Source = None,
    pictures: Annotated[bool, typer.Option("--pictures", help="a row for every picture instead of every prompt")] = False,
    as_json: Json = False,
) -> None:
    """Write the prompts to a file that `db import` reads back."""
    from limner.serve.commands import database
    from limner.serve.terminal.watching import progress_bar

    with progress_bar() as tell:
        document = database.export(settings, file, form, source, pictures, tell)
    if as_json:
        return print_json(document)
    print(f"{document['rows']} rows in {document['file']}")


@app.command("dedupe")
@takes_settings(*STORED)
def db_dedupe(
    settings: Settings,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only count them")] = False,
    as_json: Json = False,
) -> None:
    """Merge prompts that differ in marks alone into the first of them."""
    from limner.serve.commands import database
    from limner.serve.terminal.watching import progress_bar

    with progress_bar() as tell:
        document = database.dedupe(settings, dry_run, tell)
    if as_json:
        return print_json(document)
    print(f"{document['found']} superfluous, {document['merged']} merged, {document['prompts']} prompts now")


@app.command("vacuum")
@takes_settings(*STORED)
def db_vacuum(settings: Settings, as_json: Json = False) -> None:
    """Build the index of words anew and give unused space back."""
    from limner.serve.commands import database

    document = database.vacuum(settings)
    if as_json:
        return print_json(document)
    print(f"{document['before'] / 1e6:.1f} MB before, {document['after'] / 1e6:.1f} MB now")


@app.command("check")
@takes_settings(*STORED)
def db_check(settings: Settings, as_json: Json = False) -> None:
    """Look for damage and orphans; exit code 1 where there are any. Changes nothing."""
    from limner.serve.commands import database

    document = database.check(settings)
    if as_json:
        print_json(document)
    else:
        print("sound" if document["ok"] else f"{len(document['problems'])} problems")
        for problem in document["problems"]:
            print(f"{problem['count']} x {problem['what']}: {', '.join(problem['first'])}", file=sys.stderr)
    if not document["ok"]:
        raise typer.Exit(PROBLEMS)
