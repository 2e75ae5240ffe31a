"""Who may come in, how much they may send, and that no name leads out of the output folder."""

from __future__ import annotations

import io
import socket
import struct
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the extra `serve` is not installed")

import httpx
from PIL import Image

from limner.serve.service.files import run_file, stored_image
from tests.serve.live_server import client, serving, tiny_settings

TOKEN = "correct-horse-battery"

get, post = partial(httpx.get, timeout=60), partial(httpx.post, timeout=60)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("guarded")


@pytest.fixture(scope="module")
def guarded(tiny: Path, out: Path) -> Iterator[str]:
    with serving(tiny_settings(tiny, out), TOKEN) as url:
        yield url


@pytest.fixture(scope="module")
def opened(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tiny_settings(tiny, tmp_path_factory.mktemp("open")), requests=3) as url:
        yield url


@pytest.mark.parametrize("path", ["/v1/runs", "/v1/models", "/openapi.json", "/", "/nothing", "/mcp"])
def test_without_the_token_nothing_is_told(guarded: str, path: str) -> None:
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {TOKEN}"}, {"cookie": "limner_token=wrong"}):
        answer = get(guarded + path, headers=headers)
        assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
        assert post(guarded + path, headers=headers, json={}).status_code == 401


def test_with_the_token_one_is_let_in_by_header_cookie_or_address(guarded: str) -> None:
    assert get(f"{guarded}/health").status_code == 200
    assert get(f"{guarded}/v1/runs", headers={"authorization": f"bearer {TOKEN}"}).status_code == 200
    assert get(f"{guarded}/v1/runs", headers={"cookie": f"a=b; limner_token={TOKEN}"}).status_code == 200
    assert get(f"{guarded}/v1/runs", params={"token": TOKEN}).status_code == 200
    assert post(f"{guarded}/v1/search", params={"token": TOKEN}, json={"query": "x"}).status_code == 401
    page = get(f"{guarded}/", params={"token": TOKEN})
    assert page.status_code == 303 and page.headers["location"] == "/"
    assert "HttpOnly" in page.headers["set-cookie"] and "SameSite=Strict" in page.headers["set-cookie"]


def test_pictures_are_shown_by_a_signature_that_opens_nothing_else(guarded: str) -> None:
    with client(guarded, TOKEN) as http:
        drawn = http.post("/v1/generate", json={"prompts": ["a cat"], "count": 2}).raise_for_status().json()["images"]
    first, second = (row["path"] for row in drawn)
    assert get(guarded + first).status_code == 200
    other = second.split("?")[0] + "?" + first.split("?")[1]
    assert get(guarded + other).status_code == 401
    assert get(f"{guarded}/v1/runs?{first.split('?')[1]}").status_code == 401
    assert get(guarded + first.split("?")[0]).status_code == 401


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "", "[", "evil:80", "127.0.0.1#@x"])
def test_a_name_that_was_rebound_is_not_answered(opened: str, host: str) -> None:
    port = int(opened.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(f"GET /v1/runs HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = connection.makefile("rb").read()
    assert answer.split(b" ")[1] in (b"421", b"400") and b"status" not in answer.split(b"\r\n\r\n", 1)[1]


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://[", "http://127.0.0.1:1"])
def test_pages_of_other_sites_may_not_post(opened: str, origin: str) -> None:
    answer = post(f"{opened}/v1/search", json={"query": "castle"}, headers={"origin": origin})
    assert answer.status_code == 403
    assert post(f"{opened}/v1/search", json={"query": "castle"}, headers={"origin": opened}).status_code == 200


def test_json_that_is_not_said_to_be_json_is_not_read(opened: str) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        assert post(f"{opened}/v1/search", content=b'{"query": "castle"}', headers={"content-type": kind}).status_code == 422


def test_a_body_that_is_too_large_is_refused(opened: str) -> None:
    large = {"query": "x" * 300_000}
    assert post(f"{opened}/v1/search", json=large).status_code == 413

    def endless() -> Iterator[bytes]:
        yield b'{"query": "'
        for _ in range(100):
            yield b"x" * 10_000

    assert post(f"{opened}/v1/search", content=endless(), headers={"content-type": "application/json"}).status_code == 413
    assert post(f"{opened}/v1/jobs", json={"prompts": ["x" * 3000] * 100}).status_code != 413


def test_a_picture_that_would_unpack_to_gigabytes_is_refused_unread(opened: str) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100_000)) + chunk(b"IEND", b"")
    answer = post(f"{opened}/v1/score", files={"image": ("x.png", bomb)}, data={"prompt": "x"})
    assert answer.status_code == 400
    wide = io.BytesIO()
    Image.new("1", (6000, 6000)).save(wide, "PNG")
    answer = post(f"{opened}/v1/score", files={"image": ("x.png", wide.getvalue())}, data={"prompt": "x"})
    assert answer.status_code == 400 and "pixels" in answer.json()["error"]["message"]


def test_files_stay_in_the_folder(guarded: str, out: Path) -> None:
    run = out / "some-run"
    run.mkdir()
    (out / "secret.png").write_bytes(b"secret")
    (run / "settings.json").write_text("secret")
    (run / "fine.png").write_bytes(b"fine")
    (run / "link.png").symlink_to(out / "secret.png")
    (run / "away.png").symlink_to("/etc/passwd")
    (out / "linked-run").symlink_to("/etc")
    (out / "other-run").symlink_to(run)
    names = [
        *("../secret.png", "..%2fsecret.png", "%2e%2e%2fsecret.png", "%2e%2e/secret.png", "..%5csecret.png", "%252e%252e%252fsecret.png"),
        *("..%c0%afsecret.png", "link.png", "away.png", "settings.json", "fine.png%00", ".", "..", "%2e%2e", "/etc/passwd", "fine.png/"),
    ]
    with client(guarded, TOKEN) as http:
        assert http.get("/v1/runs/some-run/files/fine.png").content == b"fine"
        for name in names:
            answer = http.get(f"/v1/runs/some-run/files/{name}")
            assert answer.status_code in (400, 404, 422, 307) and b"secret" not in answer.content and b"root:" not in answer.content, name
        for odd in ("linked-run/files/passwd", "%2e%2e/files/secret.png", "other-run/files/fine.png", "..%2f..%2fetc/files/passwd"):
            assert http.get(f"/v1/runs/{odd}").status_code == 404, odd
    assert run_file(out, "some-run", "fine.png") is not None
    assert run_file(out, "..", "secret.png") is None and run_file(out, ".", "secret.png") is None


def test_paths_are_taken_as_sent(guarded: str, out: Path) -> None:
    """Not as a client would tidy them up before."""
    port = int(guarded.rsplit(":", 1)[1])
    (out / "plain.html").write_text("secret")
    for path in ("/v1/runs/../../../plain.html", "/v1/runs/x/files/../../plain.html", "//etc/passwd", "/v1/runs/.%2e/files/plain.html"):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n"
            connection.sendall(request.encode())
            answer = connection.makefile("rb").read()
        assert answer.split(b" ")[1] == b"404" and b"secret" not in answer


def test_a_link_in_the_image_store_is_not_followed(tmp_path: Path) -> None:
    store = tmp_path / "images"
    (store / "ab").mkdir(parents=True)
    (tmp_path / "secret.png").write_bytes(b"secret")
    link = store / "ab" / f"ab{'0' * 22}.png"
    link.symlink_to(tmp_path / "secret.png")
    assert stored_image(store, link) is None
    link.unlink()
    link.write_bytes(b"fine")
    assert stored_image(store, link) == link.resolve()


def test_one_client_may_not_take_all_connections(opened: str) -> None:
    held = []
    port = int(opened.rsplit(":", 1)[1])
    try:
        for _ in range(3):
            connection = socket.create_connection(("127.0.0.1", port), timeout=10)
            connection.sendall(
                b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
            )
            held.append(connection)
        answer = httpx.Response(200)
        for _ in range(100):  # until all three have been taken up
            answer = get(f"{opened}/v1/models")
            if answer.status_code == 429:
                break
        assert answer.status_code == 429 and answer.headers["retry-after"]
    finally:
        for connection in held:
            connection.close()
