"""ComfyUI's graphs: the prompt is found from any sampler, through whatever stands between, and what is not understood is named."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.promptdb.errors import BadInput
from limner.promptdb.generated.comfyui import read_comfyui
from limner.promptdb.generated.pictures import read_picture
from limner.promptdb.generated.record import Lora
from tests.promptdb.generated.pictures_made import exif, png, webp

Graph = dict[str, Any]


def node(kind: str, **inputs: Any) -> Graph:
    return {"class_type": kind, "inputs": inputs}


def simple(**nodes: Graph) -> Graph:
    """A graph that draws "a tin boat"; nodes replace its own or are added."""
    graph = {
        "1": node("CheckpointLoaderSimple", ckpt_name="models\\seaWorld.safetensors"),
        "2": node("CLIPTextEncode", text="a tin boat", clip=["1", 1]),
        "3": node("CLIPTextEncode", text="people", clip=["1", 1]),
        "4": node("EmptyLatentImage", width=640, height=512, batch_size=1),
        "5": node(
            *("KSampler",),
            **{"seed": 7, "steps": 21, "cfg": 6.5, "sampler_name": "dpmpp_2m", "scheduler": "karras", "denoise": 1},
            **{"model": ["1", 0], "positive": ["2", 0], "negative": ["3", 0], "latent_image": ["4", 0]},
        ),
        "6": node("VAEDecode", samples=["5", 0], vae=["1", 2]),
        "7": node("SaveImage", images=["6", 0], filename_prefix="x"),
    }
    return graph | {name.removeprefix("n"): value for name, value in nodes.items()}


def changed(graph: Graph, id: str, **inputs: Any) -> Graph:
    return graph | {id: {**graph[id], "inputs": {**graph[id]["inputs"], **inputs}}}


def test_a_plain_graph_says_all() -> None:
    found = read_comfyui(simple())
    assert (found.prompt, found.negative, found.seed, found.steps, found.cfg) == ("a tin boat", "people", 7, 21, 6.5)
    assert (found.sampler, found.schedule, found.size, found.model) == ("dpmpp_2m", "karras", (640, 512), "seaWorld")
    assert (found.tool, found.notation, found.notes) == ("comfyui", "comfyui", ())


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"20": node("PrimitiveString", value="a bell")}, "a bell"),
        ({"20": node("Reroute", **{"": ["21", 0]}), "21": node("PrimitiveStringMultiline", value="a bell\nat sea")}, "a bell\nat sea"),
        ({"20": node("StringConcatenate", string_a="a bell", string_b=["21", 0], delimiter=", "),
          "21": node("StringConstantMultiline", string="fog")}, "a bell, fog"),
        ({"20": node("Text Concatenate", delimiter="\\n", clean_whitespace="true", text_a="a bell", text_b="", text_c="fog")},
         "a bell\nfog"),
        ({"20": node("ShowText|pysssss", text=["21", 0], text_0="a bell"), "21": node("CR Prompt Text", prompt="a bell")}, "a bell"),
        ({"20": node("ImpactWildcardProcessor", wildcard_text="a {bell|gong}", populated_text="a bell", mode="fixed")}, "a bell"),
    ],
)  # fmt: skip
def test_texts_come_through_links(source: Graph, said: str) -> None:
    assert read_comfyui(changed(simple(), "2", text=["20", 0]) | source).prompt == said


def test_numbers_come_through_links() -> None:
    graph = changed(simple(), "5", seed=["30", 0], steps=["31", 0], cfg=["32", 0]) | {
        "30": node("Seed (rgthree)", seed=99),
        "31": node("PrimitiveInt", value=33),
        "32": node("Reroute", **{"": ["33", 0]}),
        "33": node("PrimitiveFloat", value=4.5),
    }
    found = read_comfyui(graph)
    assert (found.seed, found.steps, found.cfg, found.notes) == (99, 33, 4.5, ())


def flux(guider: Graph) -> Graph:
    return {
        "6": node("CLIPTextEncode", text="a paper crane", clip=["11", 0]),
        "7": node("CLIPTextEncode", text="ink", clip=["11", 0]),
        "10": node("EmptySD3LatentImage", width=1024, height=768, batch_size=1),
        "11": node("DualCLIPLoader", clip_name1="t5.safetensors", clip_name2="l.safetensors", type="flux"),
        "13": node("SamplerCustomAdvanced", noise=["25", 0], guider=["22", 0], sampler=["16", 0], sigmas=["17", 0], latent_image=["10", 0]),
        "16": node("KSamplerSelect", sampler_name="euler"),
        "17": node("SplitSigmas", sigmas=["18", 0], step=3),
        "18": node("BasicScheduler", scheduler="simple", steps=20, denoise=1, model=["23", 0]),
        "22": guider,
        "23": node("UNETLoader", unet_name="flux1-dev.safetensors", weight_dtype="default"),
        "25": node("RandomNoise", noise_seed=777),
        "26": node("FluxGuidance", guidance=3.5, conditioning=["6", 0]),
    }


def test_guiders_lead_to_the_text_and_distilled_guidance_is_no_cfg() -> None:
    found = read_comfyui(flux(node("BasicGuider", model=["23", 0], conditioning=["26", 0])))
    assert (found.prompt, found.negative, found.seed, found.steps, found.cfg) == ("a paper crane", "", 777, 20, 1.0)
    assert (found.sampler, found.schedule, found.size, found.model) == ("euler", "simple", (1024, 768), "flux1-dev")
    assert found.notes == ("distilled guidance 3.5", "SplitSigmas")
    found = read_comfyui(flux(node("CFGGuider", model=["23", 0], positive=["6", 0], negative=["7", 0], cfg=2.5)))
    assert (found.prompt, found.negative, found.cfg) == ("a paper crane", "ink", 2.5)


def test_a_custom_sampler_and_one_of_another_pack_are_samplers() -> None:
    custom = simple(
        n5=node("SamplerCustom", add_noise=True, noise_seed=3, cfg=5, positive=["2", 0], negative=["3", 0], model=["1", 0],
                sampler=["8", 0], sigmas=["9", 0], latent_image=["4", 0]),
        n8=node("SamplerDPMPP_2M_SDE", eta=1),
        n9=node("KarrasScheduler", steps=12, sigma_max=14, sigma_min=0.03, rho=7),
    )  # fmt: skip
    found = read_comfyui(custom)
    assert (found.seed, found.steps, found.sampler) == (3, 12, "SamplerDPMPP_2M_SDE")
    pack = simple()
    pack["5"] = {**pack["5"], "class_type": "KSampler (Efficient)"}
    assert read_comfyui(pack).seed == 7


def test_networks_clip_skip_and_patches_on_the_way_to_the_model() -> None:
    graph = simple(
        n10=node("LoraLoader", lora_name="style/clay.safetensors", strength_model=0.8, strength_clip=0.7, model=["11", 0], clip=["11", 1]),
        n11=node("LoraLoader", lora_name="ink.safetensors", strength_model=-0.5, strength_clip=1, model=["12", 0], clip=["12", 1]),
        n12=node("Power Lora Loader (rgthree)", lora_1={"on": True, "lora": "fog.safetensors", "strength": 0.3},
                 lora_2={"on": False, "lora": "off.safetensors", "strength": 1}, model=["1", 0], clip=["13", 0]),
        n13=node("CLIPSetLastLayer", stop_at_clip_layer=-2, clip=["1", 1]),
        n14=node("FreeU_V2", b1=1, model=["10", 0]),
    )  # fmt: skip
    graph = changed(changed(graph, "5", model=["14", 0]), "2", clip=["10", 1])
    found = read_comfyui(graph)
    assert set(found.loras) == {Lora("clay", 0.8), Lora("ink", -0.5), Lora("fog", 0.3)} and found.model == "seaWorld"
    assert "FreeU_V2" in found.notes


def test_clip_skip_is_named() -> None:
    graph = changed(simple(n13=node("CLIPSetLastLayer", stop_at_clip_layer=-2, clip=["1", 1])), "2", clip=["13", 0])
    assert read_comfyui(graph).notes == ("CLIP skip 2",)


def test_conditionings_that_are_joined_passed_on_or_not_understood() -> None:
    graph = simple(
        n20=node("ConditioningCombine", conditioning_1=["2", 0], conditioning_2=["21", 0]),
        n21=node("CLIPTextEncode", text="storm", clip=["1", 1]),
        n22=node("ControlNetApplyAdvanced", positive=["20", 0], negative=["3", 0], control_net=["40", 0], image=["41", 0], strength=1),
        n23=node("Odd Conditioning Thing", conditioning=["22", 0]),
    )
    found = read_comfyui(changed(graph, "5", positive=["23", 0], negative=["22", 1]))
    assert (found.prompt, found.negative) == ("a tin boat, storm", "people")
    assert found.notes == ("Odd Conditioning Thing", "ControlNetApplyAdvanced", "ConditioningCombine")


def test_the_pass_that_begins_is_read_and_the_others_are_named() -> None:
    graph = simple(n50=node("LatentUpscale", samples=["5", 0], width=1280, height=1024))
    graph["51"] = changed(graph, "5", latent_image=["50", 0], denoise=0.4, steps=9)["5"]
    found = read_comfyui(changed(graph, "6", samples=["51", 0]))
    assert (found.steps, found.size, found.notes) == (21, (640, 512), ("KSampler 51, another pass",))


def test_a_picture_to_begin_with_and_denoise_are_named() -> None:
    graph = changed(simple(n60=node("VAEEncode", pixels=["61", 0], vae=["1", 2]), n61=node("LoadImage", image="a.png")), "5",
                    latent_image=["60", 0], denoise=0.55)  # fmt: skip
    assert {"denoise 0.55", "VAEEncode, a picture to begin with"} <= set(read_comfyui(graph).notes)


def editor() -> Graph:
    rows = [
        (1, "CheckpointLoaderSimple", ["sea.safetensors"], []),
        (2, "CLIPTextEncode", ["a tin boat"], [("clip", 11)]),
        (3, "CLIPTextEncode", [""], [("clip", 12)]),
        (4, "EmptyLatentImage", [640, 512, 1], []),
        (5, "KSampler", [7, "randomize", 21, 6.5, "euler", "normal", 1],
         [("model", 13), ("positive", 14), ("negative", 15), ("latent_image", 16)]),
        (8, "PrimitiveNode", ["a copper boat", "fixed"], []),
        (9, "Reroute", None, [("", 17)]),
    ]  # fmt: skip
    nodes = [
        {"id": id, "type": kind, "widgets_values": values, "inputs": [{"name": name, "link": link} for name, link in inputs]}
        for id, kind, values, inputs in rows
    ]
    links = [[11, 1, 1, 2, 0, "CLIP"], [12, 1, 1, 3, 0, "CLIP"], [13, 1, 0, 5, 0, "MODEL"], [14, 9, 0, 5, 1, "*"], [15, 3, 0, 5, 2, "*"],
             [16, 4, 0, 5, 3, "LATENT"], [17, 2, 0, 9, 0, "*"], [18, 8, 0, 2, 1, "STRING"]]  # fmt: skip
    return {"last_node_id": 9, "last_link_id": 18, "nodes": nodes, "links": links, "version": 0.4}


def test_the_editors_form_is_read_by_the_order_of_its_values() -> None:
    found = read_comfyui(editor())
    assert (found.prompt, found.seed, found.steps, found.cfg, found.size, found.model) == ("a tin boat", 7, 21, 6.5, (640, 512), "sea")
    typed = editor()
    typed["nodes"][1]["inputs"].append({"name": "text", "link": 18, "widget": {"name": "text"}})
    assert read_comfyui(typed).prompt == "a copper boat"


def test_the_editors_form_without_a_sampler_says_what_to_do() -> None:
    lone = {"last_node_id": 6, "nodes": [{"id": 6, "type": "CLIPTextEncode", "widgets_values": ["a fox"]}], "links": [], "version": 0.4}
    with pytest.raises(BadInput, match="export it in API form"):
        read_comfyui(lone)


def test_nan_and_graphs_in_webp_are_read(tmp_path: Path) -> None:
    text = json.dumps(simple() | {"7": {**node("SaveImage", images=["6", 0]), "is_changed": [float("nan")]}})
    assert "NaN" in text
    (tmp_path / "a.png").write_bytes(png({"prompt": text, "workflow": json.dumps(editor())}, "iTXt packed"))
    (tmp_path / "b.webp").write_bytes(webp(exif(plain={0x010F: f"workflow:{json.dumps(editor())}", 0x0110: f"prompt:{text}"})))
    (tmp_path / "c.png").write_bytes(png({"workflow": json.dumps(editor())}))
    assert [read_picture(tmp_path / name).model for name in ("a.png", "b.webp", "c.png")] == ["seaWorld", "seaWorld", "sea"]


def doubling(kind: str, first: str, second: str, last: Graph) -> Graph:
    """A chain in which each node takes the one before it twice: 2**100 ways through a hundred nodes."""
    chain = {str(100 + step): node(kind, **{first: [str(101 + step), 0], second: [str(101 + step), 0]}) for step in range(100)}
    return chain | {"200": last}


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        (simple(n2=node("CLIPTextEncode", text=["20", 0]), n20=node("StringConcatenate", string_a=["20", 0], string_b="x")), "circle"),
        (changed(simple(n20=node("ConditioningCombine", conditioning_1=["20", 0])), "5", positive=["20", 0]), "circle"),
        (changed(simple(n20=node("FreeU", model=["21", 0]), n21=node("FreeU", model=["20", 0])), "5", model=["20", 0]), "circle"),
        (changed(simple(n20=node("LatentUpscale", samples=["20", 0])), "5", latent_image=["20", 0]), "circle"),
        ({"1": node("LoadImage")}, "no sampler"),
        (changed(simple(), "5", positive=["404", 0]), "no text reaches"),
        (changed(simple(n20=node("Odd")), "5", positive=["20", 0]), "no text reaches KSampler 5 of the graph past Odd"),
        (changed(simple(), "2", text=["70", 0]) | {str(n): node("Reroute", x=[str(n + 1), 0]) for n in range(70, 2000)}, "in a row"),
        (changed(simple(), "2", text=["100", 0])
         | doubling("StringConcatenate", "string_a", "string_b", node("PrimitiveString", value="ab")), "characters"),
        ({"prompt": 3}, "no node graph"),
        ([], "no node graph"),
        ({str(number): node("Note") for number in range(20_001)}, "at most"),
    ],
)  # fmt: skip
def test_graphs_that_say_no_prompt_are_refused_in_one_line(graph: Any, words: str) -> None:
    began = time.monotonic()
    with pytest.raises(BadInput, match=words) as caught:
        read_comfyui(graph)
    assert "\n" not in str(caught.value) and time.monotonic() - began < 5


def test_a_text_that_is_reached_in_many_ways_counts_once() -> None:
    graph = changed(simple(), "5", positive=["100", 0]) | doubling(
        "ConditioningCombine", "conditioning_1", "conditioning_2", node("CLIPTextEncode", text="one bell")
    )
    assert read_comfyui(graph).prompt == "one bell"


VALUES = st.one_of(
    *(st.none(), st.integers(), st.floats(), st.text(max_size=8), st.lists(st.integers(0, 9), max_size=3)),
    st.dictionaries(st.text(), st.none()),
    st.tuples(st.sampled_from(["1", "2", "3", "4", "5", "6", "7"]), st.integers(-1, 3)).map(list),
)


NAMES = st.sampled_from(
    ["text", "seed", "steps", "cfg", "positive", "negative", "model", "clip", "latent_image", "samples", "width", "lora_name"]
)


@given(st.sampled_from(["2", "3", "4", "5", "6"]), st.dictionaries(NAMES, VALUES))
def test_whatever_stands_in_the_inputs_nothing_but_a_refusal_is_raised(id: str, inputs: Graph) -> None:
    try:
        read_comfyui(changed(simple(), id, **inputs))
    except BadInput as error:
        assert "\n" not in str(error)
