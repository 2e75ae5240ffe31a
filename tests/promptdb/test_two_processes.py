"""Several processes on one database, and processes that are killed while they write."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from limner.promptdb.errors import BadInput
from limner.promptdb.images import ImageStore
from limner.promptdb.records import Conditioning, Drawing, Prompt, SamplerSettings, Score
from limner.promptdb.store import BATCH, PromptDB

ROOT = Path(__file__).parents[2]
HEADER = """
import sys, time
from pathlib import Path
from PIL import Image
from limner.promptdb.images import ImageStore
from limner.promptdb.records import *
from limner.promptdb.store import PromptDB
path, number = sys.argv[1], int(sys.argv[2])
def wait_for(name):
    while not Path(path).with_name(name).exists():
        time.sleep(0.001)
"""


def start(program: str, path: Path, number: int = 0) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HEADER + program, str(path), str(number)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
    )


def finished(process: subprocess.Popen[str]) -> str:
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return output


def test_processes_that_open_a_new_file_at_once_all_succeed(tmp_path: Path) -> None:
    program = """
print("ready")
for round in range(20):
    wait_for(f"go{round}")
    with PromptDB.open(f"{path}{round}") as db:
        db.add_prompts([Prompt(f"from {number}")])
    print("done")
"""
    processes = [start(program, tmp_path / "limner.db", number) for number in range(4)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for number in range(20):
        (tmp_path / f"go{number}").touch()
        for process in processes:
            assert process.stdout is not None
            if process.stdout.readline() != "done\n":
                pytest.fail(process.communicate()[1])
        with PromptDB.open(tmp_path / f"limner.db{number}") as db:
            assert db.count_prompts() == 4
    for process in processes:
        finished(process)


def test_processes_that_write_the_same_things_together_keep_each_once(tmp_path: Path) -> None:
    program = """
with PromptDB.open(path) as db:
    store = ImageStore(Path(path).with_name("images"))
    wait_for("go")
    for step in range(60):
        drawing = Drawing(Conditioning("a cat"), step, SamplerSettings(), "weights")
        image = store.put(Image.new("RGB", (16, 16), (step, 0, 0)))
        with db.transaction():
            assert db.stored_drawing(drawing.id) is None or db.stored_drawing(drawing.id).image == image
            db.add_drawing(drawing, image, 8, "cpu")
        db.add_scores([Score(drawing.id, "r", "clip", "1", step)])
        db.add_prompts([Prompt(f"shared {step}"), Prompt(f"own {number} {step}")])
        db.add_candidate(Candidate("run", Conditioning(f"candidate {step}"), "test"))
"""
    processes = [start(program, tmp_path / "limner.db", number) for number in range(3)]
    (tmp_path / "go").touch()
    for process in processes:
        finished(process)
    with PromptDB.open(tmp_path / "limner.db") as db:
        stats = db.stats()
        assert (stats["prompt"], stats["drawing"], stats["score"], stats["candidate"]) == (60 + 3 * 60, 60, 60, 60)
        assert all(stored.image in ImageStore(tmp_path / "images") for stored in all_drawings(db))


def all_drawings(db: PromptDB):
    drawings = db.stored_drawings(Drawing(Conditioning("a cat"), step, SamplerSettings(), "weights").id for step in range(60))
    assert len(drawings) == 60
    return drawings.values()


def test_what_one_process_stored_another_finds(tmp_path: Path) -> None:
    drawing = Drawing(Conditioning("a cat"), 1, SamplerSettings(), "weights")
    with PromptDB.open(tmp_path / "limner.db") as db:
        program = f"""
with PromptDB.open(path) as db:
    drawing = Drawing(Conditioning("a cat"), 1, SamplerSettings(), "weights")
    db.add_drawing(drawing, "{"a" * 24}", 8, "cpu")
    db.add_scores([Score(drawing.id, "r", "clip", "1", 0.5)])
    db.add_answer("key", "model", "{{}}")
"""
        finished(start(program, tmp_path / "limner.db"))
        stored = db.stored_drawing(drawing.id)
        assert stored is not None
        assert stored.drawing == drawing
        assert db.scores([drawing.id], "r", "clip", "1") == {drawing.id: 0.5}
        assert db.stored_answer("key") == "{}"


def test_a_reader_does_not_wait_for_a_writer_and_sees_only_what_is_committed(tmp_path: Path) -> None:
    with PromptDB.open(tmp_path / "limner.db") as writer, PromptDB.open(tmp_path / "limner.db", busy_seconds=0.1) as reader:
        with writer.transaction():
            writer.add_prompts([Prompt("a cat")])
            assert reader.count_prompts() == 0
        assert reader.count_prompts() == 1


def test_a_database_that_stays_locked_is_an_error_in_words(tmp_path: Path) -> None:
    path = tmp_path / "limner.db"
    with PromptDB.open(path) as holder, PromptDB.open(path, busy_seconds=0.2) as other, holder.transaction():
        holder.add_prompts([Prompt("a cat")])
        with pytest.raises(BadInput, match=r"locked by another process for 0\.2 s") as error:
            other.add_prompts([Prompt("a dog")])
        assert str(path) in str(error.value)
    with PromptDB.open(path) as db:
        assert db.count_prompts() == 1


def test_a_short_lock_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "limner.db"
    program = """
with PromptDB.open(path) as db, db.transaction():
    db.add_prompts([Prompt("a cat")])
    print("holding")
    time.sleep(0.5)
"""
    holder = start(program, path)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "holding\n"
    with PromptDB.open(path) as db:
        assert db.add_prompts([Prompt("a cat")]) == (0, 1)
    finished(holder)


@pytest.mark.parametrize("moment", [0.0, 0.013, 0.05])
def test_a_process_killed_while_it_imports_loses_one_batch_at_most(tmp_path: Path, moment: float) -> None:
    program = f"""
def prompts():
    for number in range(10**7):
        if number % {BATCH} == 0:
            print(number)
        yield Prompt(f"prompt number {{number}}")
with PromptDB.open(path) as db:
    db.add_prompts(prompts())
"""
    process = start(program, tmp_path / "limner.db")
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) >= 3 * BATCH:
            break
    time.sleep(moment)
    process.send_signal(signal.SIGKILL)
    begun = [int(line), *map(int, process.stdout.read().split())][-1]
    process.wait()
    with PromptDB.open(tmp_path / "limner.db") as db:
        # The batch that was being read or written is in whole or not at all; every earlier one is there, searchable too.
        assert db.count_prompts() in (begun, begun + BATCH)
        assert db.query("PRAGMA integrity_check") == [("ok",)]
        assert db.query("SELECT count(*) FROM prompt_fts WHERE prompt_fts MATCH 'prompt'") == [(db.count_prompts(),)]
        added, duplicates = db.add_prompts(Prompt(f"prompt number {number}") for number in range(begun + 2 * BATCH))
        assert duplicates in (begun, begun + BATCH)
        assert added + duplicates == begun + 2 * BATCH


def test_a_process_killed_while_it_draws_leaves_every_drawing_it_reported_with_its_image_and_score(tmp_path: Path) -> None:
    program = """
store = ImageStore(Path(path).with_name("images"))
with PromptDB.open(path) as db:
    for seed in range(10**6):
        drawing = Drawing(Conditioning("a cat"), seed, SamplerSettings(), "weights")
        image = store.put(Image.effect_noise((64, 64), seed % 100))
        with db.transaction():
            db.add_drawing(drawing, image, 8, "cpu")
            db.add_scores([Score(drawing.id, "r", "clip", "1", seed)])
        print(drawing.id)
"""
    process = start(program, tmp_path / "limner.db")
    assert process.stdout is not None
    reported = [process.stdout.readline().strip() for _ in range(40)]
    process.kill()
    reported += [line for line in process.stdout.read().split("\n") if len(line) == 24]
    process.wait()
    images = ImageStore(tmp_path / "images")
    with PromptDB.open(tmp_path / "limner.db") as db:
        stored = db.stored_drawings(reported)
        assert set(stored) == set(reported)
        assert all(one.image is not None and one.image in images for one in stored.values())
        assert set(db.scores(reported, "r", "clip", "1")) == set(reported)
        assert len(reported) <= db.stats()["drawing"] <= len(reported) + 1
        assert db.stats()["score"] == db.stats()["drawing"]


def test_scores_that_two_connections_add_at_once_are_one_row(tmp_path: Path) -> None:
    with PromptDB.open(tmp_path / "limner.db") as one, PromptDB.open(tmp_path / "limner.db") as two:
        for db in (one, two):
            db.add_scores([Score("d", "r", "clip", "1", 0.5)])
        assert one.stats()["score"] == two.stats()["score"] == 1
