"""The settings of a run, declared and checked in one place. Knows nothing of where the values come from (see sources.py)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from limner.promptdb.errors import BadInput
from limner.tools.options import Declared, option
from limner.tools.solvers import registry

if TYPE_CHECKING:
    from limner.agents.contract import Contract

HELDOUT_FROM = 2**31
"""Held-out seeds start here and search seeds end below, so that no seed is both in any run."""

MOST_SEEDS = 10_000


def _dialects() -> tuple[str, ...]:
    from limner.tools.prompt_language.dialects import AUTO, DIALECTS  # its patterns take longer to compile than --help may

    return AUTO, *DIALECTS


@dataclass(frozen=True)
class Settings(Declared):
    """What commands have in common. `steps`, `guidance_scale`: None means what the checkpoint's card recommends. `scorers`: empty means
    the card's. `budget`: search and held-out check together. `pins`, `triggers`, `bans`, `let_go`, `traits`: the intent contract."""

    checkpoint: str = option("miniature", "miniature, a folder in diffusers' format, a hub id, or openai:NAME")
    device: str | None = option(None, "cpu, cuda, cuda:1...; by default the first GPU, else the CPU")
    dtype: str | None = option(None, "float32, float16 or bfloat16")
    steps: int | None = option(None, "denoising steps; by default what the checkpoint recommends", ge=1)
    guidance_scale: float | None = option(None, "classifier-free guidance; by default what the checkpoint recommends", ge=0)
    scorers: tuple[str, ...] = option((), "repeatable; the first is the objective, the others are reported beside it", each="scorer")
    budget: int = option(64, "images to draw at most", ge=1)
    dialect: str = option("auto", "how prompts are written; auto tells it by their marks", choices=_dialects)
    seed: int = option(0, "first of the search seeds", ge=0, le=HELDOUT_FROM - 1)
    search_seeds: int = option(2, "seeds on which candidates are compared", ge=1, le=MOST_SEEDS)
    heldout_seeds: int = option(8, "seeds, never searched, on which the result is measured", ge=2, le=MOST_SEEDS)  # an interval needs two
    variants: int = option(12, "rewritten prompts to ask for", ge=1)
    pins: tuple[str, ...] = option((), "words that no candidate may lose; repeatable", each="pin")
    triggers: tuple[str, ...] = option(
        (), "trigger token of a LoRA or embedding, kept letter by letter; repeatable", each="trigger"
    )
    bans: tuple[str, ...] = option((), "words that no candidate may bring in; repeatable", each="ban")
    let_go: tuple[str, ...] = option(
        (), "what of the prompt is not kept by itself: words, a kind (counts, quotes, colours, names...), or all; repeatable", each="let_go"
    )
    traits: tuple[str, ...] = option((), "what must still be seen in the pictures, by the alignment scorer; repeatable", each="trait")
    truncate: bool = option(False, "read only what fits into one window of the text encoder, instead of windows side by side")
    out: str = option("runs", "folder for runs, reports and pictures")
    db: str | None = option(None, "prompt database; by default limner.db in the folder given by --out")

    def __post_init__(self) -> None:
        super().__post_init__()
        # From 2 x HELDOUT_FROM on torch's generator repeats itself, and a held-out picture would be one of some search.
        most = HELDOUT_FROM - max(self.search_seeds, self.heldout_seeds)
        if self.seed > most:
            raise BadInput(f"--seed must be at most {most}, not {self.seed}")
        self.contract.check()

    @property
    def contract(self) -> Contract:
        """Returns the intent contract: what no candidate may lose or bring in."""
        from limner.agents.contract import Contract  # it compiles word lists, which --help does not need

        return Contract(self.pins, self.triggers, self.bans, self.traits, self.let_go)

    @property
    def folder(self) -> Path:
        """Returns the folder of runs and their reports."""
        return Path(self.out).expanduser()

    @property
    def database(self) -> Path:
        """Returns the path of the prompt database."""
        return Path(self.db).expanduser() if self.db else self.folder / "limner.db"

    @property
    def search(self) -> list[int]:
        """Returns the seeds on which candidates are compared while searching."""
        return list(range(self.seed, self.seed + self.search_seeds))

    @property
    def heldout(self) -> list[int]:
        """Returns the seeds on which the result is measured; never among the search seeds."""
        first = HELDOUT_FROM + self.seed
        return list(range(first, first + self.heldout_seeds))


@dataclass(frozen=True)
class RefineSettings(Declared):
    """How one prompt is refined."""

    method: str = option("auto", registry.HELP, choices=registry.methods)
