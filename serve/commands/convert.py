"""`convert` from a prompt to a document. Reads no options, prints nothing."""

from __future__ import annotations

from typing import Any

from limner.promptdb.errors import BadInput
from limner.promptdb.files.prompt_flags import may_have_flags, read_flags
from limner.promptdb.files.text_lines import Malformed

FLAG = "a flag of another program, left out"
EXTENSION = "the template is kept as text: it is drawn as words where the Dynamic Prompts extension or the like does not expand it"


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
    from limner.tools.prompt_language.fidelity import Reason, distinct, worst
    from limner.tools.prompt_language.wildcards import parse, restored

    flags: tuple[str, ...] = ()
    if source is None and may_have_flags(text) and not text.lstrip().startswith("{"):
        text, negative, flags = _without_flags(text, negative)
    template, apart = parse(text), parse(negative)
    marks = [*template.marks(), *apart.marks()]
    done = translate(template.sheltered(), to, source, steps, apart.sheltered(len(template.spans)), lenient)
    more = [*(Reason("approximate", EXTENSION, mark) for mark in marks), *(Reason("unsupported", FLAG, flag) for flag in flags)]
    reasons = distinct((*done.reasons, *more))
    document = {
        "from": done.source,
        "to": done.target,
        "steps": steps,
        "output": done.written.output,
        "negative": done.written.negative,
        "fidelity": worst(reasons),
        "reasons": [reason.to_json() for reason in reasons],
        "df_prompt": to_document(done.conditioning),
        **({"settings": dict(done.settings)} if done.settings else {}),
    }
    return restored(document, marks) if marks else document


def _without_flags(text: str, negative: str) -> tuple[str, str, tuple[str, ...]]:
    """Returns a prompt and its negative prompt without flags, and the flags that say nothing of either."""
    try:
        found = read_flags(text)
    except Malformed as error:
        raise BadInput(f"the flags of the prompt cannot be read: {error}") from error
    settings = [f"--{name} {value}" for name, value in found.settings.items()]
    return found.text, ", ".join(part for part in (negative, found.negative) if part), (*settings, *found.left_out)
