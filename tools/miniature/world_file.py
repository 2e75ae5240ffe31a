"""The world's words as `world.json`, which the judge and the command line read: they know nothing of this package."""

from __future__ import annotations

import json
from pathlib import Path

from tools.miniature import captions
from tools.miniature import vocabulary as words

FILLERS = ("a", "an", "the", "of", "and", "with", "is", "there", "in", "on", "at", "to", *filter(None, dict.fromkeys(captions.POSES)))


def write_world(path: Path, nouns: int) -> None:
    """Surface form -> name, by kind, for the first `nouns` nouns."""
    kept = words.NOUNS[:nouns]
    forms = {noun.name: noun.name for noun in kept} | {form: noun.name for noun in kept for form in noun.rare}
    backgrounds = {phrase: name for name in words.BACKGROUNDS for phrase in (*words.BACKGROUNDS[name], *words.BACKGROUND_KEYWORDS[name])}
    document = {
        "nouns": forms,
        "colours": {name: name for name in words.COLOURS},
        "relations": {phrase: name for name, phrases in words.RELATIONS.items() for phrase in phrases},
        "backgrounds": dict(sorted(backgrounds.items(), key=lambda item: list(words.BACKGROUNDS).index(item[1]))),
        "styles": {phrase: name for name, phrases in words.STYLES.items() for phrase in phrases},
        "modifiers": {
            **{phrase: name for name, phrases in words.MODIFIERS.items() for phrase in phrases},
            **{phrase: "placebo" for phrase in words.PLACEBO},
            **{word: size for size, forms in words.SIZE_WORDS.items() for word in forms},
        },
        "fillers": list(dict.fromkeys(FILLERS)),
        "defects": list(words.DEFECTS),
    }
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
