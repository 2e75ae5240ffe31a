"""The web page: talk, watch a job, look for prompts, look at runs. Gradio; every button calls the service, and nothing is decided here.

What people and models wrote is shown as text, never as markup. Mounted below the gate, so that its own routes need the token too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import gradio as gr

from promptdb.errors import BadInput
from serve.service.job_files import State
from serve.service.lanes import Busy
from serve.service.requests import OptimizeAsk, SearchAsk
from serve.service.service import Ended, Service, told
from serve.web.views import failed, gallery, hits_table, in_words, job_choices, literal, pair_images, run_rows

PATH = "/web"
STATES: dict[str, State] = {"Pause": "paused", "Stop": "stopped"}
KEPT = "limner-thread"  # under which the browser remembers the conversation
CSS = """
.live progress { width: 10rem; vertical-align: middle; }
.pair img { width: 100% !important; height: 100% !important; object-fit: contain; }
footer { display: none !important; }
@media (max-width: 640px) { .gradio-container { padding: .4rem !important; } }
"""


def build_page(service: Service) -> gr.Blocks:
    with gr.Blocks(title="Limner", analytics_enabled=False, delete_cache=(3600, 86400)) as page:
        gr.Markdown("# Limner\nSay what the picture should show; what comes back is a prompt that draws it better, with the evidence.")
        with gr.Tab("Chat"):
            _chat(service, page)
        if service.jobs is not None:
            with gr.Tab("Optimize"):
                _optimize(service)
        with gr.Tab("Prompts"):
            _prompts(service)
        with gr.Tab("Runs"):
            _runs(service, page)
    return page


def mount(app: Any, service: Service) -> None:
    """The page at /web, with fonts of this machine: nothing is fetched from elsewhere."""
    theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    gr.mount_gradio_app(
        app, build_page(service), PATH, theme=theme, css=CSS, footer_links=[], run_history=False, show_error=False, max_file_size="1mb"
    )


def _client(request: gr.Request) -> str:
    return request.client.host if request.client else "web"


def _chat(service: Service, page: gr.Blocks) -> None:
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
                more = gr.Button("More like it", elem_id="more", min_width=80)
                compare = gr.Button("Compare", elem_id="compare", min_width=80)
                undo = gr.Button("Undo", elem_id="undo", min_width=80)
            with gr.Row(visible=False) as vote:
                left = gr.Image(label="Left", format="png", interactive=False, height=200, buttons=[], elem_classes="pair")
                right = gr.Image(label="Right", format="png", interactive=False, height=200, buttons=[], elem_classes="pair")
            with gr.Row(visible=False) as voting:
                sides = [gr.Button(side.capitalize(), elem_id=f"vote-{side}", min_width=80) for side in ("left", "tie", "right")]
            status = gr.Textbox(label="Now", interactive=False, elem_id="status")
    outputs = [thread, talk, said, shown, vote, voting, left, right, status]

    async def turn(
        kept: str, history: list[Any], text: str, action: dict[str, Any] | None, request: gr.Request
    ) -> AsyncIterator[dict[Any, Any]]:
        words = text.strip() or " ".join(str(value) for value in (action or {}).values() if value)
        history = [*(history or []), {"role": "user", "content": literal(words)}]
        yield {talk: history, said: "", status: "..."}
        try:
            async for event in told(lambda tell: service.act(_client(request), kept, text, action, tell)):
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
            **{left: one, right: other, status: spent},
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

    def select(event: gr.SelectData) -> int:
        return int(event.index) + 1

    def anew() -> dict[Any, Any]:
        return {thread: "", talk: [], shown: [], vote: gr.Row(visible=False), voting: gr.Row(visible=False), status: "a new conversation"}

    page.load(load, [thread], outputs)
    shown.select(select, None, chosen)
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


def _optimize(service: Service) -> None:
    jobs = service.jobs
    assert jobs is not None
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            prompts = gr.Textbox(label="Prompts, one a line", lines=8, elem_id="prompts", max_length=1_000_000)
            with gr.Row():
                budget = gr.Number(label="Pictures at most", value=1000, precision=0, minimum=1, elem_id="budget")
                iterations = gr.Number(label="Iterations", value=6, precision=0, minimum=1, elem_id="iterations")
            start = gr.Button("Start", variant="primary", elem_id="start")
            which = gr.Dropdown(job_choices(jobs.all()), label="Job", elem_id="job", interactive=True)
            with gr.Row():
                halts = [gr.Button(name, elem_id=f"job-{name.lower()}", min_width=80) for name in ("Pause", "Stop", "Resume")]
            export = gr.Button("Export the instruction", elem_id="export")
            preset = gr.Code(label="Preset", language="json", visible=False, elem_id="preset")
            note = gr.Textbox(label="Note", interactive=False, elem_id="note")
        with gr.Column(scale=3, min_width=300):
            live = gr.HTML("<p>Choose or start a job.</p>", elem_id="live", min_height=360)
            grid = gr.Gallery(label="Last pictures", columns=6, height=320, format="png", elem_id="grid")
    timer = gr.Timer(2.0)
    seen = gr.State("")

    def begin(text: str, most: float, rounds: float, request: gr.Request) -> dict[Any, Any]:
        lines = [line for line in (text or "").splitlines() if line.strip()]
        try:
            ask = OptimizeAsk(prompts=[*lines], budget=int(most), iterations=int(rounds))
            record = service.start_job(_client(request), ask)
        except (BadInput, Busy, ValueError) as error:
            return {note: failed(error)}
        return {which: gr.Dropdown(job_choices(jobs.all()), value=record.id), note: "in line"}

    def act(name: str) -> Any:
        def halt(id: str | None, request: gr.Request) -> str:
            if not id or jobs.get(id) is None:
                return "choose a job first"
            try:
                record = (
                    jobs.resume(id, _client(request)) if name == "Resume" else jobs.halt(id, "paused" if name == "Pause" else "stopped")
                )
            except Busy as error:
                return failed(error)
            return record.state

        return halt

    def look(id: str | None, before: str) -> tuple[Any, Any, Any]:
        if not id:
            return gr.skip(), gr.skip(), before
        now = service.job_mark(id)
        if now == before:
            return gr.skip(), gr.skip(), before
        html, pictures = service.job_view(id)
        return html, [(service.images.get(key), text) for key, text in pictures], now

    def handed_over(id: str | None) -> tuple[Any, str]:
        import json

        try:
            document = service.preset(id or "")
        except BadInput as error:
            return gr.Code(visible=False), failed(error)
        return gr.Code(json.dumps(document, ensure_ascii=False, indent=2), visible=True), "exported"

    start.click(begin, [prompts, budget, iterations], [which, note])
    for button in halts:
        button.click(act(str(button.value)), [which], note)
    export.click(handed_over, [which], [preset, note])
    timer.tick(look, [which, seen], [live, grid, seen], show_progress="hidden")
    which.change(lambda: "", None, seen)


def _prompts(service: Service) -> None:
    query = gr.Textbox(label="Words, or a whole prompt", elem_id="query", max_length=1000)
    diverse = gr.Checkbox(label="Hits that are unlike each other")
    found = gr.HTML("", elem_id="found", min_height=200)

    def look(text: str, differing: bool) -> str:
        return hits_table(service.search(SearchAsk(query=text, limit=30, diverse=differing))) if text.strip() else ""

    query.submit(look, [query, diverse], found)
    diverse.change(look, [query, diverse], found)


def _runs(service: Service, page: gr.Blocks) -> None:
    again = gr.Button("Look again", elem_id="runs-again")
    table = gr.Dataframe(headers=["run", "command", "status", "started", "prompt"], interactive=False, elem_id="runs", wrap=True)
    pictures = gr.Gallery(label="Pictures of the run", columns=6, height=320, format="png")
    document = gr.JSON(label="The run")

    def rows() -> list[list[str]]:
        return run_rows(service.runs(100))

    def show(event: gr.SelectData) -> tuple[Any, Any]:
        found = service.runs(100)
        row = event.index[0] if isinstance(event.index, list | tuple) else event.index
        if not 0 <= row < len(found):
            return [], None
        id = found[row]["run"]
        paths = [path for name in service.run_files(id) if name.endswith(".png") and (path := service.run_file(id, name))]
        from PIL import Image

        return [Image.open(path).convert("RGB") for path in paths[:24]], service.run(id)

    page.load(rows, None, table)
    again.click(rows, None, table)
    table.select(show, None, [pictures, document])
