"""What a graph of ComfyUI's says: from the sampler that begins back to its texts, its model and its size.

A sampler is a KSampler, KSamplerAdvanced, SamplerCustom, SamplerCustomAdvanced with a guider, or any node that has their inputs.
"""

from __future__ import annotations

import re

from limner.promptdb.errors import BadInput
from limner.promptdb.generated.comfyui_graph import Graph, Link, Node, Trail, graph_of
from limner.promptdb.generated.comfyui_text import Walk
from limner.promptdb.generated.record import Generated, note, pixels, real, text, whole

MOST_SAMPLERS = 64
_SAMPLERS = ("KSampler", "KSamplerAdvanced", "SamplerCustom", "SamplerCustomAdvanced")
_RESOLUTION = re.compile(r"\s*(\d{2,6})\s*[x×]\s*(\d{2,6})\b")


def read_comfyui(document: object) -> Generated:
    """Returns what a graph says, in the API form or the editor's. Texts that are combined stand behind one another, and that is noted.

    Raises BadInput for what is no graph, for a graph without a sampler or without a text that reaches it, and for one that runs in a
    circle.
    """
    graph = document if isinstance(document, Graph) else graph_of(document)
    walk = Walk(graph)
    sampler, others = first_sampler(graph)
    walk.notes += [f"{node.kind} {node.id}, another pass" for node in others]
    guider = graph.node(sampler.link("guider"))
    asked = guider or sampler
    positive, negative = (_joined(walk, asked, side) for side in ("positive", "negative"))
    walk.weights(asked.link("model") or sampler.link("model"))
    if not positive:
        met = f" past {', '.join(dict.fromkeys(walk.notes))}"[:200] if walk.notes else ""
        raise BadInput(f"no text reaches {sampler.kind} {sampler.id} of the graph{met}{graph.hint}")
    sigmas = _sigmas(walk, sampler)
    cfg = real(walk.value(asked, "cfg", "cfg_conds"))
    denoise = real(walk.value(sampler, "denoise")) if "denoise" in sampler.inputs else real(walk.value(sigmas, "denoise"))
    if denoise is not None and denoise != 1:
        walk.notes.append(note("denoise", denoise))
    size = _size(walk, sampler)
    return Generated(
        positive,
        negative,
        whole(walk.value(sampler, "seed", "noise_seed", "noise")),
        whole(walk.value(sampler, "steps") or walk.value(sigmas, "steps")),
        1.0 if cfg is None and guider is not None and guider.kind == "BasicGuider" else cfg,
        _sampler_name(walk, sampler),
        text(walk.value(sampler, "scheduler") or walk.value(sigmas, "scheduler")),
        size,
        walk.model,
        tuple(walk.loras.values()),
        "comfyui",
        "comfyui",
        tuple(walk.notes),
    )


def first_sampler(graph: Graph) -> tuple[Node, list[Node]]:
    """Returns the sampler that begins from noise, and the others that a saved picture comes from. Raises BadInput where there is none."""
    samplers = [node for node in graph.nodes.values() if is_sampler(node)][:MOST_SAMPLERS]
    used = {link.node for node in graph.nodes.values() for link in node.links()}
    saved = [node for node in graph.nodes.values() if node.id not in used and re.search("save|preview", node.kind, re.IGNORECASE)]
    reached = {node.id for output in saved[:MOST_SAMPLERS] for node in graph.before(output)}
    samplers = [node for node in samplers if node.id in reached] or samplers
    if not samplers:
        raise BadInput(f"the graph has no sampler, so nothing says which text is the prompt{graph.hint}")
    known = {node.id for node in samplers}
    begins = [node for node in samplers if not any(before.id in known for before in graph.before(node) if before.id != node.id)]
    chosen = (begins or samplers)[0]
    return chosen, [node for node in samplers if node is not chosen]


def is_sampler(node: Node) -> bool:
    """Whether a node samples: one of ComfyUI's own, or one with their inputs."""
    if node.bypassed:
        return False
    own = node.inputs.keys()
    asked = {"positive", "negative"} <= own or "guider" in own
    return node.kind in _SAMPLERS or (asked and bool({"latent_image", "latent", "samples"} & own) and "sampler" in node.kind.lower())


def _joined(walk: Walk, asked: Node, side: str) -> str:
    names = ("positive", "conditioning", "cond1") if side == "positive" else ("negative",)
    pieces = walk.pieces(asked.link(*names), side)
    if any((piece.begin, piece.end) != (0, 1) for piece in pieces):
        walk.notes.append("ConditioningSetTimestepRange")
    return ", ".join(dict.fromkeys(piece.text.strip() for piece in pieces if piece.text.strip()))


def _sigmas(walk: Walk, sampler: Node) -> Node | None:
    """Returns the node that says the steps of a sampler that takes noise levels, behind those that cut or turn them."""
    trail = Trail()
    node = walk.graph.node(sampler.link("sigmas"))
    while node is not None and "steps" not in node.inputs:
        trail = trail.onward(node)
        walk.notes.append(node.kind)
        node = walk.graph.node(node.link("sigmas"))
    return node


def _sampler_name(walk: Walk, sampler: Node) -> str:
    if name := text(walk.value(sampler, "sampler_name")):
        return name
    node = walk.graph.node(sampler.link("sampler"))
    return text(walk.value(node, "sampler_name")) or (node.kind if node else "")


def _size(walk: Walk, sampler: Node) -> tuple[int, int] | None:
    """Returns the size of the latents that a sampler begins with; a picture in their place is named."""
    trail = Trail()
    link: Link | None = sampler.link("latent_image", "latent", "samples")
    while (node := walk.graph.node(link)) is not None:
        trail = trail.onward(node)
        if found := pixels(walk.value(node, "width"), walk.value(node, "height")):
            return found
        if match := _RESOLUTION.match(text(walk.value(node, "resolution"))):
            return pixels(match[1], match[2])
        if node.kind.startswith(("VAEEncode", "LoadImage")):
            walk.notes.append(f"{node.kind}, a picture to begin with")
        link = node.link("samples", "latent_image", "latent", "pixels", "image") or (node.links()[0] if len(node.links()) == 1 else None)
    return None

