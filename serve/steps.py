"""The steps of the graphs in words for a person who knows image models and not this project."""

from __future__ import annotations

STEPS = {
    "retrieve": "looking up professional prompts",
    "rewrite": "writing variants",
    "allot": "choosing the next method",
    "adapter": "adapting the prompt to the checkpoint",
    "df-prompt": "searching when each word should act",
    "dpo-diff": "searching other words",
    "weigh": "weighing what was found",
    "gather": "collecting candidates",
    "search": "drawing the candidates",
    "select": "choosing the best",
    "heldout": "checking on fresh seeds",
    "finish": "finishing",
    "sample": "picking prompts to learn on",
    "pull": "drawing what each instruction writes",
    "gradient": "finding what weak prompts lack",
    "modify": "writing new instructions",
    "trial": "trying the new instructions",
    "playoff": "comparing the finalists",
    "suffix": "searching the best fixed suffix",
    "understand": "reading what you said",
    "draw": "drawing",
    "solve": "searching",
    "settle": "checking on fresh seeds",
    "compare": "drawing a pair to compare",
    "find": "searching the prompt database",
}
"""Node of a graph -> what happens in it. Other nodes go by their own name."""

INNER = frozenset({"allot", "weigh", "gather", "select", "sample", "act", "record", "finish"})
"""Nodes that only prepare the next one: shown with --verbose alone."""


def step_words(node: str) -> str:
    """Returns what happens in a node of a graph, in a few words."""
    return STEPS.get(node, node)
