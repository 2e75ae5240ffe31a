"""How many pictures a second say how they were made, on one core, no pixel decoded.

    python -m benchmarks.pictures [--pictures 1000] [--side 768]

PNGs with A1111's infotext and with a graph of 60 nodes of ComfyUI's, JPEGs with an EXIF comment, a third each, of noise, so that they
have the size of real ones. Claim: at least 500 a second.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from limner.promptdb.generated.pictures import read_picture

INFOTEXT = (
    "an iron bridge in fog, (wet stone:1.2), <lora:rust:0.7>, {number} gulls\nNegative prompt: (worst quality:1.4), blurry, people\n"
    "Steps: 28, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: {number}, Size: 768x768, Model hash: 0a1b, Model: iron, "
    'Denoising strength: 0.42, Clip skip: 2, ADetailer model: face.pt, ADetailer prompt: "calm, still", Hires upscale: 2, Version: v1.10.1'
)


def graph(number: int) -> str:
    """A graph in ComfyUI's API form: one sampler behind 50 networks."""
    nodes: dict[str, Any] = {
        str(10 + step): {
            "class_type": "LoraLoader",
            "inputs": {"lora_name": f"l{step}.safetensors", "strength_model": 0.5, "strength_clip": 0.5}
            | {name: [str(11 + step) if step < 49 else "1", slot] for slot, name in enumerate(("model", "clip"))},
        }
        for step in range(50)
    }
    nodes["1"] = {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "iron.safetensors"}}
    nodes["2"] = {"class_type": "CLIPTextEncode", "inputs": {"text": f"an iron bridge, {number} gulls", "clip": ["10", 1]}}
    nodes["3"] = {"class_type": "CLIPTextEncode", "inputs": {"text": "people", "clip": ["10", 1]}}
    nodes["4"] = {"class_type": "EmptyLatentImage", "inputs": {"width": 768, "height": 768, "batch_size": 1}}
    sampling = {"seed": number, "steps": 28, "cfg": 6.5, "sampler_name": "dpmpp_2m", "scheduler": "karras", "denoise": 1}
    links = {"model": ["10", 0], "positive": ["2", 0], "negative": ["3", 0], "latent_image": ["4", 0]}
    nodes["5"] = {"class_type": "KSampler", "inputs": sampling | links}
    nodes["6"] = {"class_type": "SaveImage", "inputs": {"images": ["5", 0]}}
    return json.dumps(nodes)


def write(folder: Path, count: int, side: int) -> list[Path]:
    """Writes the pictures and returns their paths. Their pixels are the same, to be written fast."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8))
    paths = []
    for number in range(count):
        path = folder / f"{number:05d}{('.png', '.png', '.jpg')[number % 3]}"
        if path.suffix == ".jpg":
            exif = Image.Exif()
            exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + INFOTEXT.format(number=number).encode("utf-16-be")
            noise.save(path, exif=exif, quality=60)
        else:
            texts = PngInfo()
            texts.add_text(*(("parameters", INFOTEXT.format(number=number)) if number % 3 else ("prompt", graph(number))))
            noise.save(path, pnginfo=texts, compress_level=1)
        paths.append(path)
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--side", type=int, default=768)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = write(Path(folder), options.pictures, options.side)
        size = sum(path.stat().st_size for path in paths)
        began, used = time.perf_counter(), time.process_time()
        found = [read_picture(path) for path in paths]
        seconds, used = time.perf_counter() - began, time.process_time() - used
    assert [item.seed for item in found] == list(range(len(paths)))
    print(f"{len(paths)} pictures of {size / 1e6:.0f} MB in {seconds:.2f} s ({used:.2f} s CPU): {len(paths) / seconds:.0f} a second")


if __name__ == "__main__":
    main()
