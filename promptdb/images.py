"""Pictures on disk: a store by content hash, and PNGs that record how they were made."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from limner.promptdb.errors import BadInput
from limner.promptdb.records import ID_LENGTH, Conditioning, Drawing, SamplerSettings
from limner.promptdb.store import StoredDrawing

CHUNK = "limner"  # keyword of the PNG text chunk
_HASH = re.compile(f"[0-9a-f]{{{ID_LENGTH}}}")


def image_hash(image: Image.Image) -> str:
    """Returns the first 24 hex digits of the SHA-256 of the size and the RGB bytes: equal for equal pixels, whatever the compression."""
    rgb = image.convert("RGB")
    digest = hashlib.sha256(f"{rgb.width}x{rgb.height}:".encode())
    digest.update(rgb.tobytes())
    return digest.hexdigest()[:ID_LENGTH]


class ImageStore:
    """Images under their hashes in `folder`. Any number of threads and processes may share it: files appear complete or not at all."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder).expanduser()

    def put(self, image: Image.Image) -> str:
        """Stores the image as RGB and returns its hash; writes nothing where an intact copy exists."""
        key = image_hash(image)
        if key not in self:
            _write_whole(image.convert("RGB"), self.path(key), PngInfo())
        return key

    def get(self, key: str) -> Image.Image:
        """Returns the RGB image. Raises BadInput where the file is missing or damaged."""
        path = self.path(key)
        try:
            with Image.open(path, formats=["PNG"]) as file:
                image = file.convert("RGB")
        except FileNotFoundError as error:
            raise BadInput(f"the image {path} is gone; draw it again") from error
        except (*_DAMAGE, OSError) as error:
            raise BadInput(f"the image {path} cannot be read; delete it and draw it again") from error
        if image_hash(image) != key:
            raise BadInput(f"the image {path} was changed since it was drawn; delete it and draw it again")
        return image

    def __contains__(self, key: str) -> bool:
        """Whether `get` would return the image."""
        try:
            self.get(key)
        except BadInput:
            return False
        return True

    def path(self, key: str) -> Path:
        """Returns the path of the image with that hash.

        Raises BadInput for anything that is not a hash, so that no key leads out of the folder.
        """
        if not _HASH.fullmatch(key):
            raise BadInput(f"{key[:40]!r} is not an image hash ({ID_LENGTH} hex digits)")
        return self.folder / key[:2] / f"{key}.png"


def provenance(stored: StoredDrawing, scores: Mapping[str, float], run: str = "") -> dict[str, Any]:
    """Returns the record of how an image was made, for `write_png`; `scores` by scorer name."""
    drawing = stored.drawing
    return {
        "prompt": drawing.conditioning.text,
        "negative": drawing.conditioning.negative,
        "seed": drawing.seed,
        "settings": drawing.settings.to_json(),
        "checkpoint": drawing.checkpoint,
        "scores": dict(scores),
        "run": run,
        "conditioning": drawing.conditioning.to_json(),
        "bucket": stored.bucket,
        "device": stored.device,
    }


def drawing_of(provenance: Mapping[str, Any]) -> Drawing:
    """Returns the drawing that an image's provenance describes. Raises BadInput where something is missing or out of range."""
    try:
        conditioning = Conditioning.from_json(provenance["conditioning"])
        settings = SamplerSettings(**provenance["settings"])
        for name, value in settings.to_json().items():
            expected = type(getattr(SamplerSettings(), name))
            if type(value) is not expected:
                raise TypeError(f"{name} should be {expected.__name__}, not {value!r}")
        drawing = Drawing(conditioning, int(provenance["seed"]), settings, str(provenance["checkpoint"]))
        _ = drawing.id  # fails where a nested value has a wrong type
    except KeyError as error:
        raise BadInput(f"the image's provenance lacks {error}; it cannot be redrawn") from error
    except (TypeError, ValueError, AttributeError, IndexError) as error:
        raise BadInput(f"the image's provenance is not usable ({error}); it cannot be redrawn") from error
    return drawing


def write_png(image: Image.Image, path: Path | str, provenance: Mapping[str, Any], parameters: str = "") -> None:
    """Writes a PNG with `provenance` (JSON-able) for `read_provenance`.

    `parameters`: the infotext that other tools show and read; "" for none. Raises BadInput where the file cannot be written.
    """
    chunks = PngInfo()
    chunks.add_itxt(CHUNK, json.dumps(dict(provenance), sort_keys=True, allow_nan=False))
    if parameters:  # a PNG text chunk is UTF-8 without NUL
        chunks.add_itxt("parameters", parameters.replace("\0", " ").encode("utf-8", "replace").decode("utf-8"))
    _write_whole(image, Path(path), chunks)


def read_provenance(path: Path | str) -> dict[str, Any]:
    """Returns what `write_png` recorded in the file. Reads headers only; no pixel is decoded, whatever size the file claims.

    Raises BadInput where the file is no PNG or has no readable provenance.
    """
    try:
        with Image.open(path, formats=["PNG"]) as file:
            text = file.info.get(CHUNK)
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise BadInput(f"{path} cannot be opened ({error.strerror})") from error
    except (*_DAMAGE, OSError) as error:
        raise BadInput(f"{path} is not a readable PNG; give an image that Limner wrote") from error
    if text is None:
        raise BadInput(f"{path} does not say how it was made (no '{CHUNK}' text in the PNG); give an image that Limner wrote")
    try:
        document = json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise BadInput(f"the provenance in {path} is damaged; give an image that Limner wrote") from error
    if not isinstance(document, dict):
        raise BadInput(f"the provenance in {path} is damaged; give an image that Limner wrote")
    return document


# Pillow's errors for broken files besides OSError: SyntaxError for a bad header, ValueError for oversized text, decompression bombs.
_DAMAGE = (SyntaxError, ValueError, EOFError, Image.DecompressionBombError, Image.DecompressionBombWarning)


def _write_whole(image: Image.Image, path: Path, chunks: PngInfo) -> None:
    """Writes a temporary file and renames it, so that no reader sees an incomplete file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                image.save(file, format="PNG", pnginfo=chunks)
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise BadInput(f"{path} cannot be written ({error.strerror or error}); choose another folder with --out") from error
