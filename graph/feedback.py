"""What a finished run teaches the prompt database: the better prompt that it found, and how well the exemplars served that it was shown.

Only what the held-out check measured flows back. Evaluation suites do not call this: their prompts must stay unseen.
"""

from __future__ import annotations

from graph.nodes import conditioning_of
from graph.state import Context, RefineState
from promptdb.merit import SOURCE, Gain, effect, take_up
from promptdb.records import Prompt


def learn_from_refine(context: Context, state: RefineState) -> int:
    """Keep the scores of a refined prompt; how many prompts of the library now know more of themselves."""
    outcome = state["outcome"]
    objective, best = outcome["objective"], outcome["best"]
    row = outcome["scores"].get(objective)
    if best is None or row is None or row["delta"] is None:
        return 0
    value = effect(row["delta"], row["ci95"], row["n"], outcome["higher_is_better"][objective])
    if value is None:
        return 0
    conditioning = conditioning_of(best)
    better = Prompt(conditioning.text, SOURCE, state["prompt"], conditioning.negative) if outcome["improved"] else None
    gains = [Gain(exemplar["id"], "shown", value) for exemplar in state.get("exemplars", []) if "id" in exemplar]
    gains.append(Gain(Prompt(conditioning.text).id, "drawn", value))
    return take_up(context.db, state["run"], objective, gains, better)
