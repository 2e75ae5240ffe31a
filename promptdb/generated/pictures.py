"""Reads a picture that was made elsewhere: finds the texts in it, tells which tool wrote them, and has them read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from limner.promptdb.errors import BadInput
from limner.promptdb.generated import limner
from limner.promptdb.generated.a1111 import is_infotext, read_infotext
from limner.promptdb.generated.comfyui import read_comfyui
from limner.promptdb.generated.metadata import read_texts
from limner.promptdb.generated.record import Generated, parsed_object

ENDINGS = (".png", ".jpg", ".jpeg", ".webp")
READ = "A1111, Forge, ComfyUI, InvokeAI, NovelAI, SwarmUI, Fooocus or Limner"


def read_picture(path: Path | str) -> Generated:
    """Returns what a picture says of how it was made. No pixel is decoded.

    Raises BadInput where the file cannot be read, or says nothing that is understood.
    """
    path = Path(path).expanduser()
    try:
        found = generated_by(read_texts(path))
    except BadInput as error:
        raise BadInput(str(error) if str(path) in str(error) else f"{path}: {error}") from error
    if found is None:
        raise BadInput(f"{path} does not say how it was made; what is read is the metadata of {READ}")
    return found


def generated_by(texts: Mapping[str, str]) -> Generated | None:
    """Returns what the texts of a picture say; None where they say nothing that is understood. Raises BadInput for damaged ones."""
    if limner.KEYWORD in texts:
        return limner.read_limner(parsed_object(texts[limner.KEYWORD], "the text 'limner'"))
    if texts.get("parameters", "").strip():
        return read_infotext(texts["parameters"])
    # Cameras and editors write comments too, so a text there has to say its settings.
    said = (texts.get(name, "") for name in ("UserComment", "ImageDescription", "Comment"))
    infotext = next((read_infotext(text) for text in said if is_infotext(text)), None)
    return infotext or _graph(texts)


def _graph(texts: Mapping[str, str]) -> Generated | None:
    """Returns what ComfyUI's graph says: the one that ran, else the one of the editor. WebP files have them in EXIF, behind a name."""
    made = [texts.get("prompt", ""), *(texts.get(name, "").partition("prompt:")[2] for name in ("Model", "Make"))]
    drawn = [texts.get("workflow", ""), *(texts.get(name, "").partition("workflow:")[2] for name in ("Model", "Make"))]
    graph = next((content for content in (*made, *drawn) if content.lstrip().startswith("{")), None)
    return None if graph is None else read_comfyui(parsed_object(graph, "the graph of ComfyUI"))
