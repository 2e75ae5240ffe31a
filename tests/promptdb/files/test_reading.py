"""Files as other programs save them: one reader gives `db import` and `optimize` the same prompts of each."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from limner.promptdb.errors import BadInput
from limner.promptdb.files.ingest import ImportReport, import_file
from limner.promptdb.files.prompt_file import BatchPrompt, PromptFile, read_prompts
from limner.promptdb.records import Prompt
from limner.promptdb.store import PromptDB


def both(path: Path, column: str | None = None) -> tuple[list[Prompt], ImportReport, PromptFile]:
    """What an import stores and reports of a file, and what a batch takes from it."""
    with PromptDB.open(":memory:") as db:
        report = import_file(db, path, column=column)
        return list(db.prompts()), report, read_prompts(path, column=column)


def same(path: Path, *texts: str, column: str | None = None) -> tuple[list[Prompt], ImportReport, PromptFile]:
    """Checks that both commands read these texts, and that the counts add up."""
    prompts, report, batch = both(path, column)
    assert [prompt.text for prompt in prompts] == [prompt.text for prompt in batch.prompts] == list(texts)
    assert report.read == report.added + report.duplicates + report.malformed_rows
    assert (report.added, report.duplicates) == (len(batch.prompts), batch.duplicates)
    assert tuple(report.malformed) == batch.malformed
    return prompts, report, batch


def file(folder: Path, name: str, content: str, encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(content.encode(encoding))
    return path


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", ["a.csv", "a.txt", "a"])
def test_a_table_of_any_separator_and_encoding_is_read(tmp_path: Path, separator: str, encoding: str, name: str) -> None:
    out = io.StringIO()
    rows = [["Nr", "Prompt", "Negative prompt"], ["1", 'a "blue" bârn, rain; mist | fog', "blurry"], ["2", "a hen\r\nat dawn\tin grey", ""]]
    csv.writer(out, delimiter=separator, quoting=csv.QUOTE_ALL).writerows(rows)
    prompts, report, _ = same(file(tmp_path, name, out.getvalue(), encoding), rows[1][1], "a hen\nat dawn\tin grey")
    assert [prompt.negative for prompt in prompts] == ["blurry", ""] and report.malformed == [] and report.notes == []


@pytest.mark.parametrize("mark", [b"\xff\xfe", b"\xfe\xff"])
def test_lines_of_notepads_unicode_are_read_in_both_orders(tmp_path: Path, mark: bytes) -> None:
    encoding = "utf-16-le" if mark == b"\xff\xfe" else "utf-16-be"
    (tmp_path / "a.txt").write_bytes(mark + "a grey heron\r\n\r\na café 😀\r\n".encode(encoding))
    same(tmp_path / "a.txt", "a grey heron", "a café 😀")
    (tmp_path / "a.txt").write_bytes(mark + "a grey heron\n".encode(encoding) + b"a")  # half a character behind it
    assert [line for line, _ in same(tmp_path / "a.txt", "a grey heron")[1].malformed] == [2]


def test_excels_sep_line_names_the_separator(tmp_path: Path) -> None:
    batch = same(file(tmp_path, "a.csv", "sep=;\r\nprompt;pins\r\na red kite, high;kite\r\na mole;\r\n"), "a red kite, high", "a mole")[2]
    assert batch.prompts[0] == BatchPrompt("a red kite, high", ("kite",))
    same(file(tmp_path, "b.csv", "SEP=~\nid~prompt\n1~a, b; c\n"), "a, b; c")


def test_windows_1252_is_read_and_said(tmp_path: Path) -> None:
    path = file(tmp_path, "a.csv", "prompt,notes\r\nun château – la nuit,ok\r\na red fox,fine\r\n", "cp1252")
    _, report, batch = same(path, "un château – la nuit", "a red fox")
    assert len(report.notes) == 1 and "Windows-1252" in report.notes[0] and tuple(report.notes) == batch.notes


def test_one_broken_line_in_a_file_of_utf8_is_refused_and_not_guessed_at(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("a café\n".encode() + b"caf\xe9\n" + b"a dog\n")
    report = same(tmp_path / "a.txt", "a café", "a dog")[1]
    assert [line for line, _ in report.malformed] == [2] and report.notes == []


def test_bytes_that_are_no_text_are_refused_by_both(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"a cat\n\x89PNG\r\n\x00\x00\na dog\n")
    with PromptDB.open(":memory:") as db, pytest.raises(BadInput, match="no text file"):
        import_file(db, tmp_path / "a.txt")
    with pytest.raises(BadInput, match="no text file"):
        read_prompts(tmp_path / "a.txt")


def test_lines_that_end_in_a_bare_carriage_return_are_lines(tmp_path: Path) -> None:
    same(file(tmp_path, "a.csv", "prompt;seed\ra moth;3\ra wasp;4\r"), "a moth", "a wasp")


def test_a_single_column_may_have_commas_and_blank_cells_behind_the_last_are_nothing(tmp_path: Path) -> None:
    same(file(tmp_path, "a.csv", "prompt\na moth, macro\n"), "a moth, macro")
    report = same(file(tmp_path, "b.csv", "id,prompt\n1,a moth,,\n2,a wasp,x\n3\n"), "a moth")[1]
    assert [line for line, _ in report.malformed] == [3, 4]


def test_a_picture_of_civitai_brings_its_data_and_one_without_is_refused(tmp_path: Path) -> None:
    meta = {"prompt": "a tin robot", "negativePrompt": "rust", "seed": 5, "steps": 20, "sampler": "DPM++ 2M", "cfgScale": 6.5, "Model": "m"}
    items = [
        {"id": 11, "width": 640, "height": 960, "nsfw": True, "nsfwLevel": "Soft", "username": "ann", "meta": meta},
        {"id": 12, "meta": {"id": 12, "meta": {"prompt": "a paper boat"}}, "nsfwLevel": 4},
        {"id": 13, "meta": None},
        {"id": 14, "meta": {"Size": "1x1"}},
    ]
    path = file(tmp_path, "images.json", json.dumps({"items": items, "metadata": {"nextCursor": "1|2"}}))
    prompts, report, _ = same(path, "a tin robot", "a paper boat")
    assert (prompts[0].negative, prompts[0].nsfw, [number for number, _ in report.malformed]) == ("rust", 0.25, [3, 4])
    with PromptDB.open(":memory:") as db:
        import_file(db, path)
        columns = "name, seed, steps, cfg, width, height, (SELECT text FROM label WHERE number = sampler)"
        assert db.query(f"SELECT {columns} FROM picture ORDER BY prompt LIMIT 1") == [("11", 5, 20, 6.5, 640, 960, "DPM++ 2M")]


@pytest.mark.parametrize(
    "row",
    [
        {"input": "a fox", "target": "a fox, ink, sharp"},
        {"input": "a fox", "output": "a fox, ink, sharp"},
        {"instruction": "a fox", "input": "", "output": "a fox, ink, sharp"},
        {"prompt": "a fox", "completion": "a fox, ink, sharp"},
        {"conversations": [{"from": "human", "value": "a fox"}, {"from": "gpt", "value": "a fox, ink, sharp"}]},
        {"messages": [{"role": "system", "content": "Help."}, {"role": "user", "content": [{"type": "text", "text": "a fox"}]},
                      {"role": "assistant", "content": "a fox, ink, sharp"}]},
    ],
)  # fmt: skip
def test_of_a_pair_or_a_chat_the_database_gets_both_halves_and_a_batch_the_plain_one(tmp_path: Path, row: dict[str, object]) -> None:
    for name, content in (("a.jsonl", json.dumps(row) + "\n"), ("a.json", json.dumps([row])), ("b.json", json.dumps(row, indent=1))):
        prompts, report, batch = both(file(tmp_path, name, content))
        assert prompts == [Prompt("a fox, ink, sharp", name[0], "a fox")] and report.malformed == []
        assert batch.prompts == (BatchPrompt("a fox"),) and "pair" in batch.notes[0]


def test_a_chat_without_an_answer_is_refused(tmp_path: Path) -> None:
    rows = [{"messages": [{"role": "user", "content": "a fox"}]}, {"messages": ["a fox"]}, {"messages": []}, "a hen"]
    report = same(file(tmp_path, "a.jsonl", "\n".join(map(json.dumps, rows))), "a hen")[1]
    assert [line for line, _ in report.malformed] == [1, 2, 3]


def test_captions_are_read_by_the_name_of_their_column(tmp_path: Path) -> None:
    rows = [{"url": "u", "TEXT_": "no", "Caption": "a pier"}, {"url": "v", "TEXT_": "no", "Caption": "a mill"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    file(tmp_path, "a.csv", "url;TEXT_;Caption\nu;no;a pier\nv;no;a mill\n")
    file(tmp_path, "a.jsonl", "\n".join(map(json.dumps, rows)))
    file(tmp_path, "a.json", json.dumps(rows))
    file(tmp_path, "unnamed", "url\tCaption\nu\ta pier\nv\ta mill\n")
    for name in ("a.parquet", "a.csv", "a.jsonl", "a.json", "unnamed"):
        same(tmp_path / name, "a pier", "a mill", column="Caption")
        same(tmp_path / name, "a pier", "a mill", column="caption")
    for name in ("a.parquet", "a.csv"):
        with pytest.raises(BadInput, match="--column"):
            read_prompts(tmp_path / name)
    with pytest.raises(BadInput, match="no columns"):
        read_prompts(file(tmp_path, "a.txt", "a pier\n"), column="caption")


def test_nan_in_json_counts_as_missing(tmp_path: Path) -> None:
    rows = '{"prompt": "a pier", "negative_prompt": NaN, "seed": NaN, "cfg": Infinity, "pins": NaN}\n{"prompt": NaN}\n'
    prompts, report, _ = same(file(tmp_path, "a.jsonl", rows), "a pier")
    assert prompts[0].negative == "" and [line for line, _ in report.malformed] == [2]


def test_comments_of_a_text_file_are_no_prompts(tmp_path: Path) -> None:
    report = same(file(tmp_path, "a.txt", "# my list\na pier\n#1 in the charts, a mill\n#\n"), "a pier", "#1 in the charts, a mill")[1]
    assert report.read == 2


texts = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=30).map(str.strip).filter(bool)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(texts, min_size=1, max_size=5), separator=st.sampled_from(",;\t|"), encoding=st.sampled_from(["utf-8-sig", "utf-16"]))
def test_whatever_a_spreadsheet_writes_comes_back(tmp_path: Path, rows: list[str], separator: str, encoding: str) -> None:
    out = io.StringIO()
    csv.writer(out, delimiter=separator).writerows([["nr", "prompt"], *([str(number), text] for number, text in enumerate(rows))])
    _, report, batch = both(file(tmp_path, "any.csv", out.getvalue(), encoding))
    assert report.malformed_rows == 0 and report.read == len(rows)
    listed = both(file(tmp_path, "any.json", json.dumps(rows)))[2]
    assert batch.prompts == listed.prompts
