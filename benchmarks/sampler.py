"""Pictures per second of our sampler against the stock pipeline, on the same weights, in one interleaved run.

    python -m benchmarks.sampler [--checkpoint miniature] [--n 64] [--steps 20] [--repeats 4]

Draws `n` prompts with one seed each, text encoding and decoding to images included, in three ways: ours; stock one picture at a
time; stock at its best batch size, found beforehand. The ways take turns, forth and back (ABC CBA ...), so that drift of the
machine hits all alike; the smallest time of each counts. On a CPU the time is the process's own CPU time. Prints JSON lines: the
times, then ratios of stock to ours (above 1: ours is faster) with the range over the turns and the target.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from limner.promptdb.errors import BadInput
from limner.promptdb.records import Conditioning, Drawing
from limner.tools.diffusion.checkpoint import Checkpoint, open_checkpoint
from limner.tools.diffusion.sampling.sampler import Sampler

TARGETS = {"one at a time": 1.3, "best batch": 0.98}
BATCHES = (2, 4, 8, 16, 32, 64)

Draw = Callable[[], list[Image.Image]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 where all targets were met, 1 where not, 2 for bad input."""
    options = _parser().parse_args(arguments)
    try:
        checkpoint = open_checkpoint(options.checkpoint, device=options.device, dtype=options.dtype)
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    drawings = _drawings(checkpoint, options.n, options.steps)
    pipeline = _stock(checkpoint, drawings[0])
    batch = _best_batch(checkpoint, pipeline, drawings)
    ways: dict[str, Draw] = {
        "ours": lambda: _ours(checkpoint, drawings),
        "one at a time": lambda: _theirs(pipeline, drawings, 1),
        "best batch": lambda: _theirs(pipeline, drawings, batch),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    images: dict[str, list[Image.Image]] = {}
    for turn in range(options.repeats):
        for name in ways if turn % 2 == 0 else reversed(ways):
            seconds, images[name] = _timed(checkpoint, ways[name])
            times[name].append(seconds)
    facts = {"checkpoint": options.checkpoint, "device": checkpoint.device_name, "n": options.n, "steps": options.steps}
    for name, seconds_list in times.items():
        _print(
            facts,
            way=name,
            batch={"ours": _bucket(checkpoint, drawings), "one at a time": 1, "best batch": batch}[name],
            times=seconds_list,
        )
    met = True
    for name, target in TARGETS.items():
        ratio = min(times[name]) / min(times["ours"])
        turns = [theirs / ours for theirs, ours in zip(times[name], times["ours"], strict=True)]
        levels = max(_levels_apart(left, right) for left, right in zip(images["ours"], images[name], strict=True))
        line = {"ratio": round(ratio, 3), "range": [round(min(turns), 3), round(max(turns), 3)], "target": target, "pass": ratio >= target}
        print(json.dumps({"comparison": f"stock {name} / ours", **line, "levels_apart": levels}))
        met = met and ratio >= target
    return 0 if met else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sampler", description="Our sampler against the stock pipeline.")
    parser.add_argument("--checkpoint", default="miniature", help="miniature, a folder or a hub id")
    parser.add_argument("--device", help="torch's name; by default the first GPU, else the CPU")
    parser.add_argument("--dtype", help="float32, float16 or bfloat16")
    parser.add_argument("--n", type=int, default=64, help="prompts, one picture each")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=4, help="turns of each way")
    return parser


def _drawings(checkpoint: Checkpoint, count: int, steps: int) -> list[Drawing]:
    settings = replace(checkpoint.default_settings, scheduler="DDIMScheduler", steps=steps, guidance_scale=7.5)
    subjects, places = ("a cat", "a red house", "two dogs", "a blue car"), ("on a hill", "at night", "near the sea", "in the snow")
    texts = [f"{subjects[n % 4]} {places[n // 4 % 4]}, picture {n}" for n in range(count)]
    return [Drawing(Conditioning(text), seed, settings, checkpoint.fingerprint) for seed, text in enumerate(texts)]


def _stock(checkpoint: Checkpoint, drawing: Drawing) -> Any:
    """The stock pipeline around the very same modules, so that only the loop differs."""
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline(
        vae=checkpoint.vae,
        text_encoder=checkpoint.text_encoder,
        tokenizer=checkpoint.tokenizer,
        unet=checkpoint.unet,
        scheduler=checkpoint.scheduler(drawing.settings.scheduler, drawing.settings.steps),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _ours(checkpoint: Checkpoint, drawings: Sequence[Drawing]) -> list[Image.Image]:
    """With a fresh sampler: no text is known from the turn before."""
    return [drawn.image for drawn in Sampler(checkpoint).draw(drawings) if drawn.image is not None]


def _theirs(pipeline: Any, drawings: Sequence[Drawing], batch: int) -> list[Image.Image]:
    import torch

    images: list[Image.Image] = []
    for start in range(0, len(drawings), batch):
        part = drawings[start : start + batch]
        settings = part[0].settings
        images += pipeline(
            [drawing.conditioning.text for drawing in part],
            num_inference_steps=settings.steps,
            guidance_scale=settings.guidance_scale,
            width=settings.width,
            height=settings.height,
            generator=[torch.Generator().manual_seed(drawing.seed) for drawing in part],
        ).images
    return images


def _best_batch(checkpoint: Checkpoint, pipeline: Any, drawings: Sequence[Drawing]) -> int:
    """Stock's quickest batch size by a run of a few steps, after one that warms up."""
    short = [replace(drawing, settings=replace(drawing.settings, steps=min(4, drawing.settings.steps))) for drawing in drawings]
    _theirs(pipeline, short[:2], 1)
    costs = {}
    for batch in (1, *(size for size in BATCHES if size <= len(drawings))):
        work = partial(_theirs, pipeline, short[:batch], batch)
        costs[batch] = min(_timed(checkpoint, work)[0] for _ in range(2)) / batch
    return min(costs, key=costs.__getitem__)


def _timed(checkpoint: Checkpoint, work: Draw) -> tuple[float, list[Image.Image]]:
    """Seconds: of CPU on a CPU, where other load must not count; of wall time between two synchronisations elsewhere."""
    import torch

    if checkpoint.device.type == "cpu":
        start = time.process_time()
        images = work()
        return time.process_time() - start, images
    torch.cuda.synchronize(checkpoint.device)
    start = time.perf_counter()
    images = work()
    torch.cuda.synchronize(checkpoint.device)
    return time.perf_counter() - start, images


def _bucket(checkpoint: Checkpoint, drawings: Sequence[Drawing]) -> int:
    return Sampler(checkpoint).bucket(len(drawings), drawings[0].settings)


def _levels_apart(left: Image.Image, right: Image.Image) -> int:
    """Largest difference of a pixel, in levels of 255: shows that both drew the same."""
    return int(np.abs(np.asarray(left, np.int16) - np.asarray(right, np.int16)).max())


def _print(facts: dict[str, Any], way: str, batch: int, times: list[float]) -> None:
    best = min(times)
    spread = round((max(times) - best) / best, 3)
    print(json.dumps({"way": way, "batch": batch, "ms_per_image": round(1000 * best / facts["n"], 2), "spread": spread, **facts}))


if __name__ == "__main__":
    sys.exit(main())
