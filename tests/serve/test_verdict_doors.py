"""Every door says the verdict first, in the same words, and puts each number beside the prompt that it belongs to."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from limner.serve.mcp.results import optimized_summary, refined_summary
from limner.serve.results import Learned, Refined
from limner.serve.service.documents import OptimizedDocument, RefinedDocument
from limner.serve.terminal.printing import print_optimized, print_refined

WORDS = "This checkpoint cannot draw this: its vocabulary does not know cello."
ROW = {"before": 0.5, "after": 0.75, "delta": 0.25, "ci95": [-0.1, 0.6], "n": 8}
VERDICT = {
    "kind": "cannot draw",
    "words": WORDS,
    "objective": "liking",
    "better_on": 0,
    "n": 0,
    "smallest": None,
    "lost": [],
    "scorers": {"liking": "cannot judge"},
    "missing": [],
}
COMMON: dict[str, Any] = {
    "verdict": VERDICT,
    "run": "r",
    "checkpoint": "m",
    "chat_model": "offline",
    "improved": False,
    "used": {"images": 4, "unet_rows": 8, "llm_calls": 0, "repeated": 0, "seconds": 1.0},
    "report": "report.html",
    "warnings": [],
}
PROMPT = {"df_prompt": None, "negative": "", "conditioning_id": "c"}
REFINED = COMMON | {
    "prompt": "a cello",
    "method": "rewrite",
    "result": PROMPT | {"text": "a cello", "scores": {"liking": 0.5}},
    "best_tried": PROMPT | {"text": "a loud cello", "scores": {"liking": 0.75}},
    "scores": {"liking": ROW},
    "images": {"before": [], "after": []},
}
OPTIMIZED = COMMON | {
    "instruction": {"initial": "Write.", "best": "Write well.", "id": "i"},
    "stopped": "done",
    "heldout": {"liking": ROW},
    "heldout_initial": {"liking": ROW},
    "heldout_suffix": {},
}


def printed(document: dict[str, Any]) -> str:
    out = io.StringIO()
    show = print_refined if "prompt" in document else print_optimized
    show(document, Console(file=out, width=200, highlight=False))
    return out.getvalue()


@pytest.mark.parametrize("document", [REFINED, OPTIMIZED], ids=["refine", "optimize"])
def test_the_first_line_of_every_door_is_the_verdict(document: dict[str, Any]) -> None:
    refined = document is REFINED
    result = Refined.from_document(document) if refined else Learned.from_document(document)
    summary = refined_summary(document) if refined else optimized_summary(document)
    assert printed(document).splitlines()[0] == summary.splitlines()[0] == result.verdict["words"] == WORDS
    assert WORDS in str(result).splitlines()[0] and result._repr_html_().startswith(f"<p>{WORDS}</p>")
    assert next(iter(document)) == "verdict" and result.verdict["kind"] == "cannot draw"
    model = (RefinedDocument if refined else OptimizedDocument).model_validate(document)
    assert model.verdict is not None and model.verdict.words == WORDS


def test_what_was_tried_and_not_taken_is_named_as_such() -> None:
    text = printed(REFINED)
    assert "Your prompt stays as it is." in text and "The best that was tried:\n  a loud cello" in text
    result = Refined.from_document(REFINED)
    assert result.text == "a cello" and result.best_tried is not None and result.best_tried["scores"] == {"liking": 0.75}


@pytest.mark.parametrize("improved", [True, False])
def test_a_document_of_an_earlier_version_is_still_shown(improved: bool) -> None:
    old = {name: value for name, value in REFINED.items() if name not in ("verdict", "best_tried")} | {"improved": improved}
    old["result"] = PROMPT | {"text": "a cello"}
    words = "Improved." if improved else "No improvement found."
    assert printed(old).splitlines()[0] == refined_summary(old).splitlines()[0] == Refined.from_document(old).verdict["words"] == words
    assert RefinedDocument.model_validate(old).verdict is None
