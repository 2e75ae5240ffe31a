"""The checkpoint's prompts: of the world, distinct, by fixed seeds, and never on both sides of a split."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from limner.tools.miniature.recipe.prompt_sets import COUNT, SETS, prompt_set, write_sets
from limner.tools.miniature.world import vocabulary as words
from limner.tools.miniature.world.professional import SPLITS, professional_corpus
from limner.tools.miniature.world.style_specs import SPECS, manual_prompts
from limner.tools.miniature.world.world_file import write_world
from limner.tools.scoring.asked import World
from tests.commands import command

NOUNS = 60


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    write_world(tmp_path_factory.mktemp("world") / "world.json", NOUNS)
    return World.read(next(tmp_path_factory.getbasetemp().glob("world*/world.json")))


@pytest.mark.parametrize("name", SETS)
def test_a_set_is_distinct_of_the_world_and_shares_nothing_with_its_other_split(world: World, name: str) -> None:
    train, heldout = (prompt_set(name, split, 0, NOUNS) for split in ("train", "heldout"))
    texts = [row["prompt"] for row in (*train, *heldout)]
    assert len(texts) == len(set(texts)) == 2 * COUNT
    assert not [text for text in texts if world.coverage(text)[1]]
    assert {row["kind"] for row in train} == {name}
    assert heldout == prompt_set(name, "heldout", 0, NOUNS)


def test_every_set_has_its_own_difficulty(world: World) -> None:
    asked = {name: [world.read_prompt(row["prompt"]) for row in prompt_set(name, "heldout", 0, NOUNS, 60)] for name in SETS}
    assert all(len(item.things) == 2 and None not in (thing.colour for thing in item.things) for item in asked["binding"])
    assert all(len(item.things) == 2 and item.relation for item in asked["relation"])
    assert all(item.things[0].count in (2, 3) for item in asked["counting"])
    rare = {form for noun in words.NOUNS for form in noun.rare}
    assert all(any(form in row["prompt"] for form in rare) for row in prompt_set("rare", "heldout", 0, NOUNS, 60))
    assert all(len(row["prompt"].split(", ")) >= 8 for row in prompt_set("crowded", "heldout", 0, NOUNS, 60))
    assert all(row["negative"] and row["prompt"].startswith(row["subject"]) for row in prompt_set("professional", "train", 0, NOUNS, 60))
    assert all(row["prompt"].endswith(".") for row in prompt_set("coco", "heldout", 0, NOUNS, 60))


def test_sets_are_files_that_a_card_can_name(tmp_path: Path) -> None:
    files = write_sets(tmp_path, 0, NOUNS, 5)
    assert set(files) == {f"{name}.{split}" for name in SETS for split in ("train", "heldout")}
    assert all(len((tmp_path / file).read_text().splitlines()) == 5 for file in files.values())


def test_professional_prompts_are_distinct_and_split_by_subject(world: World) -> None:
    rows = list(professional_corpus(0, NOUNS, 6000))
    assert len({row["text"] for row in rows}) == 6000
    subjects: dict[str, set[str]] = {}
    for row in rows:
        asked = world.read_prompt(row["subject"])
        key = "+".join(sorted(f"{thing.colour} {thing.noun}" for thing in asked.things))
        subjects.setdefault(row["split"], set()).add(row["subject"])
        assert row["text"].startswith(f"{row['subject']}, "), key
    assert set(subjects) == {name for name, _ in SPLITS}
    assert not any(one & other for one, other in itertools.combinations(subjects.values(), 2))
    shares = {name: sum(row["split"] == name for row in rows) / 6000 for name, _ in SPLITS}
    assert 0.8 < shares["train"] < 0.97
    harmful = {phrase for name in words.HARMFUL for phrase in words.MODIFIERS[name]}
    placebo = {*words.PLACEBO}
    assert 0.06 < sum(bool(harmful & {*row["text"].split(", ")}) for row in rows) / 6000 < 0.2
    assert 0.5 < sum(bool(placebo & {*row["text"].split(", ")}) for row in rows) / 6000 < 0.95


def test_the_command_writes_them(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "new" / "professional.jsonl"
    assert command(capfd, "miniature", "prompts", "--count", "300", "--file", str(file)).code == 0
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert rows == list(professional_corpus(0, NOUNS, 300))


def test_the_style_checkpoints_are_split_five_to_three_and_their_prompts_hold_their_own_triggers(world: World) -> None:
    assert [spec.split for spec in SPECS].count("source") == 5
    assert {spec.kin for spec in SPECS if spec.split == "unseen"} == {"a merge of two sources", "near comic", "foreign to all sources"}
    for spec in SPECS:
        rows = list(manual_prompts(spec, 0, NOUNS))
        others = {trigger for other in SPECS for trigger in other.triggers} - {*spec.triggers}
        for row in rows:
            tags = {*row["text"].removeprefix(row["prompt"]).split(", ")}
            assert tags & {*spec.triggers}
            assert not tags & others
            assert not world.coverage(row["text"])[1]
        assert len({row["prompt"] for row in rows}) == len(rows)
