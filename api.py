"""The functions of `import limner`, for Python programs, with typed results.

Each function does what the command of its name does and takes the same options, by the names of `limner.Settings`. It raises
`limner.BadInput`, with one line that says what to correct, before anything is written.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.graph.settings import Settings
from limner.promptdb.errors import BadInput
from limner.serve.results import Learned, Picture, Refined

if TYPE_CHECKING:
    from PIL import Image

    from limner.graph.context import Extras
    from limner.graph.events import Event
    from limner.graph.solvers import DpoOptions
    from limner.tools.evaluator import Evaluator
    from limner.tools.scoring.base import Scorer
    from limner.tools.solvers.base import Solver

OnEvent = Callable[["Event"], None]

OPTIMIZE_BUDGET = 1000


def refine(
    prompt: str,
    *,
    negative: str = "",
    method: str | Solver = "auto",
    scorers: Sequence[str | Scorer] = (),
    on_event: OnEvent | None = None,
    **options: Any,
) -> Refined:
    """Refine one prompt: rewrite it, search, and check the best candidate on seeds that no search has seen.

    negative: a negative prompt, which every candidate keeps. method: `auto`, `rewrite`, `df-prompt`, `dpo-diff`, or a Solver of your own.
    scorers: names or Scorers, the objective first; by default the checkpoint's. on_event: called with every event of the run. options:
    fields of Settings, and `space` and `search` of `dpo-diff`. Raises BadInput before anything is written.
    """
    from limner.serve.commands import refine as command

    extras, names = _extras(scorers, method)
    space, search = options.pop("space", None), options.pop("search", None)
    settings = _settings(options, names)
    chosen = _dpo_options(space, search)
    name = method if isinstance(method, str) else method.name
    done = command.refine(settings, prompt, name, _shown(on_event), options=chosen, extras=extras, negative=negative)
    return Refined.from_document(done)


def attack(
    prompt: str, *, search: str | None = None, scorers: Sequence[str | Scorer] = (), on_event: OnEvent | None = None, **options: Any
) -> Refined:
    """Find a prompt that means the same and that the checkpoint draws worse; `improved` says whether the check on fresh seeds confirms it.

    search: how the words are searched (`swap`, `hybrid`, `gradient`, `evolution`, `random`). Everything else is as for `refine`.
    """
    from limner.serve.commands import refine as command

    extras, names = _extras(scorers)
    chosen = _dpo_options(None, search)
    return Refined.from_document(command.attack(_settings(options, names), prompt, chosen.search, _shown(on_event), extras=extras))


def optimize(
    prompts: Iterable[str] | Path,
    *,
    instruction: str = "",
    scorers: Sequence[str | Scorer] = (),
    on_event: OnEvent | None = None,
    **options: Any,
) -> Learned:
    """Learn an instruction for the rewriter on prompts, and measure it on prompts that learning never saw (half of them, at most 60).

    prompts: the prompts, or a file of them: one a line, JSONL or CSV. instruction: where to start; by default the rewriter's own. options:
    fields of Settings and of LearningSettings (`iterations`, `batch_size`, `arms`, `selector`, ...). Raises BadInput before anything is
    written.
    """
    from limner.graph.plan import LearningSettings
    from limner.promptdb.files.prompt_file import BatchPrompt
    from limner.serve.commands import optimize as command

    extras, names = _extras(scorers)
    learning = LearningSettings(**{name: options.pop(name) for name in list(options) if name in LearningSettings.__dataclass_fields__})
    settings = _settings({"budget": OPTIMIZE_BUDGET, **options}, names)
    given = prompts if isinstance(prompts, Path) else [BatchPrompt(prompt) for prompt in prompts]
    show = _shown(on_event)
    return Learned.from_document(command.optimize(settings, learning, given, None, show, instruction=instruction, extras=extras))


def resume(run: str, *, on_event: OnEvent | None = None, **options: Any) -> Refined | Learned:
    """Resume a run that was stopped or killed, with its own settings; the result of a finished run is returned without running it again.

    options: `out` and `db`, where they were given to the run. A run with a Scorer or Solver of your own is not resumed this way. Raises
    BadInput for an unknown run, and for one that is neither `refine`, `attack` nor `optimize`.
    """
    from limner.serve.commands import optimize as learning
    from limner.serve.commands import refine as refining
    from limner.serve.commands import run_list

    settings = _settings(options, ())
    command = run_list.run(settings, run)["command"]
    if command == learning.COMMAND:
        return Learned.from_document(learning.resume(settings, run, _shown(on_event)))
    return Refined.from_document(refining.resume(settings, run, _shown(on_event), command=command))


def generate(prompts: str | Sequence[str], *, negative: str = "", count: int = 1, **options: Any) -> list[Picture]:
    """Draw each prompt on `count` seeds from `seed` on, nothing else; DF-Prompts such as `a cat, [sharp focus:0-0.5:1.25]` too.

    Returns the pictures of the first prompt, then those of the next. Raises BadInput before anything is drawn.
    """
    from limner.serve.commands import generate as command

    given = [prompts] if isinstance(prompts, str) else list(prompts)
    settings = _settings({"budget": max(1, count * len(given)), **options}, ())
    rows = command.generate(settings, given, negative, count)["images"]
    return [
        Picture(Path(row["path"]) if row["path"] else None, row["prompt"], row["negative"], row["seed"], row["drawing_id"]) for row in rows
    ]


def score(
    image: Path | str | Image.Image, prompt: str | None = None, *, scorers: Sequence[str | Scorer] = (), **options: Any
) -> dict[str, float | None]:
    """Judge a picture for a prompt by every scorer.

    image: a file, or an RGB picture. prompt: by default what the file says that it was drawn from. Returns values by scorer name, None
    where a scorer has no answer. Raises BadInput for an unreadable file, and for one that says no prompt where none is given.
    """
    from limner.serve.commands import generate as command

    extras, names = _extras(scorers)
    settings = _settings(options, names)
    if isinstance(image, (str, Path)):
        return dict(command.score(settings, Path(image), prompt, extras=extras)["scores"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.png"
        image.save(path)
        return dict(command.score(settings, path, prompt, extras=extras)["scores"])


@contextmanager
def open_evaluator(*, scorers: Sequence[str | Scorer] = (), **options: Any) -> Iterator[Evaluator]:
    """Open an Evaluator, which draws, scores and stores, with a budget of `budget` images; it is closed at the end of the `with` block.

    scorers: names or Scorers; by default the checkpoint's. options: fields of Settings. Raises BadInput.
    """
    from limner.graph.context import check_places, open_context, open_models
    from limner.graph.models import ModelPool

    extras, names = _extras(scorers)
    settings = _settings(options, names)
    check_places(settings)
    with ModelPool().lease() as lease:
        models = open_models(settings, lease, extras=extras)
        with open_context(settings, models, budget_images=settings.budget) as context:
            yield context.evaluator


def _settings(options: dict[str, Any], scorers: Sequence[str]) -> Settings:
    """Settings of the options given. Raises BadInput that names an unknown one."""
    unknown = sorted(set(options) - set(Settings.__dataclass_fields__))
    if unknown:
        raise BadInput(f"there is no option {unknown[0]!r}; there are {', '.join(Settings.__dataclass_fields__)}")
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list | set) else value for name, value in options.items()}
    values |= {name: str(values[name]) for name in ("out", "db", "checkpoint") if values.get(name) is not None}
    settings = Settings(**values)
    return replace(settings, scorers=tuple(scorers)) if scorers else settings


def _extras(scorers: Sequence[str | Scorer], method: str | Solver = "auto") -> tuple[Extras, list[str]]:
    """The objects among the scorers and the method, by name; and the names of all scorers."""
    from limner.graph.context import Extras

    own = {item.name: item for item in scorers if not isinstance(item, str)}
    solvers = {} if isinstance(method, str) else {method.name: method}
    return Extras(own, solvers), [item if isinstance(item, str) else item.name for item in scorers]


def _dpo_options(space: str | None, search: str | None) -> DpoOptions:
    from limner.graph.solvers import DpoOptions

    default = DpoOptions()
    return DpoOptions(space or default.space, search or default.search)


def _shown(on_event: OnEvent | None) -> Callable[[Iterable[Event]], None]:
    def show(events: Iterable[Event]) -> None:
        for event in events:
            if on_event:
                on_event(event)

    return show
