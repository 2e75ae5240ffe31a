"""Canonical texts and ids of many prompts at once, equal to what records.py gives for each alone.

Nearly all prompts are plain ASCII with single blanks; those go through arrow's loops, the others one by one.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from promptdb.records import ID_LENGTH, canonical_text, text_id

if TYPE_CHECKING:
    import pyarrow as pa

_ODD = r'[\x00-\x1f"\\\x7f]|  |^ | $'  # what canonical_text, the joining of blanks or JSON's escapes would change


def canonical(texts: pa.Array) -> tuple[list[str], list[str]]:
    """(canonical texts, ids) of an array of strings without nulls."""
    import pyarrow.compute as pc

    canonical = texts.to_pylist()
    plain = pc.and_not(pc.string_is_ascii(texts), pc.match_substring_regex(texts, _ODD))
    lower = pc.utf8_lower(texts).cast("binary").to_pylist()
    ids = [hashlib.sha256(b'["text","' + text + b'"]').hexdigest()[:ID_LENGTH] for text in lower]
    for place in pc.indices_nonzero(pc.invert(plain)).to_pylist():
        canonical[place] = canonical_text(canonical[place])
        ids[place] = text_id(canonical[place])
    return canonical, ids
