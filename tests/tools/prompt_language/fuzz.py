"""The readers fuzzed for as long as asked: no crash, no character lost or doubled, what is written is read back.

    python -m tests.tools.prompt_language.fuzz [--seconds 300] [--seed 0]

Prompts are put together from what readers trip over and from what people write, then cut, doubled and swapped at random places. Prints
one JSON line; on a failure the prompt that did it and exit code 1.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import time
import traceback
import unicodedata
from collections.abc import Sequence
from fractions import Fraction

from limner.promptdb.errors import BadInput
from limner.promptdb.records import Conditioning, canonical_text
from limner.tools.prompt_language.assemble import LocatedError
from limner.tools.prompt_language.convert import convert
from limner.tools.prompt_language.dialects import DIALECTS
from limner.tools.prompt_language.document import from_document, to_document
from limner.tools.prompt_language.parse import parse, read
from limner.tools.prompt_language.schedule import elapsed_by_step, segments
from limner.tools.prompt_language.write import write, write_negative
from tests.prompt_samples import SAMPLES, prompts
from tests.tools.prompt_language.prompts import LETTERS

PIECES = (
    "[a:0-1:1]", "[ b :0.5-1:2]", "[\u0301c:0-.5:1]", "[d", ":0-1:1]", "[", "]", ":", "\\", "\\[", "0.5", "-", "->", "→", "e", "\u0301",
    "[cat:dog:0.5]", "[x::5]", "(y:1.3)", "((z))", "[u|v]", "AND", "BREAK", "<lora:q:1>", "(w)1.2", "v++", "nan", "inf", "1/3", "0-0.5",
    "\u202e", "\x00", "\ud7ff", "🙂", "가", "각", "\r\n", "\u00a0", "[detailed:0.85-1:1]", " ", "１",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.tools.prompt_language.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    rng, written = random.Random(options.seed), [prompt for file in SAMPLES for prompt in prompts(file)]
    end, count, read_strictly = time.monotonic() + options.seconds, 0, 0
    while time.monotonic() < end:
        source = _prompt(rng, written)
        try:
            read_strictly += check(source, rng)
        except Exception:
            traceback.print_exc()
            print(json.dumps({"failed": source, "count": count}))
            return 1
        count += 1
    print(json.dumps({"prompts": count, "read_strictly": read_strictly, "seconds": options.seconds, "seed": options.seed, "failed": None}))
    return 0


def check(source: str, rng: random.Random) -> bool:
    """Raises AssertionError, or whatever a reader raised that it must not. Whether the prompt can be read strictly."""
    strict = None
    try:
        strict = parse(source)
    except LocatedError as error:
        assert 0 <= error.at <= len(canonical_text(source)) and "\n" not in str(error)
    found = parse(source, lenient=True)
    for parsed in (found, strict) if strict else (found,):
        ends = [0, *(piece.end for piece in parsed.pieces)]
        assert [piece.start for piece in parsed.pieces] == ends[:-1] and ends[-1] == len(parsed.source) == len(canonical_text(source))
    expected = ""
    for piece in found.pieces:
        written = found.source[piece.start : piece.end]
        expected += written if piece.span is None else re.sub(r":[^:]*:[^:]*\]\Z", "", written[1:])
    assert "".join(piece.text for piece in found.pieces).replace("\\", "") == expected.replace("\\", "")
    conditioning = read(source, source[: rng.randrange(len(source) + 1)], lenient=True)
    assert read(write(conditioning), write_negative(conditioning)) == conditioning
    assert from_document(json.loads(json.dumps(to_document(conditioning)))) == conditioning
    steps = rng.choice((1, 7, 10, 50))
    runs = segments(conditioning.text, conditioning.spans, elapsed_by_step(steps))
    assert [run.start for run in runs] == [0, *(run.stop for run in runs[:-1])] and runs[-1].stop == steps
    _convert(source, rng)
    _round_trip(conditioning, steps)
    return strict is not None


def _convert(source: str, rng: random.Random) -> None:
    """Anything else than a refusal in one line, or an answer, is a crash."""
    origin, target = rng.choice((*DIALECTS, None)), rng.choice(DIALECTS)
    try:
        convert(source, target, origin, rng.choice((None, 10)), lenient=origin == "df" and rng.random() < 0.5)
    except BadInput as error:
        assert "\n" not in str(error)


def _round_trip(conditioning: Conditioning, steps: int) -> None:
    """DF to A1111 in whole steps and back: the same words at the same steps."""
    try:
        there = convert(write(conditioning), "a1111", "df", steps)
    except BadInput:
        return
    if there.fidelity != "exact":
        return
    places = elapsed_by_step(steps)
    before = [_words(there.conditioning, step, places) for step in range(steps)]
    if not there.written.output:
        assert not any(before), before
        return
    back = convert(str(there.written.output), "df", "a1111", steps).conditioning
    after = [_words(back, step, places) for step in range(steps)]
    assert before == after, (before, after)


def _words(conditioning: Conditioning, step: int, places: Sequence[Fraction]) -> str:
    [run] = [run for run in segments(conditioning.text, conditioning.spans, places) if run.start <= step < run.stop]
    # CLIP's tokenizers know no case (BREAK is written break) and compose what they read: marks that meet where a word is away have no order
    return unicodedata.normalize("NFC", " ".join(run.text.lower().split()))


def _prompt(rng: random.Random, written: Sequence[str]) -> str:
    parts = []
    for _ in range(rng.randrange(1, 9)):
        kind = rng.random()
        if kind < 0.5:
            parts.append(rng.choice(PIECES))
        elif kind < 0.8:
            parts.append("".join(rng.choice(LETTERS) for _ in range(rng.randrange(6))))
        else:
            parts.append(rng.choice(written)[: rng.randrange(1, 60)])
    text = "".join(parts)
    for _ in range(rng.randrange(3)):
        at, to = sorted((rng.randrange(len(text) + 1), rng.randrange(len(text) + 1)))
        text = rng.choice((text[:at] + text[to:], text[:to] + text[at:to] + text[to:], text[:at] + text[at:to][::-1] + text[to:]))
    return text


if __name__ == "__main__":
    sys.exit(main())
