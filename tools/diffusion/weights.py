"""The files of a checkpoint in diffusers' folder format: which are read, whether they are complete, and their fingerprint.

Reads names, headers and bytes only: no model library is imported, nothing is unpickled, no network is used.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from limner.promptdb.errors import BadInput
from limner.promptdb.records import ID_LENGTH

PIPELINE = "StableDiffusionPipeline"
PART_CLASSES = {
    "tokenizer": ("CLIPTokenizer", "CLIPTokenizerFast"),
    "text_encoder": ("CLIPTextModel",),
    "unet": ("UNet2DConditionModel",),
    "vae": ("AutoencoderKL",),
    "scheduler": (),
}
"""The parts of an SD 1.x or 2.x checkpoint and the allowed classes of each (empty: any). A safety checker is never loaded."""

WEIGHT_STEMS = {"text_encoder": "model", "unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model"}
PICKLE_SUFFIXES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")

_hashes: dict[tuple[str, int, int], str] = {}


class Weights(NamedTuple):
    """The weight files of one part, relative to the checkpoint, and diffusers' `variant` (None or "fp16")."""

    files: tuple[str, ...]
    variant: str | None


def one_line(error: Exception, limit: int = 160) -> str:
    """Returns the first line of an exception's message, at most `limit` characters."""
    text = str(error).strip()
    return text.splitlines()[0][:limit] if text else type(error).__name__


def read_json(file: Path) -> dict[str, Any]:
    """Returns the JSON object in `file`. Raises BadInput where the file is missing or holds no JSON object."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadInput(f"{file} is missing: fetch the checkpoint again") from error
    except (OSError, ValueError) as error:
        raise BadInput(f"{file} is not valid JSON ({error}): fetch it again") from error
    if not isinstance(document, dict):
        raise BadInput(f"{file} must hold one JSON object, not {type(document).__name__}: fetch it again")
    return document


def check_index(where: str, index: Mapping[str, Any]) -> None:
    """Raises BadInput unless `model_index.json` describes an SD 1.x or 2.x; the message names what it is instead."""
    name = index.get("_class_name")
    if name != PIPELINE:
        raise BadInput(f"{where} is a {name or 'folder of unknown kind'}; only Stable Diffusion 1.x and 2.x ({PIPELINE}) can be opened")
    for part, classes in PART_CLASSES.items():
        entry = index.get(part)
        if not isinstance(entry, list) or len(entry) != 2 or not all(isinstance(item, str) for item in entry):
            raise BadInput(f"{where} has no {part} in its model_index.json: fetch the checkpoint again")
        if classes and entry[1] not in classes:
            raise BadInput(f"{where}: its {part} is a {entry[1]}; only {' or '.join(classes)} can be opened")


def choose_weights(where: str, names: Collection[str], part: str) -> Weights:
    """Returns which of the files `names` (relative, with slashes) hold the weights of `part`; half precision only where there is nothing
    else.

    Raises BadInput where there are none, or only pickled ones, which could run code when read.
    """
    stem = f"{part}/{WEIGHT_STEMS[part]}"
    for variant, mark in ((None, ""), ("fp16", ".fp16")):
        if f"{stem}{mark}.safetensors" in names:
            return Weights((f"{stem}{mark}.safetensors",), variant)
        index = f"{stem}.safetensors.index{mark}.json"
        if index in names:
            shard = re.compile(re.escape(stem + mark) + r"-\d+-of-\d+\.safetensors")
            return Weights((index, *sorted(name for name in names if shard.fullmatch(name))), variant)
    pickled = sorted(name for name in names if name.startswith(f"{part}/") and name.endswith(PICKLE_SUFFIXES))
    if pickled:
        raise BadInput(f"{where}: {pickled[0]} is pickled and could run code; only .safetensors is read: convert it or fetch those weights")
    raise BadInput(f"{where} has no weights for its {part} ({part}/{WEIGHT_STEMS[part]}.safetensors): fetch the checkpoint again")


def names_in(folder: Path) -> set[str]:
    """Returns every file in `folder`, as relative paths with slashes."""
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


def check_safetensors(file: Path) -> None:
    """Raises BadInput unless the header is readable and the file has the length that it states; an interrupted download is the
    usual cause.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(8)
        if start.startswith(b"version "):
            raise BadInput(f"{file} is a Git LFS pointer, not the weights: run `git lfs pull`")
        length = int.from_bytes(start, "little")
        try:
            if len(start) < 8 or length > size - 8:
                raise ValueError("its header is cut")
            header = json.loads(stream.read(length))
            end = max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise BadInput(f"{file} is corrupt ({error}): fetch it again") from error
    if size != 8 + length + end:
        raise BadInput(f"{file} is corrupt: it has {size} bytes and should have {8 + length + end}; fetch it again")


def check_whole(folder: Path, weights: Weights) -> None:
    """Raises BadInput unless every weight file of a part is there and complete."""
    for name in weights.files:
        if name.endswith(".json"):
            shards = read_json(folder / name).get("weight_map")
            if not isinstance(shards, dict) or not shards:
                raise BadInput(f"{folder / name} lists no weight files: fetch the checkpoint again")
            for shard in sorted(set(shards.values())):
                if f"{name.split('/')[0]}/{shard}" not in weights.files:
                    raise BadInput(f"{folder / name} names {shard!r}, which is missing: fetch the checkpoint again")
        else:
            check_safetensors(folder / name)


def fingerprint(folder: Path, names: Iterable[str]) -> str:
    """Returns 24 hex digits over names and contents, equal on every machine with the same files.

    In configurations only what shapes a picture counts: keys that begin with an underscore (library version, origin) do not.
    """
    total = hashlib.sha256()
    for name in sorted(names):
        file = folder / name
        digest = _config_hash(file) if name.endswith("config.json") else file_hash(file)
        total.update(f"{name}\0{digest}\n".encode())
    return total.hexdigest()[:ID_LENGTH]


def _config_hash(file: Path) -> str:
    document = {key: value for key, value in read_json(file).items() if not key.startswith("_") and key != "transformers_version"}
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def file_hash(file: Path) -> str:
    """Returns the SHA-256 of the contents, computed once in a process; for large files in the hub's cache it is their file name."""
    real = file.resolve()
    if real.parent.name == "blobs" and re.fullmatch(r"[0-9a-f]{64}", real.name):
        return real.name
    status = real.stat()
    key = (str(real), status.st_size, status.st_mtime_ns)
    if key not in _hashes:
        with real.open("rb") as stream:
            _hashes[key] = hashlib.file_digest(stream, "sha256").hexdigest()
    return _hashes[key]
