"""HPS v2 and v2.1: human preference, as the cosine of a CLIP fine-tuned on people's choices (Wu et al. 2023).

Reads a CLIPModel folder, or the published files with open_clip's key names. 2.0 and 2.1 differ only in their weights; their values are
not comparable. Preprocessing of pictures and cleaning of texts are HPS's, not CLIP's.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from limner.promptdb.errors import BadInput
from limner.tools.diffusion.weights import file_hash
from limner.tools.scoring.clip import ClipEncoder, folder_version, load_clip, to_numbers
from limner.tools.scoring.preprocessing import PadPreprocessing
from limner.tools.scoring.published import first_line, read_tensors

if TYPE_CHECKING:
    import torch

# Width of the image tower -> width of its attention heads, which no tensor's shape shows; open_clip's default is 64.
HEAD_WIDTHS = {1280: 80, 1408: 88, 1664: 104}
DEFAULT_HEAD_WIDTH = 64

_PLAIN_KEYS = {
    "logit_scale": "logit_scale",
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.ln_pre.weight": "vision_model.pre_layrnorm.weight",
    "visual.ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "visual.ln_post.weight": "vision_model.post_layernorm.weight",
    "visual.ln_post.bias": "vision_model.post_layernorm.bias",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
}
_TRANSPOSED_KEYS = {"visual.proj": "visual_projection.weight", "text_projection": "text_projection.weight"}
_BLOCK_PARTS = {
    "attn.out_proj": "self_attn.out_proj",
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_BLOCK = re.compile(r"(visual\.)?transformer\.resblocks\.(\d+)\.(.+)\.?(weight|bias)")


class HpsScorer:
    """The raw cosine, as `hpsv2.score` returns it (usually 0.2 to 0.35; its benchmarks print a hundred times that)."""

    higher_is_better = True

    def __init__(self, encoder: ClipEncoder, name: str = "hpsv2.1", held_out: bool = False) -> None:
        self.encoder = encoder
        self.name = name
        self.held_out = held_out
        self.version = encoder.version

    def score(self, images: Sequence[Image.Image], texts: Sequence[str]) -> np.ndarray:
        """Returns the cosines, (n,) float32. Raises ValueError where the lengths differ."""
        return to_numbers(self.encoder.cosine(images, texts))


def open_hps(path: Path, device: str | torch.device = "cpu", tokenizer: Any = None) -> ClipEncoder:
    """Opens a CLIPModel folder, or a published file (.safetensors, .pt) with a CLIP `tokenizer`. Raises BadInput."""
    if path.is_dir():
        model, own_tokenizer = load_clip(path, device)
        version, tokenizer = folder_version(path), own_tokenizer
    else:
        model = model_of(read_tensors(path), str(path)).to(device)
        version = file_hash(path)[:24]
        vocabulary = model.config.text_config.vocab_size
        if tokenizer is None or len(tokenizer) != vocabulary:
            raise BadInput(f"{path} needs CLIP's tokenizer of {vocabulary} tokens: put its vocab.json and merges.txt into {path.parent}")
    return ClipEncoder(model, tokenizer, PadPreprocessing(model.config.vision_config.image_size), f"hps-{version}", clean_text)


def clean_text(text: str) -> str:
    """Returns a text as open_clip's tokenizer reads it, but for the case: mended by ftfy (straight quotes, no mojibake, no ligatures),
    without HTML entities, of which some are escaped twice, and with single blanks.
    """
    import ftfy

    return " ".join(html.unescape(html.unescape(ftfy.fix_text(text))).split())


def model_of(tensors: Mapping[str, torch.Tensor], where: str = "the file") -> Any:
    """Returns a CLIPModel of tensors with open_clip's names; sizes follow from their shapes. Raises BadInput where they are not a CLIP."""
    import torch
    from transformers import CLIPModel

    try:
        with torch.device("meta"):
            model = CLIPModel(config_of(tensors))
        missing, unexpected = model.load_state_dict(renamed(tensors), strict=False, assign=True)
    except (KeyError, RuntimeError, ValueError, IndexError) as error:
        raise BadInput(f"{where} is no CLIP in open_clip's names ({first_line(error)})") from error
    if missing or unexpected:
        odd = sorted([*missing, *unexpected])
        raise BadInput(f"{where} does not fit open_clip's ViT: {len(odd)} weights are missing or unknown, first {odd[0]}")
    for tower, positions in ((model.vision_model, "position_embedding"), (model.text_model, "position_embedding")):
        embeddings = tower.embeddings  # position ids are not weights, so they have no storage yet
        embeddings.position_ids = torch.arange(getattr(embeddings, positions).num_embeddings)[None]
    return model.requires_grad_(False).eval()


def config_of(tensors: Mapping[str, torch.Tensor]) -> Any:
    """Returns the CLIPConfig of tensors with open_clip's names."""
    from transformers import CLIPConfig

    patches, width = tensors["visual.positional_embedding"].shape
    patch = tensors["visual.conv1.weight"].shape[-1]
    positions, text_width = tensors["positional_embedding"].shape
    vocabulary = tensors["token_embedding.weight"].shape[0]
    projection = tensors["text_projection"].shape[1]
    shared = {"hidden_act": "gelu", "projection_dim": projection}
    vision = {
        "hidden_size": width,
        "intermediate_size": tensors["visual.transformer.resblocks.0.mlp.c_fc.weight"].shape[0],
        "num_hidden_layers": _layers(tensors, "visual.transformer"),
        "num_attention_heads": max(1, width // HEAD_WIDTHS.get(width, DEFAULT_HEAD_WIDTH)),
        "image_size": round((patches - 1) ** 0.5) * patch,
        "patch_size": patch,
    }
    text = {
        "hidden_size": text_width,
        "intermediate_size": tensors["transformer.resblocks.0.mlp.c_fc.weight"].shape[0],
        "num_hidden_layers": _layers(tensors, "transformer"),
        "num_attention_heads": max(1, text_width // DEFAULT_HEAD_WIDTH),
        "vocab_size": vocabulary,
        "max_position_embeddings": positions,
        "bos_token_id": vocabulary - 2,
        "eos_token_id": vocabulary - 1,
        "pad_token_id": vocabulary - 1,
    }
    return CLIPConfig(text_config={**text, **shared}, vision_config={**vision, **shared}, projection_dim=projection)


def renamed(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Maps open_clip's names to CLIPModel's. Unknown names stay, and are later reported as unknown."""
    result: dict[str, torch.Tensor] = {}
    for key, value in tensors.items():
        block = _BLOCK.fullmatch(key)
        if key in _PLAIN_KEYS:
            result[_PLAIN_KEYS[key]] = value
        elif key in _TRANSPOSED_KEYS:
            result[_TRANSPOSED_KEYS[key]] = value.T.contiguous()
        elif block:
            tower, layer, part, kind = block.groups()
            prefix = f"{'vision' if tower else 'text'}_model.encoder.layers.{layer}"
            part = part.rstrip("._")
            if part == "attn.in_proj":
                for name, third in zip(("q_proj", "k_proj", "v_proj"), value.chunk(3), strict=True):
                    result[f"{prefix}.self_attn.{name}.{kind}"] = third.contiguous()
            else:
                result[f"{prefix}.{_BLOCK_PARTS.get(part, part)}.{kind}"] = value
        else:
            result[key] = value
    return result


def _layers(tensors: Mapping[str, torch.Tensor], tower: str) -> int:
    return sum(key.startswith(f"{tower}.resblocks.") and key.endswith(".ln_1.weight") for key in tensors)
