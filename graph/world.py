"""Whether a prompt lies in a checkpoint's world: what its maker's vocabulary knows of the prompt's words."""

from __future__ import annotations

from tools.diffusion.card import Card
from tools.scoring.asked import World

SHOWN = 8  # unknown words that a person is told


def outside_world(card: Card, prompt: str) -> list[str]:
    """A warning where the prompt has words that the checkpoint does not know, else nothing; nothing for one without a vocabulary. Raises
    BadInput for a vocabulary that cannot be read."""
    if not card.vocabulary_file:
        return []
    share, unknown = World.read(card.path(card.vocabulary_file)).coverage(prompt)
    if not unknown:
        return []
    named = ", ".join(unknown[:SHOWN]) + (", ..." if len(unknown) > SHOWN else "")
    return [f"the checkpoint's vocabulary knows {share:.0%} of the prompt's words and not: {named}; it cannot draw what it does not know"]
