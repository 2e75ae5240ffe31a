"""Adds a LoRA to a UNet and a text encoder, through diffusers' own loader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from limner.promptdb.errors import BadInput
from limner.tools.diffusion.weights import PICKLE_SUFFIXES, check_safetensors, one_line

SAVED_AS = "pytorch_lora_weights.safetensors"


def lora_file(path: Path) -> Path:
    """Returns the weight file `path`, or the one in the folder `path` that diffusers wrote.

    Raises BadInput where it is missing or damaged.
    """
    file = path / SAVED_AS if path.is_dir() else path
    if file.suffix in PICKLE_SUFFIXES:
        raise BadInput(f"{file} is pickled and could run code; only .safetensors LoRAs are read")
    if not file.is_file():
        raise BadInput(f"there is no LoRA file {file}")
    check_safetensors(file)
    return file


def add_lora(file: Path, adapter: str, unet: Any, text_encoder: Any, scale: float = 1.0) -> None:
    """Adds a LoRA under the name `adapter`, at this scale, active together with all others.

    Raises BadInput where it does not fit; both modules are then unchanged.
    """
    from diffusers.loaders import StableDiffusionLoraLoaderMixin as Loader

    try:
        weights, alphas, metadata = Loader.lora_state_dict(
            str(file.parent), weight_name=file.name, use_safetensors=True, local_files_only=True, return_lora_metadata=True
        )
        if not weights or not all("lora" in name for name in weights):
            raise ValueError("it holds no LoRA weights")
        shared = {"network_alphas": alphas, "adapter_name": adapter, "metadata": metadata}
        Loader.load_lora_into_unet(weights, unet=unet, **shared)
        Loader.load_lora_into_text_encoder(weights, text_encoder=text_encoder, prefix="text_encoder", **shared)
    except Exception as error:
        for module in (unet, text_encoder):
            _take_out(module, adapter)
        raise BadInput(f"the LoRA {file} does not fit this checkpoint: {one_line(error)}") from error
    if not any(adapter in getattr(module, "peft_config", {}) for module in (unet, text_encoder)):
        raise BadInput(f"the LoRA {file} changes nothing in this checkpoint: it was made for another kind of model")
    for module in (unet, text_encoder):
        _activate_all(module)
        if scale != 1:
            _scale(module, adapter, scale)
        module.requires_grad_(False).eval()


def _activate_all(module: Any) -> None:
    """Activates all adapters: a loader activates only the one loaded last. UNet and text encoder use different names for this."""
    adapters = list(getattr(module, "peft_config", {}))
    if adapters:
        activate = module.set_adapters if hasattr(module, "set_adapters") else module.set_adapter
        activate(adapters)


def _scale(module: Any, adapter: str, scale: float) -> None:
    from peft.tuners.tuners_utils import BaseTunerLayer

    for layer in module.modules():
        if isinstance(layer, BaseTunerLayer):
            layer.set_scale(adapter, scale)


def _take_out(module: Any, adapter: str) -> None:
    if adapter in getattr(module, "peft_config", {}):
        delete = module.delete_adapters if hasattr(module, "delete_adapters") else module.delete_adapter
        delete(adapter)
        _activate_all(module)
