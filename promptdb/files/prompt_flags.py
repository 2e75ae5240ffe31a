"""Flags in a line of text: those of A1111's script "prompts from file or textbox", and Midjourney's parameters behind a prompt.

Sources: `scripts/prompts_from_file.py` of stable-diffusion-webui (--prompt, --negative_prompt, --seed, ...; words after --prompt belong to
it up to the next flag) and Midjourney's parameter list (docs.midjourney.com). `--no X` is a negative prompt. What a picture of another
program was made with and has no meaning here (`--ar 16:9`) is returned by name. Names in neither list are words.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field

from limner.promptdb.files.text_lines import Malformed

_SCRIPT = (
    "sd_model", "outpath_samples", "outpath_grids", "prompt_for_display", "styles", "subseed_strength", "subseed", "seed_resize_from_h",
    "seed_resize_from_w", "sampler_index", "batch_size", "n_iter",
)  # fmt: skip
_SWITCHES_OF_SCRIPT = ("restore_faces", "tiling", "do_not_save_samples", "do_not_save_grid")
_VALUES = (
    "ar", "aspect", "c", "chaos", "cw", "end", "exp", "iw", "motion", "niji", "ow", "q", "quality", "r", "repeat", "s", "stylize",
    "sameseed", "stop", "style", "sv", "sw", "v", "version", "w", "weird", "bs",
)  # fmt: skip
_LISTS = ("cref", "oref", "p", "personalize", "profile", "sref")
_SWITCHES = (
    "beta", "creative", "draft", "fast", "hd", "loop", "public", "raw", "relax", "stealth", "test", "testp", "tile", "turbo", "upbeta",
    "uplight", "video",
)  # fmt: skip
_SETTINGS = {
    "seed": "seed", "steps": "steps", "cfg_scale": "cfg", "sampler_name": "sampler", "width": "width", "height": "height",
}  # fmt: skip
_TEXTS = ("prompt", "negative_prompt", "no")

_WORDS_TAKEN = {
    **dict.fromkeys((*_SWITCHES, *_SWITCHES_OF_SCRIPT), 0),
    **dict.fromkeys((*_VALUES, *_SCRIPT, *_SETTINGS), 1),
    **dict.fromkeys((*_LISTS, *_TEXTS), 1000),
}
"""How many words behind a flag belong to it."""

_IMAGINE = re.compile(r"\s*/imagine\s+(?:prompt\s*:?\s*)?", re.IGNORECASE)
_NAMES = "|".join(sorted(_WORDS_TAKEN, key=len, reverse=True))
_FLAG = re.compile(rf"(?<!\S)(?:--|[—–](?=\w\w))({_NAMES})(?!\S)", re.IGNORECASE)
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_WORD = re.compile(r'\s*("(?:[^"\\]|\\.)*"|\S+)')


@dataclass(frozen=True, slots=True)
class Flagged:
    """A line of text without its flags.

    `settings`: seed, steps, cfg, sampler, width, height, as written. `left_out`: the other flags, with their values.
    """

    text: str
    negative: str = ""
    settings: dict[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


def may_have_flags(line: str) -> bool:
    """Returns whether `read_flags` could change the line; false for nearly every line, at the cost of a search."""
    return "--" in line or "—" in line or "–" in line or ("/" in line and "/imagine" in line.lower())


def read_flags(line: str) -> Flagged:
    """Returns the prompt of a line and what its flags say. Raises Malformed where the quotes of a flag do not close, or no prompt is left.

    Flags whose name is unknown, and dashes inside a sentence, stay part of the text.
    """
    imagine = _IMAGINE.match(line)
    line = line[imagine.end() :] if imagine else line
    quoted = [word.span() for word in _QUOTED.finditer(line)] if line.lstrip().startswith("--") else []
    flags = [flag for flag in _FLAG.finditer(line) if not any(start < flag.start() < end for start, end in quoted)]
    if not flags:
        return Flagged(line.strip())
    texts = {"prompt": [line[: flags[0].start()]], "no": list[str]()}
    settings: dict[str, str] = {}
    left_out = []
    for flag, following in zip(flags, [*flags[1:], None], strict=True):
        name = flag[1].lower()
        value, rest = _taken(line[flag.end() : following.start() if following else len(line)], _WORDS_TAKEN[name])
        texts["prompt"].append(rest)
        if name in _SETTINGS:
            settings[_SETTINGS[name]] = value
        elif name in _TEXTS:
            texts["prompt" if name == "prompt" else "no"].append(value)
        else:
            left_out.append(f"--{name} {value}".strip())
    prompt = " ".join(part.strip() for part in texts["prompt"] if part.strip())
    if not prompt:
        raise Malformed("there are flags and no prompt")
    return Flagged(prompt, ", ".join(part.strip(" ,") for part in texts["no"] if part.strip(" ,")), settings, tuple(left_out))


def flags_in(text: str) -> list[tuple[int, int]]:
    """Returns the places of the flags of known names in a text, each with the words that belong to it: start and end in characters."""
    flags = list(_FLAG.finditer(text)) if may_have_flags(text) else []
    found = []
    for flag, following in zip(flags, [*flags[1:], None], strict=True) if flags else ():
        end = following.start() if following else len(text)
        at = flag.end()
        for _ in range(_WORDS_TAKEN[flag[1].lower()]):
            word = _WORD.match(text, at, end)
            if word is None:
                break
            at = word.end()
        found.append((flag.start(), at))
    return found


def _taken(text: str, count: int) -> tuple[str, str]:
    """Returns the first words of a text, without their quotes, and the rest."""
    at = 0
    for _ in range(count):
        word = _WORD.match(text, at)
        if word is None:
            break
        at = word.end()
    words, rest = text[:at].strip(), text[at:]
    if not words.startswith('"'):
        return words, rest
    try:
        return " ".join(shlex.split(words)), rest
    except ValueError as error:
        raise Malformed("the quotes of a flag do not close") from error
