"""Draws and scores: the only caller of the image model outside gradient and training code.

A request names conditionings and seeds. What the database holds is read from it, whichever process stored it; the rest is paid from the
Budget and drawn in one batched call; each picture is stored as soon as its batch is done. All candidates of a comparison share their seeds
(common random numbers), so differences between them are paired. Knows nothing of prompts, of methods or of how a picture is made.

The drawings that a run is making are stored too: a run resumed after a kill has paid for them already, and counts them as repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from functools import lru_cache, partial

import numpy as np
from PIL import Image

from limner.promptdb.errors import BadInput
from limner.promptdb.images import ImageStore
from limner.promptdb.records import Conditioning, Drawing, SamplerSettings, Score
from limner.promptdb.runs import InFlight
from limner.promptdb.store import PromptDB
from limner.tools.budget import TOLERANCE, Budget, BudgetSpent
from limner.tools.diffusion.base import CancelToken, Drawn, Hooks, ImageModel
from limner.tools.evaluation import Evaluation
from limner.tools.events import Emit
from limner.tools.prompt_language.carry import avoiding, carried
from limner.tools.scoring.base import Scorer, can_judge

__all__ = ["Emit", "Evaluation", "Evaluator"]

Pair = tuple[str, str]  # drawing id, reference id

SCORING_CHUNK = 64  # pictures open at a time; their scores are stored before the next are opened


class CacheIsFree:
    """The rule of payment of runs: stored pictures cost nothing, and neither do those that a process of this run had paid for
    when it died.
    """

    reuse_cache = True

    def owed(self, wanted: Mapping[str, Drawing], stored: Mapping[str, str | None], lost: set[str]) -> list[Drawing]:
        """Returns the drawings of a request that have to be paid for. `lost`: ids of what was paid for and lost in a kill."""
        return [drawing for key, drawing in wanted.items() if key not in stored and key not in lost]

    def missing(
        self, wanted: Mapping[str, Drawing], stored: Mapping[str, str | None], lost: set[str], paid: list[Drawing], model: ImageModel
    ) -> list[Drawing]:
        """Returns the drawings of a request that have to be made, now that `paid` of it is paid for."""
        return [*(drawing for key, drawing in wanted.items() if key not in stored and key in lost), *paid]

    def refund(self, missing: list[Drawing], paid: list[Drawing], model: ImageModel) -> None:
        """Undoes what `missing` counted; the Evaluator's own budget has its amounts back already."""

    def charge(self, budget: Budget, rows: float, stored: bool) -> None:
        """Pays `rows` UNet rows that draw no picture. `stored`: their result was taken before."""
        if not stored:
            budget.spend(unet_rows=rows)

    def unpaid(self, drawings: np.ndarray) -> np.ndarray:
        """Returns which drawing ids have no value because they were not paid for: bool, of the shape of `drawings`."""
        return np.zeros(drawings.shape, bool)

    def counts_as_drawn(self, drawings: Iterable[Drawing]) -> bool:
        """Returns whether these, though stored, were paid for since hooks were set."""
        return False

    def hooked(self) -> CacheIsFree:
        """Returns the rule for an Evaluator with new hooks, which have seen nothing yet."""
        return self


class EachSearchPays(CacheIsFree):
    """The rule of payment of comparisons: a search pays once for everything that it asks for, stored or not.

    Searches of one prompt share candidates, and a suite that is started again finds all of them stored; otherwise the second of two
    searches would have more to spend. What is really computed is spent on `real` too.
    """

    reuse_cache = False

    def __init__(self, real: Budget) -> None:
        self.real = real
        self.paid: set[str] = set()
        self._hooked: set[str] = set()

    def owed(self, wanted: Mapping[str, Drawing], stored: Mapping[str, str | None], lost: set[str]) -> list[Drawing]:
        """Returns the drawings that this search has not paid for yet."""
        return [drawing for key, drawing in wanted.items() if key not in self.paid]

    def missing(
        self, wanted: Mapping[str, Drawing], stored: Mapping[str, str | None], lost: set[str], paid: list[Drawing], model: ImageModel
    ) -> list[Drawing]:
        """Returns those of `paid` that are not stored, and spends them on `real`."""
        ids = {drawing.id for drawing in paid}
        self.paid |= ids
        self._hooked |= ids
        if found := [drawing for drawing in paid if drawing.id not in stored]:
            self.real.spend(images=len(found), unet_rows=model.unet_rows(found))
        return found

    def refund(self, missing: list[Drawing], paid: list[Drawing], model: ImageModel) -> None:
        """Gives `missing` back to `real`; `paid` is no longer paid for."""
        self.real.give_back(images=len(missing), unet_rows=model.unet_rows(missing))
        self.paid.difference_update(drawing.id for drawing in paid)

    def charge(self, budget: Budget, rows: float, stored: bool) -> None:
        """Pays the rows from `budget`, stored or not, and as in CacheIsFree from `real`."""
        budget.spend(unet_rows=rows)
        super().charge(self.real, rows, stored)

    def unpaid(self, drawings: np.ndarray) -> np.ndarray:
        """Returns which drawing ids this search has not paid for: bool, of the shape of `drawings`."""
        return np.array([key not in self.paid for key in drawings.ravel()], bool).reshape(drawings.shape)

    def counts_as_drawn(self, drawings: Iterable[Drawing]) -> bool:
        """Returns whether all were paid for since hooks were set: a gradient at a picture that was just drawn is cheaper, stored or not."""
        return all(drawing.id in self._hooked for drawing in drawings)

    def hooked(self) -> CacheIsFree:
        """Returns the same rule with the same payments, whose hooks have seen nothing yet."""
        inner = copy(self)
        inner._hooked = set()
        return inner


@lru_cache(maxsize=4096)
def _as_drawn(conditioning: Conditioning, typed: Conditioning | None, unwanted: tuple[str, ...]) -> Conditioning:
    drawn = conditioning if typed is None else carried(typed, conditioning)
    return avoiding(drawn, unwanted) if unwanted else drawn


class Evaluator:
    """Draws, scores and stores. `scorers[0]` is the objective of searches; the others are reported beside it.

    With `emit`, a request reports a `Drawn` (tools/events.py) for each new picture and a `Scored` for each new score. `cancel`: checked
    while pictures are drawn.
    """

    def __init__(
        self,
        model: ImageModel,
        scorers: Sequence[Scorer],
        db: PromptDB,
        images: ImageStore,
        budget: Budget,
        settings: SamplerSettings | None = None,
        run: str = "",
        cancel: CancelToken | None = None,
    ) -> None:
        self.model = model
        self.scorers = _distinct(scorers)
        self.db = db
        self.images = images
        self.budget = budget
        self.settings = settings or model.default_settings
        self.run = run
        self.cancel = cancel
        self.hooks: Hooks | None = None
        self.typed: Conditioning | None = None
        self.unwanted: tuple[str, ...] = ()
        self._as_asked: frozenset[Conditioning] = frozenset()
        self._payment = CacheIsFree()
        self._dropped: set[str] = set()
        self._in_flight = InFlight(db, run)

    @property
    def objective(self) -> Scorer:
        """Returns the first scorer, which searches improve. Raises BadInput for a judge, which must stay out of searches."""
        if not self.scorers:
            raise BadInput("a search needs a scorer as its objective: name one with --scorer")
        first = self.scorers[0]
        if first.held_out:
            raise BadInput(f"{first.name!r} is kept out of every search, so it cannot be the objective: put another --scorer first")
        return first

    @property
    def held_out(self) -> tuple[Scorer, ...]:
        """Returns the scorers that take no part in the search: all but the first."""
        return self.scorers[1:]

    @property
    def dropped(self) -> int:
        """Returns the number of distinct drawings without a value: the model drew NaN twice, or a scorer gave no finite answer."""
        return len(self._dropped)

    def scorer(self, name: str) -> Scorer:
        """Returns the scorer of that name. Raises BadInput with the names that there are."""
        for scorer in self.scorers:
            if scorer.name == name:
                return scorer
        raise BadInput(f"scorer {name!r} was not opened, only {', '.join(item.name for item in self.scorers) or 'none'}")

    def carrying(self, typed: Conditioning) -> Evaluator:
        """Returns the same Evaluator, which draws every conditioning with the weights, chunk borders and negative prompt of `typed`, the
        prompt as the person wrote it; who searches need not know of them.
        """
        inner = copy(self)
        inner.typed = None if typed == Conditioning(typed.text) else typed
        return inner

    def avoiding(self, unwanted: Sequence[str], prompts: Sequence[str]) -> Evaluator:
        """Returns the same Evaluator, which draws every conditioning with the words `unwanted` in its negative prompt, but for the
        `prompts` themselves: they are what the person would have got.
        """
        inner = copy(self)
        inner.unwanted, inner._as_asked = tuple(unwanted), frozenset(Conditioning(prompt) for prompt in prompts)
        return inner

    def as_drawn(self, conditioning: Conditioning) -> Conditioning:
        """Returns a conditioning with what `carrying` and `avoiding` add to it."""
        return _as_drawn(conditioning, self.typed, () if conditioning in self._as_asked else self.unwanted)

    def drawing(self, conditioning: Conditioning, seed: int) -> Drawing:
        """Returns the record of the picture of a conditioning on a seed, drawn or not."""
        return Drawing(self.as_drawn(conditioning), int(seed), self.settings, self.model.fingerprint)

    def image(self, drawing_id: str) -> Image.Image:
        """Returns the picture of a stored drawing. Raises BadInput where there is none."""
        picture = self._pictures([drawing_id]).get(drawing_id)
        if picture is None:
            raise BadInput(f"there is no picture of drawing {drawing_id}: it was never drawn here, or the model gave NaN")
        return self.images.get(picture)

    def draw(self, conditionings: Sequence[Conditioning], seeds: Sequence[int], emit: Emit | None = None) -> np.ndarray:
        """Draws every conditioning on every seed; returns drawing ids of shape (conditionings, seeds).

        What is stored costs nothing; the rest is paid before it is drawn. Where the budget does not cover all of it, the longest run of
        whole pictures that fits is drawn and stored, candidate by candidate, each on all its seeds; then BudgetSpent is raised (`known`
        reads what there is). No cap is ever crossed.
        """
        table = self._table(conditionings, seeds)
        self.draw_each(list(table.flat), emit)
        return _ids(table)

    def draw_each(self, drawings: Sequence[Drawing], emit: Emit | None = None) -> None:
        """Draws these pictures, as `draw` does."""
        wanted = {drawing.id: drawing for drawing in drawings}
        stored = self._pictures(wanted)
        self._dropped.update(key for key, picture in stored.items() if picture is None)
        lost = self._in_flight.lost
        paid, refusal = self._pay(self._payment.owed(wanted, stored, lost))
        if missing := self._payment.missing(wanted, stored, lost, paid, self.model):
            self._draw(missing, emit, partial(self._refund, paid, stored))
        if refusal:
            raise refusal

    def unpaid(self, drawings: Iterable[Drawing]) -> list[Drawing]:
        """Returns those of the drawings, each once, that a request would have to pay for."""
        wanted = {drawing.id: drawing for drawing in drawings}
        return self._payment.owed(wanted, self._pictures(wanted), self._in_flight.lost)

    def affords(self, drawings: Iterable[Drawing]) -> bool:
        """Returns whether the budget covers a request for these drawings now; what is stored is free where the cache is reused."""
        owed = self.unpaid(drawings)
        if self.budget.left("seconds") == 0 or len(owed) > self.budget.left("images"):
            return False
        return self.model.unet_rows(owed) <= self.budget.left("unet_rows") + TOLERANCE

    @property
    def rows_per_image(self) -> float:
        """Returns the UNet rows of one picture by the present settings: one image equivalent."""
        return float(self.model.unet_rows([self.drawing(Conditioning(""), 0)]))

    def image_equivalents(self, keep: int = 0) -> Budget:
        """Returns a slice of the budget in which the cap on images is a cap on UNet rows too, so that gradients are paid for like pictures.

        `keep`: images at the end of the budget that the slice cannot spend. The cap is counted from the whole budget, not from what is
        left: a run that is resumed after a kill, having paid for gradients, ends where an undisturbed one does.
        """
        budget = self.budget
        whole = max(0.0, budget.spent["images"] + budget.left("images") - keep) * self.rows_per_image
        return budget.slice(unet_rows=max(0.0, whole - budget.spent["unet_rows"]), keep={"images": keep})

    def within(self, budget: Budget, scorers: Sequence[Scorer] | None = None, *, reuse_cache: bool = True) -> Evaluator:
        """Returns the same Evaluator, paying from another budget, such as a slice of its own; with other scorers where some are given.

        Without `reuse_cache` everything asked for is paid from `budget`, once, stored or not, so that searches can be compared; what is
        really computed is paid from this Evaluator's budget too.
        """
        inner = copy(self)
        inner.budget = budget
        inner.scorers = self.scorers if scorers is None else _distinct(scorers)
        if not reuse_cache:
            inner._payment, inner._dropped = EachSearchPays(self.budget), set()
        return inner

    def with_hooks(self, hooks: Hooks) -> Evaluator:
        """Returns the same Evaluator, drawing with `hooks`. A black box raises BadInput at the first drawing."""
        inner = copy(self)
        inner.hooks = hooks
        inner._payment = self._payment.hooked()
        return inner

    @property
    def reuse_cache(self) -> bool:
        """Returns whether what is stored costs nothing, and what an earlier process of the run paid for is not paid again."""
        return self._payment.reuse_cache

    def counts_as_drawn(self, drawings: Iterable[Drawing]) -> bool:
        """Returns whether these were paid for as if they had been drawn with the present hooks, though they were stored."""
        return self._payment.counts_as_drawn(drawings)

    def charge(self, rows: float, stored: bool = False) -> None:
        """Pays for UNet rows that draw no picture, such as those of a gradient.

        `stored`: the gradient was taken before, or paid for and lost in a kill, which is free where the cache is reused. Raises
        BudgetSpent.
        """
        self._payment.charge(self.budget, rows, stored)

    def evaluate(
        self,
        conditionings: Sequence[Conditioning],
        reference: str | Sequence[str],
        seeds: Sequence[int],
        scorers: Sequence[str] | None = None,
        emit: Emit | None = None,
    ) -> Evaluation:
        """Draws and scores every conditioning on every seed; returns an Evaluation.

        `reference`: the user's prompt, or one for each conditioning. `scorers`: names; None for all of them. A search names its objective,
        so that it never sees the others. Raises BudgetSpent as `draw` does; scoring itself is free.
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
        """Returns the Evaluation of stored pictures alone, NaN where there is none. Draws nothing; takes the arguments of `evaluate`."""
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
        unpaid = self._payment.unpaid(drawings)
        for rows in values.values():
            rows[unpaid] = np.nan
        directions = {scorer.name: scorer.higher_is_better for scorer in chosen}
        return Evaluation(tuple(conditionings), tuple(map(int, seeds)), drawings, values, directions)

    def _table(self, conditionings: Sequence[Conditioning], seeds: Sequence[int]) -> np.ndarray:
        if len(set(seeds)) < len(seeds):
            raise ValueError(f"seeds must differ, or one picture would count twice: {list(seeds)}")
        table = np.empty((len(conditionings), len(seeds)), dtype=object)
        for row, conditioning in zip(table, conditionings, strict=True):
            row[:] = [self.drawing(conditioning, seed) for seed in seeds]
        return table

    def _pictures(self, ids: Iterable[str]) -> dict[str, str | None]:
        """The image hash of each stored drawing (None: drawn as NaN); one whose file is gone counts as never drawn."""
        stored = {key: item.image for key, item in self.db.stored_drawings(list(ids)).items()}
        return {key: image for key, image in stored.items() if image is None or self.images.path(image).exists()}

    def _pay(self, missing: list[Drawing]) -> tuple[list[Drawing], BudgetSpent | None]:
        """Pays for the longest head of `missing` that the budget covers; returns it, and the error that refused the rest."""
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
        """How many from the front fit, short of all. Shared work makes costs non-additive, hence the bisection."""
        images, rows = self.budget.left("images"), self.budget.left("unet_rows") + 1e-9
        fits, bound = 0, len(drawings) if self.budget.left("seconds") > 0 else 1
        while bound - fits > 1:
            middle = (fits + bound) // 2
            if middle <= images and self.model.unet_rows(drawings[:middle]) <= rows:
                fits = middle
            else:
                bound = middle
        return fits

    def _refund(self, paid: list[Drawing], stored: Mapping[str, str | None]) -> None:
        """Gives back what was paid for pictures that were refused before they were begun."""
        self.budget.give_back(images=len(paid), unet_rows=self.model.unet_rows(paid))
        self._payment.refund([drawing for drawing in paid if drawing.id not in stored], paid, self.model)

    def _draw(self, missing: list[Drawing], emit: Emit | None, refund: Callable[[], None]) -> None:
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
            for drawn in self.model.draw(missing, keep, cancel=self.cancel, hooks=self.hooks):
                keep(drawn)
        except ValueError:
            if not buckets:  # refused as a whole (a prompt too long, settings that cannot be served): nothing was used
                refund()
                self._in_flight.end(ids)
            raise
        again = self._in_flight.end(ids)
        # Of what an earlier process was to draw when it died, at most one batch had been begun.
        if again:
            self.budget.repeat(min(len(again), max((buckets[key] for key in again), default=0)))

    def _score(
        self, pairs: list[Pair], texts: dict[str, str], scorers: Sequence[Scorer], emit: Emit | None
    ) -> dict[str, dict[Pair, float]]:
        judged = {scorer.name: {key for key, text in texts.items() if can_judge(scorer, text)} for scorer in scorers}
        found = {scorer.name: self._stored_scores([pair for pair in pairs if pair[1] in judged[scorer.name]], scorer) for scorer in scorers}

        def open_for(scorer: Scorer, pair: Pair) -> bool:
            return pair[1] in judged[scorer.name] and pair not in found[scorer.name]

        unscored = [pair for pair in pairs if any(open_for(scorer, pair) for scorer in scorers)]
        pictures = self._pictures({key for key, _ in unscored})
        todo = [pair for pair in unscored if pictures.get(pair[0])]
        for start in range(0, len(todo), SCORING_CHUNK):
            chunk = todo[start : start + SCORING_CHUNK]
            opened = {key: self.images.get(pictures[key] or "") for key in dict.fromkeys(key for key, _ in chunk)}
            for scorer in scorers:
                asked = [pair for pair in chunk if open_for(scorer, pair)]
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


def _distinct(scorers: Sequence[Scorer]) -> tuple[Scorer, ...]:
    names = [scorer.name for scorer in scorers]
    if len(set(names)) < len(names):
        raise BadInput(f"each scorer can be named once, not {', '.join(names)}")
    return tuple(scorers)


def _ids(table: np.ndarray) -> np.ndarray:
    ids = np.empty(table.shape, dtype=object)
    for row, drawings in zip(ids, table, strict=True):
        row[:] = [drawing.id for drawing in drawings]
    return ids
