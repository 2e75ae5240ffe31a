"""Runs a suite, from options to document, with a bar on stderr. Knows nothing of what is measured."""

from __future__ import annotations

from typing import Any

from limner.graph.context import check_places, open_context, open_models
from limner.graph.evaluate.base import Suite, open_suite, run_suite
from limner.graph.models import Lease, ModelPool
from limner.graph.runner import new_run_id, recorded
from limner.graph.settings import Settings
from limner.promptdb.records import Run
from limner.promptdb.runs import Runs
from limner.serve.terminal.watching import counting

COMMAND = "evaluate"


def evaluate(settings: Settings, name: str, full: bool) -> dict[str, Any]:
    """Runs the suite; returns the document of `evaluate --json`.

    The suite sets its own budget; pictures that an earlier start has drawn cost nothing. Raises BadInput for an unknown suite.
    """
    suite = open_suite(name)
    check_places(settings)
    with ModelPool().lease() as lease:
        return _evaluate(settings, name, full, suite, lease)


def _evaluate(settings: Settings, name: str, full: bool, suite: Suite, lease: Lease) -> dict[str, Any]:
    models = open_models(settings, lease)
    run = Run(new_run_id(COMMAND), COMMAND, f"{name}{' --full' if full else ''}", settings.to_json())
    with open_context(settings, models, run.id) as context:
        with recorded(context, run), counting(name, suite.pictures(context, full)) as emit:
            document = run_suite(suite, context, full, emit)
        Runs(context.db).finish(run.id, "done", document)
    return document
