"""NovelAI's metadata: the JSON in `Comment`, beside `Software: NovelAI`.

Emphasis is `{words}` and `[words]`, since version 4 also `1.3::words::`.
Source: NovelAI's documentation of image metadata and of strengthening and weakening.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from limner.promptdb.generated.record import Generated, note, parsed_object, pixels, real, text, whole

_NOTED = ("strength", "noise", "uncond_scale", "cfg_rescale", "dynamic_thresholding", "skip_cfg_above_sigma", "controlnet_model")


def is_novelai(texts: Mapping[str, str]) -> bool:
    """Whether the texts are NovelAI's."""
    return texts.get("Software") == "NovelAI" and texts.get("Comment", "").lstrip().startswith("{")


def read_novelai(texts: Mapping[str, str]) -> Generated:
    """Returns what the texts of a picture say. Characters' prompts of version 4 stand behind the scene's, as NovelAI's page lists them.

    Raises BadInput for damaged JSON.
    """
    row = parsed_object(texts["Comment"], "the text 'Comment' of NovelAI")
    people, unwanted = list(_characters(row.get("v4_prompt"))), list(_characters(row.get("v4_negative_prompt")))
    notes = [note(name, row[name]) for name in _NOTED if row.get(name) not in (None, "", False, 0)]
    if people or unwanted:
        notes.append(f"places of {len(people)} characters")
    if text(row.get("request_type")) not in ("", "PromptGenerateRequest"):
        notes.append(note(text(row["request_type"])))
    if row.get("reference_strength_multiple") or row.get("reference_strength"):
        notes.append("reference pictures")
    return Generated(
        "\n".join([text(row.get("prompt")) or texts.get("Description", ""), *people]),
        "\n".join([text(row.get("uc")), *unwanted]),
        whole(row.get("seed")),
        whole(row.get("steps")),
        real(row.get("scale")),
        text(row.get("sampler")),
        text(row.get("noise_schedule")),
        pixels(row.get("width"), row.get("height")),
        texts.get("Source", ""),
        (),
        "novelai",
        "novelai",
        tuple(notes),
        tuple(note(name, row[name]) for name in ("version",) if row.get(name)),
    )


def _characters(prompt: Any) -> Iterator[str]:
    caption = prompt.get("caption") if isinstance(prompt, Mapping) else None
    rows = caption.get("char_captions") if isinstance(caption, Mapping) else None
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, Mapping) and (words := text(row.get("char_caption"))):
            yield words
