"""Every kind of file that prompts come in: found out by what is in it, read as a stream, as it is or packed."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import promptdb_rows
from limner.promptdb.errors import BadInput
from limner.promptdb.files.file_kinds import file_kind
from limner.promptdb.files.ingest import LISTED, import_file
from limner.promptdb.records import Prompt
from limner.promptdb.store import PromptDB

UUID = "ec9b5e2c-028e-48ac-8857-a52814fd2a06"


@pytest.fixture
def db():
    with PromptDB.open(":memory:") as opened:
        yield opened


def diffusiondb(path: Path, **columns: list[object]) -> Path:
    """A table in DiffusionDB's schema; what is not given is the same in all rows."""
    count = len(next(iter(columns.values())))
    given = {
        **{"image_name": [f"{UUID[:-4]}{number:04x}.png" for number in range(count)], "prompt": ["a cat"] * count},
        **{"part_id": [1] * count, "seed": [2**32 - 1] * count, "step": [50] * count, "cfg": [7.5] * count, "sampler": [8] * count},
        **{"width": [512] * count, "height": [768] * count, "user_name": ["deleted_account"] * count},
        **{"timestamp": [1_660_000_000_000_000] * count, "image_nsfw": [0.25] * count, "prompt_nsfw": [0.125] * count},
        **columns,
    }
    schema = promptdb_rows.SCHEMA
    pq.write_table(pa.table([pa.array(given[field.name], field.type) for field in schema], schema=schema), path)
    return path


def texts(db: PromptDB) -> list[str]:
    return [prompt.text for prompt in db.prompts()]


def test_the_thirteen_columns_of_diffusiondb_become_a_prompt_and_its_pictures(db: PromptDB, tmp_path: Path) -> None:
    path = diffusiondb(tmp_path / "metadata.parquet", prompt=["a cat, oil", "a cat, oil", "a dog"])
    report = import_file(db, path)
    assert (report.added, report.duplicates, report.pictures, report.malformed) == (2, 1, 3, [])
    assert next(db.prompts()) == Prompt("a cat, oil", "metadata", nsfw=0.125)
    columns = "prompt, part, seed, steps, cfg, width, height, made, nsfw"
    assert db.query(f"SELECT {columns} FROM picture LIMIT 1") == [(1, 1, 2**32 - 1, 50, 7.5, 512, 768, 1_660_000_000, 0.25)]
    labels = "SELECT (SELECT text FROM label WHERE number = sampler), (SELECT text FROM label WHERE number = author) FROM picture LIMIT 1"
    assert db.query(labels) == [("k_lms", "deleted_account")]
    assert db.query("SELECT count(*) FROM picture WHERE typeof(name) = 'blob' AND length(name) = 16") == [(3,)]


def test_the_null_columns_of_diffusiondb_stay_unknown(db: PromptDB, tmp_path: Path) -> None:
    path = diffusiondb(tmp_path / "m.parquet", user_name=[None], timestamp=[None], prompt_nsfw=[float("nan")])
    assert import_file(db, path).added == 1
    assert db.query("SELECT author, made FROM picture") == [(None, None)]
    assert next(db.prompts()).nsfw is None


def test_rows_of_a_table_that_cannot_be_used_are_named_by_number(db: PromptDB, tmp_path: Path) -> None:
    long = "x" * 20_001
    path = diffusiondb(tmp_path / "m.parquet", prompt=["a cat", None, "", "bell \x07", long, "  a dog  ", "ru\x85n"])
    report = import_file(db, path)
    assert [number for number, _ in report.malformed] == [2, 3, 4, 5, 7] and report.malformed_rows == 5
    assert "no field" in report.malformed[0][1] and "U+0007" in report.malformed[2][1] and "longer" in report.malformed[3][1]
    assert texts(db) == ["a cat", "a dog"] and report.pictures == 2


def test_text_of_a_table_that_is_no_utf8_is_named_and_the_rest_kept(db: PromptDB, tmp_path: Path) -> None:
    raw = pa.array([b"a cat", b"caf\xe9", b"a dog"]).cast(pa.binary())
    offsets = pa.StringArray.from_buffers(3, raw.buffers()[1], raw.buffers()[2])
    pq.write_table(pa.table({"prompt": offsets}), tmp_path / "m.parquet")
    report = import_file(db, tmp_path / "m.parquet")
    assert [(number, "UTF-8" in reason) for number, reason in report.malformed] == [(2, True)]
    assert texts(db) == ["a cat", "a dog"]


def test_a_picture_of_both_editions_of_diffusiondb_is_one(db: PromptDB, tmp_path: Path) -> None:
    import_file(db, diffusiondb(tmp_path / "metadata.parquet", image_name=[f"{UUID}.png"]))
    report = import_file(db, diffusiondb(tmp_path / "metadata-large.parquet", image_name=[f"{UUID}.webp"]))
    assert (report.added, report.pictures) == (0, 0)


def test_a_part_of_diffusiondb_names_its_pictures_by_key(db: PromptDB, tmp_path: Path) -> None:
    path = tmp_path / "part-000001.json"
    path.write_text(json.dumps({f"{UUID}.png": {"p": "a cat, oil", "se": 38753269, "c": 12.0, "st": 50, "sa": "k_lms"}}))
    assert import_file(db, path).pictures == 1
    assert texts(db) == ["a cat, oil"]
    assert db.query("SELECT seed, cfg, steps FROM picture") == [(38753269, 12.0, 50)]


def test_lexicas_answer_is_read_tolerantly(db: PromptDB, tmp_path: Path) -> None:
    whole = {"id": "0482ee68", "prompt": "a cat, oil", "seed": "1413536227", "guidance": 7, "width": 512, "height": 768, "nsfw": False}
    poor = {"id": "1", "prompt": "a dog", "seed": "none", "guidance": None, "model": "lexica-aperture-v2", "nsfw": True}
    path = tmp_path / "lexica.json"
    path.write_text(json.dumps({"images": [{**whole, "grid": False, "src": "x"}, poor, {"id": "2"}, "words"]}))
    report = import_file(db, path)
    assert (report.added, report.pictures) == (3, 2) and [number for number, _ in report.malformed] == [3]
    assert db.query("SELECT name, seed, cfg FROM picture ORDER BY prompt") == [("0482ee68", 1413536227, 7.0), ("1", None, None)]
    assert [prompt.nsfw for prompt in db.prompts()] == [0.0, 1.0, None]


def test_a_query_that_found_a_prompt_is_its_subject(db: PromptDB, tmp_path: Path) -> None:
    (tmp_path / "by_query.jsonl").write_text(json.dumps({"query": "A tiger", "prompt": "tiger face, 8k"}) + "\n")
    import_file(db, tmp_path / "by_query.jsonl")
    assert next(db.prompts()) == Prompt("tiger face, 8k", "by_query", "A tiger")


def test_a_table_with_quotes_commas_and_line_breaks_is_read(db: PromptDB, tmp_path: Path) -> None:
    rows = [["prompt", "negative_prompt", "nsfw"], ['a "cat", oil', "blurry, text", "0.5"], ["two\nlines", "", ""]]
    with (tmp_path / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    assert import_file(db, tmp_path / "t.csv").malformed == []
    assert list(db.prompts()) == [Prompt('a "cat", oil', "t", negative="blurry, text", nsfw=0.5), Prompt("two\nlines", "t")]


def test_broken_quotes_cost_their_own_line_alone(db: PromptDB, tmp_path: Path) -> None:
    lines = [
        "prompt,nsfw",
        "a cat,0.1",
        '"never closed,0.1',
        "a dog,0.1",
        'a "bad" quote"",x',
        '"half"way,0.1',
        "too,many,fields",
        "a bird,0.1",
    ]
    (tmp_path / "t.csv").write_text("\n".join([*lines, *(f"filler {number},0" for number in range(60))]) + "\n")
    report = import_file(db, tmp_path / "t.csv")
    assert [number for number, _ in report.malformed] == [3, 5, 6, 7]
    assert texts(db)[:3] == ["a cat", "a dog", "a bird"] and len(texts(db)) == 63


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a", '{"text": "x"}\n{"text": "y"}\n', "jsonl"),
        ("a", '{"images": []}', "json"),
        ("a", f'{{"{UUID}.png": {{"p": "x"}}}}', "json"),
        ("a", '[{"text": "x"},\n {"text": "y"}]', "json"),
        ("a", "id,prompt\n1,x\n", "csv"),
        ("a", "id\tprompt\n1\tx\n", "tsv"),
        ("a", "a cat, in a hat\na dog\n", "text"),
        ("a.txt", '{"text": "x"}\n', "text"),
        ("a.txt", "poster, text, logo\na dog\n", "text"),
        ("a.txt", "id, prompt\n1,x\n", "csv"),
        ("a.txt", "id;text\n1;x\n", "csv"),
        ("a.csv", '"id"|"text"\n', "csv"),
        ("a", "sep=;\nprompt;n\n", "csv"),
        ("a", '{"items": [{"meta": {"prompt": "x"}}]}', "json"),
        ("a.csv", "name,prompt,negative_prompt\nInk,ink,\n", "styles"),
        ("a.jsonl", "no json\n", "jsonl"),
    ],
)
def test_the_kind_is_known_by_the_name_or_else_by_the_content(tmp_path: Path, name: str, content: str, kind: str) -> None:
    (tmp_path / name).write_text(content)
    assert file_kind(tmp_path / name).kind == kind


@pytest.mark.parametrize("packing", ["gz", "zst"])
@pytest.mark.parametrize("kind", ["parquet", "jsonl", "csv", "json", "txt"])
def test_a_packed_file_is_read_like_the_file_in_it(tmp_path: Path, packing: str, kind: str) -> None:
    plain = tmp_path / f"mine.{kind}"
    if kind == "parquet":
        diffusiondb(plain, prompt=["a cat", "a dog"])
    else:
        plain.write_text(
            {"jsonl": '"a cat"\n"a dog"\n', "csv": "prompt\na cat\na dog\n", "json": '["a cat", "a dog"]', "txt": "a cat\na dog"}[kind]
        )
    content = plain.read_bytes()
    packed = gzip.compress(content[:10]) + gzip.compress(content[10:]) if packing == "gz" else pa.compress(content, "zstd", asbytes=True)
    (tmp_path / f"mine.{kind}.{packing}").write_bytes(packed)
    (tmp_path / "unnamed").write_bytes(packed)
    for name in (f"mine.{kind}.{packing}", "unnamed"):
        with PromptDB.open(":memory:") as db:
            if name == "unnamed" and kind == "csv":
                continue  # one column of prompts has no comma to tell a table by
            assert import_file(db, tmp_path / name).added == 2
            assert next(db.prompts()).source == name.split(".")[0]


@pytest.mark.parametrize("packing", ["gz", "zst"])
def test_a_packed_file_that_is_cut_off_keeps_what_was_read_and_says_so(tmp_path: Path, packing: str) -> None:
    content = "".join(f"prompt number {number} of {number * 7919 % 104729}\n" for number in range(100_000)).encode()
    whole = gzip.compress(content) if packing == "gz" else pa.compress(content, "zstd", asbytes=True)
    path = tmp_path / f"cut.txt.{packing}"
    path.write_bytes(whole[: len(whole) // 2])
    with PromptDB.open(":memory:") as db:
        with pytest.raises(BadInput, match="fetch it again") as error:
            import_file(db, path)
        assert "cut.txt" in str(error.value)
        kept = db.count_prompts()
        path.write_bytes(whole)
        report = import_file(db, path)
        assert db.count_prompts() == 100_000 == kept + report.added


def test_a_parquet_file_that_is_cut_off_is_refused_in_one_line(db: PromptDB, tmp_path: Path) -> None:
    path = diffusiondb(tmp_path / "m.parquet", prompt=[f"prompt {number}" for number in range(1000)])
    content = path.read_bytes()
    for broken in (content[: len(content) // 2], content[:4] + b"\0" * (len(content) - 8) + content[-4:], b"PAR1", b"not at all"):
        path.write_bytes(broken)
        with pytest.raises(BadInput, match="fetch it again") as error:
            import_file(db, path)
        assert "m.parquet" in str(error.value) and "\n" not in str(error.value)
    assert db.count_prompts() == 0


def test_a_table_without_prompts_is_refused_with_the_columns_it_has(db: PromptDB, tmp_path: Path) -> None:
    pq.write_table(pa.table({"caption": ["a cat"], "likes": [3]}), tmp_path / "m.parquet")
    with pytest.raises(BadInput, match="no column 'prompt' or 'text', only caption, likes"):
        import_file(db, tmp_path / "m.parquet")


def test_a_json_document_that_is_damaged_or_of_another_shape_is_refused(db: PromptDB, tmp_path: Path) -> None:
    for content, sign in (
        ('{"images": [', "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("3", "no list of prompts"),
        ('{\n"likes": 3}', "no list of"),
    ):
        (tmp_path / "d.json").write_text(content)
        with pytest.raises(BadInput, match=sign):
            import_file(db, tmp_path / "d.json")


def test_one_malformed_row_in_a_hundred_is_counted_listed_up_to_a_limit_and_costs_nothing_else(db: PromptDB, tmp_path: Path) -> None:
    rows = [json.dumps({"text": f"prompt number {number}"}) if number % 100 else '{"text": ' for number in range(200_000)]
    (tmp_path / "many.jsonl").write_text("\n".join(rows))
    report = import_file(db, tmp_path / "many.jsonl")
    assert (report.added, report.malformed_rows, len(report.malformed)) == (198_000, 2000, LISTED)
    assert [number for number, _ in report.malformed[:3]] == [1, 101, 201]


def test_rows_with_prompts_over_the_encoders_limit_are_counted_and_kept(db: PromptDB, tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("\n".join([" ".join(["wonderful"] * 76), " ".join(["wonderful"] * 75), "a cat"]))
    report = import_file(db, tmp_path / "long.txt")
    assert (report.added, report.long) == (3, 1)
