"""The conversation: what is said, the pictures to choose from, the chosen one beside the plain one, blind votes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import gradio as gr

from limner.promptdb.errors import BadInput
from limner.serve.service.queue import Busy
from limner.serve.service.service import Ended, Service, with_progress
from limner.serve.web.views import AT_ONCE, client_of, failed, gallery, in_words, literal, pair_images, prompt_of

KEPT = "limner-thread"  # under which the browser remembers the conversation


def chat_tab(service: Service, page: gr.Blocks) -> None:
    thread = gr.BrowserState("", storage_key=KEPT, secret=KEPT)
    chosen = gr.State(0)
    with gr.Row():
        with gr.Column(scale=3, min_width=300):
            talk = gr.Chatbot(label="Conversation", height=420, render_markdown=False, buttons=["copy"], elem_id="talk")
            said = gr.Textbox(label="Say", placeholder="a castle at night; then: the second, in winter", elem_id="said", max_length=4000)
            with gr.Row():
                send = gr.Button("Send", variant="primary", elem_id="send", min_width=80)
                stop = gr.Button("Stop", elem_id="stop", min_width=80)
                new = gr.Button("New", elem_id="new", min_width=80)
        with gr.Column(scale=2, min_width=300):
            shown = gr.Gallery(label="Pictures: choose one", columns=2, height=420, format="png", allow_preview=False, elem_id="shown")
            with gr.Row():
                accept = gr.Button("Accept", elem_id="accept", min_width=80)
                more = gr.Button("Similar", elem_id="more", min_width=80)
                compare = gr.Button("Compare", elem_id="compare", min_width=80)
                undo = gr.Button("Undo", elem_id="undo", min_width=80)
            status = gr.Textbox(label="Now", interactive=False, elem_id="status")
            words = gr.Textbox(label="Prompt of the picture", interactive=False, lines=2, buttons=["copy"], elem_id="words")
            with gr.Row(visible=False) as vote:
                left = gr.Image(label="Left", format="png", interactive=False, height=200, buttons=[], elem_classes="pair")
                right = gr.Image(label="Right", format="png", interactive=False, height=200, buttons=[], elem_classes="pair")
            with gr.Row(visible=False) as voting:
                sides = [gr.Button(side.capitalize(), elem_id=f"vote-{side}", min_width=80) for side in ("left", "tie", "right")]
            slider = gr.ImageSlider(label="Plain words | the chosen picture", interactive=False, height=300, format="png", elem_id="beside")
    outputs = [thread, talk, said, shown, slider, chosen, vote, voting, left, right, status, words]

    async def turn(
        kept: str, history: list[Any], text: str, action: dict[str, Any] | None, request: gr.Request
    ) -> AsyncIterator[dict[Any, Any]]:
        words = text.strip() or " ".join(str(value) for value in (action or {}).values() if value)
        history = [*(history or []), {"role": "user", "content": literal(words)}]
        yield {talk: history, said: "", status: "..."}
        try:
            async for event in with_progress(lambda tell: service.act(client_of(request), kept, text, action, tell)):
                if isinstance(event, Ended):
                    payload = event.result
                    history = [*history, {"role": "assistant", "content": literal(payload["reply"])}]
                    yield {thread: payload["thread"], talk: history, **view(payload)}
                elif line := in_words(event):
                    yield {status: line}
        except (BadInput, Busy) as error:
            yield {talk: [*history, {"role": "assistant", "content": literal(failed(error))}], status: ""}

    def view(payload: dict[str, Any]) -> dict[Any, Any]:
        pair = payload["pair"] is not None
        one, other = pair_images(service.images, payload)
        pictures = [] if pair else gallery(service.images, payload)
        spent = f"{payload['used']['images']} of {payload['cap']} pictures drawn"
        return {
            **{shown: gr.Gallery(pictures, selected_index=None), vote: gr.Row(visible=pair), voting: gr.Row(visible=pair)},
            **{left: one, right: other, status: spent, slider: None, chosen: 0},
            words: "" if pair else prompt_of(payload),
        }

    async def speak(kept: str, history: list[Any], text: str, request: gr.Request) -> AsyncIterator[dict[Any, Any]]:
        if text.strip():
            async for update in turn(kept, history, text, None, request):
                yield update
        else:
            yield {status: ""}

    def acting(kind: str, **fixed: Any) -> Any:
        async def act(kept: str, history: list[Any], number: int, request: gr.Request) -> AsyncIterator[dict[Any, Any]]:
            action = {"kind": kind, **fixed} | ({"image": number or 1} if kind in ("accept", "more") else {})
            async for update in turn(kept, history, "", action, request):
                yield update

        return act

    def load(kept: str) -> dict[Any, Any]:
        """The conversation that this browser had, where the server still knows it."""
        try:
            payload = service.chats.view(kept)
            turns = service.chats.history(kept)
        except BadInput:
            return {thread: "", status: "no conversation yet"}
        said_by = [pair for item in turns for pair in (("user", item.said), ("assistant", item.reply))]
        history = [{"role": role, "content": literal(text)} for role, text in said_by]
        return {talk: history, **view(payload)}

    def select(kept: str, event: gr.SelectData) -> tuple[int, Any, str, str]:
        number = int(event.index) + 1
        try:
            payload = service.chats.view(kept)
            keys, text = service.beside_plain(payload, number), prompt_of(payload, number)
        except BadInput as error:
            return number, None, failed(error), ""
        if keys is None:
            return number, None, f"picture {number}; your words alone were not drawn on its seed", text
        return number, tuple(service.images.get(key) for key in keys), f"picture {number}, beside your words alone on the same seed", text

    def anew() -> dict[Any, Any]:
        nothing: dict[Any, Any] = {thread: "", talk: [], shown: [], slider: None, chosen: 0, status: "a new conversation", words: ""}
        return {**nothing, vote: gr.Row(visible=False), voting: gr.Row(visible=False)}

    page.load(load, [thread], outputs, **AT_ONCE)
    shown.select(select, [thread], [chosen, slider, status, words], **AT_ONCE)
    limit = {"concurrency_limit": None, "show_progress": "hidden"}
    running = [
        send.click(speak, [thread, talk, said], outputs, **limit),
        said.submit(speak, [thread, talk, said], outputs, **limit),
        *(
            button.click(acting(kind), [thread, talk, chosen], outputs, **limit)
            for button, kind in ((accept, "accept"), (more, "more"), (compare, "compare"), (undo, "undo"))
        ),
        *(
            button.click(acting("vote", choice=side), [thread, talk, chosen], outputs, **limit)
            for button, side in zip(sides, ("left", "tie", "right"), strict=True)
        ),
    ]
    stop.click(lambda: "stopped; what was drawn is kept", None, status, cancels=running)
    new.click(anew, None, outputs, cancels=running)
