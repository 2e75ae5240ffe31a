"""The option `--version`."""

from __future__ import annotations

from typing import Annotated

import typer


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"limner {version('limner')}")
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="print the version and end")]


def limner(version: Version = False) -> None:
    """Limner: give it a prompt and a diffusion checkpoint, and it returns a prompt that makes better images, with the evidence."""
