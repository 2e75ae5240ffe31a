"""Learns an instruction for the rewriter on a few prompts, and says what it is worth on prompts that it never saw.

    python examples/batch_optimization.py

A real run learns on dozens of prompts with a budget of thousands of pictures, and a chat model (OPENAI_BASE_URL, LIMNER_CHAT_MODEL).
"""

from __future__ import annotations

import limner

PROMPTS = ["a cat in the snow", "a red car on a beach", "a castle at night", "two birds in a forest", "a penguin", "a green apple"]


def main() -> None:
    learned = limner.optimize(PROMPTS, budget=120, iterations=1, batch_size=2, heldout_seeds=2, on_event=tell)
    print(learned)
    print("instruction:", learned.instruction)
    for name, row in learned.heldout.items():
        print(f"{name} on held-out prompts: {row.delta:+.4f}, 95 % interval {row.ci95}, against the plain prompts")


def tell(event: limner.Event) -> None:
    """Prints the leading instruction after each iteration."""
    if event["kind"] == "iteration":
        print(f"iteration {event['iteration']}: {event['text']}")


if __name__ == "__main__":
    main()
