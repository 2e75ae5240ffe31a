"""Rejects texts that must not become a prompt or an instruction.

Prompts: refusals, preambles, empty texts, duplicates, over-long texts, lost pins, banned words, markup. `clean` repairs harmless wrapping
and `check` judges the rest; both are pure. A phrase that the user's original prompt contains is never a fault in a rewrite of it.
Instructions: empty texts, refusals, preambles, over-long texts, near duplicates, texts about one subject.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from limner.agents.instruction_directives import read
from limner.promptdb.records import canonical_text

Kind = Literal["refusal", "preamble", "empty", "duplicate", "over-long", "lost pin", "banned word", "markup", "one subject"]
TokenLimit = Callable[[str], tuple[int, int]]
"""Returns the tokens of a text and the encoder's limit: `ImageModel.token_count`."""

OVER_LONG = 10  # most lengths of the original that a rewrite may have
ROOM = 600  # characters that any rewrite may have, however short the original: about two encoder windows of 77 tokens


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a text may become a prompt; if not, `kind` is for counting and `reason` is one line for people."""

    ok: bool
    kind: Kind | None = None
    reason: str = ""


_SENTENCE = r"(?:^|[.!?:;]\s+|[\"*(]\s*)"
_CANNOT = r"(?:can't|cannot|can\ not|won't|will\ not|(?:am|are)\ (?:unable|not\ able)\ to)"
_OBLIGE = r"(?:help|assist|create|generate|produce|provide|(?:re)?write|refine|fulfill?|comply|complete|continue|do|process|depict|engage)"
_REFUSAL = re.compile(
    rf"""
    ^(?:i'm|i\ am)\ (?:\w+\ ){{0,2}}(?:sorry|afraid)\b
    | ^(?:my\ )?(?:sorry|apologies)\b[,.!]?\ (?:but|i|we|this|that|for)\b
    | {_SENTENCE}(?:i'm|i\ am|we\ are|we're)\ (?:\w+\ )?sorry,?\ (?:but|i|we|that)\b
    | {_SENTENCE}(?:\w+,?\ ){{0,3}}(?:i|we)\ {_CANNOT}\ (?:\w+\ ){{0,2}}{_OBLIGE}\b
    | {_SENTENCE}i'm\ (?:unable|not\ (?:able|comfortable|allowed|permitted))\b
    | {_SENTENCE}i\ (?:must|have\ to|need\ to)\ (?:\w+\ )?(?:decline|refuse)\b
    | {_SENTENCE}as\ an?\ (?:ai|artificial\ intelligence|language\ model|(?:\w+\ )?assistant)\b.{{0,60}}\bi\b
    | \b(?:violates?|against|conflicts?\ with)\ (?:my|our|the|openai's)\ (?:\w+\ ){{0,3}}(?:polic(?:y|ies)|guidelines?|rules|terms)\b
    | \b(?:this|your|the)\ (?:request|prompt|content|description)\ (?:\w+\ ){{0,2}}
      (?:violates?|is\ not\ allowed|can't\ be|cannot\ be|is\ inappropriate)\b
    | ^(?:很?抱歉|对不起|我无法|我不能|申し訳|すみません|죄송|lo\ siento|no\ puedo|je\ suis\ désolée?|désolée?,|je\ ne\ peux\ pas
      |es\ tut\ mir|tut\ mir\ leid|leider\ kann\ ich|mi\ dispiace|desculpe|извините|к\ сожалению)
    """,
    re.VERBOSE,
)
_PROMPT_NOUN = r"(?:(?:prompt|version|rewrite|description|list|variant|variation|instruction|keyword|tag|suggestion|answer)s?|json)"
_BETTER = r"(?:refined|improved|rewritten|revised|optimi[sz]ed|enhanced|new|final|modified|updated)"
_TO_BETTER = r"(?:refine|improve|enhance|rewrite|optimi[sz]e|revise|modify|expand|transform|convert)"
_PREAMBLE = re.compile(
    rf"""
    ^(?:sure|certainly|of\ course|absolutely|okay|ok|alright|great|got\ it|no\ problem|understood|gladly|thanks?(?:\ you)?)
      (?:!|[.:,]?\ (?:here|i|i'll|i've|i'd|let|this|below|the\ following|for|thing)\b|[.:,]\ to\b)
    | ^here(?:'s|\ is|\ are|\ you\ go)\b.{{0,60}}?\b(?:{_PROMPT_NOUN}|{_BETTER})\b
    | ^to\ {_TO_BETTER}\ (?:\w+\ ){{0,4}}(?:{_PROMPT_NOUN}|text|image)\b
    | ^(?:the|this|your|my|a)?\ ?(?:(?:following|{_BETTER})\ )+{_PROMPT_NOUN}(?:\ (?:is|are|would|could|for)\b|:)
    | ^(?:below|the\ following)\ (?:is|are)\b
    | ^i(?:'ve|'ll|'d|\ have|\ will|\ would|\ can|\ suggest|\ recommend)?\ .{{0,30}}\b(?:prompts?|rewr\w+|refined?|improved?|expanded)\b
    | ^let(?:'s|\ me|\ us)\ (?:{_TO_BETTER}|create|make|start|break|help)\b
    | ^as\ an?\ (?:expert\ )?prompt\ engineer\b
    """,
    re.VERBOSE,
)
_MARKUP = re.compile(
    r"```|</?(?:examples?|description|think|answer|prompt|output|positive|negative)>|\bnegative(?:\s+(?:prompt|keywords|tags))?\s*:"
    r"|\"(?:positive|negative|prompt|variants)\"\s*:|\*\*|^\s*[\[{]\s*\"|^#{1,6}\s"
)
# Thai, Lao, Burmese, Khmer, Japanese, Chinese
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
_PLACEHOLDER = {"n/a", "none", "null", "nil", "undefined", "string", "todo", "tbd"}

_THOUGHT = re.compile(r"\A\s*<think>.*?</think>\s*", re.DOTALL | re.IGNORECASE)
_LANGUAGE = re.compile(r"\A[\w-]*[ \t]*\n")
_TICKED = re.compile(r"\A`([^`]*)`\Z")
_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’", "«": "»", "「": "」"}
_INVISIBLE = re.compile("[\u200b\u2060\ufeff\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def clean(text: str, label: Literal["positive", "negative"] = "positive") -> str:
    """Returns `text` without the wrapping of chat answers: code fences, quotes, a leading "Prompt:" or "Positive:" (by `label`), a closed
    `<think>` block, control and invisible characters. Inner words and line breaks stay.

    Idempotent.
    """
    kept = (char for char in _INVISIBLE.sub("", text) if char in "\n\r\t" or unicodedata.category(char) != "Cc")
    text = canonical_text("".join(kept))
    noun = rf"(?:{label}(?:\s+(?:prompt|keywords|tags))?|prompt|keywords|tags|answer|output)"
    leading = re.compile(rf"\A[*_#>\s]*(?:{_BETTER}\s+)?{noun}\s*[*_]*:[*_]*\s*", re.IGNORECASE)
    while True:
        bare = _THOUGHT.sub("", text)
        if len(bare) > 6 and bare.startswith("```") and bare.endswith("```") and "```" not in bare[3:-3]:
            bare = _LANGUAGE.sub("", bare[3:-3])
        bare = _TICKED.sub(r"\1", bare)
        bare = leading.sub("", bare)
        if len(bare) > 1 and _QUOTES.get(bare[0]) == bare[-1] and bare[0] not in bare[1:-1] and bare[-1] not in bare[1:-1]:
            bare = bare[1:-1]
        bare = canonical_text(bare)
        if bare == text:
            return text
        text = bare


def check(
    text: str,
    original: str,
    pins: Iterable[str] = (),
    token_limit: TokenLimit | None = None,
    seen: Collection[str] = (),
    *,
    negative: str = "",
    bans: Iterable[str] = (),
) -> Verdict:
    """Returns whether `text` may be a rewrite of `original`.

    `pins`: words that it must contain; `bans`: words that it must not contain. `token_limit`: the encoder's token count and limit; without
    it only the length in characters is checked. `seen`: `key`s of existing prompts; with `negative`, prompts are duplicates only where the
    negative prompts agree too.
    """
    if not any(unicodedata.category(char)[0] in "LNS" for char in text):
        return _no("empty", "the text has no words")
    flat, known = _flat(text), _flat(original)
    if flat in _PLACEHOLDER and flat != known:
        return _no("empty", f"only a placeholder: {shown(text)}")
    if is_refusal(text) and not is_refusal(original):
        return _no("refusal", f"a refusal: {shown(text)}")
    if _PREAMBLE.search(flat) and not _PREAMBLE.search(known):
        return _no("preamble", f"talks about the prompt instead of being one: {shown(text)}")
    if found := _new_markup(text, original):
        return _no("markup", f"markup left over ({found}): {shown(text)}")
    if len(text) > max(ROOM, OVER_LONG * len(original)):
        return _no("over-long", f"{len(text)} characters, {max(ROOM, OVER_LONG * len(original))} allowed")
    if token_limit is not None:
        tokens, limit = token_limit(text)
        if tokens > limit:
            return _no("over-long", f"{tokens} tokens, the text encoder reads {limit}")
    for pin in pins:
        if not holds(text, pin):
            return _no("lost pin", f"lost the pinned words {pin!r}")
    for ban in bans:
        if ban.strip() and holds(text, ban):
            return _no("banned word", f"holds the banned words {ban!r}")
    if key(text, negative) in seen:
        return _no("duplicate", f"already there: {shown(text)}")
    return Verdict(ok=True)


def is_refusal(text: str) -> bool:
    """Whether `text` is a chat model's refusal to answer."""
    return bool(_REFUSAL.search(_flat(text).lstrip("\"'`*_ ")))


def holds(text: str, pin: str) -> bool:
    """Whether `text` contains the words of `pin`, whole and in order, ignoring case and the kind of blanks between them.

    In scripts written without blanks (Chinese, Japanese, Thai...) word boundaries are not visible, so any occurrence counts.
    """
    words = _folded(pin).split()
    if not words:
        return True
    before = r"(?<!\w)" if _has_edge(words[0][0]) else ""
    after = r"(?!\w)" if _has_edge(words[-1][-1]) else ""
    return re.search(before + r"\s+".join(map(re.escape, words)) + after, _folded(text)) is not None


def key(text: str, negative: str = "") -> str:
    """Returns a key that is equal for prompts with the same words in order, ignoring case, blanks and punctuation."""
    return "|".join(re.sub(r"[\s,.;:!?\"'`|]+", " ", _folded(part)).strip() for part in (text, negative))


def shown(text: str, length: int = 60) -> str:
    """Returns `text` quoted on one line, cut to about `length` characters, for a message."""
    line = " ".join(text.split())
    return repr(line if len(line) <= length else line[: length - 3] + "...")


def _no(kind: Kind, reason: str) -> Verdict:
    return Verdict(ok=False, kind=kind, reason=reason)


def _new_markup(text: str, original: str) -> str:
    known = {match.group().strip().casefold() for match in _MARKUP.finditer(original.casefold())}
    return next((found for match in _MARKUP.finditer(text.casefold()) if (found := match.group().strip()) not in known), "")


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", canonical_text(text).casefold())


def _flat(text: str) -> str:
    return " ".join(_folded(text).replace("’", "'").split())


def _has_edge(char: str) -> bool:
    return (char.isalnum() or char == "_") and not _UNSPACED.match(char)


MOST_WORDS = 200
MOST_CHARACTERS = 2000  # for scripts without blanks; the limit for prompts would depend on the parent's length
ALIKE = 0.9  # share of common words above which two instructions are duplicates
LONGEST_COMMON = 3  # words of a subject in a row, fewer for shorter subjects, that make an instruction specific to it

_OPENING = re.compile(
    r"^\s*(?:as an? (?:\w+ ){0,2}prompt engineer|to (?:refine|improve|enhance|optimi[sz]e) (?:\w+ ){0,4}(?:prompt|text|image))\b[\s,:]*",
    re.IGNORECASE,
)
"""Openings that would be a preamble in a prompt but are normal in an instruction."""

_ANY_PICTURE = (
    "a an the this that some of in on at by with without and or to for from into onto over under near next as like is are be being",
    "it its his her their he she they who which while has have having up down out off one",
    "photo photograph picture image painting drawing illustration portrait sketch render rendering art artwork style scene view shot",
    "angle background foreground light lighting",
)
_NO_SUBJECT = frozenset(word for line in _ANY_PICTURE for word in line.split())


def check_instruction(text: str, parent: str, seen: Iterable[str] = (), subjects: Sequence[str] = ()) -> Verdict:
    """Returns whether `text` may be an instruction made from `parent`.

    `seen`: instructions of the run, rejected ones included. `subjects`: prompts of the rows that it was made from; it must not name them
    unless the parent does.
    """
    verdict = check(_OPENING.sub("", text), parent)
    if not verdict.ok and verdict.kind != "over-long":
        return verdict
    if len(text.split()) > MOST_WORDS or len(text) > MOST_CHARACTERS:
        said = f"{len(text.split())} words, {len(text)} characters"
        return Verdict(False, "over-long", f"{said}; {MOST_WORDS} and {MOST_CHARACTERS} allowed")
    for other in seen:
        if key(text) == key(other) or _likeness(text, other) > ALIKE:
            return Verdict(False, "duplicate", f"already there: {shown(other)}")
    for subject in subjects:
        if _names(text, subject) and not _names(parent, subject):
            return Verdict(False, "one subject", f"is about one subject: {shown(subject)}")
    return Verdict(True)


def _likeness(text: str, other: str) -> float:
    """Returns the Jaccard similarity of the words; 0 where the directives differ, however few words those are."""
    if _demands(text) != _demands(other):
        return 0.0
    one, two = (set(re.findall(r"\w+", item.casefold())) for item in (text, other))
    return len(one & two) / len(one | two) if one | two else 1.0


def _demands(text: str) -> tuple[frozenset[str], ...]:
    directives = read(text)
    return tuple(frozenset(word.casefold() for word in words) for words in (directives.add, directives.leave, directives.negate))


def _names(text: str, subject: str) -> bool:
    """Whether `text` contains a phrase of `subject`, or all of its content words.

    Only the part before the first comma counts, since style tags follow it; words that fit any picture are ignored.
    """
    said = _stems(text)
    runs = _content(re.split(r"[,;:.!?\n]", subject.strip(), maxsplit=1)[0])
    words = {word for run in runs for word in run}
    return bool(words) and (words <= set(said) or any(phrase in f" {' '.join(said)} " for run in runs for phrase in _phrases(run)))


def _phrases(run: list[str]) -> list[str]:
    """Returns every few words in a row; a single word is not a phrase."""
    length = min(LONGEST_COMMON, len(run))
    return [f" {' '.join(run[start : start + length])} " for start in range(len(run) - length + 1 if length > 1 else 0)]


def _content(text: str) -> list[list[str]]:
    """Returns the content words, in runs uninterrupted by other words."""
    runs: list[list[str]] = [[]]
    for word in re.findall(r"\w+", text.casefold()):
        if word in _NO_SUBJECT or _stem(word) in _NO_SUBJECT:
            runs.append([])
        else:
            runs[-1].append(_stem(word))
    return [run for run in runs if run]


def _stems(text: str) -> list[str]:
    return [_stem(word) for word in re.findall(r"\w+", text.casefold())]


def _stem(word: str) -> str:
    """Returns the word without a plural s."""
    return word[:-1] if len(word) > 3 and word[-1] == "s" and word[-2] != "s" else word
