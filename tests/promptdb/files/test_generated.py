"""What was made elsewhere enters the database: pasted infotext, pictures, folders of pictures, each counted once."""

from __future__ import annotations

from pathlib import Path

import pytest

from limner.promptdb.errors import BadInput
from limner.promptdb.files.file_kinds import file_kind
from limner.promptdb.files.ingest import ImportReport, import_file, import_pictures
from limner.promptdb.files.prompt_file import read_prompts
from limner.promptdb.files.read_generated import pictures_in
from limner.promptdb.store import PromptDB
from tests.commands import command
from tests.promptdb.generated.pictures_made import exif, jpeg, png

INFO = "a tin {0},\n <lora:paper:0.7> wet BREAK\nNegative prompt: boats\nSteps: 28, Sampler: DPM++ 2M, Schedule type: Karras, \
CFG scale: 6.5, Seed: {1}, Size: 512x768, Model: paperWorld"


def facts(db: PromptDB) -> list[tuple[object, ...]]:
    return [
        tuple(row)
        for row in db.query(
            "SELECT p.text, p.negative, c.seed, c.steps, c.cfg, (SELECT text FROM label WHERE number = c.sampler), c.width, c.height, "
            "(SELECT text FROM label WHERE number = c.model) FROM prompt p JOIN picture c ON c.prompt = p.number ORDER BY p.number, c.name"
        )
    ]


def test_pasted_infotext_is_one_prompt_with_its_settings(tmp_path: Path) -> None:
    path = tmp_path / "copied.txt"
    path.write_text(INFO.format("lighthouse", 3051772981) + "\n\n" + INFO.format("whale", 7).replace("\n", "\r\n") + "\n")
    assert file_kind(path).kind == "infotext"
    with PromptDB.open(tmp_path / "a.db") as db:
        assert import_file(db, path) == ImportReport(added=2, pictures=2)
        text = "a tin lighthouse,\n <lora:paper:0.7> wet BREAK"
        assert facts(db)[0] == (text, "boats", 3051772981, 28, 6.5, "DPM++ 2M Karras", 512, 768, "paperWorld")
        assert facts(db)[1][0] == text.replace("lighthouse", "whale")
        assert import_file(db, path) == ImportReport(duplicates=2)


def test_what_is_no_infotext_in_such_a_file_is_named_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "mixed.txt"
    path.write_bytes(INFO.format("ship", 1).encode() + b"\nbroken \xff line\n" + INFO.format("owl", 2).encode() + b"\nleft behind\n")
    with PromptDB.open(tmp_path / "a.db") as db:
        report = import_file(db, path)
    assert (report.added, report.malformed_rows) == (1, 2)
    assert [(line, reason.split(" at ")[0]) for line, reason in report.malformed] == [
        (5, "not valid UTF-8"),
        (10, "no line of settings (Steps: 20, Sampler: ...) follows this text"),
    ]


def test_a_prompt_of_megabytes_leaves_no_line_of_settings_behind(tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    path.write_text("a, " * 3_500_000 + "\nSteps: 5, Seed: 1, Sampler: Euler\n")
    with PromptDB.open(tmp_path / "a.db") as db:
        report = import_file(db, path)
    assert (report.added, [line for line, _ in report.malformed]) == (0, [1, 2])


def test_prompts_a_line_stay_prompts(tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_text("Steps: a stair of gold\nNegative prompt: no such thing\na cat\n")
    assert file_kind(path).kind == "text"


def folder_of_pictures(folder: Path) -> Path:
    (folder / "deep" / ".hidden").mkdir(parents=True)
    (folder / "a.png").write_bytes(png({"parameters": INFO.format("whale", 1)}))
    (folder / "b.JPG").write_bytes(jpeg(exif(b"UNICODE\0" + INFO.format("owl", 2).encode("utf-16-be"))))
    (folder / "deep" / "c.png").write_bytes(png({"parameters": INFO.format("whale", 3)}))
    (folder / "deep" / "d.webp").write_bytes(b"no picture")
    (folder / "deep" / "e.png").write_bytes(png())
    (folder / "deep" / "f.png").write_bytes(png({"parameters": "a bell \x01\nSteps: 3, Seed: 1, Size: 8x8"}))
    (folder / "deep" / ".hidden" / "g.png").write_bytes(png({"parameters": "never"}))
    (folder / "notes.txt").write_text("not a picture")
    return folder


def test_a_folder_of_pictures_is_counted_to_the_last_one(tmp_path: Path) -> None:
    pictures = pictures_in(folder_of_pictures(tmp_path / "made"))
    assert [path.name for path in pictures] == ["a.png", "b.JPG", "c.png", "d.webp", "e.png", "f.png"]
    told: list[tuple[int, int]] = []
    with PromptDB.open(tmp_path / "a.db") as db:
        report = import_pictures(db, pictures, "made", lambda done, total: told.append((done, total)))
        assert (report.added, report.duplicates, report.pictures, report.malformed_rows) == (2, 1, 3, 3)
        assert report.added + report.duplicates + report.malformed_rows == len(pictures) and told[-1] == (6, 6)
        assert [(number, reason.split(" ")[0]) for number, reason in report.malformed] == [(4, "is"), (5, "does"), (6, "the")]
        assert {prompt.source for prompt in db.prompts()} >= {"made"}
        again = import_pictures(db, pictures, "made")
        assert (again.added, again.duplicates, again.pictures) == (0, 3, 0)


def test_the_command_names_pictures_that_say_nothing(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = folder_of_pictures(tmp_path / "made")
    done = command(capfd, "db", "import", folder, folder / "a.png", "--json", "--out", tmp_path / "out")
    assert (done.document["added"], done.document["duplicates"], done.document["malformed_rows"]) == (2, 2, 3)
    assert [(Path(row["file"]).name, row["line"]) for row in done.document["malformed"]] == [("d.webp", 0), ("e.png", 0), ("f.png", 0)]
    told = command(capfd, "db", "import", folder, "--out", tmp_path / "out")
    assert told.code == 0 and "e.png: does not say how it was made" in told.err


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no pictures"):
        pictures_in(tmp_path)


def test_a_batch_reads_infotext_pictures_and_folders_of_them_too(tmp_path: Path) -> None:
    (tmp_path / "copied.txt").write_text(INFO.format("lighthouse", 1) + "\n\n" + INFO.format("whale", 2) + "\n")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(png({"parameters": INFO.format("whale", 2)}))
    found = read_prompts(tmp_path / "copied.txt")
    assert [prompt.text.split(",")[0] for prompt in found.prompts] == ["a tin lighthouse", "a tin whale"]
    for path in (tmp_path / "pictures", tmp_path / "pictures" / "a.png"):
        assert read_prompts(path).prompts == found.prompts[1:]
