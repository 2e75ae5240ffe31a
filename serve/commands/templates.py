"""Templates of many prompts (`{red|blue}`, `__name__`) as the prompts of a command: each by its seed, or one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from limner.promptdb.errors import BadInput
from limner.promptdb.files.prompt_file import BatchPrompt, PromptFile
from limner.promptdb.records import text_id
from limner.tools.prompt_language.wildcards import NO_WILDCARDS, Template, Wildcards, parse, take

MOST = 64
"""Prompts of a template that are made one after the other, where nothing else is said."""

PER_TEMPLATE = 8
"""Prompts that a template brings to a batch, where nothing else is said."""


@dataclass(frozen=True, slots=True)
class Expanding:
    """How templates become prompts. `folder`: of the wildcards. `combinatorial`: every prompt in turn, at most `most` of a template."""

    folder: Path | None = None
    combinatorial: bool = False
    most: int | None = None

    def __post_init__(self) -> None:
        if self.most is not None and self.most < 1:
            raise BadInput(f"--most must be at least 1, not {self.most}")

    def wildcards(self) -> Wildcards:
        """Returns the wildcards of the folder, or of no folder. Raises BadInput where there is no such folder."""
        if self.folder is None:
            return NO_WILDCARDS
        from limner.promptdb.files.wildcard_files import WildcardFolder

        return WildcardFolder(self.folder)


AS_TYPED = Expanding()


@dataclass(frozen=True, slots=True)
class Wanted:
    """A prompt with the seeds that it is drawn on. `template`: what it was made of; empty for a prompt that was no template."""

    prompt: str
    negative: str
    seeds: tuple[int, ...]
    template: str = ""


def wanted(prompts: Sequence[str], negative: str, seeds: Sequence[int], expanding: Expanding) -> tuple[list[Wanted], list[dict[str, Any]]]:
    """Returns what is to be drawn, and what was made of each template: {template, prompts, more}, `more` where prompts were left out.

    A template gives every seed its own prompt, or with `combinatorial` every prompt all the seeds. The negative prompt may be a template
    too. Raises BadInput for a template that cannot be read or expanded.
    """
    wildcards = expanding.wildcards()
    apart = parse(negative)
    found, told = [], []
    for prompt in dict.fromkeys(prompts):
        template = parse(prompt)
        if template.is_plain and apart.is_plain:
            found.append(Wanted(prompt, negative, tuple(seeds)))
            continue
        for each in (template, apart):
            each.check(wildcards)
        if expanding.combinatorial:
            texts, more = take(template.combinations(wildcards), expanding.most or MOST)
            made = [Wanted(text, apart.expand(seeds[0], wildcards), tuple(seeds), prompt) for text in texts]
        else:
            more = False
            made = [Wanted(template.expand(seed, wildcards), apart.expand(seed, wildcards), (seed,), prompt) for seed in seeds]
        told.append({"template": prompt, "prompts": len({item.prompt for item in made}), "more": more})
        found += made
    return found, told


def expanded(prompt: str, seed: int, expanding: Expanding) -> str:
    """Returns one prompt of a template, by the seed; a prompt that is no template as it is. Raises BadInput as `wanted` does."""
    template = parse(prompt)
    if template.is_plain:
        return prompt
    wildcards = expanding.wildcards()
    template.check(wildcards)
    return template.expand(seed, wildcards)


def expanded_batch(read: PromptFile, seed: int, expanding: Expanding) -> PromptFile:
    """Returns the prompts of a batch with those of its templates in their places, each with its template.

    A template brings the prompts of as many seeds from `seed` on, or with `combinatorial` its first ones. A template that cannot be read
    is left out and noted. Raises BadInput for wildcards that are unknown or call themselves, and where nothing is left.
    """
    wildcards = expanding.wildcards()
    found: dict[str, BatchPrompt] = {}
    refused = []
    templates = 0
    for prompt in read.prompts:
        try:
            template = parse(prompt.text)
        except BadInput as error:
            refused.append(f"the template {prompt.text!r} was left out: {error}")
            continue
        if template.is_plain:
            found.setdefault(text_id(prompt.text), prompt)
            continue
        templates += 1
        for text in _several(template, seed, expanding, wildcards):
            found.setdefault(text_id(text), replace(prompt, text=text, template=prompt.text))
    if not found:
        raise BadInput(refused[0])
    made = sum(bool(prompt.template) for prompt in found.values())
    notes = [f"{made} prompts were made of {templates} {'template' if templates == 1 else 'templates'}"] if templates else []
    return replace(read, prompts=tuple(found.values()), notes=(*read.notes, *refused, *notes))


def _several(template: Template, seed: int, expanding: Expanding, wildcards: Wildcards) -> list[str]:
    template.check(wildcards)
    most = expanding.most or PER_TEMPLATE
    if expanding.combinatorial:
        return take(template.combinations(wildcards), most)[0]
    return [template.expand(seed + place, wildcards) for place in range(most)]
