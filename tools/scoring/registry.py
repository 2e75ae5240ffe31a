"""From the name that a person types after `--scorer` to a scorer: first those on the checkpoint's card, then the published ones, then
those of installed packages.

A package adds one as an entry point of the group `limner.scorers`: its name is the scorer's, its value a "module:factory" that takes the
device and returns a Scorer. Knows where each kind lies and who opens it; knows nothing of how they judge. Nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.promptdb.errors import BadInput
from limner.tools.scoring import published
from limner.tools.scoring.base import Scorer

if TYPE_CHECKING:
    import torch

    from limner.tools.diffusion.checkpoint import Checkpoint

PUBLISHED = {"clip": "clip", "spherical_clip": "spherical_clip", "hpsv2": "hps", "hpsv2.1": "hps", "aesthetic": "aesthetic"}
"""Scorers that need no card -> their kind."""


GROUP = "limner.scorers"


@cache
def packaged() -> dict[str, EntryPoint]:
    """The scorers that installed packages add, by name; a published one is never replaced."""
    return {point.name: point for point in entry_points(group=GROUP) if point.name not in PUBLISHED}


@dataclass(frozen=True)
class Source:
    """Where a scorer's weights are.

    `path`: its folder or file. `clip`: for a head, the CLIP below it. `held_out`: it is the card's judge.
    """

    name: str
    kind: str
    path: Path
    clip: Path | None = None
    held_out: bool = False


def open_scorer(name: str, checkpoint: Checkpoint | None = None, device: str | torch.device | None = None) -> Scorer:
    """Opens the scorer `name` on `device` (default: the checkpoint's).

    Raises BadInput that lists the existing names, or says what to download.
    """
    source = locate(name, checkpoint)
    place = device if device is not None else checkpoint.device if checkpoint else "cpu"
    return _OPENERS[source.kind](source, place, checkpoint)


def scorer_names(checkpoint: Checkpoint | None = None) -> list[str]:
    """All names that could be asked for, the card's first; some of the published ones may lack their weights (see `unavailable`)."""
    return list(dict.fromkeys([*(checkpoint.card.scorers if checkpoint else ()), *PUBLISHED, *packaged()]))


def unavailable(name: str, checkpoint: Checkpoint | None = None) -> str:
    """Returns, in one line, why a scorer cannot be opened here and what to do; '' where its files are found. Opens nothing."""
    try:
        locate(name, checkpoint)
    except BadInput as error:
        return str(error)
    return ""


def locate(name: str, checkpoint: Checkpoint | None = None) -> Source:
    """Returns where the scorer's files are. Raises BadInput where they are not found or there is no scorer `name`."""
    if checkpoint and name in checkpoint.card.scorers:
        return _on_card(name, checkpoint)
    if name in packaged():
        return Source(name, "packaged", Path())
    if name not in PUBLISHED:
        raise BadInput(f"there is no scorer {name!r}; there are {', '.join(scorer_names(checkpoint))}")
    kind = PUBLISHED[name]
    if kind == "spherical_clip" and checkpoint and (own := _own_clip(checkpoint)):
        return Source(name, kind, own)
    if kind == "hps":
        return Source(name, kind, published.find_hps(name))
    if kind == "aesthetic":
        head, clip = published.find_aesthetic()
        return Source(name, kind, head, clip)
    return Source(name, kind, published.find_clip(name))


def _own_clip(checkpoint: Checkpoint) -> Path | None:
    """Returns the CLIP on the card, which fits the checkpoint's world better than a published one; None where the card has none."""
    card = checkpoint.card
    path = next((entry["path"] for name, entry in card.scorers.items() if entry["kind"] == "clip" and name != card.judge), None)
    return None if path is None else card.path(path)


def _on_card(name: str, checkpoint: Checkpoint) -> Source:
    card = checkpoint.card
    entry = card.scorers[name]
    kind = entry["kind"]
    if kind not in _OPENERS or kind == "packaged":
        raise BadInput(f"the card of {checkpoint.name} gives scorer {name!r} the kind {kind!r}; there are {', '.join(_OPENERS)}")
    path, held_out = card.path(entry["path"]), kind == "judge" or card.judge == name
    if kind != "aesthetic":
        return Source(name, kind, path, held_out=held_out)
    folder = path if path.is_dir() else path.parent
    head = folder / "head.safetensors" if path.is_dir() else path
    beside = next((at for at in (folder, folder / "clip") if (at / "config.json").is_file()), None)
    clip = card.path(entry["clip"]) if "clip" in entry else beside
    if clip is None or not head.is_file():
        raise BadInput(f"scorer {name!r} of {checkpoint.name} needs {folder}/head.safetensors and a CLIPModel there or in its folder clip")
    return Source(name, kind, head, clip, held_out)


def _open_clip(source: Source, device: Any, checkpoint: Checkpoint | None) -> Scorer:
    from limner.tools.scoring.clip import ClipEncoder, ClipScorer

    return ClipScorer(ClipEncoder.open(source.path, device), source.name, source.held_out)


def _open_spherical_clip(source: Source, device: Any, checkpoint: Checkpoint | None) -> Scorer:
    from limner.tools.scoring.clip import ClipEncoder, SphericalClipScorer

    return SphericalClipScorer(ClipEncoder.open(source.path, device), source.name, source.held_out)


def _open_hps(source: Source, device: Any, checkpoint: Checkpoint | None) -> Scorer:
    from limner.tools.scoring.hps import HpsScorer, open_hps

    own = checkpoint.tokenizer if checkpoint else None
    tokenizer = None if source.path.is_dir() else published.find_tokenizer(source.path.parent, own)
    return HpsScorer(open_hps(source.path, device, tokenizer), source.name, source.held_out)


def _open_aesthetic(source: Source, device: Any, checkpoint: Checkpoint | None) -> Scorer:
    from limner.tools.scoring.aesthetic import AestheticScorer
    from limner.tools.scoring.clip import ClipEncoder

    assert source.clip is not None
    return AestheticScorer(ClipEncoder.open(source.clip, device), source.path, source.name, source.held_out)


def _open_judge(source: Source, device: Any, checkpoint: Checkpoint | None) -> Scorer:
    from limner.tools.scoring.judge import Judge

    return Judge.open(source.path, source.name, str(device))


def _open_packaged(source: Source, device: Any, checkpoint: Checkpoint | None) -> Scorer:
    """Raises BadInput where the package cannot be imported, or what it gives is no Scorer."""
    point = packaged()[source.name]
    try:
        found = point.load()(device)
    except (ImportError, AttributeError) as error:
        raise BadInput(f"scorer {source.name!r} of the entry point {point.value} cannot be opened: {error}") from error
    if not isinstance(found, Scorer):
        raise BadInput(f"scorer {source.name!r}: {point.value} gives a {type(found).__name__}, which is no Scorer of tools/scoring/base.py")
    return found


_OPENERS: dict[str, Callable[[Source, Any, Any], Scorer]] = {
    "clip": _open_clip,
    "spherical_clip": _open_spherical_clip,
    "hps": _open_hps,
    "aesthetic": _open_aesthetic,
    "judge": _open_judge,
    "packaged": _open_packaged,
}
