"""What a text gradient costs, ours against the procedure of the reference, on the same weights, in one interleaved run.

    python -m benchmarks.dpo_diff [--checkpoint miniature] [--seeds 4] [--repeats 3]

The reference (ruocwang/dpo-diffusion) takes seeds one by one, makes the scheduler anew for each, recomputes the steps before the
graded one, grades both branches of guidance, and decodes with the full VAE; that is re-created here. Ours batches the seeds, takes x_t
from the candidate's own drawing, grades the searched branch alone; "linear" also goes back through a fitted linear decoder instead of
the VAE. Ways take turns (ABC CBA ...); the smallest time counts, CPU time on a CPU. Prints JSON lines: times, ratios of the reference
to ours with their range and target, and the cosine of the gradients. Exit code 0 where all targets were met, 1 where not.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from promptdb.records import SamplerSettings
from tools.diffusion.checkpoint import Checkpoint, open_checkpoint
from tools.diffusion.cost import PictureLoss, gradient_cost
from tools.diffusion.denoising import Denoising
from tools.diffusion.gradient import Shortcut, advance, shortcut_pictures
from tools.diffusion.linear_decoder import StraightThrough, fit_linear_decoder
from tools.diffusion.sampler import Sampler
from tools.diffusion.soft_text import SoftText, TextContext
from tools.scoring.clip import SphericalClipScorer
from tools.scoring.differentiable import differentiable
from tools.scoring.registry import open_scorer

if TYPE_CHECKING:
    import torch

TARGETS = {"ours": 1.8, "linear": 4.0}
LEAST_COSINE = 0.9
PROMPT, NEGATIVE = "a red car left of a tree", "dull colors, blurry, cropped"
AT = 0.4  # share of the steps before the graded call
FITTED = 24  # drawings that the linear decoder is fitted on

Gradient = Callable[[], "torch.Tensor"]


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    checkpoint = open_checkpoint(options.checkpoint, device=options.device, dtype=options.dtype)
    given = {"guidance_scale": options.guidance, "steps": options.steps}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    settings = replace(checkpoint.default_settings, scheduler="DDIMScheduler", **changes)
    loss = _loss(checkpoint, options.scorer)
    soft = SoftText(Sampler(checkpoint).texts)
    positive, negative = soft.hard([PROMPT]), soft.hard([NEGATIVE])
    shortcut, seeds = Shortcut(int(AT * settings.steps)), list(range(options.seeds))
    latents = _latents(checkpoint, settings, seeds, positive, negative, shortcut.done)
    decoder = StraightThrough(checkpoint, fit_linear_decoder(checkpoint, _clean(checkpoint, settings, soft)))
    ways: dict[str, Gradient] = {
        "reference": lambda: _reference(checkpoint, settings, seeds, positive, negative, shortcut.done, loss),
        "ours": lambda: _ours(checkpoint, settings, seeds, positive, negative, shortcut, latents, loss, None),
        "linear": lambda: _ours(checkpoint, settings, seeds, positive, negative, shortcut, latents, loss, decoder),
    }
    for way in ways.values():
        way()
    times: dict[str, list[float]] = {name: [] for name in ways}
    found: dict[str, torch.Tensor] = {}
    for turn in range(options.repeats):
        for name in ways if turn % 2 == 0 else reversed(ways):
            seconds, found[name] = _timed(checkpoint, ways[name])
            times[name].append(seconds)
    return _report(options, checkpoint, settings, times, found, loss, decoder, shortcut)


def _report(
    options: argparse.Namespace,
    checkpoint: Checkpoint,
    settings: SamplerSettings,
    times: dict[str, list[float]],
    found: dict[str, torch.Tensor],
    loss: PictureLoss,
    decoder: StraightThrough,
    shortcut: Shortcut,
) -> int:
    facts = {"checkpoint": options.checkpoint, "device": checkpoint.device_name, "seeds": options.seeds, "steps": settings.steps}
    for name, seconds in times.items():
        spread = (max(seconds) - min(seconds)) / min(seconds)
        print(json.dumps({"way": name, "ms_per_gradient": round(1000 * min(seconds), 1), "spread": round(spread, 3), **facts}))
    costs = {"ours": gradient_cost(checkpoint, settings, loss), "linear": gradient_cost(checkpoint, settings, loss, decoder)}
    met = True
    for name, target in TARGETS.items():
        ratio = min(times["reference"]) / min(times[name])
        turns = [theirs / ours for theirs, ours in zip(times["reference"], times[name], strict=True)]
        cosine = float((found[name] * found["reference"]).sum() / (found[name].norm() * found["reference"].norm()))
        passed = ratio >= target and cosine >= (LEAST_COSINE if name == "linear" else 0.9999)
        line = {
            "ratio": round(ratio, 2),
            "range": [round(min(turns), 2), round(max(turns), 2)],
            "target": target,
            "cosine": round(cosine, 4),
        }
        counted = {"cosine": round(cosine, 4), "unet_rows_per_seed": round(costs[name].gradient(shortcut, reused=True), 2)}
        print(json.dumps({"comparison": f"reference / {name}", **line, **counted, "pass": passed}))
        met = met and passed
    return 0 if met else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dpo_diff", description="The cost of a text gradient.")
    parser.add_argument("--checkpoint", default="miniature", help="miniature, a folder or a hub id")
    parser.add_argument("--device", help="torch's name; by default the first GPU, else the CPU")
    parser.add_argument("--dtype", help="float32, float16 or bfloat16")
    parser.add_argument("--scorer", default="alignment", help="a CLIP of the checkpoint's card, or clip")
    parser.add_argument("--guidance", type=float, help="by default what the checkpoint recommends")
    parser.add_argument("--steps", type=int, help="by default what the checkpoint recommends")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3, help="turns of each way")
    return parser


def _loss(checkpoint: Checkpoint, name: str) -> PictureLoss:
    scorer = open_scorer(name, checkpoint)
    loss = differentiable(SphericalClipScorer(scorer.encoder), PROMPT)  # type: ignore[attr-defined]
    assert loss is not None
    return loss


def _latents(
    checkpoint: Checkpoint, settings: SamplerSettings, seeds: list[int], positive: TextContext, negative: TextContext, done: int
) -> torch.Tensor:
    """x_t as the drawing of the candidate leaves it behind."""
    denoising = Denoising(checkpoint, settings, seeds, [settings.guidance_scale] * len(seeds))
    advance(denoising, positive.expand(len(seeds)), negative.expand(len(seeds)), done)
    return denoising.latents


def _clean(checkpoint: Checkpoint, settings: SamplerSettings, soft: SoftText) -> torch.Tensor:
    """Clean latents of other prompts and seeds than those measured."""
    subjects = ("a dog", "a blue house", "two boats", "a green tree at night", "a cat in the snow", "a pizza, watercolor")
    import torch

    rows = [
        _latents(checkpoint, settings, [1000 + seed], soft.hard([subjects[seed % len(subjects)]]), soft.hard([""]), settings.steps)
        for seed in range(FITTED)
    ]
    return torch.cat(rows)


def _ours(
    checkpoint: Checkpoint,
    settings: SamplerSettings,
    seeds: list[int],
    positive: TextContext,
    negative: TextContext,
    shortcut: Shortcut,
    latents: torch.Tensor,
    loss: PictureLoss,
    decoder: StraightThrough | None,
) -> torch.Tensor:
    leaf = negative.hidden.detach().clone().requires_grad_()
    pictures = shortcut_pictures(checkpoint, settings, seeds, positive, TextContext(leaf), shortcut, latents, decoder)
    loss(pictures).mean().backward()
    assert leaf.grad is not None
    return leaf.grad


def _reference(
    checkpoint: Checkpoint,
    settings: SamplerSettings,
    seeds: list[int],
    positive: TextContext,
    negative: TextContext,
    done: int,
    loss: PictureLoss,
) -> torch.Tensor:
    """Seed by seed: all steps before, then one call with both branches graded, x_0 in closed form, the full VAE."""
    import torch

    from tools.diffusion.gradient import clean_latents

    both = torch.cat([negative.hidden, positive.hidden]).detach().clone().requires_grad_()
    for seed in seeds:
        denoising = Denoising(checkpoint, settings, [seed], [settings.guidance_scale])
        with torch.no_grad():
            for step in range(done):
                denoising.advance(step, denoising.predict(step, both))
        clean = clean_latents(denoising, done, denoising.predict(done, both))
        (loss(checkpoint.decode(clean)).mean() / len(seeds)).backward()
    assert both.grad is not None
    return both.grad[:1]


def _timed(checkpoint: Checkpoint, work: Gradient) -> tuple[float, torch.Tensor]:
    """Seconds: of CPU on a CPU, where other load must not count; of wall time between two synchronisations elsewhere."""
    import torch

    if checkpoint.device.type == "cpu":
        start = time.process_time()
        gradient = work()
        return time.process_time() - start, gradient
    torch.cuda.synchronize(checkpoint.device)
    start = time.perf_counter()
    gradient = work()
    torch.cuda.synchronize(checkpoint.device)
    return time.perf_counter() - start, gradient


if __name__ == "__main__":
    sys.exit(main())
