"""What a person may set for a run, checked once. Knows nothing of where the values came from (flags, environment, file)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from limner.agents.contract import Contract
from limner.promptdb.errors import BadInput

HELDOUT_FROM = 2**31
"""Held-out seeds start here and search seeds end below, so that no seed is ever both, in any run."""


@dataclass(frozen=True)
class Settings:
    """The common options of the command line.

    `steps`, `guidance_scale`: None means what the checkpoint's card recommends. `scorers`: the first is the objective; empty means
    the card's. `budget`: images drawn, search and held-out check together. `search_seeds`, `heldout_seeds`: how many.
    `variants`: rewritten prompts asked for, fewer where the budget is small. `pins`, `triggers`,
    `bans`, `traits`: the intent contract. `db`: None means a file beside the runs.
    """

    checkpoint: str = "miniature"
    device: str | None = None
    dtype: str | None = None
    steps: int | None = None
    guidance_scale: float | None = None
    scorers: tuple[str, ...] = ()
    budget: int = 64
    seed: int = 0
    search_seeds: int = 2
    heldout_seeds: int = 8
    variants: int = 12
    pins: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()
    bans: tuple[str, ...] = ()
    traits: tuple[str, ...] = ()
    truncate: bool = False
    out: str = "runs"
    db: str | None = None

    def __post_init__(self) -> None:
        for name, least in _AT_LEAST.items():
            value = getattr(self, name)
            if value is not None and not value >= least:  # so that NaN does not pass
                raise BadInput(f"--{name.replace('_', '-')} must be at least {least}, not {value}")
        if self.guidance_scale == math.inf:
            raise BadInput("--guidance-scale must be finite")
        for name, bound in (("seed", HELDOUT_FROM), ("search_seeds", MOST_SEEDS), ("heldout_seeds", MOST_SEEDS)):
            if getattr(self, name) > bound:
                raise BadInput(f"--{name.replace('_', '-')} must be at most {bound}, not {getattr(self, name)}")
        # Beyond 2 x HELDOUT_FROM torch's generator begins anew, and a held-out picture would be one of a search.
        most = HELDOUT_FROM - max(self.search_seeds, self.heldout_seeds)
        if self.seed > most:
            raise BadInput(f"--seed must be at most {most}, not {self.seed}")

        self.contract.check()

    @property
    def contract(self) -> Contract:
        """What no candidate may lose or bring in."""
        return Contract(self.pins, self.triggers, self.bans, self.traits)

    @property
    def folder(self) -> Path:
        """Where runs and their reports go."""
        return Path(self.out).expanduser()

    @property
    def database(self) -> Path:
        return Path(self.db).expanduser() if self.db else self.folder / "limner.db"

    @property
    def search(self) -> list[int]:
        """The seeds on which candidates are compared while searching."""
        return list(range(self.seed, self.seed + self.search_seeds))

    @property
    def heldout(self) -> list[int]:
        """The seeds on which the result is measured; never among the search seeds."""
        first = HELDOUT_FROM + self.seed
        return list(range(first, first + self.heldout_seeds))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Settings:
        known = {name: value for name, value in document.items() if name in cls.__dataclass_fields__}
        return cls(**{**known, **{name: tuple(known.get(name, ())) for name in _TUPLES}})


MOST_SEEDS = 10_000

_TUPLES = ("scorers", "pins", "triggers", "bans", "traits")

_AT_LEAST: dict[str, float] = {
    "steps": 1,
    "guidance_scale": 0,
    "budget": 1,
    "seed": 0,
    "search_seeds": 1,
    "heldout_seeds": 2,  # an interval needs two
    "variants": 1,
}

_NUMBERS = ("steps", "budget", "seed", "search_seeds", "heldout_seeds", "variants")
_TEXTS = ("checkpoint", "out", "db", "device")


def settings_from(environment: Mapping[str, str], **given: Any) -> Settings:
    """Settings from LIMNER_CHECKPOINT, LIMNER_OUT, LIMNER_DB, LIMNER_DEVICE and the numbers. Raises BadInput."""
    texts = {name: text for name in _TEXTS if (text := environment.get(f"LIMNER_{name.upper()}", ""))}
    numbers: dict[str, int] = {}
    for name in _NUMBERS:
        value = environment.get(f"LIMNER_{name.upper()}", "").strip()
        if value:
            try:
                numbers[name] = int(value)
            except ValueError:
                raise BadInput(f"LIMNER_{name.upper()} must be a whole number, not {value!r}") from None
    values: dict[str, Any] = {**texts, **numbers, **given}
    return Settings(**values)
