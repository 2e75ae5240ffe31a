"""Rows of JSON: the answers of Lexica's and civitai's APIs, DiffusionDB's parts, lists, and chats that language models are trained on.

Sources of the shapes: `https://lexica.art/api/v1/search` ({"images": [{id, prompt, ...}]}), civitai's `GET /api/v1/images` ({"items": [{id,
meta: {prompt, negativePrompt, seed, sampler, cfgScale, ...}}]}), DiffusionDB's `part-*.json` ({"<uuid>.png": {"p": ...}}), ShareGPT
({"conversations": [{from, value}]}) and OpenAI's chats ({"messages": [{role, content}]}).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from limner.promptdb.errors import BadInput
from limner.promptdb.files.columns import Row, chosen, parsed
from limner.promptdb.files.file_kinds import list_of
from limner.promptdb.files.text_lines import Malformed

MAX_DOCUMENT = 256 << 20  # bytes of a JSON document, which is read as a whole

_NSFW_LEVELS = {"none": 0.0, "soft": 0.25, "mature": 0.75, "x": 1.0}
"""civitai's words for how unsafe a picture is, as probabilities."""
_USERS, _ASSISTANTS = ("user", "human"), ("assistant", "gpt", "model", "chatgpt")


def read_document(file: BinaryIO, path: Path) -> Any:
    """Returns the JSON value of a stream of UTF-8. Raises BadInput where it is no JSON or larger than MAX_DOCUMENT."""
    content = file.read(MAX_DOCUMENT + 1)
    if len(content) > MAX_DOCUMENT:
        raise BadInput(f"{path} is a JSON document of more than {MAX_DOCUMENT >> 20} MB; save it as JSONL, one row a line")
    try:
        return json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not valid UTF-8 at byte {error.start + 1}; save it as UTF-8") from error
    except (ValueError, RecursionError) as error:
        said = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise BadInput(f"{path} is not valid JSON ({said}); fetch it again, or save it as JSONL") from error


def document_rows(file: BinaryIO, path: Path) -> Iterator[tuple[int, Any]]:
    """Yields the rows of a JSON document, numbered from 1. Raises BadInput where it holds no list of rows."""
    document = read_document(file, path)
    if isinstance(document, list):
        rows: Iterable[Any] = document
    elif not isinstance(document, Mapping):
        rows = ()
    elif (found := list_of(document)) is not None:
        rows = ({**row, "name": row.get("id")} if isinstance(row, Mapping) else row for row in found)
    elif document and all(isinstance(row, Mapping) for row in document.values()):
        rows = ({**row, "name": name} for name, row in document.items())
    else:
        rows = [document] if "text" in chosen(list(document)) or _reshaped(document) is not document else ()
    if rows == ():
        raise BadInput(f"{path} holds no list of prompts; give Lexica's, civitai's or DiffusionDB's JSON, a list, or JSONL")
    yield from enumerate(rows, start=1)


def json_line(text: str) -> Any:
    """Returns the JSON value of a line. Raises Malformed."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Malformed("not valid JSON") from error


def json_row(row: Any, column: str | None = None) -> Row:
    """Returns a JSON value in our columns: a text, an object with a column of prompts or a pair, a picture of civitai, or a chat.

    Raises Malformed where it is none of these.
    """
    if isinstance(row, str):
        row = {"text": row}
    if not isinstance(row, Mapping):
        raise Malformed("neither a JSON object nor a string")
    columns = chosen(list(row), column)
    if "text" not in columns:
        if column is not None:
            raise Malformed(f"no field {column!r}")
        row = _reshaped(row)
        columns = chosen(list(row))
    if "plain" in columns and not row[columns["plain"]]:  # an instruction without input
        columns = chosen([name for name in row if row[name]])
    return parsed(row, columns)


def _reshaped(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns a picture of civitai, or a chat, as an object with a column of prompts; anything else as it is."""
    if "meta" in row:
        return _civitai(row)
    turns = next((turns for name in ("messages", "conversations", "conversation") if isinstance(turns := row.get(name), list)), None)
    return row if turns is None else _chat(turns)


def _civitai(row: Mapping[str, Any]) -> Mapping[str, Any]:
    meta = row["meta"]
    if isinstance(meta, Mapping) and isinstance(meta.get("meta"), Mapping):  # newer answers nest it
        meta = meta["meta"]
    if not isinstance(meta, Mapping) or not meta.get("prompt"):
        raise Malformed("the picture's data (meta) names no prompt")
    unsafe = _NSFW_LEVELS.get(str(row.get("nsfwLevel")).lower(), row.get("nsfw"))
    own = {name: row.get(name) for name in ("width", "height", "username", "createdAt")}
    name = row.get("name") or row.get("id")
    return {**meta, **own, "nsfw": unsafe if isinstance(unsafe, bool | float | int) else None, "name": name, "model": meta.get("Model")}


def _chat(turns: list[Any]) -> Mapping[str, Any]:
    """The first words of the user as the subject of a pair, and the last answer of the assistant as its prompt."""
    said: dict[str, list[str]] = {"user": [], "assistant": []}
    for turn in turns:
        if not isinstance(turn, Mapping):
            raise Malformed("a message of the chat is no JSON object")
        who = str(turn.get("role", turn.get("from", ""))).lower()
        side = "user" if who in _USERS else "assistant" if who in _ASSISTANTS else None
        if side and (words := _words(turn.get("content", turn.get("value")))):
            said[side].append(words)
    if not said["user"] or not said["assistant"]:
        raise Malformed("the chat has no message of a user with an answer of an assistant")
    return {"input": said["user"][0], "output": said["assistant"][-1]}


def _words(content: Any) -> str:
    """The text of a message, which may consist of parts."""
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, Mapping)]
        return "\n".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""
