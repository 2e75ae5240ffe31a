"""Stage: the judge, trained on the truth, on renders as they come and as the autoencoder gives them back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tools.miniature.dataset import Dataset
from tools.miniature.loop import Schedule, device_of, mixed_precision, train
from tools.miniature.scene import SIDE, Scene
from tools.miniature.vae import reconstruct
from tools.miniature.vocabulary import BACKGROUNDS, COLOURS, DEFECTS, STYLES

if TYPE_CHECKING:
    import torch
    from diffusers import AutoencoderKL

    from tools.scoring.judge_network import JudgeNetwork, Seen

RECONSTRUCTED = 0.6  # share of training pictures that went through the autoencoder, as generated ones do


def new_judge(nouns: int) -> JudgeNetwork:
    from tools.scoring.judge_network import JudgeNetwork

    return JudgeNetwork(nouns, len(COLOURS), len(BACKGROUNDS), len(STYLES), len(DEFECTS))


def train_judge(
    network: JudgeNetwork,
    vae: AutoencoderKL,
    data: Dataset,
    schedule: Schedule,
    batch: int,
    work: Path,
    seed: int,
    say: Callable[[str], None],
) -> None:
    import torch

    device = device_of(network)

    def loss(rng: np.random.Generator) -> torch.Tensor:
        rows = np.sort(rng.integers(len(data), size=batch))
        pictures = np.array(data.pictures[rows])
        through = rng.random(batch) < RECONSTRUCTED
        pictures[through] = reconstruct(vae, pictures[through])
        pictures, shift = _shifted(pictures, rng)
        pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2).float().to(device) / 255
        with mixed_precision(device):
            seen = network(pixels)
        return judge_loss(seen, [data.scene(int(row)) for row in rows], shift)

    train("judge", network, loss, schedule, work, seed, say)
    network.eval()


def judge_loss(seen: Seen, scenes: list[Scene], shift: np.ndarray) -> torch.Tensor:
    """Sum of the heads' losses; colour and place only for things that are there. `shift` (b, 2): pixels that the picture was moved."""
    import torch
    from torch.nn import functional as F

    device, colours = seen.presence.device, list(COLOURS)
    presence = torch.zeros_like(seen.presence)
    rows, nouns, colour, centre = [], [], [], []
    for row, scene in enumerate(scenes):
        for thing in scene.things:
            presence[row, thing.noun] = 1
            rows.append(row)
            nouns.append(thing.noun)
            colour.append(colours.index(thing.colour) if thing.colour else len(colours))
            centre.append([(thing.x + shift[row, 0]) / SIDE, (thing.y + shift[row, 1]) / SIDE])
    here = torch.tensor(rows), torch.tensor(nouns)
    background = torch.tensor([list(BACKGROUNDS).index(scene.background) for scene in scenes], device=device)
    style = torch.tensor([list(STYLES).index(scene.style) for scene in scenes], device=device)
    defects = torch.tensor([[float(name in scene.quality.defects) for name in DEFECTS] for scene in scenes], device=device)
    return (
        F.binary_cross_entropy_with_logits(seen.presence, presence) * 20
        + F.cross_entropy(seen.colour[here].float(), torch.tensor(colour, device=device))
        + 4 * (seen.centre[here].float() - torch.tensor(centre, device=device).clamp(0, 1)).abs().mean()
        + F.cross_entropy(seen.background, background)
        + F.cross_entropy(seen.style, style)
        + 2 * F.binary_cross_entropy_with_logits(seen.defects, defects)
    )


def judge_accuracy(network: JudgeNetwork, scenes: list[Scene], pictures: np.ndarray) -> dict[str, float]:
    """Share right per head. `object`: the things that are there are found and no other is; `relation`: by predicted places."""
    import torch

    from tools.scoring.judge import relation_of

    colours = list(COLOURS)
    right: dict[str, list[bool]] = {name: [] for name in ("object", "colour", "relation", "background", "style", "defects")}
    for start in range(0, len(scenes), 256):
        part = scenes[start : start + 256]
        with torch.inference_mode():
            seen = network(
                torch.from_numpy(np.array(pictures[start : start + 256])).permute(0, 3, 1, 2).float().to(device_of(network)) / 255
            )
        for row, scene in enumerate(part):
            found = set((seen.presence[row] > 0).nonzero().flatten().tolist())
            right["object"].append(found == {thing.noun for thing in scene.things})
            for thing in scene.things:
                truth = colours.index(thing.colour) if thing.colour else len(colours)
                right["colour"].append(int(seen.colour[row, thing.noun].argmax()) == truth)
            if scene.relation:
                first, second = (seen.centre[row, thing.noun] for thing in scene.things)
                right["relation"].append(relation_of(*(first - second).tolist()) == scene.relation)
            right["background"].append(int(seen.background[row].argmax()) == list(BACKGROUNDS).index(scene.background))
            right["style"].append(int(seen.style[row].argmax()) == list(STYLES).index(scene.style))
            shown = [name for name, logit in zip(DEFECTS, seen.defects[row].tolist(), strict=True) if logit > 0]
            right["defects"] += [(name in shown) == (name in scene.quality.defects) for name in DEFECTS]
    return {name: float(np.mean(values)) for name, values in right.items()}


def _shifted(pictures: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Moved by up to two pixels each way with the border repeated, and a little brighter or darker."""
    padded = np.pad(pictures, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="edge")
    moved = rng.integers(0, 5, (len(pictures), 2))
    out = np.stack([picture[y : y + SIDE, x : x + SIDE] for picture, (x, y) in zip(padded, moved, strict=True)])
    gain = rng.uniform(0.94, 1.06, (len(pictures), 1, 1, 1))
    return (out * gain).clip(0, 255).astype(np.uint8), 2.0 - moved
