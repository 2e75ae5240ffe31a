"""`chat` on the stage without weights, for a test that drives it in a pseudo-terminal: `python chat_program.py FOLDER THREAD`."""

from __future__ import annotations

import readline  # noqa: F401  line editing, as python's own prompt has it
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from limner.graph.chat.threads import Chats
from limner.serve.terminal.chat import ChatTerminal
from tests.doubles import FakeImageModel
from tests.graph.chat.chat_stage import services
from tests.graph.stage import likes


def main(folder: str, thread: str) -> None:
    model = FakeImageModel(likes("sharp"), bucket=1, on_bucket=lambda batch: time.sleep(0.02))
    chats = Chats(services(Path(folder), model=model))
    ChatTerminal(chats, chats.start(thread)).run()


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2])
    except KeyboardInterrupt:
        sys.exit(130)
