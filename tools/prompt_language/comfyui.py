"""ComfyUI, read and written: prompts in its notation, and node graphs in the API form, which its server accepts as a prompt.

With a number of steps, the writer makes a chain of KSamplerAdvanced nodes, one for each run of steps with the same words: exact to the
step. Without, it uses ConditioningSetTimestepRange, whose percentages ComfyUI turns into noise levels, both ends included: nearly exact.
Sources: ComfyUI, nodes.py, comfy/samplers.py, comfy/sd1_clip.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

from limner.promptdb.errors import BadInput
from limner.promptdb.records import Conditioning, EffectSpan, as_fraction, canonical_text
from limner.tools.prompt_language.assemble import assemble, write_decimal
from limner.tools.prompt_language.emphasis import COMFYUI, parts_of
from limner.tools.prompt_language.fidelity import Reason, Written, distinct
from limner.tools.prompt_language.merge import Turn, merge
from limner.tools.prompt_language.schedule import Segment, elapsed_by_step, segments

HALF_OPEN = Fraction(1, 10000)
"""Subtracted from the end of a timestep range, so that a step on a border has only the conditioning that begins there."""

MOST_BORDERS = 200
"""Most distinct times in a graph without steps; each makes a node with a whole prompt."""

LERP = Reason("approximate", "ComfyUI moves weighted words away from the empty prompt's embedding, and does not restore the mean")
SIGMA = Reason("unsupported", "ranges of the noise level are written as if they were of the steps")
PERCENT = Reason("approximate", "timestep ranges are parts of the training timesteps, not of the steps: equal only for evenly spaced ones")
HISTORY = Reason("exact", "samplers that remember earlier steps (dpmpp_2m and the like) begin anew with each node; euler and ddim do not")

Node = dict[str, Any]

_PARENTHESES = re.compile(r"[()]")


def write_comfyui(conditioning: Conditioning, steps: int | None = None) -> Written:
    """Returns a complete graph, from checkpoint to picture; its checkpoint, size, seed and sampler are examples.

    `steps`: model calls of the run; None writes timestep ranges. Raises BadInput where that needs too many ranges.
    """
    reasons = list[Reason]()
    spans = conditioning.spans + conditioning.negative_spans
    timed = any((span.lo, span.hi) != (0, 1) for span in spans)
    if any(span.weight != 1 for span in spans) and conditioning.weight_mode != "lerp_from_empty":
        reasons.append(LERP)
    if conditioning.range_unit == "sigma":
        reasons.append(SIGMA)
    graph = _Graph(reasons)
    if steps is None:
        graph.sample_in_one(*_in_fractions(conditioning))
        reasons.extend([PERCENT] if timed else [])
    else:
        graph.sample_in_turns(*in_steps(conditioning, steps), steps)
        reasons.extend([HISTORY] if timed else [])
    return Written(graph.finished(), reasons=distinct(reasons))


def in_steps(conditioning: Conditioning, steps: int) -> tuple[tuple[Segment, ...], tuple[Segment, ...]]:
    """Returns the segments of the prompt and of the negative prompt, both cut at the same steps."""
    places = elapsed_by_step(steps)
    rows = ((conditioning.text, conditioning.spans), (conditioning.negative, conditioning.negative_spans))
    cuts = {segment.start for text, spans in rows for segment in segments(text, spans, places)}
    first, second = (segments(text, spans, places, cuts) for text, spans in rows)
    return first, second


def weighted(segment: Segment, reasons: list[Reason]) -> str:
    """Returns the text of a segment in ComfyUI's notation; appends to `reasons` what is not exact."""
    written, position = "", 0
    for span in segment.spans:
        words = segment.text[span.start : span.end]
        decimal, exact = write_decimal(span.weight)
        if not exact:
            reasons.append(Reason("approximate", f"the weight {span.weight} is rounded to {decimal}", words))
        written += _escaped(segment.text[position : span.start])
        if written.endswith("\\"):
            reasons.append(Reason("approximate", "a blank keeps a backslash apart from the bracket that it would escape", words))
            written += " "
        written += f"({_escaped(words)}:{decimal})"
        position = span.end
    return written + _escaped(segment.text[position:])


def _escaped(text: str) -> str:
    return _PARENTHESES.sub(r"\\\g<0>", text)


Timed = Sequence[tuple[Fraction, Fraction, Segment]]


def _in_fractions(conditioning: Conditioning) -> tuple[Timed, Timed]:
    return _timed(conditioning.text, conditioning.spans), _timed(conditioning.negative, conditioning.negative_spans)


def _timed(text: str, spans: Sequence[EffectSpan]) -> Timed:
    """Returns segments between all times at which some span begins or ends, as (begin, end, segment)."""
    borders = sorted({Fraction(0), Fraction(1), *(border for span in spans for border in (span.lo, span.hi))})
    if len(borders) > MOST_BORDERS:
        raise BadInput(f"ranges that begin or end at {len(borders)} different times make as many prompts; name the steps (--steps)")
    found = segments(text, spans, borders[:-1])
    return [(borders[item.start], borders[item.stop], item) for item in found]


class _Graph:
    def __init__(self, reasons: list[Reason]) -> None:
        self._nodes: dict[str, Node] = {}
        self._texts: dict[str, list[Any]] = {}
        self._reasons = reasons
        self._checkpoint = self._add("CheckpointLoaderSimple", ckpt_name="model.safetensors")
        self._latent = self._out(self._add("EmptyLatentImage", width=512, height=512, batch_size=1))

    def sample_in_turns(self, positive: Sequence[Segment], negative: Sequence[Segment], steps: int) -> None:
        for turn, (asked, unwanted) in enumerate(zip(positive, negative, strict=True)):
            last = asked.stop == steps
            node = self._add(
                "KSamplerAdvanced",
                model=self._out(self._checkpoint),
                add_noise="disable" if turn else "enable",
                noise_seed=0,
                steps=steps,
                cfg=7.5,
                sampler_name="euler",
                scheduler="normal",
                positive=self._encoded(asked),
                negative=self._encoded(unwanted),
                latent_image=self._latent,
                start_at_step=asked.start,
                end_at_step=asked.stop,
                return_with_leftover_noise="disable" if last else "enable",
            )
            self._latent = self._out(node)

    def sample_in_one(self, positive: Timed, negative: Timed) -> None:
        node = self._add(
            "KSampler",
            model=self._out(self._checkpoint),
            seed=0,
            steps=20,
            cfg=7.5,
            sampler_name="euler",
            scheduler="normal",
            positive=self._combined(positive),
            negative=self._combined(negative),
            latent_image=self._latent,
            denoise=1.0,
        )
        self._latent = self._out(node)

    def finished(self) -> dict[str, Node]:
        image = self._add("VAEDecode", samples=self._latent, vae=self._out(self._checkpoint, 2))
        self._add("SaveImage", images=self._out(image), filename_prefix="limner")
        return self._nodes

    def _combined(self, timed: Timed) -> list[Any]:
        if len(timed) == 1:
            return self._encoded(timed[0][2])
        whole: list[Any] | None = None
        for start, end, segment in timed:
            end = end if end == 1 else end - HALF_OPEN
            ranged = self._out(
                self._add("ConditioningSetTimestepRange", conditioning=self._encoded(segment), start=float(start), end=float(end))
            )
            whole = ranged if whole is None else self._out(self._add("ConditioningCombine", conditioning_1=whole, conditioning_2=ranged))
        assert whole is not None
        return whole

    def _encoded(self, segment: Segment) -> list[Any]:
        text = weighted(segment, self._reasons)
        if text not in self._texts:
            self._texts[text] = self._out(self._add("CLIPTextEncode", text=text, clip=self._out(self._checkpoint, 1)))
        return self._texts[text]

    def _add(self, kind: str, **inputs: Any) -> str:
        name = str(len(self._nodes) + 1)
        self._nodes[name] = {"class_type": kind, "inputs": inputs}
        return name

    @staticmethod
    def _out(node: str, slot: int = 0) -> list[Any]:
        return [node, slot]


NODES = "CLIPTextEncode, KSampler, KSamplerAdvanced, ConditioningSetTimestepRange and ConditioningCombine"
HOW = f"what is read are graphs in the API form, whose conditioning comes from {NODES}"


def read_comfyui(text: str, negative: str = "") -> tuple[Conditioning, tuple[Reason, ...]]:
    """Returns the Conditioning of prompts in ComfyUI's notation `(x:1.2)`; its weights interpolate from the empty prompt's embedding."""
    words, spans = assemble(parts_of(canonical_text(text), COMFYUI))
    others, other_spans = assemble(parts_of(canonical_text(negative), COMFYUI))
    return Conditioning(words, others, spans, other_spans, "lerp_from_empty"), ()


def is_graph(document: object) -> bool:
    """Whether a JSON value is a node graph in the API form."""
    return isinstance(document, Mapping) and any(isinstance(node, Mapping) and "class_type" in node for node in document.values())


def read_graph(document: object) -> tuple[Conditioning, tuple[Reason, ...]]:
    """Returns the Conditioning of a graph, and what does not convert exactly.

    Raises BadInput for nodes that `HOW` does not name, and for prompts that no single prompt with ranges expresses.
    """
    graph = _ReadGraph(document)
    turns = list(graph.samplers())
    (words, spans), (others, other_spans) = (merge(graph.turns(turns, name)) for name in ("positive", "negative"))
    return Conditioning(words, others, spans, other_spans, "lerp_from_empty"), (PERCENT,) if graph.ranged else ()


class _ReadGraph:
    def __init__(self, document: object) -> None:
        if not is_graph(document):
            raise BadInput(f"this JSON is no node graph of ComfyUI's; {HOW}")
        self._nodes: Mapping[str, Any] = document  # type: ignore[assignment]
        self.ranged = False

    def samplers(self) -> Iterator[tuple[Fraction, Mapping[str, Any]]]:
        """Yields the samplers in the order in which they run: (where it begins, as a fraction of the steps; its inputs)."""
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
        """Returns the prompts that reach the input `name` (positive or negative), in order of time."""
        found = list[Turn]()
        for start, inputs in samplers:
            prompts = list(self._prompts(inputs.get(name), 0))
            if len(prompts) > 1 and len(samplers) > 1:
                raise BadInput("timestep ranges within a chain of samplers are not read")
            found += [Turn(max(start, begin), tuple(parts_of(canonical_text(text), COMFYUI))) for begin, _, text in prompts]
            if any(abs(right - left) > 2 * HALF_OPEN for left, right in self._joints(prompts)):
                raise BadInput("the timestep ranges overlap or leave gaps, so no single prompt says the same")
        return sorted(found, key=lambda turn: turn.start)

    @staticmethod
    def _joints(prompts: list[tuple[Fraction, Fraction, str]]) -> Iterator[tuple[Fraction, Fraction]]:
        ordered = sorted(prompts)
        yield from zip((Fraction(0), *(end for _, end, _ in ordered)), (*(begin for begin, _, _ in ordered), Fraction(1)), strict=True)

    def _prompts(self, link: Any, depth: int) -> Iterator[tuple[Fraction, Fraction, str]]:
        """Yields begin, end and text of every prompt that reaches the input `link`."""
        node = self._nodes.get(str(link[0])) if isinstance(link, list) and link else None
        if node is None or depth > 100 or not isinstance(node.get("inputs"), Mapping):
            raise BadInput(f"an input leads to no node of the graph; {HOW}")
        kind, inputs = node.get("class_type"), node["inputs"]
        if kind == "CLIPTextEncode" and isinstance(inputs.get("text"), str):
            yield Fraction(0), Fraction(1), inputs["text"]
        elif kind == "ConditioningCombine":
            yield from self._prompts(inputs.get("conditioning_1"), depth + 1)
            yield from self._prompts(inputs.get("conditioning_2"), depth + 1)
        elif kind == "ConditioningSetTimestepRange":
            self.ranged = True
            start, end = inputs.get("start"), inputs.get("end")
            if not all(isinstance(share, int | float) and 0 <= share <= 1 for share in (start, end)):
                raise BadInput(f"a ConditioningSetTimestepRange lacks start or end as numbers between 0 and 1; {HOW}")
            for _, _, text in self._prompts(inputs.get("conditioning"), depth + 1):
                yield as_fraction(start), as_fraction(end), text
        else:
            raise BadInput(f"the node {kind!r} is not understood; {HOW}")

    def _of_kind(self, kind: str) -> list[Mapping[str, Any]]:
        return [node for node in self._nodes.values() if isinstance(node, Mapping) and node.get("class_type") == kind
                and isinstance(node.get("inputs"), Mapping)]  # fmt: skip
