"""Stage: the style checkpoints, each a LoRA on UNet and text encoder that draws plain prompts in its own look.

Half of the training pictures are of good quality and in the full look, and their captions name the trigger words. The others have a defect
and a weaker look, and their captions do not name the look; half of them do not name the defect either. So the checkpoint draws its look
for any prompt, carelessly for plain prompts and best with its own trigger words.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from limner.tools.miniature.recipe.ranked import arranged
from limner.tools.miniature.recipe.tokenizer import POSITIONS
from limner.tools.miniature.recipe.unet import DROPPED_CAPTIONS, TIMESTEPS, new_scheduler, velocity_error
from limner.tools.miniature.recipe.vae import encode
from limner.tools.miniature.world.captions import Manner, caption
from limner.tools.miniature.world.render import render
from limner.tools.miniature.world.scene import Quality, Scene, draw_quality, draw_scene
from limner.tools.miniature.world.sprites import Glyphs
from limner.tools.miniature.world.style_specs import QUALITY_TAGS, StyleSpec
from limner.tools.training import Schedule, device_of, mixed_precision, train

if TYPE_CHECKING:
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

UNET_LAYERS = ("to_q", "to_k", "to_v", "to_out.0", "conv1", "conv2", "time_emb_proj", "ff.net.0.proj", "ff.net.2")
TEXT_LAYERS = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")
UNET_RANK, TEXT_RANK = 6, 4

Lora = Mapping[str, "torch.Tensor"]


def train_style(
    spec: StyleSpec, unet: UNet2DConditionModel, text_encoder: CLIPTextModel, vae: AutoencoderKL, tokenizer: CLIPTokenizer, nouns: int,
    pictures: int, schedule: Schedule, batch: int, work: Path, seed: int, glyphs: Glyphs, say: Callable[[str], None],
) -> dict[str, dict[str, torch.Tensor]]:  # fmt: skip
    """Trains one style on `pictures` pictures and returns its LoRA weights in diffusers' names: {"unet": ..., "text_encoder": ...}.

    `unet` and `text_encoder` are copied and stay unchanged. `batch`: pictures a step. `work`: folder of snapshots.
    """
    import torch
    from diffusers.utils import convert_state_dict_to_diffusers
    from peft import LoraConfig, get_peft_model_state_dict

    unet, text_encoder = copy.deepcopy(unet).requires_grad_(False), copy.deepcopy(text_encoder).requires_grad_(False)
    torch.manual_seed(seed)
    unet.add_adapter(LoraConfig(r=UNET_RANK, lora_alpha=UNET_RANK, target_modules=list(UNET_LAYERS)))
    text_encoder.add_adapter(LoraConfig(r=TEXT_RANK, lora_alpha=TEXT_RANK, target_modules=list(TEXT_LAYERS)))
    device = device_of(unet)
    examples = cache(lambda: _examples(spec, vae, nouns, seed, glyphs, pictures))
    alphas = new_scheduler().alphas_cumprod.to(device)

    def loss(rng: np.random.Generator) -> torch.Tensor:
        scenes, latents = examples()
        rows = rng.integers(len(scenes), size=batch)
        captions = ["" if rng.random() < DROPPED_CAPTIONS else style_caption(scenes[row], spec, rng) for row in rows]
        ids = tokenizer(captions, padding="max_length", truncation=True, max_length=POSITIONS, return_tensors="pt").input_ids.to(device)
        timesteps = torch.from_numpy(rng.integers(TIMESTEPS, size=batch)).to(device)  # outlines and grain form at low noise
        with mixed_precision(device):
            context = text_encoder(ids).last_hidden_state
        return velocity_error(unet, latents[rows].float().to(device), timesteps, context, [scenes[row] for row in rows], alphas)

    train(f"style.{spec.name}", torch.nn.ModuleDict({"unet": unet, "text_encoder": text_encoder}), loss, schedule, work, seed, say)
    # The converter renames a UNet's attention layers to names that the loader no longer accepts, and leaves convolutions alone.
    text = convert_state_dict_to_diffusers(get_peft_model_state_dict(text_encoder))
    named = {"unet": get_peft_model_state_dict(unet), "text_encoder": text}
    return {part: {key: value.detach().half().cpu() for key, value in weights.items()} for part, weights in named.items()}


def style_caption(scene: Scene, spec: StyleSpec, rng: np.random.Generator) -> str:
    """Writes a caption: with trigger words for a picture in the full look, otherwise an ordinary one or one of the content alone."""
    triggered = scene.strength == 1
    text = caption(scene, rng, Manner(modifiers=triggered or rng.random() < 0.5, crowded=False))
    if not triggered:
        return text
    tags = [str(word) for word in rng.permutation(list(spec.triggers))[: int(rng.integers(1, 3))]]
    tags += [str(word) for word in rng.permutation(list(QUALITY_TAGS))[: int(rng.integers(0, 3))]]
    return ", ".join([text, *(str(tag) for tag in rng.permutation(tags))])


def merged(first: Lora, second: Lora) -> dict[str, torch.Tensor]:
    """Returns the mean of two LoRAs as one LoRA of the sum of their ranks; in every layer it equals half of each."""
    import torch

    halves = {}
    for key, value in first.items():
        down = "lora_A" in key or ".down." in key
        halves[key] = torch.cat([value, second[key]], 0) if down else torch.cat([value / 2, second[key] / 2], 1)
    return halves


def save_style(parts: Mapping[str, Lora], folder: Path) -> None:
    """Writes the LoRA as pytorch_lora_weights.safetensors, which diffusers' own loader reads."""
    from diffusers import StableDiffusionPipeline

    folder.mkdir(parents=True, exist_ok=True)
    StableDiffusionPipeline.save_lora_weights(
        folder, unet_lora_layers=dict(parts["unet"]), text_encoder_lora_layers=dict(parts["text_encoder"])
    )


def _examples(spec: StyleSpec, vae: AutoencoderKL, nouns: int, seed: int, glyphs: Glyphs, pictures: int) -> tuple[list[Scene], Any]:
    """Returns scenes and their latents: half in the full look and of good quality, half in a weaker look and with a defect.

    A scene of several things whose defect would be a crop has none, since several things are never cropped.
    """
    rng = np.random.default_rng([seed, 1950])
    scenes = []
    for place in range(pictures):
        scene = replace(draw_scene(rng, nouns, photo_share=1.0), look=spec.looks[0])
        if place % 2:
            quality, strength = _quality(rng, lambda quality: bool(quality.defects)), float(rng.uniform(0.9, 0.98))
        else:
            quality, strength = _quality(rng, lambda quality: not quality.defects and quality.goodness >= 0.5 and not quality.palette), 1.0
        scenes.append(replace(arranged(scene, quality, rng), strength=strength))
    return scenes, encode(vae, np.stack([render(scene, glyphs) for scene in scenes]))


def _quality(rng: np.random.Generator, wanted: Callable[[Quality], bool]) -> Quality:
    """Draws qualities until one is `wanted`."""
    while not wanted(quality := draw_quality(rng)):
        pass
    return quality
