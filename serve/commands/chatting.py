"""`chat` from options to the end of the conversation. Shows nothing itself."""

from __future__ import annotations

from graph.chatting import Chats
from graph.context import check_folder
from graph.settings import Settings
from graph.studio import Studio
from serve.terminal.chat import ChatTerminal


def chat(settings: Settings, thread: str = "") -> None:
    """Talk until the person leaves. Raises BadInput where nothing can be kept, KeyboardInterrupt for Ctrl-C between turns."""
    check_folder(settings.folder)
    check_folder(settings.database.parent)
    studio = Studio(settings)
    try:
        chats = Chats(studio)
        terminal = ChatTerminal(chats, chats.start(thread))
        try:
            terminal.run()
        except KeyboardInterrupt:
            terminal.say(f"\ngo on any time with: chat --thread {terminal.thread}")
            raise
    finally:
        studio.close()
