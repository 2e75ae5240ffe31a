"""A conversation about a picture, as a state machine:

    listen (pause) -> understand (-> consult <-> tools) -> act -> (draw | solve | settle | compare | vote | find) -> record -> listen

`listen` is a node of its own, because a node with an interrupt runs again from its top. What is said is understood by rules, or by the
chat model where one is configured; either way it becomes actions, and only the nodes here act. Nodes are thin.

Understanding a turn with a chat model: it is asked what the person wants, and answers with tool calls from a fixed list.

It reads the person's own words and the numbers of pictures, never what strangers wrote, unless it looks into the database; see
chat_tools.py for what that costs it. Where it is away, the rules answer in its place.
"""

from __future__ import annotations

from typing import Any, Literal, cast

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langgraph.graph import START, StateGraph
from langgraph.graph.message import REMOVE_ALL_MESSAGES, RemoveMessage
from langgraph.runtime import Runtime
from langgraph.types import Command, Overwrite, interrupt

from limner.agents.chat.actions import Action
from limner.agents.chat.commands import parse
from limner.agents.llm.base import NoAnswer
from limner.graph.chat import rounds
from limner.graph.chat import work as chat_work
from limner.graph.chat.context import LONGEST, Desk, Told, desk_of, open_topic, pause, recall, saved, spoken, tell_lines
from limner.graph.chat.state import ChatState, Reply, Topic
from limner.graph.chat.tools import CALLS, ROUNDS, SYSTEM, TOOLS, tool_node
from limner.graph.chat.topic import Step, apply, situation_of
from limner.graph.nodes import Update, emitter, node, stop_if_asked, tell
from limner.promptdb.errors import BadInput
from limner.promptdb.turns import Turn, TurnPicture, Turns
from limner.tools.budget import UNITS, BudgetSpent

PLAIN = ("pick", "accept", "undo", "vote", "help", "status", "cap")
"""What the rules are sure of when it is said by itself, and what no model may say for the person: the cap."""

REMEMBERED = 6  # earlier turns that the model is told of

UNDERSTOOD: Update = {"wishes": Overwrite([]), "looked": Overwrite([]), "tainted": Overwrite(False), "rounds": 0}
"""Of the exchange with the model nothing outlives its turn."""

FORGET: Update = {**UNDERSTOOD, "messages": [RemoveMessage(id=REMOVE_ALL_MESSAGES)]}


def by_rules(state: ChatState, desk: Desk) -> list[Action]:
    return parse(state["said"], situation_of(state["topic"], checkpoints=desk.studio.checkpoints))


def has_model(desk: Desk, topic: Topic) -> bool:
    """Whether a chat model that can use tools is configured."""
    return hasattr(desk.studio.chat(desk.purse(topic["cap"]), desk.studio.db), "consult")


def consult(state: ChatState, runtime: Runtime[Desk]) -> Command[Literal["tools", "act"]]:
    """One exchange with the model: its tool calls are run next, or its words are the answer."""
    desk, topic = desk_of(runtime), state["topic"]
    exchanged = state.get("messages", [])
    asked = exchanged or [SystemMessage(SYSTEM), HumanMessage(_situation(state, desk))]
    fixed = [action.model_dump() for action in by_rules(state, desk) if action.kind == "cap"]  # the person's own, whatever the model says
    rounds, told = state.get("rounds", 0), Told(runtime, tell_lines(runtime, state.get("told", ""), state.get("looked", [])))
    try:
        chat: Any = saved(desk, topic).chat
        answer = chat.consult(asked, TOOLS, lambda text: told.hear(state.get("looked", []), text))
    except (NoAnswer, BudgetSpent) as error:
        tell(runtime, {"kind": "warning", "text": f"{error}; understood by rules instead"})
        actions = [action.model_dump() for action in by_rules(state, desk)]
        return Command(goto="act", update={"actions": actions, "lines": state.get("looked", []), "told": told.text})
    calls, text = list(answer.tool_calls)[:CALLS], spoken(str(answer.text))
    if calls and rounds < ROUNDS:
        said = AIMessage(str(answer.text)[:LONGEST], tool_calls=calls)
        messages = [*([] if exchanged else asked), said]
        update = {"messages": messages, "rounds": rounds + 1, "told": told.text, "looked": [text] if text else []}
        return Command(goto="tools", update=update)
    actions = fixed or [Action(kind="unclear", text=text or "Please say it in other words.").model_dump()]
    return Command(goto="act", update={"actions": actions, "lines": state.get("looked", []), "told": told.text})


def after_tools(state: ChatState, runtime: Runtime[Desk]) -> Command[Literal["consult", "act"]]:
    """Wishes are fulfilled at once; where there were only look-ups or refusals, the model speaks again."""
    wishes = state.get("wishes", [])
    if not wishes:
        return Command(goto="consult")
    desk = desk_of(runtime)
    fixed = [action.model_dump() for action in by_rules(state, desk) if action.kind == "cap"]
    runtime.stream_writer({"kind": "understood", "actions": [*fixed, *wishes]})
    return Command(goto="act", update={"actions": [*fixed, *wishes], "lines": state.get("looked", [])})


def _situation(state: ChatState, desk: Desk) -> str:
    """What the model is told: the person's words, now and before, and numbers."""
    topic = state["topic"]
    contract = {name: words for name, words in topic["contract"].items() if words}
    earlier = [turn.said for turn in Turns(desk.studio.db, desk.thread).line(state["parent"])][-REMEMBERED:]
    lines = [
        f"The request so far: {topic['request'] or 'none'}{', in the style of ' + topic['style'] if topic['style'] else ''}",
        f"Rules: {contract or 'none'}",
        f"Pictures shown: {len(topic['shown'])}, number 1 scores best. A blind vote is {'open' if topic['pair'] else 'not open'}.",
        f"Checkpoints: {', '.join(desk.studio.checkpoints)}",
        *([f"Said before: {' | '.join(earlier)}"] if earlier else []),
        f"The person says now: {state['said']}",
    ]
    return "\n".join(lines)


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
        count = rounds.WIDTH if work["kind"] == "more" else context.settings.search_seeds
        seeds = list(range(topic["seed"], topic["seed"] + count)) if fresh else context.settings.search
        with desk.studio.at_work:
            if work["kind"] == "more" and topic["base"] is not None:
                shown, dropped, lines = rounds.more_of(context, topic, topic["base"], seeds, emitter(runtime))
            else:
                rows, refused, said = rounds.draft(context, topic, state["turn"])
                stop_if_asked(runtime)
                shown, dropped, lines = rounds.round_of(context, topic, rows, seeds, emitter(runtime))
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
    cost = {unit: amount - state["before"].get(unit, 0) for unit, amount in _spent(desk, topic).items() if unit in UNITS}
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
