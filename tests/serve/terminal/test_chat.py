"""`chat` as a person drives it: in a pseudo-terminal, over two processes; and its pieces."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import pytest
from PIL import Image

from limner.graph.chat.threads import Chats
from limner.serve.terminal.chat import ChatTerminal
from limner.serve.terminal.half_blocks import BLOCK, half_blocks
from tests.graph.chat.chat_stage import services

PROGRAM = Path(__file__).parent / "chat_program.py"
LONG = 120.0


def _heeding_ctrl_c() -> None:
    """A shell may have started us with it ignored, which programs inherit."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Terminal:
    """A program in a pseudo-terminal: typed into, read until something stands there."""

    def __init__(self, *arguments: object) -> None:
        self.master, slave = pty.openpty()
        command = [sys.executable, str(PROGRAM), *map(str, arguments)]
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "160", "LINES": "50"}
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, env=environment, preexec_fn=_heeding_ctrl_c
        )
        os.close(slave)
        self.seen = ""

    def until(self, text: str) -> str:
        """What came until `text`; fails where it does not come."""
        end = time.monotonic() + LONG
        while text not in self.seen:
            ready, _, _ = select.select([self.master], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"{text!r} did not come; there was: {self.seen[-2000:]}"
            try:
                data = os.read(self.master, 65536)
            except OSError:
                data = b""
            assert data, f"the program ended before {text!r}: {self.seen[-2000:]}"
            self.seen += data.decode(errors="replace")
        before, _, self.seen = self.seen.partition(text)
        return before

    def type(self, line: str) -> None:
        os.write(self.master, line.encode() + b"\n")

    def close(self) -> int:
        try:
            return self.process.wait(timeout=LONG)
        finally:
            os.close(self.master)


@contextmanager
def terminal(*arguments: object) -> Iterator[Terminal]:
    opened = Terminal(*arguments)
    try:
        yield opened
    finally:
        if opened.process.poll() is None:
            opened.process.kill()


def test_three_turns_an_undo_and_a_second_process(tmp_path: Path) -> None:
    with terminal(tmp_path, "talk") as first:
        first.until("you> ")
        first.type("a red car on a beach")
        shown = first.until("you> ")
        assert BLOCK in shown and "\x1b[38;2;" in shown  # pictures in colour
        paths = [Path(match) for match in re.findall(r"\d: (\S+\.png)", shown)]
        assert len(paths) == 4 and all(path.exists() for path in paths)
        first.type("make it blue")
        assert "a blue car on a beach" in first.until("you> ")
        first.type("ban masterpiece")
        assert "Banned: masterpiece" in first.until("you> ")
        first.type("undo")
        assert "Back to turn 2" in first.until("you> ")
        first.type("/quit")
        first.until("chat --thread talk")
        assert first.close() == 0
    with terminal(tmp_path, "talk") as second:
        assert "so far: a blue car on a beach" in second.until("you> ")
        second.type("/history")
        history = second.until("you> ")
        assert "1. a red car on a beach" in history and "ban masterpiece" not in history
        second.type("undo")
        assert "Back to turn 1" in second.until("you> ")
        os.write(second.master, b"\x04")  # Ctrl-D
        second.until("chat --thread talk")
        assert second.close() == 0


def test_ctrl_c_ends_the_turn_and_between_turns_the_conversation_without_a_traceback(tmp_path: Path) -> None:
    with terminal(tmp_path, "talk") as screen:
        screen.until("you> ")
        screen.type("a red car on a beach")
        screen.until("drawing 2")
        screen.process.send_signal(signal.SIGINT)
        assert "stopped" in screen.until("you> ")
        screen.type("status")
        assert "Request: none yet" in screen.until("you> ")
        time.sleep(0.5)  # readline shows its prompt before it listens
        screen.process.send_signal(signal.SIGINT)
        assert screen.close() == 130
        assert "Traceback" not in screen.seen


def test_no_control_character_of_a_prompt_reaches_the_terminal(tmp_path: Path) -> None:
    chats = Chats(services(tmp_path))
    out = StringIO()
    said = iter(["a red car \x1b]0;owned\x07 on a beach", "/images", "/help", "/thread", "/branch 1", "/nonsense blub"])

    def read(prompt: str) -> str:
        try:
            return next(said)
        except StopIteration:
            raise EOFError from None

    ChatTerminal(chats, chats.start("talk"), out, read).run()
    assert "\x1b" not in out.getvalue() and "\x07" not in out.getvalue()
    assert "/history" in out.getvalue() and out.getvalue().count(".png") >= 8


@pytest.mark.parametrize("size", [(8, 8), (64, 64), (100, 50), (3, 200)])
def test_half_blocks_keep_colours_and_shape(size: tuple[int, int]) -> None:
    lines = half_blocks(Image.new("RGB", size, (200, 10, 30)), width=16)
    assert all(line.count(BLOCK) == 16 and "38;2;200;10;30;48;2;200;10;30" in line for line in lines)
    assert len(lines) == max(1, round(size[1] * 16 / size[0] / 2))
