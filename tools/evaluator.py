"""Draws and scores: the only caller of the image model outside gradient and training code.

A request names conditionings and seeds. What the database already holds is read from it, from whichever process it came; the
rest is paid for on the Budget and drawn in one batched call; each picture is stored as soon as its batch is done. All candidates
of a comparison share their seeds (common random numbers), so differences between them are paired. Knows nothing of prompts,
methods or of how a picture is made.

What a run is drawing just now is stored too: a run resumed after a kill has paid for that already, and counts it as repeated.

An Evaluator for comparing searches: each pays for every picture that it looks at, whoever drew it before.

Searches of one prompt meet the same candidates, and a suite that is started again finds all of them stored. Without this the second of two
searches, or the second start, would have more to spend.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import copy

import numpy as np
from PIL import Image

from limner.promptdb.errors import BadInput
from limner.promptdb.images import ImageStore
from limner.promptdb.records import Conditioning, Drawing, SamplerSettings, Score
from limner.promptdb.runs import InFlight
from limner.promptdb.store import PromptDB
from limner.tools.budget import Budget, BudgetSpent
from limner.tools.diffusion.base import Drawn, ImageModel
from limner.tools.evaluation import Evaluation
from limner.tools.events import Emit
from limner.tools.scoring.base import Scorer

__all__ = ["Emit", "Evaluation", "Evaluator"]

Pair = tuple[str, str]  # drawing id, reference id

SCORING_CHUNK = 64  # pictures open at a time; their scores are stored before the next are opened
RACE_KEEPS = 3  # one candidate in so many goes on to the next seed


class Evaluator:
    """Draws, scores and keeps. `scorers[0]` is the objective of searches; the others are reported beside it.

    With `emit`, a request reports a `Drawn` (tools/events.py) for each new picture and a `Scored` for each new score.
    """

    goes_on = True
    """Whether an earlier process of the same run, ended by a kill, has paid on this budget."""

    def __init__(
        self,
        model: ImageModel,
        scorers: Sequence[Scorer],
        db: PromptDB,
        images: ImageStore,
        budget: Budget,
        settings: SamplerSettings | None = None,
        run: str = "",
    ) -> None:
        names = [scorer.name for scorer in scorers]
        if len(set(names)) < len(names):
            raise BadInput(f"each scorer can be named once, not {', '.join(names)}")
        self.model = model
        self.scorers = tuple(scorers)
        self.db = db
        self.images = images
        self.budget = budget
        self.settings = settings or model.default_settings
        self.run = run
        self._dropped: set[str] = set()
        self._in_flight = InFlight(db, run)

    @property
    def objective(self) -> Scorer:
        """What searches improve: the first scorer. Raises BadInput for a judge that must stay out of searches."""
        if not self.scorers:
            raise BadInput("a search needs a scorer as its objective: name one with --scorer")
        first = self.scorers[0]
        if first.held_out:
            raise BadInput(f"{first.name!r} is kept out of every search, so it cannot be the objective: put another --scorer first")
        return first

    @property
    def held_out(self) -> tuple[Scorer, ...]:
        """The scorers that take no part in the search: all but the first."""
        return self.scorers[1:]

    @property
    def dropped(self) -> int:
        """Distinct drawings that came to nothing: NaN twice, or a scorer without a finite answer."""
        return len(self._dropped)

    def scorer(self, name: str) -> Scorer:
        """The scorer of that name. Raises BadInput with the names there are."""
        for scorer in self.scorers:
            if scorer.name == name:
                return scorer
        raise BadInput(f"scorer {name!r} was not opened, only {', '.join(item.name for item in self.scorers) or 'none'}")

    def drawing(self, conditioning: Conditioning, seed: int) -> Drawing:
        """The record of that picture, drawn or not."""
        return Drawing(conditioning, int(seed), self.settings, self.model.fingerprint)

    def image(self, drawing_id: str) -> Image.Image:
        """The picture of a stored drawing. Raises BadInput where there is none."""
        picture = self._pictures([drawing_id]).get(drawing_id)
        if picture is None:
            raise BadInput(f"there is no picture of drawing {drawing_id}: it was never drawn here, or the model gave NaN")
        return self.images.get(picture)

    def draw(self, conditionings: Sequence[Conditioning], seeds: Sequence[int], emit: Emit | None = None) -> np.ndarray:
        """Every conditioning on every seed; returns drawing ids, (conditioning, seed).

        Only what is not stored costs anything, and it is paid for before it is drawn. Where the budget does not hold all
        of it, the longest run of whole pictures that fits is drawn and stored, candidate by candidate, each through all
        its seeds; then BudgetSpent is raised (`known` reads what there is). No cap is ever crossed.
        """
        table = self._table(conditionings, seeds)
        wanted = {drawing.id: drawing for drawing in table.flat}
        stored = self._pictures(wanted)
        self._dropped.update(key for key, picture in stored.items() if picture is None)
        paid, refusal = self._pay(self._owed(wanted, stored))
        if missing := [*self._lost(wanted, stored), *self._bought(paid, stored)]:
            self._draw(missing, paid, emit)
        if refusal:
            raise refusal
        return _ids(table)

    def unpaid(self, drawings: Iterable[Drawing]) -> list[Drawing]:
        """Those of the drawings, each once, that a request for them would have to pay for."""
        wanted = {drawing.id: drawing for drawing in drawings}
        return self._owed(wanted, self._pictures(wanted))

    def within(self, budget: Budget) -> Evaluator:
        """The same Evaluator, paying from another purse, such as a part of its own."""
        inner = copy(self)
        inner.budget = budget
        return inner

    def through(self, model: ImageModel) -> Evaluator:
        """The same Evaluator, drawing with what sees each picture on its way, such as a sampler that keeps latents."""
        inner = copy(self)
        inner.model = model
        return inner

    def counts_as_drawn(self, drawings: Iterable[Drawing]) -> bool:
        """Whether these were paid for as if `through`'s model had drawn them, though they were stored. Never here: storage is free."""
        return False

    def charge(self, rows: float, stored: bool = False) -> None:
        """Pay for UNet rows that are no picture, as of a gradient; nothing for one taken before, or paid for and lost in a kill (`stored`).
        Raises BudgetSpent."""
        if not stored:
            self.budget.spend(unet_rows=rows)

    def evaluate(
        self,
        conditionings: Sequence[Conditioning],
        reference: str | Sequence[str],
        seeds: Sequence[int],
        scorers: Sequence[str] | None = None,
        emit: Emit | None = None,
    ) -> Evaluation:
        """Draw and score. `reference`: the user's prompt, or one for each conditioning. `scorers`: names; None = all of them.

        Raises BudgetSpent as `draw` does; scoring itself is free. A search names its objective, so that it never sees the rest.
        """
        self.draw(conditionings, seeds, emit)
        return self.known(conditionings, reference, seeds, scorers, emit)

    def known(
        self,
        conditionings: Sequence[Conditioning],
        reference: str | Sequence[str],
        seeds: Sequence[int],
        scorers: Sequence[str] | None = None,
        emit: Emit | None = None,
    ) -> Evaluation:
        """`evaluate` from stored pictures alone: nothing is drawn, NaN where there is no picture."""
        references = [reference] * len(conditionings) if isinstance(reference, str) else list(reference)
        if len(references) != len(conditionings):
            raise ValueError(f"{len(conditionings)} conditionings need as many reference prompts, not {len(references)}")
        chosen = self.scorers if scorers is None else tuple(self.scorer(name) for name in scorers)
        drawings = _ids(self._table(conditionings, seeds))
        reference_ids = {text: self.db.register_text(text) for text in dict.fromkeys(references)}
        texts = {reference_id: text for text, reference_id in reference_ids.items()}
        pairs = [(key, reference_ids[text]) for row, text in zip(drawings, references, strict=True) for key in row]
        scored = self._score(list(dict.fromkeys(pairs)), texts, chosen, emit)
        values = {
            name: np.array([found.get(pair, np.nan) for pair in pairs], dtype=np.float64).reshape(drawings.shape)
            for name, found in scored.items()
        }
        directions = {scorer.name: scorer.higher_is_better for scorer in chosen}
        return Evaluation(tuple(conditionings), tuple(map(int, seeds)), drawings, values, directions)

    def race(
        self,
        conditionings: Sequence[Conditioning],
        reference: str,
        seeds: Sequence[int],
        keep: int = 3,
        scorer: str | None = None,
        emit: Emit | None = None,
    ) -> Evaluation:
        """Find the best with far fewer pictures: all meet on the first seed, the best third of them on the next, and so on
        until `keep` are left, which run through all seeds.

        Successive halving (Karnin, Koren and Somekh 2013; Jamieson and Talwalkar 2016) on common seeds: only candidates
        with exactly the same seeds are compared, so what a seed adds to all of them cancels. By `scorer` (default: the
        objective). NaN where a candidate was left behind; `ranking` puts those that finished first. Raises BudgetSpent
        as `draw` does; the better candidates are drawn first, so `known` then ranks fairly.
        """
        name = self.objective.name if scorer is None else self.scorer(scorer).name
        field, reached, ran = list(dict.fromkeys(conditionings)), dict[Conditioning, int](), 0
        while field and ran < len(seeds):
            ran = len(seeds) if len(field) <= keep else ran + 1
            round_ = self.evaluate(field, reference, seeds[:ran], [name], emit)
            reached.update(dict.fromkeys(field, ran))
            finished = round_.complete(name)
            order = [index for index in round_.ranking(name) if finished[index]]
            field = [field[index] for index in order[: max(keep, -(-len(order) // RACE_KEEPS))]]
        result = self.known(conditionings, reference, seeds, [name])
        for row, conditioning in zip(result.values[name], conditionings, strict=True):
            row[reached.get(conditioning, 0) :] = np.nan  # pictures of an earlier request would break the common seeds
        return result

    def _table(self, conditionings: Sequence[Conditioning], seeds: Sequence[int]) -> np.ndarray:
        if len(set(seeds)) < len(seeds):
            raise ValueError(f"seeds must differ, or one picture would count twice: {list(seeds)}")
        table = np.empty((len(conditionings), len(seeds)), dtype=object)
        for row, conditioning in zip(table, conditionings, strict=True):
            row[:] = [self.drawing(conditioning, seed) for seed in seeds]
        return table

    def _pictures(self, ids: Iterable[str]) -> dict[str, str | None]:
        """Image hash of each drawing that is stored (None: drawn as NaN); one whose file is gone counts as never drawn."""
        stored = {key: item.image for key, item in self.db.stored_drawings(list(ids)).items()}
        return {key: image for key, image in stored.items() if image is None or self.images.path(image).exists()}

    def _owed(self, wanted: Mapping[str, Drawing], stored: Mapping[str, str | None]) -> list[Drawing]:
        """What of a request has to be paid for: what is not stored, and was not paid for by a process of this run that died drawing it."""
        return [drawing for key, drawing in wanted.items() if key not in stored and key not in self._in_flight.lost]

    def _lost(self, wanted: Mapping[str, Drawing], stored: Mapping[str, str | None]) -> list[Drawing]:
        """What of a request was paid for and lost."""
        return [drawing for key, drawing in wanted.items() if key not in stored and key in self._in_flight.lost]

    def _bought(self, paid: list[Drawing], stored: Mapping[str, str | None]) -> list[Drawing]:
        """What of the drawings just paid for has to be drawn."""
        return paid

    def _refused(self, drawings: list[Drawing]) -> None:
        """Give back what was paid for pictures that were refused before they were begun."""
        self.budget.give_back(images=len(drawings), unet_rows=self.model.unet_rows(drawings))

    def _pay(self, missing: list[Drawing]) -> tuple[list[Drawing], BudgetSpent | None]:
        """The longest head of `missing` that the budget holds, paid for; and the refusal of the rest."""
        head, refusal = missing, None
        while head:
            try:
                self.budget.spend(images=len(head), unet_rows=self.model.unet_rows(head))
                return head, refusal
            except BudgetSpent as error:
                refusal = refusal or error
                head = head[: self._affordable(head)]
        return [], refusal

    def _affordable(self, drawings: list[Drawing]) -> int:
        """How many from the front fit, short of all. Shared work makes costs other than additive, hence the bisection."""
        images, rows = self.budget.left("images"), self.budget.left("unet_rows") + 1e-9
        fits, bound = 0, len(drawings) if self.budget.left("seconds") > 0 else 1
        while bound - fits > 1:
            middle = (fits + bound) // 2
            if middle <= images and self.model.unet_rows(drawings[:middle]) <= rows:
                fits = middle
            else:
                bound = middle
        return fits

    def _draw(self, missing: list[Drawing], paid: list[Drawing], emit: Emit | None) -> None:
        ids = [drawing.id for drawing in missing]
        without_file = self.db.stored_drawings(ids).keys()
        buckets: dict[str, int] = {}

        def keep(drawn: Drawn) -> None:
            drawing = drawn.drawing
            if drawing.id in buckets:
                return
            buckets[drawing.id] = drawn.bucket
            # The picture first: a kill in between leaves a stray file, never a record without its picture.
            image = None if drawn.image is None else self.images.put(drawn.image)
            store = self.db.replace_image if drawing.id in without_file else self.db.add_drawing
            store(drawing, image, drawn.bucket, drawn.device)
            if image is None:
                self._dropped.add(drawing.id)
            if emit:
                asked = drawing.conditioning.id
                emit({"kind": "drawn", "drawing": drawing.id, "conditioning": asked, "seed": drawing.seed, "image": image})

        self._in_flight.begin(ids)
        try:
            for drawn in self.model.draw(missing, keep):
                keep(drawn)
        except ValueError:
            if not buckets:  # refused as a whole (a prompt too long, settings that cannot be served): nothing was used
                self._refused(paid)
                self._in_flight.end(ids)
            raise
        again = self._in_flight.end(ids)
        # Of what an earlier process was to draw when it died, at most one batch had been begun.
        if again:
            self.budget.repeat(min(len(again), max((buckets[key] for key in again), default=0)))

    def _score(
        self, pairs: list[Pair], texts: dict[str, str], scorers: Sequence[Scorer], emit: Emit | None
    ) -> dict[str, dict[Pair, float]]:
        found = {scorer.name: self._stored_scores(pairs, scorer) for scorer in scorers}
        unscored = [pair for pair in pairs if any(pair not in found[scorer.name] for scorer in scorers)]
        pictures = self._pictures({key for key, _ in unscored})
        todo = [pair for pair in unscored if pictures.get(pair[0])]
        for start in range(0, len(todo), SCORING_CHUNK):
            chunk = todo[start : start + SCORING_CHUNK]
            opened = {key: self.images.get(pictures[key] or "") for key in dict.fromkeys(key for key, _ in chunk)}
            for scorer in scorers:
                asked = [pair for pair in chunk if pair not in found[scorer.name]]
                if not asked:
                    continue
                numbers = scorer.score([opened[key] for key, _ in asked], [texts[reference] for _, reference in asked])
                fresh = {pair: float(number) for pair, number in zip(asked, numbers, strict=True) if np.isfinite(number)}
                self._dropped.update(pair[0] for pair in asked if pair not in fresh)
                self.db.add_scores([Score(*pair, scorer.name, scorer.version, value) for pair, value in fresh.items()])
                found[scorer.name].update(fresh)
                for (key, reference), value in fresh.items():
                    if emit:
                        emit({"kind": "scored", "drawing": key, "reference": reference, "scorer": scorer.name, "value": value})
        return found

    def _stored_scores(self, pairs: list[Pair], scorer: Scorer) -> dict[Pair, float]:
        drawings: dict[str, list[str]] = {}
        for key, reference in pairs:
            drawings.setdefault(reference, []).append(key)
        return {
            (key, reference): value
            for reference, keys in drawings.items()
            for key, value in self.db.scores(keys, reference, scorer.name, scorer.version).items()
        }


def _ids(table: np.ndarray) -> np.ndarray:
    ids = np.empty(table.shape, dtype=object)
    for row, drawings in zip(ids, table, strict=True):
        row[:] = [drawing.id for drawing in drawings]
    return ids


class AfreshEvaluator(Evaluator):
    """`budget`: this search's. What is really drawn is spent on `outer.budget` too, and so are gradients that are really taken."""

    goes_on = False

    def __init__(self, outer: Evaluator, scorers: Sequence[Scorer], budget: Budget) -> None:
        super().__init__(outer.model, scorers, outer.db, outer.images, budget, outer.settings, outer.run)
        self.outer = outer
        self.paid: set[str] = set()
        self._paid_here: set[str] = set()

    def through(self, model: ImageModel) -> Evaluator:
        inner = super().through(model)
        inner._paid_here = set()  # type: ignore[attr-defined]
        return inner

    def counts_as_drawn(self, drawings: Iterable[Drawing]) -> bool:
        """A gradient at a picture that the same search has just drawn is cheaper, and has to be so where the picture was stored."""
        return all(drawing.id in self._paid_here for drawing in drawings)

    def charge(self, rows: float, stored: bool = False) -> None:
        """Stored or not, it is paid for."""
        self.budget.spend(unet_rows=rows)
        self.outer.charge(rows, stored)

    def known(
        self,
        conditionings: Sequence[Conditioning],
        reference: str | Sequence[str],
        seeds: Sequence[int],
        scorers: Sequence[str] | None = None,
        emit: Emit | None = None,
    ) -> Evaluation:
        """From the pictures that were paid for alone."""
        found = super().known(conditionings, reference, seeds, scorers, emit)
        unpaid = np.array([[key not in self.paid for key in row] for row in found.drawings], bool).reshape(found.drawings.shape)
        for values in found.values.values():
            values[unpaid] = np.nan
        return found

    def _owed(self, wanted: Mapping[str, Drawing], stored: Mapping[str, str | None]) -> list[Drawing]:
        return [drawing for key, drawing in wanted.items() if key not in self.paid]

    def _lost(self, wanted: Mapping[str, Drawing], stored: Mapping[str, str | None]) -> list[Drawing]:
        return []  # all is paid for here, whatever an earlier start was drawing

    def _bought(self, paid: list[Drawing], stored: Mapping[str, str | None]) -> list[Drawing]:
        self.paid.update(drawing.id for drawing in paid)
        self._paid_here.update(drawing.id for drawing in paid)
        missing = [drawing for drawing in paid if drawing.id not in stored]
        if missing:
            self.outer.budget.spend(images=len(missing), unet_rows=self.model.unet_rows(missing))
        return missing

    def _refused(self, drawings: list[Drawing]) -> None:
        super()._refused(drawings)
        missing = [drawing for drawing in drawings if drawing.id not in self._pictures([drawing.id])]
        self.outer.budget.give_back(images=len(missing), unet_rows=self.model.unet_rows(missing))
        self.paid.difference_update(drawing.id for drawing in drawings)
