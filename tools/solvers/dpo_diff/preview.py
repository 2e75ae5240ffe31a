"""Previews of swaps: the picture that one UNet call with another word predicts from x_t, in closed form, decoded and scored.

A word costs one row and one decoding, and there is no linear approximation: from an empty negative prompt to a word is a long way, over
which a first-order estimate fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from limner.tools.diffusion.gradients.shortcut import Shortcut, advance, branch, clean_latents
from limner.tools.diffusion.gradients.soft_text import TextContext
from limner.tools.diffusion.sampling.denoising import Denoising
from limner.tools.solvers.dpo_diff.space import Side
from limner.tools.solvers.dpo_diff.text_gradient import SearchGradient, swapped
from limner.tools.solvers.dpo_diff.trials import Choice

if TYPE_CHECKING:
    import torch


class SwapPreview:
    """Ranks swaps by previews, as `SearchGradient.of_swaps` does by gradients.

    `gradient`: whose space, sampler, loss, budget and store it uses.
    """

    def __init__(self, gradient: SearchGradient) -> None:
        self.gradient = gradient
        self.calls = gradient.calls

    def of_swaps(self, choice: Choice, shortcut: Shortcut, seeds: Sequence[int]) -> list[np.ndarray]:
        """Returns the change of the previewed loss for each single swap at a candidate; the swapped word acts at model call `shortcut.done`
        alone.

        Returns for every slot an array over its candidates, 0 at the current one: the mean over the seeds, NaN where a loss is not finite.
        Raises BudgetSpent before anything is computed.
        """
        whole = self.gradient
        candidates = [slot.candidates for slot in whole.space.slots]
        key = ["previews", whole.space.render(choice).id, candidates, list(choice), list(seeds), asdict(shortcut)]
        here, texts = whole.space.render(choice), swapped(whole.space, choice)
        own: dict[Side, str] = {"positive": here.text, "negative": here.negative}
        # The current text is previewed too, since gains are differences to it.
        wanted = list(dict.fromkeys([next(iter(own.items())), *(pair for row in texts for pair in row)]))
        fresh = {text for _, text in wanted} - whole.encoded
        whole.encoded |= fresh
        if (stored := whole.taken(key)) is not None:
            return [np.array(row) for row in stored["gains"]]
        latents = whole.kept_latents(choice, shortcut, seeds)
        reused = latents is not None or whole.counts_as_kept(choice, shortcut, seeds)
        rows = len(seeds) * whole.cost.previews(shortcut, len(wanted), reused) + len(fresh) * whole.cost.text
        whole.pay(key, rows)
        losses = self._losses(own, wanted, shortcut, latents, seeds)
        base = losses[wanted[0]]
        gains = [np.array([float((losses[pair] - base).mean()) if pair[1] != own[pair[0]] else 0.0 for pair in row]) for row in texts]
        if all(np.isfinite(row).all() for row in gains):
            whole.keep(key, rows, {"gains": [row.tolist() for row in gains]})
        else:
            whole.skipped += 1
        return gains

    def _losses(
        self,
        own: dict[Side, str],
        wanted: Sequence[tuple[Side, str]],
        shortcut: Shortcut,
        latents: torch.Tensor | None,
        seeds: Sequence[int],
    ) -> dict[tuple[Side, str], np.ndarray]:
        """Returns losses (seeds,) for each text on its side, with the other side unchanged."""
        import torch

        whole, count, step = self.gradient, len(seeds), shortcut.done
        settings = whole.evaluator.settings
        known = whole.texts.encode([*own.values(), *(text for _, text in wanted)])
        contexts = {side: TextContext(known[text][None]) for side, text in own.items()}
        several = max(1, whole.pictures_at_once // count)
        found: dict[tuple[Side, str], np.ndarray] = {}
        with torch.no_grad():
            denoising = Denoising(whole.checkpoint, settings, seeds, [settings.guidance_scale] * count)
            if latents is None:
                advance(denoising, contexts["positive"].expand(count), contexts["negative"].expand(count), step)
            else:
                denoising.latents = latents.to(denoising.latents.device)
            stands = {side: branch(denoising, step, context.expand(count)) for side, context in contexts.items()}
            for side in own:
                pairs = [pair for pair in wanted if pair[0] == side]
                for start in range(0, len(pairs), several):
                    part = pairs[start : start + several]
                    wide = denoising.fork(list(range(count)) * len(part))
                    told = TextContext(torch.stack([known[text] for _, text in part]).repeat_interleave(count, dim=0))
                    sides = {name: row.repeat(len(part), 1, 1, 1) for name, row in stands.items()} | {side: branch(wide, step, told)}
                    prediction = sides["positive"]
                    if wide.guidance is not None:
                        prediction = sides["negative"] + wide.guidance * (prediction - sides["negative"])
                    pictures = (whole.decode or whole.checkpoint.decode)(clean_latents(wide, step, prediction))
                    judged = whole.loss(pictures).double().cpu().numpy().reshape(len(part), count)
                    found.update(zip(part, judged, strict=True))
        return found
