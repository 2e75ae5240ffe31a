"""What a killed process was drawing: paid for once, whoever draws it in the end."""

from __future__ import annotations

from pathlib import Path

from limner.promptdb.records import Conditioning
from limner.tools.budget import Budget
from tests.tools.test_evaluator import evaluator_in


def test_what_a_kill_lost_was_paid_for_and_is_drawn_again_for_nothing(tmp_path: Path) -> None:
    first = evaluator_in(tmp_path, run="run-1")
    asked = [first.drawing(Conditioning("a cat"), seed) for seed in range(4)]
    first.budget.spend(images=4, unet_rows=first.model.unet_rows(asked))
    first._in_flight.begin([drawing.id for drawing in asked])  # and here the process died
    again = evaluator_in(tmp_path, run="run-1", budget=Budget(images=6))
    again.budget.spend(images=4)
    assert not again.unpaid(asked)
    drawn = again.draw([Conditioning("a cat")], range(6))
    assert len(again.db.stored_drawings(drawn.ravel().tolist())) == 6
    assert again.budget.spent["images"] == 6
    assert not evaluator_in(tmp_path, run="run-1")._in_flight.lost
