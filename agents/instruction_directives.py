"""Directives in an instruction that rules can follow: words to add, to leave out, to put into the negative prompt.

    Add "sharp focus" and "warm light". Leave out "8k". Put "blurry" into the negative list.

People may write them too. The offline stand-in follows only these; a language model reads the instruction as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_QUOTED = r'["“][^"“”\n]{1,60}["”]'
_LIST = rf"(?P<words>{_QUOTED}(?:\s*(?:,|and|or|,\s*and)\s*{_QUOTED})*)"
_NOT = "".join(rf"(?<!{word} )" for word in ("not", "n't", "n’t", "never"))
_ADD = re.compile(rf"{_NOT}\b(?:add|use|include)\s+{_LIST}\s*\.?", re.IGNORECASE)
_LEAVE = re.compile(
    rf"\b(?:leave out|avoid(?: adding| using)?|drop|omit|(?:do not|don['’]t|never) (?:add|use|include))\s+{_LIST}\s*\.?", re.IGNORECASE
)
_NEGATE = re.compile(rf"\bput\s+{_LIST}\s+into the negative (?:list|prompt)\s*\.?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Directives:
    """Words to add, to leave out and to negate, in the order given, each once."""

    add: tuple[str, ...] = ()
    leave: tuple[str, ...] = ()
    negate: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.add or self.leave or self.negate)

    def merged(self, later: Directives) -> Directives:
        """Returns both combined; where they contradict, `later` wins."""
        return Directives(
            _without([*self.add, *later.add], later.leave),
            _without([*self.leave, *later.leave], later.add),
            _without([*self.negate, *later.negate], later.add),
        )

    def text(self) -> str:
        """Returns sentences that `read` parses back."""
        parts = [
            f"Add {_quoted(self.add)}." if self.add else "",
            f"Leave out {_quoted(self.leave)}." if self.leave else "",
            f"Put {_quoted(self.negate)} into the negative list." if self.negate else "",
        ]
        return " ".join(part for part in parts if part)


def read(text: str) -> Directives:
    """Returns every directive in `text`."""
    return Directives(*(_without(_words(pattern, text), ()) for pattern in (_ADD, _LEAVE, _NEGATE)))


def rest(text: str) -> str:
    """Returns `text` without its directives."""
    for pattern in (_NEGATE, _LEAVE, _ADD):
        text = pattern.sub("", text)
    return " ".join(text.split())


def _words(pattern: re.Pattern[str], text: str) -> list[str]:
    return [word[1:-1].strip(" .,") for match in pattern.finditer(text) for word in re.findall(_QUOTED, match["words"])]


def _without(words: Iterable[str], unwanted: Iterable[str]) -> tuple[str, ...]:
    taken = {word.casefold() for word in unwanted}
    return tuple({word.casefold(): word for word in words if word and word.casefold() not in taken}.values())


def _quoted(words: tuple[str, ...]) -> str:
    return ", ".join(f'"{word}"' for word in words)
