"""What a person should know of how a prompt was read, and a prompt in the forms that other tools load."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

from limner.graph.settings import Settings
from limner.promptdb.errors import BadInput
from limner.promptdb.files.prompt_file import BatchPrompt, PromptFile
from limner.promptdb.records import Conditioning, EffectSpan, SamplerSettings, text_id
from limner.tools.diffusion.base import ImageModel
from limner.tools.diffusion.card import Card, split_scale, split_style, styles_of
from limner.tools.diffusion.hub import find_folder
from limner.tools.prompt_language.carry import parts_for
from limner.tools.prompt_language.convert import write_in
from limner.tools.prompt_language.dialects import Dialect
from limner.tools.prompt_language.infotext import graph_settings, made_by
from limner.tools.prompt_language.opaque import lora_of, take_out
from limner.tools.prompt_language.reader import Reading, read_prompt

FORMS: tuple[Dialect, ...] = ("a1111", "comfyui")
"""The forms in which a DF-Prompt is given to a person: nothing else loads one."""


def with_style(settings: Settings, prompt: str) -> Settings:
    """Returns the settings with the style that a tag of the prompt names, `<lora:neon:0.8>`, where the checkpoint's card lists it.

    Unchanged where no tag or several name one, or the checkpoint has a style already.
    """
    base, style = split_style(settings.checkpoint)
    if style or settings.dialect == "plain" or "<" not in prompt or base.startswith("openai:"):
        return settings
    listed = styles_of(Card.read(find_folder(base)))
    named = [lora for part in take_out(prompt, ("network",)).marks.values() if (lora := lora_of(part)) and lora[0] in listed]
    if len(named) != 1:
        return settings
    [(name, scale)] = named
    return replace(settings, checkpoint=f"{base}:{name}" + (f"@{scale:g}" if scale != 1 else ""))


def notes_on(reading: Reading, model: ImageModel) -> list[str]:
    """Returns one line for each thing to know: the dialect that was told, what is loaded or not, and how a long prompt is read."""
    style = split_scale(split_style(model.name)[1])[0]
    notes = reading.notes_with(style)
    for name, text in (("prompt", reading.conditioning.text), ("negative prompt", reading.conditioning.negative)):
        tokens, room = model.token_count(text)
        if tokens > room:
            how = "in windows side by side" if model.most_windows > 1 else "up to the limit"
            notes.append(f"the {name} has {tokens} tokens, more than the {room} of one window: it is read {how}")
    return notes


def batch_in_words(read: PromptFile, dialect: str) -> PromptFile:
    """Returns the prompts of a batch as words, read in a dialect; prompts that cannot be read, or have no words, are left out and noted.

    An instruction is learned on words: weights, times, tags and breaks are not drawn, and counted in a note. Raises BadInput where nothing
    is left.
    """
    found = dict[str, BatchPrompt]()
    notes, marked = list[str](), 0
    for prompt in read.prompts:
        try:
            reading = read_prompt(prompt.text, dialect=dialect)
        except BadInput as error:
            notes.append(f"{prompt.text[:60]!r} was left out: {error}")
            continue
        if not reading.is_plain:
            marked += 1
        if words := reading.conditioning.text:
            found.setdefault(text_id(words), replace(prompt, text=words))
    if not found:
        raise BadInput(notes[0] if notes else "the prompts have no words; say what the pictures should show")
    if marked:
        notes.append(f"{marked} prompts have weights, times, tags or breaks: the instruction is learned on their words alone")
    return replace(read, prompts=tuple(found.values()), notes=(*read.notes, *notes))


def in_words(span: EffectSpan) -> str:
    """Returns when the words of a span act, in words: "in the second half", "from 25 % to 60 %"."""
    if (span.lo, span.hi) == (0, 1):
        return "from first to last step"
    halves = {(Fraction(0), Fraction(1, 2)): "in the first half", (Fraction(1, 2), Fraction(1)): "in the second half"}
    if (span.lo, span.hi) in halves:
        return halves[span.lo, span.hi]
    first, last = f"{float(100 * span.lo):.3g} %", f"{float(100 * span.hi):.3g} %"
    if span.lo == 0:
        return f"in the first {last} of the steps"
    return f"after {first} of the steps" if span.hi == 1 else f"from {first} to {last} of the steps"


def effects_of(conditioning: Conditioning) -> list[str]:
    """Returns one line for each stretch of words with a time or a weight: which words, when, how strong."""
    lines = []
    for text, spans in ((conditioning.text, conditioning.spans), (conditioning.negative, conditioning.negative_spans)):
        for span in spans:
            weight = "" if span.weight == 1 else f", weight {float(span.weight):.4g}"
            lines.append(f"{text[span.start : span.end]!r} acts {in_words(span)}{weight}")
    return lines


def other_forms(reading: Reading, conditioning: Conditioning, drawn: SamplerSettings, seed: int) -> dict[str, Any]:
    """Returns a prompt with times or weights in A1111's text and as ComfyUI's graph, which draws as `drawn` says; {} for a plain one.

    The dialect that was typed, and a form in which the tool cannot say the prompt, are left out.
    """
    if not (conditioning.spans or conditioning.negative_spans):
        return {}
    forms = dict[str, Any]()
    for dialect in FORMS:
        if dialect == reading.dialect:
            continue
        try:
            settings, _ = graph_settings(made_by(drawn, seed))
            written = write_in(dialect, conditioning, *parts_for(reading, conditioning), drawn.steps, settings)
        except BadInput:
            continue
        forms[dialect] = {"prompt": written.output, "negative": written.negative}
    return forms
