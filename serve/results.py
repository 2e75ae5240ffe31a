"""The typed results of the functions of `import limner`, which a notebook shows with pictures."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.graph.state import Verdict
from limner.graph.verdict import verdict_in

if TYPE_CHECKING:
    from PIL import Image

SHOWN = 4
"""Pictures of each side that a notebook shows."""


@dataclass(frozen=True)
class Change:
    """One scorer on held-out seeds or prompts: means before and after, and their paired difference.

    `ci95`: the 95 % bootstrap interval of `delta`; None where there were fewer than two pairs. `n`: pairs. Values are None where no
    picture could be scored.
    """

    before: float | None
    after: float | None
    delta: float | None
    ci95: tuple[float, float] | None
    n: int

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Change:
        """Reads one row of `scores` in a command's document."""
        interval = row.get("ci95")
        return cls(row["before"], row["after"], row["delta"], (interval[0], interval[1]) if interval else None, row["n"])

    def __str__(self) -> str:
        if self.delta is None:
            return "cannot be judged"
        interval = f" [{self.ci95[0]:+.4f}, {self.ci95[1]:+.4f}]" if self.ci95 else ""
        return f"{self.before:.4f} -> {self.after:.4f}, {self.delta:+.4f}{interval}"


@dataclass(frozen=True)
class Refined:
    """A refined prompt with its evidence. `str()` gives the verdict in lines; a notebook shows the pictures too.

    `verdict`: what may be claimed, in one word (`kind`) and in sentences (`words`). `best_tried`: the best candidate, with its own scores,
    where it was not adopted. `text`, `negative`: the prompt to use; the user's own where `improved` is False. `df_prompt`: the same with
    its timing, in DF-Prompt's syntax; None where every word acts all the time. `scores`: by scorer name, the objective first, on held-out
    seeds. `before`, `after`: the pictures of that comparison as PNG files. `report`: an HTML file with all evidence. `used`: images,
    unet_rows, llm_calls, repeated, seconds. `document`: what `limner refine --json` prints.
    """

    prompt: str
    text: str
    negative: str
    df_prompt: str | None
    verdict: Verdict
    improved: bool
    best_tried: Mapping[str, Any] | None
    scores: Mapping[str, Change]
    before: Sequence[Path]
    after: Sequence[Path]
    report: Path
    run: str
    used: Mapping[str, float]
    document: Mapping[str, Any] = field(repr=False)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Refined:
        """Reads what `refine --json` or `attack --json` prints."""
        result, images = document["result"], document["images"]
        return cls(
            prompt=document["prompt"],
            text=result["text"],
            negative=result["negative"],
            df_prompt=result["df_prompt"],
            verdict=verdict_in(document),
            improved=document["improved"],
            best_tried=document.get("best_tried"),
            scores={name: Change.from_row(row) for name, row in document["scores"].items()},
            before=tuple(map(Path, images["before"])),
            after=tuple(map(Path, images["after"])),
            report=Path(document["report"]),
            run=document["run"],
            used=document["used"],
            document=document,
        )

    def __str__(self) -> str:
        rows = [f"  {name}: {change}" for name, change in self.scores.items()]
        return "\n".join([f"{self.prompt!r}: {self.verdict['words']}", *([f"  {self.text!r}"] if self.improved else []), *rows])

    def _repr_html_(self) -> str:
        head = f"<p>{escape(self.verdict['words'])}</p><p><b>{escape(self.prompt)}</b> &rarr; <b>{escape(self.text)}</b></p>"
        pictures = "".join(f"<tr><th>{name}</th>{_cells(paths)}</tr>" for name, paths in (("before", self.before), ("after", self.after)))
        return f"{head}<table>{pictures}</table>{_score_table(self.scores)}"


@dataclass(frozen=True)
class Learned:
    """An instruction that was learned on prompts, with its evidence on held-out prompts.

    `instruction`: the best one found; `initial`: the one that learning began with. `verdict`: on the best against the initial one;
    `improved`: whether it is "better". `heldout`: against plain prompts, by scorer name; `heldout_initial`: against the initial
    instruction. `document`: what `limner optimize --json` prints.
    """

    instruction: str
    initial: str
    verdict: Verdict
    improved: bool
    heldout: Mapping[str, Change]
    heldout_initial: Mapping[str, Change]
    warnings: Sequence[str]
    report: Path
    run: str
    used: Mapping[str, float]
    document: Mapping[str, Any] = field(repr=False)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Learned:
        """Reads what `optimize --json` prints."""
        return cls(
            instruction=document["instruction"]["best"],
            initial=document["instruction"]["initial"],
            verdict=verdict_in(document),
            improved=document["improved"],
            heldout={name: Change.from_row(row) for name, row in document["heldout"].items()},
            heldout_initial={name: Change.from_row(row) for name, row in document["heldout_initial"].items()},
            warnings=tuple(document["warnings"]),
            report=Path(document["report"]),
            run=document["run"],
            used=document["used"],
            document=document,
        )

    def __str__(self) -> str:
        rows = [f"  {name} against plain prompts: {change}" for name, change in self.heldout.items()]
        return "\n".join([f"{self.verdict['words']} {self.instruction!r}", *rows])

    def _repr_html_(self) -> str:
        return f"<p>{escape(self.verdict['words'])}</p><p><b>{escape(self.instruction)}</b></p>{_score_table(self.heldout)}"


@dataclass(frozen=True)
class Picture:
    """A drawn picture. `path`: its PNG file, which says how it was made; None where the model gave no numbers (NaN).

    `prompt`: as a DF-Prompt, which is plain text where every word acts all the time. `drawing_id`: hash of everything that it depends on.
    """

    path: Path | None
    prompt: str
    negative: str
    seed: int
    drawing_id: str

    @property
    def image(self) -> Image.Image:
        """The picture, opened. Raises ValueError where there is none."""
        from PIL import Image

        if self.path is None:
            raise ValueError(f"the model gave no picture for {self.prompt!r} on seed {self.seed}")
        return Image.open(self.path)

    def _repr_png_(self) -> bytes | None:
        return self.path.read_bytes() if self.path else None


def _cells(paths: Sequence[Path]) -> str:
    there = [path for path in paths[:SHOWN] if path.is_file()]
    data = (base64.b64encode(path.read_bytes()).decode() for path in there)
    return "".join(f'<td><img width="128" src="data:image/png;base64,{code}"></td>' for code in data)


def _score_table(scores: Mapping[str, Change]) -> str:
    rows = "".join(f"<tr><td>{escape(name)}</td><td>{escape(str(change))}</td></tr>" for name, change in scores.items())
    return f"<table><tr><th>scorer</th><th>before -&gt; after, difference [95 %]</th></tr>{rows}</table>"
