"""A conversation about a picture, as a state machine:

    listen (pause) -> understand (-> consult <-> tools) -> act -> (draw | solve | settle | compare | vote | find) -> record -> listen

`listen` is a node of its own, because a node with an interrupt runs again from its top. What is said is understood by rules, or by the
chat model where one is configured; either way it becomes actions, and only the nodes here act. Nodes are thin.
"""

from __future__ import annotations

from typing import Any, Literal, cast

from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command, interrupt

from agents.actions import Action
from graph import chat_draw, chat_work
from graph.allowance import difference
from graph.chat_consult import FORGET, PLAIN, after_tools, by_rules, consult, has_model
from graph.chat_desk import desk_of, open_topic, pause, recall, saved
from graph.chat_state import ChatState, Reply, Topic
from graph.chat_tools import tool_node
from graph.chat_topic import Step, apply
from graph.chat_words import tell_lines
from graph.nodes import Update, emitter, node, stop_if_asked, tell
from graph.studio import Desk
from promptdb.errors import BadInput
from promptdb.turns import Turn, TurnPicture, Turns
from tools.budget import BudgetSpent

WORK = ("draw", "solve", "settle", "compare", "vote", "find", "status")
Work = Literal["draw", "solve", "settle", "compare", "vote", "find", "status", "record"]


def build_chat(context: type[Desk] | None = Desk) -> StateGraph[ChatState, Desk, ChatState, ChatState]:
    """The graph, not yet compiled: who runs it chooses where its state is kept. `context`: None under a server, whose clients hand in JSON
    and no desk."""
    graph = StateGraph(ChatState, context_schema=cast(type[Desk], context))
    steps: dict[str, Any] = {"open": open_thread, "listen": listen, "understand": understand}
    steps |= {"consult": consult, "tools": tool_node(), "noted": after_tools}
    steps |= {"act": act, "draw": draw, "solve": solve, "settle": settle, "compare": compare, "vote": vote, "find": find}
    steps |= {"status": status, "record": record}
    for name, step in steps.items():
        graph.add_node(name, step)
    for before, after in ((START, "open"), ("open", "listen"), ("listen", "understand"), ("tools", "noted"), ("record", "listen")):
        graph.add_edge(before, after)
    for name in WORK:
        graph.add_edge(name, "record")
    return graph


def open_thread(state: ChatState, runtime: Runtime[Desk]) -> Update:
    """What a new thread begins with; one that goes on keeps what it has."""
    desk = desk_of(runtime)
    return {"thread": desk.thread, "topic": state.get("topic") or open_topic(desk), "turn": state.get("turn", 0), "lines": []}


def listen(state: ChatState, runtime: Runtime[Desk]) -> Update:
    """Pause until the person answers: in words, or with an action of their choice."""
    reply = interrupt(pause(state, desk_of(runtime)), response_schema=Reply)
    reply = reply if isinstance(reply, Reply) else Reply.model_validate(reply)
    actions = [reply.action.model_dump()] if reply.action else []
    said = reply.text or (reply.action.kind if reply.action else "")
    place = state["topic"]["place"]
    return {
        "said": said,
        "actions": actions,
        "parent": place,
        "lines": [],
        "told": "",
        "work": {},
        "candidates": [],
        "dropped": [],
        **FORGET,
    }


@node("understand")
def _understand(state: ChatState, runtime: Runtime[Desk]) -> Update:
    desk = desk_of(runtime)
    turn = Turns(desk.studio.db, desk.thread).last() + 1
    actions = state["actions"] or [action.model_dump() for action in by_rules(state, desk)]
    sure = bool(state["actions"]) or (len(actions) == 1 and actions[0]["kind"] in PLAIN)
    if not sure and has_model(desk, state["topic"]):
        actions = []
    else:
        runtime.stream_writer({"kind": "understood", "actions": actions})
    note = ", ".join(row["kind"] for row in actions) or "asks the chat model"
    return {"turn": turn, "actions": actions, "before": _spent(desk, state["topic"]), "note": note}


def understand(state: ChatState, runtime: Runtime[Desk]) -> Command[Literal["consult", "act"]]:
    """What the person wants, as actions: by rules, or by the chat model where one is configured and the rules are not sure."""
    update = _understand(state, runtime)
    return Command(goto="act" if update["actions"] else "consult", update=update)


@node("act")
def _act(state: ChatState, runtime: Runtime[Desk]) -> Update:
    desk = desk_of(runtime)
    step = Step(state["topic"], tuple(state["lines"]))
    for row in state["actions"]:
        try:
            step = apply(step, Action.model_validate(row), lambda action: recall(desk, state["parent"], action))
        except BadInput as error:
            step = step.then(_sentence(error))
    told = tell_lines(runtime, state.get("told", ""), step.lines)
    return {"topic": step.topic, "lines": list(step.lines), "told": told, "work": step.work, "note": step.work.get("kind", "")}


def act(state: ChatState, runtime: Runtime[Desk]) -> Command[Work]:
    """Change the topic as was asked, and go where the work is."""
    update = _act(state, runtime)
    kind = update["work"].get("kind", "record")
    goto: Any = "draw" if kind in ("draft", "more", "open") else kind
    return Command(goto=goto, update=update)


@node("draw")
def draw(state: ChatState, runtime: Runtime[Desk]) -> Update:
    """Draft candidates, or take the one to be varied; draw, score, show."""
    desk, topic, work = desk_of(runtime), state["topic"], state["work"]
    try:
        context = saved(desk, topic)
        if work["kind"] == "open":
            return {"note": "nothing to draw yet"}
        fresh = work["kind"] == "more" or work.get("fresh")
        count = chat_draw.WIDTH if work["kind"] == "more" else context.settings.search_seeds
        seeds = list(range(topic["seed"], topic["seed"] + count)) if fresh else context.settings.search
        with desk.studio.at_work:
            if work["kind"] == "more" and topic["base"] is not None:
                shown, dropped, lines = chat_draw.more_of(context, topic, topic["base"], seeds, emitter(runtime))
            else:
                rows, refused, said = chat_draw.draft(context, topic, state["turn"])
                stop_if_asked(runtime)
                shown, dropped, lines = chat_draw.round_of(context, topic, rows, seeds, emitter(runtime))
                dropped, lines = refused + dropped, said + lines
    except BadInput as error:
        return {"lines": [_sentence(error)], "topic": _as_before(state, desk), "note": "refused"}
    for lost in dropped:
        tell(runtime, {"kind": "dropped", **lost})
    if refusals := ", ".join(f"{row['count']} x {row['reason']}" for row in dropped):
        lines = [f"Refused: {refusals}.", *lines]
    name = context.evaluator.objective.name
    if shown:
        best = shown[0]["scores"].get(name)
        number = f" ({name} {best:.3f}, on the seeds that it was chosen by)" if best is not None else ""
        lines = [f"{len(shown)} pictures; number 1 scores best{number}. Pick one, say what to change, or accept.", *lines]
    after: Topic = {**topic, "shown": shown or topic["shown"], "seed": topic["seed"] + count if fresh else topic["seed"], "asked": ""}
    runtime.stream_writer({"kind": "shown", "images": shown})
    return {"topic": after, "dropped": dropped, "lines": state["lines"] + lines, "note": f"{len(shown)} pictures"}


@node("solve")
def solve(state: ChatState, runtime: Runtime[Desk]) -> Update:
    """Run a method with a part of the purse."""
    desk, work = desk_of(runtime), state["work"]
    run = f"{desk.thread}-{state['turn']}"

    def hear(event: Any) -> None:
        runtime.stream_writer(event)
        if event.get("kind") != "drawn":
            stop_if_asked(runtime)

    try:
        with desk.studio.at_work:
            topic, lines = chat_work.solve(saved(desk, state["topic"]), state["topic"], work["method"], work["images"], run, hear)
    except (BadInput, BudgetSpent) as error:
        return _refused(state, error)
    runtime.stream_writer({"kind": "shown", "images": topic["shown"]})
    return {"topic": topic, "lines": state["lines"] + lines, "note": work["method"]}


@node("settle")
def settle(state: ChatState, runtime: Runtime[Desk]) -> Update:
    """Accept, with a check on held-out seeds where the purse pays for it."""
    desk = desk_of(runtime)
    try:
        with desk.studio.at_work:
            accepted, lines = chat_work.settle(saved(desk, state["topic"]), state["topic"], emitter(runtime))
    except (BadInput, BudgetSpent) as error:
        return _refused(state, error)
    runtime.stream_writer({"kind": "accepted", "result": accepted})
    topic: Topic = {**state["topic"], "accepted": accepted}
    return {"topic": topic, "lines": state["lines"] + lines, "note": "improved" if accepted["improved"] else "no sure gain"}


@node("compare")
def compare(state: ChatState, runtime: Runtime[Desk]) -> Update:
    """Put two pictures side by side, without saying which is which."""
    desk, work = desk_of(runtime), state["work"]
    try:
        with desk.studio.at_work:
            context = saved(desk, state["topic"])
            found = chat_work.pair_for(context, state["topic"], work["image"], work["other"], state["turn"], desk.thread, emitter(runtime))
    except (BadInput, BudgetSpent) as error:
        return _refused(state, error)
    pair, seed = found
    runtime.stream_writer({"kind": "pair", "images": {side: pair[side]["image"] for side in ("left", "right")}})
    lines = [*state["lines"], "Which is better: left, right, or a tie?"]
    return {"topic": {**state["topic"], "pair": pair, "seed": seed}, "lines": lines}


@node("vote")
def vote(state: ChatState, runtime: Runtime[Desk]) -> Update:
    """Keep the vote; then say who was who."""
    desk, topic = desk_of(runtime), state["topic"]
    try:
        context = saved(desk, topic)
        table, lines = chat_work.vote(context, topic, state["work"]["choice"], desk.thread)
    except BadInput as error:
        return _refused(state, error)
    rows = chat_work.strength_rows(context, topic, table)
    runtime.stream_writer({"kind": "strengths", "rows": rows})
    return {"topic": {**topic, "pair": None}, "lines": state["lines"] + lines + chat_work.vote_lines(rows)}


@node("find")
def find(state: ChatState, runtime: Runtime[Desk]) -> Update:
    """Look into the prompt database."""
    desk = desk_of(runtime)
    rows, lines = chat_work.find(saved(desk, state["topic"]), state["work"]["text"])
    runtime.stream_writer({"kind": "found", "prompts": rows})
    return {"lines": state["lines"] + lines, "note": f"{len(rows)} prompts"}


@node("status")
def status(state: ChatState, runtime: Runtime[Desk]) -> Update:
    desk = desk_of(runtime)
    return {"lines": state["lines"] + chat_work.status(saved(desk, state["topic"]), state["topic"])}


@node("record")
def record(state: ChatState, runtime: Runtime[Desk]) -> Update:
    """Keep the turn: its text, its pictures with their scores, what it cost, and what the conversation is about now."""
    desk, turn = desk_of(runtime), state["turn"]
    topic: Topic = {**state["topic"], "place": turn}
    reply = "\n".join(state["lines"]) or "All right."
    tell_lines(runtime, state.get("told", ""), reply.splitlines())
    cost = difference(_spent(desk, topic), state["before"])
    pictures = [TurnPicture(row["number"], row["drawing"], row["scores"]) for row in topic["shown"]]
    parent = _parent(state, desk)
    Turns(desk.studio.db, desk.thread).add(Turn(desk.thread, turn, parent, state["said"], reply, state["actions"], cost, topic, pictures))
    runtime.stream_writer({"kind": "reply", "text": reply, "turn": turn})
    return {"topic": topic, "lines": reply.splitlines()}


def _parent(state: ChatState, desk: Desk) -> int:
    """The turn this one goes on from: after an undo, the one that was gone back to."""
    return state["topic"]["place"] if any(row["kind"] == "undo" for row in state["actions"]) else state["parent"]


def _spent(desk: Desk, topic: Topic) -> dict[str, float]:
    return desk.purse(topic["cap"]).used()


def _refused(state: ChatState, error: Exception) -> Update:
    return {"lines": [*state["lines"], _sentence(error)], "note": "refused"}


def _as_before(state: ChatState, desk: Desk) -> Topic:
    """The topic without the change that could not be drawn, such as a checkpoint that is not there."""
    before = Turns(desk.studio.db, desk.thread).get(state["parent"])
    return {**(before.document if before else open_topic(desk)), "cap": state["topic"]["cap"]}  # type: ignore[typeddict-item]


def _sentence(error: Exception) -> str:
    text = str(error)
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")
