"""Prompts that come with settings: taken apart, carried by the target's own names, and what is lost is told by name."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.promptdb.errors import BadInput
from limner.promptdb.generated.a1111 import read_infotext
from limner.promptdb.generated.comfyui import read_comfyui
from limner.promptdb.generated.record import Generated, Lora
from limner.promptdb.records import Conditioning, Drawing, SamplerSettings
from limner.tools.prompt_language.convert import convert
from limner.tools.prompt_language.infotext import CHECKPOINT, infotext, infotext_of
from limner.tools.prompt_language.parse import read
from limner.tools.prompt_language.samplers import SAMPLERS, parted, sampler_named, schedule_named

SETTINGS = "Steps: 24, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 5.5, Seed: 42, Size: 512x768"


def graph(text: str = "a clay owl, (lamp:1.15), embedding:cozy", **more: Any) -> str:
    nodes: dict[str, Any] = {
        "3": {"class_type": "KSampler", "inputs": {
            "seed": 42, "steps": 24, "cfg": 5.5, "sampler_name": "dpmpp_2m", "scheduler": "karras", "denoise": 1,
            "model": ["10", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]}},
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "toys.safetensors"}},
        "10": {"class_type": "LoraLoader", "inputs": {
            "lora_name": "clay.safetensors", "strength_model": 0.8, "strength_clip": 0.8, "model": ["4", 0], "clip": ["11", 0]}},
        "11": {"class_type": "CLIPSetLastLayer", "inputs": {"stop_at_clip_layer": -2, "clip": ["4", 1]}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 768, "batch_size": 1}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": text, "clip": ["10", 1]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["10", 1]}},
    }  # fmt: skip
    return json.dumps(nodes | more)


def test_pasted_infotext_becomes_a_graph_with_its_settings() -> None:
    done = convert(f"a red car\nNegative prompt: fog\n{SETTINGS}, Version: v1.9.4", "comfyui", "a1111")
    found = read_comfyui(done.written.output)
    assert (found.prompt, found.negative, found.seed, found.steps, found.cfg) == ("a red car", "fog", 42, 24, 5.5)
    assert (found.sampler, found.schedule, found.size) == ("dpmpp_2m", "karras", (512, 768))
    assert done.fidelity == "exact" and any("Version v1.9.4" in reason.why for reason in done.reasons)
    (loader,) = (node for node in done.written.output.values() if node["class_type"] == "CheckpointLoaderSimple")
    assert loader["inputs"] == {"ckpt_name": CHECKPOINT}


def test_what_is_not_carried_makes_it_unsupported_and_is_named() -> None:
    done = convert(f"a car\n{SETTINGS}, Clip skip: 2, ControlNet 0: \"Module: depth, Weight: 0.8\"", "comfyui")
    assert done.fidelity == "unsupported"
    assert {"Clip skip 2 is not carried"} <= {reason.why for reason in done.reasons}
    assert any(reason.why.startswith("ControlNet 0") for reason in done.reasons)


def test_networks_of_tags_become_nodes_and_come_back_as_tags() -> None:
    done = convert(f"a car <lora:rust:0.7>, fog\n{SETTINGS}", "comfyui")
    found = read_comfyui(done.written.output)
    assert (found.prompt, found.loras) == ("a car, fog", (Lora("rust", 0.7),))
    again = convert(json.dumps(done.written.output), "a1111")
    assert (again.written.output, again.fidelity) == ("a car, fog <lora:rust:0.7>", "exact")
    assert ", ".join(f"{key}: {value}" for key, value in again.settings.items()) == f"{SETTINGS}, Model: YOUR_CHECKPOINT"


def test_infotext_to_a1111_keeps_every_character() -> None:
    text = "a car  <lora:rust:0.7>,\n [fog:sun:0.4] (x:1.21)"
    assert convert(f"{text}\n{SETTINGS}", "a1111").written.output == text


def test_a_graph_names_what_it_loses_in_every_target() -> None:
    done = convert(graph(), "a1111")
    assert done.written.output == "a clay owl, (lamp:1.15), cozy <lora:clay:0.8>" and done.written.negative == "blurry"
    assert "CLIP skip 2 is not carried" in {reason.why for reason in done.reasons} and done.settings["Model"] == "toys"
    done = convert(graph(), "compel")
    said = " | ".join(reason.why for reason in done.reasons)
    for name in ("LoRA clay 0.8", "CLIP skip 2", "embedding cozy", "Steps 24", "Seed 42", "Sampler DPM++ 2M"):
        assert name in said
    assert done.fidelity == "unsupported"


def test_nodes_that_are_not_understood_are_named() -> None:
    odd = {"8": {"class_type": "Mood Shifter", "inputs": {"conditioning": ["6", 0]}}}
    nodes = json.loads(graph()) | odd
    nodes["3"]["inputs"]["positive"] = ["8", 0]
    assert "Mood Shifter is not carried" in {reason.why for reason in convert(json.dumps(nodes), "a1111").reasons}


def test_times_in_an_infotext_take_its_own_steps() -> None:
    done = convert(f"a [cat:6] \n{SETTINGS}", "comfyui")
    assert [node["inputs"]["start_at_step"] for node in done.written.output.values() if node["class_type"] == "KSamplerAdvanced"] == [0, 6]
    assert {node["inputs"]["noise_seed"] for node in done.written.output.values() if node["class_type"] == "KSamplerAdvanced"} == {42}


def test_a_break_is_told_and_the_rest_is_carried() -> None:
    done = convert(f"a car, BREAK\nfog\nNegative prompt: dust BREAK rain\n{SETTINGS}", "comfyui")
    found = read_comfyui(done.written.output)
    assert (found.prompt, found.negative, found.seed) == ("a car, fog", "dust, rain", 42)
    assert "BREAK" in {reason.words for reason in done.reasons} and done.fidelity == "unsupported"


def test_infotext_is_refused_where_its_parts_clash() -> None:
    for text, negative in ((f"a car\n{SETTINGS}", "fog"), (SETTINGS, "")):
        with pytest.raises(BadInput):
            convert(text, "comfyui", negative=negative)
    assert convert(f"a car\n{SETTINGS}", "a1111", "df").settings == {}  # said to be of another dialect


def test_our_pictures_tell_others_how_they_were_made() -> None:
    """The A1111 writer makes the text: brackets are escaped, timing and weight stand in its notation, the sampler has its name."""
    drawing = Drawing(read("a cat (tabby), [sharp focus:0-0.5:1.25]", "fog"), 5, SamplerSettings(steps=10, width=64, height=96), "w")
    assert infotext_of(drawing, "miniature").splitlines() == [
        r"a cat \(tabby\), [(sharp focus:1.25):5]",
        "Negative prompt: fog",
        "Steps: 10, Sampler: DDIM, CFG scale: 7.5, Seed: 5, Size: 64x96, Model: miniature, Version: limner",
    ]


@given(
    st.integers(0, 2**63), st.integers(1, 150), st.sampled_from([item.a1111 for item in SAMPLERS if item.a1111]),
    st.sampled_from(["", "Karras", "SGM Uniform", "Beta"]), st.text(st.characters(categories=["L", "N", "P", "Zs"]), max_size=20),
)  # fmt: skip
def test_settings_come_back_from_our_infotext(seed: int, steps: int, sampler: str, schedule: str, model: str) -> None:
    made = Generated("", "", seed, steps, 4.5, sampler, schedule, (64, 128), model.strip())
    found = read_infotext(infotext(Conditioning("a cat", "a dog"), made))
    assert (found.prompt, found.negative, found.seed, found.steps, found.cfg) == ("a cat", "a dog", seed, steps, 4.5)
    assert (found.sampler, found.schedule, found.size, found.model) == (sampler, schedule, (64, 128), model.strip())


@given(st.integers(0, 2**63), st.integers(1, 150), st.sampled_from([item.comfyui for item in SAMPLERS if item.a1111 and item.comfyui]))
def test_settings_survive_the_way_to_a1111_and_back(seed: int, steps: int, sampler: str) -> None:
    nodes = json.loads(graph("a cat"))
    nodes["3"]["inputs"] |= {"seed": seed, "steps": steps, "sampler_name": sampler}
    done = convert(json.dumps(nodes), "a1111")
    text = f"{done.written.output}\nNegative prompt: {done.written.negative}\n" + ", ".join(f"{k}: {v}" for k, v in done.settings.items())
    again = read_comfyui(convert(text, "comfyui").written.output)
    assert again == read_comfyui(nodes | {"11": nodes["11"] | {"class_type": "Reroute", "inputs": {"": ["4", 1]}}})


def test_every_sampler_is_found_by_each_of_its_names() -> None:
    for item in SAMPLERS:
        for name in (item.a1111, item.comfyui, item.diffusers):
            assert name is None or sampler_named(name) == item
    assert sampler_named("k_euler_ancestral") == sampler_named("Euler a") and sampler_named("dpmpp_sde_gpu") == sampler_named("DPM++ SDE")
    assert sampler_named("") is None and sampler_named("odd") is None
    assert parted("DPM++ 2M Karras", "") == ("DPM++ 2M", "Karras") and parted("Karras", "") == ("Karras", "")
    assert schedule_named("karras", "a1111") == "Karras" and schedule_named("Automatic", "comfyui") == "normal"
    assert schedule_named("odd", "comfyui") is None


def test_names_of_diffusers_are_those_that_checkpoints_take() -> None:
    diffusers = pytest.importorskip("diffusers")
    assert all(hasattr(diffusers, item.diffusers) for item in SAMPLERS if item.diffusers)


def test_a_sampler_without_a_name_in_the_target_is_told() -> None:
    done = convert(re.sub("DPM\\+\\+ 2M", "Restart", f"a car\n{SETTINGS}"), "comfyui")
    assert done.fidelity == "unsupported" and any("Restart has no name in ComfyUI" in reason.why for reason in done.reasons)
