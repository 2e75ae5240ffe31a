"""Jobs: started, watched while they go on, paused, stopped, resumed; what they learned is exported."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr

from limner.graph.plan import DEFAULT_BUDGET
from limner.promptdb.errors import BadInput
from limner.serve.service.jobs import State
from limner.serve.service.queue import Busy
from limner.serve.service.requests import OptimizeAsk
from limner.serve.service.service import Service
from limner.serve.web.views import AT_ONCE, client_of, failed, job_choices, number_box, picture_grid

LOOK_SECONDS = 3.0  # between looks at the job
GOING_ON = ("waiting", "running")
STATES: dict[str, State] = {"Pause": "paused", "Stop": "stopped"}


def optimize_tab(service: Service, page: gr.Blocks) -> None:
    jobs = service.jobs
    assert jobs is not None
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            prompts = gr.Textbox(label="Prompts, one a line", lines=8, elem_id="prompts", max_length=1_000_000)
            with gr.Row():
                budget = number_box("budget", DEFAULT_BUDGET)
                iterations = number_box("iterations")
            start = gr.Button("Start", variant="primary", elem_id="start")
            which = gr.Dropdown([], label="Job", elem_id="job", interactive=True)
            with gr.Row():
                halts = [gr.Button(name, elem_id=f"job-{name.lower()}", min_width=80) for name in ("Pause", "Stop", "Resume")]
            note = gr.Textbox(label="Note", interactive=False, elem_id="note")
            export = gr.Button("Export the instruction", elem_id="export")
            preset = gr.Code(label="Preset", language="json", visible=False, elem_id="preset", max_lines=18)
        with gr.Column(scale=3, min_width=300):
            live = gr.HTML("<p>Choose or start a job.</p>", elem_id="live", min_height=360)
            grid = gr.HTML("", elem_id="grid", min_height=120)
    timer = gr.Timer(LOOK_SECONDS, active=False)  # a page that watches nothing costs nothing
    seen = gr.State("")

    def begin(text: str, most: float, rounds: float, request: gr.Request) -> dict[Any, Any]:
        lines = [line for line in (text or "").splitlines() if line.strip()]
        try:
            ask = OptimizeAsk.model_validate({"prompts": lines, "budget": int(most), "iterations": int(rounds)})
            record = service.start_job(client_of(request), ask)
        except (BadInput, Busy, ValueError) as error:
            return {note: failed(error)}
        return {which: gr.Dropdown(job_choices(jobs.all()), value=record.id), note: f"taken on: {record.id}"}

    def known() -> Any:
        choices = job_choices(jobs.all())
        return gr.Dropdown(choices, value=choices[0][1] if choices else None)

    def act(name: str) -> Any:
        def halt(id: str | None, request: gr.Request) -> str:
            if not id or jobs.get(id) is None:
                return "choose a job first"
            try:
                record = jobs.halt(id, STATES[name]) if name in STATES else jobs.resume(id, client_of(request))
            except Busy as error:
                return failed(error)
            return record.state

        return halt

    def look(id: str | None, before: str) -> tuple[Any, Any, Any, Any]:
        record = jobs.get(id) if id else None
        if id is None or record is None:
            return gr.skip(), gr.skip(), before, gr.Timer(active=False)
        going_on = gr.skip() if record.state in GOING_ON else gr.Timer(active=False)
        now = service.job_mark(id)
        if now == before:
            return gr.skip(), gr.skip(), before, going_on
        html, pictures = service.job_view(id)
        return html, picture_grid(pictures), now, going_on

    def watch(id: str | None) -> Any:
        return gr.Timer(active=bool(id))

    def handed_over(id: str | None) -> tuple[Any, str]:
        try:
            document = service.preset(id or "")
        except BadInput as error:
            return gr.Code(visible=False), failed(error)
        return gr.Code(json.dumps(document, ensure_ascii=False, indent=2), visible=True), "exported"

    page.load(known, None, which, **AT_ONCE)
    start.click(begin, [prompts, budget, iterations], [which, note])
    for button in halts:
        button.click(act(str(button.value)), [which], note).then(watch, which, timer, **AT_ONCE)
    export.click(handed_over, [which], [preset, note])
    timer.tick(look, [which, seen], [live, grid, seen, timer], **AT_ONCE)
    which.change(lambda id: ("", watch(id)), which, [seen, timer], **AT_ONCE)
