"""Tiny random CLIPModel folders, saved as transformers saves them: they prove that the plumbing is exact, not that a score is wise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from tests.tiny_checkpoints import tiny_vocabulary

if TYPE_CHECKING:
    import torch

SIDE = 32
POSITIONS = 24


def save_tiny_clip(folder: Path, seed: int = 0, activation: str = "quick_gelu", processor: dict[str, Any] | None = None) -> Path:
    """A CLIPModel of 32x32 pictures and 24 positions with tokenizer; `processor` is its preprocessor_config.json. Returns the folder."""
    import torch
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

    vocabulary, merges = tiny_vocabulary()
    ends = {"bos_token_id": len(vocabulary) - 2, "eos_token_id": len(vocabulary) - 1, "pad_token_id": len(vocabulary) - 1}
    tower = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 1, "hidden_act": activation}
    config = CLIPConfig(
        text_config={**tower, **ends, "vocab_size": len(vocabulary), "max_position_embeddings": POSITIONS, "projection_dim": 48},
        vision_config={**tower, "image_size": SIDE, "patch_size": 8, "projection_dim": 48},
        projection_dim=48,
    )
    state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    model = CLIPModel(config)
    with torch.no_grad():  # fresh weights are so small that every picture looks alike
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    torch.random.set_rng_state(state)
    model.save_pretrained(folder)
    CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=POSITIONS).save_pretrained(folder)
    if processor is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(processor), "utf-8")
    return folder


def pictures(*sizes: tuple[int, int], seed: int = 0) -> list[Image.Image]:
    """Smooth random RGB pictures of (width, height)."""
    rng = np.random.default_rng(seed)
    small = [Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)) for _ in sizes]
    return [image.resize(size, Image.Resampling.BICUBIC) for image, size in zip(small, sizes, strict=True)]


def open_clip_names(folder: Path) -> dict[str, torch.Tensor]:
    """The weights of a `save_tiny_clip` folder as open_clip would have saved the same model, written down apart from the loader's map."""
    import torch
    from safetensors.torch import load_file

    weights = load_file(folder / "model.safetensors")
    result = {
        "logit_scale": weights["logit_scale"],
        "visual.class_embedding": weights["vision_model.embeddings.class_embedding"],
        "visual.conv1.weight": weights["vision_model.embeddings.patch_embedding.weight"],
        "visual.positional_embedding": weights["vision_model.embeddings.position_embedding.weight"],
        "visual.proj": weights["visual_projection.weight"].T.contiguous(),
        "token_embedding.weight": weights["text_model.embeddings.token_embedding.weight"],
        "positional_embedding": weights["text_model.embeddings.position_embedding.weight"],
        "text_projection": weights["text_projection.weight"].T.contiguous(),
    }
    for kind in ("weight", "bias"):
        result[f"visual.ln_pre.{kind}"] = weights[f"vision_model.pre_layrnorm.{kind}"]
        result[f"visual.ln_post.{kind}"] = weights[f"vision_model.post_layernorm.{kind}"]
        result[f"ln_final.{kind}"] = weights[f"text_model.final_layer_norm.{kind}"]
        for tower, prefix in (("vision_model", "visual.transformer"), ("text_model", "transformer")):
            for layer in range(2):
                here, there = f"{tower}.encoder.layers.{layer}", f"{prefix}.resblocks.{layer}"
                result[f"{there}.attn.in_proj_{kind}"] = torch.cat([weights[f"{here}.self_attn.{name}_proj.{kind}"] for name in "qkv"])
                result[f"{there}.attn.out_proj.{kind}"] = weights[f"{here}.self_attn.out_proj.{kind}"]
                result[f"{there}.ln_1.{kind}"] = weights[f"{here}.layer_norm1.{kind}"]
                result[f"{there}.ln_2.{kind}"] = weights[f"{here}.layer_norm2.{kind}"]
                result[f"{there}.mlp.c_fc.{kind}"] = weights[f"{here}.mlp.fc1.{kind}"]
                result[f"{there}.mlp.c_proj.{kind}"] = weights[f"{here}.mlp.fc2.{kind}"]
    return result
