"""Runs commands as a person would: in this process, where torch is loaded once, or in one of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from limner import main

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """What stdout carries: exactly one JSON document, or this raises."""
        return json.loads(self.out)


def command(capfd: pytest.CaptureFixture[str], *arguments: object) -> Result:
    """`python main.py ARGUMENTS`, in this process."""
    capfd.readouterr()
    code = main.main([str(item) for item in arguments])
    captured = capfd.readouterr()
    return Result(code, captured.out, captured.err)


def process(*arguments: object, cwd: Path = ROOT, env: dict[str, str] | None = None) -> Result:
    """`python main.py ARGUMENTS`, in a process of its own."""
    program = [sys.executable, str(ROOT / "main.py"), *(str(item) for item in arguments)]
    done = subprocess.run(program, capture_output=True, text=True, cwd=cwd, env=env, timeout=300)
    return Result(done.returncode, done.stdout, done.stderr)
