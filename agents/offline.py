"""The deterministic stand-in for a chat model, used when no server is configured: rules and counts, no language model.

It reads nothing but the facts that come with the messages, the same evidence from which a server's text was written. Each schema
that it can fulfil has one rule; a later schema plugs in by its class name. Its results are no evidence for any claim about
language models.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError

from agents import guard
from agents.directives import read
from agents.keywords import keywords
from agents.messages import Answer, Message, NoAnswer, Usage
from agents.opposites import adds_content, agrees, contradicts
from promptdb.modifier_kinds import kind_of
from promptdb.records import content_id

Facts = Mapping[str, Any]
Rule = Callable[[Facts, random.Random], Mapping[str, Any]]
"""From the facts, and randomness that depends on nothing but them and the seed, to the fields of the schema. Raises NoAnswer."""

RULES: dict[str, Rule] = {}
"""Schema class name -> the rule that fulfils it."""

TAG_COUNTS = (3, 1, 6)  # how many tags the first variants add; more crowd out what the prompt asks for
LONGEST_TAG = 5  # words; longer segments are sentences about one picture
LEAST_VOTES = 2  # exemplars that must share a tag (AP-Adapter's stand-in without a language model)


class OfflineChat:
    """Fulfils schemas by rule. The same facts and seed give the same answer, in any process; temperature means nothing to it.

    It reaches no model, so it spends no budget and its usage stays at zero. Raises NoAnswer for a schema without a rule.
    """

    name = "offline"
    parallel = 1

    def __init__(self, rules: Mapping[str, Rule] = RULES) -> None:
        self.usage = Usage()
        self._rules = rules

    def ask(self, messages: Sequence[Message], schema: type[Answer], *, temperature: float = 0.0, seed: int | None = None) -> Answer:
        rule = self._rules.get(schema.__name__)
        if rule is None:
            raise NoAnswer(f"the offline stand-in has no rule for {schema.__name__}: set OPENAI_API_KEY or OPENAI_BASE_URL")
        facts = {name: value for message in messages for name, value in message.facts.items()}
        try:
            return schema.model_validate(rule(facts, random.Random(content_id(["offline", facts, seed]))))
        except KeyError as error:
            raise NoAnswer(f"the offline stand-in needs the fact {error} for {schema.__name__}") from error
        except ValidationError as error:
            raise NoAnswer(f"the offline rule for {schema.__name__} does not fit it: {error.errors()[0]['msg']}") from error


def rule_for(schema_name: str) -> Callable[[Rule], Rule]:
    """Registers a rule under the name of the schema class that it fulfils."""

    def register(rule: Rule) -> Rule:
        RULES[schema_name] = rule
        return rule

    return register


@rule_for("Rewrites")
def rewrites(facts: Facts, rng: random.Random) -> dict[str, Any]:
    """Keeps the description and adds what the instruction's directives ask for, then what the exemplars agree on: tags that recur across
    different subjects, most voted first; where none recurs, single words of quality, which fit any subject.

    The first variants add the best voted tags in several numbers, then without a negative, then with the tags in front; further
    ones draw tags by vote. No two add the same tags in the same way; there are fewer than asked for where little recurs.
    """
    description, exemplars = facts["description"], facts["exemplars"]
    subject = _subject(description, facts.get("pins", ()))
    told = read(facts.get("instruction", ""))
    unwanted = {word.casefold() for word in told.leave}
    banned = facts.get("bans", ())

    def fits(tag: str, chosen: list[str]) -> bool:
        return _may_add(tag, ", ".join([subject, *chosen]), exemplars)

    recurring = _recurring(exemplars, "positive", fits) or _recurring(
        exemplars, "positive", lambda tag, chosen: kind_of(tag.casefold()) == "quality" and fits(tag, chosen), least=1
    )
    asked = [tag for tag in told.add if _may_add(tag, subject, ()) and not _holds_any(tag, banned)]
    tags = {tag: len(exemplars) + 1 for tag in asked} | {
        tag: votes
        for tag, votes in recurring.items()
        if tag.casefold() not in unwanted and not contradicts(tag, ", ".join(asked)) and not _holds_any(tag, banned)
    }
    negated = [tag for tag in told.negate if _may_negate(tag, ", ".join([subject, *tags]))]
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
            continue  # the description as it was
        parts = [*plan.tags, subject] if plan.in_front else [subject, *plan.tags]
        variant = {"positive": ", ".join(parts), "negative": negative if plan.negated else ""}
        found.setdefault((frozenset(plan.tags), plan.in_front and bool(plan.tags), variant["negative"]), variant)
    return {"variants": list(found.values()) or [{"positive": subject, "negative": ""}]}


class _Plan(NamedTuple):
    """How one variant is put together: which tags, before or after the subject, with or without the negative."""

    tags: tuple[str, ...]
    in_front: bool = False
    negated: bool = True


def _plans(tags: Mapping[str, int], n: int, rng: random.Random, asked: int = 0) -> Iterator[_Plan]:
    """More than `n` plans, with repetitions where there is little to choose from. The first plans hold the `asked` first tags all."""
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
    """`count` tags without replacement, each with odds in proportion to its votes."""
    left = dict(tags)
    drawn: list[str] = []
    for _ in range(count):
        tag = rng.choices(list(left), weights=list(left.values()))[0]
        drawn.append(tag)
        del left[tag]
    return tuple(drawn)


def _subject(description: str, pins: Sequence[str]) -> str:
    """The description in keyword style: full sentences become comma-separated, their words stay. A pin that it lacks is added."""
    flat = " ".join(description.split())
    sentences = re.split(r"(?<=\w\w)[.!?;]\s+(?=\w)", flat)
    if any(len(sentence.split()) < 3 for sentence in sentences):
        sentences = [flat]  # "Mr. Smith", a list of exclamations: no sentences
    text = ", ".join(sentence.strip().removesuffix(".") for sentence in sentences)
    if any(guard.holds(flat, pin) and not guard.holds(text, pin) for pin in pins):
        text = flat
    return ", ".join([text, *(pin for pin in pins if not guard.holds(text, pin))])


def _recurring(
    exemplars: Sequence[Mapping[str, str]], part: str, allowed: Callable[[str, list[str]], bool], least: int = LEAST_VOTES
) -> dict[str, int]:
    """Tags of `part` that `least` exemplars with different subjects share, with their votes, most voted first, then as the exemplars rank.

    An exemplar has no vote for a tag that its own description explains, and exemplars of one subject have one vote together.
    `allowed` is asked about each tag and those chosen so far.
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


def _explained(tag: str, description: str) -> bool:
    """Whether the tag is about the exemplar's own subject: one of its longer words stands in the description."""
    return any(len(word) > 2 and guard.holds(description, word) for word in tag.casefold().split())


def _may_add(tag: str, text: str, exemplars: Sequence[Mapping[str, str]]) -> bool:
    """Whether a tag adds manner, not matter, to `text`: it is not there yet, opposes nothing and is nobody's subject."""
    somebodys_subject = any(guard.holds(exemplar["description"], tag) for exemplar in exemplars)
    return not (guard.holds(text, tag) or somebodys_subject or contradicts(tag, text) or adds_content(tag, text))


def _holds_any(tag: str, words: Sequence[str]) -> bool:
    return any(guard.holds(tag, word) for word in words)


def _may_negate(tag: str, text: str) -> bool:
    return not agrees(tag, text) and not adds_content(tag, text)
