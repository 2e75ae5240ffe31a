"""Measures a trained checkpoint's parts on scenes that no training has seen; the figures go onto its card."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from limner.tools.miniature.checks.noun_gain import noun_gain
from limner.tools.miniature.checks.zero_shot import variants_right, zero_shot
from limner.tools.miniature.recipe.dataset import group_scenes
from limner.tools.miniature.recipe.judge import judge_accuracy
from limner.tools.miniature.recipe.preference import preference_accuracy
from limner.tools.miniature.recipe.vae import encode, psnr, reconstruct
from limner.tools.miniature.world.render import render
from limner.tools.miniature.world.scene import Quality, draw_scene
from limner.tools.miniature.world.sprites import Glyphs

if TYPE_CHECKING:
    from limner.tools.miniature.recipe.export import Parts

FRESH = 4000  # scenes on which scorers and judge are measured: the standard error of a share near 0.95 is then 0.3 points
FRESH_SEED = 31337


def measured(parts: Parts, seed: int, glyphs: Glyphs, fresh: int = FRESH) -> dict[str, Any]:
    """Returns figures by name: the autoencoder's PSNR in dB, the UNet's noun gain, the accuracies of scorers and judge on `fresh` new
    scenes.
    """
    rng, nouns = np.random.default_rng([seed, FRESH_SEED]), parts.nouns
    scenes = [draw_scene(rng, nouns) for _ in range(fresh)]
    pictures = np.stack([render(scene, glyphs) for scene in scenes])
    looks = [scene for group in range(fresh // 16) for scene in group_scenes(seed + FRESH_SEED, group, nouns, True)]
    looked = np.stack([render(scene, glyphs) for scene in looks])
    plain = [place for place, scene in enumerate(scenes) if _plain(scene.quality)]
    few = slice(0, 400)
    latents = encode(parts.vae, pictures[few]).to(parts.unet.device)
    clip = (parts.tokenizer, scenes[few], pictures[few], nouns)
    return _rounded(
        {
            "fresh_scenes": len(scenes),
            "autoencoder_psnr_db": psnr(parts.vae, pictures[:256]),
            "noun_gain": noun_gain(parts.unet, parts.text_encoder, parts.tokenizer, scenes[few], latents, nouns),
            "judge_on_renders": judge_accuracy(parts.judge, scenes, pictures),
            "judge_on_plain_renders": judge_accuracy(parts.judge, [scenes[place] for place in plain], pictures[plain]),
            "judge_on_reconstructions": judge_accuracy(parts.judge, scenes, reconstruct(parts.vae, pictures)),
            "judge_on_looks": judge_accuracy(parts.judge, looks, reconstruct(parts.vae, looked)),
            "alignment_variants": variants_right(parts.alignment, *clip),
            "alignment_zero_shot": zero_shot(parts.alignment, parts.tokenizer, scenes[:120], pictures[:120], nouns),
            "preference_pairs_right": preference_accuracy(
                parts.preference, parts.tokenizer, parts.vae, nouns, seed, glyphs, max(8, fresh // 10)
            ),
        }
    )


def _plain(quality: Quality) -> bool:
    """Whether the quality is without lighting, palette, weather and defects, so that colours and style can be recognised."""
    return not (quality.lighting or quality.palette or quality.weather or quality.defects)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, int):
        return value
    return round(float(value), 4)
