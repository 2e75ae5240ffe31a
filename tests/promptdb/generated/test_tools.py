"""Pictures and lists of the other tools: what each says, by its own keys, and what is named instead of carried."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.promptdb.errors import BadInput
from limner.promptdb.generated.civitai import is_civitai, read_civitai
from limner.promptdb.generated.pictures import generated_by, read_picture
from limner.promptdb.generated.record import Generated, Lora
from tests.promptdb.generated.pictures_made import exif, jpeg, png, webp

INVOKE = {
    "generation_mode": "sdxl_txt2img", "positive_prompt": "a glass heron", "negative_prompt": "fog", "width": 1024, "height": 768,
    "seed": 12345, "cfg_scale": 7.5, "steps": 30, "scheduler": "euler_k", "clip_skip": 0, "hrf_enabled": False,
    "model": {"key": "k", "hash": "blake3:a", "name": "Heronry", "base": "sdxl", "type": "main"},
    "loras": [{"model": {"name": "glass"}, "weight": 0.6}, {"lora": {"model_name": "older"}, "weight": 1}],
    "controlnets": [{"control_weight": 1}], "seamless_x": True, "positive_style_prompt": "stained", "app_version": "5.6.0",
}  # fmt: skip
NOVEL = {
    "prompt": "1girl, {{lantern}}, 1.3::koi::", "steps": 28, "height": 1216, "width": 832, "scale": 5.0, "seed": 22, "sampler": "k_euler",
    "noise_schedule": "karras", "uc": "lowres", "strength": 0.7, "request_type": "Img2ImgRequest",
    "v4_prompt": {"caption": {"base_caption": "1girl", "char_captions": [{"char_caption": "girl, red hat", "centers": []}]}},
}  # fmt: skip
SWARM = {
    "sui_image_params": {
        "prompt": "a moth", "negativeprompt": "dust", "model": "Flux/moth-dev.safetensors", "seed": 13, "steps": 8, "cfgscale": 1.0,
        "width": 1328, "height": 1024, "sampler": "euler", "scheduler": "simple", "loras": ["glass", "ink"], "loraweights": ["0.5", "1"],
        "fluxguidancescale": 3.5, "initimagecreativity": 0.6, "swarm_version": "0.9.8.0",
    }
}  # fmt: skip
FOOOCUS = {
    "prompt": "a moss robot", "negative_prompt": "rust", "styles": "['Fooocus V2', 'MRE Moss']", "performance": "Speed", "steps": 30,
    "resolution": "(1152, 896)", "guidance_scale": 4, "sharpness": 2, "base_model": "juggernaut.safetensors", "refiner_model": "None",
    "sampler": "dpmpp_2m_sde_gpu", "scheduler": "karras", "seed": "5", "lora_combined_1": "offset.safetensors : 0.1",
    "vae": "Default (model)", "version": "Fooocus v2.5.5",
}  # fmt: skip


def test_invokeai() -> None:
    found = generated_by({"invokeai_metadata": json.dumps(INVOKE)})
    assert found is not None
    assert (found.prompt, found.negative, found.seed, found.steps, found.cfg) == ("a glass heron", "fog", 12345, 30, 7.5)
    assert (found.sampler, found.size, found.model) == ("euler_k", (1024, 768), "Heronry")
    assert found.loras == (Lora("glass", 0.6), Lora("older", 1.0)) and found.notation == "invokeai"
    assert found.notes == ("controlnets", "seamless_x true", "positive_style_prompt stained")


def test_invokeai_of_earlier_versions() -> None:
    second = {"model_weights": "sd-1.5", "app_version": "2.3", "image": {"prompt": [{"prompt": "a barn [snow, cars]", "weight": 1}],
              "steps": 50, "cfg_scale": 7.5, "seed": 9, "width": 512, "height": 512, "sampler": "k_lms"}}  # fmt: skip
    found = generated_by({"sd-metadata": json.dumps(second)})
    assert found is not None and (found.prompt, found.negative, found.steps, found.model) == ("a barn", "snow, cars", 50, "sd-1.5")
    found = generated_by({"Dream": '"a barn" -s50 -S42 -W512 -H640 -C7.5 -Ak_lms'})
    assert found is not None and (found.steps, found.seed, found.size, found.cfg, found.sampler) == (50, 42, (512, 640), 7.5, "k_lms")


def test_novelai() -> None:
    found = generated_by({"Software": "NovelAI", "Source": "NovelAI V4", "Description": "x", "Comment": json.dumps(NOVEL)})
    assert found is not None
    assert (found.prompt, found.negative) == ("1girl, {{lantern}}, 1.3::koi::\ngirl, red hat", "lowres")
    assert (found.seed, found.steps, found.cfg, found.sampler, found.schedule) == (22, 28, 5.0, "k_euler", "karras")
    assert (found.size, found.model, found.notation) == ((832, 1216), "NovelAI V4", "novelai")
    assert found.notes == ("strength 0.7", "places of 1 characters", "Img2ImgRequest")


def test_swarmui_in_png_and_in_exif(tmp_path: Path) -> None:
    text = json.dumps(SWARM, indent=2)
    (tmp_path / "a.png").write_bytes(png({"parameters": text}))
    (tmp_path / "a.jpg").write_bytes(jpeg(exif(b"UNICODE\0" + text.encode("utf-16-le"), "II")))
    found, other = read_picture(tmp_path / "a.png"), read_picture(tmp_path / "a.jpg")
    assert found == other and found.tool == "swarmui"
    assert (found.prompt, found.negative, found.cfg, found.size, found.model) == ("a moth", "dust", 1.0, (1328, 1024), "moth-dev")
    assert found.loras == (Lora("glass", 0.5), Lora("ink", 1.0))
    assert found.notes == ("fluxguidancescale 3.5", "initimagecreativity 0.6") and found.labels == ("swarm_version 0.9.8.0",)


def test_fooocus_by_its_keys_and_by_its_labels(tmp_path: Path) -> None:
    (tmp_path / "a.webp").write_bytes(webp(exif(b"ASCII\0\0\0" + json.dumps(FOOOCUS).encode(), plain={0x927C: "fooocus"})))
    found = read_picture(tmp_path / "a.webp")
    assert (found.prompt, found.negative, found.seed, found.steps, found.cfg) == ("a moss robot", "rust", 5, 30, 4.0)
    assert (found.sampler, found.schedule, found.size, found.model) == ("dpmpp_2m_sde_gpu", "karras", (1152, 896), "juggernaut")
    assert found.loras == (Lora("offset", 0.1),)
    assert found.notes == ("styles Fooocus V2, MRE Moss", "performance Speed", "sharpness 2")
    labels = {"Prompt": "a moss robot", "Negative Prompt": "", "Styles": "['Fooocus V2']", "Seed": "5", "Version": "Fooocus v2.5.5"}
    shown = generated_by({"parameters": json.dumps(labels), "fooocus_scheme": "fooocus"})
    assert shown is not None and (shown.prompt, shown.seed, shown.tool) == ("a moss robot", 5, "fooocus")


def test_civitai() -> None:
    meta = {"prompt": "score_9, a knight, <lora:armor:0.8>", "negativePrompt": "score_4", "seed": 3, "steps": 30, "sampler": "Euler a",
            "cfgScale": 7, "Model": "pony", "Size": "832x1216", "Clip skip": "2", "hashes": {"model": "ab"}}  # fmt: skip
    document = {"items": [{"id": 1, "width": 8, "height": 8, "meta": meta}, {"id": 2, "meta": None}], "metadata": {}}
    assert is_civitai(document) and not is_civitai({"items": [1]}) and not is_civitai([meta])
    found = read_civitai(document["items"][0])  # type: ignore[index]
    assert (found.prompt, found.negative, found.seed, found.steps, found.cfg) == (meta["prompt"], "score_4", 3, 30, 7.0)
    assert (found.sampler, found.size, found.model, found.loras) == ("Euler a", (832, 1216), "pony", (Lora("armor", 0.8),))
    assert found.notes == ("Clip skip 2",)
    assert read_civitai({"meta": {"id": 5, "meta": meta}}).prompt == meta["prompt"]
    for row in ({"meta": None}, {"meta": {"steps": 3}}, {}, None, 4):
        with pytest.raises(BadInput, match="meta"):
            read_civitai(row)


def test_texts_that_only_begin_like_json_are_prompts() -> None:
    found = generated_by({"parameters": "{a cat, dog}\nSteps: 3, Seed: 1, Size: 8x8"})
    assert found is not None and (found.prompt, found.seed) == ("{a cat, dog}", 1)


def test_the_record_refuses_what_no_encoder_could_read() -> None:
    for prompt in ("x" * 20_001, "a \ud800 cat"):
        with pytest.raises(BadInput):
            Generated(prompt)


ANYTHING: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from([INVOKE, NOVEL, SWARM["sui_image_params"], FOOOCUS]), st.data())
def test_values_of_any_kind_raise_nothing_but_a_refusal(sound: dict[str, Any], data: st.DataObject) -> None:
    changed = dict(sound)
    for name in data.draw(st.lists(st.sampled_from(sorted(sound)), min_size=1, max_size=4)):
        changed[name] = data.draw(ANYTHING)
    text = json.dumps(changed)
    swarm = json.dumps({"sui_image_params": changed})
    for texts in ({"invokeai_metadata": text}, {"Software": "NovelAI", "Comment": text}, {"parameters": swarm},
                  {"parameters": text, "fooocus_scheme": "fooocus"}, {"sd-metadata": json.dumps({"image": changed})}):  # fmt: skip
        try:
            found = generated_by(texts)
            assert found is None or json.dumps(found.to_json())
        except BadInput as error:
            assert "\n" not in str(error)
    try:
        read_civitai({"meta": changed})
    except BadInput as error:
        assert "\n" not in str(error)
