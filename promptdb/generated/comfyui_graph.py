"""ComfyUI's node graphs, in the API form ("prompt") and in the form of its editor ("workflow"), as nodes with inputs and links.

Knows which way to follow a link, and nothing of what samplers and texts mean (see comfyui.py). A walk never goes twice through a node:
graphs that run in a circle, and chains of thousands of nodes, are refused in one line.
Source: ComfyUI, script_examples (API form), comfy/comfy_types and the frontend's schema of workflows, version 0.4 and 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from limner.promptdb.errors import BadInput

MOST_NODES = 20_000
DEEPEST = 120
"""Nodes in a row."""

MUTED, BYPASSED = 2, 4  # modes of a node in the editor

WIDGETS: dict[str, tuple[str, ...]] = {
    "CLIPTextEncode": ("text",),
    "CLIPTextEncodeFlux": ("clip_l", "t5xxl", "guidance"),
    "CLIPTextEncodeSDXL": ("width", "height", "crop_w", "crop_h", "target_width", "target_height", "text_g", "text_l"),
    "CLIPSetLastLayer": ("stop_at_clip_layer",),
    "KSampler": ("seed", "", "steps", "cfg", "sampler_name", "scheduler", "denoise"),
    "KSamplerAdvanced": (
        *("add_noise", "noise_seed", "", "steps", "cfg", "sampler_name", "scheduler"),
        *("start_at_step", "end_at_step", "return_with_leftover_noise"),
    ),
    "SamplerCustom": ("add_noise", "noise_seed", "", "cfg"),
    "KSamplerSelect": ("sampler_name",),
    "BasicScheduler": ("scheduler", "steps", "denoise"),
    "RandomNoise": ("noise_seed", ""),
    "CFGGuider": ("cfg",),
    "FluxGuidance": ("guidance",),
    "EmptyLatentImage": ("width", "height", "batch_size"),
    "EmptySD3LatentImage": ("width", "height", "batch_size"),
    "CheckpointLoaderSimple": ("ckpt_name",),
    "UNETLoader": ("unet_name", "weight_dtype"),
    "LoraLoader": ("lora_name", "strength_model", "strength_clip"),
    "LoraLoaderModelOnly": ("lora_name", "strength_model"),
    "ConditioningSetTimestepRange": ("start", "end"),
    "ConditioningAverage": ("conditioning_to_strength",),
    "PrimitiveNode": ("value", ""),
    "PrimitiveString": ("value",),
    "PrimitiveStringMultiline": ("value",),
    "PrimitiveInt": ("value", ""),
    "PrimitiveFloat": ("value",),
    "StringConcatenate": ("string_a", "string_b", "delimiter"),
}
"""Names of the values that the editor stores without names, in its order; "" for what it adds and the API form lacks."""

_EXPORT = "in ComfyUI, export it in API form (Workflow > Export (API))"


@dataclass(frozen=True, slots=True)
class Link:
    """An input that is another node's output."""

    node: str
    slot: int = 0


@dataclass(frozen=True, slots=True)
class Node:
    """A node: its class, its inputs by name (a Link or a value), and the links among them that have no name."""

    id: str
    kind: str
    inputs: Mapping[str, Any]
    bypassed: bool = False

    def link(self, *names: str) -> Link | None:
        """Returns the first link among these inputs."""
        return next((value for name in names if isinstance(value := self.inputs.get(name), Link)), None)

    def links(self) -> list[Link]:
        """Returns all links, in the order of the inputs."""
        return [value for value in self.inputs.values() if isinstance(value, Link)]


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes by id. `editor`: whether it was in the editor's form, whose values have no names."""

    nodes: Mapping[str, Node]
    editor: bool = False
    hint: str = ""
    """What a person can do where the graph does not say enough; "" for the API form."""

    def node(self, link: Link | None) -> Node | None:
        """Returns the node that a link leads to, past muted and bypassed ones; None for a link that leads nowhere.

        A bypassed node hands on its inputs in the order of its outputs, as those that take and give a model and a text encoder do.
        """
        trail = Trail()
        found = self.nodes.get(link.node) if link else None
        while found is not None and link is not None and found.bypassed:
            trail = trail.onward(found)
            links = found.links()
            link = links[link.slot] if 0 <= link.slot < len(links) else next(iter(links), None)
            found = self.nodes.get(link.node) if link else None
        return found

    def before(self, node: Node) -> Iterator[Node]:
        """Yields every node that the output of `node` depends on, itself first, each once."""
        waiting, seen = [node.id], {node.id}
        while waiting:
            found = self.nodes[waiting.pop()]
            yield found
            for link in found.links():
                if link.node in self.nodes and link.node not in seen:
                    seen.add(link.node)
                    waiting.append(link.node)


@dataclass(frozen=True, slots=True)
class Trail:
    """The nodes through which a walk has come, so that it ends."""

    ids: tuple[str, ...] = ()
    known: frozenset[str] = field(default_factory=frozenset)

    def onward(self, node: Node) -> Trail:
        """Returns the trail that goes on through `node`. Raises BadInput where it has been there, and where it grows too long."""
        if node.id in self.known:
            raise BadInput(f"the graph runs in a circle through node {node.id} ({node.kind}); no prompt can be read from it")
        if len(self.ids) >= DEEPEST:
            raise BadInput(f"the graph has more than {DEEPEST} nodes in a row before node {node.id}; it is not read")
        return Trail((*self.ids, node.id), self.known | {node.id})


def is_api(document: object) -> bool:
    """Whether a JSON value is a graph in the API form."""
    return isinstance(document, Mapping) and any(isinstance(node, Mapping) and "class_type" in node for node in document.values())


def is_workflow(document: object) -> bool:
    """Whether a JSON value is a graph in the editor's form."""
    return isinstance(document, Mapping) and isinstance(document.get("nodes"), list) and ("links" in document or "last_node_id" in document)


def graph_of(document: object) -> Graph:
    """Returns the graph of a JSON value in either form. Raises BadInput for anything else, and for more than MOST_NODES nodes."""
    if isinstance(document, Mapping) and is_api(document.get("prompt")):  # what ComfyUI's server is sent
        document = document["prompt"]
    if not isinstance(document, Mapping) or not (is_api(document) or is_workflow(document)):
        raise BadInput("this JSON is no node graph of ComfyUI's")
    nodes = document["nodes"] if is_workflow(document) else document
    if len(nodes) > MOST_NODES:
        raise BadInput(f"the graph has {len(nodes)} nodes; at most {MOST_NODES} are read")
    if is_workflow(document):
        hint = f"; {_EXPORT}"
        return Graph({node.id: node for node in _editor_nodes(document)}, True, hint)
    return Graph({node.id: node for node in _api_nodes(document)})


def _api_nodes(document: Mapping[str, Any]) -> Iterator[Node]:
    for id, row in document.items():
        if not isinstance(row, Mapping) or not isinstance(row.get("class_type"), str):
            continue
        given = row.get("inputs")
        inputs = {name: _api_value(value) for name, value in given.items()} if isinstance(given, Mapping) else {}
        yield Node(str(id), row["class_type"], inputs)


def _api_value(value: Any) -> Any:
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str | int) and type(value[1]) is int:
        return Link(str(value[0]), value[1])
    return value


def _editor_nodes(document: Mapping[str, Any]) -> Iterator[Node]:
    links = dict(_editor_links(document.get("links")))
    for row in document["nodes"]:
        if not isinstance(row, Mapping) or "id" not in row:
            continue
        kind = row.get("type")
        kind = kind if isinstance(kind, str) else ""
        given = row.get("inputs")
        inputs: dict[str, Any] = _widget_values(kind, row)
        for item in given if isinstance(given, list) else ():
            if isinstance(item, Mapping) and isinstance(item.get("name"), str) and item.get("link") in links:
                inputs[item["name"]] = links[item["link"]]
        yield Node(str(row["id"]), kind, inputs, row.get("mode") in (MUTED, BYPASSED))


def _editor_links(rows: object) -> Iterator[tuple[Any, Link]]:
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, list) and len(row) >= 3 and isinstance(row[0], int | str) and isinstance(row[2], int):
            yield row[0], Link(str(row[1]), row[2])
        elif isinstance(row, Mapping) and isinstance(row.get("id"), int | str) and isinstance(row.get("origin_slot"), int):
            yield row["id"], Link(str(row.get("origin_id")), row["origin_slot"])


def _widget_values(kind: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values of a node by name: by their own names, by WIDGETS, else the first text as `text`."""
    values = row.get("widgets_values")
    if isinstance(values, Mapping):
        return {str(name): value for name, value in values.items()}
    if not isinstance(values, Sequence) or isinstance(values, str):
        return {}
    if kind in WIDGETS:
        return {name: value for name, value in zip(WIDGETS[kind], values, strict=False) if name}
    texts = [value for value in values if isinstance(value, str)]
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    return ({"text": texts[0]} if texts else {}) | ({"value": numbers[0]} if numbers and not texts else {})
