"""What `runs export` hands over: each form is what its target loads, for instructions and for prompts."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from limner.graph.settings import Settings
from limner.promptdb.errors import BadInput
from limner.promptdb.generated.a1111 import read_infotext
from limner.promptdb.records import Conditioning, Drawing, EffectSpan, Instruction, Run, SamplerSettings
from limner.promptdb.runs import Runs
from limner.promptdb.store import PromptDB
from limner.promptdb.trials import Arm, Trial, Trials
from limner.serve.commands.export import exported, preset
from limner.tools.prompt_language.document import from_document
from tests.commands import command

CONDITIONING = Conditioning("a cat, sharp focus", 'blurry, "dull"', (EffectSpan(7, 18, "1/2", 1, "1.25"),))  # type: ignore[arg-type]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    chosen = Settings(out=str(tmp_path))
    with PromptDB.open(chosen.database) as db:
        row = {"delta": 0.1}
        db.add_conditionings([CONDITIONING])
        Runs(db).start(Run("refined", "refine", "a cat", {"seed": 7, "steps": 4, "guidance_scale": None}))
        for steps, seed in ((20, 7), (4, 2**31)):  # another run drew it, too
            drawing = Drawing(CONDITIONING, seed, SamplerSettings(steps=steps, guidance_scale=2, height=96), "weights")
            db.add_drawing(drawing, None, 1, "cpu")
        result = {"text": CONDITIONING.text, "negative": CONDITIONING.negative, "df_prompt": None, "conditioning_id": CONDITIONING.id}
        Runs(db).finish(
            "refined", "done", {"result": result, "improved": True, "scores": {"hps": row}, "checkpoint": "m", "prompt": "a cat"}
        )
        Runs(db).start(Run("talked", "chat", "a cat", {"seed": 3}))
        chat: dict[str, Any] = {"result": {"conditioning": Conditioning("a dog").to_json()}, "improved": False, "scores": {}}
        chat["prompt"] = "a cat"
        Runs(db).finish("talked", "done", chat)
        Runs(db).start(Run("learned", "optimize", "file"))
        trials, arm = Trials(db, "learned"), Instruction("Ask for sharp focus.")
        trials.add_arms([Arm(arm, -1)])
        for place, noun in enumerate(("cat", "dog", "cow")):
            written = Conditioning(f"a {noun}, sharp focus, {noun}ly", "blurry")
            trials.add_trials([Trial(0, arm.id, f"a {noun}", place, written, 1.0, 0.5)])
        found = {"instruction": {"best": arm.text, "initial": arm.text}, "improved": True, "checkpoint": "m", "chat_model": "offline"}
        Runs(db).finish("learned", "done", {**found, "heldout": {}, "heldout_initial": {}})
        Runs(db).start(Run("open", "refine", "a cat"))
    return chosen


def test_a_preset_of_a_prompt_reads_back_as_the_same_conditioning(settings: Settings) -> None:
    for run, conditioning in (("refined", CONDITIONING), ("talked", Conditioning("a dog"))):
        document = json.loads(exported(settings, run, "preset-json"))
        assert document["kind"] == "prompt" and document["request"] == "a cat"
        assert from_document(document["df_prompt"]) == conditioning


def test_a_preset_of_an_instruction_holds_what_its_rewritings_share(settings: Settings) -> None:
    document = preset(settings, "learned")
    assert document["instruction"] == "Ask for sharp focus." and document["positive"] == "sharp focus" and document["negative"] == "blurry"
    assert json.loads(exported(settings, "learned", "preset")) == document  # the older name


def test_a1111_gets_infotext_for_a_prompt_and_styles_for_an_instruction(settings: Settings) -> None:
    found = read_infotext(exported(settings, "refined", "a1111"))
    assert "sharp focus" in found.prompt and "1.25" in found.prompt and found.negative == 'blurry, "dull"'
    assert (found.seed, found.steps, found.cfg, found.size, found.sampler) == (7, 4, 2.0, (64, 96), "DDIM")
    head, style = csv.reader(io.StringIO(exported(settings, "learned", "a1111")))
    assert head == ["name", "prompt", "negative_prompt"] and style[1:] == ["{prompt}, sharp focus", "blurry"]


def test_comfyui_gets_a_graph_for_a_prompt_and_a_style_for_an_instruction(settings: Settings) -> None:
    graph = json.loads(exported(settings, "refined", "comfyui"))
    inputs = {item["class_type"]: item["inputs"] for item in graph.values()}
    assert inputs["CheckpointLoaderSimple"] == {"ckpt_name": "YOUR_CHECKPOINT.safetensors"}
    sampler, size = inputs["KSamplerAdvanced"], inputs["EmptyLatentImage"]
    assert (sampler["noise_seed"], sampler["steps"], sampler["cfg"], sampler["sampler_name"]) == (7, 4, 2.0, "ddim")
    assert (size["width"], size["height"]) == (64, 96)
    (style,) = json.loads(exported(settings, "learned", "comfyui"))
    assert style["prompt"] == "{prompt}, sharp focus" and style["negative_prompt"] == "blurry"


def test_a_run_that_drew_nothing_of_its_prompt_exports_what_it_was_started_with(settings: Settings) -> None:
    assert preset(settings, "talked")["settings"] == {"seed": 3}
    assert json.loads(exported(settings, "talked", "comfyui"))["2"]["inputs"]["width"] == 512
    assert read_infotext(exported(settings, "talked", "a1111")).seed == 3


def test_a_system_prompt_needs_an_instruction(settings: Settings) -> None:
    assert "Ask for sharp focus." in exported(settings, "learned", "system-prompt")
    with pytest.raises(BadInput, match="not an instruction"):
        exported(settings, "refined", "system-prompt")


@pytest.mark.parametrize(("run", "form", "said"), [("open", "a1111", "running"), ("none", "a1111", "no run"), ("learned", "doc", "knows")])
def test_what_cannot_be_exported_is_said(settings: Settings, run: str, form: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        exported(settings, run, form)


@pytest.mark.parametrize(
    "typed", ["a (red:1.2) cat, <lora:ink:0.8>", r"hatsune miku \(vocaloid\), (smile:1.2)", "a cat BREAK a dog", "a red cat"]
)
def test_what_was_typed_is_exported_to_the_letter(
    capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path, typed: str
) -> None:
    seeds = ("--budget", 12, "--search-seeds", 1, "--heldout-seeds", 2, "--steps", 2, "--method", "rewrite")
    done = command(capfd, "refine", typed, "--checkpoint", tiny, "--out", tmp_path, *seeds, "--json").document
    shown = done["result"]["typed"]["prompt"]
    assert done["improved"] or shown == typed
    first = command(capfd, "runs", "export", done["run"], "--to", "a1111", "--out", tmp_path).out.splitlines()[0]
    assert first == shown
    again = command(capfd, "convert", shown, "--from", "a1111", "--to", "df", "--json").document["df_prompt"]["text"]
    assert all(word in again for word in done["prompt"].split())
