"""What was done: runs, newest first, each with its pictures and its document."""

from __future__ import annotations

from typing import Any

import gradio as gr

from limner.serve.service.service import Service
from limner.serve.web.views import AT_ONCE, opened, run_choices

SHOWN = 24  # pictures of a run


def runs_tab(service: Service, tab: gr.Tab) -> None:
    which = gr.Dropdown([], label="Run, newest first; type to find one", elem_id="run", interactive=True)
    again = gr.Button("Look again", elem_id="runs-again")
    pictures = gr.Gallery(label="Pictures of the run", columns=6, height=320, format="png", elem_id="run-pictures")
    document = gr.JSON(label="The run", elem_id="run-document", max_height=480)

    def known() -> Any:
        return gr.Dropdown(run_choices(service.runs(100)))

    def show(id: str | None) -> tuple[Any, Any]:
        if not id:
            return [], None
        paths = [path for name in service.run_files(id) if name.endswith(".png") and (path := service.run_file(id, name))]
        if paths:
            return [opened(str(path)) for path in paths[:SHOWN]], service.run(id)
        return [(service.images.get(key), text) for key, text in service.drawn_for(id)[:SHOWN]], service.run(id)

    tab.select(known, None, which, **AT_ONCE)
    again.click(known, None, which, **AT_ONCE)
    which.change(show, which, [pictures, document], **AT_ONCE)
