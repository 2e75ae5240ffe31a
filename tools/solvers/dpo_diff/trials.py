"""The candidates tried so far: the Evaluator draws and scores each once, and the results are recorded in order.

A cost is the mean of the objective over the search seeds, signed so that lower is better. The baseline is the first trial, so the best
is never worse than it on these seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from limner.promptdb.records import Conditioning, content_id
from limner.promptdb.runs import Runs
from limner.tools.budget import BudgetSpent
from limner.tools.evaluation import RANKING_DECIMALS
from limner.tools.evaluator import Evaluator
from limner.tools.events import Emit, ignore
from limner.tools.solvers.dpo_diff.space import Space

Choice = tuple[int, ...]
RACE_KEEPS = 3  # one candidate in so many goes on to the next seed


@dataclass(frozen=True, slots=True)
class Trial:
    """One candidate with a value on every seed. `costs`: (seeds,), lower is better. `rows`: UNet rows that the search had spent by then."""

    choice: Choice
    conditioning: Conditioning
    costs: tuple[float, ...]
    rows: float

    @property
    def cost(self) -> float:
        """The mean cost over the seeds."""
        return float(np.mean(self.costs))

    @property
    def order(self) -> tuple[float, str]:
        """The sort key: cost rounded as in rankings, equal ones by id."""
        return round(self.cost, RANKING_DECIMALS), self.conditioning.id


def race_cost(count: int, keep: int, seeds: int) -> int:
    """Returns the number of pictures of a race of `count` candidates, of which `keep` are drawn on all seeds."""
    pictures = met = 0
    while met < seeds:
        rounds = seeds - met if count <= keep else 1
        pictures, met = pictures + rounds * count, met + rounds
        count = count if count <= keep else max(keep, -(-count // RACE_KEEPS))
    return pictures


@dataclass
class Trials:
    """The candidates of one search.

    `seeds`: common to all candidates. `allowed`: a condition checked before a candidate may cost anything, such as keeping the meaning.
    `refused`: candidates that failed it or are too long for the encoder; they are never drawn.
    """

    space: Space
    evaluator: Evaluator
    reference: str
    seeds: tuple[int, ...]
    allowed: Callable[[Conditioning], bool] = lambda conditioning: True
    emit: Emit = ignore
    done: dict[str, Trial] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    tried: set[str] = field(default_factory=set)
    besides: Callable[[], float] = lambda: 0.0
    """Returns the UNet rows of everything else that the search pays for, such as gradients."""
    kept_back: float = 0.0
    """UNet rows that the search does not see."""
    confirmed: dict[str, float] = field(default_factory=dict)
    """Cost of the finalists on fresh seeds, by id of the conditioning."""

    def __post_init__(self) -> None:
        self._charged, self._drawn_rows = set[str](), 0.0
        self._allowed = self._left_at_first()
        self._sign = -1.0 if self.evaluator.objective.higher_is_better else 1.0
        self._texts: dict[Choice, Conditioning] = {}

    @property
    def rows(self) -> float:
        """UNet rows requested since the search began, gradients included.

        Stored results count too, so that a resumed search counts, and decides, as one that was never killed.
        """
        return self._drawn_rows + self.besides()

    @property
    def rows_left(self) -> float:
        """Of what the search could spend when it first began; infinity without a cap."""
        return max(0.0, self._allowed - self.kept_back - self.rows)

    @property
    def rows_per_image(self) -> float:
        """UNet rows of one picture."""
        return float(self.evaluator.model.unet_rows([self.evaluator.drawing(self.space.given, 0)]))

    @property
    def best(self) -> Trial:
        """The trial with the lowest cost. Raises ValueError before the baseline was tried."""
        return min(self.done.values(), key=lambda trial: trial.order)

    @property
    def ranked(self) -> list[Trial]:
        """All trials, the lowest cost first."""
        return sorted(self.done.values(), key=lambda trial: trial.order)

    @property
    def chosen(self) -> list[Trial]:
        """The proposed trials, best first.

        With fresh seeds: the finalists that do at least as well there as the baseline, and the baseline itself. Otherwise all, by the
        search seeds.
        """
        if not self.confirmed:
            return self.ranked
        return sorted(
            (self.done[id] for id, cost in self.confirmed.items() if cost <= self.confirmed[self.space.given.id]),
            key=lambda trial: (round(self.confirmed[trial.conditioning.id], RANKING_DECIMALS), trial.conditioning != self.space.given),
        )

    def confirm(self, choices: Sequence[Choice], seeds: Sequence[int]) -> None:
        """Draws and scores candidates and the baseline, all of them recorded trials, on the fresh `seeds`; drops those without a value
        there.

        Raises BudgetSpent, and then nothing is confirmed.
        """
        conditionings = list(dict.fromkeys([self.space.given, *map(self.conditioning, choices)]))
        name = self.evaluator.objective.name
        values = self.evaluator.evaluate(conditionings, self.reference, seeds, [name], self.emit).values[name]
        self._charge(conditionings, seeds)
        costs = self._sign * values.mean(axis=1)
        found = {item.id: float(cost) for item, cost in zip(conditionings, costs, strict=True) if np.isfinite(cost)}
        self.confirmed = found if self.space.given.id in found else {}

    def conditioning(self, choice: Choice) -> Conditioning:
        """Returns the conditioning of a choice; cached."""
        if choice not in self._texts:
            self._texts[choice] = self.space.render(choice)
        return self._texts[choice]

    def known(self, choice: Choice) -> bool:
        """Whether the choice, or another with the same text, was drawn or refused."""
        key = self.conditioning(choice).id
        return key in self.tried or key in self.refused

    def fresh(self, choices: Iterable[Choice]) -> list[Choice]:
        """Returns the distinct choices that may be tried: not known, and allowed."""
        found: dict[str, Choice] = {}
        for choice in choices:
            if not self.known(choice) and self._may(self.conditioning(choice)):
                found.setdefault(self.conditioning(choice).id, choice)
        return list(found.values())

    def try_all(self, choices: Iterable[Choice], seeds: int | None = None) -> list[Trial]:
        """Draws and scores the new choices on all seeds and returns their trials.

        Raises BudgetSpent after recording what the budget allowed.
        """
        fresh = self.fresh(choices)
        self._draw(fresh, self.seeds)
        return self._record(fresh)

    def race(self, choices: Iterable[Choice], keep: int) -> list[Trial]:
        """Races the new choices by successive halving: all are drawn on the first seed, the best third on the next, until `keep` are left,
        which are drawn on all.

        Only those are recorded and returned; the others count as tried. Earlier choices take precedence: as many race as the budget can
        finish. Raises BudgetSpent where that is none.
        """
        field_, ran = self._affordable(self.fresh(choices), keep), 0
        while field_ and ran < len(self.seeds):
            ran = len(self.seeds) if len(field_) <= keep else ran + 1
            costs = self._draw(field_, self.seeds[:ran])
            order = sorted(range(len(field_)), key=lambda place: (round(float(costs[place]), RANKING_DECIMALS), self._id(field_[place])))
            if ran < len(self.seeds):
                field_ = [field_[place] for place in order[: max(keep, -(-len(order) // RACE_KEEPS))] if math.isfinite(costs[place])]
        return self._record(field_)

    def first_costs(self, choices: Sequence[Choice]) -> np.ndarray:
        """Returns (choices,) costs on the first seed, NaN where it was not drawn. Draws nothing."""
        if not choices:
            return np.zeros(0)
        name, conditionings = self.evaluator.objective.name, [self.conditioning(choice) for choice in choices]
        return self._sign * self.evaluator.known(conditionings, self.reference, self.seeds[:1], [name]).values[name][:, 0]

    def trajectory(self) -> list[Trial]:
        """Returns the trials in the order in which they were made."""
        return sorted(self.done.values(), key=lambda trial: trial.rows)

    def _affordable(self, choices: list[Choice], keep: int) -> list[Choice]:
        images = 0 if self.evaluator.budget.left("seconds") == 0 else self.rows_left / self.rows_per_image + 1e-9
        count = next((count for count in range(len(choices), 0, -1) if race_cost(count, keep, len(self.seeds)) <= images), 0)
        if choices and count < 1:
            raise BudgetSpent("images", images)
        return choices[:count]

    def _id(self, choice: Choice) -> str:
        return self.conditioning(choice).id

    def _may(self, conditioning: Conditioning) -> bool:
        if conditioning.id in self.refused:
            return False
        model = self.evaluator.model
        texts = conditioning.text, conditioning.negative
        long = any(count > limit * model.most_windows for count, limit in map(model.token_count, texts))
        if (long and conditioning != self.space.given) or not self.allowed(conditioning):
            self.refused.add(conditioning.id)
            return False
        return True

    def _draw(self, choices: Sequence[Choice], seeds: Sequence[int]) -> np.ndarray:
        """Returns (choices,) mean costs on these seeds; infinite where the model or the scorer gave no value."""
        conditionings = [self.conditioning(choice) for choice in choices]
        if not conditionings:
            return np.zeros(0)
        name = self.evaluator.objective.name
        try:
            found = self.evaluator.evaluate(conditionings, self.reference, seeds, [name], self.emit)
        except BudgetSpent:
            self._charge(conditionings, seeds, self.evaluator.known(conditionings, self.reference, seeds, [name]).values[name])
            self._record(choices)
            raise
        self._charge(conditionings, seeds)
        self.tried.update(conditioning.id for conditioning in conditionings)
        costs = self._sign * found.values[name].mean(axis=1)
        return np.where(np.isnan(costs), np.inf, costs)

    def _charge(self, conditionings: Sequence[Conditioning], seeds: Sequence[int], values: np.ndarray | None = None) -> None:
        """Counts each picture once; with `values` only those that have one."""
        fresh = {
            drawing.id: drawing
            for row, conditioning in enumerate(conditionings)
            for column, seed in enumerate(seeds)
            if values is None or not np.isnan(values[row, column])
            for drawing in [self.evaluator.drawing(conditioning, seed)]
            if drawing.id not in self._charged
        }
        self._charged |= fresh.keys()
        self._drawn_rows += self.evaluator.model.unet_rows(list(fresh.values())) if fresh else 0.0

    def _left_at_first(self) -> float:
        """Rows that were left when the search first began, which a run that goes on after a kill finds noted."""
        evaluator = self.evaluator
        images = evaluator.budget.left("images") * self.rows_per_image
        left = min(images, evaluator.budget.left("unet_rows"))
        if not evaluator.run or not evaluator.reuse_cache or not math.isfinite(left):
            return left
        key = content_id(["purse", evaluator.run, self.space.given.to_json(), list(self.seeds), list(self.space.sizes)])
        return max(left, float(Runs(evaluator.db).remember(evaluator.run, key, left)))

    def _record(self, choices: Sequence[Choice]) -> list[Trial]:
        """Returns the trials of the choices that have a value on every seed; nothing is drawn."""
        conditionings = [self.conditioning(choice) for choice in choices]
        if not conditionings:
            return []
        name = self.evaluator.objective.name
        values = self.evaluator.known(conditionings, self.reference, self.seeds, [name]).values[name]
        trials = []
        for choice, conditioning, row in zip(choices, conditionings, values, strict=True):
            if np.isnan(row).any():
                continue
            before = min(self.done.values(), key=lambda trial: trial.order, default=None)
            trial = Trial(choice, conditioning, tuple((self._sign * row).tolist()), self.rows)
            self.tried.add(conditioning.id)
            self.done.setdefault(conditioning.id, trial)
            trials.append(trial)
            if before is None or trial.order < before.order:
                self._tell(trial)
        return trials

    def _tell(self, trial: Trial) -> None:
        best = trial.conditioning
        self.emit(
            {
                "kind": "best",
                "text": best.text,
                "negative": best.negative,
                "conditioning": best.id,
                "value": self._sign * trial.cost,
                "count": len(self.done),
                "rows": round(self.rows, 1),
            }
        )
