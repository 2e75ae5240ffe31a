"""Flags of A1111's script and of Midjourney in lines of text; words that only look like flags stay words."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.promptdb.files.ingest import import_file
from limner.promptdb.files.prompt_file import read_prompts
from limner.promptdb.files.prompt_flags import Flagged, may_have_flags, read_flags
from limner.promptdb.files.text_lines import Malformed
from limner.promptdb.records import Prompt
from limner.promptdb.store import PromptDB


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('--prompt "an old mill" --negative_prompt "people" --seed 12', Flagged("an old mill", "people", {"seed": "12"})),
        ('--prompt "a mill --no water" --steps 9', Flagged("a mill --no water", "", {"steps": "9"})),
        ("--prompt an old mill --width 512 --height 640", Flagged("an old mill", "", {"width": "512", "height": "640"})),
        ('--prompt "x" --sampler_name "Euler a" --restore_faces true', Flagged("x true", "", {"sampler": "Euler a"}, ("--restore_faces",))),
        ("an old mill --ar 3:2 --no people, boats", Flagged("an old mill", "people, boats", {}, ("--ar 3:2",))),
        ("an old mill --no people --no boats --v 6.1", Flagged("an old mill", "people, boats", {}, ("--v 6.1",))),
        ("/imagine prompt: an old mill --style raw --tile", Flagged("an old mill", "", {}, ("--style raw", "--tile"))),
        ("/imagine an old mill", Flagged("an old mill")),
        ("an old mill —ar 3:2 in fog", Flagged("an old mill in fog", "", {}, ("--ar 3:2",))),
        ("an old mill --sref 123 456 --cw 20", Flagged("an old mill", "", {}, ("--sref 123 456", "--cw 20"))),
        ("a well--known mill -- in fog --the end", Flagged("a well--known mill -- in fog --the end")),
        ("a mill — old, and —no joke", Flagged("a mill — old, and", "joke")),
        ("a mill 4--5 pm, 1920–1930", Flagged("a mill 4--5 pm, 1920–1930")),
    ],
)
def test_a_line_is_read(line: str, found: Flagged) -> None:
    assert read_flags(line) == found


@pytest.mark.parametrize("line", ["--seed 3", '--prompt "a mill', "--no people"])
def test_flags_without_a_prompt_and_open_quotes_are_refused(line: str) -> None:
    with pytest.raises(Malformed):
        read_flags(line)


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=60))
def test_a_line_that_cannot_have_flags_is_left_as_it_is(line: str) -> None:
    if not may_have_flags(line):
        assert read_flags(line) == Flagged(line.strip())


@given(st.lists(st.sampled_from(["a mill", "--no", "--ar", "3:2", '"', "--prompt", "--seed", "—v", "--", "/imagine"]), max_size=8))
def test_no_line_is_an_error(parts: list[str]) -> None:
    try:
        found = read_flags(" ".join(parts))
    except Malformed:
        return
    assert "--ar" not in found.text.split() and (found.text or "--no" not in parts)


def test_negatives_reach_the_database_and_what_is_left_out_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("an old mill --ar 3:2 --no people\na pier --ar 1:1\n--seed 3\n")
    with PromptDB.open(":memory:") as db:
        report = import_file(db, path)
        assert list(db.prompts()) == [Prompt("an old mill", "mine", negative="people"), Prompt("a pier", "mine")]
    assert report.notes == ["flags of other programs left out: --ar 3:2 (2 times)"] and [line for line, _ in report.malformed] == [3]
    assert report.notes[0] in read_prompts(path).notes
