"""Wildcards of a folder: text and YAML files by their names, patterns, and nothing outside the folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from limner.promptdb.errors import BadInput
from limner.promptdb.files.wildcard_files import MOST_BYTES, WildcardFolder
from limner.tools.prompt_language.wildcards import parse


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "cards"
    (root / "colours").mkdir(parents=True)
    (root / "season.txt").write_bytes("\ufeff# of the year\nsummer\r\n\r\n  3::winter \n".encode())
    (root / "colours" / "warm.txt").write_text("red\nochre\n")
    (root / "colours" / "Cold.txt").write_bytes(b"\xff\xfe" + "bläu\n".encode("utf-16-le"))
    (root / "more.yaml").write_text("hats: [cap, yes, 12]\nart:\n  dutch:\n    - |\n      Piet\n      M.\n  none: 5\n")
    (root / "list.yml").write_text("- one\n- two\n")
    (tmp_path / "secret.txt").write_text("secret\n")
    return root


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("season", ["summer", "3::winter"]),
        ("colours/warm", ["red", "ochre"]),
        ("Colours/COLD", ["bläu"]),
        ("colours/*", ["bläu", "red", "ochre"]),
        ("*warm", ["red", "ochre"]),
        ("hats", ["cap", "yes", "12"]),
        ("more/hats", ["cap", "yes", "12"]),
        ("*hats", ["cap", "yes", "12"]),
        ("art/dutch", ["Piet M."]),
        ("list", ["one", "two"]),
    ],
)
def test_a_name_gives_the_values_of_its_files(folder: Path, name: str, values: list[str]) -> None:
    assert list(WildcardFolder(folder).values(name)) == values


@pytest.mark.parametrize("name", ["../secret", "colours/../../secret", "/etc/passwd", "~/x", "..", "c:x", "a\\b"])
def test_a_name_that_leads_out_of_the_folder_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(BadInput, match="leads out of the folder"):
        WildcardFolder(folder).values(name)


def test_a_link_that_leads_out_of_the_folder_is_no_wildcard(folder: Path) -> None:
    (folder / "linked.txt").symlink_to(folder.parent / "secret.txt")
    with pytest.raises(BadInput, match="no wildcard 'linked'"):
        WildcardFolder(folder).values("linked")


def test_an_unknown_name_is_answered_with_the_nearest_or_some(folder: Path) -> None:
    with pytest.raises(BadInput, match="nearest is 'season'"):
        WildcardFolder(folder).values("seasons")
    with pytest.raises(BadInput, match=r"there are .*colours/cold"):
        WildcardFolder(folder).values("zzzz")
    with pytest.raises(BadInput, match="no folder"):
        WildcardFolder(folder / "absent")


def test_files_that_cannot_be_used_are_one_line(folder: Path) -> None:
    (folder / "empty.txt").write_text("# nothing\n")
    (folder / "binary.txt").write_bytes(b"\x89PNG\x00\xff")
    (folder / "huge.txt").write_bytes(b"x\n" * (MOST_BYTES // 2 + 1))
    for name, words in (("empty", "no values"), ("binary", "no text file"), ("huge", "MB")):
        with pytest.raises(BadInput, match=words) as error:
            WildcardFolder(folder).values(name)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content",
    ["a: [b", "a: &a [*b]", "a: &x {b: *x}", "\t- x", "a: " + "{a: " * 50 + "1" + "}" * 50, "x: !!python/object/apply:os.getcwd []\n\0"],
)
def test_yaml_that_is_broken_or_turns_in_circles_is_one_line_and_makes_no_objects(folder: Path, content: str) -> None:
    (folder / "bad.yaml").write_text(content)
    with pytest.raises(BadInput) as error:
        WildcardFolder(folder).values("absent")
    assert "bad.yaml" in str(error.value) and "\n" not in str(error.value)


def test_yaml_that_unfolds_to_ever_more_is_refused(folder: Path) -> None:
    rows = ["a0: &a0 {" + ", ".join(f"k{key}: [x]" for key in range(10)) + "}"]
    rows += [f"a{n}: &a{n} {{" + ", ".join(f"k{key}: *a{n - 1}" for key in range(10)) + "}" for n in range(1, 9)]
    (folder / "bomb.yaml").write_text("\n".join(rows))
    with pytest.raises(BadInput, match="values"):
        WildcardFolder(folder).values("a8")


def test_a_value_that_is_no_template_is_named_with_its_wildcard(folder: Path) -> None:
    (folder / "odd.txt").write_text("a {b|c\n")
    with pytest.raises(BadInput, match="a value of the wildcard 'odd'"):
        parse("__odd__").check(WildcardFolder(folder))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(st.sampled_from("abc./\\*?[]~:-_%"), max_size=12))
def test_no_name_is_an_error_or_shows_what_is_outside(folder: Path, name: str) -> None:
    try:
        assert "secret" not in WildcardFolder(folder).values(name)
    except BadInput as error:
        assert "\n" not in str(error)
