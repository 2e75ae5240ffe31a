"""A conversation in the terminal, from options to its end: prompts, events, pictures in half-block colour with the paths of their files.

Reads events and the payload that a thread waits with. Everything the person types goes to the chat graph, except `/quit` and what concerns
the terminal itself. Decides nothing.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from limner.graph.chat.context import ChatServices
from limner.graph.chat.threads import Chats
from limner.graph.context import check_places
from limner.graph.events import Event
from limner.graph.runner import Control
from limner.graph.settings import Settings
from limner.promptdb.errors import BadInput
from limner.serve.terminal.half_blocks import WIDTH, beside, half_blocks
from limner.serve.terminal.printing import plain

PROMPT = "you> "
STEPS = ("draw", "solve", "settle", "rewrite", "heldout")  # steps that take long
BYE = ("/quit", "/exit", "/q", "quit", "exit", "bye")
COMMANDS = """  /history  what was said so far     /images  show the pictures again     /thread  this conversation's id
  /branch [TURN]  a new conversation from there     /quit or Ctrl-D  leave; everything is kept"""


class ChatTerminal:
    """One person at one terminal. `out`: written to. `read`: asks for a line, and raises EOFError at the end."""

    def __init__(self, chats: Chats, thread: str, out: TextIO | None = None, read: Callable[[str], str] = input) -> None:
        self.chats, self.thread = chats, thread
        self.out, self._read = out or sys.stdout, read
        self._progressing = False

    def run(self) -> None:
        """Runs until the person leaves. Ctrl-C ends a turn; where none is in work, KeyboardInterrupt is raised."""
        view = self.chats.view(self.thread)
        self.say(f"conversation {self.thread}; /help says what you can say, /quit leaves")
        if view["unfinished"]:
            self.say("going on with the turn that was cut off")
            view = self._follow(lambda control: self.chats.resume(self.thread, control)) or self.chats.view(self.thread)
        elif view["request"]:
            self.say(f"so far: {view['request']}")
            self._show(view)
        else:
            self.say(view["reply"])
        while True:
            try:
                line = self._read(PROMPT).strip()
            except EOFError:
                self.say("")
                break
            if line.lower() in BYE:
                break
            if line:
                self._turn(line)
        self.say(f"go on any time with: chat --thread {self.thread}")

    def say(self, text: str) -> None:
        """Prints lines as they are; no control character of a prompt reaches the terminal."""
        print(plain(text).plain, file=self.out, flush=True)

    def _turn(self, line: str) -> None:
        name, _, rest = line.partition(" ")
        try:
            if name == "/history":
                return self._history()
            if name == "/images":
                return self._show(self.chats.view(self.thread))
            if name == "/thread":
                return self.say(self.thread)
            if name == "/branch":
                self.thread = self.chats.branch(self.thread, int(rest) if rest.strip().isdigit() else None)
                return self.say(f"conversation {self.thread}")
            text = line.removeprefix("/")
            self._follow(lambda control: self.chats.send(self.thread, text, control=control))
            if name == "/help":
                self.say(COMMANDS)
        except BadInput as error:
            self.say(f"! {error}")

    def _follow(self, begin: Callable[[Control], Iterator[Event]]) -> dict[str, Any] | None:
        """Prints the events of a turn until the thread waits again; Ctrl-C ends the turn, not the conversation."""
        control, drawn, total = Control(), 0, 0
        payload: dict[str, Any] | None = None
        fresh, told = False, ""
        with _interrupting(control):
            for event in begin(control):
                if told and not told.endswith("\n") and event["kind"] not in ("words", "reply", "asked"):
                    told += self._words("\n")  # events are printed on lines of their own
                match event["kind"]:
                    case "heard":
                        self._progress("  ...")
                    case "draw":
                        drawn, total = 0, event["images"]
                    case "drawn":
                        drawn += 1
                        self._progress(f"  drawing {drawn} of {max(total, drawn)}")
                    case "node" if event["phase"] == "start" and event["node"] in STEPS:
                        self._progress(f"  {event['node']} ...")
                    case "warning":
                        self._progress("")
                        self.say(f"  note: {event['text']}")
                    case "words":
                        self._progress("")
                        told += self._words(event["text"].removeprefix("\n") if told.endswith("\n") else event["text"])
                    case "reply":
                        self._progress("")
                        self._rest(told, event["text"])
                        told = ""
                    case "shown" | "pair":
                        fresh = True
                    case "asked":
                        payload = event["payload"]
        self._progress("")
        if payload and fresh:
            self._show(payload)
        return payload

    def _words(self, text: str) -> str:
        """Prints a piece of the reply as it comes."""
        print(plain(text).plain, end="", file=self.out, flush=True)
        return text

    def _rest(self, told: str, reply: str) -> None:
        """Prints the end of the reply, or all of it where it does not begin with what was printed."""
        if told.rstrip("\n") == reply:
            self._words("" if told.endswith("\n") else "\n")
        else:
            self.say(("\n" if told and not told.endswith("\n") else "") + reply)

    def _show(self, view: Mapping[str, Any]) -> None:
        """Prints the pictures that the thread waits with; of a blind vote the two alone."""
        pair = view["pair"]
        rows = [{"number": side, "image": pair[side], "scores": {}} for side in ("left", "right")] if pair else view["images"]
        there = [row for row in rows if row["image"] in self.chats.services.images]
        columns = max(1, shutil.get_terminal_size((80, 24)).columns // (WIDTH + 2))
        for start in range(0, len(there), columns):
            part = there[start : start + columns]
            if _colours(self.out):
                blocks = [half_blocks(self.chats.services.images.get(row["image"])) for row in part]
                print("\n".join(beside(blocks)), file=self.out)
            for row in part:
                scores = ", ".join(f"{name} {value:.3f}" for name, value in row["scores"].items())
                self.say(f"  {row['number']}: {self._path(row['image'])}{'  ' + scores if scores else ''}")
                if "text" in row:
                    self.say(f"     {row['text']}{'  (negative: ' + row['negative'] + ')' if row['negative'] else ''}")

    def _path(self, image: str) -> Path:
        return self.chats.services.images.path(image)

    def _history(self) -> None:
        for turn in self.chats.history(self.thread):
            cost = int(turn.cost.get("images", 0))
            self.say(f"{turn.place}. {turn.said}{f'  [{cost} pictures]' if cost else ''}")
            self.say("   " + "\n   ".join(turn.reply.splitlines()[:3]))

    def _progress(self, text: str) -> None:
        """Prints one line that the next one overwrites; nothing where the output is no terminal."""
        if self.out.isatty() and (text or self._progressing):
            print(f"\r\x1b[2K{text}", end="", file=self.out, flush=True)
        self._progressing = bool(text)


def _colours(out: TextIO) -> bool:
    return out.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


@contextmanager
def _interrupting(control: Control) -> Iterator[None]:
    """Ctrl-C asks the turn to stop; a second one raises KeyboardInterrupt."""

    def stop(number: int, frame: object) -> None:
        if control.drain_requested:
            raise KeyboardInterrupt
        control.request_drain("Ctrl-C")

    before = None
    with suppress(ValueError):  # outside the main thread, signals are the caller's
        before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)


def chat(settings: Settings, thread: str = "") -> None:
    """Runs a conversation until the person leaves. Raises BadInput where nothing can be stored, KeyboardInterrupt for Ctrl-C
    between turns.
    """
    check_places(settings)
    services = ChatServices(settings)
    try:
        chats = Chats(services)
        terminal = ChatTerminal(chats, chats.start(thread))
        try:
            terminal.run()
        except KeyboardInterrupt:
            terminal.say(f"\ngo on any time with: chat --thread {terminal.thread}")
            raise
    finally:
        services.close()
