"""What a text gradient costs, ours against the procedure of the reference, on the same weights, in one interleaved run.

    python -m benchmarks.dpo_diff [--checkpoint miniature] [--seeds 4] [--repeats 3]

The reference (ruocwang/dpo-diffusion) takes seeds one by one, makes the scheduler anew for each, recomputes the steps before the
graded one, grades both branches of guidance, and decodes with the full VAE; that is re-created here. Ours batches the seeds, takes x_t
from the candidate's own drawing, grades the searched branch alone; "linear" also goes back through a fitted linear decoder instead of
the VAE. Ways take turns (ABC CBA ...) on the first prompt; the smallest time counts, CPU time on a CPU. Prints JSON lines: times, ratios
of the reference to ours with their range and target, and the cosine of the gradients, of all prompts as one vector and prompt by prompt.
Exit code 0 where all targets were met, 1 where not.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from limner.promptdb.records import SamplerSettings
from limner.tools.diffusion.checkpoint import Checkpoint, open_checkpoint
from limner.tools.diffusion.gradients.cost import PictureLoss, gradient_cost
from limner.tools.diffusion.gradients.linear_decoder import StraightThrough, fit_linear_decoder
from limner.tools.diffusion.gradients.shortcut import Shortcut, advance, clean_latents, shortcut_pictures
from limner.tools.diffusion.gradients.soft_text import SoftText, TextContext
from limner.tools.diffusion.sampling.denoising import Denoising
from limner.tools.diffusion.sampling.sampler import Sampler
from limner.tools.scoring.clip import SphericalClipScorer
from limner.tools.scoring.differentiable import differentiable
from limner.tools.scoring.registry import open_scorer

if TYPE_CHECKING:
    import torch

TARGETS = {"ours": 1.8, "linear": 4.0}
LEAST_COSINE = 0.9
PROMPTS = (
    "a red car left of a tree",
    "a blue bird on a bus",
    "a cat in the snow",
    "two penguins in a city",
    "a guitar indoors",
    "a yellow umbrella in a desert",
)
NEGATIVE = "dull colors, blurry, cropped"
AT = 0.4  # share of the steps before the graded call
FITTED_ON = ("a dog", "a blue house", "two boats", "a green tree at night", "a horse in a forest", "a pizza, watercolor")
FITTED = 8  # drawings of each that the linear decoder is fitted on, as they end and as they look at AT

Gradient = Callable[[int], "torch.Tensor"]  # of the prompt with that number


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    checkpoint = open_checkpoint(options.checkpoint, device=options.device, dtype=options.dtype)
    given = {"guidance_scale": options.guidance, "steps": options.steps}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    settings = replace(checkpoint.default_settings, scheduler="DDIMScheduler", **changes)
    losses = _losses(checkpoint, options.scorer)
    soft = SoftText(Sampler(checkpoint).texts)
    asked, negative = [soft.hard([prompt]) for prompt in PROMPTS], soft.hard([NEGATIVE])
    shortcut, seeds = Shortcut(int(AT * settings.steps)), list(range(options.seeds))
    latents = [_latents(checkpoint, settings, seeds, positive, negative, shortcut.done) for positive in asked]
    decoder = StraightThrough(checkpoint, fit_linear_decoder(checkpoint, _clean(checkpoint, settings, soft, shortcut.done)))

    def ours(number: int, decoder: StraightThrough | None) -> torch.Tensor:
        drawn = asked[number], negative, shortcut, latents[number], losses[number]
        return _ours(checkpoint, settings, seeds, *drawn, decoder)

    ways: dict[str, Gradient] = {
        "reference": lambda number: _reference(checkpoint, settings, seeds, asked[number], negative, shortcut.done, losses[number]),
        "ours": lambda number: ours(number, None),
        "linear": lambda number: ours(number, decoder),
    }
    found = {name: [way(number) for number in range(len(PROMPTS))] for name, way in ways.items()}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(options.repeats):
        for name in ways if turn % 2 == 0 else reversed(ways):
            times[name].append(_timed(checkpoint, ways[name]))
    return _report(options, checkpoint, settings, times, found, losses[0], decoder, shortcut)


def _report(
    options: argparse.Namespace,
    checkpoint: Checkpoint,
    settings: SamplerSettings,
    times: dict[str, list[float]],
    found: dict[str, list[torch.Tensor]],
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
        cosine = _cosine(found[name], found["reference"])
        single = [round(_cosine([one], [other]), 4) for one, other in zip(found[name], found["reference"], strict=True)]
        passed = ratio >= target and cosine >= (LEAST_COSINE if name == "linear" else 0.9999)
        line = {
            "ratio": round(ratio, 2),
            "range": [round(min(turns), 2), round(max(turns), 2)],
            "target": target,
            "cosine": round(cosine, 4),
            "cosine_by_prompt": single,
        }
        counted = {"unet_rows_per_seed": round(costs[name].gradient(shortcut, reused=True), 2)}
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


def _cosine(found: Sequence[torch.Tensor], reference: Sequence[torch.Tensor]) -> float:
    """Of the gradients of several prompts, each list as one vector: a prompt counts as much as its gradient is long."""
    dot = sum(float((one * other).sum()) for one, other in zip(found, reference, strict=True))
    lengths = [math.sqrt(sum(float(gradient.norm()) ** 2 for gradient in gradients)) for gradients in (found, reference)]
    return dot / (lengths[0] * lengths[1])


def _losses(checkpoint: Checkpoint, name: str) -> list[PictureLoss]:
    scorer = SphericalClipScorer(open_scorer(name, checkpoint).encoder)  # type: ignore[attr-defined]
    losses = [differentiable(scorer, prompt) for prompt in PROMPTS]
    assert None not in losses
    return losses  # type: ignore[return-value]


def _latents(
    checkpoint: Checkpoint, settings: SamplerSettings, seeds: list[int], positive: TextContext, negative: TextContext, done: int
) -> torch.Tensor:
    """x_t as the drawing of the candidate leaves it behind."""
    denoising = Denoising(checkpoint, settings, seeds, [settings.guidance_scale] * len(seeds))
    advance(denoising, positive.expand(len(seeds)), negative.expand(len(seeds)), done)
    return denoising.latents


def _clean(checkpoint: Checkpoint, settings: SamplerSettings, soft: SoftText, done: int) -> torch.Tensor:
    """Of other prompts and seeds than those measured: clean latents, and x_0 as it is predicted after `done` steps, which is what a
    shortcut decodes."""
    import torch

    found, empty = [], soft.hard([""]).expand(FITTED)
    for number, prompt in enumerate(FITTED_ON):
        positive, seeds = soft.hard([prompt]).expand(FITTED), list(range(1000 + FITTED * number, 1000 + FITTED * (number + 1)))
        denoising = Denoising(checkpoint, settings, seeds, [settings.guidance_scale] * FITTED)
        advance(denoising, positive, empty, done)
        with torch.no_grad():
            prediction = denoising.predict(done, torch.cat([empty.hidden, positive.hidden]))
            found.append(clean_latents(denoising, done, prediction))
        found.append(_latents(checkpoint, settings, seeds, soft.hard([prompt]), soft.hard([""]), settings.steps))
    return torch.cat(found)


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


def _timed(checkpoint: Checkpoint, work: Gradient) -> float:
    """Seconds: of CPU on a CPU, where other load must not count; of wall time between two synchronisations elsewhere."""
    import torch

    if checkpoint.device.type == "cpu":
        start = time.process_time()
        work(0)
        return time.process_time() - start
    torch.cuda.synchronize(checkpoint.device)
    start = time.perf_counter()
    work(0)
    torch.cuda.synchronize(checkpoint.device)
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
