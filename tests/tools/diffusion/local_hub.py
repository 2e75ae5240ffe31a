"""A double of the Hugging Face hub: one repository, served from a folder over HTTP on this machine."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "c" * 40


@contextlib.contextmanager
def serve(repository: str, folder: Path, broken: set[str]) -> Iterator[tuple[str, list[str]]]:
    """Yields the address and a growing list of the files whose contents were asked for. Files in `broken` are listed and cannot
    be had; with "api" in it, every question is answered by an error."""
    fetched: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, body: bool) -> None:
            path = self.path.split("?")[0].replace("/resolve/main/", f"/resolve/{COMMIT}/")
            resolved = f"/{repository}/resolve/{COMMIT}/"
            if path.startswith("/api/") and "api" in broken:
                fetched.append("api")
                self.send_response(503)
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif path.startswith(f"/api/models/{repository}"):
                self.reply(json.dumps(self.listing(path)).encode(), body, "application/json")
            elif (
                path.startswith(resolved) and path.removeprefix(resolved) not in broken and (folder / path.removeprefix(resolved)).is_file()
            ):
                name = path.removeprefix(resolved)
                if body:
                    fetched.append(name)
                self.reply((folder / name).read_bytes(), body, "application/octet-stream")
            else:
                self.send_response(404)
                self.send_header("X-Error-Code", "EntryNotFound" if path.startswith(resolved) else "RepoNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()

        def listing(self, path: str) -> object:
            files = sorted(file for file in folder.rglob("*") if file.is_file())
            if "/tree/" in path:
                return [
                    {"type": "file", "path": file.relative_to(folder).as_posix(), "oid": _oid(file), "size": file.stat().st_size}
                    for file in files
                ]
            return {"id": repository, "sha": COMMIT, "siblings": [{"rfilename": file.relative_to(folder).as_posix()} for file in files]}

        def reply(self, content: bytes, body: bool, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, *message: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", fetched
    finally:
        server.shutdown()
        server.server_close()


def _oid(file: Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()
