"""A learned instruction as something that other tools can use: a preset in JSON, or a system prompt in plain text."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from agents.keywords import keywords
from agents.rewriter import KEEP_CONTENT, ROLE
from graph.database import open_database
from graph.settings import Settings
from promptdb.errors import BadInput
from promptdb.trials import Trials

NEGATIVES = 12  # keywords in a negative list at most


def preset(settings: Settings, run_id: str) -> dict[str, Any]:
    """{name, instruction, negative, improved, checkpoint, chat_model, objective rows on held-out prompts}. The instruction is the learned
    one where it was shown to be better, else the initial one. Raises BadInput for a run that learned nothing or is not done."""
    if not settings.database.exists():
        raise BadInput(f"there is no database {settings.database} with runs; name it with --db, or its folder with --out")
    with open_database(settings) as db:
        run, document = db.run(run_id), db.run_result(run_id)
        if run is None:
            raise BadInput(f"there is no run {run_id!r} in {db.path}; see `runs list`")
        if run.command != "optimize" or run.status != "done" or document is None:
            raise BadInput(f"run {run_id} is a {run.command} that is {run.status}; only a finished optimize has an instruction to export")
        chosen = document["instruction"]["best" if document["improved"] else "initial"]
        arms = {arm.instruction.text: arm.instruction.id for arm in Trials(db, run_id).arms()}
        negative = _negatives(Trials(db, run_id), arms[chosen])
    return {
        "name": f"limner-{run_id}",
        "instruction": chosen,
        "negative": negative,
        "improved": document["improved"],
        "checkpoint": document["checkpoint"],
        "chat_model": document["chat_model"],
        "heldout": document["heldout"],
        "heldout_initial": document["heldout_initial"],
    }


def system_prompt(document: dict[str, Any]) -> str:
    """The preset as the system prompt of any chat model."""
    parts = [ROLE, document["instruction"], KEEP_CONTENT, "Answer with the prompt alone: keywords and short phrases separated by commas."]
    if document["negative"]:
        parts.append(f"Use this negative prompt with it: {document['negative']}")
    return "\n\n".join(parts)


def write(text: str, path: Path) -> None:
    """Raises BadInput where it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{path} cannot be written ({error.strerror})") from error


def _negatives(trials: Trials, arm: str) -> str:
    """The keywords that stand in at least half of the arm's negative prompts, the most frequent first."""
    texts = {trial.prompt: trial.conditioning.negative for trial in trials.trials(arm)}
    votes = Counter(word.casefold() for negative in texts.values() for word in keywords(negative))
    common = [word for word, count in sorted(votes.items(), key=lambda item: (-item[1], item[0])) if 2 * count >= len(texts)]
    return ", ".join(common[:NEGATIVES])
