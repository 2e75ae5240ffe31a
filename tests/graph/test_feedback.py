"""The prompt database takes part in a run, and learns from it: imported prompts become exemplars, held-out scores flow back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from limner.agents.llm.offline import OfflineChat
from limner.graph.exemplars import exemplars_for
from limner.graph.feedback import learn_from_optimize, learn_from_refine
from limner.graph.state import Context, RefineState
from limner.promptdb.files.ingest import import_file
from limner.promptdb.records import Prompt
from limner.promptdb.search.merit import SOURCE, merits
from limner.serve.reports.refine import render_refine
from tests.commands import command
from tests.doubles import FakeImageModel, hashed_value
from tests.graph.optimize.optimize_stage import BAD, GOOD, optimized
from tests.graph.stage import PROMPT, likes, refined, stage

PAIRS = [
    f"a {colour} {fruit}, ink wash, velvet paper" for colour in ("red", "green") for fruit in ("apple tree", "pear", "plum", "apple pie")
]


def offline(folder: Path, word: str = "ink wash") -> Context:
    return replace(stage(folder, FakeImageModel(likes(word))), chat=OfflineChat())


@pytest.fixture
def imported(tmp_path: Path) -> Path:
    (tmp_path / "orchard.txt").write_text("\n".join(PAIRS))
    return tmp_path / "orchard.txt"


def texts(state: RefineState) -> set[str]:
    return {row["conditioning"]["text"] for row in state["candidates"]}


def test_a_run_after_an_import_uses_what_was_imported_and_names_it(tmp_path: Path, imported: Path) -> None:
    before, _ = refined(offline(tmp_path / "before"))
    context = offline(tmp_path / "after")
    import_file(context.db, imported)
    after, events = refined(context)
    assert not any("ink wash" in text for text in texts(before))
    assert any("ink wash" in text for text in texts(after))
    assert {row["source"] for row in after["exemplars"]} == {"orchard"}
    assert any("5 of orchard" in event.get("note", "") for event in events)
    page = render_refine(context, after)
    assert all(row["positive"] in page for row in after["exemplars"]) and "orchard" in page


def test_a_better_prompt_becomes_one_of_the_library_and_its_exemplars_gain_merit(tmp_path: Path, imported: Path) -> None:
    context = offline(tmp_path)
    import_file(context.db, imported)
    state, _ = refined(context)
    assert state["outcome"]["improved"]
    best = state["outcome"]["result"]["conditioning"]
    for _ in range(2):  # a run that is reported twice teaches once
        assert learn_from_refine(context, state) == 6
    assert context.db.prompt(Prompt(best["text"]).id) == Prompt(best["text"], SOURCE, PROMPT, best.get("negative", ""))
    known = merits(context.db, [row["id"] for row in state["exemplars"]])
    assert len(known) == 5 and all(value > 0 and runs == 1 for value, runs in known.values())
    assert SOURCE in {row["source"] for row in exemplars_for(context.db, "a red apple in a bowl", 5, context.card)}
    assert SOURCE not in {row["source"] for row in exemplars_for(context.db, PROMPT, 5, context.card)}


def test_a_run_without_a_gain_adds_no_prompt(tmp_path: Path, imported: Path) -> None:
    context = replace(stage(tmp_path, FakeImageModel(hashed_value)), chat=OfflineChat())
    import_file(context.db, imported)
    state, _ = refined(context)
    before = context.db.count_prompts()
    assert not state["outcome"]["improved"]
    learn_from_refine(context, state)
    assert context.db.count_prompts() == before
    assert len(merits(context.db, [row["id"] for row in state["exemplars"]])) == 5


def test_stored_prompts_that_optimize_has_drawn_know_what_they_gained(tmp_path: Path) -> None:
    context, _, _ = optimized(tmp_path, iterations=2)
    assert learn_from_optimize(context, "run-1") > 0
    known = merits(context.db, [prompt.id for prompt in context.db.prompts("test")])
    value = {prompt.text: known[prompt.id][0] for prompt in context.db.prompts("test") if prompt.id in known}
    good = [mean for text, mean in value.items() if GOOD in text and BAD not in text]
    bad = [mean for text, mean in value.items() if BAD in text and GOOD not in text]
    assert good and bad and min(good) > 0 > max(bad)
    assert learn_from_optimize(context, "run-1") == len(known) and merits(context.db, known) == known


def test_the_command_line_shows_the_difference_that_an_import_makes(capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "okapis.jsonl").write_text(
        "\n".join(json.dumps({"text": f"an okapi {place}, ink wash, velvet paper"}) for place in "abcdefgh")
    )
    options = ("--checkpoint", tiny, "--out", tmp_path / "out", "--heldout-seeds", 2, "--search-seeds", 1, "--variants", 3, "--budget", 20)
    before = command(capfd, "refine", "an okapi", *options, "--json").document
    assert command(capfd, "db", "import", tmp_path / "okapis.jsonl", "--out", tmp_path / "out").code == 0
    result = command(capfd, "refine", "an okapi", *options, "--json")
    assert "5 of okapis" in result.err

    def candidates(run: str) -> set[str]:
        return {row["text"] for row in command(capfd, "runs", "show", run, "--out", tmp_path / "out", "--json").document["candidates"]}

    assert not any("ink wash" in text for text in candidates(before["run"]))
    assert any("ink wash" in text for text in candidates(result.document["run"]))
    assert ", ink wash, velvet paper" in Path(result.document["report"]).read_text()
