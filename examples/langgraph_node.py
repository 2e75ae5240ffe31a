"""Refines prompts as a node of a LangGraph graph of your own.

    python examples/langgraph_node.py
"""

from __future__ import annotations

from typing import TypedDict

from langgraph.graph import END, START, StateGraph

import limner


class State(TypedDict, total=False):
    idea: str
    prompt: str
    improved: bool


def write_prompt(state: State) -> State:
    """Your own node: from an idea to a first prompt."""
    return {"prompt": f"a picture of {state['idea']}"}


def refine_prompt(state: State) -> State:
    """The node that refines it."""
    refined = limner.refine(state["prompt"], method="rewrite", budget=24, variants=3, heldout_seeds=4)
    return {"prompt": refined.text, "improved": refined.improved}


def main() -> None:
    graph = StateGraph(State)
    graph.add_node("write_prompt", write_prompt)
    graph.add_node("refine_prompt", refine_prompt)
    graph.add_edge(START, "write_prompt")
    graph.add_edge("write_prompt", "refine_prompt")
    graph.add_edge("refine_prompt", END)
    print(graph.compile().invoke({"idea": "a penguin in the snow"}))


if __name__ == "__main__":
    main()
