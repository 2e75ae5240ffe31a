"""Checks by WordNet alone whether a substitute keeps the meaning. Needs no encoder; strict, and ignores the context."""

from __future__ import annotations

from limner.tools.lexicon import inflection
from limner.tools.lexicon.wordnet import WordNet


def keeps_sense(word: str, substitute: str, wordnet: WordNet, part: str | None = None) -> bool:
    """Whether the substitute shares a synset with the word, or is its hypernym at distance 1, in one part of speech.

    `part`: n, v, a or r; None tries each. Both may be inflected, in the same form, and in any case. Equal words always keep the sense;
    otherwise unknown words never do.
    """
    if word.lower() == substitute.lower():
        return True
    for here in inflection.readings(word.lower(), wordnet):
        for there in inflection.readings(substitute.lower(), wordnet):
            if here.part != there.part or here.form != there.form or part not in (None, here.part):
                continue
            meanings = wordnet.of(here.base, here.part)
            wanted = {meaning.number for meaning in meanings} | {number for meaning in meanings for number in meaning.hypernyms}
            if any(meaning.number in wanted for meaning in wordnet.of(there.base, there.part)):
                return True
    return False
