"""A Stable Diffusion checkpoint, opened: its parts, its card, its fingerprint.

Reads diffusers' folder format, part by part, safetensors only; no safety checker, no feature extractor, no pipeline class. Knows
nothing of prompts or drawings.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.promptdb.errors import BadInput
from limner.promptdb.records import SamplerSettings, content_id
from limner.tools.diffusion.card import Card, split_style, style_card
from limner.tools.diffusion.families.sd import VOCABULARIES, load_parts
from limner.tools.diffusion.hub import find_folder
from limner.tools.diffusion.lora import add_lora, lora_file
from limner.tools.diffusion.weights import (
    WEIGHT_STEMS,
    check_index,
    check_whole,
    choose_weights,
    file_hash,
    fingerprint,
    names_in,
    one_line,
    read_json,
)

if TYPE_CHECKING:
    import torch

SCHEDULERS = (
    "DDIMScheduler",
    "DDPMScheduler",
    "PNDMScheduler",
    "LMSDiscreteScheduler",
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "DEISMultistepScheduler",
    "UniPCMultistepScheduler",
    "SASolverScheduler",
    "LCMScheduler",
    "TCDScheduler",
)
"""Samplers that serve SD 1.x and 2.x and take their noise row by row. DPMSolverSDEScheduler does not: its Brownian tree spans the batch."""

PREDICTION_TYPES = ("epsilon", "v_prediction")
DTYPES = ("float32", "float16", "bfloat16")


@dataclass
class Checkpoint:
    """`name`: what the person typed. `fingerprint`: hash of the weights in use, LoRA included. Modules are in eval mode, without gradients.

    Tokenizers and text encoders go in pairs; SD 1.x and 2.x have one of each.
    """

    name: str
    folder: Path
    fingerprint: str
    device: torch.device
    tokenizers: tuple[Any, ...]
    text_encoders: tuple[Any, ...]
    unet: Any
    vae: Any
    scheduler_config: dict[str, Any]
    prediction_type: str
    card: Card

    @property
    def tokenizer(self) -> Any:
        return self.tokenizers[0]

    @property
    def text_encoder(self) -> Any:
        return self.text_encoders[0]

    @property
    def dtype(self) -> torch.dtype:
        return self.unet.dtype

    @property
    def device_name(self) -> str:
        """What results depend on: "cpu", or the accelerator's model."""
        if self.device.type != "cuda":
            return self.device.type
        import torch

        return f"cuda ({torch.cuda.get_device_name(self.device)})"

    @property
    def vae_factor(self) -> int:
        """Pixels per latent, along one side."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def latent_channels(self) -> int:
        return int(self.unet.config.in_channels)

    @property
    def default_settings(self) -> SamplerSettings:
        """What the card recommends; where it says nothing, the size that the UNet was trained at and the project's defaults."""
        size = self.unet.config.sample_size
        height, width = (size, size) if isinstance(size, int) else size
        plain = SamplerSettings()
        return SamplerSettings(
            scheduler=self.card.scheduler or plain.scheduler,
            steps=self.card.steps or plain.steps,
            guidance_scale=plain.guidance_scale if self.card.guidance_scale is None else self.card.guidance_scale,
            width=self.card.width or width * self.vae_factor,
            height=self.card.height or height * self.vae_factor,
            dtype=str(self.dtype).removeprefix("torch."),
        )

    def scheduler(self, name: str, steps: int) -> Any:
        """A fresh scheduler of class `name`, set to `steps`; it holds the state of one batch. Raises BadInput where it cannot serve."""
        import diffusers

        if name not in SCHEDULERS:
            raise BadInput(f"there is no scheduler {name!r}; there are {', '.join(SCHEDULERS)}")
        if steps > self.scheduler_config.get("num_train_timesteps", 1000):
            raise BadInput(f"{steps} steps are more than the {self.scheduler_config.get('num_train_timesteps', 1000)} it was trained on")
        try:
            with _quiet_diffusers():
                scheduler = getattr(diffusers, name).from_config(self.scheduler_config)
                scheduler.set_timesteps(steps, device=self.device)
        except Exception as error:  # every scheduler has its own way to dislike a schedule
            raise BadInput(f"{name} cannot run with {steps} steps here: {one_line(error)}") from error
        return scheduler

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Pictures of clean latents, all at once and differentiable: (rows, 3, height, width), fp32, 0 black to 1 white, not clamped."""
        pictures = self.vae.decode(latents.to(self.vae.dtype) / self.vae.config.scaling_factor, return_dict=False)[0]
        return pictures.float() * 0.5 + 0.5

    @contextlib.contextmanager
    def in_float32(self) -> Iterator[None]:
        """Compute in fp32 meanwhile, on the same weights: widening and narrowing back loses no bit."""
        import torch

        before = self.dtype
        self._cast(torch.float32)
        try:
            yield
        finally:
            self._cast(before)

    def load_lora(self, path: Path | str) -> None:
        """Add a LoRA in diffusers' or Kohya's format at scale 1, beside those added before; the fingerprint changes with it.

        `path`: one .safetensors file, or a folder that diffusers saved one to. Raises BadInput where it is none or does not fit this
        checkpoint, which then is as before.
        """
        file = lora_file(Path(path))
        digest = file_hash(file)
        adapter = f"lora_{digest[:12]}"
        if adapter in getattr(self.unet, "peft_config", {}) or adapter in getattr(self.text_encoder, "peft_config", {}):
            raise BadInput(f"the LoRA {file} is already part of {self.name}")
        add_lora(file, adapter, self.unet, self.text_encoder)
        self.fingerprint = content_id(["lora", self.fingerprint, digest])

    def _cast(self, dtype: torch.dtype) -> None:
        for module in (self.unet, self.vae, *self.text_encoders):
            module.to(dtype)


def open_checkpoint(name: str, device: str | torch.device | None = None, dtype: str | torch.dtype | None = None) -> Checkpoint:
    """Open "miniature", a folder in diffusers' format, or a hub id; `name:style` adds a style that its card lists.

    `device`: torch's name; by default the first GPU, else the CPU. `dtype`: torch's name; by default float16 on a GPU, else float32.
    Raises BadInput, in one line, for everything that is wrong with the name, the files or the options.
    """
    base, style = split_style(name)
    folder = find_folder(base)
    if not (folder / "model_index.json").exists():
        raise BadInput(f"{folder} is no checkpoint: it has no model_index.json (diffusers' folder format is read)")
    check_index(str(folder), read_json(folder / "model_index.json"))
    card, lora = Card.read(folder), None
    if style:
        card, lora = style_card(card, style, base)
    names = names_in(folder)
    weights = {part: choose_weights(str(folder), names, part) for part in WEIGHT_STEMS}
    for chosen in weights.values():
        check_whole(folder, chosen)
    scheduler_config = _scheduler_config(folder)
    place = _device(device)
    precision = _dtype(dtype, place)
    _quiet_cpu(place)
    tokenizer, text_encoder, unet, vae = load_parts(folder, {part: chosen.variant for part, chosen in weights.items()}, place, precision)
    configs = [f"{part}/config.json" for part in WEIGHT_STEMS] + ["scheduler/scheduler_config.json"]
    vocabularies = [f"tokenizer/{file}" for files in VOCABULARIES for file in files if f"tokenizer/{file}" in names]
    checkpoint = Checkpoint(
        name=name,
        folder=folder,
        fingerprint=fingerprint(folder, [*(file for chosen in weights.values() for file in chosen.files), *configs, *vocabularies]),
        device=place,
        tokenizers=(tokenizer,),
        text_encoders=(text_encoder,),
        unet=unet,
        vae=vae,
        scheduler_config=scheduler_config,
        prediction_type=scheduler_config.get("prediction_type", "epsilon"),
        card=card,
    )
    if lora:
        checkpoint.load_lora(lora)
    return checkpoint


def _scheduler_config(folder: Path) -> dict[str, Any]:
    """Its own schedule, with the two corrections that StableDiffusionPipeline makes to old files when it is constructed."""
    config = read_json(folder / "scheduler" / "scheduler_config.json")
    prediction_type = config.get("prediction_type", "epsilon")
    if prediction_type not in PREDICTION_TYPES:
        raise BadInput(f"{folder} predicts {prediction_type!r}; only {' and '.join(PREDICTION_TYPES)} can be sampled")
    return {**config, "steps_offset": 1, "clip_sample": False}


def _device(device: str | torch.device | None) -> torch.device:
    import torch

    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(device)
        torch.empty(1, device=place)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise BadInput(f"the device {str(device)!r} cannot be used here: {one_line(error)}") from error
    return place


def _dtype(dtype: str | torch.dtype | None, device: torch.device) -> torch.dtype:
    import torch

    if dtype is None:
        return torch.float16 if device.type == "cuda" else torch.float32
    name = str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise BadInput(f"there is no dtype {name!r} to draw in; there are {', '.join(DTYPES)}")
    return getattr(torch, name)


@contextlib.contextmanager
def _quiet_diffusers() -> Iterator[None]:
    """A scheduler says what it corrects in a configuration each time it is made, which is once a batch."""
    from diffusers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _quiet_cpu(device: torch.device) -> None:
    """Denormals cost a CPU a hundred times a normal number and no picture shows them."""
    if device.type == "cpu":
        import torch

        torch.set_flush_denormal(True)
