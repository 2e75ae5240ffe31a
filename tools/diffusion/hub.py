"""Finds the folder of a checkpoint by name. A hub id is downloaded once, and only the files that are read."""

from __future__ import annotations

import re
from pathlib import Path

from limner.promptdb.errors import BadInput
from limner.tools.diffusion.card import FILE_NAME, Card
from limner.tools.diffusion.weights import PART_CLASSES, PICKLE_SUFFIXES, WEIGHT_STEMS, check_index, choose_weights, one_line, read_json

MINIATURE = Path(__file__).resolve().parents[1] / "miniature" / "weights"

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_ANSWER_SECONDS = 10.0


def find_folder(name: str) -> Path:
    """Returns the folder of checkpoint `name`: "miniature", a folder, or a hub id. Raises BadInput where it is not found."""
    if name == "miniature":
        if not (MINIATURE / "model_index.json").exists():
            raise BadInput(f"the miniature's weights are not in this checkout ({MINIATURE}): run `python main.py train miniature`")
        return MINIATURE
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if path.suffix in (*PICKLE_SUFFIXES, ".safetensors"):
        raise BadInput(f"{name} is a single file; a checkpoint is a folder in diffusers' format, or a hub id such as owner/name")
    if _HUB_ID.fullmatch(name) and not path.exists():
        return _fetch(name)
    raise BadInput(f"there is no checkpoint folder {name!r}: give a folder in diffusers' format, a hub id (owner/name), or miniature")


def _fetch(repo: str) -> Path:
    """Returns the hub's snapshot of `repo` in the local cache; a single request decides whether the hub can be reached."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        found = HfApi().model_info(repo, timeout=_ANSWER_SECONDS)
    except GatedRepoError as error:
        raise BadInput(f"{repo} is gated: accept its licence on the hub and log in with `hf auth login`") from error
    except RepositoryNotFoundError as error:
        raise BadInput(f"{repo!r} is neither a folder here nor a repository on the hub") from error
    except Exception as error:  # the client's transport errors have no common base class across versions
        return _cached(repo, error)
    names = {item.rfilename for item in found.siblings or ()}
    try:
        return _download(repo, names)
    except BadInput:
        raise
    except Exception as error:
        raise BadInput(f"{repo} could not be fetched ({one_line(error)}): try again, what is here already is kept") from error


def _download(repo: str, names: set[str]) -> Path:
    """Downloads by branch, not by commit, which lets the cache open the snapshot while offline."""
    from huggingface_hub import hf_hub_download, snapshot_download

    where = f"hub repository {repo}"
    if "model_index.json" not in names:
        raise BadInput(f"{where} has no model_index.json: it is no diffusers checkpoint")
    check_index(where, read_json(Path(hf_hub_download(repo, "model_index.json"))))
    wanted = {file for part in WEIGHT_STEMS for file in choose_weights(where, names, part).files}
    wanted |= {name for name in names if name.split("/")[0] in PART_CLASSES and name.endswith((".json", ".txt"))}
    wanted |= {name for name in names if "/" not in name and name.endswith(".json")} | _named_on_card(repo, names)
    return Path(snapshot_download(repo, allow_patterns=sorted(wanted)))


def _named_on_card(repo: str, names: set[str]) -> set[str]:
    """Returns the files of the scorers and the vocabulary that a repository's card names."""
    from huggingface_hub import hf_hub_download

    if FILE_NAME not in names:
        return set()
    card = Card.read(Path(hf_hub_download(repo, FILE_NAME)).parent)
    folders = tuple(entry["path"].rstrip("/") + "/" for entry in card.scorers.values())
    readable = {name for name in names if name.endswith((".safetensors", ".json", ".txt"))}
    return {name for name in readable if name.startswith(folders) or name == card.vocabulary_file}


def _cached(repo: str, reason: Exception) -> Path:
    from huggingface_hub import snapshot_download

    try:
        # ask for one file only: the cache calls a snapshot incomplete where files are missing that are never downloaded
        return Path(snapshot_download(repo, local_files_only=True, allow_patterns=["model_index.json"]))
    except Exception as error:
        raise BadInput(
            f"{repo!r} is no folder here, and the hub cannot be asked ({one_line(reason)}): give a folder, or fetch it while online"
        ) from error
