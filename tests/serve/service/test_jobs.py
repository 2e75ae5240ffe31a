"""Jobs: they go on while nobody looks, are paused and stopped with everything kept, and outlive their server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra `serve` is not installed")

import httpx

from limner.graph.plan import LearningSettings
from limner.promptdb.errors import BadInput, Busy
from limner.promptdb.runs import Runs
from limner.promptdb.store import PromptDB
from limner.serve.service.service import Offer, Service
from tests.commands import ROOT, command
from tests.serve.live_server import client, serving, tiny_settings

PROMPTS = ["a cat", "a dog", "a red cat", "a blue dog", "a photo of a cat", "a photo of a dog"]
QUICK = {"prompts": PROMPTS, "iterations": 1, "batch_size": 2, "budget": 40, "steps": 2, "search_seeds": 1}
LONG = {"prompts": PROMPTS, "iterations": 4, "batch_size": 2, "budget": 200, "steps": 200, "search_seeds": 2}


def wait(http: httpx.Client, job: str, until: Callable[[dict[str, Any]], bool], seconds: float = 120) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while not until(found := http.get(f"/v1/jobs/{job}").raise_for_status().json()):
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    return dict(found)


def told(http: httpx.Client, job: str, after: int = 0, enough: int = 10**9) -> list[tuple[str, int, Any]]:
    """(event, number, data) of the job's stream, until it ends or there are enough."""
    found, name, number, data = list[tuple[str, int, Any]](), "", 0, None
    with http.stream("GET", f"/v1/jobs/{job}/events", headers={"last-event-id": str(after)}) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        for line in response.iter_lines():
            key, _, value = line.partition(": ")
            if key == "event":
                name = value
            elif key == "id":
                number = int(value)
            elif key == "data":
                data = json.loads(value)
            elif not line and data is not None:  # an empty line ends an event, whatever the order in it
                found.append((name, number, data))
                number, data = 0, None
                if len(found) >= enough:
                    break
    return found


def test_a_job_runs_to_its_result_and_tells_all_of_it_to_whoever_comes_later(tiny: Path, tmp_path: Path) -> None:
    with serving(tiny_settings(tiny, tmp_path)) as url, client(url) as http:
        answer = http.post("/v1/jobs", json=QUICK)
        job = answer.json()["id"]
        assert answer.status_code == 202 and answer.json()["prompts"] == 6
        followed = told(http, job)
        assert followed[-1][0] == "state" and followed[-1][2]["state"] == "done"
        progress = [(number, data) for name, number, data in followed if name == "progress"]
        assert [number for number, _ in progress] == list(range(1, len(progress) + 1))
        assert progress[0][1]["kind"] == "started" and progress[-1][1]["kind"] == "finished"
        done = wait(http, job, lambda found: found["state"] == "done")
        assert done["result"]["heldout"]["liking"]["n"] >= 1 and http.get(done["result"]["report"]).status_code == 200
        again = [(number, data) for name, number, data in told(http, job, after=5) if name == "progress"]
        assert again == progress[5:]
        assert http.get(f"/v1/runs/{job}/preset").json()["instruction"] == done["result"]["instruction"]["initial"]
        assert http.post(f"/v1/jobs/{job}/stop").json()["state"] == "done"


def test_a_job_is_paused_and_goes_on_where_it_was(tiny: Path, tmp_path: Path) -> None:
    with serving(tiny_settings(tiny, tmp_path)) as url, client(url) as http:
        job = http.post("/v1/jobs", json=LONG | {"steps": 40, "budget": 60, "iterations": 1}).json()["id"]
        second = http.post("/v1/jobs", json=QUICK).json()
        assert second["state"] == "waiting"
        told(http, job, enough=8)
        assert http.post(f"/v1/jobs/{job}/pause").json()["state"] == "paused"
        wait(http, second["id"], lambda found: found["state"] == "done")
        assert http.get(f"/v1/jobs/{job}").json()["state"] == "paused"
        drawn = sum(data.get("kind") == "drawn" for _, _, data in told(http, job, enough=8))
        assert http.post(f"/v1/jobs/{job}/resume").json()["state"] in ("waiting", "running")
        done = wait(http, job, lambda found: found["state"] == "done")
        assert done["result"]["used"]["images"] <= 60 and drawn >= 0
        started = [data["resumed"] for _, _, data in told(http, job) if data.get("kind") == "started"]
        assert started == [False, True]


def test_two_servers_do_not_run_the_same_jobs(tiny: Path, tmp_path: Path) -> None:
    first = Service(Offer(tiny_settings(tiny, tmp_path)))
    with pytest.raises(BadInput, match="another server"):
        Service(Offer(tiny_settings(tiny, tmp_path)))
    first.close()
    Service(Offer(tiny_settings(tiny, tmp_path))).close()


def kept_by_an_earlier_version(out: Path, job: str, state: str, events: list[dict[str, Any]]) -> None:
    """A job's folder as versions up to schema 4 wrote it, its last event cut in half by a kill."""
    folder = out / "jobs" / job
    folder.mkdir(parents=True)
    ask = {name: value for name, value in QUICK.items() if name in ("budget", "steps", "search_seeds")}
    settings = {**tiny_settings(out / "tiny", out).to_json(), **ask}
    learning = LearningSettings(iterations=1, batch_size=2).to_json()
    record = {"id": job, "state": state, "created": "2026-01-01T00:00:00", "settings": settings, "learning": learning, "prompts": 6}
    (folder / "job.json").write_text(json.dumps({**record, "instruction": "", "error": "away" if state == "paused" else ""}))
    (folder / "prompts.jsonl").write_text("".join(json.dumps({"prompt": prompt, "pins": []}) + "\n" for prompt in PROMPTS))
    (folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events) + '{"kind": "dra')
    (out / "jobs" / "lock").touch()


def test_jobs_of_an_earlier_version_are_taken_over_and_go_on(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny").symlink_to(tiny)
    events = [{"kind": "warning", "text": f"event {number}"} for number in range(1, 4)]
    kept_by_an_earlier_version(tmp_path, "at-work", "running", events)
    kept_by_an_earlier_version(tmp_path, "at-rest", "paused", events[:1])
    with serving(tiny_settings(tiny, tmp_path)) as url, client(url) as http:
        wait(http, "at-work", lambda found: found["state"] == "done")
        followed = [(number, data) for name, number, data in told(http, "at-work") if name == "progress"]
        assert followed[:3] == list(enumerate(events, 1)) and followed[3][0] == 4 and followed[3][1]["kind"] == "started"
        resting = http.get("/v1/jobs/at-rest").json()
        assert (resting["state"], resting["error"], resting["prompts"]) == ("paused", "away", 6)
        assert http.get("/v1/runs/at-rest").json()["status"] == "paused"
        http.post("/v1/jobs/at-rest/resume")
        assert wait(http, "at-rest", lambda found: found["state"] == "done")["result"]["heldout"]
    assert not (tmp_path / "jobs").exists()


def test_a_job_of_an_earlier_version_that_cannot_be_read_stays_where_it_is_and_is_named(
    tiny: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept_by_an_earlier_version(tmp_path, "whole", "done", [])
    for job, text in (("half", '{"id": "half"'), ("other", '{"id": "other"}'), ("list", "[]")):
        (tmp_path / "jobs" / job).mkdir()
        (tmp_path / "jobs" / job / "job.json").write_text(text)
    with closing(Service(Offer(tiny_settings(tiny, tmp_path)))) as service:
        assert service.jobs is not None and [(record.id, record.state) for record in service.jobs.all()] == [("whole", "done")]
    for job in ("half", "other", "list"):
        assert f"jobs/{job} " in caplog.text and (tmp_path / "jobs" / job / "job.json").exists()
    assert not (tmp_path / "jobs" / "whole").exists()


def test_a_job_that_another_process_works_on_waits_to_be_resumed(tiny: Path, tmp_path: Path) -> None:
    with PromptDB.open(tmp_path / "limner.db") as db, serving(tiny_settings(tiny, tmp_path)) as url, client(url) as http:
        job = http.post("/v1/jobs", json=LONG).json()["id"]
        told(http, job, enough=8)
        assert http.post(f"/v1/jobs/{job}/pause").json()["state"] == "paused"
        deadline = time.monotonic() + 60
        while True:  # until its work has ended
            try:
                with Runs(db).hold(job):
                    http.post(f"/v1/jobs/{job}/resume")
                    found = wait(http, job, lambda found: found["state"] not in ("waiting", "running"))
                    assert found["state"] == "paused" and f"another process works on {job}" in found["error"]
                break
            except Busy:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        assert http.post(f"/v1/jobs/{job}/resume").json()["state"] == "waiting"


def test_a_port_that_is_taken_is_bad_input(capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        arguments = ("serve", "--checkpoint", tiny, "--out", tmp_path / "runs", "--port", taken.getsockname()[1])
        result = command(capfd, *arguments)
        assert result.code == 2 and "cannot be listened on" in result.err and not (tmp_path / "runs").exists()
        result = command(capfd, *arguments, "--host", "0.0.0.0")
        assert result.code == 2 and "--token" in result.err


@contextmanager
def server_process(tiny: Path, out: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = ["serve", "--checkpoint", str(tiny), "--out", str(out), "--port", str(port)]
    running = subprocess.Popen([sys.executable, str(ROOT / "main.py"), *arguments], stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                httpx.get(f"http://127.0.0.1:{port}/health", timeout=5)
                break
            except httpx.TransportError:
                assert running.poll() is None and time.monotonic() < deadline
                time.sleep(0.1)
        yield running, f"http://127.0.0.1:{port}"
    finally:
        running.kill()
        running.wait()


@pytest.mark.slow
def test_jobs_survive_the_end_of_their_server_killed_or_asked_to(tiny: Path, tmp_path: Path) -> None:
    with server_process(tiny, tmp_path) as (running, url), client(url) as http:
        job = http.post("/v1/jobs", json=LONG | {"steps": 40, "budget": 60, "iterations": 1}).json()["id"]
        told(http, job, enough=5)
        os.kill(running.pid, signal.SIGKILL)
    with server_process(tiny, tmp_path) as (running, url), client(url) as http:
        assert http.get(f"/v1/jobs/{job}").json()["state"] in ("waiting", "running")
        assert told(http, job, enough=7)
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) == 130
    with serving(tiny_settings(tiny, tmp_path)) as url, client(url) as http:
        done = wait(http, job, lambda found: found["state"] == "done")
        assert done["result"]["run"] == job and done["result"]["used"]["images"] <= 60
