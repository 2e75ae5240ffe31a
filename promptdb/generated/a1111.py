r"""Infotext of A1111, Forge and their relatives: the prompt, `Negative prompt:`, and one line of `Key: value` pairs.

    a red car <lora:shiny:0.8>
    Negative prompt: blurry
    Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 42, Size: 512x768, ADetailer prompt: "calm, \"still\"", Version: v1.10.1

Values with commas, colons or line ends are JSON strings; some extensions write JSON values as they are.
Source: stable-diffusion-webui, modules/infotext_utils.py and modules/processing.py (create_infotext).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from limner.promptdb.errors import BadInput
from limner.promptdb.generated.record import LONGEST_PROMPT, Generated, Lora, note, pixels, real, whole

LONGEST_LINE = 1 << 18
"""Characters of the line of settings."""

LONGEST_INFOTEXT = 2 * LONGEST_PROMPT + LONGEST_LINE

LABELS = ("version", "app", "user", "created date", "token merging ratio hr hash")
"""Keys, in lower case, whose values change no picture; so does every key that ends in `hash` or `hashes`."""

_CARRIED = ("steps", "sampler", "schedule type", "cfg scale", "seed", "size", "model")
_JSON_VALUES = 64  # values that are tried as JSON in one line
_SETTINGS = re.compile(r"(?m)(?:^|(?<=[\s,]))Steps: ?\d{1,7}(?:, ?[A-Za-z][^:,\n\"]{0,79}:|[ \t]*$)")
_NEGATIVE = re.compile(r"(?m)^[ \t]*Negative prompt:")
_NEGATIVE_INLINE = re.compile(r"\sNegative prompt:")
_KEY = re.compile(r"\s*([^\s:,\"][^:,\"]{0,79}):\s*")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_SIZE = re.compile(r"\s*(\d{1,6})\s*[x×]\s*(\d{1,6})\s*")
_NETWORK = re.compile(r"<(lora|lyco|hypernet):([^<>:]+)((?::[^<>:]*)*)>", re.IGNORECASE)
_EMBEDDED = re.compile(r"\\(.)")
_JSON = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class Infotext:
    """The three parts of an infotext. `settings`: (key, value) in the order written."""

    prompt: str
    negative: str
    settings: tuple[tuple[str, str], ...]


def is_infotext(text: str) -> bool:
    """Whether a text holds a line of settings that begins with `Steps:`, and says something of the sampler, the seed or the size."""
    return _settings_at(text.replace("\r\n", "\n")) is not None


def holds_infotext(text: str) -> bool:
    """Whether some line of a text is the line of settings of an infotext."""
    return any(is_infotext(line) for line in text.split("\n") if line.lstrip().startswith("Steps:"))


def _settings_at(text: str) -> re.Match[str] | None:
    """Returns where the settings begin: at the last `Steps:` that begins a line, else at the last one within a line."""
    inline = None
    line = None
    for match in _SETTINGS.finditer(text):
        begins = match.start() == 0 or text[match.start() - 1] == "\n"
        line, inline = (match, inline) if begins else (line, match)
    found = line or inline
    if found is None:
        return None
    keys = {key.lower() for key, _ in _pairs(_line_at(text, found.start()))}
    return found if keys & {"sampler", "seed", "cfg scale", "size"} else None


def _line_at(text: str, start: int) -> str:
    return text[start:].partition("\n")[0][:LONGEST_LINE]


def divide(text: str) -> Infotext:
    """Returns the parts of an infotext. Where the line of settings is missing, all of it is prompt and negative prompt.

    Lines behind the settings, as some extensions write them, are settings too. Raises BadInput for a line of settings that is too long.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    found = _settings_at(text)
    settings: list[tuple[str, str]] = []
    if found is not None:
        rest = text[found.start() :]
        if len(rest) > LONGEST_LINE:
            raise BadInput(f"the settings of the infotext have {len(rest)} characters; at most {LONGEST_LINE} are read")
        for number, line in enumerate(rest.split("\n")):
            settings += _pairs(line) if number == 0 or _KEY.match(line) else []
        text = text[: found.start()]
    border = _NEGATIVE.search(text) or (_NEGATIVE_INLINE.search(text) if found is not None else None)
    if border is None:
        return Infotext(text.strip(), "", tuple(settings))
    return Infotext(text[: border.start()].strip(), text[border.end() :].strip(), tuple(settings))


def _pairs(line: str) -> list[tuple[str, str]]:
    """Returns the pairs of a line. What stands between two commas and has no key belongs to the value before it."""
    found: list[tuple[str, str]] = []
    place, tries = 0, 0
    while place < len(line):
        key = _KEY.match(line, place)
        if key is None:
            end = line.find(",", place)
            end = len(line) if end < 0 else end
            if found and line[place:end].strip():
                found[-1] = (found[-1][0], f"{found[-1][1]},{line[place:end].rstrip()}")
            place = end + 1
            continue
        start = key.end()
        value, end = "", start
        if line.startswith('"', start) and (quoted := _QUOTED.match(line, start)):
            value, end = _unquoted(quoted[0]), quoted.end()
        elif line.startswith(("[", "{"), start) and tries < _JSON_VALUES:
            tries += 1
            end = _json_end(line, start)
            value = line[start:end]
        border = line.find(",", end)
        border = len(line) if border < 0 else border
        found.append((key[1].strip(), (value + line[end:border]).strip()))
        place = border + 1
    return found


def _unquoted(quoted: str) -> str:
    try:
        return str(json.loads(quoted, strict=False))
    except ValueError:
        return _EMBEDDED.sub(r"\1", quoted[1:-1])


def _json_end(line: str, start: int) -> int:
    try:
        return _JSON.raw_decode(line, start)[1]
    except (ValueError, RecursionError):
        return start


def read_infotext(text: str) -> Generated:
    """Returns what an infotext says. Tags that load networks stay in the prompt and are listed beside it.

    Raises BadInput where it is too long.
    """
    if len(text) > LONGEST_INFOTEXT:
        raise BadInput(f"the infotext has {len(text)} characters; at most {LONGEST_INFOTEXT} are read")
    parts = divide(text)
    settings = {key.lower(): value for key, value in reversed(parts.settings)}
    size = _SIZE.fullmatch(settings.get("size", ""))
    others = [(key, value) for key, value in parts.settings if key.lower() not in _CARRIED]
    return Generated(
        parts.prompt,
        parts.negative,
        whole(settings.get("seed")),
        whole(settings.get("steps")),
        real(settings.get("cfg scale")),
        settings.get("sampler", ""),
        settings.get("schedule type", ""),
        pixels(size[1], size[2]) if size else None,
        settings.get("model", ""),
        tuple(networks(parts.prompt)),
        _tool(settings),
        "a1111",
        tuple(note(key, value) for key, value in others if not _is_label(key)),
        tuple(note(key, value) for key, value in others if _is_label(key)),
    )


def networks(prompt: str) -> Iterator[Lora]:
    """Yields the networks that tags such as `<lora:name:0.8>` load, in their order; the strength is that of the UNet."""
    for match in _NETWORK.finditer(prompt):
        arguments = [item.strip() for item in match[3].split(":")[1:]]
        named = dict(item.split("=", 1) for item in arguments if "=" in item)
        plain = [item for item in arguments if "=" not in item]
        weight = real(named.get("unet", plain[1] if len(plain) > 1 else plain[0] if plain else named.get("te", "1")))
        yield Lora(match[2].strip(), 1.0 if weight is None else weight)


def _is_label(key: str) -> bool:
    lower = key.lower()
    return lower in LABELS or lower.endswith(("hash", "hashes"))


def _tool(settings: dict[str, str]) -> str:
    version = settings.get("version", "").lower()
    if re.match(r"f\d", version) or "forge" in version or version == "neo":
        return "forge"
    known = next((name for name in ("fooocus", "comfyui", "limner") if version.startswith(name)), "")
    return known or ("sdnext" if settings.get("app", "").lower().startswith("sd.next") else "a1111")


def blocks(lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Yields the infotexts of a file that holds several, one behind another: (number of the first line, text).

    `lines`: numbered, blank ones among them. An infotext ends with its line of settings. What follows the last one is yielded too, for the
    caller to judge. One that is too long is cut there.
    """
    first, held, size = 0, list[str](), 0
    for number, line in lines:
        if not held and not line.strip():
            continue
        first = first if held else number
        if size <= LONGEST_INFOTEXT:  # the text that is kept is longer than what is read, so that the reader refuses it
            held.append(line.rstrip("\r\n"))
        size += len(line)
        if line.lstrip().startswith("Steps:") and is_infotext(line.strip()):
            yield first, "\n".join(held)
            held, size = [], 0
    if held:
        yield first, "\n".join(held)
