"""Writes the trained parts as a checkpoint folder: diffusers' layout in fp16 safetensors, with scorers, judge and `card.json`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from limner.tools.miniature.recipe.clip import MEAN, STD
from limner.tools.miniature.recipe.prompt_sets import write_sets
from limner.tools.miniature.recipe.style_training import save_style
from limner.tools.miniature.recipe.unet import new_scheduler
from limner.tools.miniature.world.prompts import write_heldout
from limner.tools.miniature.world.style_specs import SPECS, manual_prompts
from limner.tools.miniature.world.vocabulary import NOUNS, WORLD
from limner.tools.miniature.world.world_file import write_world

if TYPE_CHECKING:
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPModel, CLIPTextModel, CLIPTokenizer

    from limner.tools.scoring.judge_network import JudgeNetwork

STEPS = 20
GUIDANCE = 2.0  # higher guidance removes the defects that prompts should remove; lower loses things (docs/miniature.md)
POSITIVE = "masterpiece, best quality, sharp focus, vibrant colors, well composed"
NEGATIVE = "blurry, dull colors, overexposed, jpeg artifacts, cropped, low quality"


@dataclass(frozen=True)
class Parts:
    """Everything that training made. `aesthetic` is (weight, bias) of a linear head on the alignment CLIP's image features."""

    tokenizer: CLIPTokenizer
    text_encoder: CLIPTextModel
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    alignment: CLIPModel
    preference: CLIPModel
    aesthetic: tuple[np.ndarray, float]
    judge: JudgeNetwork
    nouns: int
    styles: Mapping[str, Mapping[str, Mapping[str, torch.Tensor]]]


def export(parts: Parts, folder: Path, facts: Mapping[str, Any]) -> None:
    """Replaces `folder` by the checkpoint; `facts` (recipe, measured accuracies) go into its card unchanged."""
    aside = folder.with_name(folder.name + ".part")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    for name, module in (("text_encoder", parts.text_encoder), ("unet", parts.unet), ("vae", parts.vae)):
        module.half().save_pretrained(aside / name, safe_serialization=True)
        module.float()
        _forget_origin(aside / name / "config.json")
    parts.tokenizer.save_pretrained(aside / "tokenizer")
    new_scheduler().save_pretrained(aside / "scheduler")
    _write(aside / "model_index.json", _model_index())
    _export_clip(parts.alignment, parts.tokenizer, aside / "scorers" / "alignment")
    _export_clip(parts.preference, parts.tokenizer, aside / "scorers" / "preference")
    _export_head(parts.aesthetic, aside / "scorers" / "aesthetic")
    export_judge(parts.judge, parts.nouns, aside / "judge")
    seed = facts["recipe"]["seed"]
    write_heldout(aside / "prompts" / "heldout.jsonl", seed, parts.nouns)
    sets = write_sets(aside / "prompts", seed, parts.nouns)
    styles = _export_styles(parts, aside / "styles", seed)
    _write(aside / "card.json", {**_card(parts.nouns, sets), "styles": styles, **facts})
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)


def _forget_origin(path: Path) -> None:
    """Removes the path from which a part was loaded from its configuration."""
    document = json.loads(path.read_text(encoding="utf-8"))
    if document.pop("_name_or_path", None) is not None:
        _write(path, document)


def _model_index() -> dict[str, Any]:
    return {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": "0.42.0",
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }


def _card(nouns: int, sets: Mapping[str, str]) -> dict[str, Any]:
    return {
        "name": "miniature",
        "recommended": {"steps": STEPS, "guidance_scale": GUIDANCE, "scheduler": "DDIMScheduler", "width": 64, "height": 64},
        "scorers": {
            "preference": {"kind": "hps", "path": "scorers/preference"},
            "alignment": {"kind": "clip", "path": "scorers/alignment"},
            "aesthetic": {"kind": "aesthetic", "path": "scorers/aesthetic", "clip": "scorers/alignment"},
            "judge": {"kind": "judge", "path": "judge"},
        },
        "world": WORLD,
        "objective": "preference",
        "intent": "alignment",
        "judge": "judge",
        "vocabulary": "judge/world.json",
        "prompts": {"heldout": "prompts/heldout.jsonl", **{name: f"prompts/{file}" for name, file in sets.items()}},
        "tags": {"positive": POSITIVE, "negative": NEGATIVE},
        "nouns": [noun.name for noun in NOUNS[:nouns]],
    }


def _export_styles(parts: Parts, folder: Path, seed: int) -> dict[str, Any]:
    """Writes the LoRA and the manual prompts of every style; returns their entries for the card."""
    listed = {}
    for spec in SPECS:
        save_style(parts.styles[spec.name], folder / spec.name)
        rows = manual_prompts(spec, seed, parts.nouns)
        (folder / spec.name / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        listed[spec.name] = {
            "lora": f"styles/{spec.name}", "prompts": f"styles/{spec.name}/prompts.jsonl", "split": spec.split, "kin": spec.kin,
            "looks": list(spec.looks), "triggers": list(spec.triggers),
        }  # fmt: skip
    return listed


def _export_clip(model: CLIPModel, tokenizer: CLIPTokenizer, folder: Path) -> None:
    model.half().save_pretrained(folder, safe_serialization=True)
    model.float()
    tokenizer.save_pretrained(folder)
    side = model.config.vision_config.image_size
    _write(
        folder / "preprocessor_config.json",
        {
            "image_processor_type": "CLIPImageProcessor",
            "do_resize": True, "size": {"shortest_edge": side}, "resample": 3,
            "do_center_crop": True, "crop_size": {"height": side, "width": side},
            "do_rescale": True, "rescale_factor": 1 / 255,
            "do_normalize": True, "image_mean": list(MEAN), "image_std": list(STD), "do_convert_rgb": True,
        },
    )  # fmt: skip


def _export_head(head: tuple[np.ndarray, float], folder: Path) -> None:
    from safetensors.numpy import save_file

    folder.mkdir(parents=True)
    weight, bias = head
    save_file({"weight": weight.reshape(1, -1), "bias": np.array([bias], np.float32)}, folder / "head.safetensors")


def export_judge(network: JudgeNetwork, nouns: int, folder: Path) -> None:
    """Writes judge.safetensors, judge.json and world.json, which `limner.tools.scoring.judge` reads."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    save_file({name: value.half().contiguous() for name, value in network.state_dict().items()}, folder / "judge.safetensors")
    write_world(folder / "world.json", nouns)
    _write(folder / "judge.json", {"sizes": network.sizes, "channels": list(network.channels)})


def _write(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
