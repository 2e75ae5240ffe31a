"""The editor of DF-Prompts: every stretch of words as a bar over the denoising while one types, and a picture beside its plain words."""

from __future__ import annotations

from typing import Any

import gradio as gr

from limner.promptdb.errors import BadInput
from limner.serve.service.queue import Busy
from limner.serve.service.requests import GenerateAsk
from limner.serve.service.service import Service
from limner.serve.web.views import AT_ONCE, client_of, failed, number_box, opened

EXAMPLE = "a cat in the snow, [watercolor:0.5-1:1], [sharp focus:0.5->0:1.25]"


def editor_tab(service: Service, page: gr.Blocks) -> None:
    offered = list(service.offer.checkpoints)
    with gr.Row():
        with gr.Column(scale=3, min_width=300):
            text = gr.Textbox(EXAMPLE, label="Prompt; [words:range:weight] acts for a while", lines=3, max_length=4000, elem_id="df-text")
            negative = gr.Textbox("", label="Negative prompt, in the same language", max_length=4000, elem_id="df-negative")
            lenient = gr.Checkbox(label="Brackets that begin no triple are text")
            bars = gr.HTML("", elem_id="df-bars", min_height=220)
        with gr.Column(scale=2, min_width=300):
            with gr.Row():
                checkpoint = gr.Dropdown(offered, value=offered[0], label="Checkpoint", elem_id="df-checkpoint", min_width=140)
                seed = number_box("seed", service.settings.seed, elem_id="df-seed", min_width=80)
            draw = gr.Button("Draw", variant="primary", elem_id="df-draw")
            picture = gr.ImageSlider(
                label="The words alone | as written, same seed", interactive=False, height=360, format="png", elem_id="df-picture"
            )
            note = gr.Textbox(label="Now", interactive=False, elem_id="df-note")

    async def preview(words: str, never: str, loose: bool, name: str, number: float, request: gr.Request) -> tuple[Any, str]:
        try:
            plain = service.timeline(words, never, loose)["plain"]
            prompts = list(dict.fromkeys([plain, words]))
            wanted = {"prompts": prompts, "negative": never, "lenient": loose, "checkpoint": name, "seed": int(number or 0)}
            ask = GenerateAsk.model_validate(wanted)
            document = await service.generate(client_of(request), ask)
        except (BadInput, Busy, ValueError) as error:
            return None, failed(error)
        pictures = [opened(row["path"]) for row in document["images"]]
        return (pictures[0], pictures[-1]), f"{len(pictures)} pictures drawn, seed {document['images'][0]['seed']}"

    typed = [text, negative, lenient]
    for event in (text.change, negative.change, lenient.change, page.load):
        event(service.timeline_view, typed, bars, trigger_mode="always_last", **AT_ONCE)
    gr.on([draw.click], preview, [*typed, checkpoint, seed], [picture, note], concurrency_limit=None, show_progress="minimal")
