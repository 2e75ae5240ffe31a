"""Understands a person's turn by rules: the offline stand-in for a chat model in conversation.

A turn is split into clauses where a new wish begins, and each clause is matched against the rules in order. Where no rule matches, the
person is asked. Equal turns in equal situations always mean the same.
"""

from __future__ import annotations

import re

from limner.agents.chat import command_rules, command_wishes
from limner.agents.chat.actions import Action, Situation
from limner.agents.chat.command_words import ORDINALS, PICTURE, STARTS, described

RULES = (*command_rules.RULES, *command_wishes.RULES)

_PLEASE = re.compile(
    r"^(?:(?:hi|hello|hey|oops|ouch|oh|ah|nah|ok(?:ay)?|well|so|hm+|um+|and|but|then|now|also|please|pls|yes|alright|actually|great|nice"
    r"|cool|good|excellent|wonderful|awesome|amazing|lovely|thanks|thank you)"
    r"(?:\s*[,.!:]+\s*|\s+(?=\w))|(?:no|perfect|nope)\s*[,.!:]+\s*|(?:could|can|would|will|shall|may) (?:you|we|i)\s+(?:please\s+)?"
    r"|(?:how|what) about\s+|(?:why )?don'?t (?:you|we)\s+|(?:let'?s|lets)\s+|i(?:'d| would) like (?:you )?to\s+|"
    r"i want (?:you )?to\s+|i(?:'d| would) rather\s+|i think (?:that )?(?:you should\s+)?|just\s+|maybe\s+|please\s+|go ahead and\s+)",
    re.IGNORECASE,
)
_THANKS = re.compile(r"[\s,]*\b(?:please|pls|thanks|thank you|if you can|for me|would you)\s*[.!?]*$", re.IGNORECASE)
_CUT = re.compile(rf"(?:\s*[.;!]\s+|\s*,?\s*\b(?:and then|and also|and|but|then|also)\s+|\s*,\s*)(?={STARTS})", re.IGNORECASE)
_BREAK = re.compile(r"\s*[,;.]\s+|\s*,?\s*\b(?:but|only|and)\s+", re.IGNORECASE)  # tried last
_PRAISE = re.compile(
    r"[\s,;.!]+(?:it|that|this|they)(?:'s|'re| is| are| looks?)\s+(?:\w+\s+)?"
    r"(?:lovely|great|nice|good|beautiful|wonderful|gorgeous|fine|cool)\s*[.!]*$",
    re.IGNORECASE,
)

# "make the second one blue" is two wishes: continue from the second picture, and make it blue.
_OF_ONE = re.compile(
    rf"^(?P<verb>make|turn|paint)\s+(?P<which>(?:the\s+)?(?:(?:{PICTURE}\s*#?\s*\d+)|(?:{'|'.join(ORDINALS)}|last|best)(?:\s+{PICTURE})?))\s+",
    re.IGNORECASE,
)

UNKNOWN = (
    "I am not sure what you mean. Is it a new picture (say `draw ...`), a change to this one (`change A to B`), or something else (`help`)?"
)
NOTHING = "What should the picture show?"


def parse(text: str, situation: Situation) -> list[Action]:
    """Returns the wishes of one turn, in order; a single `unclear` action with a question where they are not understood. Never empty."""
    said = " ".join(text.replace("’", "'").split())
    if not re.search(r"\w", said):
        return [_unclear(NOTHING if not situation.request else UNKNOWN)]
    whole = _match(said, situation)
    if whole is not None and whole.kind in ("describe", "vote"):
        return [whole]
    found: list[Action] = []
    for clause in _clauses(_OF_ONE.sub(r"\g<which>, \g<verb> it ", said)):
        action = _match(clause, situation)
        if action is None:
            break
        found.append(action)
    else:
        return found
    if whole is not None:
        return [whole]
    halves = [_match(half, situation) for half in _BREAK.split(_PRAISE.sub("", said))]
    if all(half is not None and half.kind != "describe" for half in halves):
        return [half for half in halves if half is not None]
    if not situation.request:
        return [described(_bare(said))]
    return [_unclear(UNKNOWN)]


def _clauses(said: str) -> list[str]:
    return [clause for clause in _CUT.split(said) if re.search(r"\w", clause)]


def _match(clause: str, situation: Situation) -> Action | None:
    """Returns the action of a clause, first without its courtesies, then as written; None where no rule matches."""
    for form in dict.fromkeys([_bare(clause), clause.strip(" ,;")]):
        if not form:
            continue
        for pattern, make in RULES:
            found = pattern.match(form)
            if found and (action := make(found, situation)) is not None:
                return action
    return None


def _bare(clause: str) -> str:
    """Returns the clause without courtesies before and after, and without final punctuation."""
    text = clause.strip(" ,;").lstrip("/")
    while True:
        shorter = _THANKS.sub("", _PLEASE.sub("", text)).strip(" ,;").rstrip(".!")
        if shorter == text or not re.search(r"\w", shorter):
            return text
        text = shorter


def _unclear(question: str) -> Action:
    return Action(kind="unclear", text=question)
