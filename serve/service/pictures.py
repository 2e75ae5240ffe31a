"""Stored pictures and prompts as a page shows them: a picture beside the plain one, pictures of prompts, a DF-Prompt over the denoising.

Only reads; draws nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from limner.graph.chat.topic import asked_for, reading_of
from limner.promptdb.errors import BadInput
from limner.promptdb.records import Conditioning
from limner.promptdb.store import PromptDB
from limner.serve.commands.generate import Manner, asked
from limner.serve.reports import page
from limner.serve.reports.timeline import WIDTH, timeline
from limner.tools.prompt_language.assemble import LocatedError
from limner.tools.prompt_language.carry import carried
from limner.tools.prompt_language.write import write_text


def drawn_for(db: PromptDB, run: str, limit: int = 24) -> list[tuple[str, str]]:
    """Returns (hash, prompt) of pictures that a run tried, the newest prompts first, at most `limit`."""
    rows = db.query(
        "SELECT d.image, t.text FROM candidate c JOIN conditioning t ON t.id = c.conditioning JOIN drawing d ON d.conditioning = t.id "
        "WHERE c.run = ? AND d.image IS NOT NULL ORDER BY c.number DESC LIMIT ?",
        [run, limit],
    )
    return [(image, prompt) for image, prompt in rows]


def beside_plain(db: PromptDB, payload: Mapping[str, Any], number: int) -> tuple[str, str] | None:
    """Returns two hashes: the picture of the person's words alone on the seed of the shown picture `number`, and that picture.

    None where the former was not drawn. Raises BadInput where no picture has that number.
    """
    row = next((row for row in payload["images"] if row["number"] == number), None)
    if row is None:
        raise BadInput(f"there is no picture {number}")
    drawing = db.stored_drawings([row["drawing"]])[row["drawing"]].drawing
    topic: Any = payload
    plain = replace(drawing, conditioning=carried(reading_of(topic).conditioning, Conditioning(asked_for(topic))))
    found = db.stored_drawings([plain.id]).get(plain.id)
    return (found.image, row["image"]) if found is not None and found.image else None


def pictures_of(db: PromptDB, hits: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Returns a picture (hash) by prompt id, for each prompt that was drawn unchanged."""
    prompts = {Conditioning(hit["text"], hit["negative"]).id: hit["id"] for hit in hits}
    sql = "SELECT conditioning, image FROM drawing WHERE image IS NOT NULL AND conditioning IN"
    return {prompts[conditioning]: image for conditioning, image in db.query_for(sql, prompts)}


def over_time(text: str, negative: str, lenient: bool) -> dict[str, Any]:
    """Returns {plain, rows, ...}: a DF-Prompt as bars. `plain`: its words without triples, as a prompt.

    Raises BadInput, with the place where brackets begin no triple.
    """
    conditioning = asked([text], negative, Manner(lenient), "df")[0].conditioning
    plain = {"prompt": write_text(conditioning.text, ()), "rows": [], "width": WIDTH, "unit": conditioning.range_unit}
    return {**(timeline(conditioning) or plain), "plain": plain["prompt"]}


def over_time_view(text: str, negative: str, lenient: bool) -> str:
    """Returns the same as escaped HTML; where the prompt cannot be read, what is wrong, with a caret under the place."""
    view: dict[str, Any] = {"timeline": None, "error": "", "shown": ""}
    try:
        view["timeline"] = over_time(text, negative, lenient)
    except BadInput as error:
        located = error if isinstance(error, LocatedError) else error.__cause__
        reason = f"character {located.at + 1}: {located.problem.reason}" if isinstance(located, LocatedError) else str(error)
        view |= {"error": reason, "shown": located.shown if isinstance(located, LocatedError) else ""}
    return page.render("editor.html", view)
