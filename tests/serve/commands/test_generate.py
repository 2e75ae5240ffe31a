"""DF-Prompts on the command line: drawn end to end, and told step by step."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from limner.promptdb.errors import BadInput
from limner.promptdb.records import Conditioning
from limner.serve.commands.generate import Reading, asked
from tests.commands import command
from tests.prompt_samples import SHORT, bracketed
from tests.tiny_card import tiny_with_card

PROMPT = "a cat, [red:0.5->0:1.5], [blue:0.5-1:0.75]"

pytestmark = pytest.mark.filterwarnings("ignore:the embedding has next to no mean")  # as those of untrained encoders


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield tiny_with_card(tmp_path_factory.mktemp("asking") / "sd1")


def test_a_df_prompt_is_drawn_told_and_drawn_again(capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path) -> None:
    options = ("--checkpoint", tiny, "--steps", 4, "--out", tmp_path)
    document = command(capfd, "generate", PROMPT, "a cat, , blue", "--negative", "[dog:0-0.5:1]", "--json", *options).document
    assert [row["prompt"] for row in document["images"]] == ["a cat, [red:0-0.5:1.5], [blue:0.5-1:0.75]", "a cat, , blue"]
    assert {row["negative"] for row in document["images"]} == {"[dog:0-0.5:1]"}
    assert document["used"]["unet_rows"] == 2 * 2 * 4
    words = [(row["words"], row["negative"], row["weight"], row["start"], row["stop"]) for row in document["schedule"][0]["words"]]
    assert words == [("a cat", False, 1, 0, 4), ("red", False, 1.5, 2, 4), ("blue", False, 0.75, 0, 2), ("dog", True, 1, 2, 4)]
    pictures = [Image.open(row["path"]).tobytes() for row in document["images"]]
    assert pictures[0] != pictures[1]
    again = command(capfd, "generate", "--from", document["images"][0]["path"], "--json", *options).document
    assert again["images"][0]["drawing_id"] == document["images"][0]["drawing_id"]

    told = command(capfd, "generate", PROMPT, "--schedule", *options)
    assert told.code == 0 and "2 to 3" in told.out and "of 4 calls" in told.out and "█" in told.out


def test_a_range_of_the_noise_level_ends_earlier_than_one_of_the_steps(
    capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path
) -> None:
    options = ("--checkpoint", tiny, "--steps", 10, "--out", tmp_path, "--json")
    ends = [
        command(capfd, "generate", "a [red:0.5-1:1] cat", "--ranges", unit, *options).document["schedule"][0]["words"][1]["stop"]
        for unit in ("step", "sigma")
    ]
    assert ends[0] == 5 and 0 < ends[1] < 5


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("a cat [", "character 7"),
        ("a [red:1-0.5:1] cat", "reversed"),
        ("a [red:0-2:1] cat", "leaves 0..1"),
        ("a [red:0-1:nan] cat", "a weight is a finite number above 0"),
        ("a [red:0-1:inf] cat", "a weight is a finite number above 0"),
        ("a [red:0-1:0] cat", "a weight is a finite number above 0"),
        ("a [red:0-1:-1] cat", "a weight is a finite number above 0"),
        ("a [[red]:0-1:1] cat", "do not nest"),
        ("a [] cat", "empty"),
        ("a [:0-1:1] cat", "no words"),
        ("a [cat:dog:0.5]", "--from a1111"),
        ("a [c:0-1:1.5]at", "one token"),
        ("[" + "cat " * 80 + ":0-0.5:1]", "80 tokens"),
    ],
)
def test_bad_input_is_one_line_with_the_place(
    capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path, prompt: str, message: str
) -> None:
    result = command(capfd, "generate", prompt, "--checkpoint", tiny, "--steps", 2, "--out", tmp_path)
    assert result.code == 2 and message in result.err and result.err.count("\n") == 1
    assert not list(tmp_path.glob("*generate*"))


def test_ten_thousand_triples_are_read_and_refused_by_their_tokens(capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path) -> None:
    result = command(capfd, "generate", "[a:0-0.5:2] " * 10_000, "--checkpoint", tiny, "--steps", 2, "--out", tmp_path)
    assert result.code == 2 and "10000 tokens" in result.err


def test_prompts_with_stray_brackets_are_drawn_as_text(capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path) -> None:
    stray = bracketed(SHORT)
    assert stray
    options = ("--checkpoint", tiny, "--steps", 1, "--out", tmp_path, "--truncate", "--json")
    assert command(capfd, "generate", stray[0], *options).code == 2
    found = asked(stray, "", Reading(lenient=True))
    assert found == [Conditioning(line) for line in stray]
    assert len(command(capfd, "generate", *stray, "--lenient", *options).document["images"]) == len(stray)


def test_refine_takes_plain_words(capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path) -> None:
    result = command(capfd, "refine", PROMPT, "--checkpoint", tiny, "--out", tmp_path / "out")
    assert result.code == 2 and "'a cat, red, blue'" in result.err and not (tmp_path / "out").exists()


def test_unknown_weightings_and_units_are_refused() -> None:
    with pytest.raises(BadInput, match="--weights knows mean_restore"):
        Reading(weights="heavy")
    with pytest.raises(BadInput, match="--ranges knows step, sigma"):
        Reading(ranges="second")
