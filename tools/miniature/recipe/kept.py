"""Parts of a finished checkpoint that a new training reuses, so that one part can be trained again without the others."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError

from limner.promptdb.errors import BadInput
from limner.tools.diffusion.lora import SAVED_AS
from limner.tools.miniature.world.style_specs import SPECS

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Kept:
    """The `stages` whose weights are taken from the checkpoint in `folder`."""

    folder: Path
    stages: tuple[str, ...] = ()

    def put_tokenizer(self, folder: Path) -> None:
        """Copies the checkpoint's tokenizer to `folder` where any stage is reused: its text towers know only their own tokens.

        Raises BadInput where the checkpoint has no tokenizer.
        """
        if self.stages and not (folder / "tokenizer.json").is_file():
            if not (self.folder / "tokenizer").is_dir():
                raise BadInput(f"there is no checkpoint in {self.folder} to keep {', '.join(self.stages)} from")
            shutil.copytree(self.folder / "tokenizer", folder, dirs_exist_ok=True)

    def part(self, stage: str) -> torch.nn.Module:
        """Returns the module of a stage, in float32. Raises BadInput where the checkpoint lacks it."""
        try:
            return _LOADERS[stage](self.folder).float().eval()
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise BadInput(f"the {stage} of the checkpoint in {self.folder} cannot be kept: {str(error).splitlines()[0]}") from error

    def styles(self) -> dict[str, dict[str, dict[str, torch.Tensor]]]:
        """Returns the LoRA weights of every style: {name: {"unet": ..., "text_encoder": ...}}.

        Raises BadInput where the checkpoint lacks one.
        """
        from safetensors.torch import load_file

        styles = {}
        for spec in SPECS:
            file = self.folder / "styles" / spec.name / SAVED_AS
            try:
                weights = load_file(file)
            except (OSError, SafetensorError) as error:
                raise BadInput(
                    f"the styles of the checkpoint in {self.folder} cannot be kept: {file.name} of {spec.name}: {error}"
                ) from error
            styles[spec.name] = {
                part: {name.removeprefix(f"{part}."): value for name, value in weights.items() if name.startswith(f"{part}.")}
                for part in ("unet", "text_encoder")
            }
        return styles


def _vae(folder: Path) -> torch.nn.Module:
    from diffusers import AutoencoderKL

    return AutoencoderKL.from_pretrained(folder / "vae")


def _unet(folder: Path) -> torch.nn.Module:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel.from_pretrained(folder / "unet")


def _text_encoder(folder: Path) -> torch.nn.Module:
    from transformers import CLIPTextModel

    return CLIPTextModel.from_pretrained(folder / "text_encoder")


def _alignment(folder: Path) -> torch.nn.Module:
    from transformers import CLIPModel

    return CLIPModel.from_pretrained(folder / "scorers" / "alignment")


def _preference(folder: Path) -> torch.nn.Module:
    from transformers import CLIPModel

    return CLIPModel.from_pretrained(folder / "scorers" / "preference")


def _judge(folder: Path) -> torch.nn.Module:
    from safetensors.torch import load_file

    from limner.tools.scoring.judge_network import JudgeNetwork

    settings = json.loads((folder / "judge" / "judge.json").read_text(encoding="utf-8"))
    network = JudgeNetwork(**settings["sizes"], channels=tuple(settings["channels"]))
    network.load_state_dict({name: value.float() for name, value in load_file(folder / "judge" / "judge.safetensors").items()})
    return network


_LOADERS = {
    "vae": _vae, "unet": _unet, "text_encoder": _text_encoder, "alignment": _alignment, "preference": _preference, "judge": _judge,
}  # fmt: skip
