"""ComfyUI: the graph that is written is walked as its server would walk it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings

from limner.promptdb.errors import BadInput
from limner.promptdb.records import Conditioning
from limner.tools.prompt_language.comfyui import read_comfyui, read_graph, write_comfyui
from limner.tools.prompt_language.fidelity import worst
from limner.tools.prompt_language.parse import read
from limner.tools.prompt_language.schedule import elapsed_by_step, segments
from tests.tools.prompt_language.prompts import STEPS, conditionings, prompts_of_words

Graph = dict[str, dict[str, Any]]


def of_kind(graph: Graph, kind: str) -> list[dict[str, Any]]:
    return [node["inputs"] for node in graph.values() if node["class_type"] == kind]


def plain(text: str) -> str:
    """Text of a prompt without its emphasis."""
    text = text.replace("\\(", "\ud800").replace("\\)", "\ud801")
    return re.sub(r"\(([^()]*):[\d.]+\)", r"\1", text).replace("\ud800", "(").replace("\ud801", ")")


@settings(deadline=None)
@given(conditionings(), STEPS)
def test_a_chain_of_samplers_says_at_every_step_what_acts_there(conditioning: Conditioning, steps: int) -> None:
    graph = write_comfyui(conditioning, steps).output
    assert json.loads(json.dumps(graph)) == graph
    chain = of_kind(graph, "KSamplerAdvanced")
    assert [inputs["start_at_step"] for inputs in chain] == [0, *(inputs["end_at_step"] for inputs in chain[:-1])]
    assert chain[-1]["end_at_step"] == steps and {inputs["steps"] for inputs in chain} == {steps}
    assert [inputs["add_noise"] for inputs in chain] == ["enable"] + ["disable"] * (len(chain) - 1)
    assert [inputs["return_with_leftover_noise"] for inputs in chain] == ["enable"] * (len(chain) - 1) + ["disable"]
    for name, text, spans in (
        ("positive", conditioning.text, conditioning.spans),
        ("negative", conditioning.negative, conditioning.negative_spans),
    ):
        for inputs in chain:
            said = plain(graph[inputs[name][0]]["inputs"]["text"])
            found = segments(text, spans, elapsed_by_step(steps))
            [expected] = [item for item in found if item.start <= inputs["start_at_step"] < item.stop]
            assert said.replace(" ", "") == expected.text.replace(" ", "")


def test_every_link_of_a_graph_leads_to_a_node_written_before() -> None:
    for steps in (None, 10):
        graph = write_comfyui(read("a [cat:0.5-1:1.5], [dog:0.2-0.7:1]", "[blur:0-0.3:1]"), steps).output
        for name, node in graph.items():
            links = [value for value in node["inputs"].values() if isinstance(value, list)]
            assert all(int(target) < int(name) for target, _ in links)
        assert len(of_kind(graph, "SaveImage")) == 1


def test_equal_texts_are_encoded_once() -> None:
    graph = write_comfyui(read("a [cat:0.5-1:1]"), 10).output
    assert sorted(inputs["text"] for inputs in of_kind(graph, "CLIPTextEncode")) == ["", "a ", "a cat"]


def test_ranges_share_out_the_denoising_with_no_step_in_two() -> None:
    written = write_comfyui(read("a [cat:0.5-1:1][dog:0-0.5:1]"))
    ranges = [(inputs["start"], inputs["end"]) for inputs in of_kind(written.output, "ConditioningSetTimestepRange")]
    assert ranges == [(0.0, 0.4999), (0.5, 1.0)]
    assert len(of_kind(written.output, "ConditioningCombine")) == 1
    assert worst(written.reasons) == "approximate"


def test_how_faithful_it_is() -> None:
    timed, weighted = read("[x:0.85-1:1]"), read("[x:0-1:1.5]")
    assert worst(write_comfyui(timed, 10).reasons) == "exact"
    assert worst(write_comfyui(Conditioning("x")).reasons) == "exact"
    assert worst(write_comfyui(weighted, 10).reasons) == "approximate"
    lerp = Conditioning("x", spans=weighted.spans, weight_mode="lerp_from_empty")
    assert worst(write_comfyui(lerp, 10).reasons) == "exact"


@settings(deadline=None)
@given(prompts_of_words(), STEPS)
def test_there_and_back_keeps_the_steps_and_the_words(conditioning: Conditioning, steps: int) -> None:
    try:
        again, _ = read_graph(write_comfyui(conditioning, steps).output)
    except BadInput as error:  # refused rather than guessed: words repeated so that their order is not told
        assert "one by one" in str(error)
        return
    places = elapsed_by_step(steps)
    said = [
        [("".join(item.text.split()), step) for item in segments(found.text, found.spans, places) for step in range(item.start, item.stop)]
        for found in (conditioning, again)
    ]
    assert said[0] == said[1]


def test_a_graph_comes_back_with_its_ranges_and_weights() -> None:
    prompt = read("a cat, [sharp focus:0-0.5:1.5], [by wlop:0.5-1:1] in snow", "dull, [blurry:0.3-1:1]")
    again, reasons = read_graph(write_comfyui(prompt, 10).output)
    lerp = Conditioning(prompt.text, prompt.negative, prompt.spans, prompt.negative_spans, "lerp_from_empty")
    assert (again, reasons) == (lerp, ())
    ranged, reasons = read_graph(write_comfyui(prompt).output)
    assert (ranged, worst(reasons)) == (lerp, "approximate")


@pytest.mark.parametrize(
    ("prompt", "meant"),
    [
        ("a (cat)", "a [cat:0-1:1.1]"),
        ("a (big (cat:1.5):2)", "a [big:0-1:2] [cat:0-1:1.5]"),
        ("a ((cat) big:2)", "a [cat:0-1:2.2] [big:0-1:2]"),
        (r"a \(cat\) [x|y] c:\d", r"a (cat) \[x|y\] c:\d"),
    ],
)
def test_what_its_notation_means(prompt: str, meant: str) -> None:
    found = read(meant)
    assert read_comfyui(prompt)[0] == Conditioning(found.text, spans=found.spans, weight_mode="lerp_from_empty")


def graph_of(**change: Any) -> Graph:
    graph = write_comfyui(read("a [cat:0.5-1:1]"), 10).output
    for node in graph.values():
        if node["class_type"] == "KSamplerAdvanced":
            node["inputs"].update(change)
    return graph


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        ({"1": {"class_type": "LoadImage", "inputs": {}}}, "no sampler"),
        ({"1": {"class_type": "KSampler", "inputs": {}}}, "no text reaches"),
        ({"1": {"class_type": "KSampler", "inputs": {"positive": ["2", 0]}}, "2": {"class_type": "Odd", "inputs": {}}}, "Odd"),
        ({"1": {"class_type": "KSampler", "inputs": {"positive": ["2", 0]}},
          "2": {"class_type": "ConditioningCombine", "inputs": {"conditioning_1": ["2", 0]}}}, "circle"),
        (graph_of(start_at_step=3), "chain"),
        (graph_of(steps="many"), "numbers"),
        (graph_of(positive=None), "no text reaches"),
    ],
)  # fmt: skip
def test_a_graph_that_is_not_understood_is_refused(graph: Graph, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        read_graph(graph)


def test_words_that_come_and_go_and_come_are_refused() -> None:
    graph = write_comfyui(read("a [cat:0.7-1:1]"), 10).output
    graph |= {"20": {"class_type": "KSamplerAdvanced", "inputs": {**of_kind(graph, "KSamplerAdvanced")[0]}}}
    chain = of_kind(graph, "KSamplerAdvanced")
    chain[1]["end_at_step"], chain[2]["start_at_step"], chain[2]["end_at_step"] = 6, 6, 10
    of_kind(graph, "VAEDecode")[0]["samples"] = ["20", 0]
    chain[2]["latent_image"] = [next(name for name, node in graph.items() if node["inputs"] is chain[1]), 0]
    with pytest.raises(BadInput, match="comes again"):
        read_graph(graph)


def test_ranges_that_overlap_are_refused() -> None:
    graph = write_comfyui(read("a [cat:0.5-1:1]")).output
    of_kind(graph, "ConditioningSetTimestepRange")[0]["end"] = 0.8
    with pytest.raises(BadInput, match="overlap"):
        read_graph(graph)
