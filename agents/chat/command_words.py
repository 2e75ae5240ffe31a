"""The vocabulary of a conversation: pictures by number, lists of words, methods by name, and the decorator for rules.

English, as people type it. The rules are in command_rules.py and command_wishes.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from limner.agents.chat.actions import Action, Situation
from limner.agents.chat.edits import bare

Make = Callable[[re.Match[str], Situation], Action | None]
Rule = tuple[re.Pattern[str], Make]

STARTS = (
    r"(?:(?:please|just|also)\s+)?(?:keep|pin|ban|never|do not|don'?t|avoid|change|replace|swap|turn (?:the|it|this)"
    r"|make (?:it|the|this)|add|remove|"
    r"undo|go back|switch|use|run|spend|pick|choose|select|accept|show|find|search|compare|vote|lock|unpin|allow|forget|without|no more|"
    r"get rid|take out|drop|optimi[sz]e|draw|put|give it|set|limit|stop using|i want|i'd like|more like|done"
    r"|in (?:an? )?[\w-]+ (?:style|look))\b"
)

ORDINALS = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"]
NUMBERS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
PICTURE = r"(?:image|picture|pic|version|option|variant|candidate|number|one|no\.?|nr\.?|result|draft)"
_WHICH = (
    rf"(?:the\s+)?(?:{PICTURE}\s*#?\s*(?P<{{0}}d>\d+)|#?(?P<{{0}}e>\d+)(?:st|nd|rd|th)?(?:\s+{PICTURE})?|"
    rf"{PICTURE}\s+(?P<{{0}}w>{'|'.join(NUMBERS)})\b|(?P<{{0}}o>{'|'.join(ORDINALS)}|last|best|top)(?:\s+{PICTURE})?|"
    rf"(?P<{{0}}i>it|this|that|these|those|them)(?:\s+{PICTURE})?)"
)
WHICH = _WHICH.format("a")
OTHER = _WHICH.format("b")
COUNT = r"(?P<n>\d+)\s*(?:more\s+)?(?:images?|pictures?|pics?|drawings?)"
_VAGUE = re.compile(
    r"(?:hi|hello|hey|good (?:morning|day|evening))(?: there)?|(?:an?|some|another)?\s*(?:new|nice|good|cool|better"
    r"|great|beautiful)?\s*(?:image|picture|pic|photo|drawing"
    r"|painting|art|something|anything|one)"
    r"(?:\s+(?:nice|cool|good|new|else|for me))?",
    re.IGNORECASE,
)
METHODS = {
    r"dpo(?:[- ]?diff(?:usion)?)?": "dpo-diff",
    r"df(?:[- ]?prompt)?|dynamic[- ]prompts?": "df-prompt",
    r"(?:ap[- ]?)?adapter": "adapter",
    r"rewrit(?:e|er|ing)": "rewrite",
    r"auto(?:matic)?|all (?:methods|solvers)|everything": "auto",
}


def rule_book() -> tuple[list[Rule], Callable[[str], Callable[[Make], Make]]]:
    """Returns an empty list of rules, and the decorator that appends a rule to it.

    A rule's pattern must match a whole clause, in any case; rules are tried in order.
    """
    rules: list[Rule] = []

    def rule(pattern: str) -> Callable[[Make], Make]:
        def register(make: Make) -> Make:
            rules.append((re.compile(rf"(?:{pattern})\s*[.!?]*$", re.IGNORECASE), make))
            return make

        return register

    return rules, rule


def number(match: re.Match[str], situation: Situation, prefix: str = "a") -> int | None:
    """Returns the number of the picture meant: None for the current one, 0 for the best."""
    found = {key: match.groupdict().get(f"{prefix}{key}") for key in "dewoi"}
    if digits := found["d"] or found["e"]:
        return int(digits)
    if word := found["w"]:
        return NUMBERS.index(word.lower()) + 1
    if ordinal := (found["o"] or "").lower():
        return situation.shown if ordinal == "last" else 0 if ordinal in ("best", "top") else ORDINALS.index(ordinal) + 1
    return None


def words(text: str) -> list[str]:
    """Returns the words or phrases of a list: quoted ones unchanged, else separated by commas, `and` or `or`."""
    quoted = re.findall(r"[\"“']([^\"“”']{1,120})[\"”'](?!\w)", text)
    parts = quoted or re.split(r"\s*(?:,|;|\band\b|\bor\b|&)\s*", text)
    return [
        part
        for part in (bare(re.sub(r"^(?:the )?(?:words?|terms?|phrases?|tags?)\s+", "", part.strip(), flags=re.I)) for part in parts)
        if part
    ]


def method(text: str) -> str:
    """Returns the method that `text` names, or ''."""
    return next((name for pattern, name in METHODS.items() if re.search(rf"\b(?:{pattern})\b", text, re.IGNORECASE)), "")


def described(text: str) -> Action:
    """Returns the action for a request; `unclear`, with a question, where it does not say what the picture should show."""
    request = re.sub(r"[\s,]+(?:please|pls|thanks|thank you)$", "", text.strip(" .!?,"), flags=re.IGNORECASE)
    request = re.sub(r"\s+instead$|^(?:an?\s+)?(?:new|different|other)\s+(?:one|thing)\s*[:,]\s*", "", request, flags=re.IGNORECASE)
    request = re.sub(r"^(?:an?\s+)?(?:image|picture|pic)s?\s+(?:of|with|showing)\s+", "", request, flags=re.IGNORECASE)
    if not request or _VAGUE.fullmatch(request):
        return Action(kind="unclear", text="What should the picture show?")
    return Action(kind="describe", text=request)
