"""What was done: runs, newest first, each with its pictures and its document."""

from __future__ import annotations

from typing import Any

import gradio as gr
from PIL import Image

from serve.service.service import Service
from serve.web.views import run_rows

WIDTHS = {"run": "230px", "command": "100px", "status": "100px", "started": "200px", "prompt": "420px"}


def runs_tab(service: Service, page: gr.Blocks) -> None:
    again = gr.Button("Look again", elem_id="runs-again")
    table = gr.Dataframe(
        headers=list(WIDTHS), column_widths=list(WIDTHS.values()), interactive=False, elem_id="runs", wrap=True, max_height=360
    )
    pictures = gr.Gallery(label="Pictures of the run", columns=6, height=320, format="png")
    document = gr.JSON(label="The run", elem_id="run-document", max_height=480)

    def rows() -> list[list[str]]:
        return run_rows(service.runs(100))

    def show(event: gr.SelectData) -> tuple[Any, Any]:
        found = service.runs(100)
        row = event.index[0] if isinstance(event.index, list | tuple) else event.index
        if not 0 <= row < len(found):
            return [], None
        id = found[row]["run"]
        paths = [path for name in service.run_files(id) if name.endswith(".png") and (path := service.run_file(id, name))]
        return [Image.open(path).convert("RGB") for path in paths[:24]], service.run(id)

    page.load(rows, None, table)
    again.click(rows, None, table)
    table.select(show, None, [pictures, document])
