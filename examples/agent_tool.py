"""Gives refining to an agent as a LangChain tool: any chat model with tool calls can use it.

    python examples/agent_tool.py

Without a chat server the tool is called directly. Assistants that speak MCP need none of this: `limner mcp`.
"""

from __future__ import annotations

from langchain_core.tools import tool

import limner


@tool
def refine_prompt(prompt: str, keep: list[str] | None = None) -> dict[str, object]:
    """Improve a text-to-image prompt and check the gain on fresh seeds. `keep`: words that must stay in it."""
    refined = limner.refine(prompt, method="rewrite", budget=24, variants=3, heldout_seeds=4, pins=keep or ())
    return {"prompt": refined.text, "improved": refined.improved, "report": str(refined.report)}


def main() -> None:
    # With a chat model: langchain.agents.create_agent(model, tools=[refine_prompt])
    print(refine_prompt.invoke({"prompt": "a red car on a beach", "keep": ["beach"]}))


if __name__ == "__main__":
    main()
