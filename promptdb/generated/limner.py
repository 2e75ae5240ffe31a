"""What Limner's own pictures say: the JSON of their text chunk `limner` (see promptdb/images.py)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from limner.promptdb.generated.record import Generated, pixels, real, text, whole

KEYWORD = "limner"


def read_limner(document: Mapping[str, Any]) -> Generated:
    """Returns the words and settings of a picture. Timing and weights of single words are named, not carried: the record has one text."""
    given = document.get("settings")
    settings: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    conditioning = document.get("conditioning")
    spans = isinstance(conditioning, Mapping) and (conditioning.get("spans") or conditioning.get("negative_spans"))
    return Generated(
        text(document.get("prompt")),
        text(document.get("negative")),
        whole(document.get("seed")),
        whole(settings.get("steps")),
        real(settings.get("guidance_scale")),
        text(settings.get("scheduler")),
        size=pixels(settings.get("width"), settings.get("height")),
        tool="limner",
        notes=("timing and weights of words",) if spans else (),
        labels=(f"weights {text(document.get('checkpoint'))[:12]}",),
    )
