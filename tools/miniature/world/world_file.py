"""Writes the world's words as `world.json`, which the judge and the command line read instead of importing this package."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from limner.tools.miniature.world import captions
from limner.tools.miniature.world import vocabulary as words
from limner.tools.miniature.world.nouns import OWN_COLOURS, groups, plural

FILLERS = ("a", "an", "the", "of", "and", "with", "is", "there", "in", "on", "at", "to", *filter(None, dict.fromkeys(captions.POSES)))


def world_document(nouns: int) -> dict[str, Any]:
    """Returns the content of world.json for the first `nouns` nouns.

    Most entries map surface forms to names, by kind. `groups`: {group: words that contrast with each other}; `own_colours`: the natural
    colours of things; `opposites`: pairs of words; `looks`: styles that only a style checkpoint draws, whose forms are its trigger words.
    """
    kept = words.NOUNS[:nouns]
    forms = {noun.name: noun.name for noun in kept} | {form: noun.name for noun in kept for form in noun.rare}
    forms |= {several: name for form, name in tuple(forms.items()) if (several := plural(form)) not in (form, f"{form}s", f"{form}es")}
    backgrounds = {phrase: name for name in words.BACKGROUNDS for phrase in (*words.BACKGROUNDS[name], *words.BACKGROUND_KEYWORDS[name])}
    styles = {phrase: name for name, phrases in words.STYLES.items() for phrase in phrases}
    return {
        "world": words.WORLD,
        "nouns": forms,
        "rare": {form: noun.name for noun in kept for form in noun.rare},
        "colours": {name: name for name in words.COLOURS},
        "own_colours": {noun.name: OWN_COLOURS[noun.name] for noun in kept if noun.name in OWN_COLOURS},
        "counts": {phrase: str(count) for count, phrases in words.COUNT_WORDS.items() for phrase in phrases},
        "relations": {phrase: name for name, phrases in words.RELATIONS.items() for phrase in phrases},
        "backgrounds": dict(sorted(backgrounds.items(), key=lambda item: list(words.BACKGROUNDS).index(item[1]))),
        "styles": styles | {trigger: name for name, triggers in words.TRIGGERS.items() for trigger in triggers},
        "looks": list(words.LOOKS),
        "modifiers": {
            **{phrase: name for name, phrases in words.MODIFIERS.items() for phrase in phrases},
            **{phrase: "placebo" for phrase in words.PLACEBO},
            **{word: size for size, forms in words.SIZE_WORDS.items() for word in forms},
        },
        "groups": {**groups(kept), **_word_groups()},
        "opposites": [list(pair) for pair in words.OPPOSITES],
        "fillers": list(dict.fromkeys(FILLERS)),
        "defects": list(words.DEFECTS),
    }


def write_world(path: Path, nouns: int) -> None:
    """Writes `world_document(nouns)` to `path` as JSON."""
    path.write_text(json.dumps(world_document(nouns), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _word_groups() -> dict[str, tuple[str, ...]]:
    """Returns the groups of words that are not things. Weathers and lightings are named by their first phrase."""

    def first(names: Iterable[str], phrases: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
        return tuple(phrases[name][0] for name in names)

    return {
        "colours": tuple(words.COLOURS),
        "places": first(words.BACKGROUNDS, words.BACKGROUND_KEYWORDS),
        "styles": first(words.STYLES, words.STYLES),
        "lighting": first(words.LIGHTINGS, words.MODIFIERS),
        "weather": first(words.WEATHERS, words.MODIFIERS),
        "sizes": words.SIZES,
    }
