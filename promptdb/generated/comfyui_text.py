"""Walks back through a graph of ComfyUI's: from an input to its value, to the texts that condition a sampler, to the networks of a model.

What is met and not carried is named in `notes`, a node that is not understood among it. Every node is gone through once.
Sources: ComfyUI, nodes.py and comfy_extras; the text nodes of WAS, pysssss, rgthree, Impact and Comfyroll by their inputs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from limner.promptdb.errors import BadInput
from limner.promptdb.generated.comfyui_graph import Graph, Link, Node, Trail
from limner.promptdb.generated.record import LONGEST_PROMPT, Lora, base_name, note, real, whole

VALUES = (
    *("value", "Value", "text", "string", "String", "prompt", "populated_text", "result", "text_0", "positive", "int", "float", "number"),
    *("Number", "seed", "noise_seed", "a", "any", "input"),
)
"""Inputs that hold what a node of one value gives, the likeliest first."""

TEXTS = ("text", "text_g", "t5xxl", "text_l", "clip_l", "clip_g", "prompt", "user_prompt", "bert", "mt5xl", "llama")
"""Inputs of text encoders."""

ENCODERS = (
    *("CLIPTextEncode", "CLIPTextEncodeSDXL", "CLIPTextEncodeSDXLRefiner", "CLIPTextEncodeSD3", "CLIPTextEncodeFlux"),
    *("CLIPTextEncodeHunyuanDiT", "CLIPTextEncodeHiDream", "CLIPTextEncodePixArtAlpha", "CLIPTextEncodeLumina2"),
)
JOINING = ("ConditioningCombine", "ConditioningConcat", "ConditioningAverage")
SILENT = ("Reroute", "Reroute (rgthree)", "ReroutePrimitive|pysssss", "PrimitiveNode")
LOADERS = ("ckpt_name", "unet_name", "model_name", "base_ckpt_name", "gguf_name", "diffusion_model_name")

_ONWARD = ("conditioning", "conditioning_1", "conditioning_to", "cond", "cond1", "positive", "base_positive")
_JOINED = re.compile(r"concat|join|combine ?(?:text|string)|(?:text|string)s? ?combine", re.IGNORECASE)
_NO_PARTS = re.compile(r"delimiter|separator|clean_whitespace|linebreak|mode", re.IGNORECASE)
_NUMBERED = re.compile(r"lora_?name_?(\d+)", re.IGNORECASE)
_MODEL_STRENGTHS, _CLIP_STRENGTHS = ("strength_model", "lora_model_strength", "strength"), ("strength_clip", "lora_clip_strength")
_STRENGTHS = ("lora_wt_{}", "model_str_{}", "model_weight_{}", "lora_weight_{}", "strength_{}")


@dataclass(frozen=True, slots=True)
class Piece:
    """A text that reaches a sampler, and the part of the training timesteps in which it acts, 0 at the noise."""

    text: str
    begin: Fraction = Fraction(0)
    end: Fraction = Fraction(1)


class Walk:
    """Walks through one graph; `notes` and `loras` collect what is met on the way."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.notes: list[str] = []
        self.loras: dict[str, Lora] = {}
        self.model = ""
        self._literals: dict[tuple[str, str], Any] = {}
        self._weighed: frozenset[str] = frozenset()

    def value(self, node: Node | None, *names: str) -> Any:
        """Returns the value of the first of these inputs that has one, through links; None for none. Raises BadInput for circles."""
        for name in names if node else ():
            assert node is not None
            if (found := self._literal(node.inputs.get(name), name, Trail())) is not None:
                return found
        return None

    def _literal(self, given: Any, name: str, trail: Trail) -> Any:
        if not isinstance(given, Link):
            return given
        node = self.graph.node(given)
        if node is None:
            return None
        onward = trail.onward(node)
        key = (node.id, name)
        if key not in self._literals:
            self._literals[key] = self._given_by(node, name, onward)
        return self._literals[key]

    def _given_by(self, node: Node, name: str, trail: Trail) -> Any:
        """Returns what a node gives for an input called `name`."""
        if _JOINED.search(node.kind):
            return self._joined(node, trail)
        if node.kind in SILENT and (links := node.links()):
            return self._literal(links[0], name, trail)
        for own in (name, *VALUES):
            if own in node.inputs and (found := self._literal(node.inputs[own], own, trail)) is not None:
                return found
        links = node.links()
        return self._literal(links[0], name, trail) if len(links) == 1 and len(node.inputs) == 1 else None

    def _joined(self, node: Node, trail: Trail) -> str:
        between = node.inputs.get("delimiter", node.inputs.get("separator", ""))
        between = between.replace("\\n", "\n") if isinstance(between, str) else ""
        parts = [self._literal(value, name, trail) for name, value in node.inputs.items() if not _NO_PARTS.search(name)]
        texts = [part for part in parts if isinstance(part, str) and part]
        if sum(map(len, texts)) + len(between) * len(texts) > LONGEST_PROMPT:
            raise BadInput(f"the texts that node {node.id} ({node.kind}) joins have more than {LONGEST_PROMPT} characters")
        return between.join(texts)

    def pieces(self, link: Link | None, side: str) -> list[Piece]:
        """Returns the texts that reach a conditioning input, in their order.

        `side`: positive or negative, for nodes that hand on both. A node that is not understood is named, and gone through by its inputs'
        names where they tell the way.
        """
        return list(self._pieces(link, side, Trail(), set()))

    def _pieces(self, link: Link | None, side: str, trail: Trail, done: set[tuple[str, str]]) -> Iterator[Piece]:
        node = self.graph.node(link)
        if node is None or link is None:
            return
        trail = trail.onward(node)
        if node.link("positive") and node.link("negative"):
            side = "negative" if link.slot == 1 else "positive" if link.slot == 0 else side
        if (node.id, side) in done:
            return
        done.add((node.id, side))
        if node.kind in JOINING:
            if node.kind != "ConditioningCombine" or not self._ranged(node):
                self.notes.append(note(node.kind, self.value(node, "conditioning_to_strength")))
            for onward in node.links():
                yield from self._pieces(onward, side, trail, done)
        elif node.kind == "ConditioningSetTimestepRange":
            begin, end = (real(self.value(node, name)) for name in ("start", "end"))
            if begin is None or end is None or not 0 <= begin <= end <= 1:
                raise BadInput("a ConditioningSetTimestepRange lacks start or end as numbers between 0 and 1")
            for piece in self._pieces(node.link("conditioning"), side, trail, done):
                yield Piece(piece.text, Fraction(str(begin)), Fraction(str(end)))
        elif node.kind == "ConditioningZeroOut":
            self.notes.append(node.kind)
        elif node.kind in ENCODERS or "TextEncode" in node.kind:
            yield from self._encoded(node)
        else:
            yield from self._onward(node, side, trail, done)

    def _ranged(self, node: Node) -> bool:
        """Whether a combination is of ranges that follow one another, as one prompt with timing is written."""
        kinds = {found.kind for link in node.links() if (found := self.graph.node(link))}
        return bool(kinds) and kinds <= {"ConditioningSetTimestepRange", "ConditioningCombine"} and "ConditioningSetTimestepRange" in kinds

    def _encoded(self, node: Node) -> Iterator[Piece]:
        texts = {name: text for name in TEXTS if isinstance(text := self.value(node, name), str) and text.strip()}
        found = list(dict.fromkeys(texts.values()))
        if len(found) > 1:
            self.notes.append(note(f"{node.kind} with a text for each encoder"))
        if node.kind not in ENCODERS:
            self.notes.append(f"{node.kind}, of which the text is taken")
        if (guidance := real(self.value(node, "guidance"))) is not None:
            self.notes.append(note("distilled guidance", guidance))
        self.weights(node.link("clip", "clip_l", "clip_g"))
        if any(isinstance(node.inputs.get(name), Link) for name in TEXTS) and not texts:
            self.notes.append(f"{node.kind} {node.id}, whose text is not given in the graph")
        yield Piece(", ".join(found))

    def _onward(self, node: Node, side: str, trail: Trail, done: set[tuple[str, str]]) -> Iterator[Piece]:
        if node.kind == "FluxGuidance":
            self.notes.append(note("distilled guidance", real(self.value(node, "guidance"))))
        elif node.kind not in SILENT:
            self.notes.append(node.kind or f"node {node.id}")
        link = node.link(side) or node.link(*_ONWARD) or (node.links()[0] if len(node.links()) == 1 or node.kind in SILENT else None)
        if link is not None and not isinstance(node.inputs.get(side), str):
            yield from self._pieces(link, side, trail, done)
        elif isinstance(text := self.value(node, side, *TEXTS), str):
            yield Piece(text)

    def weights(self, link: Link | None) -> None:
        """Follows a link to a model or text encoder back to its file; collects networks, and names what else changes it."""
        trail = Trail()
        while (node := self.graph.node(link)) is not None:
            trail = trail.onward(node)
            if node.id in self._weighed:
                return
            self._networks(node, 0)
            loader = next((name for name in LOADERS if name in node.inputs), None)
            if loader is not None:
                file = self.value(node, loader)
                self.model = self.model or base_name(file.get("content") if isinstance(file, Mapping) else file)
                break
            onward = node.link("model", "clip")
            onward = onward or (node.links()[0] if len(node.links()) == 1 or node.kind in SILENT else None)
            if node.kind == "CLIPSetLastLayer":
                layer = real(self.value(node, "stop_at_clip_layer"))
                self.notes.append(note("CLIP skip", -int(layer)) if layer is not None else node.kind)
            elif node.kind not in SILENT and "lora" not in node.kind.lower() and onward is not None:
                self.notes.append(node.kind)
            link = onward
        self._weighed |= trail.known

    def _networks(self, node: Node, depth: int) -> None:
        """Collects the networks that a node loads: of one name, of a numbered list, of rgthree's rows, and of the stack before it."""
        if isinstance(name := self.value(node, "lora_name"), str):
            strengths = [real(self.value(node, *names)) for names in (_MODEL_STRENGTHS, _CLIP_STRENGTHS)]
            self._network(name, strengths[0] if strengths[0] is not None else strengths[1])
            if None not in strengths and strengths[0] != strengths[1]:
                self.notes.append(note(f"strength of {base_name(name)} on the text encoder", strengths[1]))
        for key, value in node.inputs.items():
            if isinstance(value, Mapping) and isinstance(value.get("lora"), str) and value.get("on", True):
                self._network(value["lora"], value.get("strength"))
            elif (numbered := _NUMBERED.fullmatch(key)) and isinstance(value, str):
                number = numbered[1]
                switch = node.inputs.get(f"switch_{number}")
                within = (whole(node.inputs.get("lora_count")) or 10**6) >= int(number)
                if switch not in ("Off", False) and within:
                    self._network(value, self.value(node, *(name.format(number) for name in _STRENGTHS)))
        stack = self.graph.node(node.link("lora_stack", "optional_lora_stack"))
        if stack is not None and depth < 20:
            self._networks(stack, depth + 1)

    def _network(self, file: str, strength: Any) -> None:
        weight = real(strength)
        if file and file.lower() != "none" and weight != 0:
            self.loras.setdefault(file, Lora(base_name(file), 1.0 if weight is None else weight))
