"""Measures for how many words of a file of prompts the lexicon has candidates.

    python -m limner.tools.lexicon.coverage PROMPTS.txt

Function words (a, on, two) are not counted: they are never substituted.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable
from pathlib import Path

from limner.tools.lexicon.lexicon import CLOSED_WORDS, Lexicon


def coverage(prompts: Iterable[str], lexicon: Lexicon) -> dict[str, float]:
    """Returns {`words`: number of open-class words; `synonyms`, `antonyms`, `opposites`: share in [0, 1] of them that has any}."""
    words = [word for prompt in prompts for word in re.findall(r"[^\W\d_][\w'’-]*", prompt) if word.lower() not in CLOSED_WORDS]
    lookups = {"synonyms": lexicon.synonyms, "antonyms": lexicon.antonyms, "opposites": lexicon.opposites}
    shares = {name: sum(bool(lookup(word)) for word in words) / max(len(words), 1) for name, lookup in lookups.items()}
    return {"words": float(len(words)), **shares}


def main() -> None:
    """Runs the command line: prints the coverage of a text file, one prompt a line."""
    parser = argparse.ArgumentParser(description="share of prompt words that have candidates")
    parser.add_argument("prompts", type=Path, help="text file, one prompt a line")
    lexicon = Lexicon()
    for name, value in coverage(parser.parse_args().prompts.read_text(encoding="utf-8").splitlines(), lexicon).items():
        print(f"{name}: {value:.0f}" if name == "words" else f"{name}: {value:.1%}")
    print(f"lexicon: {len({word for word, _ in lexicon.wordnet.by_word})} words, {len(lexicon.wordnet.meanings)} meanings")


if __name__ == "__main__":
    main()
