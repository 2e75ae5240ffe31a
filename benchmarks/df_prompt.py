"""What the DF-Prompt executor saves, and what it costs, in interleaved runs of one process.

    python -m benchmarks.df_prompt [--checkpoint miniature] [--steps 20] [--repeats 5] [--only trie encode single]

trie: 16 candidates of one prompt that part at 0.5 and at 0.75 of the steps, as a tree and each by itself, both in batches; the speed-up
as a share of K T / (s + K (T - s)), its ideal. Denoising alone: decoding is the same on both sides and is left out.
encode: eight subjects with eight versions of ranges each, some four segments a prompt, text encoding alone: at once, and once more, against
one encoding after the other as the reference code does it (each prompt's segments, and its negative prompt).
single: one DF-Prompt with two ranges and a weight against the same words without, whole pictures.

The ways take turns, forth and back, so that drift of the machine hits all alike; the smallest time of each counts, on a CPU the process's
own CPU time. Prints JSON lines with the range over the turns and the target.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import product

from limner.promptdb.errors import BadInput
from limner.promptdb.records import Conditioning, Drawing
from limner.tools.diffusion.checkpoint import Checkpoint, open_checkpoint
from limner.tools.diffusion.sampling.conditioning import TextEncoding
from limner.tools.diffusion.sampling.population import Population, Sizes
from limner.tools.diffusion.sampling.sampler import Sampler
from limner.tools.diffusion.sampling.script import Scripts, step_embeddings
from limner.tools.diffusion.sampling.timing import timing
from limner.tools.prompt_language.parse import read

CANDIDATES = 16
IDEAL_SHARE, COLD, WARM, SLOWER = 0.93, 3.0, 100.0, 1.02

Work = Callable[[], object]


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 where all targets were met, 1 where not, 2 for bad input."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.df_prompt", description="The DF-Prompt executor against plain drawing.")
    parser.add_argument("--checkpoint", default="miniature", help="miniature, a folder or a hub id")
    parser.add_argument("--device", help="torch's name; by default the first GPU, else the CPU")
    parser.add_argument("--dtype", help="float32, float16 or bfloat16")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=2, help="seeds of each candidate, as a search has them")
    parser.add_argument("--repeats", type=int, default=5, help="turns of each way")
    parser.add_argument("--only", nargs="+", choices=("trie", "encode", "single"), default=["trie", "encode", "single"])
    options = parser.parse_args(arguments)
    try:
        checkpoint = open_checkpoint(options.checkpoint, device=options.device, dtype=options.dtype)
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    met = True
    if "trie" in options.only:
        for part in ("1/2", "1/4"):
            met &= _trie(checkpoint, part, options.steps, options.seeds, options.repeats)
    if "encode" in options.only:
        met &= _encode(checkpoint, options.steps, options.repeats)
    if "single" in options.only:
        met &= _single(checkpoint, options.steps, options.repeats)
    return 0 if met else 1


def _trie(checkpoint: Checkpoint, part: str, steps: int, seeds: int, repeats: int) -> bool:
    """`part`: how much of the denoising the candidates' words act in, at its end."""
    asked = [read(f"a red car on a beach, [sharp focus:0-{part}:{n}/8]") for n in range(4, 4 + CANDIDATES)]
    sampler = Sampler(checkpoint)
    settings = replace(sampler.default_settings, steps=steps)
    drawings = [Drawing(item, seed, settings, checkpoint.fingerprint) for item, seed in product(asked, range(seeds))]
    sizes = Sizes(lambda count: sampler.bucket(count, settings), lambda size: False)

    def denoise(shared: bool) -> Callable[[], object]:
        def work() -> list[object]:
            population = Population(checkpoint, sampler.scripts, sampler.timing(settings), drawings, shared)
            return list(population.batches(sizes, lambda latents, count: latents[:count]))

        return work

    times = _turns(checkpoint, {"alone": denoise(False), "tree": denoise(True)}, repeats)
    rows = sampler.unet_rows(drawings)
    alone = len(drawings) * sampler.unet_rows(drawings[:1])
    ratio, spread = _ratio(times, "alone", "tree")
    share = ratio / (alone / rows)
    facts = {
        "candidates": CANDIDATES,
        "seeds": seeds,
        "fork": f"1 - {part}",
        "rows": rows,
        "rows_alone": alone,
        "ideal": round(alone / rows, 3),
    }
    return _report("trie: share of the ideal speed-up", share, IDEAL_SHARE, True, {"speed_up": round(ratio, 3), "range": spread, **facts})


def _encode(checkpoint: Checkpoint, steps: int, repeats: int) -> bool:
    at = timing(checkpoint, "DDIMScheduler", steps)
    ranges = [f"{low}/4-{high}/4" for low in range(4) for high in range(low + 1, 5)]
    subjects = [f"a {colour} {thing} on a beach" for colour, thing in product(("red", "blue"), ("car", "house", "boat", "kite"))]
    pairs = zip(ranges[:8], ranges[:1:-1], strict=True)
    words = [f"[sharp focus:{one}:1], [watercolor:{two}:1], [vivid colors:1/4-3/4:1]" for one, two in pairs]
    asked = [read(f"{subject}, {version}") for subject, version in product(subjects, words)]
    scripts = Scripts(TextEncoding(checkpoint))
    step_embeddings(scripts, asked, at, guided=True)

    def one_by_one() -> None:
        encoding = TextEncoding(checkpoint, capacity=0)
        for item in asked:
            for text in (*texts[item.id], ""):
                encoding.encode([text])

    texts = {item.id: _segment_texts(item, steps) for item in asked}
    times = _turns(
        checkpoint,
        {
            "one by one": one_by_one,
            "cold": lambda: step_embeddings(Scripts(TextEncoding(checkpoint)), asked, at, guided=True),
            "warm": lambda: step_embeddings(scripts, asked, at, guided=True),
        },
        repeats,
    )
    each = [len(texts[item.id]) for item in asked]
    facts = {"prompts": len(asked), "segments": sum(each), "distinct": len({text for said in texts.values() for text in said})}
    met = True
    for name, target in (("cold", COLD), ("warm", WARM)):
        ratio, spread = _ratio(times, "one by one", name)
        met &= _report(f"encode: one by one / {name}", ratio, target, True, {"range": spread, **facts})
    return met


def _segment_texts(conditioning: Conditioning, steps: int) -> list[str]:
    from limner.tools.prompt_language.schedule import elapsed_by_step, segments

    return list(dict.fromkeys(segment.text for segment in segments(conditioning.text, conditioning.spans, elapsed_by_step(steps))))


def _single(checkpoint: Checkpoint, steps: int, repeats: int) -> bool:
    settings = replace(checkpoint.default_settings, steps=steps)
    plain = Drawing(Conditioning("a red car on a beach, watercolor, sharp focus"), 1, settings, checkpoint.fingerprint)
    scheduled = replace(plain, conditioning=read("a red car on a beach, [watercolor:0.5-1:1], [sharp focus:0-0.5:1.25]"))

    def draw(drawing: Drawing) -> Work:
        return lambda: Sampler(checkpoint).draw([drawing])

    times = _turns(checkpoint, {"plain": draw(plain), "scheduled": draw(scheduled)}, 2 * repeats)
    ratio, spread = _ratio(times, "scheduled", "plain")
    return _report("single: DF-Prompt / plain", ratio, SLOWER, False, {"range": spread})


def _turns(checkpoint: Checkpoint, ways: Mapping[str, Work], repeats: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in ways}
    for work in ways.values():
        work()
    for turn in range(repeats):
        for name in ways if turn % 2 == 0 else reversed(list(ways)):
            times[name].append(_timed(checkpoint, ways[name]))
    return times


def _timed(checkpoint: Checkpoint, work: Work) -> float:
    """Seconds: of CPU on a CPU, where other load must not count; of wall time between two synchronisations elsewhere."""
    import torch

    if checkpoint.device.type == "cpu":
        start = time.process_time()
        work()
        return time.process_time() - start
    torch.cuda.synchronize(checkpoint.device)
    start = time.perf_counter()
    work()
    torch.cuda.synchronize(checkpoint.device)
    return time.perf_counter() - start


def _ratio(times: Mapping[str, Sequence[float]], upper: str, lower: str) -> tuple[float, list[float]]:
    """Of the smallest times, and its range over the turns."""
    turns = [left / right for left, right in zip(times[upper], times[lower], strict=True)]
    return min(times[upper]) / min(times[lower]), [round(min(turns), 3), round(max(turns), 3)]


def _report(name: str, value: float, target: float, at_least: bool, facts: Mapping[str, object]) -> bool:
    met = value >= target if at_least else value <= target
    print(
        json.dumps(
            {"comparison": name, "value": round(value, 3), "target": f"{'>=' if at_least else '<='} {target:g}", "pass": met, **facts}
        )
    )
    return met


if __name__ == "__main__":
    sys.exit(main())
