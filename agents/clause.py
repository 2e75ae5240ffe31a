"""One clause of the contract that a prompt makes by itself: which words, why, and whether another wording keeps them.

A count and a colour are bound to a thing: the clause is kept where some thing of that name still has them, with other words between
("red sports car" keeps "red car"). Numbers in words and in digits are the same. A negation is a ban, and is broken where what was not
wanted is named without being negated.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from limner.agents import guard
from limner.agents.clause_words import EDGES
from limner.promptdb.records import canonical_text

Kind = Literal["count", "quoted text", "colour", "name", "weight", "network", "negation"]

CALLED: dict[str, Kind] = {
    "count": "count",
    "quoted text": "quoted text",
    "quote": "quoted text",
    "colour": "colour",
    "color": "colour",
    "name": "name",
    "weight": "weight",
    "network": "network",
    "negation": "negation",
}
"""What a kind may be called when it is let go of; the plural too."""

ALL = "all"

NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
"""Numbers from 2 on; the words that count things."""

SHOWN = 8  # clauses in one line

BETWEEN = 3  # words that may stand between a number or colour and its thing


NEGATING = r"(?:no|not|without|free\s+(?:of|from)|devoid\s+of)"
"""What negates the words after it."""

_NUMBER_OF = {name: str(number) for number, name in enumerate(NUMBERS, 2)}
_OTHERS_OF = {"pair": "2", "couple": "2", "duo": "2", "trio": "3", "quartet": "4", "dozen": "12"}


@dataclass(frozen=True, slots=True)
class Clause:
    """`words`: what must stay, or for a negation what must not come in. `phrase`: the stretch of the prompt that says so, as typed.
    `modifier`, `thing`: the number or colour, and what has it; empty for the other kinds.
    """

    kind: Kind
    words: str
    phrase: str
    modifier: str = ""
    thing: str = ""

    @property
    def is_ban(self) -> bool:
        """Whether the words must not come in, instead of stay."""
        return self.kind == "negation"

    @property
    def wording(self) -> str:
        """The words as a rewriter is told to hold, or not to hold, them."""
        return self.words if self.is_ban else self.phrase

    @property
    def fixed(self) -> tuple[str, ...]:
        """The words that a search must not replace; of a colour not its thing, which may be put in another word."""
        if self.is_ban or self.kind == "network":
            return ()
        if self.kind == "colour":
            return (self.modifier,)
        return (self.modifier, self.thing) if self.thing else (self.words,)

    def broken_by(self, text: str) -> bool:
        """Whether a prompt loses the words; for a negation, whether it brings them in."""
        match self.kind:
            case "network":
                return False  # it is no word, and is written back wherever the prompt goes
            case "quoted text":
                return _letters(self.words.strip("\"'“”‘’«»「」")) not in _letters(text)
            case "negation":
                return _named(self.words, unnegated(text, self.phrase, self.words))
            case "colour" if not _things(self.thing, text):
                return not _matches(_same(self.modifier), text)
            case "colour" | "count" if self.thing:
                return not _bound(_same(self.modifier), self.thing, text)
            case _:
                return not guard.holds(text, self.words)

    def concerns(self, keyword: str) -> bool:
        """Whether a keyword of a prompt holds words that the clause must keep."""
        if self.is_ban or self.kind == "network":
            return False
        return any(guard.holds(keyword, word) for word in (self.words, self.phrase, *self.fixed))

    def let_go_by(self, wishes: Sequence[str]) -> bool:
        """Whether one of the wishes, words or the name of a kind, lets go of the clause."""
        return any(self._named_by(" ".join(wish.casefold().split())) for wish in wishes)

    def _named_by(self, wish: str) -> bool:
        if not wish:
            return False
        kind = CALLED.get(wish) or CALLED.get(wish.removesuffix("s"))
        return wish == ALL or kind == self.kind or guard.holds(self.words, wish) or guard.key(wish) == guard.key(self.phrase)


def told(clauses: Sequence[Clause], how: str = "--let-go") -> list[str]:
    """Returns what is kept by itself in one line for a person, and `how` to let go of it; nothing where there is nothing."""
    kinds: dict[str, list[str]] = {}
    for item in clauses:
        if not item.is_ban:
            kinds.setdefault(item.words, []).append(item.kind)
    stay = [f"{words} ({', '.join(names)})" for words, names in kinds.items()]
    out = [item.words for item in clauses if item.is_ban]
    parts = [f"kept by itself: {_listed(stay)}"] if stay else []
    parts += [f"kept out by itself, by the negative prompt too: {_listed(out)}"] if out else []
    return [f"{'; '.join(parts)}; let go with {how}"] if parts else []


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words[:SHOWN]) + (f" and {len(words) - SHOWN} more" if len(words) > SHOWN else "")


def unnegated(text: str, *phrases: str) -> str:
    """Returns a text without its negations of these words, and without these phrases, that negate them."""
    for phrase in sorted((each for each in phrases if each.strip()), key=len, reverse=True):
        words = r"\s+".join(map(re.escape, phrase.split()))
        text = re.sub(rf"(?<!\w)(?:{NEGATING}\s+(?:(?:any|a|an)\s+)?)?{words}(?!\w)", _only_negated, text, flags=re.IGNORECASE)
    return text


def _only_negated(match: re.Match[str]) -> str:
    return ", " if re.match(rf"{NEGATING}\s", match[0], re.IGNORECASE) else match[0]


def number_of(word: str) -> str:
    """Returns a number in digits; '' for a word that is none."""
    word = word.casefold()
    return word if word.isdecimal() else _NUMBER_OF.get(word) or _OTHERS_OF.get(word, "")


def singular(word: str) -> str:
    """Returns a word without a plural s, which is how things are compared."""
    word = word.casefold()
    for ending, instead in (("ies", "y"), ("ches", "ch"), ("shes", "sh"), ("sses", "ss"), ("xes", "x")):
        if word.endswith(ending) and len(word) > len(ending) + 1:
            return word.removesuffix(ending) + instead
    return word[:-1] if len(word) > 3 and word[-1] == "s" and word[-2] != "s" else word


def phrases(text: str) -> list[list[str]]:
    """Returns the words of a text in lower case, in runs that no punctuation divides; a hyphen inside a word is part of it."""
    runs = re.split(r"[^\w\s'’-]|(?<!\w)[-'’]|[-'’](?!\w)", canonical_text(text).casefold())
    return [run.split() for run in runs if run.strip()]


def _bound(modifiers: frozenset[str], thing: str, text: str) -> bool:
    """Whether some thing of that name has one of the modifiers before it, with at most BETWEEN words of its phrase between."""
    for run in phrases(text):
        for place, word in enumerate(run):
            if singular(word) != singular(thing):
                continue
            for before in reversed(run[max(0, place - BETWEEN - 1) : place]):
                if before in modifiers:
                    return True
                if before in EDGES and before not in ("and", "of"):
                    break
    return False


def _things(thing: str, text: str) -> bool:
    return _matches(frozenset({singular(thing)}), text, singular)


def _matches(words: frozenset[str], text: str, form: Callable[[str], str] = str) -> bool:
    return any(form(word) in words for run in phrases(text) for word in run)


def _same(modifier: str) -> frozenset[str]:
    """Returns the words and digits that say the same number, or the same colour."""
    modifier = modifier.casefold()
    if number := number_of(modifier):
        return frozenset({number, *(word for word, same in (_NUMBER_OF | _OTHERS_OF).items() if same == number)})
    return frozenset({modifier, modifier.replace("grey", "gray"), modifier.replace("gray", "grey")})


def _named(words: str, text: str) -> bool:
    """Whether a text names a thing, one or many of it."""
    *first, last = words.split()
    return any(guard.holds(text, " ".join([*first, form])) for form in {last, singular(last), f"{singular(last)}s", f"{singular(last)}es"})


def _letters(text: str) -> str:
    return "".join(canonical_text(text).split())
