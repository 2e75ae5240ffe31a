from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from limner.promptdb.records import SamplerSettings
from limner.tools.diffusion.checkpoint import Checkpoint, open_checkpoint
from tests.tools.diffusion.inputs import Copy, edit, picture, refusal_of


class TestOpening:
    def test_both_prediction_types_open_ready_to_draw(self, sd1: Checkpoint, sd2: Checkpoint) -> None:
        assert (sd1.prediction_type, sd2.prediction_type) == ("epsilon", "v_prediction")
        for checkpoint in (sd1, sd2):
            assert (checkpoint.device.type, checkpoint.dtype, checkpoint.vae_factor) == ("cpu", torch.float32, 4)
            for module in (checkpoint.unet, checkpoint.vae, checkpoint.text_encoder):
                assert not module.training
                assert not any(weights.requires_grad for weights in module.parameters())

    def test_denormals_are_flushed_on_a_cpu(self, sd1_folder: Path) -> None:
        open_checkpoint(str(sd1_folder), device="cpu")
        assert float(torch.tensor([1e-38]) * torch.tensor([1e-3])) == 0

    @pytest.mark.parametrize("dtype", ["float16", torch.bfloat16])
    def test_half_precision_on_request(self, sd1_folder: Path, dtype: Any) -> None:
        checkpoint = open_checkpoint(str(sd1_folder), device="cpu", dtype=dtype)
        assert checkpoint.dtype == checkpoint.vae.dtype == checkpoint.text_encoder.dtype == getattr(torch, str(dtype).split(".")[-1])
        assert checkpoint.default_settings.dtype == str(dtype).split(".")[-1]

    def test_the_card_sets_the_defaults(self, sd1: Checkpoint, sd1_folder: Path, copy_of: Copy) -> None:
        assert sd1.default_settings == SamplerSettings(width=32, height=32)
        folder = copy_of(sd1_folder)
        (folder / "card.json").write_text('{"name": "x", "recommended": {"steps": 7, "guidance_scale": 0, "scheduler": "PNDMScheduler"}}')
        checkpoint = open_checkpoint(str(folder), device="cpu")
        assert checkpoint.default_settings == SamplerSettings("PNDMScheduler", 7, 0.0, 32, 32)
        assert (checkpoint.card.name, checkpoint.fingerprint) == ("x", sd1.fingerprint)

    def test_half_precision_files_serve_where_there_are_no_others(self, sd1_folder: Path, copy_of: Copy) -> None:
        folder = copy_of(sd1_folder)
        for file in list(folder.glob("*/*.safetensors")):
            file.rename(file.with_suffix(".fp16.safetensors"))
        open_checkpoint(str(folder), device="cpu")

    def test_the_tensor_names_of_older_files_are_understood(self, sd1: Checkpoint, sd1_folder: Path, copy_of: Copy) -> None:
        from safetensors.torch import load_file, save_file

        file = copy_of(sd1_folder) / "text_encoder" / "model.safetensors"
        weights = {f"text_model.{name}": tensor for name, tensor in load_file(file).items()}
        save_file({**weights, "text_model.embeddings.position_ids": torch.arange(77)[None]}, file, metadata={"format": "pt"})
        assert torch.equal(picture(open_checkpoint(str(file.parents[1]), device="cpu")), picture(sd1))

    def test_weights_in_several_files_are_read(self, sd1: Checkpoint, sd1_folder: Path, copy_of: Copy) -> None:
        folder = copy_of(sd1_folder)
        (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
        sd1.unet.save_pretrained(folder / "unet", max_shard_size="300KB")
        assert len(list((folder / "unet").glob("*.safetensors"))) > 1
        checkpoint = open_checkpoint(str(folder), device="cpu")
        assert torch.equal(picture(checkpoint), picture(sd1))
        min((folder / "unet").glob("*.safetensors")).unlink()
        assert "diffusion_pytorch_model-00001-of-" in refusal_of(folder)

    def test_a_safety_checker_is_neither_loaded_nor_looked_at(self, sd1: Checkpoint, sd1_folder: Path, copy_of: Copy) -> None:
        folder = copy_of(sd1_folder)
        edit(
            folder / "model_index.json",
            safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"],
            feature_extractor=["transformers", "CLIPImageProcessor"],
            requires_safety_checker=True,
        )
        (folder / "safety_checker").mkdir()
        (folder / "safety_checker" / "pytorch_model.bin").write_bytes(b"no pickle at all")
        (folder / "safety_checker" / "model.safetensors").write_bytes(b"nor this")
        checkpoint = open_checkpoint(str(folder), device="cpu")
        assert checkpoint.fingerprint == sd1.fingerprint
        assert torch.equal(picture(checkpoint), picture(sd1))


class TestFingerprint:
    def test_it_is_the_same_for_the_same_files_elsewhere(self, sd1: Checkpoint, sd1_folder: Path, copy_of: Copy) -> None:
        folder = copy_of(sd1_folder)
        edit(folder / "unet" / "config.json", _name_or_path="/somewhere/else", _diffusers_version="9.9")
        assert open_checkpoint(str(folder), device="cpu").fingerprint == sd1.fingerprint

    def test_it_changes_with_a_single_bit_of_the_weights(self, sd1: Checkpoint, sd1_folder: Path, copy_of: Copy) -> None:
        file = copy_of(sd1_folder) / "vae" / "diffusion_pytorch_model.safetensors"
        content = bytearray(file.read_bytes())
        content[-4] ^= 1
        file.write_bytes(content)
        assert open_checkpoint(str(file.parents[1]), device="cpu").fingerprint != sd1.fingerprint

    @pytest.mark.parametrize(
        ("file", "changes"),
        [("scheduler/scheduler_config.json", {"prediction_type": "v_prediction"}), ("text_encoder/config.json", {"hidden_act": "gelu"})],
    )
    def test_it_changes_with_what_shapes_a_picture(
        self, sd1: Checkpoint, sd1_folder: Path, copy_of: Copy, file: str, changes: dict[str, Any]
    ) -> None:
        folder = copy_of(sd1_folder)
        edit(folder / file, **changes)
        assert open_checkpoint(str(folder), device="cpu").fingerprint != sd1.fingerprint

    def test_different_checkpoints_differ(self, sd1: Checkpoint, sd2: Checkpoint) -> None:
        assert len({sd1.fingerprint, sd2.fingerprint}) == 2
        assert len(sd1.fingerprint) == 24


class TestBadFolders:
    def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        assert "there is no checkpoint folder" in refusal_of(tmp_path / "nowhere")

    def test_a_folder_without_a_model_index(self, tmp_path: Path) -> None:
        assert "has no model_index.json" in refusal_of(tmp_path)

    @pytest.mark.parametrize("suffix", [".ckpt", ".safetensors", ".pt"])
    def test_a_single_file(self, tmp_path: Path, suffix: str) -> None:
        file = tmp_path / f"model{suffix}"
        file.write_bytes(b"x")
        assert "is a single file; a checkpoint is a folder" in refusal_of(file)

    @pytest.mark.parametrize("file", ["model_index.json", "unet/config.json", "scheduler/scheduler_config.json", "tokenizer/vocab.json"])
    def test_corrupt_json(self, sd1_folder: Path, copy_of: Copy, file: str) -> None:
        folder = copy_of(sd1_folder)
        (folder / file).write_text((folder / file).read_text()[:-20])
        assert file.split("/")[0] in refusal_of(folder)

    def test_a_model_index_that_is_no_object(self, sd1_folder: Path, copy_of: Copy) -> None:
        folder = copy_of(sd1_folder)
        (folder / "model_index.json").write_text("[]")
        assert "must hold one JSON object" in refusal_of(folder)

    @pytest.mark.parametrize("part", ["unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "text_encoder/model"])
    @pytest.mark.parametrize("kept", [0, 5, 700, -1])
    def test_a_cut_download(self, sd1_folder: Path, copy_of: Copy, part: str, kept: int) -> None:
        file = copy_of(sd1_folder) / f"{part}.safetensors"
        file.write_bytes(file.read_bytes()[:kept])
        message = refusal_of(file.parents[1])
        assert f"{file} is corrupt" in message
        assert "fetch it again" in message

    def test_a_git_lfs_pointer(self, sd1_folder: Path, copy_of: Copy) -> None:
        file = copy_of(sd1_folder) / "unet" / "diffusion_pytorch_model.safetensors"
        file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
        assert "git lfs pull" in refusal_of(file.parents[1])

    @pytest.mark.parametrize("name", ["diffusion_pytorch_model.bin", "diffusion_pytorch_model.ckpt"])
    def test_pickled_weights_alone(self, sd1_folder: Path, copy_of: Copy, name: str) -> None:
        folder = copy_of(sd1_folder)
        (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
        (folder / "unet" / name).write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
        assert f"unet/{name} is pickled and could run code" in refusal_of(folder)

    @pytest.mark.parametrize("name", ["StableDiffusionXLPipeline", "FluxPipeline", "StableDiffusion3Pipeline", "KandinskyPipeline"])
    def test_another_family_is_named(self, sd1_folder: Path, copy_of: Copy, name: str) -> None:
        folder = copy_of(sd1_folder)
        edit(folder / "model_index.json", _class_name=name)
        assert f"is a {name}; only Stable Diffusion 1.x and 2.x" in refusal_of(folder)

    @pytest.mark.parametrize("part", ["tokenizer", "text_encoder", "unet", "vae", "scheduler"])
    def test_a_missing_part(self, sd1_folder: Path, copy_of: Copy, part: str) -> None:
        folder = copy_of(sd1_folder)
        shutil.rmtree(folder / part)
        assert part in refusal_of(folder)

    @pytest.mark.parametrize("part", ["tokenizer", "text_encoder", "unet", "vae", "scheduler"])
    def test_a_part_left_out_of_the_index(self, sd1_folder: Path, copy_of: Copy, part: str) -> None:
        folder = copy_of(sd1_folder)
        edit(folder / "model_index.json", **{part: [None, None]})
        assert f"has no {part} in its model_index.json" in refusal_of(folder)

    def test_a_part_of_code_brought_along(self, sd1_folder: Path, copy_of: Copy) -> None:
        folder = copy_of(sd1_folder)
        edit(folder / "model_index.json", unet=["my_unet", "MyUNet"])
        assert "its unet is a MyUNet; only UNet2DConditionModel can be opened" in refusal_of(folder)

    def test_weights_that_lack_a_tensor_are_not_filled_with_chance(self, sd1_folder: Path, copy_of: Copy) -> None:
        from safetensors.torch import load_file, save_file

        for part, file in (("unet", "diffusion_pytorch_model"), ("text_encoder", "model")):
            folder = copy_of(sd1_folder)
            path = folder / part / f"{file}.safetensors"
            weights = load_file(path)
            weights.pop(sorted(weights)[0])
            save_file(weights, path, metadata={"format": "pt"})
            assert "1 of its weights are missing" in refusal_of(folder)
            shutil.rmtree(folder)

    def test_parts_of_different_checkpoints(self, sd1_folder: Path, sd2_folder: Path, copy_of: Copy) -> None:
        folder = copy_of(sd1_folder)
        shutil.rmtree(folder / "unet")
        shutil.copytree(sd2_folder / "unet", folder / "unet")
        edit(folder / "unet" / "config.json", cross_attention_dim=48)
        assert "unet" in refusal_of(folder).lower()

    def test_a_third_prediction_type(self, sd1_folder: Path, copy_of: Copy) -> None:
        folder = copy_of(sd1_folder)
        edit(folder / "scheduler" / "scheduler_config.json", prediction_type="sample")
        assert "predicts 'sample'; only epsilon and v_prediction" in refusal_of(folder)

    def test_an_invalid_card(self, sd1_folder: Path, copy_of: Copy) -> None:
        folder = copy_of(sd1_folder)
        (folder / "card.json").write_text("{'name': 1}")
        assert "card.json is not valid JSON" in refusal_of(folder)

    @pytest.mark.parametrize("options", [{"device": "gpu7"}, {"device": "cuda:99"}, {"dtype": "int8"}, {"dtype": "half"}])
    def test_a_device_or_dtype_that_is_not_there(self, sd1_folder: Path, options: dict[str, str]) -> None:
        assert next(iter(options.values())) in refusal_of(sd1_folder, **options)

    def test_the_miniature_before_it_is_trained(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr("limner.tools.diffusion.hub.MINIATURE", tmp_path)
        assert "train miniature" in refusal_of("miniature")
