"""`convert` from a prompt to a document. Reads no options, prints nothing."""

from __future__ import annotations

from typing import Any


def converted(
    text: str, to: str, source: str | None = None, steps: int | None = None, negative: str = "", lenient: bool = False
) -> dict[str, Any]:
    """Converts a prompt; returns {from, to, steps, output, negative, fidelity, reasons, df_prompt}, and with a prompt that came with its
    settings, A1111's `settings`.

    `output` is a text, or for node graphs, which hold their settings, and lists of prompts a JSON value; `df_prompt` the canonical JSON of
    what was read. Choices and wildcards of a template are kept as they are written; of the flags behind a prompt `--no people` is a
    negative prompt, and others (`--ar 16:9`) are named. Raises BadInput for what cannot be read, or not in one way only.
    """
    from limner.tools.prompt_language.convert import convert as translate
    from limner.tools.prompt_language.document import to_document

    done = translate(text, to, source, steps, negative, lenient)
    return {
        "from": done.source,
        "to": done.target,
        "steps": steps,
        "output": done.written.output,
        "negative": done.written.negative,
        "fidelity": done.fidelity,
        "reasons": [reason.to_json() for reason in done.reasons],
        "df_prompt": to_document(done.conditioning),
        **({"settings": dict(done.settings)} if done.settings else {}),
    }
