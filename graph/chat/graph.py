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
from limner.graph.chat.context import LONGEST, ChatContext, ReplyStream, context_of, open_topic, pause, recall, spoken, tell_lines
from limner.graph.chat.state import ChatState, Reply, Topic
from limner.graph.chat.tools import CALLS, ROUNDS, SYSTEM, TOOLS, tool_node
from limner.graph.chat.topic import Step, apply, situation_of
from limner.graph.nodes import Update, emitter, node, stop_if_asked, tell
from limner.promptdb.errors import BadInput
from limner.promptdb.turns import Turn, TurnPicture, Turns
from limner.tools.budget import BudgetSpent, difference

PLAIN = ("pick", "accept", "undo", "vote", "help", "status", "cap")
"""What the rules are sure of when it is said by itself, and what no model may say for the person: the cap."""

REMEMBERED = 6  # earlier turns that the model is told of

UNDERSTOOD: Update = {"wishes": Overwrite([]), "looked": Overwrite([]), "tainted": Overwrite(False), "rounds": 0}
"""Of the exchange with the model nothing outlives its turn."""

FORGET: Update = {**UNDERSTOOD, "messages": [RemoveMessage(id=REMOVE_ALL_MESSAGES)]}


def by_rules(state: ChatState, chat: ChatContext) -> list[Action]:
    return parse(state["said"], situation_of(state["topic"], checkpoints=chat.services.checkpoints))


def has_model(chat: ChatContext, topic: Topic) -> bool:
    """Whether a chat model that can use tools is configured."""
    return hasattr(chat.chat_model(topic["cap"]), "consult")


def consult(state: ChatState, runtime: Runtime[ChatContext]) -> Command[Literal["tools", "act"]]:
    """One exchange with the model: its tool calls are run next, or its words are the answer."""
    chat, topic = context_of(runtime), state["topic"]
    exchanged = state.get("messages", [])
    asked = exchanged or [SystemMessage(SYSTEM), HumanMessage(_situation(state, chat))]
    fixed = [action.model_dump() for action in by_rules(state, chat) if action.kind == "cap"]  # the person's own, whatever the model says
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
    """Wishes are fulfilled at once; where there were only look-ups or refusals, the model speaks again."""
    wishes = state.get("wishes", [])
    if not wishes:
        return Command(goto="consult")
    chat = context_of(runtime)
    fixed = [action.model_dump() for action in by_rules(state, chat) if action.kind == "cap"]
    tell(runtime, {"kind": "understood", "actions": [*fixed, *wishes]})
    return Command(goto="act", update={"actions": [*fixed, *wishes], "lines": state.get("looked", [])})


def _situation(state: ChatState, chat: ChatContext) -> str:
    """What the model is told: the person's words, now and before, and numbers."""
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
    """The graph, not yet compiled: who runs it chooses where its state is kept. `context`: None under a server, whose clients hand in JSON
    and no context."""
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
    """What a new thread begins with; one that goes on keeps what it has."""
    chat = context_of(runtime)
    return {"thread": chat.thread, "topic": state.get("topic") or open_topic(chat), "turn": state.get("turn", 0), "lines": []}


def listen(state: ChatState, runtime: Runtime[ChatContext]) -> Update:
    """Pause until the person answers: in words, or with an action of their choice."""
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
    """What the person wants, as actions: by rules, or by the chat model where one is configured and the rules are not sure."""
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
    """Change the topic as was asked, and go where the work is."""
    update = _act(state, runtime)
    kind = update["work"].get("kind", "record")
    goto: Any = "draw" if kind in ("draft", "more", "open") else kind
    return Command(goto=goto, update=update)


@node("draw")
def draw(state: ChatState, runtime: Runtime[ChatContext]) -> Update:
    """Draft candidates, or take the one to be varied; draw, score, show."""
    chat, topic, work = context_of(runtime), state["topic"], state["work"]
    fresh = work["kind"] == "more" or work.get("fresh")
    count = rounds.WIDTH if work["kind"] == "more" else chat.services.settings.search_seeds
    seeds = list(range(topic["seed"], topic["seed"] + count)) if fresh else chat.services.settings.search
    try:
        with chat.opened(topic) as context:
            if work["kind"] == "open":
                return {"note": "nothing to draw yet"}
            name = context.evaluator.objective.name
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
    after: Topic = {**topic, "shown": shown or topic["shown"], "seed": topic["seed"] + count if fresh else topic["seed"], "asked": ""}
    tell(runtime, {"kind": "shown", "images": shown})
    return {"topic": after, "dropped": dropped, "lines": state["lines"] + lines, "note": f"{len(shown)} pictures"}


@node("solve")
def solve(state: ChatState, runtime: Runtime[ChatContext]) -> Update:
    """Run a method with a part of the budget."""
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
    """Accept, with a check on held-out seeds where the budget pays for it."""
    chat = context_of(runtime)
    try:
        with chat.opened(state["topic"]) as context:
            accepted, lines = chat_work.settle(context, state["topic"], emitter(runtime))
    except (BadInput, BudgetSpent) as error:
        return _refused(state, error)
    tell(runtime, {"kind": "accepted", "result": accepted})
    topic: Topic = {**state["topic"], "accepted": accepted}
    return {"topic": topic, "lines": state["lines"] + lines, "note": "improved" if accepted["improved"] else "no sure gain"}


@node("compare")
def compare(state: ChatState, runtime: Runtime[ChatContext]) -> Update:
    """Put two pictures side by side, without saying which is which."""
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
    """Keep the vote; then say who was who."""
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
    """Look into the prompt database."""
    chat = context_of(runtime)
    rows, lines = chat_work.find(chat.services.db, state["work"]["text"])
    tell(runtime, {"kind": "found", "prompts": rows})
    return {"lines": state["lines"] + lines, "note": f"{len(rows)} prompts"}


@node("status")
def status(state: ChatState, runtime: Runtime[ChatContext]) -> Update:
    chat = context_of(runtime)
    return {"lines": state["lines"] + chat_work.status(chat.services.db, state["topic"], _spent(chat, state["topic"]))}


@node("record")
def record(state: ChatState, runtime: Runtime[ChatContext]) -> Update:
    """Keep the turn: its text, its pictures with their scores, what it cost, and what the conversation is about now."""
    chat, turn = context_of(runtime), state["turn"]
    topic: Topic = {**state["topic"], "place": turn}
    reply = "\n".join(state["lines"]) or "All right."
    tell_lines(runtime, state.get("told", ""), reply.splitlines())
    cost = difference(_spent(chat, topic), state["before"])
    pictures = [TurnPicture(row["number"], row["drawing"], row["scores"]) for row in topic["shown"]]
    parent = _parent(state, chat)
    Turns(chat.services.db, chat.thread).add(Turn(chat.thread, turn, parent, state["said"], reply, state["actions"], cost, topic, pictures))
    tell(runtime, {"kind": "reply", "text": reply, "turn": turn})
    return {"topic": topic, "lines": reply.splitlines()}


def _parent(state: ChatState, chat: ChatContext) -> int:
    """The turn this one goes on from: after an undo, the one that was gone back to."""
    return state["topic"]["place"] if any(row["kind"] == "undo" for row in state["actions"]) else state["parent"]


def _spent(chat: ChatContext, topic: Topic) -> dict[str, float]:
    return chat.budget(topic["cap"]).used()


def _refused(state: ChatState, error: Exception) -> Update:
    return {"lines": [*state["lines"], _sentence(error)], "note": "refused"}


def _as_before(state: ChatState, chat: ChatContext) -> Topic:
    """The topic without the change that could not be drawn, such as a checkpoint that is not there."""
    before = Turns(chat.services.db, chat.thread).get(state["parent"])
    return {**(before.document if before else open_topic(chat)), "cap": state["topic"]["cap"]}  # type: ignore[typeddict-item]


def _sentence(error: Exception) -> str:
    text = str(error)
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")
