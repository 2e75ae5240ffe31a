"""The records of an `optimize` run: instructions as arms, every pull of them, and their state after each iteration.

They are stored here and not in the graph's state, so that a checkpoint stays small however many iterations there are. Adding the same
record twice changes nothing, so a node that runs again after a kill does no harm.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from limner.promptdb.records import Conditioning, Instruction
from limner.promptdb.store import PromptDB


@dataclass(frozen=True, slots=True)
class Arm:
    """An instruction in a run. `born`: the iteration after which it was made, -1 for the initial one."""

    instruction: Instruction
    born: int


@dataclass(frozen=True, slots=True)
class Trial:
    """One pull: the score of the arm's rewrite of `prompt` on `seed` (`value`), and of the prompt itself there (`plain`); None without a
    usable picture.
    """

    iteration: int
    instruction: str
    prompt: str
    seed: int
    conditioning: Conditioning
    value: float | None
    plain: float | None


@dataclass(frozen=True, slots=True)
class Standing:
    """An arm after an iteration: mean of its batch, pulls so far, ranking value, and fate: kept; dropped by the selector; replaced by its
    children; exhausted, where no child was good enough; for a child, born or rejected.
    """

    iteration: int
    instruction: str
    mean: float | None
    pulls: int
    value: float | None
    fate: str


class Trials:
    """The records of one run."""

    def __init__(self, db: PromptDB, run: str) -> None:
        self._db, self.run = db, run

    def add_arms(self, arms: Iterable[Arm]) -> None:
        """Stores arms. An instruction made twice in a run keeps its first parent."""
        rows = [
            (self.run, arm.instruction.id, arm.instruction.text, arm.instruction.parent, arm.instruction.finding, arm.born) for arm in arms
        ]
        self._db.write("INSERT OR IGNORE INTO arm (run, instruction, text, parent, finding, born) VALUES (?, ?, ?, ?, ?, ?)", rows)

    def arms(self) -> list[Arm]:
        """Returns every arm of the run, in the order of creation."""
        sql = "SELECT text, parent, finding, born FROM arm WHERE run = ? ORDER BY number"
        return [Arm(Instruction(text, parent, finding), born) for text, parent, finding, born in self._db.query(sql, [self.run])]

    def add_trials(self, trials: Sequence[Trial]) -> None:
        """Stores pulls, replacing equal ones."""
        with self._db.transaction():
            self._db.add_conditionings({trial.conditioning.id: trial.conditioning for trial in trials}.values())
            self._db.write(
                "INSERT OR REPLACE INTO trial (run, iteration, instruction, prompt, seed, conditioning, value, plain) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [(self.run, t.iteration, t.instruction, t.prompt, t.seed, t.conditioning.id, t.value, t.plain) for t in trials],
            )

    def trials(self, instruction: str | None = None, iteration: int | None = None) -> list[Trial]:
        """Returns the pulls of one arm, of one iteration, or all, in the order of iterations."""
        wanted = {"t.instruction": instruction, "t.iteration": iteration}
        given = {name: value for name, value in wanted.items() if value is not None}
        where = "".join(f" AND {name} = ?" for name in given)
        rows = self._db.query(
            "SELECT t.iteration, t.instruction, t.prompt, t.seed, k.document, t.value, t.plain FROM trial t "
            f"JOIN conditioning k ON k.id = t.conditioning WHERE t.run = ?{where} ORDER BY t.iteration, t.instruction, t.prompt, t.seed",
            [self.run, *given.values()],
        )
        return [
            Trial(iteration, arm, prompt, seed, Conditioning.from_json(json.loads(document)), value, plain)
            for iteration, arm, prompt, seed, document, value, plain in rows
        ]

    def add_standings(self, standings: Iterable[Standing]) -> None:
        """Stores the state of arms after an iteration."""
        self._db.write(
            "INSERT OR REPLACE INTO standing (run, iteration, instruction, mean, pulls, value, fate) VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(self.run, s.iteration, s.instruction, s.mean, s.pulls, s.value, s.fate) for s in standings],
        )

    def settle(self, iteration: int, instruction: str, fate: str) -> None:
        """Sets the fate of an arm after it was ranked."""
        sql = "UPDATE standing SET fate = ? WHERE run = ? AND iteration = ? AND instruction = ?"
        self._db.write(sql, [(fate, self.run, iteration, instruction)])

    def standings(self) -> list[Standing]:
        """Returns the state of all arms by iteration, the highest ranking value first."""
        sql = "SELECT iteration, instruction, mean, pulls, value, fate FROM standing WHERE run = ?"
        return [Standing(*row) for row in self._db.query(f"{sql} ORDER BY iteration, value DESC, instruction", [self.run])]
