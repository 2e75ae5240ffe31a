"""The web page: talk, watch a job, write DF-Prompts, look for prompts, look at runs. Gradio; a file for each tab.

What people and models wrote is shown as text, never as markup. Mounted below the gate, so that its own routes need the token too.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from limner.serve.service.service import Service
from limner.serve.web.chat_tab import chat_tab
from limner.serve.web.editor_tab import editor_tab
from limner.serve.web.optimize_tab import optimize_tab
from limner.serve.web.prompts_tab import prompts_tab
from limner.serve.web.runs_tab import runs_tab

PATH = "/web"
QUEUE_SECONDS = 0.02  # between gradio's looks at its own queue; as it comes, a thousand a second, 3 % of a core by themselves
CSS = """
:root { --lead: #c2410c; --loss: #1d6fa5; }
.dark { --lead: #fb923c; --loss: #7cc0ee; }
.live progress { width: 10rem; vertical-align: middle; accent-color: var(--lead); }
#shown .caption-label { white-space: normal !important; max-width: 100% !important; font-variant-numeric: tabular-nums; }
.pair img { width: 100% !important; height: 100% !important; object-fit: contain; }
.grid-of-pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(72px, 1fr)); gap: 4px; }
.grid-of-pictures img, .hit-picture { width: 100%; aspect-ratio: 1; object-fit: cover; border-radius: 4px; }
.hit-picture { width: 56px; max-width: none; }
.found-prompts { width: 100%; border-collapse: collapse; }
.found-prompts td, .found-prompts th { padding: .3rem .5rem; text-align: left; vertical-align: top; }
.found-prompts .words { width: 100%; overflow-wrap: anywhere; }
.editor *, .found-prompts * { border-color: var(--border-color-primary) !important; }
.editor { overflow-x: auto; }
.editor table { border-collapse: collapse; width: 100%; }
.editor th, .editor td { padding: .2rem .5rem; text-align: left; border: 0; }
.editor td:nth-child(3) { width: 50%; }
.editor svg { width: 100%; height: 24px; display: block; }
.editor .axis { stroke: currentColor; opacity: .3; }
.editor pre { overflow-x: auto; font-family: ui-monospace, monospace; }
footer { display: none !important; }
@media (max-width: 640px) {
  .gradio-container { padding: .2rem !important; }
  .editor thead { display: none; }
  .editor tr { display: grid; grid-template-columns: 1fr auto auto; }
  .editor td { padding: .1rem .3rem; overflow-wrap: anywhere; }
  .editor td:nth-child(3) { width: auto; grid-column: 1 / -1; grid-row: 2; }
  .tab-container button, button[role=tab] { padding: 0 .35rem !important; font-size: .85rem !important; }
}
"""


def build_page(service: Service) -> gr.Blocks:
    with gr.Blocks(title="Limner", analytics_enabled=False, delete_cache=(3600, 86400)) as page:
        gr.Markdown("# Limner\nSay what the picture should show; what comes back is a prompt that draws it better, with the evidence.")
        with gr.Tab("Chat"):
            chat_tab(service, page)
        if service.jobs is not None:
            with gr.Tab("Optimize"):
                optimize_tab(service, page)
        with gr.Tab("DF-Prompt"):
            editor_tab(service, page)
        with gr.Tab("Prompts"):
            prompts_tab(service)
        with gr.Tab("Runs") as runs:
            runs_tab(service, runs)
    return page


def mount(app: Any, service: Service) -> None:
    """The page at /web, with fonts of this machine: nothing is fetched from elsewhere. Told where it is, since what gradio answers past its
    queue would else name pictures as if it were at /."""
    theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    page = build_page(service)
    gr.mount_gradio_app(
        app, page, PATH, root_path=PATH, theme=theme, css=CSS, footer_links=[], run_history=False, show_error=False, max_file_size="1mb"
    )
    page._queue.sleep_when_free = page._queue.progress_update_sleep_when_free = QUEUE_SECONDS
