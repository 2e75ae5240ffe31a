"""Prompts as people write them: our own samples of three manners, and whatever real ones lie beside the checkout."""

from __future__ import annotations

from pathlib import Path

OWN = Path(__file__).parent / "data"
REAL = Path(__file__).parents[2] / "shared" / "data"

CAPTIONS = OWN / "captions.txt"
"""What is to be seen, in a sentence, as COCO's captions are."""
SHORT = OWN / "short_prompts.txt"
"""A few words, with the odd bracket, emoji and alphabet, as DiffusionDB's users type them."""
PROFESSIONAL = OWN / "professional_prompts.txt"
"""Long lists of modifiers with weights and punctuation of several dialects, as on Lexica."""

SAMPLES = (CAPTIONS, SHORT, PROFESSIONAL, *sorted(REAL.glob("*_prompts.txt")))
"""Files of one prompt a line: the three above, which every test can rely on, and real ones where there are any."""


def prompts(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines()


def bracketed(file: Path) -> list[str]:
    return [line for line in prompts(file) if "[" in line or "]" in line]
