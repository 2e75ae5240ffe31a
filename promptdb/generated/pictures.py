"""Reads a picture that was made elsewhere: finds the texts in it, tells which tool wrote them, and has them read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from limner.promptdb.errors import BadInput
from limner.promptdb.generated.a1111 import is_infotext, read_infotext
from limner.promptdb.generated.comfyui import read_comfyui
from limner.promptdb.generated.comfyui_graph import is_api, is_workflow
from limner.promptdb.generated.fooocus import is_fooocus, read_fooocus
from limner.promptdb.generated.invokeai import read_invokeai
from limner.promptdb.generated.limner import KEYWORD, read_limner
from limner.promptdb.generated.metadata import read_texts
from limner.promptdb.generated.novelai import is_novelai, read_novelai
from limner.promptdb.generated.record import Generated, parsed_object
from limner.promptdb.generated.swarmui import is_swarmui, read_swarmui

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
    if KEYWORD in texts:
        return read_limner(parsed_object(texts[KEYWORD], "the text 'limner'"))
    if (found := read_invokeai(texts)) is not None:
        return found
    if is_novelai(texts):
        return read_novelai(texts)
    if parameters := texts.get("parameters", "").strip():
        return _object(parameters, texts) or read_infotext(parameters)
    # Cameras and editors write comments too, so a text there is infotext only where it says its settings.
    for name in ("UserComment", "ImageDescription", "Comment"):
        if content := texts.get(name, "").strip():
            found = _object(content, texts) or (read_infotext(content) if is_infotext(content) else None)
            if found is not None:
                return found
    return _graph(texts)


def _object(content: str, texts: Mapping[str, str]) -> Generated | None:
    """Returns what a text says that is a JSON object of a tool's; None for other texts, which may begin with a brace."""
    if not content.startswith("{"):
        return None
    try:
        document = parsed_object(content, "the metadata")
    except BadInput:
        return None
    if is_swarmui(document):
        return read_swarmui(document)
    if is_fooocus(document) or (texts.get("fooocus_scheme") or texts.get("MakerNote")) == "fooocus":
        return read_fooocus(document)
    if is_novelai(shown := {"Software": "NovelAI", "Comment": content}) and "uc" in document:
        return read_novelai(shown)
    return read_comfyui(document) if is_api(document) or is_workflow(document) else None


def _graph(texts: Mapping[str, str]) -> Generated | None:
    """Returns what ComfyUI's graph says: the one that ran, else the one of the editor. WebP files have them in EXIF, behind a name."""
    made = [texts.get("prompt", ""), *(texts.get(name, "").partition("prompt:")[2] for name in ("Model", "Make"))]
    drawn = [texts.get("workflow", ""), *(texts.get(name, "").partition("workflow:")[2] for name in ("Model", "Make"))]
    graph = next((content for content in (*made, *drawn) if content.lstrip().startswith("{")), None)
    return None if graph is None else read_comfyui(parsed_object(graph, "the graph of ComfyUI"))
