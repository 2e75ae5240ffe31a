"""DF-Prompts on the command line: drawn end to end, and told step by step."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from limner.promptdb.errors import BadInput
from limner.promptdb.files.prompt_file import BatchPrompt, PromptFile
from limner.promptdb.records import Conditioning
from limner.serve.commands.generate import Manner, asked
from limner.serve.commands.reading import batch_in_words
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
        ("a [red:1-0.5:1] cat", "reversed"),
        ("a [red:0-2:1] cat", "leaves 0..1"),
        ("a [red:0-1:nan] cat", "a weight is a finite number of at least 0"),
        ("a [red:0-1:inf] cat", "a weight is a finite number of at least 0"),
        ("a [red:0-1:-1] cat", "a weight is a finite number of at least 0"),
        ("a [:0-1:1] cat", "no words"),
        ("a [c:0-1:1.5]at", "one token"),
        ("[" + "cat " * 2401 + ":0-0.5:1]", "2401 tokens"),
        ("a [cat|dog]", "no counterpart"),
        ("(cat:1.2) [red:0-1:1]", "--dialect df or a1111"),
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
    found = asked(stray, "", Manner(), "plain")
    assert [item.conditioning for item in found] == [Conditioning(line) for line in stray]
    assert command(capfd, "generate", stray[0], "--dialect", "df", *options).code == 2
    for extra in ((), ("--dialect", "df", "--lenient")):
        assert len(command(capfd, "generate", *stray, *extra, *options).document["images"]) == len(stray)


@pytest.mark.parametrize(
    ("prompt", "words", "note"),
    [
        ("a (red:1.2) cat, <lora:ink:0.8>", "a [red:0-1:1.2] cat", "<lora:ink:0.8>"),
        ("a [red:blue:0.5] cat", "a [red:0.5-1:1][blue:0-0.5:1] cat", "A1111"),
        ("a red cat BREAK a dog", "a red cat a dog", "BREAK"),
        ("a cat --ar 16:9", "a cat", "--ar 16:9"),
        ("cat " * 80, ("cat " * 80).strip(), "80 tokens"),
    ],
)
def test_every_dialect_is_drawn_and_what_is_left_out_is_said(
    capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path, prompt: str, words: str, note: str
) -> None:
    options = ("--checkpoint", tiny, "--steps", 2, "--out", tmp_path)
    done = command(capfd, "generate", prompt, *options, "--json").document
    assert done["images"][0]["prompt"] == words
    assert any(note in line for line in done["readings"][0]["notes"])
    assert note in command(capfd, "generate", prompt, *options).out


def test_what_is_not_wanted_may_stand_in_a_flag(capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path) -> None:
    options = ("--checkpoint", tiny, "--steps", 2, "--out", tmp_path, "--negative", "blurry", "--json")
    [image] = command(capfd, "generate", "a cat --no people, cars", *options).document["images"]
    assert (image["prompt"], image["negative"]) == ("a cat", "blurry, people, cars")


def test_refine_takes_a_df_prompt_and_keeps_what_it_says(capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path) -> None:
    seeds = ("--budget", 20, "--search-seeds", 1, "--heldout-seeds", 2, "--method", "rewrite", "--json")
    done = command(capfd, "refine", "a cat, [red:0.5-1:1.25]", "--checkpoint", tiny, "--out", tmp_path, "--steps", 2, *seeds).document
    assert (done["prompt"], done["dialect"]) == ("a cat, red", "df")
    for shown in filter(None, (done["result"], done["best_tried"])):
        assert "[red:0.5-1:1.25]" in shown["typed"]["prompt"] and "'red' acts in the first half, weight 1.25" in shown["acts"]
        assert shown["other_forms"]["a1111"]["prompt"]


def test_unknown_weightings_and_units_are_refused() -> None:
    with pytest.raises(BadInput, match="--weights knows mean_restore"):
        Manner(weights="heavy")
    with pytest.raises(BadInput, match="--ranges knows step, sigma"):
        Manner(ranges="second")


def test_a_batch_is_learned_on_its_words(tmp_path: Path) -> None:
    rows = ("a (red:1.2) cat <lora:x:1>", "a red cat", "a dog", "a [cat|dog]", "<lora:x:1>")
    read = batch_in_words(PromptFile(tuple(BatchPrompt(row) for row in rows), 0, ()), "auto")
    assert [prompt.text for prompt in read.prompts] == ["a red cat", "a dog"]
    assert "'a [cat|dog]' was left out" in read.notes[0] and "2 prompts have weights" in read.notes[1]
    with pytest.raises(BadInput, match="no words"):
        batch_in_words(PromptFile((BatchPrompt("<lora:x:1>"),), 0, ()), "auto")


def test_a_tag_loads_the_style_that_the_card_lists(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The same picture as by the checkpoint's name, at the tag's strength; another strength is another picture."""
    options = ("--steps", 2, "--out", tmp_path, "--json")
    drawn = {}
    for prompt, checkpoint in (
        ("a red car, cyberglow <lora:neon:0.8>", "miniature"),
        ("a red car, cyberglow", "miniature:neon@0.8"),
        ("a red car, cyberglow <lora:neon>", "miniature"),
        ("a red car, cyberglow", "miniature:neon"),
        ("a red car, cyberglow <lora:other:0.8>", "miniature"),
    ):
        done = command(capfd, "generate", prompt, "--checkpoint", checkpoint, *options).document
        drawn[prompt, checkpoint] = done["images"][0]["drawing_id"]
        assert "other" in prompt or not any("not loaded" in note for note in done["readings"][0]["notes"])
    weak, by_name, whole, plainly, other = drawn.values()
    assert weak == by_name and whole == plainly and len({weak, whole, other}) == 3
    refused = command(capfd, "generate", "a car", "--checkpoint", "miniature:neon@much", *options)
    assert refused.code == 2 and "neon@0.8" in refused.err
