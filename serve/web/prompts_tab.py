"""The prompt database: searched, its hits with a picture where one was drawn."""

from __future__ import annotations

import gradio as gr

from limner.serve.service.requests import SearchAsk
from limner.serve.service.service import Service
from limner.serve.web.views import AT_ONCE, hits_table


def prompts_tab(service: Service) -> None:
    query = gr.Textbox(label="Words, or a whole prompt", elem_id="query", max_length=1000)
    diverse = gr.Checkbox(label="Hits that are unlike each other")
    search = gr.Button("Search", elem_id="search")
    found = gr.HTML("", elem_id="found", min_height=200)

    def look(text: str, differing: bool) -> str:
        if not text.strip():
            return ""
        hits = service.search(SearchAsk(query=text, limit=30, diverse=differing))
        return hits_table(hits, service.pictures_of(hits))

    search.click(look, [query, diverse], found, **AT_ONCE)
    query.submit(look, [query, diverse], found, **AT_ONCE)
    diverse.change(look, [query, diverse], found, **AT_ONCE)
