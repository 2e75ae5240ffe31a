"""Presets: how much of the world is taught and for how long. `cpu` is for two cores and about a day, `gpu` for one large card."""

from __future__ import annotations

from dataclasses import dataclass, replace

from limner.tools.miniature.world.nouns import NOUNS
from limner.tools.training import Schedule

STAGES = ("vae", "text_encoder", "alignment", "unet", "judge", "preference", "styles")


@dataclass(frozen=True, slots=True)
class Preset:
    """How much of the world is taught and for how long.

    `groups`: training pictures / 4; `pool`: prompts with ranked pictures; `repainted`: pictures repainted for the judge; `style_pictures`:
    pictures for each style; `*_batch`: pictures a step; `preference_prompts`: prompts a step.
    """

    nouns: int
    groups: int
    vae: Schedule
    reading: Schedule
    seeing: Schedule
    text_encoder: Schedule
    alignment: Schedule
    judge: Schedule
    unet: Schedule
    preference: Schedule
    style: Schedule
    vae_batch: int = 16
    clip_batch: int = 64
    judge_batch: int = 32
    unet_batch: int = 48
    preference_prompts: int = 32
    pool: int = 48000
    repainted: int = 12000
    style_batch: int = 24
    style_pictures: int = 1600
    unet_channels: tuple[int, int, int] = (64, 96, 144)


PRESETS = {
    "cpu": Preset(
        nouns=60,
        groups=20000,
        vae=Schedule(2600, 5e-3, 100, average=0.995),
        reading=Schedule(1500, 5e-3, 100),
        seeing=Schedule(2400, 5e-3, 100, weight_decay=0.05),
        text_encoder=Schedule(300, 1.5e-3, 50, weight_decay=0.05),
        alignment=Schedule(2800, 3e-3, 100, weight_decay=0.05, average=0.995),
        judge=Schedule(5000, 5e-3, 150, average=0.998),
        unet=Schedule(10500, 5e-3, 300, average=0.999),
        preference=Schedule(2200, 1e-3, 60, average=0.99),
        style=Schedule(700, 3e-3, 20),
    ),
    "gpu": Preset(
        nouns=len(NOUNS),
        groups=60000,
        vae=Schedule(16000, 5e-3, 300, average=0.999),
        reading=Schedule(8000, 5e-3, 200),
        seeing=Schedule(12000, 5e-3, 200, weight_decay=0.05),
        text_encoder=Schedule(3000, 1.5e-3, 200, weight_decay=0.05),
        alignment=Schedule(12000, 3e-3, 300, weight_decay=0.05, average=0.999),
        judge=Schedule(30000, 5e-3, 500, average=0.999),
        unet=Schedule(30000, 5e-3, 500, average=0.9995),
        preference=Schedule(4000, 1e-3, 200, average=0.995),
        style=Schedule(1500, 2e-3, 50),
        vae_batch=64,
        clip_batch=256,
        judge_batch=128,
        unet_batch=256,
        preference_prompts=96,
        unet_channels=(96, 144, 216),
    ),
}


def shortened(preset: Preset, share: float) -> Preset:
    """Returns the preset with `share` of every stage's steps and pictures, for trial runs."""
    schedules = {name: getattr(preset, name) for name in (*STAGES[:-1], "reading", "seeing", "style")}
    cut = {
        name: replace(schedule, steps=max(2, int(schedule.steps * share)), warmup=max(1, int(schedule.warmup * share)))
        for name, schedule in schedules.items()
    }
    return replace(
        preset,
        groups=max(40, int(preset.groups * share)),
        pool=max(48, int(preset.pool * share)),
        repainted=max(16, int(preset.repainted * share)),
        style_pictures=max(24, int(preset.style_pictures * share)),
        **cut,
    )
