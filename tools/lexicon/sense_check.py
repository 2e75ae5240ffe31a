"""Whether WordNet itself says that a substitute keeps the meaning: a check that needs no encoder, strict and blind to context."""

from __future__ import annotations

from limner.tools.lexicon import inflection
from limner.tools.lexicon.wordnet import WordNet


def keeps_sense(word: str, substitute: str, wordnet: WordNet, part: str | None = None) -> bool:
    """Whether the substitute shares a synset with the word, or is its hypernym at distance 1, in one part of speech.

    `part`: n, v, a or r; None tries each. Both may be inflected, in the same form, and in any case. A word keeps its own sense, known
    or not; any other word that the lexicon does not know keeps none.
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
