"""Exports what a run found in forms that other tools load: a preset in JSON, a system prompt, a workflow or styles for ComfyUI, infotext
or styles for A1111.

A run of `optimize` has an instruction; the part of it that needs no language model is exported as a style: the keywords that its rewritings
share. A run of `refine`, `attack` or `chat` has one prompt, with its timing and weights.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from limner.agents.keywords import keywords
from limner.agents.rewriter import KEEP_CONTENT, ROLE
from limner.graph.optimize.arms import manner
from limner.graph.settings import Settings
from limner.graph.verdict import verdict_in
from limner.promptdb.errors import BadInput
from limner.promptdb.generated.record import Generated
from limner.promptdb.records import Conditioning, Run
from limner.promptdb.runs import Runs
from limner.promptdb.seed import open_database
from limner.promptdb.store import PromptDB
from limner.promptdb.trials import Trial, Trials
from limner.tools.prompt_language.dialects import Dialect
from limner.tools.prompt_language.document import to_document
from limner.tools.prompt_language.fidelity import Written

SHARED = 12  # keywords in a list at most
PROMPTED = ("refine", "attack", "chat")
VERSION = 1


def preset(settings: Settings, run_id: str) -> dict[str, Any]:
    """Returns what a run found: {version, name, kind, ...}.

    kind `instruction`: instruction, positive and negative (keywords that its rewritings share), verdict in words, improved, checkpoint,
    chat_model, heldout, heldout_initial; the instruction is the learned one where it was shown to be better, else the initial one. kind
    `prompt`: prompt, negative, request, df_prompt (`convert` reads it), settings (seed, steps, ... of the run), verdict in words, improved,
    checkpoint, scores.

    Raises BadInput for a run that is unknown, not done, or found nothing of the kind.
    """
    if not settings.database.exists():
        raise BadInput(f"there is no database {settings.database} with runs; name it with --db, or its folder with --out")
    with open_database(settings.database) as db:
        run, document = Runs(db).get(run_id), Runs(db).result(run_id)
        if run is None:
            raise BadInput(f"there is no run {run_id!r} in {db.path}; see `runs list`")
        if run.status != "done" or document is None or run.command not in ("optimize", *PROMPTED):
            raise BadInput(
                f"run {run_id} is a {run.command} that is {run.status}; only a finished optimize, or a refine, attack or chat that ended "
                "with a prompt, has something to export"
            )
        found = _instruction(db, run, document) if run.command == "optimize" else _prompt(db, run, document)
    return {"version": VERSION, "name": f"limner-{run_id}", **found}


def system_prompt(document: dict[str, Any]) -> str:
    """Returns the preset as the system prompt of any chat model. Raises BadInput for one without an instruction."""
    if document["kind"] != "instruction":
        raise BadInput(f"{document['name']} has a prompt, not an instruction: export it --to preset-json, comfyui or a1111")
    parts = [ROLE, document["instruction"], KEEP_CONTENT, "Answer with the prompt alone: keywords and short phrases separated by commas."]
    if document["negative"]:
        parts.append(f"Use this negative prompt with it: {document['negative']}")
    return "\n\n".join(parts)


def preset_json(document: dict[str, Any]) -> str:
    """Returns the preset as indented JSON."""
    return json.dumps(document, ensure_ascii=False, indent=2)


def comfyui(document: dict[str, Any]) -> str:
    """Returns, for a prompt, the node graph in ComfyUI's API form; for an instruction, a style in the JSON that prompt styler
    nodes load.
    """
    if document["kind"] == "instruction":
        style = {"name": document["name"], "prompt": _pattern(document), "negative_prompt": document["negative"]}
        return json.dumps([style], ensure_ascii=False, indent=2)
    return json.dumps(_converted(document, "comfyui").output, ensure_ascii=False, indent=2)


def a1111(document: dict[str, Any]) -> str:
    """Returns, for a prompt, the infotext that A1111 reads into its fields, with the run's settings; for an instruction `styles.csv` with
    one row: name, prompt, negative_prompt; `{prompt}` stands for what is typed beside the style.
    """
    if document["kind"] == "prompt":
        from limner.tools.prompt_language.infotext import infotext_of_texts

        written = _converted(document, "a1111")
        return infotext_of_texts(written.output, written.negative, _made(document))
    out = io.StringIO()
    row = [document["name"], _pattern(document), document["negative"]]
    csv.writer(out).writerows([["name", "prompt", "negative_prompt"], row])
    return out.getvalue().rstrip("\r\n")


FORMS: dict[str, Callable[[dict[str, Any]], str]] = {
    "preset-json": preset_json,
    "comfyui": comfyui,
    "a1111": a1111,
    "system-prompt": system_prompt,
    "preset": preset_json,  # an older name of preset-json
}
"""The forms of `runs export --to`."""


def exported(settings: Settings, run_id: str, form: str) -> str:
    """Returns what the run found in that form. Raises BadInput for an unknown form, and as `preset` does."""
    if form not in FORMS:
        raise BadInput(f"--to knows {', '.join(list(FORMS)[:4])}, not {form!r}")
    return FORMS[form](preset(settings, run_id))


def write(text: str, path: Path) -> None:
    """Writes the text to a file. Raises BadInput where it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{path} cannot be written ({error.strerror})") from error


def _instruction(db: PromptDB, run: Run, document: dict[str, Any]) -> dict[str, Any]:
    chosen = document["instruction"]["best" if document["improved"] else "initial"]
    trials = Trials(db, run.id)
    arms = {arm.instruction.text: arm.instruction.id for arm in trials.arms()}
    own = trials.trials(arms[chosen])
    return {
        "kind": "instruction",
        "instruction": chosen,
        "positive": _shared(own, lambda trial: keywords(manner(trial.conditioning.text, trial.prompt))),
        "negative": _shared(own, lambda trial: keywords(trial.conditioning.negative)),
        "verdict": verdict_in(document)["words"],
        "improved": document["improved"],
        "checkpoint": document["checkpoint"],
        "chat_model": document["chat_model"],
        "heldout": document["heldout"],
        "heldout_initial": document["heldout_initial"],
    }


def _prompt(db: PromptDB, run: Run, document: dict[str, Any]) -> dict[str, Any]:
    result = document["result"]
    if "conditioning" in result:
        conditioning = Conditioning.from_json(result["conditioning"])
    else:
        rows = db.query("SELECT document FROM conditioning WHERE id = ?", [result["conditioning_id"]])
        conditioning = Conditioning.from_json(json.loads(rows[0][0])) if rows else Conditioning(result["text"], result["negative"])
    return {
        "kind": "prompt",
        "prompt": conditioning.text,
        "negative": conditioning.negative,
        "request": document.get("prompt", run.prompt),
        "df_prompt": to_document(conditioning),
        "typed": result.get("typed"),
        "settings": _settings_of(db, run, conditioning),
        "verdict": verdict_in(document)["words"],
        "improved": document["improved"],
        "checkpoint": document.get("checkpoint", ""),
        "scores": document["scores"],
    }


def _settings_of(db: PromptDB, run: Run, conditioning: Conditioning) -> dict[str, Any]:
    """Returns {seed, scheduler, steps, guidance_scale, width, height, dtype} as the run drew the prompt; where it drew nothing of it,
    what it was started with, without None.
    """
    asked = {name: run.settings.get(name) for name in ("seed", "steps", "guidance_scale")}
    asked = {name: value for name, value in asked.items() if value is not None}
    rows = db.query("SELECT settings, seed FROM drawing WHERE conditioning = ? ORDER BY seed", [conditioning.id])
    drawn = [{**json.loads(settings), "seed": seed} for settings, seed in rows]
    same = [row for row in drawn if all(row[name] == asked[name] for name in asked if name != "seed")]
    return {**same[0], **asked} if same else asked


def _made(document: dict[str, Any]) -> Generated:
    """Returns the settings of a preset of a prompt as those of a picture. The checkpoint is the user's to choose."""
    given = document["settings"]
    width, height = given.get("width"), given.get("height")
    return Generated(
        document["prompt"],
        document["negative"],
        given.get("seed"),
        given.get("steps"),
        given.get("guidance_scale"),
        given.get("scheduler", ""),
        size=(width, height) if width and height else None,
        tool="limner",
    )


def _converted(document: dict[str, Any], dialect: Dialect) -> Written:
    """Returns the prompt in a dialect, from the text in which it was given to the person, so that tags and breaks come along."""
    from limner.tools.prompt_language.convert import convert

    typed, made = document.get("typed"), _made(document)
    if not typed:
        return convert(json.dumps(document["df_prompt"]), dialect, steps=made.steps, made=made).written
    if typed["dialect"] == dialect == "a1111":
        return Written(typed["prompt"], typed["negative"])
    return convert(typed["prompt"], dialect, typed["dialect"], made.steps, typed["negative"], made=made).written


def _pattern(document: dict[str, Any]) -> str:
    """`{prompt}` with the keywords that the instruction adds to every prompt."""
    return ", ".join(["{prompt}", *([document["positive"]] if document["positive"] else [])])


def _shared(trials: Iterable[Trial], words: Callable[[Trial], list[str]]) -> str:
    """The keywords that stand in at least half of the rewritings, one of each prompt, the most frequent first."""
    found = {trial.prompt: words(trial) for trial in trials}
    votes = Counter(word for row in found.values() for word in {word.casefold() for word in row})
    common = [word for word, count in sorted(votes.items(), key=lambda item: (-item[1], item[0])) if 2 * count >= len(found)]
    return ", ".join(common[:SHARED])
