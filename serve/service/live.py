"""An `optimize` run in work as a piece of a page: curves, the tree of instructions, cost against budget. Draws nothing.

Is made again only where something was added since, so that watching costs the run next to nothing.
"""

from __future__ import annotations

from typing import Any

from limner.promptdb.runs import Runs
from limner.promptdb.store import PromptDB
from limner.promptdb.trials import Trials
from limner.serve.reports import page
from limner.serve.reports.curves import curves_view
from limner.serve.reports.search import Search, tree_view
from limner.serve.service.jobs import JobRecord

LOWER_IS_BETTER = {"spherical_clip"}
SHOWN = 24  # pictures of the grid


def live_view(db: PromptDB, record: JobRecord) -> str:
    """Returns the piece of HTML; the words of people and models are escaped."""
    higher = not set(record.settings["scorers"][:1]) & LOWER_IS_BETTER
    trials = Trials(db, record.id)
    arms = trials.arms()
    standings = trials.standings()
    leading = next((row.instruction for row in reversed(standings) if row.value is not None), arms[0].instruction.id if arms else "")
    search = Search(arms, trials.trials(), standings, leading, higher)
    images = int(spent.amounts.get("images", 0)) if (spent := Runs(db).spent(record.id)) else 0
    view: dict[str, Any] = {
        "state": record.state,
        "error": record.error,
        "run": record.id,
        "images": images,
        "budget": record.settings["budget"],
        "curves": curves_view(search) if arms else {},
        "tree": tree_view(search) if arms else [],
    }
    return page.render("live.html", view)


def latest_pictures(db: PromptDB, run: str) -> list[tuple[str, str]]:
    """Returns (hash, prompt) of the pictures that the run tried last, newest first."""
    rows = db.query(
        "SELECT DISTINCT d.image, t.prompt, t.iteration FROM trial t JOIN drawing d ON d.conditioning = t.conditioning AND d.seed = t.seed "
        "WHERE t.run = ? AND d.image IS NOT NULL ORDER BY t.iteration DESC LIMIT ?",
        [run, SHOWN],
    )
    return [(image, prompt) for image, prompt, _ in rows]
