"""Stage: the judge, trained on ground truth: on renders, on the autoencoder's reconstructions, and on pictures repainted by the UNet.

A thing tinted in its natural colour looks as it does untinted, so both answers count as right: for a white sheep "white" and "natural".
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from limner.tools.miniature.recipe.dataset import Dataset
from limner.tools.miniature.recipe.vae import kept_reconstructions
from limner.tools.miniature.world.nouns import NOUNS, OWN_COLOURS
from limner.tools.miniature.world.scene import SIDE, Scene, Thing
from limner.tools.miniature.world.vocabulary import BACKGROUNDS, COLOURS, COUNT_WORDS, DEFECTS, LOOKS, STYLES
from limner.tools.training import Schedule, device_of, mixed_precision, muon, train

if TYPE_CHECKING:
    import torch
    from diffusers import AutoencoderKL

    from limner.tools.scoring.judge_network import JudgeNetwork, Seen

APART = ("stages.0.0", "where", "colour.2", "background", "style.2", "defects.2", "count.5")  # first and last layers: AdamW, not Muon
HEADS = ("object", "object_exact", "colour", "count", "relation", "background", "style", "defects")
RECONSTRUCTED = 0.6  # share of training pictures that went through the autoencoder, as generated ones do

ROUNDS = ("judge.first", "judge.second", "judge")  # warm restarts of the schedule: Loshchilov and Hutter 2017, "SGDR"
LOOKED = 1 / 4  # share of training pictures in the look of a style checkpoint
REPAINTED = 1 / 4  # share of training pictures repainted by the UNet, which are softer than any render
PAINTED = (*STYLES, *LOOKS)  # the classes of the style head
SEVERAL = 2.5  # loss weight of the count where there are two or three of a kind, which is rare
MISSED = 3.0  # loss weight of a missed thing against a falsely detected one: a prompt names few of the many things


def new_judge(nouns: int) -> JudgeNetwork:
    """Returns an untrained judge for the first `nouns` nouns."""
    from limner.tools.scoring.judge_network import JudgeNetwork

    return JudgeNetwork(nouns, len(COLOURS), len(BACKGROUNDS), len(PAINTED), len(DEFECTS), len(COUNT_WORDS) + 1)


def train_judge(
    network: JudgeNetwork,
    vae: AutoencoderKL,
    data: Dataset,
    looks: Dataset,
    repainted: Callable[[], tuple[np.ndarray, np.ndarray]],
    schedule: Schedule,
    batch: int,
    work: Path,
    seed: int,
    say: Callable[[str], None],
) -> None:
    """Trains the judge, in three rounds of `schedule`, on pictures of `data` and `looks`.

    `repainted`: returns rows of `data` (n,) and their pictures repainted by the UNet (n, 64, 64, 3) uint8; called only if training needs
    it. `batch`: pictures a step. `work`: folder of snapshots and of the reconstructions.
    """
    import torch

    device = device_of(network)
    # computed on first use: a finished stage needs none of them
    reconstructed = cache(lambda: kept_reconstructions(vae, data, work, say))
    looked = cache(lambda: kept_reconstructions(vae, looks, work, say, "looks."))
    softened = cache(repainted)

    def pictures_of(
        source: Dataset, through: Callable[[], np.ndarray], count: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, list[Scene]]:
        rows = np.sort(rng.integers(len(source), size=count))
        pictures, restored = np.array(source.pictures[rows]), rng.random(count) < RECONSTRUCTED
        pictures[restored] = through()[rows[restored]]
        return pictures, [source.scene(int(row)) for row in rows]

    def loss(rng: np.random.Generator) -> torch.Tensor:
        few, soft = round(batch * LOOKED), round(batch * REPAINTED)
        plain, scenes = pictures_of(data, reconstructed, batch - few - soft, rng)
        styled, others = pictures_of(looks, looked, few, rng)
        rows, pictures_by_row = softened()
        chosen = rng.integers(len(rows), size=soft)
        others += [data.scene(int(row)) for row in rows[chosen]]
        pictures, shift = _shifted(np.concatenate([plain, styled, pictures_by_row[chosen]]), rng)
        pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2).float().to(device) / 255
        with mixed_precision(device):
            seen = network(pixels)
        return judge_loss(seen, [*scenes, *others], shift)

    for round_ in ROUNDS:
        train(round_, network, loss, schedule, work, seed, say, lambda module, decay: muon(module, decay, APART))
    network.eval()


def judge_loss(seen: Seen, scenes: list[Scene], shift: np.ndarray) -> torch.Tensor:
    """Returns the sum of the heads' losses. Colour and place count only for things that are there, colour only where it is visible.

    `shift` (batch, 2): pixels in x and y by which the picture was moved.
    """
    import torch
    from torch.nn import functional as F

    assert seen.count is not None
    device = seen.presence.device
    presence = torch.zeros_like(seen.presence)
    rows, nouns, colour, centre = [], [], [], []
    for row, scene in enumerate(scenes):
        for thing in scene.things:
            presence[row, thing.noun] = 1
            rows.append(row)
            nouns.append(thing.noun)
            colour.append([] if scene.grey else right_colours(thing))
            centre.append([(thing.x + shift[row, 0]) / SIDE, (thing.y + shift[row, 1]) / SIDE])
    here = torch.tensor(rows), torch.tensor(nouns)
    background = torch.tensor([list(BACKGROUNDS).index(scene.background) for scene in scenes], device=device)
    style = torch.tensor([PAINTED.index(scene.look or scene.style) for scene in scenes], device=device)
    count = torch.tensor([scene.count - 1 for scene in scenes], device=device)
    several = torch.tensor([1.0, *[SEVERAL] * len(COUNT_WORDS)], device=device)
    alone = torch.tensor([float(scene.count == 1) for scene in scenes for _ in scene.things], device=device)  # has one place
    far = (seen.centre[here].float() - torch.tensor(centre, device=device).clamp(0, 1)).abs().mean(1)
    defects = torch.tensor([[float(name in scene.quality.defects) for name in DEFECTS] for scene in scenes], device=device)
    return (
        F.binary_cross_entropy_with_logits(seen.presence, presence, pos_weight=torch.tensor(MISSED, device=device)) * 20
        + colour_loss(seen.colour[here], colour)
        + 4 * (far * alone).sum() / alone.sum().clamp(min=1)
        + F.cross_entropy(seen.background, background)
        + F.cross_entropy(seen.style, style)
        + F.cross_entropy(seen.count, count, weight=several)
        + 2 * F.binary_cross_entropy_with_logits(seen.defects, defects)
    )


def right_colours(thing: Thing) -> list[int]:
    """Returns the colour outputs that count as right for `thing`; the last output means its natural colour.

    Both the named and the natural colour are right where the thing is tinted in its natural colour, or is untinted and has one with a name.
    """
    colours, own = list(COLOURS), OWN_COLOURS.get(NOUNS[thing.noun].name)
    named, natural = (thing.colour or own), thing.colour in (None, own)
    return [*([colours.index(named)] if named else []), *([len(colours)] if natural else [])]


def colour_loss(logits: torch.Tensor, right: list[list[int]]) -> torch.Tensor:
    """Returns the cross-entropy of `logits` (n, colours + 1), averaged over the rows with an answer in `right`.

    Where several answers are right, their probabilities are summed. Returns 0 where no row has an answer.
    """
    import torch

    allowed = torch.full(logits.shape, -torch.inf, device=logits.device)
    for row, answers in enumerate(right):
        allowed[row, answers] = 0
    answered = torch.tensor([bool(answers) for answers in right], device=logits.device)
    if not answered.any():
        return logits.sum() * 0
    probabilities = logits[answered].float().log_softmax(-1)
    return -(probabilities + allowed[answered]).logsumexp(-1).mean()


def judge_accuracy(network: JudgeNetwork, scenes: list[Scene], pictures: np.ndarray) -> dict[str, float]:
    """Returns the share of right answers per head.

    `object`: two questions for each thing that is there: is it detected, and is an absent thing of its `Noun.group` not detected;
    `colour`: of each thing whose colour is visible; `count`: of pictures of one kind; `object_exact`: the share of pictures whose set of
    detected nouns is exactly right; `relation`: by predicted places.
    """
    import torch

    from limner.tools.scoring.judge import relation_of

    nouns, rng = network.sizes["nouns"], np.random.default_rng(0)
    right: dict[str, list[bool]] = {name: [] for name in HEADS}
    for start in range(0, len(scenes), 256):
        part = scenes[start : start + 256]
        with torch.inference_mode():
            seen = network(
                torch.from_numpy(np.array(pictures[start : start + 256])).permute(0, 3, 1, 2).float().to(device_of(network)) / 255
            )
        for row, scene in enumerate(part):
            found = set((seen.presence[row] > 0).nonzero().flatten().tolist())
            there = {thing.noun for thing in scene.things}
            right["object_exact"].append(found == there)
            for thing in scene.things:
                right["object"] += [thing.noun in found, rng.choice(absent_kin(thing.noun, there, nouns)) not in found]
                if not scene.grey:
                    right["colour"].append(int(seen.colour[row, thing.noun].argmax()) in right_colours(thing))
            if scene.relation:
                first, second = (seen.centre[row, thing.noun] for thing in scene.things)
                right["relation"].append(relation_of(*(first - second).tolist()) == scene.relation)
            if scene.relation is None and seen.count is not None:
                right["count"].append(int(seen.count[row].argmax()) + 1 == scene.count)
            right["background"].append(int(seen.background[row].argmax()) == list(BACKGROUNDS).index(scene.background))
            right["style"].append(int(seen.style[row].argmax()) == PAINTED.index(scene.look or scene.style))
            shown = [name for name, logit in zip(DEFECTS, seen.defects[row].tolist(), strict=True) if logit > 0]
            right["defects"] += [(name in shown) == (name in scene.quality.defects) for name in DEFECTS]
    return {name: float(np.mean(values)) for name, values in right.items() if values}


def absent_kin(noun: int, there: set[int], nouns: int) -> list[int]:
    """Returns the nouns of the same group that are not in `there`; where there are none, all nouns that are not in `there`."""
    absent = [other for other in range(nouns) if other not in there]
    return [other for other in absent if NOUNS[other].group == NOUNS[noun].group] or absent


def _shifted(pictures: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Returns the pictures moved by up to two pixels each way, borders repeated, and scaled in brightness, with the shifts (n, 2)."""
    padded = np.pad(pictures, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="edge")
    moved = rng.integers(0, 5, (len(pictures), 2))
    out = np.stack([picture[y : y + SIDE, x : x + SIDE] for picture, (x, y) in zip(padded, moved, strict=True)])
    gain = rng.uniform(0.94, 1.06, (len(pictures), 1, 1, 1))
    return (out * gain).clip(0, 255).astype(np.uint8), 2.0 - moved
