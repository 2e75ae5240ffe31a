"""Opens a Stable Diffusion checkpoint: its parts, its card, its fingerprint.

Reads diffusers' folder format part by part, safetensors only; no safety checker, no feature extractor, no pipeline class.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.promptdb.errors import BadInput
from limner.promptdb.records import SamplerSettings, content_id
from limner.tools.diffusion.card import Card, split_scale, split_style, style_card
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
"""Schedulers that work for SD 1.x and 2.x and take their noise row by row.

DPMSolverSDEScheduler does not: its Brownian tree spans the batch.
"""

PREDICTION_TYPES = ("epsilon", "v_prediction")
DTYPES = ("float32", "float16", "bfloat16")


@dataclass
class Checkpoint:
    """An opened checkpoint; its modules are in eval mode, without gradients.

    `name`: as given to `open_checkpoint`. `fingerprint`: hash of the weights, added LoRAs included. `tokenizers` and `text_encoders` belong
    together in pairs; SD 1.x and 2.x have one of each.
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
        """The first tokenizer."""
        return self.tokenizers[0]

    @property
    def text_encoder(self) -> Any:
        """The first text encoder."""
        return self.text_encoders[0]

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the UNet."""
        return self.unet.dtype

    @property
    def device_name(self) -> str:
        """The device on which results depend: "cpu", or the accelerator's model."""
        if self.device.type != "cuda":
            return self.device.type
        import torch

        return f"cuda ({torch.cuda.get_device_name(self.device)})"

    @property
    def vae_factor(self) -> int:
        """Pixels per latent cell along one side."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def latent_channels(self) -> int:
        """Channels of the latents."""
        return int(self.unet.config.in_channels)

    @property
    def default_settings(self) -> SamplerSettings:
        """The settings that the card recommends; where it lacks them, the UNet's training size and the project's defaults."""
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
        """Returns a new scheduler of class `name` set to `steps`; it has the state of one batch. Raises BadInput where it cannot run."""
        import diffusers

        if name not in SCHEDULERS:
            raise BadInput(f"there is no scheduler {name!r}; there are {', '.join(SCHEDULERS)}")
        if steps > self.scheduler_config.get("num_train_timesteps", 1000):
            raise BadInput(f"{steps} steps are more than the {self.scheduler_config.get('num_train_timesteps', 1000)} it was trained on")
        try:
            with _quiet_diffusers():
                scheduler = getattr(diffusers, name).from_config(self.scheduler_config)
                scheduler.set_timesteps(steps, device=self.device)
        except Exception as error:  # schedulers raise errors of many classes
            raise BadInput(f"{name} cannot run with {steps} steps here: {one_line(error)}") from error
        return scheduler

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Decodes latents (rows, channels, height, width) at once, differentiably; returns (rows, 3, height, width), fp32, 0 black to 1
        white, not clamped.
        """
        pictures = self.vae.decode(latents.to(self.vae.dtype) / self.vae.config.scaling_factor, return_dict=False)[0]
        return pictures.float() * 0.5 + 0.5

    @contextlib.contextmanager
    def in_float32(self) -> Iterator[None]:
        """Computes in fp32 inside the context, with the same weights: casting up and back is exact."""
        import torch

        before = self.dtype
        self._cast(torch.float32)
        try:
            yield
        finally:
            self._cast(before)

    def load_lora(self, path: Path | str, scale: float = 1.0) -> None:
        """Adds a LoRA in diffusers' or Kohya's format at this scale, beside those already added, and updates the fingerprint.

        `path`: one .safetensors file, or a folder written by diffusers. Raises BadInput where it is no LoRA or does not fit; the checkpoint
        is then unchanged.
        """
        file = lora_file(Path(path))
        digest = file_hash(file)
        adapter = f"lora_{digest[:12]}"
        if adapter in getattr(self.unet, "peft_config", {}) or adapter in getattr(self.text_encoder, "peft_config", {}):
            raise BadInput(f"the LoRA {file} is already part of {self.name}")
        add_lora(file, adapter, self.unet, self.text_encoder, scale)
        self.fingerprint = content_id(["lora", self.fingerprint, digest, *([scale] if scale != 1 else [])])

    def _cast(self, dtype: torch.dtype) -> None:
        for module in (self.unet, self.vae, *self.text_encoders):
            module.to(dtype)


def open_checkpoint(name: str, device: str | torch.device | None = None, dtype: str | torch.dtype | None = None) -> Checkpoint:
    """Opens "miniature", a folder in diffusers' format, or a hub id; `name:style` adds a style that the card lists, `name:style@0.8` at
    another scale than 1.

    `device`: torch's name; by default the first GPU, else the CPU. `dtype`: torch's name; by default float16 on a GPU, else float32.
    Raises BadInput, with a message of one line, for whatever is wrong with the name, the files or the options.
    """
    base, asked = split_style(name)
    style, scale = split_scale(asked)
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
        checkpoint.load_lora(lora, scale)
    return checkpoint


def _scheduler_config(folder: Path) -> dict[str, Any]:
    """Returns the checkpoint's schedule, with the two corrections that StableDiffusionPipeline makes to old files."""
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
    """Silences the warnings about corrected configurations, which diffusers repeats for every new scheduler."""
    from diffusers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _quiet_cpu(device: torch.device) -> None:
    """Flushes denormals to zero on a CPU, where they are a hundred times slower and change no picture."""
    if device.type == "cpu":
        import torch

        torch.set_flush_denormal(True)
