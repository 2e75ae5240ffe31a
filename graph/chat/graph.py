"""A conversation about a picture, as a state machine:

    listen (pause) -> understand (-> consult <-> tools) -> act -> (draw | solve | settle | compare | vote | find) -> record -> listen

`listen` is a node of its own, because a node with an interrupt runs again from its top. The person's words are understood by rules, or by
the chat model where one is configured; either way they become actions, and only the nodes here act.

A chat model is asked what the person wants, and answers with tool calls from a fixed list. It reads the person's own words and the numbers
of pictures, and texts by strangers only where it searches the database (tools.py says what follows from that). Where it does not answer,
the rules do.
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
from limner.graph.chat.context import LONGEST, ChatContext, ReplyStream, context_of, open_topic, pause, recall, spoken, tell_lines
from limner.graph.chat.state import ChatState, Reply, Topic
from limner.graph.chat.tools import CALLS, ROUNDS, SYSTEM, TOOLS, tool_node
from limner.graph.chat.topic import Step, apply, asked_for, situation_of
from limner.graph.intent import undrawable
from limner.graph.nodes import Update, emitter, node, stop_if_asked, tell
from limner.graph.verdict import cannot_draw
from limner.promptdb.errors import BadInput
from limner.promptdb.turns import Turn, TurnPicture, Turns
from limner.tools.budget import UNITS, BudgetSpent

PLAIN = ("pick", "accept", "undo", "vote", "help", "status", "cap")
"""Kinds of action that the rules understand for certain where they come alone, and the cap, which no model may set for the person."""

REMEMBERED = 6  # earlier turns that the model reads

UNDERSTOOD: Update = {"wishes": Overwrite([]), "looked": Overwrite([]), "tainted": Overwrite(False), "rounds": 0}
"""The update that clears the exchange with the model at the end of its turn."""

FORGET: Update = {**UNDERSTOOD, "messages": [RemoveMessage(id=REMOVE_ALL_MESSAGES)]}


def by_rules(state: ChatState, chat: ChatContext) -> list[Action]:
    """Returns the actions that the rules find in the person's words."""
    return parse(state["said"], situation_of(state["topic"], checkpoints=chat.services.checkpoints))


def has_model(chat: ChatContext, topic: Topic) -> bool:
    """Returns whether a chat model that can use tools is configured."""
    return hasattr(chat.chat_model(topic["cap"]), "consult")


def consult(state: ChatState, runtime: Runtime[ChatContext]) -> Command[Literal["tools", "act"]]:
    """Asks the model once. Its tool calls are run next; without tool calls its words are the answer."""
    chat, topic = context_of(runtime), state["topic"]
    exchanged = state.get("messages", [])
    asked = exchanged or [SystemMessage(SYSTEM), HumanMessage(_situation(state, chat))]
    fixed = [action.model_dump() for action in by_rules(state, chat) if action.kind == "cap"]  # set by the person alone
    rounds, stream = state.get("rounds", 0), ReplyStream(runtime, tell_lines(runtime, state.get("told", ""), state.get("looked", [])))
    try:
        model: Any = chat.chat_model(topic["cap"])
        answer = model.consult(asked, TOOLS, lambda text: stream.speak(state.get("looked", []), text))
    except (NoAnswer, BudgetSpent) as error:
        tell(runtime, {"kind": "warning", "text": f"{error}; understood by rules instead"})
        actions = [action.model_dump() for action in by_rules(state, chat)]
        return Command(goto="act", update={"actions": actions, "lines": state.get("looked", []), "told": stream.text})
    calls, text = list(answer.tool_calls)[:CALLS], spoken(str(answer.text))
    if calls and rounds < ROUNDS:
        said = AIMessage(str(answer.text)[:LONGEST], tool_calls=calls)
        messages = [*([] if exchanged else asked), said]
        update = {"messages": messages, "rounds": rounds + 1, "told": stream.text, "looked": [text] if text else []}
        return Command(goto="tools", update=update)
    actions = fixed or [Action(kind="unclear", text=text or "Please say it in other words.").model_dump()]
    return Command(goto="act", update={"actions": actions, "lines": state.get("looked", []), "told": stream.text})


def after_tools(state: ChatState, runtime: Runtime[ChatContext]) -> Command[Literal["consult", "act"]]:
    """Goes to `act` where the model called for actions; where it only searched or was refused, back to `consult`."""
    wishes = state.get("wishes", [])
    if not wishes:
        return Command(goto="consult")
    chat = context_of(runtime)
    fixed = [action.model_dump() for action in by_rules(state, chat) if action.kind == "cap"]
    tell(runtime, {"kind": "understood", "actions": [*fixed, *wishes]})
    return Command(goto="act", update={"actions": [*fixed, *wishes], "lines": state.get("looked", [])})


def _situation(state: ChatState, chat: ChatContext) -> str:
    """What the model reads: the person's words, of this turn and earlier ones, and numbers."""
    topic = state["topic"]
    contract = {name: words for name, words in topic["contract"].items() if words}
    earlier = [turn.said for turn in Turns(chat.services.db, chat.thread).line(state["parent"])][-REMEMBERED:]
    lines = [
        f"The request so far: {topic['request'] or 'none'}{', in the style of ' + topic['style'] if topic['style'] else ''}",
        f"Rules: {contract or 'none'}",
        f"Pictures shown: {len(topic['shown'])}, number 1 scores best. A blind vote is {'open' if topic['pair'] else 'not open'}.",
        f"Checkpoints: {', '.join(chat.services.checkpoints)}",
        *([f"Said before: {' | '.join(earlier)}"] if earlier else []),
        f"The person says now: {state['said']}",
    ]
    return "\n".join(lines)


WORK = ("draw", "solve", "settle", "compare", "vote", "find", "status")
Work = Literal["draw", "solve", "settle", "compare", "vote", "find", "status", "record"]


def build_chat(context: type[ChatContext] | None = ChatContext) -> StateGraph[ChatState, ChatContext, ChatState, ChatState]:
    """Returns the graph, not yet compiled: whoever runs it chooses where its state is stored.

    `context`: None under a server, whose clients send JSON and no context.
    """
    graph = StateGraph(ChatState, context_schema=cast(type[ChatContext], context))
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


def open_thread(state: ChatState, runtime: Runtime[ChatContext]) -> Update:
    """Gives a new thread its first topic; one that has a topic is left as it is."""
    chat = context_of(runtime)
    return {"thread": chat.thread, "topic": state.get("topic") or open_topic(chat), "turn": state.get("turn", 0), "lines": []}


def listen(state: ChatState, runtime: Runtime[ChatContext]) -> Update:
    """Pauses until the person answers, in words or with an action."""
    reply = interrupt(pause(state, context_of(runtime)), response_schema=Reply)
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
def _understand(state: ChatState, runtime: Runtime[ChatContext]) -> Update:
    chat = context_of(runtime)
    turn = Turns(chat.services.db, chat.thread).last() + 1
    actions = state["actions"] or [action.model_dump() for action in by_rules(state, chat)]
    sure = bool(state["actions"]) or (len(actions) == 1 and actions[0]["kind"] in PLAIN)
    if not sure and has_model(chat, state["topic"]):
        actions = []
    else:
        tell(runtime, {"kind": "understood", "actions": actions})
    note = ", ".join(row["kind"] for row in actions) or "asks the chat model"
    return {"turn": turn, "actions": actions, "before": _spent(chat, state["topic"]), "note": note}


def understand(state: ChatState, runtime: Runtime[ChatContext]) -> Command[Literal["consult", "act"]]:
    """Turns the person's words into actions: by rules, or by the chat model where one is configured and the rules are not certain."""
    update = _understand(state, runtime)
    return Command(goto="act" if update["actions"] else "consult", update=update)


@node("act")
def _act(state: ChatState, runtime: Runtime[ChatContext]) -> Update:
    chat = context_of(runtime)
    step = Step(state["topic"], tuple(state["lines"]))
    for row in state["actions"]:
        try:
            step = apply(step, Action.model_validate(row), lambda action: recall(chat, state["parent"], action))
        except BadInput as error:
            step = step.then(_sentence(error))
    told = tell_lines(runtime, state.get("told", ""), step.lines)
    return {"topic": step.topic, "lines": list(step.lines), "told": told, "work": step.work, "note": step.work.get("kind", "")}


def act(state: ChatState, runtime: Runtime[ChatContext]) -> Command[Work]:
    """Applies the actions to the topic, and goes to the node whose work they call for."""
    update = _act(state, runtime)
    kind = update["work"].get("kind", "record")
    goto: Any = "draw" if kind in ("draft", "more", "open") else kind
    return Command(goto=goto, update=update)


@node("draw")
def draw(state: ChatState, runtime: Runtime[ChatContext]) -> Update:
    """Drafts candidates, or takes the one to be varied; draws, scores and shows them."""
    chat, topic, work = context_of(runtime), state["topic"], state["work"]
    fresh = work["kind"] == "more" or work.get("fresh")
    count = rounds.WIDTH if work["kind"] == "more" else chat.services.settings.search_seeds
    seeds = list(range(topic["seed"], topic["seed"] + count)) if fresh else chat.services.settings.search
    try:
        with chat.opened(topic) as context:
            if work["kind"] == "open":
                return {"note": "nothing to draw yet"}
            name = context.evaluator.objective.name
            strange = undrawable(context.card, asked_for(topic))
            if work["kind"] == "more" and topic["base"] is not None:
                shown, dropped, lines = rounds.more_of(context, topic, topic["base"], seeds, emitter(runtime))
            else:
                rows, refused, said = rounds.draft(context, topic, state["turn"])
                stop_if_asked(runtime)
                shown, dropped, lines = rounds.round_of(context, topic, rows, seeds, emitter(runtime))
                dropped, lines = refused + dropped, said + lines
    except BadInput as error:
        return {"lines": [_sentence(error)], "topic": _as_before(state, chat), "note": "refused"}
    for lost in dropped:
        tell(runtime, {"kind": "dropped", **lost})
    if refusals := ", ".join(f"{row['count']} x {row['reason']}" for row in dropped):
        lines = [f"Refused: {refusals}.", *lines]
    if shown:
        best = shown[0]["scores"].get(name)
        number = f" ({name} {best:.3f}, on the seeds that it was chosen by)" if best is not None else ""
        lines = [f"{len(shown)} pictures; number 1 scores best{number}. Pick one, say what to change, or accept.", *lines]
    lines = [*([cannot_draw(strange)] if strange else []), *lines]
    after: Topic = {**topic, "shown": shown or topic["shown"], "seed": topic["seed"] + count if fresh else topic["seed"], "asked": ""}
    tell(runtime, {"kind": "shown", "images": shown})
    return {"topic": after, "dropped": dropped, "lines": state["lines"] + lines, "note": f"{len(shown)} pictures"}


@node("solve")
def solve(state: ChatState, runtime: Runtime[ChatContext]) -> Update:
    """Runs a method with a part of the budget."""
    chat, work = context_of(runtime), state["work"]
    run = f"{chat.thread}-{state['turn']}"
    try:
        with chat.opened(state["topic"]) as context:
            topic, lines = chat_work.solve(context, state["topic"], work["method"], work["images"], run, emitter(runtime))
    except (BadInput, BudgetSpent) as error:
        return _refused(state, error)
    tell(runtime, {"kind": "shown", "images": topic["shown"]})
    return {"topic": topic, "lines": state["lines"] + lines, "note": work["method"]}


@node("settle")
def settle(state: ChatState, runtime: Runtime[ChatContext]) -> Update:
    """Accepts a picture's prompt, with a check on held-out seeds, whose pictures were kept for it."""
    chat = context_of(runtime)
    try:
        with chat.opened(state["topic"], for_check=True) as context:
            accepted, lines = chat_work.settle(context, state["topic"], emitter(runtime))
    except (BadInput, BudgetSpent) as error:
        return _refused(state, error)
    tell(runtime, {"kind": "accepted", "result": accepted})
    topic: Topic = {**state["topic"], "accepted": accepted}
    return {"topic": topic, "lines": state["lines"] + lines, "note": accepted["verdict"]["kind"]}


@node("compare")
def compare(state: ChatState, runtime: Runtime[ChatContext]) -> Update:
    """Shows two pictures side by side for a vote, without saying which is which."""
    chat, work = context_of(runtime), state["work"]
    try:
        with chat.opened(state["topic"]) as context:
            found = chat_work.pair_for(context, state["topic"], work["image"], work["other"], state["turn"], chat.thread, emitter(runtime))
    except (BadInput, BudgetSpent) as error:
        return _refused(state, error)
    pair, seed = found
    tell(runtime, {"kind": "pair", "images": {"left": pair["left"]["image"], "right": pair["right"]["image"]}})
    lines = [*state["lines"], "Which is better: left, right, or a tie?"]
    return {"topic": {**state["topic"], "pair": pair, "seed": seed}, "lines": lines}


@node("vote")
def vote(state: ChatState, runtime: Runtime[ChatContext]) -> Update:
    """Stores the vote, then says which picture was which."""
    chat, topic = context_of(runtime), state["topic"]
    try:
        table, lines = chat_work.vote(chat.services.db, topic, state["work"]["choice"], chat.thread)
    except BadInput as error:
        return _refused(state, error)
    rows = chat_work.strength_rows(chat.services.db, topic, table)
    tell(runtime, {"kind": "strengths", "rows": rows})
    return {"topic": {**topic, "pair": None}, "lines": state["lines"] + lines + chat_work.vote_lines(rows)}


@node("find")
def find(state: ChatState, runtime: Runtime[ChatContext]) -> Update:
    """Searches the prompt database."""
    chat = context_of(runtime)
    rows, lines = chat_work.find(chat.services.db, state["work"]["text"])
    tell(runtime, {"kind": "found", "prompts": rows})
    return {"lines": state["lines"] + lines, "note": f"{len(rows)} prompts"}


@node("status")
def status(state: ChatState, runtime: Runtime[ChatContext]) -> Update:
    """Adds to the reply what the conversation is about and what it has spent."""
    chat = context_of(runtime)
    return {"lines": state["lines"] + chat_work.status(chat.services.db, state["topic"], _spent(chat, state["topic"]))}


@node("record")
def record(state: ChatState, runtime: Runtime[ChatContext]) -> Update:
    """Stores the turn: its text, its pictures with their scores, its cost, and the topic after it."""
    chat, turn = context_of(runtime), state["turn"]
    topic: Topic = {**state["topic"], "place": turn}
    reply = "\n".join(state["lines"]) or "All right."
    tell_lines(runtime, state.get("told", ""), reply.splitlines())
    cost = {unit: amount - state["before"].get(unit, 0) for unit, amount in _spent(chat, topic).items() if unit in UNITS}
    pictures = [TurnPicture(row["number"], row["drawing"], row["scores"]) for row in topic["shown"]]
    parent = _parent(state, chat)
    Turns(chat.services.db, chat.thread).add(Turn(chat.thread, turn, parent, state["said"], reply, state["actions"], cost, topic, pictures))
    tell(runtime, {"kind": "reply", "text": reply, "turn": turn})
    return {"topic": topic, "lines": reply.splitlines()}


def _parent(state: ChatState, chat: ChatContext) -> int:
    """The turn that this one follows; after an undo, the one that was gone back to."""
    return state["topic"]["place"] if any(row["kind"] == "undo" for row in state["actions"]) else state["parent"]


def _spent(chat: ChatContext, topic: Topic) -> dict[str, float]:
    return chat.budget(topic["cap"]).used()


def _refused(state: ChatState, error: Exception) -> Update:
    return {"lines": [*state["lines"], _sentence(error)], "note": "refused"}


def _as_before(state: ChatState, chat: ChatContext) -> Topic:
    """The topic without the change that could not be drawn, such as a checkpoint that does not exist."""
    before = Turns(chat.services.db, chat.thread).get(state["parent"])
    return {**(before.document if before else open_topic(chat)), "cap": state["topic"]["cap"]}  # type: ignore[typeddict-item]


def _sentence(error: Exception) -> str:
    text = str(error)
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")
