"""The command `chat`: a conversation in the terminal."""

from __future__ import annotations

from typing import Annotated

import typer

from limner.graph.settings import Settings
from limner.serve.cli.options import SEARCHING, takes_settings

CHAT_BUDGET = 400


@takes_settings(*SEARCHING, budget=CHAT_BUDGET)
def chat_command(
    settings: Settings,
    thread: Annotated[str, typer.Option("--thread", help="go on with this conversation, or begin one of that name")] = "",
) -> None:
    """Talk about a picture: say what it should show, choose, change, keep, vote. --budget caps what a new conversation may draw."""
    from limner.serve.terminal import chat

    chat.chat(settings, thread)
