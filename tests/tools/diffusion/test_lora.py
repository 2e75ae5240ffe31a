from __future__ import annotations

from pathlib import Path

import pytest
import torch

from limner.promptdb.errors import BadInput
from limner.tools.diffusion.checkpoint import Checkpoint, open_checkpoint
from limner.tools.diffusion.sampling.sampler import Sampler
from tests.tools.diffusion.inputs import picture


@pytest.fixture(scope="module")
def loras(sd1_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two random ones, on UNet and text encoder, written by diffusers' own saver."""
    from diffusers import StableDiffusionPipeline
    from diffusers.utils import convert_state_dict_to_diffusers
    from peft import LoraConfig, get_peft_model_state_dict

    files = []
    for seed in (0, 1):
        checkpoint = open_checkpoint(str(sd1_folder), device="cpu")
        torch.manual_seed(seed)
        checkpoint.unet.add_adapter(LoraConfig(r=2, init_lora_weights=False, target_modules=["to_k", "to_q", "to_v", "to_out.0"]))
        checkpoint.text_encoder.add_adapter(LoraConfig(r=2, init_lora_weights=False, target_modules=["q_proj", "v_proj"]))
        folder = tmp_path_factory.mktemp("lora")
        StableDiffusionPipeline.save_lora_weights(
            folder,
            unet_lora_layers=convert_state_dict_to_diffusers(get_peft_model_state_dict(checkpoint.unet)),
            text_encoder_lora_layers=convert_state_dict_to_diffusers(get_peft_model_state_dict(checkpoint.text_encoder)),
        )
        files.append(folder / "pytorch_lora_weights.safetensors")
    return files


@pytest.fixture
def lora(loras: list[Path]) -> Path:
    return loras[0]


def stock_picture(folder: Path, loras: list[Path]) -> torch.Tensor:
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    for number, lora in enumerate(loras):
        pipeline.load_lora_weights(lora.parent, weight_name=lora.name, adapter_name=f"lora{number}")
    pipeline.set_adapters([f"lora{number}" for number in range(len(loras))])
    generator = torch.Generator().manual_seed(1)
    return torch.from_numpy(pipeline("a red cat", num_inference_steps=3, generator=generator, output_type="np").images).permute(0, 3, 1, 2)


@pytest.mark.parametrize("count", [1, 2])
def test_pictures_equal_those_of_stock_with_the_same_loras(sd1: Checkpoint, sd1_folder: Path, loras: list[Path], count: int) -> None:
    checkpoint = open_checkpoint(str(sd1_folder), device="cpu")
    for lora in loras[:count]:
        checkpoint.load_lora(lora)
    drawn = picture(checkpoint)
    assert float((drawn.clamp(0, 1) - stock_picture(sd1_folder, loras[:count])).abs().max()) < 1e-5
    assert not torch.allclose(drawn, picture(sd1), atol=1e-2)


def test_a_folder_written_by_diffusers_will_do_and_the_same_lora_only_once(sd1_folder: Path, lora: Path) -> None:
    checkpoint = open_checkpoint(str(sd1_folder), device="cpu")
    checkpoint.load_lora(lora.parent)
    with_lora, fingerprint = picture(checkpoint), checkpoint.fingerprint
    with pytest.raises(BadInput, match="already part"):
        checkpoint.load_lora(lora)
    assert checkpoint.fingerprint == fingerprint
    assert torch.equal(picture(checkpoint), with_lora)


def test_it_reaches_text_encoder_and_unet_and_changes_the_fingerprint(sd1: Checkpoint, sd1_folder: Path, lora: Path) -> None:
    checkpoint = open_checkpoint(str(sd1_folder), device="cpu")
    sampler = Sampler(checkpoint)
    before = sampler.texts.encode(["a red cat"])["a red cat"]
    checkpoint.load_lora(lora)
    assert not torch.allclose(sampler.texts.encode(["a red cat"])["a red cat"], before)
    assert checkpoint.fingerprint != sd1.fingerprint
    assert sampler.fingerprint == checkpoint.fingerprint
    assert not any(weights.requires_grad for weights in checkpoint.unet.parameters())


def test_what_is_no_lora_is_refused_and_changes_nothing(sd1_folder: Path, loras: list[Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    lora, other_lora = loras
    checkpoint = open_checkpoint(str(sd1_folder), device="cpu")
    checkpoint.load_lora(other_lora)
    before, fingerprint = picture(checkpoint), checkpoint.fingerprint
    cut, other, misfit = tmp_path / "cut.safetensors", tmp_path / "other.safetensors", tmp_path / "misfit.safetensors"
    cut.write_bytes(lora.read_bytes()[:-100])
    save_file({"weight": torch.zeros(2)}, other)
    save_file({name: torch.cat([weights, weights], dim=-1).contiguous() for name, weights in load_file(lora).items()}, misfit)
    pickled = tmp_path / "lora.pt"
    pickled.write_bytes(b"x")
    for path, message in (
        (cut, "is corrupt"),
        (other, "does not fit"),
        (misfit, "does not fit"),
        (pickled, "is pickled and could run code"),
        (tmp_path / "nowhere.safetensors", "there is no LoRA file"),
    ):
        with pytest.raises(BadInput, match=message) as refusal:
            checkpoint.load_lora(path)
        assert "\n" not in str(refusal.value)
    assert checkpoint.fingerprint == fingerprint
    assert torch.equal(picture(checkpoint), before)
