"""In-context rewriting: turns a description and a few professional prompts into keyword prompts.

AP-Adapter's first stage (Fu et al., NeurIPS 2024): its template, the most similar exemplars, positive and negative keywords. The
instruction is a parameter, since it can be learned; what preserves the user's intent (constraint, pins, guard) is fixed, so that no learned
instruction can lose it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, Field

from limner.agents import guard
from limner.agents.clause import Clause
from limner.agents.guard import TokenLimit
from limner.agents.keywords import has_marks, keywords, plain
from limner.agents.llm.base import ChatModel, Message, NoAnswer
from limner.promptdb.records import Conditioning

DEFAULT_INSTRUCTION = "Turn the description below into prompts from which Stable Diffusion draws a better image."

ROLE = (
    "You are an experienced prompt engineer: you know which words make an image model draw well. "
    "Stable Diffusion is a model that draws an image from a text prompt."
)
KEEP_CONTENT = "Keep what the description says about the image's content and style: lose no subject, change none, add none."
_FORM = (
    "Write {n} different variants. Each has a `positive` list, what should be seen, and a `negative` list, what should not be seen. "
    "Both are keywords and short phrases separated by commas, the most important first, at most 40 words each. "
    'Answer with JSON alone: {{"variants": [{{"positive": "...", "negative": "..."}}]}}'
)
_OUR_TAGS = re.compile(r"</?(?:example|description)s?>", re.IGNORECASE)


class KeywordPrompt(BaseModel):
    """A prompt as two keyword lists."""

    positive: str = Field(description="what should be seen: keywords and short phrases, separated by commas")
    negative: str = Field(description="what should not be seen: keywords and short phrases, separated by commas; may be empty")


class Rewrites(BaseModel):
    """The rewritten prompts."""

    variants: list[KeywordPrompt]


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A professional prompt and a description of what it depicts, which may be empty."""

    description: str
    positive: str
    negative: str = ""


@dataclass(frozen=True, slots=True)
class Rewrite:
    """One rewritten prompt. `fallback`: it is the user's own, for want of a usable rewrite. `notes`: reasons and repairs, a line each."""

    conditioning: Conditioning
    fallback: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rewritten:
    """The rewrites of one prompt, in the model's order; never empty.

    `dropped`: counts of rejected rewrites by the guard's kinds, and of "negative" (an unusable negative list; the rewrite stays) and "no
    answer".
    """

    rewrites: tuple[Rewrite, ...]
    dropped: Mapping[str, int] = field(default_factory=dict)

    @property
    def fallback(self) -> bool:
        """Whether the only rewrite is the user's own prompt."""
        return self.rewrites[0].fallback

    def __iter__(self) -> Iterator[Rewrite]:
        return iter(self.rewrites)

    def __len__(self) -> int:
        return len(self.rewrites)

    def __getitem__(self, index: int) -> Rewrite:
        return self.rewrites[index]


def rewrite(
    chat: ChatModel,
    prompt: str,
    exemplars: Sequence[Exemplar],
    n: int,
    instruction: str = DEFAULT_INSTRUCTION,
    pins: Sequence[str] = (),
    *,
    token_limit: TokenLimit | None = None,
    temperature: float = 0.7,
    seed: int | None = None,
    bans: Sequence[str] = (),
    automatic: Sequence[Clause] = (),
    modifiers: Callable[[], Sequence[str]] = tuple,
) -> Rewritten:
    """Returns up to `n` distinct rewrites of `prompt` that pass the guard; the prompt itself, marked as fallback, where none does.

    `exemplars`: most similar first. `pins`: words that every rewrite must contain; `bans`: words that none may contain; `automatic`: what
    the prompt keeps by itself. `token_limit`: the text encoder's token count and limit; keywords over it are cut from the end, and the
    rewrite's notes give their number. `seed`: another value asks again instead of using a stored answer. `modifiers`: gives words that fit
    any subject; where the first answer only repeats the prompt, the model is asked once more with them. Raises BudgetSpent, and BadInput
    where the chat server refuses the key or model.
    """

    def asked(words: Sequence[str]) -> Rewritten:
        page = messages(prompt, exemplars, n, instruction, pins, bans, automatic, words)
        try:
            answer = chat.ask(page, Rewrites, temperature=temperature, seed=seed)
        except NoAnswer as error:
            return Rewritten((Rewrite(Conditioning(prompt), fallback=True, notes=(error.reason,)),), {"no answer": 1})
        return _judged(answer, prompt, n, Kept(tuple(pins), tuple(bans), tuple(automatic)), token_limit)

    first = asked(())
    if not first.fallback or not first.dropped.keys() <= {"duplicate"} or not (words := modifiers()):
        return first
    return asked(words)


@dataclass(frozen=True, slots=True)
class Kept:
    """What every rewrite must keep: `pins`, `bans` and the clauses that the prompt makes by itself."""

    pins: tuple[str, ...] = ()
    bans: tuple[str, ...] = ()
    automatic: tuple[Clause, ...] = ()

    def concerns(self, keyword: str) -> bool:
        """Whether a keyword holds words that must stay."""
        return any(guard.holds(keyword, pin) for pin in self.pins) or any(item.concerns(keyword) for item in self.automatic)

    def negated_by(self, keyword: str) -> bool:
        """Whether a keyword of a negative prompt names what must stay."""
        pinned = (*self.pins, *(item.words for item in self.automatic if not item.is_ban))
        return any(guard.holds(keyword, pin) for pin in pinned)

    def check(self, text: str, prompt: str) -> guard.Verdict:
        """Returns whether a text may be a rewrite of the prompt."""
        verdict = guard.check(text, prompt, self.pins, bans=self.bans)
        broken = next((item for item in self.automatic if item.broken_by(text)), None)
        if not verdict.ok or broken is None:
            return verdict
        kind: guard.Kind = "banned word" if broken.is_ban else "lost pin"
        return guard.Verdict(False, kind, f"{'holds' if broken.is_ban else 'lost'} {broken.words!r} ({broken.kind})")


def _judged(answer: Rewrites, prompt: str, n: int, keep: Kept, token_limit: TokenLimit | None) -> Rewritten:
    """Returns the variants of an answer that pass the guard, at most `n`."""
    kept: list[Rewrite] = []
    dropped: Counter[str] = Counter()
    reasons: list[str] = []
    seen = {guard.key(prompt)}
    for variant in answer.variants:
        if len(kept) == n:
            break
        candidate, verdict = _candidate(variant, prompt, keep, token_limit, seen)
        if not verdict.ok:
            dropped[verdict.kind or "unknown"] += 1
            reasons.append(verdict.reason)
            continue
        dropped["negative"] += any(note.startswith("negative prompt dropped") for note in candidate.notes)
        seen.add(guard.key(candidate.conditioning.text, candidate.conditioning.negative))
        kept.append(candidate)
    if not kept:
        kept.append(Rewrite(Conditioning(prompt), fallback=True, notes=tuple(reasons[:3]) or ("the answer held no variant",)))
    return Rewritten(tuple(kept), dict(+dropped))


def messages(
    prompt: str,
    exemplars: Sequence[Exemplar],
    n: int,
    instruction: str,
    pins: Sequence[str],
    bans: Sequence[str] = (),
    automatic: Sequence[Clause] = (),
    modifiers: Sequence[str] = (),
) -> list[Message]:
    """Returns the messages to the chat model. The most similar exemplar is the last, next to the description."""
    shown = [Exemplar(*(_one_line(plain(text)) for text in (item.description, item.positive, item.negative))) for item in exemplars]
    parts = [instruction.strip() or DEFAULT_INSTRUCTION, KEEP_CONTENT]
    kept = [item.wording for item in automatic if not item.is_ban]
    unwanted = [*bans, *(item.wording for item in automatic if item.is_ban)]
    if told := dict.fromkeys((*pins, *kept)):
        parts.append("Every positive list must hold these words unchanged: " + "; ".join(f'"{_one_line(pin)}"' for pin in told))
    if unwanted:
        parts.append("No positive list may hold any of these words: " + "; ".join(f'"{_one_line(ban)}"' for ban in unwanted))
    if shown:
        parts.append("Follow the manner of these examples, not their subjects:")
        parts.extend(_example(item) for item in reversed(shown))
    if modifiers:
        parts.append("Add some of these words, which professionals use for any subject: " + "; ".join(map(_one_line, modifiers)))
    parts.append(f"<description>\n{_OUR_TAGS.sub('', prompt).strip()}\n</description>")
    parts.append(_FORM.format(n=n))
    facts: dict[str, Any] = {
        "task": "rewrite",
        "description": prompt,
        "exemplars": [{"description": item.description, "positive": item.positive, "negative": item.negative} for item in shown],
        "n": n,
        "instruction": instruction,
        "pins": list(pins),
    }
    if kept:
        facts["kept"] = kept
    if unwanted:
        facts["bans"] = unwanted
    if modifiers:
        facts["modifiers"] = list(modifiers)
    return [Message("system", ROLE), Message("user", "\n\n".join(parts), facts)]


def _example(item: Exemplar) -> str:
    lines = [f"Description: {item.description}"] if item.description else []
    lines += [f"Positive: {item.positive}", f"Negative: {item.negative}"]
    return "\n".join(["<example>", *lines, "</example>"])


def _one_line(text: str) -> str:
    """Returns the text on one line without this module's own tags, which must not end an example early."""
    return " ".join(_OUR_TAGS.sub(" ", text).split())


def _candidate(
    variant: KeywordPrompt, prompt: str, keep: Kept, token_limit: TokenLimit | None, seen: set[str]
) -> tuple[Rewrite, guard.Verdict]:
    notes: list[str] = []
    positive = _listed(guard.clean(variant.positive), prompt)
    verdict = keep.check(", ".join(positive), prompt)
    if not verdict.ok:
        return Rewrite(Conditioning(prompt)), verdict
    text = _fitted(positive, keep, token_limit, "prompt", notes)
    negative = _negative(variant.negative, prompt, keep, token_limit, notes)
    verdict = keep.check(text, prompt)
    if verdict.ok:
        verdict = guard.check(text, prompt, keep.pins, token_limit, seen, negative=negative)
    return Rewrite(Conditioning(text, negative), notes=tuple(notes)), verdict


def _negative(answer: str, prompt: str, keep: Kept, token_limit: TokenLimit | None, notes: list[str]) -> str:
    """Returns a usable negative list, or '': an unusable one does not invalidate the prompt."""
    listed = _listed(guard.clean(answer, "negative"), prompt)
    verdict = guard.check(", ".join(listed), prompt)
    if verdict.kind == "empty":
        return ""
    if not verdict.ok:
        notes.append(f"negative prompt dropped: {verdict.reason}")
        return ""
    text = _fitted([word for word in listed if not keep.negated_by(word)], Kept(), token_limit, "negative prompt", notes)
    if token_limit is not None and (count := token_limit(text)) and count[0] > count[1]:
        notes.append("negative prompt dropped: longer than the text encoder reads")
        return ""
    return text


def _listed(answer: str, prompt: str) -> list[str]:
    """Returns the keywords of an answer, without weighting syntax unless the user writes it too."""
    return keywords(answer if has_marks(prompt) else plain(answer))


def _fitted(listed: list[str], keep: Kept, token_limit: TokenLimit | None, what: str, notes: list[str]) -> str:
    """Returns the list as text, cut from the end by whole keywords to the encoder's limit; keywords that must be kept stay."""
    left = list(listed)
    while token_limit is not None and len(left) > 1:
        tokens, limit = token_limit(", ".join(left))
        loose = [index for index, word in enumerate(left) if not keep.concerns(word)]
        if tokens <= limit or not loose:
            break
        del left[loose[-1]]
    if len(left) < len(listed):
        notes.append(f"{what} cut to the text encoder's limit: {len(listed) - len(left)} of {len(listed)} keywords left out")
    return ", ".join(left)
