"""The command `doctor`: what is installed, what fits, what is missing."""

from __future__ import annotations

from limner.graph.settings import Settings
from limner.graph.sources import Given
from limner.serve.cli.options import STORED, Json, takes_settings
from limner.serve.terminal.printing import console, print_json


@takes_settings("checkpoint", "device", "dtype", "steps", "guidance_scale", *STORED)
def doctor_command(settings: Settings, given: dict[str, Given], as_json: Json = False) -> None:
    """Say what is here, what fits, what is missing, and what to do."""
    from limner.serve.commands.doctor import doctor
    from limner.serve.terminal import printing

    document = doctor(settings, given)
    if as_json:
        return print_json(document)
    printing.print_tree(document, console())
