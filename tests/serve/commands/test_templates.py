"""Templates on the command line: each picture its own prompt, every prompt in turn, and the template beside what was made of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from limner.promptdb.errors import BadInput
from limner.promptdb.files.prompt_file import BatchPrompt, PromptFile
from limner.promptdb.images import read_provenance
from limner.promptdb.runs import Runs
from limner.promptdb.store import PromptDB
from limner.serve.commands.templates import Expanding, expanded_batch, wanted
from tests.commands import command
from tests.tiny_card import tiny_with_card

TEMPLATE = "a {red|blue|green} kite, __place__"

pytestmark = pytest.mark.filterwarnings("ignore:the embedding has next to no mean")  # as those of untrained encoders


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield tiny_with_card(tmp_path_factory.mktemp("templates") / "sd1")


@pytest.fixture
def cards(tmp_path: Path) -> Path:
    (tmp_path / "cards").mkdir()
    (tmp_path / "cards" / "place.txt").write_text("pier\nmill\n")
    return tmp_path / "cards"


def test_each_picture_of_a_template_has_its_own_prompt_by_its_seed(
    capfd: pytest.CaptureFixture[str], tiny: Path, cards: Path, tmp_path: Path
) -> None:
    options = ("--checkpoint", tiny, "--steps", 2, "--out", tmp_path / "out", "--wildcards", cards, "--json")
    document = command(capfd, "generate", TEMPLATE, "a plain kite", "--count", 6, *options).document
    rows = document["images"]
    assert [row["seed"] for row in rows] == [*range(6), *range(6)] and {row.get("template") for row in rows[6:]} == {None}
    assert len({row["prompt"] for row in rows[:6]}) > 2 and {row["prompt"] for row in rows[6:]} == {"a plain kite"}
    assert {row["template"] for row in rows[:6]} == {TEMPLATE} == {read_provenance(row["path"])["template"] for row in rows[:6]}
    assert document["templates"] == [{"template": TEMPLATE, "prompts": len({row["prompt"] for row in rows[:6]}), "more": False}]
    assert document["used"]["images"] == 12
    later = command(capfd, "generate", TEMPLATE, "--seed", 3, "--count", 1, *options).document
    assert later["images"][0]["drawing_id"] == rows[3]["drawing_id"]
    redrawn = command(capfd, "generate", "--from", rows[0]["path"], "--checkpoint", tiny, "--out", tmp_path / "out", "--json").document
    assert redrawn["images"][0]["template"] == TEMPLATE
    with PromptDB.open(tmp_path / "out" / "limner.db") as db:
        run = Runs(db).get(document["run"])
        assert run is not None and run.prompt == f"{TEMPLATE} | a plain kite"


def test_every_prompt_of_a_template_is_drawn_on_the_same_seeds(
    capfd: pytest.CaptureFixture[str], tiny: Path, cards: Path, tmp_path: Path
) -> None:
    options = ("--checkpoint", tiny, "--steps", 2, "--out", tmp_path / "out", "--wildcards", cards)
    rows = command(capfd, "generate", TEMPLATE, "--combinatorial", "--count", 2, *options, "--json").document["images"]
    assert len({row["prompt"] for row in rows}) == 6 and [row["seed"] for row in rows] == [0, 1] * 6
    told = command(capfd, "generate", TEMPLATE, "--combinatorial", "--most", 4, *options)
    assert "4 prompts made of" in told.err and "--most" in told.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((TEMPLATE,), "place.txt by --wildcards"),
        (("a {red|blue kite",), "not closed"),
        (("a __../x__ kite", "--wildcards", "CARDS"), "leads out"),
        (("a __plase__ kite", "--wildcards", "CARDS"), "nearest is 'place'"),
        (("a kite", "--wildcards", "absent"), "no folder absent"),
        (("{a|b}", "--combinatorial", "--count", "40"), "80 pictures are more than the budget"),
        (("a kite", "--negative", "{x|y"), "not closed"),
    ],
)
def test_what_cannot_be_expanded_is_one_line_and_draws_nothing(
    capfd: pytest.CaptureFixture[str], tiny: Path, cards: Path, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    given = [str(cards) if argument == "CARDS" else argument for argument in arguments]
    result = command(capfd, "generate", *given, "--checkpoint", tiny, "--out", tmp_path / "out")
    assert result.code == 2 and result.out == "" and words in result.err and len(result.err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_template_is_refined_as_one_of_its_prompts_which_is_said(
    capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path
) -> None:
    small = ("--heldout-seeds", 2, "--search-seeds", 1, "--variants", 1, "--budget", 8, "--steps", 2, "--checkpoint", tiny)
    document = command(capfd, "refine", "a {red|blue} kite", *small, "--out", tmp_path / "out", "--json").document
    assert document["template"] == "a {red|blue} kite" and document["prompt"] in ("a red kite", "a blue kite")
    with PromptDB.open(tmp_path / "out" / "limner.db") as db:
        run = Runs(db).get(document["run"])
        assert run is not None and run.settings["template"] == "a {red|blue} kite" and run.prompt == document["prompt"]


@pytest.mark.parametrize("to", ["a1111", "comfyui", "compel", "df"])
def test_a_template_is_converted_as_text_and_never_called_exact(capfd: pytest.CaptureFixture[str], to: str) -> None:
    text = "a {red|2::blue} kite by the __place__, [dusk:0-0.5:1.2]"
    document = command(capfd, "convert", text, "--to", to, "--negative", "{blurry|dark}", "--steps", 20, "--json").document
    shown = str(document["output"]) + str(document["negative"])
    assert all(mark in shown for mark in ("{red|2::blue}", "__place__", "{blurry|dark}")) and document["fidelity"] != "exact"
    assert {reason["words"] for reason in document["reasons"]} >= {"{red|2::blue}", "__place__", "{blurry|dark}"}


def test_flags_behind_a_prompt_are_read_or_named(capfd: pytest.CaptureFixture[str]) -> None:
    document = command(capfd, "convert", "an otter --ar 3:2 --no people, text", "--to", "a1111", "--negative", "blurry", "--json").document
    assert (document["output"], document["negative"], document["fidelity"]) == ("an otter", "blurry, people, text", "unsupported")
    assert [reason["words"] for reason in document["reasons"]] == ["--ar 3:2"]
    same = command(capfd, "convert", "an otter -- a well--known one --at sea", "--to", "a1111", "--json").document
    assert same["output"] == "an otter -- a well--known one --at sea"


def test_a_batch_has_several_prompts_of_a_template_and_leaves_out_those_that_cannot_be_read(cards: Path) -> None:
    read = PromptFile((BatchPrompt(TEMPLATE, ("kite",)), BatchPrompt("a {b|c"), BatchPrompt("a mill")), 0, ())
    found = expanded_batch(read, 0, Expanding(cards))
    assert found.prompts[-1] == BatchPrompt("a mill") and 3 < len(found.prompts) <= 7
    assert {(prompt.template, prompt.pins) for prompt in found.prompts[:-1]} == {(TEMPLATE, ("kite",))}
    assert "'a {b|c' was left out" in found.notes[0] and "of 1 template" in found.notes[1]
    in_turn = expanded_batch(read, 0, Expanding(cards, combinatorial=True, most=2)).prompts
    assert [prompt.text for prompt in in_turn] == ["a red kite, pier", "a red kite, mill", "a mill"]
    for other in (Expanding(), Expanding(cards.parent / "absent")):
        with pytest.raises(BadInput):
            expanded_batch(read, 0, other)


def test_a_negative_prompt_may_be_a_template() -> None:
    found, _ = wanted(["a kite"], "{dark|dim}", range(30), Expanding())
    assert {item.negative for item in found} == {"dark", "dim"} and {item.prompt for item in found} == {"a kite"}
