"""The deterministic stand-in for a chat model, used where no server is configured: rules and counts, no language model.

It reads only the facts that come with the messages, the evidence from which a server's text was written. Each supported schema has one
rule. For learning an instruction, what strong rows have and weak rows lack becomes a directive in the instruction, which the rewriting rule
obeys. So every loop can be tried, tested and timed without a server; its results are no evidence for claims about language models.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError

from limner.agents import guard
from limner.agents.instruction_directives import Directives, read, rest
from limner.agents.keywords import keywords
from limner.agents.llm.base import Answer, Message, NoAnswer, Usage
from limner.agents.opposites import adds_content, agrees, contradicts
from limner.promptdb.records import content_id
from limner.promptdb.search.modifier_kinds import kind_of

Facts = Mapping[str, Any]
Rule = Callable[[Facts, random.Random], Mapping[str, Any]]
"""Returns the schema's fields from the facts, with randomness that depends on them and the seed alone. Raises NoAnswer."""

RULES: dict[str, Rule] = {}
"""Schema class name -> its rule."""

TAG_COUNTS = (3, 1, 6)  # tags that the first variants add; more would displace what the prompt asks for
LONGEST_TAG = 5  # words; longer segments are sentences about one picture
FORBIDDING = ("kept",)
"""Facts that suggest no tag: an answer that keeps them anyway is the same with and without them."""

LEAST_VOTES = 2  # exemplars that must share a tag (AP-Adapter's stand-in without a language model)


class OfflineChat:
    """Answers by rule. Equal facts and seed give equal answers in any process; temperature has no effect.

    It calls no model, so it spends no budget and its usage stays at zero.
    """

    name = "offline"
    parallel = 1

    def __init__(self, rules: Mapping[str, Rule] = RULES) -> None:
        self.usage = Usage()
        self._rules = rules

    def ask(self, messages: Sequence[Message], schema: type[Answer], *, temperature: float = 0.0, seed: int | None = None) -> Answer:
        """Returns the answer of the schema's rule. Raises NoAnswer where there is no rule, or the rule has no answer."""
        rule = self._rules.get(schema.__name__)
        if rule is None:
            raise NoAnswer(f"the offline stand-in has no rule for {schema.__name__}: set OPENAI_API_KEY or OPENAI_BASE_URL")
        facts = {name: value for message in messages for name, value in message.facts.items()}
        try:
            drawn_from = {name: value for name, value in facts.items() if name not in FORBIDDING}
            return schema.model_validate(rule(facts, random.Random(content_id(["offline", drawn_from, seed]))))
        except KeyError as error:
            raise NoAnswer(f"the offline stand-in needs the fact {error} for {schema.__name__}") from error
        except ValidationError as error:
            raise NoAnswer(f"the offline rule for {schema.__name__} does not fit it: {error.errors()[0]['msg']}") from error


def rule_for(schema_name: str) -> Callable[[Rule], Rule]:
    """Returns a decorator that registers a rule for the schema class of that name."""

    def register(rule: Rule) -> Rule:
        RULES[schema_name] = rule
        return rule

    return register


@rule_for("Rewrites")
def rewrites(facts: Facts, rng: random.Random) -> dict[str, Any]:
    """Writes variants of the description with the tags of the instruction's directives, then tags that recur in exemplars of different
    subjects.

    Tags with more votes come first; where none recurs, single quality words are used, else the modifiers offered for any subject. The first
    variants add the best tags in several numbers, then without a negative prompt, then with the tags in front; further ones draw tags by
    vote. No two variants add the same tags in the same way, so there are fewer than asked for where little recurs.
    """
    description, exemplars = facts["description"], facts["exemplars"]
    subject = _subject(description, facts.get("pins", ()), facts.get("kept", ()))
    directives = read(facts.get("instruction", ""))
    unwanted = {word.casefold() for word in directives.leave}
    banned = facts.get("bans", ())

    def fits(tag: str, chosen: list[str]) -> bool:
        return _may_add(tag, ", ".join([subject, *chosen]), exemplars)

    recurring = _recurring(exemplars, "positive", fits) or _recurring(
        exemplars, "positive", lambda tag, chosen: kind_of(tag.casefold()) == "quality" and fits(tag, chosen), least=1
    )
    recurring = recurring or _offered(facts.get("modifiers", ()), fits)
    asked = [tag for tag in directives.add if _may_add(tag, subject, ()) and not _holds_any(tag, banned)]
    tags = {tag: len(exemplars) + 1 for tag in asked} | {
        tag: votes
        for tag, votes in recurring.items()
        if tag.casefold() not in unwanted and not contradicts(tag, ", ".join(asked)) and not _holds_any(tag, banned)
    }
    negated = [tag for tag in directives.negate if _may_negate(tag, ", ".join([subject, *tags]))]
    negated += [
        tag
        for tag in _recurring(exemplars, "negative", lambda tag, _: _may_negate(tag, ", ".join([subject, *tags])))
        if tag.casefold() not in unwanted
    ]
    negative = ", ".join(keywords(", ".join(negated)))
    found: dict[object, dict[str, str]] = {}
    for plan in _plans(tags, facts["n"], rng, len(asked)):
        if len(found) == facts["n"]:
            break
        if not plan.tags and not (plan.negated and negative):
            continue  # equals the description
        parts = [*plan.tags, subject] if plan.in_front else [subject, *plan.tags]
        variant = {"positive": ", ".join(parts), "negative": negative if plan.negated else ""}
        found.setdefault((frozenset(plan.tags), plan.in_front and bool(plan.tags), variant["negative"]), variant)
    return {"variants": list(found.values()) or [{"positive": subject, "negative": ""}]}


class _Plan(NamedTuple):
    """How a variant is composed: which tags, before or after the subject, with or without the negative prompt."""

    tags: tuple[str, ...]
    in_front: bool = False
    negated: bool = True


def _plans(tags: Mapping[str, int], n: int, rng: random.Random, asked: int = 0) -> Iterator[_Plan]:
    """Yields more than `n` plans, with repetitions where there is little choice. The first plans have all of the first `asked` tags."""
    voted = tuple(tags)
    for count in TAG_COUNTS:
        yield _Plan(voted[: max(count, asked)])
    first = voted[: max(TAG_COUNTS[0], asked)]
    yield _Plan(first, negated=False)
    yield _Plan(first, in_front=True)
    for _ in range(20 * n):
        count = rng.randint(0, min(max(TAG_COUNTS), len(voted)))
        yield _Plan(_drawn(tags, count, rng), in_front=rng.random() < 0.25, negated=rng.random() < 0.75)


def _drawn(tags: Mapping[str, int], count: int, rng: random.Random) -> tuple[str, ...]:
    """Draws `count` tags without replacement, with probabilities proportional to their votes."""
    left = dict(tags)
    drawn: list[str] = []
    for _ in range(count):
        tag = rng.choices(list(left), weights=list(left.values()))[0]
        drawn.append(tag)
        del left[tag]
    return tuple(drawn)


def _subject(description: str, pins: Sequence[str], kept: Sequence[str] = ()) -> str:
    """Returns the description as keywords: sentences become comma-separated, their words stay; missing pins are appended.

    `kept`: words of the description that stay as they are.
    """
    flat = " ".join(description.split())
    sentences = re.split(r"(?<=\w\w)[.!?;]\s+(?=\w)", flat)
    if any(len(sentence.split()) < 3 for sentence in sentences):
        sentences = [flat]  # not sentences: "Mr. Smith", a list of exclamations
    text = ", ".join(sentence.strip().removesuffix(".") for sentence in sentences)
    if any(guard.holds(flat, pin) and not guard.holds(text, pin) for pin in (*pins, *kept)):
        text = flat
    return ", ".join([text, *(pin for pin in pins if not guard.holds(text, pin))])


def _recurring(
    exemplars: Sequence[Mapping[str, str]], part: str, allowed: Callable[[str, list[str]], bool], least: int = LEAST_VOTES
) -> dict[str, int]:
    """Returns tags of `part` that `least` exemplars with different subjects share, with their votes: most votes first, then by exemplar
    rank.

    An exemplar does not vote for a tag that its own description explains, and exemplars of one subject have one vote together. `allowed`:
    called with each tag and those chosen so far.
    """
    voters: dict[str, set[str]] = {}
    spelling: dict[str, str] = {}
    for exemplar in exemplars:
        own = guard.key(exemplar["description"] or next(iter(keywords(exemplar["positive"])), ""))
        for tag in keywords(exemplar[part]):
            name = tag.casefold()
            if len(tag.split()) <= LONGEST_TAG and not _explained(tag, own):
                voters.setdefault(name, set()).add(own)
                spelling.setdefault(name, tag)
    ranked = sorted((name for name in voters if len(voters[name]) >= least), key=lambda name: -len(voters[name]))
    chosen: dict[str, int] = {}
    for name in ranked:
        if allowed(spelling[name], list(chosen)):
            chosen[spelling[name]] = len(voters[name])
    return chosen


def _offered(modifiers: Sequence[str], allowed: Callable[[str, list[str]], bool]) -> dict[str, int]:
    """Returns those of the modifiers that may be added together, one vote each."""
    chosen: dict[str, int] = {}
    for tag in modifiers:
        if allowed(tag, list(chosen)):
            chosen[tag] = 1
    return chosen


def _explained(tag: str, description: str) -> bool:
    """Whether the tag is about the exemplar's own subject: one of its longer words occurs in the description."""
    return any(len(word) > 2 and guard.holds(description, word) for word in tag.casefold().split())


def _may_add(tag: str, text: str, exemplars: Sequence[Mapping[str, str]]) -> bool:
    """Whether a tag adds style and not content to `text`: it is new, contradicts nothing and is no exemplar's subject."""
    somebodys_subject = any(guard.holds(exemplar["description"], tag) for exemplar in exemplars)
    return not (guard.holds(text, tag) or somebodys_subject or contradicts(tag, text) or adds_content(tag, text))


def _holds_any(tag: str, words: Sequence[str]) -> bool:
    return any(guard.holds(tag, word) for word in words)


def _may_negate(tag: str, text: str) -> bool:
    return not agrees(tag, text) and not adds_content(tag, text)


AT_ONCE = 2  # most words in one finding

Row = Mapping[str, Any]


def findings(facts: Facts, rng: random.Random) -> dict[str, Any]:
    """Finds words that strong rows have and weak rows for the same prompts lack, and the reverse, weighted by the difference in score.

    Raises NoAnswer where there is no difference.
    """
    low, high = facts["low"], facts["high"]
    known = read(facts["instruction"])
    gained, lost, negated = _contrasts(low, high)
    add = [word for word in gained if word not in _folded(known.add)]
    leave = [word for word in lost if word not in _folded(known.leave)]
    negate = [word for word in negated if word not in _folded(known.negate)]
    found = [
        *_findings("The high group says what the low group leaves unsaid", [Directives(add=part) for part in _parts(add)]),
        *_findings("The high group rules out what the low group lets happen", [Directives(negate=part) for part in _parts(negate)]),
        *_findings("The low group spends words that the high group does without", [Directives(leave=part) for part in _parts(leave)]),
    ]
    if not found:
        raise NoAnswer("the offline stand-in sees no difference between the groups")
    shuffled = list(found)
    rng.shuffle(shuffled)
    chosen = [*(row for row in found if row["rank"] == 0), *(row for row in shuffled if row["rank"] > 0)][: facts["n"]]
    return {"findings": [{"inference": row["inference"], "improvement": row["improvement"]} for row in chosen]}


def new_instruction(facts: Facts, rng: random.Random) -> dict[str, str]:
    """Returns the instruction with the improvement's directives merged in; without an improvement, with one of its own directives dropped.

    Raises NoAnswer for a paraphrase, which the stand-in cannot write, and where there is no directive to drop.
    """
    if facts["task"] == "paraphrase":
        raise NoAnswer("the offline stand-in cannot paraphrase")
    instruction = facts["instruction"]
    have = read(instruction)
    wanted = read(facts.get("improvement", ""))
    if wanted:
        return {"instruction": _joined(rest(instruction), have.merged(wanted))}
    words = [(name, word) for name in ("add", "leave", "negate") for word in getattr(have, name)]
    if not words:
        raise NoAnswer("the offline stand-in finds no directive that it could change")
    name, word = rng.choice(words)
    fewer = {key: tuple(item for item in getattr(have, key) if (key, item) != (name, word)) for key in ("add", "leave", "negate")}
    return {"instruction": _joined(rest(instruction), Directives(**fewer))}


ALL_RULES: dict[str, Rule] = {**RULES, "Findings": findings, "NewInstruction": new_instruction}
"""All rules of the stand-in."""


def _contrasts(low: Sequence[Row], high: Sequence[Row]) -> tuple[list[str], list[str], list[str]]:
    """Returns words that strong rows add, that they leave out, and that they negate, those with the largest difference first."""
    gained, lost, negated = defaultdict[str, float](float), defaultdict[str, float](float), defaultdict[str, float](float)
    for weak, strong in zip(low, high, strict=True):
        if (step := strong["score"] - weak["score"]) <= 0:
            continue
        have, better = _manner(weak), _manner(strong)
        for word in better - have:
            gained[word] += step
        for word in have - better:
            lost[word] += step
        for word in set(_tags(strong["negative"])) - set(_tags(weak["negative"])):
            negated[word] += step
    return _ranked(gained), _ranked(lost), _ranked(negated)


def _ranked(weights: Mapping[str, float]) -> list[str]:
    return sorted(weights, key=lambda word: (-weights[word], word))


def _manner(row: Row) -> set[str]:
    """Returns the short keywords of a row that are not about its prompt."""
    return {word for word in _tags(row["positive"]) if not guard.holds(row["prompt"], word) and word != row["prompt"].casefold()}


def _tags(text: str) -> list[str]:
    """Returns the short keywords that a directive can quote."""
    short = (word.casefold() for word in keywords(text) if len(word.split()) <= LONGEST_TAG)
    return [word for word in short if read((one := Directives(add=(word,))).text()) == one]


def _folded(words: Sequence[str]) -> set[str]:
    return {word.casefold() for word in words}


def _parts(words: list[str]) -> list[tuple[str, ...]]:
    return [tuple(words[start : start + AT_ONCE]) for start in range(0, len(words), AT_ONCE)][:3]


def _findings(inference: str, directives: Sequence[Directives]) -> list[dict[str, Any]]:
    return [{"inference": inference, "improvement": item.text(), "rank": rank} for rank, item in enumerate(directives)]


def _joined(text: str, directives: Directives) -> str:
    return f"{text} {directives.text()}".strip()
