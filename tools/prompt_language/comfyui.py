"""ComfyUI, read and written: prompts in its notation, and node graphs in the API form, which its server accepts as a prompt.

With a number of steps, the writer makes a chain of KSamplerAdvanced nodes, one for each run of steps with the same words: exact to the
step. Without, it uses ConditioningSetTimestepRange, whose percentages ComfyUI turns into noise levels, both ends included: nearly exact.
Sources: ComfyUI, nodes.py, comfy/samplers.py, comfy/sd1_clip.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

from limner.promptdb.errors import BadInput
from limner.promptdb.generated.comfyui import first_sampler
from limner.promptdb.generated.comfyui import read_comfyui as read_made
from limner.promptdb.generated.comfyui_graph import Graph as NodeGraph
from limner.promptdb.generated.comfyui_graph import Node, graph_of, is_api, is_workflow
from limner.promptdb.generated.comfyui_text import Piece, Walk
from limner.promptdb.records import Conditioning, EffectSpan, canonical_text
from limner.tools.prompt_language.assemble import assemble, write_decimal
from limner.tools.prompt_language.emphasis import comfyui_parts
from limner.tools.prompt_language.fidelity import Reason, Written, distinct
from limner.tools.prompt_language.merge import Turn, merge
from limner.tools.prompt_language.opaque import OpaquePart, Placed, lora_of, put_back, with_marks
from limner.tools.prompt_language.schedule import Segment, elapsed_by_step, segments

HALF_OPEN = Fraction(1, 10000)
"""Subtracted from the end of a timestep range, so that a step on a border has only the conditioning that begins there."""

MOST_BORDERS = 200
"""Most distinct times in a graph without steps; each makes a node with a whole prompt."""

LERP = Reason("approximate", "ComfyUI moves weighted words away from the empty prompt's embedding, and does not restore the mean")
SIGMA = Reason("unsupported", "ranges of the noise level are written as if they were of the steps")
PERCENT = Reason("approximate", "timestep ranges are parts of the training timesteps, not of the steps: equal only for evenly spaced ones")
HISTORY = Reason("exact", "samplers that remember earlier steps (dpmpp_2m and the like) begin anew with each node; euler and ddim do not")

NodeDocument = dict[str, Any]

_PARENTHESES = re.compile(r"[()]")


@dataclass(frozen=True, slots=True)
class GraphSettings:
    """What a graph says besides its texts, by ComfyUI's names; the defaults are examples. `loras`: file and strength."""

    seed: int = 0
    steps: int = 20
    cfg: float = 7.5
    sampler: str = "euler"
    scheduler: str = "normal"
    size: tuple[int, int] = (512, 512)
    checkpoint: str = "model.safetensors"
    loras: tuple[tuple[str, float], ...] = ()


EXAMPLE = GraphSettings()


def write_comfyui(
    conditioning: Conditioning,
    steps: int | None = None,
    parts: Placed = (),
    negative_parts: Placed = (),
    settings: GraphSettings = EXAMPLE,
) -> Written:
    """Returns a complete graph, from checkpoint to picture.

    `steps`: model calls of the run; None writes timestep ranges. `parts`, `negative_parts`: opaque parts with their places in the texts;
    tags of LoRAs become LoraLoader nodes, breaks ConditioningConcat, other parts stay in the text. Raises BadInput where
    there are too many ranges.
    """
    reasons = list[Reason]()
    settings = replace(settings, loras=(*settings.loras, *_loras((*parts, *negative_parts), reasons)))
    elsewhere = ("network", "break", "and")
    in_text = [[(place, part) for place, part in side if part.kind not in elsewhere] for side in (parts, negative_parts)]
    conditioning, marks = with_marks(conditioning, *in_text)
    spans = conditioning.spans + conditioning.negative_spans
    timed = any((span.lo, span.hi) != (0, 1) for span in spans)
    if any(span.weight != 1 for span in spans) and conditioning.weight_mode != "lerp_from_empty":
        reasons.append(LERP)
    if conditioning.range_unit == "sigma":
        reasons.append(SIGMA)
    graph = _Graph(reasons, settings)
    if steps is None:
        graph.sample_in_one(*_in_fractions(conditioning))
        reasons.extend([PERCENT] if timed else [])
    else:
        graph.sample_in_turns(*in_steps(conditioning, steps), steps)
        reasons.extend([HISTORY] if timed else [])
    return Written(_with_parts(graph.finished(), marks), reasons=distinct(reasons))


def _loras(parts: Placed, reasons: list[Reason]) -> list[tuple[str, float]]:
    """Returns file and strength of each LoRA that a tag names; appends to `reasons` the tags that no node of ComfyUI's own loads."""
    found = []
    for _, part in parts:
        if part.kind == "network":
            if lora := lora_of(part):
                found.append((f"{lora[0]}.safetensors", lora[1]))
            else:
                reasons.append(Reason("unsupported", "no node of ComfyUI's own says the same, and it is left out", part.shown))
    return found


def _with_parts(nodes: dict[str, NodeDocument], marks: dict[str, OpaquePart]) -> dict[str, NodeDocument]:
    """Returns the graph with the parts in its texts."""
    for node in nodes.values() if marks else ():
        if node["class_type"] == "CLIPTextEncode":
            node["inputs"]["text"] = put_back(node["inputs"]["text"], marks)
    return nodes


def comfyui_text(conditioning: Conditioning) -> Written:
    """Returns the prompts in ComfyUI's notation as texts; words that come and go are written as if they were always there."""
    reasons = list[Reason]()
    if any(span.weight != 1 for span in conditioning.spans + conditioning.negative_spans) and conditioning.weight_mode != "lerp_from_empty":
        reasons.append(LERP)
    whole = Segment(0, 1, conditioning.text, tuple(span for span in conditioning.spans if span.weight != 1))
    unwanted = Segment(0, 1, conditioning.negative, tuple(span for span in conditioning.negative_spans if span.weight != 1))
    return Written(weighted(whole, reasons), weighted(unwanted, reasons), distinct(reasons))


def in_steps(conditioning: Conditioning, steps: int) -> tuple[tuple[Segment, ...], tuple[Segment, ...]]:
    """Returns the segments of the prompt and of the negative prompt, both cut at the same steps."""
    places = elapsed_by_step(steps)
    rows = (
        (conditioning.text, conditioning.spans, conditioning.breaks),
        (conditioning.negative, conditioning.negative_spans, conditioning.negative_breaks),
    )
    cuts = {segment.start for text, spans, _ in rows for segment in segments(text, spans, places)}
    first, second = (segments(text, spans, places, cuts, breaks) for text, spans, breaks in rows)
    return first, second


def chunks_of(segment: Segment) -> list[Segment]:
    """Returns the parts of a segment between its breaks, without the blanks at their borders; empty parts are left out."""
    borders = [0, *(place for place in segment.breaks if 0 < place < len(segment.text)), len(segment.text)]
    found = []
    for first, last in pairwise(borders):
        text = segment.text[first:last]
        start, stop = first + len(text) - len(text.lstrip()), first + len(text.rstrip())
        spans = [
            replace(span, start=max(span.start, start) - start, end=min(span.end, stop) - start)
            for span in segment.spans
            if max(span.start, start) < min(span.end, stop)
        ]
        if start < stop:
            found.append(Segment(segment.start, segment.stop, segment.text[start:stop], tuple(spans)))
    return found if len(found) > 1 else [replace(segment, breaks=())]


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
    positive = _timed(conditioning.text, conditioning.spans, conditioning.breaks)
    return positive, _timed(conditioning.negative, conditioning.negative_spans, conditioning.negative_breaks)


def _timed(text: str, spans: Sequence[EffectSpan], breaks: Sequence[int]) -> Timed:
    """Returns segments between all times at which some span begins or ends, as (begin, end, segment)."""
    borders = sorted({Fraction(0), Fraction(1), *(border for span in spans for border in (span.lo, span.hi))})
    if len(borders) > MOST_BORDERS:
        raise BadInput(f"ranges that begin or end at {len(borders)} different times make as many prompts; name the steps (--steps)")
    found = segments(text, spans, borders[:-1], breaks=breaks)
    return [(borders[item.start], borders[item.stop], item) for item in found]


class _Graph:
    def __init__(self, reasons: list[Reason], settings: GraphSettings) -> None:
        self._nodes: dict[str, NodeDocument] = {}
        self._texts: dict[str, list[Any]] = {}
        self._reasons = reasons
        self._settings = settings
        self._checkpoint = self._add("CheckpointLoaderSimple", ckpt_name=settings.checkpoint)
        width, height = settings.size
        self._latent = self._out(self._add("EmptyLatentImage", width=width, height=height, batch_size=1))
        self._model, self._clip = self._out(self._checkpoint), self._out(self._checkpoint, 1)
        for file, strength in settings.loras:
            links = {"model": self._model, "clip": self._clip}
            node = self._add("LoraLoader", lora_name=file, strength_model=strength, strength_clip=strength, **links)
            self._model, self._clip = self._out(node), self._out(node, 1)

    def sample_in_turns(self, positive: Sequence[Segment], negative: Sequence[Segment], steps: int) -> None:
        for turn, (asked, unwanted) in enumerate(zip(positive, negative, strict=True)):
            last = asked.stop == steps
            node = self._add(
                "KSamplerAdvanced",
                model=self._model,
                add_noise="disable" if turn else "enable",
                noise_seed=self._settings.seed,
                steps=steps,
                cfg=self._settings.cfg,
                sampler_name=self._settings.sampler,
                scheduler=self._settings.scheduler,
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
            model=self._model,
            seed=self._settings.seed,
            steps=self._settings.steps,
            cfg=self._settings.cfg,
            sampler_name=self._settings.sampler,
            scheduler=self._settings.scheduler,
            positive=self._combined(positive),
            negative=self._combined(negative),
            latent_image=self._latent,
            denoise=1.0,
        )
        self._latent = self._out(node)

    def finished(self) -> dict[str, NodeDocument]:
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
        first, *others = (self._encoded_chunk(chunk) for chunk in chunks_of(segment))
        for other in others:
            first = self._out(self._add("ConditioningConcat", conditioning_to=first, conditioning_from=other))
        return first

    def _encoded_chunk(self, segment: Segment) -> list[Any]:
        text = weighted(segment, self._reasons)
        if text not in self._texts:
            self._texts[text] = self._out(self._add("CLIPTextEncode", text=text, clip=self._clip))
        return self._texts[text]

    def _add(self, kind: str, **inputs: Any) -> str:
        name = str(len(self._nodes) + 1)
        self._nodes[name] = {"class_type": kind, "inputs": inputs}
        return name

    @staticmethod
    def _out(node: str, slot: int = 0) -> list[Any]:
        return [node, slot]


def read_comfyui(text: str, negative: str = "") -> tuple[Conditioning, tuple[Reason, ...]]:
    """Returns the Conditioning of prompts in ComfyUI's notation `(x:1.2)`; its weights interpolate from the empty prompt's embedding."""
    (parts, remarks), (others, other_remarks) = (comfyui_parts(canonical_text(each)) for each in (text, negative))
    (words, spans), (unwanted, unwanted_spans) = assemble(parts), assemble(others)
    conditioning = Conditioning(words, unwanted, spans, unwanted_spans, "lerp_from_empty", chunking="word")
    return conditioning, distinct([*remarks, *other_remarks])


def is_graph(document: object) -> bool:
    """Whether a JSON value is a node graph, in the API form or the editor's."""
    return is_api(document) or is_workflow(document)


def read_graph(document: object) -> tuple[Conditioning, tuple[Reason, ...]]:
    """Returns the Conditioning of a graph, and what does not convert exactly: timing, and by name what is on the way and not carried.

    Raises BadInput for what is no graph or has no sampler, and for prompts that no single prompt with ranges expresses.
    """
    reader = _ReadGraph(graph_of(document))
    turns = list(reader.samplers())
    (words, spans), (others, other_spans) = (merge(reader.turns(turns, name)) for name in ("positive", "negative"))
    breaks = {side: reader.breaks(text, side) for side, text in (("positive", words), ("negative", others))}
    missed = tuple(Reason("unsupported", f"{name} is not carried") for name in dict.fromkeys(reader.walk.notes))
    conditioning = Conditioning(
        words, others, spans, other_spans, "lerp_from_empty", breaks=breaks["positive"], negative_breaks=breaks["negative"]
    )
    return conditioning, ((PERCENT,) if reader.ranged else ()) + missed


class _ReadGraph:
    def __init__(self, graph: NodeGraph) -> None:
        self._graph = graph
        self.walk = Walk(graph)
        self.ranged = False
        self._chunks: dict[str, list[str]] = {}

    def samplers(self) -> Iterator[tuple[Fraction, Node]]:
        """Yields the nodes that take the prompts, in the order in which they run: (where each begins, as a fraction of the steps; node)."""
        first, others = first_sampler(self._graph)
        chain = [node for node in (first, *others) if node.kind == "KSamplerAdvanced"]
        if first.kind != "KSamplerAdvanced" or len(chain) == 1:
            yield Fraction(0), self._graph.node(first.link("guider")) or first
            return
        try:
            steps = {int(self.walk.value(node, "steps")) for node in chain}
            chain.sort(key=lambda node: int(self.walk.value(node, "start_at_step")))
            starts = [int(self.walk.value(node, "start_at_step")) for node in chain]
            ends = [min(int(self.walk.value(node, "end_at_step")), max(steps)) for node in chain]
        except (TypeError, ValueError, OverflowError) as error:
            raise BadInput("a KSamplerAdvanced lacks steps, start_at_step or end_at_step as numbers") from error
        if len(steps) != 1 or min(steps) < 1 or [*starts, max(steps)] != [0, *ends]:
            raise BadInput("the KSamplerAdvanced nodes are no chain from step 0 to the last, one beginning where another ends")
        for start, node in zip(starts, chain, strict=True):
            yield Fraction(start, max(steps)), node

    def turns(self, samplers: Sequence[tuple[Fraction, Node]], side: str) -> list[Turn]:
        """Returns the prompts that reach the input `side` (positive or negative), in order of time."""
        names = ("positive", "conditioning", "cond1") if side == "positive" else ("negative",)
        found = list[Turn]()
        for start, node in samplers:
            pieces = self.walk.pieces(node.link(*names), side)
            if not pieces and side == "positive":
                read_made(self._graph)  # raises, and names what it met
            pieces = pieces or [Piece("")]
            if all((piece.begin, piece.end) == (0, 1) for piece in pieces):
                pieces = [self._one(pieces, side, alone=len(samplers) == 1)]
            elif len(samplers) > 1:
                raise BadInput("timestep ranges within a chain of samplers are not read")
            else:
                self.ranged = True
            for piece in pieces:
                found.append(Turn(max(start, piece.begin), tuple(comfyui_parts(canonical_text(piece.text))[0])))
            if any(abs(right - left) > 2 * HALF_OPEN for left, right in self._joints(pieces)):
                raise BadInput("the timestep ranges overlap or leave gaps, so no single prompt says the same")
        return sorted(found, key=lambda turn: turn.start)

    def _one(self, pieces: list[Piece], side: str, alone: bool) -> Piece:
        """Returns pieces that act all the time as one; keeps where chunks begin, for a sampler that is `alone`."""
        if len(pieces) > 1 and all(piece.chunk for piece in pieces[1:]) and alone:
            self._chunks[side] = [assemble(comfyui_parts(canonical_text(piece.text))[0])[0] for piece in pieces]
            return Piece(" ".join(piece.text.strip() for piece in pieces))
        self.walk.notes += ["ConditioningConcat"] if any(piece.chunk for piece in pieces) else []
        return Piece(", ".join(dict.fromkeys(piece.text.strip() for piece in pieces)))

    def breaks(self, text: str, side: str) -> tuple[int, ...]:
        """Returns where chunks begin in a text that `turns` has read."""
        chunks = self._chunks.get(side, [])
        places = [sum(len(chunk) + 1 for chunk in chunks[:number]) for number in range(1, len(chunks))]
        return tuple(places) if " ".join(chunks) == text else ()

    @staticmethod
    def _joints(pieces: list[Piece]) -> Iterator[tuple[Fraction, Fraction]]:
        ordered = sorted(pieces, key=lambda piece: (piece.begin, piece.end))
        ends, begins = [piece.end for piece in ordered], [piece.begin for piece in ordered]
        yield from zip((Fraction(0), *ends), (*begins, Fraction(1)), strict=True)
