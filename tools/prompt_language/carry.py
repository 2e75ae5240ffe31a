"""Carries what a person typed beside words, weights and chunk borders among them, to another wording of the prompt.

Places are found by aligning the words of both texts. Nothing is carried to words that are no longer there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

from limner.promptdb.records import Conditioning, EffectSpan
from limner.tools.prompt_language.opaque import OpaquePart, Placed

if TYPE_CHECKING:
    from limner.tools.prompt_language.reader import Reading

_WORD = re.compile(r"\w+")

After = Callable[[int, bool], int]
"""Where an offset of one text lies in another; the flag says whether it belongs to the word before it instead of the one after it."""


def carried(typed: Conditioning, candidate: Conditioning) -> Conditioning:
    """Returns `candidate` with the weights, times, chunk borders and negative prompt that were typed, where its words still have them.

    An effect that the candidate brings itself stays. The typed negative prompt stands before the candidate's.
    """
    if typed == Conditioning(typed.text):
        return candidate
    where = aligned(typed.text, candidate.text)
    negative, moved = _negative(typed, candidate)
    own = [replace(span, start=span.start + moved, end=span.end + moved) for span in candidate.negative_spans]
    weighted = any(span.weight != 1 for span in (*typed.spans, *typed.negative_spans))
    return replace(
        candidate,
        negative=negative,
        spans=_with_typed(typed.text, typed.spans, candidate.text, candidate.spans),
        negative_spans=_with_typed(typed.negative, typed.negative_spans, negative, own),
        breaks=candidate.breaks or tuple(where(place, False) for place in typed.breaks),
        negative_breaks=typed.negative_breaks if negative.startswith(typed.negative) else (),
        weight_mode=typed.weight_mode if weighted else candidate.weight_mode,
        chunking=typed.chunking,
    )


def _negative(typed: Conditioning, candidate: Conditioning) -> tuple[str, int]:
    """Returns the negative prompt of both, and by how much the candidate's own has moved."""
    if not typed.negative or _stands_in(typed.negative, candidate.negative):
        return candidate.negative, 0
    if not candidate.negative:
        return typed.negative, 0
    return f"{typed.negative}, {candidate.negative}", len(typed.negative) + 2


def _with_typed(
    typed: str, typed_spans: Sequence[EffectSpan], text: str, own: Sequence[EffectSpan]
) -> tuple[EffectSpan, ...]:
    """Returns the text's own spans, and each typed one at the words that it was typed for, where they are free."""
    spans = list(own)
    for span in typed_spans:
        for match in _places(typed[span.start : span.end], text):
            if all(match.end() <= other.start or other.end <= match.start() for other in spans):
                spans.append(replace(span, start=match.start(), end=match.end()))
                break
    return tuple(sorted(spans, key=lambda span: span.start))


def _stands_in(words: str, text: str) -> bool:
    return next(_places(words, text), None) is not None


def _places(words: str, text: str) -> Iterator[re.Match[str]]:
    """Yields where the words stand in a text as whole words, in any case."""
    return re.finditer(rf"(?<!\w){re.escape(words)}(?!\w)", text, re.IGNORECASE)


def avoiding(conditioning: Conditioning, words: Sequence[str]) -> Conditioning:
    """Returns the conditioning with the words at the end of its negative prompt, without those that it holds already."""
    negative = conditioning.negative
    for each in dict.fromkeys(words):
        if not _stands_in(each, negative):
            negative = f"{negative.rstrip(', ')}, {each}" if negative.strip(" ,") else each
    return conditioning if negative == conditioning.negative else replace(conditioning, negative=negative)


def aligned(before: str, after: str) -> After:
    """Returns a function that finds an offset of `before` in `after`; offsets at an end stay at that end."""
    if before == after:
        return lambda place, of_last_word: place
    old, new = list(_WORD.finditer(before)), list(_WORD.finditer(after))
    matcher = SequenceMatcher(None, [word[0].casefold() for word in old], [word[0].casefold() for word in new], autojunk=False)
    pairs = {block.a + step: block.b + step for block in matcher.get_matching_blocks() for step in range(block.size)}

    def place_in(place: int, of_last_word: bool) -> int:
        earlier = [number for number, word in enumerate(old) if word.end() <= place]
        if len(earlier) == len(old):
            return len(after)
        if not earlier:
            return 0
        last = next((pairs[number] for number in reversed(earlier) if number in pairs), None)
        following = next((pairs[number] for number in range(len(earlier), len(old)) if number in pairs), None)
        if of_last_word or following is None:
            return 0 if last is None else new[last].end()
        return new[following].start()

    return place_in


def carried_parts(parts: Placed, typed: str, text: str) -> list[tuple[int, OpaquePart]]:
    """Returns the opaque parts of the text `typed` at their places in `text`. `text`: another wording."""
    where = aligned(typed, text)
    found = list[tuple[int, OpaquePart]]()
    for place, part in parts:
        divides = part.kind in ("break", "and")
        at = where(place, part.text[:1] in (",", " ", "\n") and not divides)
        part = _apart(text, at, part) if part.kind != "network" else part
        if found and found[-1][0] == at and not (found[-1][1].text[-1].isspace() or part.text[0] in " ,\n"):
            part = replace(part, text=f" {part.text}")
        found.append((at, part))
    return found


def _apart(text: str, place: int, part: OpaquePart) -> OpaquePart:
    """Returns a part with a blank on either side where a word would touch it."""
    before = " " if place and text[place - 1].isalnum() and part.text[0] not in " ,\n" else ""
    after = " " if text[place : place + 1].isalnum() and not part.text[-1].isspace() else ""
    return replace(part, text=f"{before}{part.text}{after}")


def parts_for(reading: Reading, conditioning: Conditioning) -> tuple[list[tuple[int, OpaquePart]], list[tuple[int, OpaquePart]]]:
    """Returns the opaque parts of a reading at their places in another Conditioning's prompt and negative prompt."""
    first = carried_parts(reading.opaque, reading.conditioning.text, conditioning.text)
    return first, carried_parts(reading.negative_opaque, reading.conditioning.negative, conditioning.negative)
