"""Applies a person's actions to the topic of a conversation, before anything is drawn. Pure: values in, values out.

Each action changes the topic, adds to the reply, and may call for work: draft, more, solve, settle, compare, vote, find. Of several kinds
of work in one turn the last one is done; a turn that changes the prompt is drawn once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from limner.agents.chat import edits
from limner.agents.chat.actions import Action, Situation
from limner.agents.clause import told
from limner.agents.contract import Clause, Contract
from limner.agents.intent_words import clauses_of
from limner.graph.chat.state import Topic
from limner.graph.nodes import candidate_row, conditioning_of
from limner.graph.state import CandidateRow, Shown
from limner.promptdb.errors import BadInput
from limner.promptdb.records import Conditioning
from limner.tools.prompt_language.carry import avoiding, carried
from limner.tools.prompt_language.convert import written_back
from limner.tools.prompt_language.dialects import AUTO
from limner.tools.prompt_language.reader import Reading, read_prompt

Edit = Callable[[str], str | None]

HELP = """You can say, in your own words:
  what to draw: "a red car on a beach"
  2, "pick 2": go on from that picture; "accept", "accept 2": take it, with a check on fresh seeds
  "more like 3", "again": more pictures
  "keep the car, change the background to a forest", "make it blue", "add a dog", "no people"
  "in watercolor style", "use the checkpoint NAME"
  "pin red car", "ban neon", "trigger ohwx", "the car must be visible"; "unpin", "allow"
  "undo", "go back to turn 2"
  "run dpo-diff with 40 images", "optimize it": search harder, with a budget
  "spend no more than 200 images": your cap, which nothing crosses
  "compare": a blind A/B vote
  "find prompts about dragons", "status", "help\""""


@dataclass(frozen=True)
class Step:
    """The topic after some actions, the lines of the reply so far, and the work that is called for ({} for none)."""

    topic: Topic
    lines: tuple[str, ...] = ()
    work: dict[str, Any] = field(default_factory=dict)

    def then(self, *lines: str, work: dict[str, Any] | None = None, **changes: Any) -> Step:
        """Returns the step with these lines added and these fields of the topic changed. `work`: None leaves it as it is."""
        topic = cast(Topic, {**self.topic, **changes})
        return Step(topic, (*self.lines, *lines), self.work if work is None else work)


Recall = Callable[[Action], tuple[int, Topic] | None]
"""Returns the turn to which an undo goes back, and its topic; None where there is nothing before."""


def asked_for(topic: Topic) -> str:
    """Returns the person's request with the style that was asked for: the reference of every score."""
    return edits.added(topic["request"], topic["style"]) if topic["style"] else topic["request"]


def reading_of(topic: Topic) -> Reading:
    """Returns what the person typed for the topic, as it is read: weights, tags and breaks beside the request's words."""
    typed = topic.get("typed")
    return read_prompt(typed, dialect=topic.get("dialect", AUTO)) if typed else read_prompt(topic["request"], dialect="plain")


def contract_of(topic: Topic) -> Contract:
    """Returns the topic's contract, as the person asked for it."""
    return Contract.from_json(topic["contract"])


def whole_contract(topic: Topic) -> Contract:
    """Returns the topic's contract with what its request keeps by itself."""
    reading = reading_of(topic)
    return contract_of(topic).of(clauses_of(carried(reading.conditioning, Conditioning(asked_for(topic))), reading.opaque))


def kept_lines(topic: Topic) -> list[str]:
    """Returns what the request keeps by itself, in one line; nothing where there is nothing."""
    return [line[:1].upper() + line[1:] + "." for line in told(whole_contract(topic).automatic, "`unpin` or `allow`")]


def situation_of(topic: Topic, methods: Sequence[str] = (), checkpoints: Sequence[str] = ()) -> Situation:
    """Returns what the rules need to understand words about this topic. `methods`, `checkpoints`: names that may be used."""
    return Situation(
        request=topic["request"],
        shown=len(topic["shown"]),
        comparing=topic["pair"] is not None,
        asked=topic["asked"],
        methods=list(methods),
        checkpoints=list(checkpoints),
    )


def picture(topic: Topic, number: int | None) -> Shown | None:
    """Returns the picture of that number, 0 being the best; None without a number. Raises BadInput for a number that is not shown."""
    if number is None:
        return None
    if not topic["shown"]:
        raise BadInput("nothing is shown yet; say what to draw")
    if not 0 <= number <= len(topic["shown"]):
        raise BadInput(f"there is no picture {number}; there are 1 to {len(topic['shown'])}")
    return topic["shown"][max(number, 1) - 1]


def meant(topic: Topic, number: int | None) -> CandidateRow | None:
    """Returns the candidate that is meant: that of the picture `number`, else the one being worked on, else the best shown."""
    chosen = picture(topic, number)
    if chosen is not None:
        return chosen["candidate"]
    return topic["base"] or (topic["shown"][0]["candidate"] if topic["shown"] else None)


def apply(step: Step, action: Action, recall: Recall) -> Step:
    """Returns the step after one more action. Raises BadInput, in words for the person, where it cannot be done; nothing is
    changed then.
    """
    topic = step.topic
    if topic["pair"] is not None and action.kind not in ("vote", "status", "help", "unclear"):
        step = step.then(pair=None)
        topic = step.topic
    match action.kind:
        case "describe":
            return _describe(step, action)
        case "accept" | "pick":
            row = meant(topic, action.image)
            if row is None:
                raise BadInput(f"there is nothing to {action.kind} yet; say what to draw")
            if action.kind == "accept":
                return step.then(base=row, work={"kind": "settle"})
            return step.then(f"Going on from: {in_short(row, topic)}", base=row)
        case "more":
            _needs_request(topic)
            row = meant(topic, action.image) if action.image is not None or topic["base"] else None
            return step.then(base=row, work={"kind": "more"} if row else {"kind": "draft", "fresh": True})
        case "change":
            return _change(step, action)
        case "remove":
            return _remove(step, action)
        case "style":
            return _style(step, action)
        case "pin" | "trait" | "trigger" | "ban" | "unpin" | "allow":
            return _clause(step, action)
        case "undo":
            return _undo(step, action, recall)
        case "checkpoint":
            if not action.text:
                raise BadInput("which checkpoint? name a folder or a hub id")
            work = {"kind": "draft"} if topic["request"] else {"kind": "open"}
            return step.then(f"Drawing with {action.text} from now on.", checkpoint=action.text, work=work)
        case "solve":
            _needs_request(topic)
            return step.then(work={"kind": "solve", "method": action.method or "auto", "images": action.images})
        case "cap":
            if not action.images or action.images < 1:
                raise BadInput("how many pictures may be drawn in all? say `cap 200`")
            return step.then(f"At most {action.images} pictures in this conversation.", cap=action.images)
        case "compare":
            for number in (action.image, action.other):
                picture(topic, number)
            return step.then(work={"kind": "compare", "image": action.image, "other": action.other})
        case "vote":
            if topic["pair"] is None:
                raise BadInput("there is no vote under way; say `compare`")
            return step.then(work={"kind": "vote", "choice": action.choice or "tie"})
        case "find":
            return step.then(work={"kind": "find", "text": action.text})
        case "status":
            return step.then(work={"kind": "status"})
        case "help":
            return step.then(HELP)
        case _:
            return step.then(action.text or "Please say it in other words.", asked="unclear")


def _needs_request(topic: Topic) -> None:
    if not topic["request"]:
        raise BadInput("what should the picture show?")


def in_short(row: CandidateRow, topic: Topic) -> str:
    """Returns a candidate in one line, in the dialect in which the person typed."""
    text, negative = in_dialect(conditioning_of(row), topic)
    return text + (f"  (negative: {negative})" if negative else "")


def in_dialect(conditioning: Conditioning, topic: Topic) -> tuple[str, str]:
    """Returns prompt and negative prompt as the person would type them, with what was typed beside words."""
    reading = reading_of(topic)
    drawn = carried(reading.conditioning, conditioning)
    if conditioning != Conditioning(asked_for(topic)):
        drawn = avoiding(drawn, whole_contract(topic).unwanted)
    _, written = written_back(reading, drawn)
    return str(written.output), written.negative


def _describe(step: Step, action: Action) -> Step:
    reading = read_prompt(action.text, dialect=step.topic.get("dialect", AUTO))
    request = reading.conditioning.text
    if not request:
        raise BadInput("what should the picture show?")
    step = step.then(*(f"Note: {note}" for note in reading.notes), typed="" if reading.is_plain else reading.text)
    fresh: dict[str, Any] = {"request": request, "style": "", "base": None, "shown": [], "accepted": None, "asked": ""}
    step = _lifted(step.then(work={"kind": "draft"}, **fresh), given_up=False)
    return step.then(*kept_lines(step.topic))


def _change(step: Step, action: Action) -> Step:
    _needs_request(step.topic)
    if action.words:
        step = _clause(step, Action(kind="pin", words=action.words))

    def edit(text: str) -> str | None:
        if action.aspect == "colour":
            found = edits.recoloured(text, action.new, action.old)
            return found if found is not None or action.old else None
        if action.aspect == "place":
            return edits.moved(text, action.new)
        if action.aspect == "subject":
            return edits.resubjected(text, action.new)
        if not action.old:
            return edits.added(text, action.new)
        # A closer description of something that the request does not name, such as the light, is added to it.
        closer = action.new.casefold().endswith(f" {action.old.casefold()}")
        return edits.replaced(text, action.old, action.new) or (edits.added(text, action.new) if closer else None)

    if edit(step.topic["request"]) is None:
        missing = f"I do not find {action.old!r} in the request" if action.old else "I cannot tell which colour is meant"
        raise BadInput(f"{missing} ({step.topic['request']!r}); say `change A to B` with words of it, or what to draw")
    return _lifted(_edited(step, edit))


def _remove(step: Step, action: Action) -> Step:
    """Takes words out of the request and bans them, since "no people" also means that no method may bring them back."""
    for word in action.words:
        request = edits.removed(step.topic["request"], word)
        if request is not None:
            step = _edited(step, lambda text, word=word: edits.removed(text, word))  # type: ignore[misc]
    step = _clause(step, Action(kind="ban", words=action.words))
    return step.then(work={"kind": "draft"})


def _edited(step: Step, edit: Edit) -> Step:
    """Makes the same change in the request and in the prompt being worked on, so that what was found so far is not lost."""
    topic, base = step.topic, step.topic["base"]
    request = edit(topic["request"]) or topic["request"]
    if base is not None:
        conditioning = conditioning_of(base)
        text = edit(conditioning.text) if conditioning.is_plain else None
        base = candidate_row(Conditioning(text, conditioning.negative), "change", parent=base["id"]) if text else None
    return step.then(request=request, base=base, accepted=None, asked="", work={"kind": "draft"})


def _style(step: Step, action: Action) -> Step:
    _needs_request(step.topic)
    style = "" if action.text.casefold() in ("none", "no", "normal", "plain", "default", "original") else action.text
    before, base = step.topic["style"], step.topic["base"]
    if base is not None:
        conditioning = conditioning_of(base)
        text = edits.removed(conditioning.text, before) or conditioning.text if before else conditioning.text
        base = candidate_row(Conditioning(edits.added(text, style) if style else text, conditioning.negative), "change", parent=base["id"])
    return _lifted(step.then(style=style, base=base, accepted=None, work={"kind": "draft"}))


def _lifted(step: Step, given_up: bool = True) -> Step:
    """Gives up the clauses of the contract that the person's new words contradict, such as a ban of a word that they now write."""
    text, contract, lines = asked_for(step.topic), contract_of(step.topic), []
    for ban in contract.bans:
        if Contract(bans=(ban,)).breach(text):
            contract = contract.without("bans", [ban])
            lines.append(f"{ban!r} is allowed again, since you ask for it.")
    before = step.topic["contract"]["pins"]
    for pin in before if given_up else []:
        old = step.topic["shown"] or []
        if Contract(pins=(pin,)).breach(text) and any(not Contract(pins=(pin,)).breach(_text(row)) for row in old):
            contract = contract.without("pins", [pin])
            lines.append(f"{pin!r} is no longer pinned, since you change it.")
    return step.then(*lines, contract=contract.to_json())


def _text(row: Shown) -> str:
    return conditioning_of(row["candidate"]).text


_CLAUSES: dict[str, tuple[Clause, str]] = {
    "pin": ("pins", "Pinned"),
    "trigger": ("triggers", "Trigger token, kept letter by letter"),
    "trait": ("traits", "To be seen in every picture"),
    "ban": ("bans", "Banned"),
    "unpin": ("pins", "No longer pinned"),
    "allow": ("bans", "Allowed again"),
}


def _clause(step: Step, action: Action) -> Step:
    if not action.words:
        raise BadInput(f"{action.kind} which words?")
    clause, said = _CLAUSES[action.kind]
    contract = contract_of(step.topic)
    if action.kind in ("unpin", "allow"):
        changed = contract.without(clause, action.words)
        if action.kind == "unpin":
            changed = changed.without("triggers", action.words).without("traits", action.words)
        whole = whole_contract(step.topic)
        if any(item.let_go_by(action.words) for item in whole.automatic):
            changed = replace(changed, let_go=(*changed.let_go, *action.words))
        if changed == contract:
            held = ", ".join(dict.fromkeys((*getattr(contract, clause), *(item.words for item in whole.automatic)))) or "none"
            raise BadInput(f"{', '.join(action.words)} is not among them; there are: {held}")
    else:
        changed = contract.adding(clause, action.words).check()
    after = step.then(f"{said}: {', '.join(action.words)}.", contract=changed.to_json())
    if action.kind in ("ban", "pin", "trigger"):
        text = edits.removed(asked_for(step.topic), action.words[0]) if action.kind == "ban" else None
        if action.kind == "ban" and text is not None and changed.breach(asked_for(step.topic)):
            after = _edited(after, lambda said: edits.removed(said, action.words[0]))
        base = after.topic["base"]
        if base is not None and (fault := changed.breach(conditioning_of(base).text, conditioning_of(base).negative)):
            after = after.then(f"What you picked {fault[1]}, so it is drafted again.", base=None, work={"kind": "draft"})
    return after


def _undo(step: Step, action: Action, recall: Recall) -> Step:
    found = recall(action)
    if found is None:
        raise BadInput("there is nothing before that to go back to")
    place, before = found
    told = f"Back to turn {place}: {before['request']!r}." if before["request"] else "Back to the beginning."
    # The cap stays, and seeds that were drawn on are not used again.
    return step.then(told, **{**before, "cap": step.topic["cap"], "seed": max(step.topic["seed"], before["seed"]), "pair": None}, work={})
