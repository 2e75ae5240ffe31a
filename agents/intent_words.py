"""Reads which words of a prompt are meant to the letter: counts, quoted text, colours of things, names, weights, networks, negations.

Rules alone, no model. What is not certain gives no clause: a clause too many costs candidates, and a ban too many reaches the negative
prompt. English prompts; quoted text, weights and networks in any language.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from limner.agents.clause import BETWEEN, NEGATING, NUMBERS, Clause, number_of
from limner.agents.clause_words import (
    COLOURS,
    EDGES,
    ENGLISH,
    NO_COLOURED_THING,
    NO_NAMES,
    NOTHING,
    OFTEN_CAPITAL,
    PARTICLES,
    PLACES,
    UNITS,
)
from limner.promptdb.records import Conditioning
from limner.tools.prompt_language.opaque import Placed

LONGEST_QUOTE = 60  # characters; longer quoted text is a sentence about the picture, or all of it
LONGEST_NAME = 4  # words
LONGEST_WORD = 24  # characters of a name
MOST = 24  # clauses of one prompt


_COUNTING = frozenset({*NUMBERS, "pair", "duo", "trio", "quartet", "dozen"})
_OF = frozenset({"pair", "duo", "trio", "quartet"})
_IRREGULAR = re.compile(r"(?:.*(?:men|people|children|folk|wolves|mice|geese|teeth|feet|sheep|deer|fish))")
_NO_PLURAL = re.compile(r".*(?:ss|us|is|ous|'s|’s)|lens|atlas|canvas|christmas|always|across|perhaps|yes|its|was|has|does|goes|years|times")
_LOOSE = re.compile(
    r"(?!bed\b|seed|weed|building|ceiling|clothing|earring|evening|king|lining|morning|painting|ring|spring|string|wing).*(?:ed|ings?|ly)"
)
"""Participles and adverbs, which end a noun phrase, or begin none."""

_WORD = r"[^\W\d_]+(?:['’-][^\W\d_]+)*"
_NUMBERED = re.compile(
    rf"(?<![\w.:/-])(\d{{1,2}}|{'|'.join(sorted(_COUNTING))})(\s+of)?(?=((?:\s+{_WORD}){{1,{BETWEEN + 1}}}))", re.IGNORECASE
)
_MAY_COUNT = re.compile(rf"(?:\A|[^\w\s./:-]|\b(?:{'|'.join(sorted(EDGES))}))\s*\Z", re.IGNORECASE)
"""What stands before digits that count something."""

_TAG = re.compile(r"(?<!\w)[2-9]\+?(?:girls|boys|others)(?!\w)", re.IGNORECASE)
_COLOURED = re.compile(rf"(?<![\w-])({'|'.join(sorted(COLOURS))})(?=((?:\s+{_WORD}){{1,{BETWEEN + 1}}}))", re.IGNORECASE)
_JOINED = re.compile(r"(?:\band|\bor|[-&/+])\s*\Z", re.IGNORECASE)

_QUOTES = (
    re.compile(r"“([^“”\n]+)”|«([^«»\n]+)»|「([^「」\n]+)」"),
    re.compile(r"(?<![\w.])\"([^\"\n]+)\"(?!\w)"),
    re.compile(r"(?<![\w'])'(?!(?:n|em|til|cause|tis|twas)\b)(\w[^'\n]*(?:\w'\w[^'\n]*)*(?<=[^\s]))'(?![\w'])|‘(\w[^‘’\n]*)’(?!\w)"),
)

_ARTS = (
    "art|artwork|artworks|painting|paintings|painted|illustration|illustrated|drawing|drawn|sketch|style|styled|photo|photograph|"
    "photographed|photography|picture|print|poster|render|directed|designed|design|film|created|sculpture|comic|cover|portrait"
)
_BY = re.compile(rf"(?:(?:\A|[,.;]|\b(?:{_ARTS}))\s*\bby|\bin\s+the\s+styles?\s+of)\s+(?=\w)", re.IGNORECASE)
_PEOPLES = re.compile(
    r".*(?:ese|[aeiocht]an|ish|ic|que)s?|french|dutch|greek|czech|swiss|viking|vikings|renaissance|christmas|halloween|easter|god|earth|sun|moon|"
    r"i|instagram|artstation|pinterest|mondays?|tuesdays?|wednesdays?|thursdays?|fridays?|saturdays?|sundays?|january|february|april|june|"
    r"july|august|september|october|november|december",
    re.IGNORECASE,
)

_NEGATION = re.compile(rf"(?<![\w'’-])({NEGATING})\s+(?:(?:any|a|an)\s+)?((?:(?!{NEGATING}\b){_WORD}[^\S\n]*)+)", re.IGNORECASE)

_SEGMENTS = re.compile(r"[^\w\s.'’-]|(?<!\b\w)\.|\s-\s|\n")
"""What divides segments; not the full stop of an initial."""

_MAY_NEGATE = re.compile(
    r"(?:\A|[,.;:!?()\n]|\s-|\b(?:with|and|but|or|has|have|had|having|is|are|was|there|show|shows|showing|wearing|wears|absolutely|please))"
    r"\s*\Z",
    re.IGNORECASE,
)


def clauses_of(typed: Conditioning, opaque: Placed = ()) -> tuple[Clause, ...]:
    """Returns the clauses of a prompt, the same words once, at most MOST. `typed`: the prompt as its reader has it, with its weights.
    `opaque`: the parts that are no words.
    """
    found: dict[tuple[str, str], Clause] = {}
    text = typed.text
    for clause in (*networks(opaque), *weighted(typed), *quoted(text), *counts(text), *coloured(text), *names(text), *negations(text)):
        found.setdefault((clause.kind, clause.words.casefold()), clause)
    return tuple(clause for clause in found.values() if not clause.broken_by(text))[:MOST]


def networks(opaque: Placed) -> Iterator[Clause]:
    """Yields the tags that load networks."""
    for _, part in opaque:
        if part.kind == "network":
            yield Clause("network", part.shown, part.shown)


def weighted(typed: Conditioning) -> Iterator[Clause]:
    """Yields the words that have a weight or a time, without which it could not be carried to another wording."""
    for span in typed.spans:
        if words := typed.text[span.start : span.end].strip(" ,\n\t"):
            yield Clause("weight", words, words)


def quoted(text: str) -> Iterator[Clause]:
    """Yields what stands in quotation marks, with the marks. Not the whole prompt, and not where a mark has no partner."""
    for pattern in _QUOTES:
        if pattern is _QUOTES[1] and text.count('"') % 2:
            continue
        for match in pattern.finditer(text):
            inner = next(part for part in match.groups() if part is not None)
            whole = len(match[0]) > 0.9 * len(text.strip())
            if any(char.isalnum() for char in inner) and len(inner) <= LONGEST_QUOTE and not whole:
                yield Clause("quoted text", match[0], match[0])


def counts(text: str) -> Iterator[Clause]:
    """Yields numbers from two on with the things that they count: "three cats", "2 black dogs", "a pair of shoes", "2girls"."""
    for match in _NUMBERED.finditer(text):
        number, words = match[1], match[3].split()
        if number.isdecimal() and not _MAY_COUNT.search(text[: match.start()]):
            continue  # "3 5 mm", "fallout 4": digits after a word are mostly its title
        thing = _counted(words)
        if thing and number_of(number) not in ("", "0", "1") and (match[2] is None) == (number.casefold() not in _OF):
            phrase = text[match.start() : _end(text, match.end(), thing)]
            yield Clause("count", f"{number}{match[2] or ''} {words[thing - 1]}", phrase, number, words[thing - 1])
    for match in _TAG.finditer(text):
        yield Clause("count", match[0], match[0])


def _counted(words: list[str]) -> int:
    """Returns which of the words after a number, from 1, is the plural that it counts; 0 where none surely is."""
    for place, word in enumerate(words, 1):
        lower = word.casefold()
        if lower in UNITS or lower in EDGES or lower in _COUNTING or "-" in lower:
            return 0
        if _IRREGULAR.fullmatch(lower) or (lower.endswith("s") and len(lower) > 3 and not _NO_PLURAL.fullmatch(lower)):
            return place
    return 0


def coloured(text: str) -> Iterator[Clause]:
    """Yields colours directly before a thing: "red car", "pale green eyes", "black leather jacket". Not one of several joined colours."""
    for match in _COLOURED.finditer(text):
        words, before = match[2].split(), text[: match.start()]
        if _JOINED.search(before):
            continue
        place = _noun(words)
        if place and (thing := words[place - 1]).casefold() not in NO_COLOURED_THING and thing.casefold() not in COLOURS:
            phrase = text[match.start() : _end(text, match.end(), place)]
            yield Clause("colour", f"{match[1]} {thing}", phrase, match[1], thing)


def _noun(words: list[str]) -> int:
    """Returns which of the words, from 1, is the last of the noun phrase that they begin; 0 where they begin none, or a longer one."""
    last = 0
    for place, word in enumerate(words, 1):
        lower = word.casefold()
        if number_of(lower):
            return 0
        if lower in EDGES or lower in COLOURS or "-" in lower or _LOOSE.fullmatch(lower):
            return last
        last = place
    return last if last <= BETWEEN else 0


def _end(text: str, start: int, words: int) -> int:
    """Returns the offset at which so many words after `start` end."""
    match = re.compile(rf"(?:\s+{_WORD}){{{words}}}").match(text, start)
    return match.end() if match else start


def names(text: str) -> Iterator[Clause]:
    """Yields the names of artists after "by" and "in the style of", and capitalised names inside a sentence that is not a title."""
    for match in _BY.finditer(text):
        for words in _listed_names(text[match.end() :]):
            yield Clause("name", words, words)
    yield from (Clause("name", words, words) for words in _capitalised(text))


def _listed_names(text: str) -> Iterator[str]:
    """Yields the names at the beginning of a text, joined by "and"."""
    head = re.split(r"[^\w\s.'’&-]|(?<!\b\w)\.|\n", text, maxsplit=1)[0]
    for part in re.split(r"\s+(?:and|&)\s+", head):
        words = part.split()
        stop = next((place for place, word in enumerate(words) if word.casefold() in EDGES), len(words))
        if not 0 < stop <= LONGEST_NAME or any(word.casefold() in NO_NAMES or not word[0].isalpha() for word in words[:stop]):
            return
        yield " ".join(words[:stop]).rstrip(".-")
        if stop < len(words):
            return


def _capitalised(text: str) -> Iterator[str]:
    """Yields runs of capitalised words; none of a prompt in which most words are capitalised.

    A run that begins a segment counts from two words on, where the segment is no title.
    """
    segments = [[bare for word in segment.split() if (bare := word.strip("'’"))] for segment in _SEGMENTS.split(text)]
    inner = [word for segment in segments for word in segment[1:] if len(word) > 3 and word.casefold() not in EDGES]
    capitals = sum(word[0].isupper() for word in inner)
    if not inner or 3 * capitals > 2 * len(inner) or not any(word.casefold() in ENGLISH for word in text.split()):
        return
    for segment in segments:
        if _titled(segment):
            continue
        for place, run in _runs(segment):
            single = len(run) == 1
            if single and (place == 0 or 3 * capitals > len(inner) or not 3 < len(run[0]) <= LONGEST_WORD):
                continue
            if not (single and _PEOPLES.fullmatch(run[0])) and not any(word.casefold() in OFTEN_CAPITAL for word in run):
                yield re.sub(r"['’]s\Z", "", " ".join(run))


def _runs(segment: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Yields the places and words of runs of capitalised words, with the particles between them; words all in capitals end a run."""
    start, run = 0, list[str]()
    for place, word in enumerate([*segment, ""]):
        if word and word[0].isupper() and not (word.isupper() and len(word.strip(".")) > 1):
            start = start if run else place
            run.append(word)
        elif run and word.casefold() in PARTICLES:
            run.append(word)
        elif run:
            while not run[-1][0].isupper():
                run.pop()
            while run and run[0].casefold() in EDGES:
                start, run = start + 1, run[1:]
            if run:
                yield start, run
            run = []


def _titled(segment: list[str]) -> bool:
    content = [word for word in segment if word.casefold() not in EDGES]
    return len(segment) > 1 and 3 * sum(word[0].isupper() for word in content) > 2 * len(content)


def negations(text: str) -> Iterator[Clause]:
    """Yields bans of what is said not to be there: "no people", "without text or watermarks", "free of clouds", "not blurry".

    None where the words also stand in the prompt without being negated. "No" must begin a phrase, or follow a word that may stand before
    it: it is a preposition in Portuguese and a particle in Japanese.
    """
    for match in _NEGATION.finditer(text):
        negating, before = match[1].casefold(), text[: match.start()]
        if (negating in ("no", "not") and not _MAY_NEGATE.search(before)) or re.match(r"\s*['’]\s*s\b", text[match.end() :]):
            continue
        things = list(_unwanted(match[2].split(), negating))
        said = re.search(rf"(?<!\w){re.escape(things[-1].split()[-1])}(?!\w)", match[2]) if things else None
        phrase = text[match.start() : match.start(2) + (said.end() if said else 0)]
        for words in things:
            if not Clause("negation", words, phrase).broken_by(text):
                yield Clause("negation", words, phrase)


def _unwanted(words: list[str], negating: str) -> Iterator[str]:
    """Yields the things, joined by "or" or "nor", that the words after a negation begin with."""
    for part in _joined(words):
        thing: list[str] = []
        rest = ""
        for word in part:
            if word.casefold() in EDGES:
                rest = word.casefold()
                break
            if word.casefold() in PLACES and thing:
                break
            thing.append(word)
        loose = thing and (thing[0].casefold() in NOTHING or (negating != "not" and re.fullmatch(r".*ing", thing[0].casefold())))
        owner = any(word.endswith(("'s", "’s")) for word in thing)
        if not thing or loose or owner or len(thing) > 2 or rest in ("of", "than", "to") or (negating == "not" and (thing[1:] or rest)):
            return
        yield " ".join(thing)
        if rest:
            return


def _joined(words: Iterable[str]) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for word in words:
        if word.casefold() in ("or", "nor"):
            parts.append([])
        elif word.casefold() not in ("any", "a", "an") or parts[-1]:
            parts[-1].append(word)
    return parts

