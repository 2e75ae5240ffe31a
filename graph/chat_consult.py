"""Understanding a turn with a chat model: it is asked what the person wants, and answers with tool calls from a fixed list.

It reads the person's own words and the numbers of pictures, never what strangers wrote, unless it looks into the database; see
chat_tools.py for what that costs it. Where it is away, the rules answer in its place.
"""

from __future__ import annotations

from typing import Any, Literal

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langgraph.graph.message import REMOVE_ALL_MESSAGES, RemoveMessage
from langgraph.runtime import Runtime
from langgraph.types import Command, Overwrite

from agents.actions import Action
from agents.messages import NoAnswer
from agents.requests import parse
from graph.chat_desk import desk_of, saved
from graph.chat_state import ChatState, Topic
from graph.chat_tools import CALLS, ROUNDS, SYSTEM, TOOLS
from graph.chat_topic import situation_of
from graph.chat_words import LONGEST, Told, spoken, tell_lines
from graph.nodes import Update, tell
from graph.studio import Desk
from promptdb.turns import Turns
from tools.budget import BudgetSpent

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
