"""Prints the result of a command: one JSON document on stdout, or lines and tables for a person. Starts nothing."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console


WHOLE = ("run", "command", "status", "path")
"""Columns that people copy and type again, so that no line break may fall into them."""

BAR_CELLS = 20


def print_refined(document: Mapping[str, Any], console: Console | None = None, attack: bool = False) -> None:
    """Prints the document of `refine`, or of `attack`."""
    console = console or Console(highlight=False)
    result = document["result"]
    _print_verdict(document, console)
    if document["improved"]:
        console.print("This means the same, and is drawn worse:" if attack else "Use this prompt:")
        _print_prompt(result, console, "bold")
        _print_forms(result, console)
    else:
        console.print("No prompt was found that leads it astray." if attack else "Your prompt stays as it is.")
        if tried := document.get("best_tried"):
            console.print("The best that was tried:")
            _print_prompt(tried, console)
    console.print()
    console.print(_scores(document["scores"], "seeds"))
    print_notes(document.get("notes", []), console)
    _print_cost(document, console)


def print_notes(notes: Sequence[str], console: Console) -> None:
    """Prints what to know of how a prompt was read, one line each."""
    for note in notes:
        console.print(Text.assemble(("note: ", "yellow"), plain(note)), soft_wrap=True)


def _print_forms(prompt: Mapping[str, Any], console: Console) -> None:
    """When the words act, and the prompt as A1111 takes it; a graph of ComfyUI's is long, so it is said where to get it."""
    for line in prompt.get("acts", []):
        console.print(plain(f"  {line}"), style="dim", soft_wrap=True)
    forms = prompt.get("other_forms", {})
    if "a1111" in forms:
        console.print(plain(f"  in A1111: {forms['a1111']['prompt']}"), soft_wrap=True)
    if "comfyui" in forms:
        console.print("  in ComfyUI: limner runs export RUN --to comfyui", style="dim", soft_wrap=True)


def print_optimized(document: Mapping[str, Any], console: Console | None = None) -> None:
    """Prints the document of `optimize`: the learned instruction, and its gains on held-out prompts."""
    console = console or Console(highlight=False)
    instruction = document["instruction"]
    _print_verdict(document, console)
    if document["improved"]:
        console.print("This instruction does better than the initial one:")
        console.print(plain(f"  {instruction['best']}"), style="bold")
    else:
        console.print("The initial instruction stays. The best of the search was:")
        console.print(plain(f"  {instruction['best']}"))
    titles = {
        "heldout": "learned against plain",
        "heldout_initial": "learned against initial",
        "heldout_suffix": "learned against fixed suffix",
    }
    for name, title in titles.items():
        if document[name]:
            console.print()
            console.print(f"{title}, on held-out prompts", style="bold")
            console.print(_scores(document[name], "prompts"))
    for warning in document["warnings"]:
        console.print(Text.assemble(("note: ", "yellow"), plain(warning)), soft_wrap=True)
    _print_cost(document, console)


def _print_verdict(document: Mapping[str, Any], console: Console) -> None:
    """The first line: what may be claimed."""
    from limner.graph.verdict import verdict_in

    console.print(plain(verdict_in(document)["words"]), style=f"bold {'green' if document['improved'] else 'yellow'}", soft_wrap=True)


def _print_prompt(prompt: Mapping[str, Any], console: Console, style: str = "") -> None:
    typed = prompt.get("typed") or {"prompt": prompt["df_prompt"] or prompt["text"], "negative": prompt["negative"]}
    console.print(plain(f"  {typed['prompt']}"), style=style, soft_wrap=True)
    if typed["negative"]:
        console.print(plain(f"  negative: {typed['negative']}"), soft_wrap=True)


def _scores(scores: Mapping[str, Mapping[str, Any]], unit: str) -> Table:
    table = Table("scorer", "before", "after", "difference", "95 % interval", unit, box=None, pad_edge=False, header_style="dim")
    for name, row in scores.items():
        interval = "" if row["ci95"] is None else f"{row['ci95'][0]:+.4g} to {row['ci95'][1]:+.4g}"
        numbers = ["" if row[key] is None else f"{row[key]:.4g}" for key in ("before", "after")]
        change = "cannot judge" if row["delta"] is None else f"{row['delta']:+.4g}"
        table.add_row(plain(name), *numbers, change, interval, str(row["n"]))
    return table


def _print_cost(document: Mapping[str, Any], console: Console) -> None:
    used = document["used"]
    console.print()
    cost = f"{used['images']} pictures drawn, {used['llm_calls']} chat calls, {used['seconds']:.1f} s"
    console.print(plain(f"{cost}, chat model {chat_name(document['chat_model'])}"), soft_wrap=True)
    console.print(plain(f"report: {document['report']}"), soft_wrap=True)


def print_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], console: Console | None = None) -> None:
    """Prints a table of those columns."""
    console = console or Console(highlight=False)
    heads = [Column(name, no_wrap=name in WHOLE, overflow="fold") for name in columns]
    table = Table(*heads, box=None, pad_edge=False, header_style="dim")
    for row in rows:
        table.add_row(*(plain(_cell(row.get(column))) for column in columns))
    console.print(table)


def print_schedule(rows: Sequence[Mapping[str, Any]], console: Console | None = None) -> None:
    """Prints each prompt's words as bars over the model calls, with their weight; words of the negative prompt are marked "not"."""
    console = console or Console(highlight=False)
    for row in rows:
        calls = row["calls"]
        console.print(plain(row["prompt"]), style="bold", soft_wrap=True)
        table = Table("", Column("words", overflow="fold"), "weight", f"of {calls} calls", "", box=None, pad_edge=False, header_style="dim")
        for words in row["words"]:
            start, stop = words["start"], words["stop"]
            when = "never" if start == stop else f"{start} to {stop - 1}"
            bar = "".join("█" if start <= place * calls / BAR_CELLS < stop else "·" for place in range(BAR_CELLS))
            table.add_row("not" if words["negative"] else "", plain(words["words"]), f"{words['weight']:g}", when, bar)
        console.print(table)


def print_hits(rows: Sequence[Mapping[str, Any]], console: Console | None = None) -> None:
    """Prints a table of the prompts that were found, the words of the query in bold."""
    console = console or Console(highlight=False)
    table = Table("score", "source", Column("prompt", overflow="fold"), box=None, pad_edge=False, header_style="dim")
    for row in rows:
        text = plain(row["text"])
        for start, end in row["highlights"]:
            text.stylize("bold", start, end)
        table.add_row(_cell(row["score"]), plain(row["source"]), text)
    console.print(table)


def print_tree(document: Mapping[str, Any], console: Console | None = None, depth: int = 0) -> None:
    """Prints names and values, nested ones indented, for documents of no fixed shape."""
    console = console or Console(highlight=False)
    pad = "  " * depth
    for name, value in document.items():
        rows = list(value.items()) if isinstance(value, Mapping) else list(enumerate(value)) if isinstance(value, list) else []
        if rows and not all(isinstance(item, int | float) for _, item in rows):
            console.print(plain(f"{pad}{name}"), style="bold" if depth == 0 else "")
            print_tree({str(key): item for key, item in rows}, console, depth + 1)
        else:
            console.print(plain(f"{pad}{name}: {_cell(value) or '-'}"), soft_wrap=True)


def chat_name(name: str) -> str:
    """Returns the chat model's name for a person."""
    return "offline (a stand-in by rules, no language model)" if name == "offline" else name


def plain(text: str) -> Text:
    """Returns the text as it is: no markup is read from it, and no control character reaches the terminal."""
    return Text("".join(char if char == "\n" or unicodedata.category(char)[0] != "C" else "\N{REPLACEMENT CHARACTER}" for char in text))


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return " to ".join(_cell(item) for item in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def print_json(document: Any) -> None:
    """Prints the document of --json on the real stdout; the rest of the process prints to stderr meanwhile."""
    print(json.dumps(document, ensure_ascii=False, indent=2), file=sys.__stdout__)


def console() -> Console:
    """Returns a console on stdout that does not colour numbers and paths."""
    from rich.console import Console

    return Console(highlight=False)
