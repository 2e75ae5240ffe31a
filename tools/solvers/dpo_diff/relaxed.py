"""A relaxed space: probabilities over the candidates of every slot, and the contexts that they make of prompt and negative prompt.

The words around a slot and the separators stay as in the text. With all weight on one choice the contexts are those of its text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from limner.tools.diffusion.gradients.soft_text import Mixture, Pieces, SoftText, TextContext
from limner.tools.solvers.dpo_diff.space import Piece, Side, Space
from limner.tools.solvers.dpo_diff.trials import Choice

if TYPE_CHECKING:
    import torch


class Relaxed:
    """The relaxed form of `space`. `sides`: the sides of the prompt that have slots."""

    def __init__(self, space: Space, soft: SoftText) -> None:
        self.space = space
        self.soft = soft
        self.sides: tuple[Side, ...] = tuple(dict.fromkeys(slot.side for slot in space.slots))

    def contexts(self, weights: Sequence[torch.Tensor]) -> dict[Side, TextContext]:
        """Returns contexts of one row each. `weights`: for each slot a vector over its candidates, summing to 1.

        A negative slot with all its weight on "nothing" is left out; otherwise it has the rows of its likeliest word, and "nothing" is the
        padding token in them, as in the paper.
        """
        choice = self.layout(weights)
        given = self.space.given
        pieces: dict[Side, tuple[str, Sequence[Piece]]] = {
            "positive": (given.text, self.space.positive_pieces(choice)),
            "negative": (given.negative, self.space.negative_pieces(choice)),
        }
        return {
            side: self.soft.soft(self._mixed(found, choice, weights)) if side in self.sides else self.soft.hard([text])
            for side, (text, found) in pieces.items()
        }

    def layout(self, weights: Sequence[torch.Tensor]) -> Choice:
        """Returns the choice that determines each slot's number of rows: the likeliest candidate, "nothing" only where it is certain."""
        choice = []
        for slot, weight in zip(self.space.slots, weights, strict=True):
            likeliest = int(weight.argmax())
            if slot.side == "negative" and likeliest == 0 and float(weight.detach()[0]) < 1:
                likeliest = 1 + int(weight[1:].argmax())
            choice.append(likeliest)
        return tuple(choice)

    def _mixed(self, pieces: Sequence[Piece], choice: Choice, weights: Sequence[torch.Tensor]) -> Pieces:
        slots = self.space.slots
        return [
            (piece.text, None if piece.slot is None else Mixture(slots[piece.slot].candidates, choice[piece.slot], weights[piece.slot]))
            for piece in pieces
        ]
