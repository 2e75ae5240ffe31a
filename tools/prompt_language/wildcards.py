"""Templates of many prompts, in the syntax of Dynamic Prompts: choices `{a|b}` and wildcards `__name__`, expanded by a seed or one by one.

    {red|blue}  {0.3::red|0.7::blue}  {2$$a|b|c}  {1-2$$ and $$a|b|c}  {2$$__name__}  __name__  __folder/name__  __glob*__

Source: `docs/SYNTAX.md` of sd-dynamic-prompts, without variables and parameters, which are refused. Choices and wildcards may be nested.
ComfyUI's own interface expands `{a|b}` too. Braces without a bar are text: NovelAI's emphasis is written so. A backslash before a brace or
a bar makes it text. Knows nothing of files: wildcards come from a `Wildcards`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice, permutations
from typing import Any, Protocol

from limner.promptdb.errors import BadInput
from limner.promptdb.files.file_kinds import is_json

DEEPEST = 30  # choices in choices, and wildcards in wildcards
LONGEST = 20_000  # characters of an expansion
MOST_PARTS = 200  # texts, choices and wildcards of one template
JOINED = ", "  # between several values of a choice
MOST_CALLS = 20_000  # choices and wildcards of one expansion
PRIVATE = 0xF0000  # the first of a plane of characters without a meaning
TRIES = 50  # expansions that were there before, for each new one, after which combinations end

_BOUND = re.compile(r"\s*(?:(?P<low>\d{1,4})(?P<dash>-(?P<high>\d{1,4})?)?|-(?P<most>\d{1,4}))\$\$(?:(?P<joint>[^{}|$]*)\$\$)?")
_WEIGHT = re.compile(r"\s*(\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})::")
_NAME = re.compile(r"(?<!\w)__(?!_)[~@!]?([^\s{}|$<>]*?[^\s{}|$<>_])__(?!\w)")
_SQUARE = re.compile(r"\[[^\[\]]*\]")
_SPECIAL = re.compile(r"[\\{}|$_]")


class Wildcards(Protocol):
    """Where the values of wildcards come from.

    An implementation returns values in a fixed order, and raises BadInput for a name that it does not know or may not look up.
    """

    def values(self, name: str) -> Sequence[str]:
        """Returns the values of every wildcard that `name` matches: templates, each with a weight (`3::red`) or without."""
        ...


class NoWildcards:
    """Wildcards where no folder of them was named."""

    def values(self, name: str) -> Sequence[str]:
        """Raises BadInput."""
        raise BadInput(f"there is no wildcard {name!r}; name the folder that holds {name}.txt by --wildcards FOLDER")


NO_WILDCARDS = NoWildcards()


@dataclass(frozen=True, slots=True)
class Named:
    """A wildcard, by its name or a pattern of names."""

    name: str


@dataclass(frozen=True, slots=True)
class Option:
    """One of the values of a choice, with its relative weight."""

    parts: tuple[Part, ...]
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Choice:
    """Values of which `low` to `high` are chosen, none twice, and joined by `joint`. `high` None: all of them."""

    options: tuple[Option, ...]
    low: int = 1
    high: int | None = 1
    joint: str = JOINED


Part = str | Choice | Named


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template, as it was written and in its parts. `spans`: where its outermost choices and wildcards stand in the text."""

    text: str
    parts: tuple[Part, ...]
    spans: tuple[tuple[int, int], ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether there is nothing to expand."""
        return all(isinstance(part, str) for part in self.parts)

    def expand(self, seed: int, wildcards: Wildcards = NO_WILDCARDS) -> str:
        """Returns one prompt of the template; the same for the same seed. Raises BadInput as `check` does."""
        if self.is_plain:
            return self.text
        return _tidy(_Draw(random.Random(f"{seed}:{self.text}"), wildcards).text(self.parts, ()))

    def combinations(self, wildcards: Wildcards = NO_WILDCARDS, limit: int | None = None) -> Iterator[str]:
        """Yields every prompt of the template once, at most `limit`, each made only when it is asked for. Raises BadInput as `check`
        does."""
        seen: set[str] = set()
        repeated = 0
        for found in map(_tidy, _each(self.parts, wildcards, ())):
            if found in seen:
                repeated += 1
                if repeated > TRIES * (len(seen) + 1):
                    return
            else:
                seen.add(found)
                yield found
            if limit is not None and len(seen) >= limit:
                return

    def marks(self) -> list[str]:
        """Returns the outermost choices and wildcards as they are written."""
        return [self.text[start:end] for start, end in self.spans]

    def sheltered(self, first: int = 0) -> str:
        """Returns the text with a private character in place of each of `marks`, for readers that know no templates; `restored` puts them
        back. `first`: the number of the first private character."""
        found, at = [], 0
        for number, (start, end) in enumerate(self.spans):
            found += [self.text[at:start], chr(PRIVATE + first + number)]
            at = end
        return "".join([*found, self.text[at:]])

    def check(self, wildcards: Wildcards) -> None:
        """Raises BadInput for a wildcard that is unknown or calls itself, whichever value is chosen."""
        done: set[str] = set()
        for name in _names(self.parts):
            _check(name, wildcards, (), done)


def is_template(text: str) -> bool:
    """Returns whether a prompt has a choice or a wildcard. Raises BadInput as `parse` does."""
    return not parse(text).is_plain


@lru_cache(4096)
def parse(text: str) -> Template:
    """Returns a template. JSON is plain text.

    Raises BadInput, with the place, for a choice whose brace is not closed, a brace too many beside a choice, and variables.
    """
    if text.lstrip().startswith("{") and is_json(text):
        return Template(text, (text,))
    reader = _Reader(text)
    parts = _merged(reader.sequence(0))
    if len(parts) > MOST_PARTS:
        raise BadInput(f"the template has {len(parts)} parts; at most {MOST_PARTS} are read")
    template = Template(text, parts, _outermost(reader.spans))
    if reader.stray is not None and (reader.barred or any(isinstance(part, Choice) for part in parts)):
        raise BadInput(rf"the brace at character {reader.stray + 1} closes no choice; write \}} for a brace that is text")
    return template


class _Reader:
    """Reads a template from left to right. `stray`: the first brace that closes nothing; `barred`: whether a bar stood before it. `spans`:
    where choices and wildcards stand.
    """

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self.stray: int | None = None
        self.barred = False
        self.spans: list[tuple[int, int]] = []

    def sequence(self, depth: int) -> list[Part]:
        parts: list[Part] = []
        while found := _SPECIAL.search(self._text, self._at):
            parts.append(self._text[self._at : found.start()])
            self._at = found.start()
            if found[0] == "{":
                parts += self._group(depth + 1)
            elif depth and found[0] in "|}":
                return parts
            else:
                parts.append(self._single(found[0]))
        parts.append(self._text[self._at :])
        self._at = len(self._text)
        return parts

    def _single(self, mark: str) -> Part:
        text, at = self._text, self._at
        if mark == "_" and (name := _NAME.match(text, at)):
            self._at = name.end()
            self.spans.append(name.span())
            if "(" in name[1]:
                raise BadInput(f"parameters of wildcards are not read: {name[0]}")
            return Named(name[1])
        if mark == "$" and text.startswith("${", at):
            raise BadInput(f"variables of templates, such as the one at character {at + 1}, are not read; write their words themselves")
        if mark == "}" and self.stray is None:
            self.stray, self.barred = at, "|" in _SQUARE.sub("", text[:at])
        self._at += 2 if mark == "\\" and at + 1 < len(text) else 1
        return text[at : self._at]

    def _group(self, depth: int) -> list[Part]:
        """Reads from a brace to the one that closes it; a pair of braces without a bar is text around its parts."""
        if depth > DEEPEST:
            raise BadInput(f"choices are nested more than {DEEPEST} deep")
        text, start = self._text, self._at
        bound = _BOUND.match(text, start + 1)
        self._at = bound.end() if bound else start + 1
        options: list[Option] = []
        weight = ""
        while True:
            weighted = _WEIGHT.match(text, self._at)
            weight = weighted[0] if weighted else ""
            self._at += len(weight)
            if options and _BOUND.match(text, self._at):
                raise BadInput(f"the number at character {self._at + 1} belongs at the beginning of its choice, as in {{2$$a|b|c}}")
            options.append(Option(tuple(self.sequence(depth)), float(weighted[1]) if weighted else 1.0))
            if self._at >= len(text) or text[self._at] == "}":
                break
            self._at += 1
        closed = self._at < len(text)
        self._at += closed
        if len(options) == 1 and not bound:
            return ["{", weight, *options[0].parts, *(["}"] if closed else [])]
        if not closed:
            raise BadInput(rf"the choice that begins at character {start + 1} is not closed; close it, or write \{{ for a brace of text")
        if not any(option.weight for option in options):
            raise BadInput(f"every value of the choice at character {start + 1} has the weight 0")
        self.spans.append((start, self._at))
        options = [Option(_merged(option.parts), option.weight) for option in options]
        return [_bounded(options, bound) if bound else Choice(tuple(options))]


def _bounded(options: Sequence[Option], bound: re.Match[str]) -> Choice:
    low = int(bound["low"] or 1)
    high = int(bound["high"] or bound["most"] or 0) or (None if bound["dash"] else low)
    if high is not None and low > high:
        raise BadInput(f"{bound[0].strip()!r} asks for at least {low} and at most {high} values")
    return Choice(tuple(options), low, high, JOINED if bound["joint"] is None else bound["joint"])


def _outermost(spans: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    found: list[tuple[int, int]] = []
    for span in sorted(spans):
        if not found or span[0] >= found[-1][1]:
            found.append(span)
    return tuple(found)


def _merged(parts: Sequence[Part]) -> tuple[Part, ...]:
    """Returns the parts with neighbouring texts as one, and without empty ones."""
    found: list[Part] = []
    for part in parts:
        if isinstance(part, str) and found and isinstance(found[-1], str):
            found[-1] += part
        elif part:
            found.append(part)
    return tuple(found)


def _tidy(text: str) -> str:
    """Returns an expansion without the blanks that an empty value leaves. Raises BadInput where it is too long."""
    if len(text) > LONGEST:
        raise _too_long()
    return " ".join(text.split()).replace(" ,", ",")


def _too_long() -> BadInput:
    return BadInput(f"the template expands to more than {LONGEST} characters; its wildcards call too many others")


def _values(name: str, wildcards: Wildcards, stack: tuple[str, ...]) -> list[Option]:
    """Returns the values of a wildcard. `stack`: the wildcards whose values are being expanded, the outermost first."""
    if name in stack or len(stack) >= DEEPEST:
        raise BadInput(f"the wildcard {name!r} calls itself: {' -> '.join([*stack[-5:], name])}")
    values = wildcards.values(name)
    try:
        found = [_option(value) for value in values]
    except BadInput as error:
        raise BadInput(f"a value of the wildcard {name!r}: {error}") from error
    if not any(option.weight for option in found):
        raise BadInput(f"the wildcard {name!r} has no values")
    return found


@lru_cache(100_000)
def _option(value: str) -> Option:
    weighted = _WEIGHT.match(value)
    return Option(parse(value[weighted.end() :] if weighted else value).parts, float(weighted[1]) if weighted else 1.0)


def _options(choice: Choice, wildcards: Wildcards, stack: tuple[str, ...]) -> tuple[list[Option], tuple[str, ...]]:
    """Returns what a choice is made from: its options, or where it has one that is a wildcard, the values of that."""
    only = choice.options[0].parts
    if len(choice.options) == 1 and len(only) == 1 and isinstance(only[0], Named):
        return _values(only[0].name, wildcards, stack), (*stack, only[0].name)
    return list(choice.options), stack


class _Draw:
    """One expansion by chance."""

    def __init__(self, rng: random.Random, wildcards: Wildcards) -> None:
        self._rng, self._wildcards, self._calls = rng, wildcards, 0

    def text(self, parts: tuple[Part, ...], stack: tuple[str, ...]) -> str:
        """Returns the parts with values in place of choices and wildcards."""
        found = "".join(part if isinstance(part, str) else self._value(part, stack) for part in parts)
        if len(found) > LONGEST:
            raise _too_long()
        return found

    def _value(self, part: Choice | Named, stack: tuple[str, ...]) -> str:
        self._calls += 1
        if self._calls > MOST_CALLS:
            raise _too_long()
        choice = _as_choice(part)
        options, inner = _options(choice, self._wildcards, stack)
        low, high = _bounds(choice, len(options))
        drawn = _drawn(options, self._rng.randint(low, high), self._rng)
        return choice.joint.join([self.text(option.parts, inner) for option in drawn])


def _as_choice(part: Choice | Named) -> Choice:
    """A wildcard as a choice of one of its values."""
    return Choice((Option((part,)),)) if isinstance(part, Named) else part


def _bounds(choice: Choice, count: int) -> tuple[int, int]:
    """Returns how many of `count` values are chosen, at least and at most."""
    high = count if choice.high is None else min(choice.high, count)
    return min(choice.low, high), high


def _drawn(options: list[Option], count: int, rng: random.Random) -> list[Option]:
    """Returns so many of the options, none twice, by their weights."""
    left = [option for option in options if option.weight]
    found = []
    for _ in range(min(count, len(left))):
        place = rng.choices(range(len(left)), [option.weight for option in left])[0]
        found.append(left.pop(place))
    return found


def _each(parts: tuple[Part, ...], wildcards: Wildcards, stack: tuple[str, ...]) -> Iterator[str]:
    """Yields every expansion of the parts, the last part changing fastest."""
    if not parts:
        yield ""
        return
    for head in _each_of(parts[0], wildcards, stack):
        for tail in _each(parts[1:], wildcards, stack):
            if len(head) + len(tail) > LONGEST:
                raise _too_long()
            yield head + tail


def _each_of(part: Part, wildcards: Wildcards, stack: tuple[str, ...]) -> Iterator[str]:
    if isinstance(part, str):
        yield part
        return
    choice = _as_choice(part)
    options, inner = _options(choice, wildcards, stack)
    options = [option for option in options if option.weight]
    low, high = _bounds(choice, len(options))
    for count in range(low, high + 1):
        for chosen in permutations(options, count):
            yield from _joined(chosen, choice.joint, wildcards, inner)


def _joined(options: tuple[Option, ...], joint: str, wildcards: Wildcards, stack: tuple[str, ...]) -> Iterator[str]:
    if not options:
        yield ""
        return
    for head in _each(options[0].parts, wildcards, stack):
        for tail in _joined(options[1:], joint, wildcards, stack):
            yield head + joint + tail if len(options) > 1 else head


def _names(parts: Sequence[Part]) -> Iterator[str]:
    for part in parts:
        if isinstance(part, Named):
            yield part.name
        elif isinstance(part, Choice):
            for option in part.options:
                yield from _names(option.parts)


def _check(name: str, wildcards: Wildcards, stack: tuple[str, ...], done: set[str]) -> None:
    if name in done:
        return
    for option in _values(name, wildcards, stack):
        for inner in _names(option.parts):
            _check(inner, wildcards, (*stack, name), done)
    done.add(name)


def restored(value: Any, marks: Sequence[str]) -> Any:
    """Returns a text, or a JSON value, with marks in place of the private characters that `Template.sheltered` wrote for them."""
    if isinstance(value, str):
        return re.sub(f"[{chr(PRIVATE)}-{chr(PRIVATE + MOST_PARTS)}]", lambda found: _mark(found[0], marks), value)
    if isinstance(value, dict):
        return {key: restored(item, marks) for key, item in value.items()}
    return [restored(item, marks) for item in value] if isinstance(value, list) else value


def _mark(private: str, marks: Sequence[str]) -> str:
    number = ord(private) - PRIVATE
    return marks[number] if number < len(marks) else private


def take(prompts: Iterator[str], most: int) -> tuple[list[str], bool]:
    """Returns at most `most` prompts, and whether there are more."""
    found = list(islice(prompts, most + 1))
    return found[:most], len(found) > most
