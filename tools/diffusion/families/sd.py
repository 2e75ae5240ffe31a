"""Loads the parts of a Stable Diffusion checkpoint, one by one, from safetensors.

No pipeline class is involved, so no feature extractor, safety checker or torchvision is needed. `weights` has already checked which files
exist and that they are complete.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.promptdb.errors import BadInput
from limner.tools.diffusion.weights import one_line

if TYPE_CHECKING:
    import torch

VOCABULARIES = (("tokenizer.json",), ("vocab.json", "merges.txt"))
"""Files of a tokenizer, in either of two formats."""


def load_parts(folder: Path, variants: dict[str, str | None], device: torch.device, dtype: torch.dtype) -> tuple[Any, Any, Any, Any]:
    """Returns tokenizer, text encoder, UNet and VAE, in eval mode and without gradients. `variants`: diffusers' variant of each part.

    Raises BadInput for a part that cannot be read, is incomplete, or does not fit the others.
    """
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer
    from transformers.utils import logging

    where = str(folder)
    local: dict[str, Any] = {"local_files_only": True, "use_safetensors": True, "output_loading_info": True}
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with _reading(folder, "tokenizer"):
            if not any(all((folder / "tokenizer" / file).is_file() for file in files) for files in VOCABULARIES):
                raise ValueError("vocab.json and merges.txt are missing")
            tokenizer = CLIPTokenizer.from_pretrained(where, subfolder="tokenizer", local_files_only=True)
        with _reading(folder, "text_encoder"):
            variant = variants["text_encoder"]
            loaded = CLIPTextModel.from_pretrained(where, subfolder="text_encoder", dtype=dtype, variant=variant, **local)
            text_encoder = _complete(*loaded)
        with _reading(folder, "unet"):
            loaded = UNet2DConditionModel.from_pretrained(where, subfolder="unet", torch_dtype=dtype, variant=variants["unet"], **local)
            unet = _plain_unet(_complete(*loaded))
        with _reading(folder, "vae"):
            loaded = AutoencoderKL.from_pretrained(where, subfolder="vae", torch_dtype=dtype, variant=variants["vae"], **local)
            vae = _complete(*loaded)
    finally:
        if bars:
            logging.enable_progress_bar()
    if unet.config.in_channels != vae.config.latent_channels or unet.config.cross_attention_dim != text_encoder.config.hidden_size:
        raise BadInput(f"{folder}: its UNet does not fit its VAE and text encoder (an inpainting or a mixed checkpoint)")
    for module in (text_encoder, unet, vae):
        module.requires_grad_(False).eval().to(device)
    return tokenizer, text_encoder, unet, vae


@contextlib.contextmanager
def _reading(folder: Path, part: str) -> Iterator[None]:
    """Turns whatever a loader raises for a part into a BadInput of one line."""
    try:
        yield
    except MemoryError:
        raise  # not the files' fault
    except Exception as error:
        raise BadInput(f"{folder / part} cannot be read ({one_line(error)}): fetch the checkpoint again") from error


def _complete(model: Any, info: dict[str, Any]) -> Any:
    """Returns the model. Raises ValueError where weights are missing, which loaders would fill with random numbers."""
    absent = sorted(str(name) for name in [*info["missing_keys"], *info["mismatched_keys"]])
    if absent:
        raise ValueError(f"{len(absent)} of its weights are missing or have another shape, the first is {absent[0]}")
    return model


def _plain_unet(unet: Any) -> Any:
    """Returns the UNet. Raises ValueError where it needs inputs other than latents, timestep and the text's hidden states.

    A UNet that pools the text by itself (`addition_embed_type` "text") needs no other inputs.
    """
    for setting in ("time_cond_proj_dim", "addition_embed_type", "class_embed_type", "encoder_hid_dim"):
        value = getattr(unet.config, setting, None)
        if value is not None and (setting, value) != ("addition_embed_type", "text"):
            raise ValueError(f"its {setting} is {getattr(unet.config, setting)}, which no Stable Diffusion 1.x or 2.x has")
    return unet
