"""Styles of a checkpoint: fine-tunes that its card lists, each a LoRA with words that wake it. `--checkpoint miniature:neon`.

A card may hold

    "styles": {"neon": {"lora": "styles/neon", "triggers": ["cyberglow"], "prompts": "styles/neon/prompts.jsonl", "split": "source"}}

and such a style opens as a checkpoint of its own: the base's weights with the LoRA added, and a card that says which style it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from promptdb.errors import BadInput
from tools.diffusion.card import Card

MARK = ":"


def split_style(name: str) -> tuple[str, str]:
    """What stands before and after the last colon: a checkpoint and its style, ("miniature", "neon"). A folder that is called so, and a
    drive's letter, are no style."""
    base, mark, style = name.rpartition(MARK)
    if not mark or not style or Path(name).expanduser().exists() or "/" in style or "\\" in style:
        return name, ""
    return base, style


def styles_of(card: Card) -> dict[str, Mapping[str, Any]]:
    """The styles that a card lists, empty where it lists none. Raises BadInput for a list that is none."""
    listed = card.document.get("styles", {})
    if not isinstance(listed, dict) or not all(isinstance(entry, dict) and isinstance(entry.get("lora"), str) for entry in listed.values()):
        raise BadInput(f"{card.folder}: card.json must list its styles as objects that name a LoRA")
    return dict(listed)


def style_card(card: Card, style: str, checkpoint: str) -> tuple[Card, Path]:
    """The card of a style, whose document says under `style` what the base's lists of it (and its name), and the folder of its LoRA.
    Raises BadInput for a style that is not there."""
    listed = styles_of(card)
    if style not in listed:
        there = f"there are {', '.join(listed)}" if listed else "it has none"
        raise BadInput(f"{checkpoint} has no style {style!r}; {there}")
    entry = listed[style]
    return replace(card, document={**card.document, "style": {"name": style, **entry}}), card.path(entry["lora"])
