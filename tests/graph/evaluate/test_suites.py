"""Suites compute what they claim: rows, intervals and passes follow from the pictures, in both directions."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from limner.agents.llm.base import Answer, Message
from limner.graph.evaluate import df_prompt, miniature, rewrite
from limner.graph.evaluate.base import run_suite
from limner.graph.evaluate.crowded import crowded_prompts
from limner.graph.evaluate.heldout import REPORT_FROM, heldout_prompts, report_seeds
from limner.graph.settings import HELDOUT_FROM, MOST_SEEDS
from limner.graph.state import Context
from limner.promptdb.errors import BadInput
from limner.promptdb.records import Drawing
from limner.tools.diffusion.card import Card
from limner.tools.scoring.judge import Verdict
from tests.doubles import FakeImageModel, hashed_value
from tests.graph.stage import ScriptedChat, likes, stage
from tests.tools.solvers.df_prompt.test_solver import likes_late_sharpness


class AppendingChat(ScriptedChat):
    """Adds the same words to whatever prompt it is given."""

    def ask(self, messages: Sequence[Message], schema: type[Answer], *, temperature: float = 0.0, seed: int | None = None) -> Answer:
        description = next(message.facts["description"] for message in messages if message.facts)
        return schema.model_validate({"variants": [{"positive": f"{description}, sharp focus", "negative": "blurry"}]})


PROMPTS = [f"a red apple, number {place}" for place in range(8)]


def context_for(folder: Path, liked: str) -> Context:
    """A checkpoint whose scorers like one word, with eight held-out prompts and a card."""
    (folder / "held.jsonl").write_text("".join(json.dumps({"prompt": text}) + "\n" for text in PROMPTS))
    document = {"prompts": {"heldout": "held.jsonl"}, "tags": {"positive": "vivid colors", "negative": "dull"}}
    context = stage(folder, FakeImageModel(likes(liked)), images=64, heldout_seeds=6)
    context = replace(context, chat=AppendingChat([]), card=Card(folder=folder, judge="truth", document=document))
    context.evaluator.budget.images = None
    return context


def rows_of(context: Context) -> dict[str, dict]:  # type: ignore[type-arg]
    return {row["name"]: row for row in run_suite(rewrite.SUITE, context)["rows"]}


def test_a_rewrite_that_helps_passes_and_one_fixed_suffix_stands_beside_it(tmp_path: Path) -> None:
    rows = rows_of(context_for(tmp_path, "sharp"))
    gain = rows["refine: liking"]
    assert gain["pass"] is True
    assert gain["ci95"][0] > 0.3
    assert gain["n"] == len(PROMPTS)
    assert rows["refine: prompts improved"]["value"] == 1.0
    assert abs(rows["fixed tags: liking"]["value"]) < 0.3
    assert rows["fixed tags: liking"]["pass"] is None


def test_a_rewrite_that_does_nothing_fails_and_the_prompts_are_returned_as_they_were(tmp_path: Path) -> None:
    rows = rows_of(context_for(tmp_path, "no such word"))
    assert rows["refine: liking"]["pass"] is False
    assert rows["refine: prompts improved"]["value"] <= 0.25
    assert rows["refine: liking, prompts needed for 80 % power"]["value"] is None or rows["refine: prompts improved"]["value"] > 0


def test_what_was_drawn_before_costs_nothing_when_a_suite_is_started_again(tmp_path: Path) -> None:
    first = context_for(tmp_path, "sharp")
    rows = rows_of(first)
    again = context_for(tmp_path, "sharp")
    assert rows_of(again) == rows
    assert again.evaluator.budget.used()["images"] == 0


CROWDED = [f"a red apple, number {place}, sharp focus, golden hour, oil painting" for place in range(6)]


def crowded_context(folder: Path, value: Callable[[Drawing], float]) -> Context:
    (folder / "crowded.jsonl").write_text("".join(json.dumps({"prompt": text}) + "\n" for text in CROWDED))
    context = stage(folder, FakeImageModel(value))
    context.evaluator.budget.images = None
    return replace(context, card=Card(folder=folder, judge="truth", document={"prompts": {"crowded.heldout": "crowded.jsonl"}}))


def test_a_search_over_triples_passes_where_late_words_help_and_fails_where_they_do_not(tmp_path: Path) -> None:
    for name, value in (("helps", likes_late_sharpness), ("chance", hashed_value)):
        (tmp_path / name).mkdir()
        rows = {row["name"]: row for row in run_suite(df_prompt.SUITE, crowded_context(tmp_path / name, value))["rows"]}
        aimed = rows["coordinate search over default triples: liking"]
        assert aimed["pass"] is (name == "helps") and aimed["n"] == len(CROWDED)
        assert [row["name"] for row in rows.values() if row["target"]] == [aimed["name"]]
        spent = [rows[f"{rival}: UNet rows a prompt"]["value"] for rival in ("coordinate search", "random triples")]
        assert all(0.9 * 40 * 8 <= each <= 40 * 8 for each in spent)
        if name == "helps":
            assert rows["quality words, second half, over none: liking"]["ci95"][0] > 0.4
            assert abs(rows["quality words, first half, over none: liking"]["value"]) < 0.1


def test_a_df_prompt_suite_that_is_started_again_draws_nothing_and_says_the_same(tmp_path: Path) -> None:
    first = run_suite(df_prompt.SUITE, crowded_context(tmp_path, likes_late_sharpness))
    again = run_suite(df_prompt.SUITE, crowded_context(tmp_path, likes_late_sharpness))
    assert again["rows"] == first["rows"] and again["used"]["images"] == 0


def test_crowded_prompts_are_made_of_the_card_s_tags_where_it_brings_none(tmp_path: Path) -> None:
    found = crowded_prompts(context_for(tmp_path, "sharp"), 8)
    assert [text.split(", ")[0] for text in found] == ["a red apple"] * 8
    assert all("vivid colors" in text and text.count(",") >= 6 for text in found)
    assert crowded_prompts(context_for(tmp_path, "sharp"), 8) == found


def test_seeds_of_reports_are_seeds_of_no_run(tmp_path: Path) -> None:
    seeds = report_seeds(context_for(tmp_path, "sharp"), 4)
    assert len(set(seeds)) == 4
    assert min(seeds) == REPORT_FROM
    assert REPORT_FROM >= HELDOUT_FROM + MOST_SEEDS


def test_a_checkpoint_without_heldout_prompts_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="brings no held-out prompts"):
        heldout_prompts(replace(context_for(tmp_path, "sharp"), card=Card()), 4)


def verdict(
    objects: tuple[bool, ...], colours: tuple[bool | None, ...] = (), relation: bool | None = None, style: bool | None = None
) -> Verdict:
    return Verdict(objects, colours or (None,) * len(objects), relation, None, style, (), 0.0)


def test_faithfulness_counts_each_attribute_among_the_pictures_that_were_asked_for_it() -> None:
    first = [verdict((True,), (True,), style=True), verdict((True,), (False,), style=True)]
    single = [first, [verdict((False,)), verdict((True,), (True,))]]
    pairs = [[verdict((True, True), relation=True), verdict((True, False))], [verdict((True, True), relation=False)] * 2]
    rows = {row.name: row for row in miniature.faithfulness([*single, *pairs], seed=0)}
    assert (rows["single object right"].value, rows["single object right"].n) == (0.75, 2)
    assert rows["both objects right"].value == 0.75
    assert rows["colour right, given the object"].value == pytest.approx(2 / 3)
    assert rows["relation right, given both objects"].value == pytest.approx(1 / 3)
    assert (rows["style right"].value, rows["style right"].passed) == (1.0, True)
    assert rows["background right"].passed is False
