"""ComfyUI, read: a prompt in its notation, or a graph in its API form in which the prompt changes from node to node or range to range."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from promptdb.errors import BadInput
from promptdb.records import Conditioning, as_fraction, canonical_text
from tools.df_prompt.assemble import assemble
from tools.df_prompt.comfyui import HALF_OPEN, PERCENT
from tools.df_prompt.emphasis import COMFYUI, parts_of
from tools.df_prompt.fidelity import Reason
from tools.df_prompt.merge import Turn, merge

NODES = "CLIPTextEncode, KSampler, KSamplerAdvanced, ConditioningSetTimestepRange and ConditioningCombine"
HOW = f"what is read are graphs in the API form, whose conditioning comes from {NODES}"


def read_comfyui(text: str, negative: str = "") -> tuple[Conditioning, tuple[Reason, ...]]:
    """The Conditioning of prompts in ComfyUI's notation, `(x:1.2)`, whose weights mean interpolation from the empty prompt."""
    words, spans = assemble(parts_of(canonical_text(text), COMFYUI))
    others, other_spans = assemble(parts_of(canonical_text(negative), COMFYUI))
    return Conditioning(words, others, spans, other_spans, "lerp_from_empty"), ()


def is_graph(document: object) -> bool:
    """Whether a JSON value is a node graph in the API form."""
    return isinstance(document, Mapping) and any(isinstance(node, Mapping) and "class_type" in node for node in document.values())


def read_graph(document: object) -> tuple[Conditioning, tuple[Reason, ...]]:
    """The Conditioning of a graph. Raises BadInput for other nodes than HOW names, and for prompts that no single one can say."""
    graph = _Graph(document)
    turns = list(graph.samplers())
    (words, spans), (others, other_spans) = (merge(graph.turns(turns, name)) for name in ("positive", "negative"))
    return Conditioning(words, others, spans, other_spans, "lerp_from_empty"), (PERCENT,) if graph.ranged else ()


class _Graph:
    def __init__(self, document: object) -> None:
        if not is_graph(document):
            raise BadInput(f"this JSON is no node graph of ComfyUI's; {HOW}")
        self._nodes: Mapping[str, Any] = document  # type: ignore[assignment]
        self.ranged = False

    def samplers(self) -> Iterator[tuple[Fraction, Mapping[str, Any]]]:
        """Where each sampler begins, in the order in which they run."""
        single = [node["inputs"] for node in self._of_kind("KSampler")]
        staged = [node["inputs"] for node in self._of_kind("KSamplerAdvanced")]
        if len(single) + len(staged) == 0 or (single and len(single) + len(staged) > 1):
            raise BadInput(f"a graph has one KSampler or a chain of KSamplerAdvanced; {HOW}")
        if single:
            yield Fraction(0), single[0]
            return
        try:
            steps = {int(inputs["steps"]) for inputs in staged}
            staged.sort(key=lambda inputs: int(inputs["start_at_step"]))
            starts = [int(inputs["start_at_step"]) for inputs in staged]
            ends = [min(int(inputs["end_at_step"]), max(steps)) for inputs in staged]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise BadInput(f"a KSamplerAdvanced lacks steps, start_at_step or end_at_step as numbers; {HOW}") from error
        if len(steps) != 1 or min(steps) < 1 or [*starts, max(steps)] != [0, *ends]:
            raise BadInput("the KSamplerAdvanced nodes are no chain from step 0 to the last, one beginning where another ends")
        for start, inputs in zip(starts, staged, strict=True):
            yield Fraction(start, max(steps)), inputs

    def turns(self, samplers: list[tuple[Fraction, Mapping[str, Any]]], name: str) -> list[Turn]:
        """What is said under `name`, positive or negative, in the course of time."""
        found = list[Turn]()
        for start, inputs in samplers:
            said = list(self._said(inputs.get(name), 0))
            if len(said) > 1 and len(samplers) > 1:
                raise BadInput("timestep ranges within a chain of samplers are not read")
            found += [Turn(max(start, begin), tuple(parts_of(canonical_text(text), COMFYUI))) for begin, _, text in said]
            if any(abs(right - left) > 2 * HALF_OPEN for left, right in self._joints(said)):
                raise BadInput("the timestep ranges overlap or leave gaps, so no single prompt says the same")
        return sorted(found, key=lambda turn: turn.start)

    @staticmethod
    def _joints(said: list[tuple[Fraction, Fraction, str]]) -> Iterator[tuple[Fraction, Fraction]]:
        ordered = sorted(said)
        yield from zip((Fraction(0), *(end for _, end, _ in ordered)), (*(begin for begin, _, _ in ordered), Fraction(1)), strict=True)

    def _said(self, link: Any, depth: int) -> Iterator[tuple[Fraction, Fraction, str]]:
        """Begin, end and text of every prompt that reaches an input."""
        node = self._nodes.get(str(link[0])) if isinstance(link, list) and link else None
        if node is None or depth > 100 or not isinstance(node.get("inputs"), Mapping):
            raise BadInput(f"an input leads to no node of the graph; {HOW}")
        kind, inputs = node.get("class_type"), node["inputs"]
        if kind == "CLIPTextEncode" and isinstance(inputs.get("text"), str):
            yield Fraction(0), Fraction(1), inputs["text"]
        elif kind == "ConditioningCombine":
            yield from self._said(inputs.get("conditioning_1"), depth + 1)
            yield from self._said(inputs.get("conditioning_2"), depth + 1)
        elif kind == "ConditioningSetTimestepRange":
            self.ranged = True
            start, end = inputs.get("start"), inputs.get("end")
            if not all(isinstance(share, int | float) and 0 <= share <= 1 for share in (start, end)):
                raise BadInput(f"a ConditioningSetTimestepRange lacks start or end as numbers between 0 and 1; {HOW}")
            for _, _, text in self._said(inputs.get("conditioning"), depth + 1):
                yield as_fraction(start), as_fraction(end), text
        else:
            raise BadInput(f"the node {kind!r} is not understood; {HOW}")

    def _of_kind(self, kind: str) -> list[Mapping[str, Any]]:
        return [node for node in self._nodes.values() if isinstance(node, Mapping) and node.get("class_type") == kind
                and isinstance(node.get("inputs"), Mapping)]  # fmt: skip
