"""README and docs cannot rot: every command in them is executed, or where its block is marked slow, checked for names that exist.

A block of shell commands is fenced as bash; `<!-- slow -->` on the line before it marks it slow (downloads, training, minutes of
work), as does `# slow` at the end of a line for that line, and a block that is indented instead of fenced. Commands of one block
run one after the other in one folder; those of another start afresh.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from limner import main
from tests.commands import ROOT, command

README = ROOT / "README.md"
PAGES = [page for page in (README, *sorted((ROOT / "docs").glob("*.md"))) if page.exists()]
_BLOCK = re.compile(r"(?P<slow><!-- slow -->\s*\n)?^```bash\n(?P<body>.*?)^```", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"^ {4}(?P<line>(?:make|python) .*)$", re.MULTILINE)
_LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#\s]+)")


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    commands: tuple[str, ...]
    quick: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks() -> list[Block]:
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in _BLOCK.finditer(text):
            lines = match["body"].replace("\\\n", " ").splitlines()
            written = [line.removeprefix("$ ") for line in lines if line.strip() and not line.startswith("#")]
            quick = tuple(_bare(line) for line in written if not match["slow"] and "# slow" not in line)
            found.append(Block(page, 1 + text.count("\n", 0, match.start("body")), tuple(map(_bare, written)), quick))
        for match in _INDENTED.finditer(text):
            found.append(Block(page, 1 + text.count("\n", 0, match.start()), (_bare(match["line"]),)))
    return found


def _bare(line: str) -> str:
    return line.split(" #")[0].strip()


BLOCKS = blocks()


def ours(line: str) -> list[str] | None:
    """The arguments of a `python main.py` command; None for any other."""
    words = shlex.split(line)
    while words and re.fullmatch(r"\w+=.*", words[0]):
        words = words[1:]
    return words[2:] if len(words) > 1 and Path(words[0]).name.startswith("python") and words[1] == "main.py" else None


def test_readme_says_how_to_begin() -> None:
    lines = [line for block in BLOCKS if block.page == README for line in block.commands]
    assert any("make demo" in line for line in lines)
    assert any(ours(line) for line in lines)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("block", [block for block in BLOCKS if block.quick], ids=str)
def test_commands_run(block: Block, tmp_path: Path) -> None:
    names = {entry.name for entry in ROOT.iterdir()}
    for name in names - {".git", "runs", "limner.toml"}:
        (tmp_path / name).symlink_to(ROOT / name)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for line in block.quick:
        done = subprocess.run(["bash", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{block}: {line}\n{done.stderr[-2000:]}"


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_commands_name_what_exists(block: Block, capfd: pytest.CaptureFixture[str]) -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in block.commands:
        words = shlex.split(line)
        if words[0] == "make":
            assert set(word for word in words[1:] if "=" not in word and not word.startswith("-")) <= targets, f"{block}: {line}"
        arguments = ours(line)
        if not arguments:
            continue
        depth = 2 if arguments[0] in ("db", "runs", "train", "miniature") else 1
        shown = command(capfd, *arguments[:depth], "--help")
        assert shown.code == 0, f"{block}: {line}"
        for flag in (word.split("=")[0] for word in arguments if word.startswith("--")):
            assert f"{flag} " in shown.out, f"{block}: {line}: there is no {flag}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    broken = [link for link in _LINK.findall(page.read_text(encoding="utf-8")) if not (page.parent / link).exists()]
    assert broken == []


def test_every_command_is_mentioned() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    names = [item.name or getattr(item.callback, "__name__", "") for item in main.app.registered_commands]
    names += [f"{group.name}" for group in main.app.registered_groups]
    assert [name for name in names if not re.search(rf"main\.py {name}\b|`{name}\b", text)] == []
