"""Gradients for a search: computed on the search seeds, charged to the Budget, stored in the database so that none is computed twice.

There are two kinds: with respect to the probabilities of a soft prompt (the paper's), and with respect to the encoded text of one
candidate, which ranks all single swaps by their own encodings (this project's).
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from limner.promptdb.records import Drawing, content_id
from limner.promptdb.runs import Runs
from limner.tools.diffusion.gradients.cost import GradientCost, PictureLoss, gradient_cost
from limner.tools.diffusion.gradients.shortcut import Decode, Shortcut, loss_scale, shortcut_pictures
from limner.tools.diffusion.gradients.soft_text import SoftText, TextContext
from limner.tools.diffusion.sampling.sampler import Sampler
from limner.tools.evaluator import Evaluator
from limner.tools.solvers.dpo_diff.relaxed import Relaxed
from limner.tools.solvers.dpo_diff.space import Side, Space
from limner.tools.solvers.dpo_diff.trials import Choice

if TYPE_CHECKING:
    import torch

PIXELS = 512 * 512
"""Pixels of the pictures differentiated at once: seeds share a batch while pictures are small."""

Latents = Callable[[Drawing, int], "torch.Tensor | None"]
"""Returns x_t of a drawing before a model call, (channels, height, width), or None where it was not recorded."""

VERSION = 2  # of the computation: a new version ignores stored gradients


class SearchGradient:
    """Computes gradients for one space, checkpoint and loss.

    `loss`: of pictures, lower is better. `latents`: x_t recorded while candidates were drawn. `decode`: a smaller decoder, which `name`
    distinguishes from the checkpoint's own in stored results.
    """

    def __init__(
        self,
        space: Space,
        evaluator: Evaluator,
        sampler: Sampler,
        loss: PictureLoss,
        seeds: Sequence[int],
        latents: Latents = lambda drawing, step: None,
        decode: Decode | None = None,
        name: str = "",
    ) -> None:
        self.space = space
        self.evaluator = evaluator
        self.checkpoint = sampler.checkpoint
        self.texts = sampler.texts
        self.relaxed = Relaxed(space, SoftText(sampler.texts))
        self.loss = loss
        self.seeds = tuple(seeds)
        self.latents = latents
        self.decode = decode
        self.name = name
        self.skipped = 0
        """Gradients that were not finite, and so were left out."""
        settings = evaluator.settings
        self.calls = len(self.checkpoint.scheduler(settings.scheduler, settings.steps).timesteps)
        self.encoded: set[str] = set()
        self.charged = 0.0
        """UNet rows of all that was asked for, stored or not: what a search without a kill would have paid by now."""

    @property
    def cost(self) -> GradientCost:
        """The cost of gradients and previews in UNet rows."""
        settings, objective = self.evaluator.settings, self.evaluator.objective
        key = (self.checkpoint.fingerprint, settings, objective.name, objective.version, self.name)
        if key not in _costs:
            _costs[key] = gradient_cost(self.checkpoint, settings, self.loss, self.decode)
        return _costs[key]

    @property
    def pictures_at_once(self) -> int:
        """Pictures in one batch of a gradient."""
        settings = self.evaluator.settings
        return max(1, PIXELS // (settings.width * settings.height))

    def of_weights(self, weights: Sequence[torch.Tensor], shortcut: Shortcut) -> tuple[float, list[np.ndarray]]:
        """Returns the mean loss over the seeds and its gradient with respect to each slot's weights, which stay detached.

        A gradient that is not finite is returned as it is, for the search to skip. Raises BudgetSpent before anything is computed.
        """
        import torch

        key = ["weights", [weight.tolist() for weight in weights], asdict(shortcut)]
        if (stored := self.taken(key)) is not None:
            return stored["loss"], [np.array(row) for row in stored["gradients"]]
        both = len(self.relaxed.sides) > 1
        rows = len(self.seeds) * self.cost.gradient(shortcut, both=both)
        rows += len(self.relaxed.sides) * (self.cost.text + self.cost.text_back)
        self.pay(key, rows)
        leaves = [weight.detach().clone().requires_grad_() for weight in weights]
        contexts = self.relaxed.contexts(leaves)
        losses, back = self._context_gradient(contexts, shortcut, None)
        graded = []
        for side in self.relaxed.sides:
            graded.append((contexts[side].hidden, back[side].hidden))
            if (pooled := contexts[side].pooled) is not None and (found := back[side].pooled) is not None:
                graded.append((pooled, found))
        torch.autograd.backward([there for there, _ in graded], [found.mean(dim=0, keepdim=True).to(there) for there, found in graded])
        gradients = [np.zeros(len(leaf)) if leaf.grad is None else leaf.grad.double().cpu().numpy() for leaf in leaves]
        if all(np.isfinite(row).all() for row in gradients):
            self.keep(key, rows, {"loss": float(losses.mean()), "gradients": [row.tolist() for row in gradients]})
        return float(losses.mean()), gradients

    def of_swaps(self, choice: Choice, shortcut: Shortcut, seeds: Sequence[int]) -> list[np.ndarray]:
        """Returns the estimated change of the loss by each single swap at a candidate: for every slot an array over its candidates, 0 at
        the current one, mean over the seeds.

        First order in the UNet's text input: the gradient times the difference that the swap makes to the encoded text. The text encoder
        itself is exact, whatever the number of a candidate's tokens. x_t comes from the candidate's own drawings where recorded. NaN where
        the gradient is not finite. Raises BudgetSpent before anything is computed.
        """
        candidates = [slot.candidates for slot in self.space.slots]
        key = ["swaps", self.space.render(choice).id, candidates, list(choice), list(seeds), asdict(shortcut)]
        texts = swapped(self.space, choice)
        fresh = {text for rows in texts for _, text in rows} - self.encoded
        self.encoded |= fresh
        if (stored := self.taken(key)) is not None:
            return [np.array(row) for row in stored["gains"]]
        latents = self.kept_latents(choice, shortcut, seeds)
        reused = latents is not None or self.counts_as_kept(choice, shortcut, seeds)
        rows = len(seeds) * self.cost.gradient(shortcut, reused=reused, both=len(self.relaxed.sides) > 1)
        rows += len(fresh) * self.cost.text
        self.pay(key, rows)
        here = self.space.render(choice)
        own: dict[Side, str] = {"positive": here.text, "negative": here.negative}
        known = self.texts.encode([*own.values(), *(text for rows_ in texts for _, text in rows_)])
        contexts = {side: TextContext(known[text][None].clone().requires_grad_(side in self.relaxed.sides)) for side, text in own.items()}
        _, back = self._context_gradient(contexts, shortcut, latents, seeds)
        mean = {side: back[side].hidden.mean(dim=0) for side in self.relaxed.sides}
        gains = [
            np.array([float((mean[side] * (known[text] - known[own[side]]).float()).sum()) for side, text in rows_]) for rows_ in texts
        ]
        if not all(np.isfinite(row).all() for row in gains):
            self.skipped += 1
        else:
            self.keep(key, rows, {"gains": [row.tolist() for row in gains]})
        return gains

    def _context_gradient(
        self, contexts: dict[Side, TextContext], shortcut: Shortcut, latents: torch.Tensor | None, seeds: Sequence[int] | None = None
    ) -> tuple[torch.Tensor, dict[Side, TextContext]]:
        """Returns losses (seeds,) and their gradients with respect to the searched contexts, (seeds, tokens, dim), separately for each
        seed.
        """
        import torch

        seeds = self.seeds if seeds is None else seeds
        settings, scale, chunk = self.evaluator.settings, loss_scale(self.checkpoint), self.pictures_at_once
        losses: list[torch.Tensor] = []
        found: dict[Side, list[TextContext]] = {side: [] for side in self.relaxed.sides}
        for start in range(0, len(seeds), chunk):
            part = list(seeds[start : start + chunk])
            leaves = {side: _leaf(context, len(part), side in self.relaxed.sides) for side, context in contexts.items()}
            given = None if latents is None else latents[start : start + chunk]
            with torch.enable_grad():
                pictures = shortcut_pictures(
                    self.checkpoint, settings, part, leaves["positive"], leaves["negative"], shortcut, given, self.decode
                )
                loss = self.loss(pictures)
            if loss.requires_grad:  # without guidance the negative prompt takes no part
                (loss.sum() * scale).backward()
            losses.append(loss.detach())
            for side, rows in found.items():
                rows.append(_gradient(leaves[side], scale))
        joined = {
            side: TextContext(
                torch.cat([row.hidden for row in rows]),
                None if rows[0].pooled is None else torch.cat([row.pooled for row in rows if row.pooled is not None]),
            )
            for side, rows in found.items()
        }
        return torch.cat(losses), joined

    def _drawings(self, choice: Choice, seeds: Sequence[int]) -> list[Drawing]:
        conditioning = self.space.render(choice)
        return [self.evaluator.drawing(conditioning, seed) for seed in seeds]

    def counts_as_kept(self, choice: Choice, shortcut: Shortcut, seeds: Sequence[int]) -> bool:
        """Whether x_t is free although it was not recorded, because the Evaluator counts the stored pictures as just drawn."""
        return shortcut.graded == 1 and self.evaluator.counts_as_drawn(self._drawings(choice, seeds))

    def kept_latents(self, choice: Choice, shortcut: Shortcut, seeds: Sequence[int]) -> torch.Tensor | None:
        """Returns x_t of a candidate's own drawings, (seeds, channels, height, width); None unless all of them were recorded."""
        import torch

        found = [self.latents(drawing, shortcut.done) for drawing in self._drawings(choice, seeds)]
        kept = [row for row in found if row is not None]
        return torch.stack(kept) if len(kept) == len(found) and shortcut.graded == 1 else None

    def _key(self, what: object) -> str:
        evaluator = self.evaluator
        objective = evaluator.objective
        judged = [objective.name, objective.version, objective.higher_is_better]
        return content_id(
            ["gradient", VERSION, self.checkpoint.fingerprint, evaluator.settings.to_json(), self.space.given.to_json(), self.name, judged,
             list(self.seeds), what]
        )  # fmt: skip

    def taken(self, what: object) -> dict[str, Any] | None:
        """Returns a stored result and charges its rows as stored ones; None where there is none."""
        text = self.evaluator.db.stored_answer(self._key(what))
        if text is None:
            return None
        found: dict[str, Any] = json.loads(text)
        self.evaluator.charge(found["rows"], stored=True)
        self.charged += found["rows"]
        return found

    def pay(self, what: object, rows: float) -> None:
        """Charges the rows of a computation before it begins. What a killed process of the same run had charged is charged as stored."""
        evaluator = self.evaluator
        runs, begun = Runs(evaluator.db), content_id(["begun", self._key(what), evaluator.run])
        lost = bool(evaluator.run) and runs.memo(evaluator.run, begun) is not None
        evaluator.charge(rows, stored=lost)
        if evaluator.run and not lost:
            runs.remember(evaluator.run, begun, rows)
        self.charged += rows

    def keep(self, what: object, rows: float, found: dict[str, object]) -> None:
        """Stores a result and its rows, for `taken`."""
        self.evaluator.db.add_answer(self._key(what), "gradient", json.dumps({"rows": rows, **found}))


def swapped(space: Space, choice: Choice) -> list[list[tuple[Side, str]]]:
    """Returns for every slot and candidate the side that it changes, and that side's text with the candidate in place."""
    rows: list[list[tuple[Side, str]]] = []
    for number, slot in enumerate(space.slots):
        swaps = [space.render((*choice[:number], candidate, *choice[number + 1 :])) for candidate in range(len(slot.candidates))]
        rows.append([(slot.side, swap.text if slot.side == "positive" else swap.negative) for swap in swaps])
    return rows


class KeptLatents:
    """Records x_t of drawings as they are drawn, at the model calls in `steps`; forgets the oldest beyond `capacity` drawings."""

    def __init__(self, steps: Sequence[int], capacity: int = 512) -> None:
        self.steps = frozenset(steps)
        self.capacity = capacity
        self._batch: list[str] = []
        self._kept: OrderedDict[tuple[str, int], torch.Tensor] = OrderedDict()

    def on_batch(self, drawings: Sequence[Drawing]) -> None:
        """Hook: notes the drawings of the batch that begins."""
        self._batch = [drawing.id for drawing in drawings]

    def on_step(self, step: int, timestep: torch.Tensor, latents: torch.Tensor) -> None:
        """Hook: records a copy of `latents` (rows, channels, height, width) before model call `step`."""
        import torch

        if step not in self.steps:
            return
        with torch.inference_mode(False):
            for key, row in zip(self._batch, latents.clone(), strict=True):
                self._kept[key, step] = row
        while len(self._kept) > self.capacity * max(1, len(self.steps)):
            self._kept.popitem(last=False)

    def __call__(self, drawing: Drawing, step: int) -> torch.Tensor | None:
        """Returns x_t of a drawing before model call `step`, or None where it was not recorded."""
        return self._kept.get((drawing.id, step))


_costs: dict[tuple[object, ...], GradientCost] = {}
"""Costs by checkpoint, settings and loss, counted once in a process."""


def _leaf(context: TextContext, rows: int, graded: bool) -> TextContext:
    """Returns a context with one row for each picture, detached from the text encoder, so that every picture has its own gradient."""
    expanded = context.detached().expand(rows)
    hidden = expanded.hidden.clone().requires_grad_(graded)
    pooled = None if expanded.pooled is None else expanded.pooled.clone().requires_grad_(graded)
    return TextContext(hidden, pooled)


def _gradient(leaf: TextContext, scale: float) -> TextContext:
    import torch

    hidden = torch.zeros_like(leaf.hidden) if leaf.hidden.grad is None else leaf.hidden.grad
    pooled = None if leaf.pooled is None or leaf.pooled.grad is None else leaf.pooled.grad.float() / scale
    return TextContext(hidden.float() / scale, pooled)
