"""Tiny random checkpoints, saved in diffusers' folder format, so that tests run on the same files a person would pass.

Nothing here is trained: they prove that the plumbing is exact, never that a picture is good.
"""

from __future__ import annotations

import json
from pathlib import Path

SIZE = 32
"""Pixels of a picture; 8x8 latents behind a VAE of factor 4."""

_WORDS = ("a", "cat", "dog", "red", "blue", "on", "the", "of", "photo", "sharp", "blurry", "detailed")


def tiny_sd1(folder: Path) -> Path:
    """An SD 1.x: epsilon prediction, PNDM as its scheduler, conv projections. Built once per folder; returns it."""
    return folder if _is_built(folder) else _build(folder, v_prediction=False)


def tiny_sd2_v(folder: Path) -> Path:
    """An SD 2.x at 768-v: v prediction, linear projections, per-level heads, padded with "!". Built once per folder; returns it."""
    return folder if _is_built(folder) else _build(folder, v_prediction=True)


def tiny_vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """A byte-level BPE vocabulary and its merges, as CLIP's but with a dozen words; any text can be tokenized."""
    letters = _byte_symbols()
    symbols = [*letters, *(letter + "</w>" for letter in letters)]
    merges: list[tuple[str, str]] = []
    for word in _WORDS:
        parts = [*word[:-1], word[-1] + "</w>"]
        while len(parts) > 1:
            pair = (parts[0], parts[1])
            if pair not in merges:
                merges.append(pair)
                symbols.append("".join(pair))
            parts[:2] = ["".join(pair)]
    symbols += ["<|startoftext|>", "<|endoftext|>"]
    return {symbol: index for index, symbol in enumerate(dict.fromkeys(symbols))}, merges


def _is_built(folder: Path) -> bool:
    return (folder / "model_index.json").exists()


def _build(folder: Path, v_prediction: bool) -> Path:
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, PNDMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    generator_state = torch.random.get_rng_state()
    torch.manual_seed(2 if v_prediction else 1)
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary, merges = tiny_vocabulary()
    _save_tokenizer(folder / "tokenizer", vocabulary, merges, pad="!" if v_prediction else "<|endoftext|>", fast_file=v_prediction)
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(vocabulary),
            hidden_size=32,
            intermediate_size=64,
            projection_dim=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=77,
            hidden_act="gelu" if v_prediction else "quick_gelu",
            bos_token_id=vocabulary["<|startoftext|>"],
            eos_token_id=vocabulary["<|endoftext|>"],
            initializer_factor=10.0,
        )
    )
    unet = UNet2DConditionModel(
        sample_size=SIZE // 4,
        in_channels=4,
        out_channels=4,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=(2, 4) if v_prediction else 2,
        norm_num_groups=8,
        use_linear_projection=v_prediction,
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        norm_num_groups=8,
        sample_size=SIZE,
    )
    _loosen(unet, vae)
    schedule = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "set_alpha_to_one": False, "steps_offset": 1}
    scheduler = (
        DDIMScheduler(**schedule, prediction_type="v_prediction", clip_sample=False)
        if v_prediction
        else PNDMScheduler(**schedule, skip_prk_steps=True)
    )
    for name, part in {"text_encoder": text_encoder, "unet": unet, "vae": vae, "scheduler": scheduler}.items():
        part.save_pretrained(folder / name)
    index = {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": "0.42.1",
        "feature_extractor": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", type(scheduler).__name__],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    torch.random.set_rng_state(generator_state)
    if not v_prediction:
        _set(folder / "scheduler" / "scheduler_config.json", clip_sample=False)  # as SD 1.5 has it, though PNDM reads no such key
    (folder / "model_index.json").write_text(json.dumps(index, indent=2))
    return folder


def _set(file: Path, **values: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}, indent=2))


def _loosen(unet: object, vae: object) -> None:
    """Make text and noise visible: at default initialisation a random UNet hardly hears the text, and a random VAE draws grey."""
    import torch

    with torch.no_grad():
        for name, weights in unet.named_parameters():  # type: ignore[attr-defined]
            if "attn2" in name and name.endswith("weight"):
                weights *= 4
        unet.conv_out.weight *= 3  # type: ignore[attr-defined]
        vae.decoder.conv_out.weight *= 4  # type: ignore[attr-defined]


def _save_tokenizer(folder: Path, vocabulary: dict[str, int], merges: list[tuple[str, str]], pad: str, fast_file: bool) -> None:
    from transformers import CLIPTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    if fast_file:
        CLIPTokenizer(vocab=vocabulary, merges=merges, pad_token=pad, model_max_length=77).save_pretrained(folder)
        return
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(pair) for pair in merges) + "\n", encoding="utf-8")
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "pad_token": pad, "do_lower_case": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def _byte_symbols() -> list[str]:
    """The 256 printable stand-ins for bytes of GPT-2's byte-level BPE (Radford et al. 2019), in byte order."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in printable]
    table = {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(hidden)}
    return [table[byte] for byte in range(256)]
