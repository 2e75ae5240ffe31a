"""Opens the prompt database of a run or a command. Apart from context.py, which needs LangGraph and the diffusion tools."""

from __future__ import annotations

from graph.settings import Settings
from promptdb.seed import seed
from promptdb.store import PromptDB


def open_database(settings: Settings) -> PromptDB:
    """The prompt database, holding the prompts that come with the checkout. Raises BadInput where it cannot be used."""
    db = PromptDB.open(settings.database)
    try:
        seed(db)
    except BaseException:
        db.close()
        raise
    return db
