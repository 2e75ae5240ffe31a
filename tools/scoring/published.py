"""Finds the weights of published scorers on this machine and reads their files. Nothing is downloaded.

The variables `LIMNER_HPS_DIR`, `LIMNER_CLIP_DIR` and `LIMNER_AESTHETIC_DIR` (a folder, or the file itself) take precedence over the
hub's cache. Where neither has the weights, the error says what to download and where to put it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.promptdb.errors import BadInput
from limner.tools.diffusion.weights import check_safetensors

if TYPE_CHECKING:
    import torch

CLIP_B = "openai/clip-vit-base-patch32"
CLIP_L = "openai/clip-vit-large-patch14"
CLIP_H = "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"
HPS_REPO = "xswu/HPSv2"
HPS_FILES = {"hpsv2": "HPS_v2_compressed", "hpsv2.1": "HPS_v2.1_compressed"}
AESTHETIC_HEADS = ("sac+logos+ava1-l14-linearMSE", "ava+logos-l14-linearMSE", "ava+logos-l14-reluMSE", "head")
CLIP_VOCABULARY = 49408  # tokens of OpenAI's tokenizer, which SD 1.x and open_clip's models share


def find_hps(name: str) -> Path:
    """Returns the published file of `name`, or a CLIPModel folder of the same weights. Raises BadInput where neither is found."""
    stem = HPS_FILES[name]
    wanted = [f"{stem}{suffix}" for suffix in (".safetensors", ".pt")]
    given = _given("LIMNER_HPS_DIR")
    if given is None:
        found = _cached(HPS_REPO, wanted)
        if found:
            return found
        fetch = f"run `hf download {HPS_REPO} {stem}.pt`, or point LIMNER_HPS_DIR at the file or its folder"
        raise BadInput(f"scorer {name} needs {stem}.pt: {fetch}")
    if given.is_file():
        others = [file for other, file in HPS_FILES.items() if other != name]
        if given.stem in others:
            raise BadInput(f"LIMNER_HPS_DIR names {given.name}, which is not {name}: give the folder of both, or {stem}.pt")
        return given
    for file in wanted:
        if (given / file).is_file():
            return given / file
    if (given / "config.json").is_file():
        return given
    raise BadInput(f"LIMNER_HPS_DIR ({given}) holds neither {wanted[0]} nor {wanted[1]} nor a CLIPModel: put {stem}.pt of {HPS_REPO} there")


def find_clip(scorer: str, repo: str = CLIP_B, variable: str = "LIMNER_CLIP_DIR") -> Path:
    """Returns the folder of the CLIPModel `repo`. Raises BadInput where it is not found."""
    given = _given(variable)
    if given is not None:
        if (given / "config.json").is_file():
            return given
        raise BadInput(f"{variable} ({given}) holds no CLIPModel: put config.json and model.safetensors of {repo} there")
    weights = _cached(repo, ["model.safetensors"])
    if weights:
        return weights.parent
    raise BadInput(f"scorer {scorer} needs {repo} with its model.safetensors: run `hf download {repo}`, or point {variable} at its folder")


def find_aesthetic() -> tuple[Path, Path]:
    """Returns LAION's head and the folder of the CLIP ViT-L/14 that it was trained on. Raises BadInput where either is not found."""
    given = _given("LIMNER_AESTHETIC_DIR")
    fetch = f"fetch {AESTHETIC_HEADS[0]}.pth from github.com/christophschuhmann/improved-aesthetic-predictor"
    if given is None:
        raise BadInput(f"scorer aesthetic needs its head: {fetch} and point LIMNER_AESTHETIC_DIR at it")
    folder = given if given.is_dir() else given.parent
    heads = [given] if given.is_file() else [given / f"{stem}{suffix}" for stem in AESTHETIC_HEADS for suffix in (".safetensors", ".pth")]
    head = next((file for file in heads if file.is_file()), None)
    if head is None:
        raise BadInput(f"LIMNER_AESTHETIC_DIR ({given}) holds no head: {fetch} and put it there")
    beside = next((place for place in (folder, folder / "clip") if (place / "config.json").is_file()), None)
    return head, beside or find_clip("aesthetic", CLIP_L, "LIMNER_CLIP_L_DIR")


def find_tokenizer(beside: Path, own: Any = None) -> Any:
    """Returns CLIP's tokenizer: from the folder `beside`, else `own` (a checkpoint's) if it is CLIP's, else from the hub's cache;
    or None.
    """
    from transformers import CLIPTokenizer

    if _is_tokenizer(beside):
        return CLIPTokenizer.from_pretrained(beside, local_files_only=True)
    if own is not None and len(own) == CLIP_VOCABULARY:
        return own
    for repo in (CLIP_L, CLIP_B, CLIP_H):
        found = _cached(repo, ["tokenizer.json", "vocab.json"])
        if found and _is_tokenizer(found.parent):
            return CLIPTokenizer.from_pretrained(found.parent, local_files_only=True)
    return None


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Returns the tensors of a .safetensors or .pt file, with wrapper prefixes removed from their names.

    A .pt is read with `weights_only`, so no code in it runs. Raises BadInput where the file is missing or damaged.
    """
    import torch
    from safetensors.torch import load_file

    if not path.is_file():
        raise BadInput(f"there is no file {path}")
    try:
        if path.suffix == ".safetensors":
            check_safetensors(path)
            document = load_file(path)
        else:
            document = torch.load(path, map_location="cpu", weights_only=True)
            document = document.get("state_dict", document)
        tensors = {key: value for key, value in document.items() if isinstance(value, torch.Tensor)}
    except BadInput:
        raise
    except Exception as error:  # unpickling errors have many classes
        raise BadInput(f"{path} holds no plain tensors or is damaged ({first_line(error)}): fetch it again") from error
    return {re.sub(r"^(module\.|model\.)+", "", key): value.float() for key, value in tensors.items()}


def first_line(error: Exception) -> str:
    """Returns the first line of a library's error message, at most 160 characters."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:160]


def _is_tokenizer(folder: Path) -> bool:
    return (folder / "tokenizer.json").is_file() or all((folder / name).is_file() for name in ("vocab.json", "merges.txt"))


def _given(variable: str) -> Path | None:
    value = os.environ.get(variable, "").strip()
    if not value:
        return None
    path = Path(value).expanduser()
    if not path.exists():
        raise BadInput(f"{variable} names {path}, which is not there")
    return path


def _cached(repo: str, files: Iterable[str]) -> Path | None:
    """Returns the first of `files` that a revision of `repo` has in the hub's cache, the revision of `main` first; or None."""
    from huggingface_hub.constants import HF_HUB_CACHE

    home = Path(HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}"
    main = home / "refs" / "main"
    current = main.read_text("utf-8").strip() if main.is_file() else ""
    revisions = sorted((home / "snapshots").glob("*"), key=lambda folder: (folder.name != current, folder.name))
    return next((folder / file for folder in revisions for file in files if (folder / file).is_file()), None)
