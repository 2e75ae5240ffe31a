"""`convert` from a prompt to a document. Reads no options, prints nothing."""

from __future__ import annotations

from typing import Any

EXTENSION = "the template is kept as text: it is drawn as words where the Dynamic Prompts extension or the like does not expand it"


def converted(
    text: str, to: str, source: str | None = None, steps: int | None = None, negative: str = "", lenient: bool = False
) -> dict[str, Any]:
    """Converts a prompt; returns {from, to, steps, output, negative, fidelity, reasons, df_prompt}.

    `output` is a text, or for node graphs and lists of prompts a JSON value; `df_prompt` the canonical JSON of what was read. Choices
    and wildcards of a template are kept as they are written. Raises BadInput for what cannot be read, or not in one way only.
    """
    from limner.tools.prompt_language.convert import convert as translate
    from limner.tools.prompt_language.document import to_document
    from limner.tools.prompt_language.fidelity import Reason, distinct, worst
    from limner.tools.prompt_language.wildcards import parse, restored

    template, apart = parse(text), parse(negative)
    marks = [*template.marks(), *apart.marks()]
    done = translate(template.sheltered(), to, source, steps, apart.sheltered(len(template.spans)), lenient)
    reasons = distinct((*done.reasons, *(Reason("approximate", EXTENSION, mark) for mark in marks)))
    document = {
        "from": done.source,
        "to": done.target,
        "steps": steps,
        "output": done.written.output,
        "negative": done.written.negative,
        "fidelity": worst(reasons),
        "reasons": [reason.to_json() for reason in reasons],
        "df_prompt": to_document(done.conditioning),
    }
    return restored(document, marks) if marks else document
