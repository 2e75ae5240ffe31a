"""Prompts of a batch: every usual kind of file, and the unusual ones refused line by line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from limner.promptdb.errors import BadInput
from limner.promptdb.files.prompt_file import BatchPrompt, read_prompts


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_one_prompt_a_line_with_duplicates_merged(tmp_path: Path) -> None:
    found = read_prompts(written(tmp_path, "a.txt", "a cat\n\n  A  Cat \na dog\r\n"))
    assert found.prompts == (BatchPrompt("a cat"), BatchPrompt("a dog"))
    assert (found.duplicates, found.malformed) == (1, ())


def test_jsonl_brings_pins(tmp_path: Path) -> None:
    rows = [{"prompt": "a cat", "pins": ["cat"]}, "a dog", {"text": "a bird"}, {"prompt": "x", "pins": 3}, {"title": "x"}]
    found = read_prompts(written(tmp_path, "a.jsonl", "\n".join([*map(json.dumps, rows), "{"])))
    assert found.prompts == (BatchPrompt("a cat", ("cat",)), BatchPrompt("a dog"), BatchPrompt("a bird"))
    assert [line for line, _ in found.malformed] == [4, 5, 6]


def test_a_table_needs_a_header_and_may_bring_pins(tmp_path: Path) -> None:
    found = read_prompts(written(tmp_path, "a.csv", 'id,Prompt,pins\n1,"a cat, asleep",cat; asleep\n2,a dog,\n'))
    assert found.prompts == (BatchPrompt("a cat, asleep", ("cat", "asleep")), BatchPrompt("a dog"))
    assert read_prompts(written(tmp_path, "a.tsv", "prompt\na cat, asleep\n")).prompts == (BatchPrompt("a cat, asleep"),)
    with pytest.raises(BadInput, match="column 'prompt'"):
        read_prompts(written(tmp_path, "b.csv", "a cat,a dog\n1,2\n"))


def test_a_limit_stops_reading(tmp_path: Path) -> None:
    path = written(tmp_path, "a.txt", "".join(f"prompt {number}\n" for number in range(10_000)))
    assert len(read_prompts(path).prompts) == 10_000
    assert [prompt.text for prompt in read_prompts(path, 2).prompts] == ["prompt 0", "prompt 1"]


def test_a_line_of_ten_megabytes_is_left_out_and_reading_goes_on(tmp_path: Path) -> None:
    found = read_prompts(written(tmp_path, "a.txt", "x" * 10_000_000 + "\na cat\n"))
    assert found.prompts == (BatchPrompt("a cat"),)
    assert [line for line, _ in found.malformed] == [1]


@pytest.mark.parametrize("content", [b"", b"\n \n", bytes(range(256)) * 50, "\n".encode("utf-16")])
def test_a_file_without_prompts_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(BadInput) as caught:
        read_prompts(written(tmp_path, "a.txt", content))
    assert "\n" not in str(caught.value)


def test_a_binary_file_is_refused_though_some_of_its_lines_would_pass_as_prompts(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no text file"):
        read_prompts(written(tmp_path, "a.txt", b"a cat\n\x89PNG\r\n\x00\x00\na dog\n"))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"none\.txt cannot be read"):
        read_prompts(tmp_path / "none.txt")
