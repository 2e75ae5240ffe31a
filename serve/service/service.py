"""What a server does for its clients, over whatever wire: the commands' own functions, each in the queue where its work belongs.

There are two queues, one for work that a client waits for and one for long work, so that a picture need not wait for an `optimize` run.
Each has checkpoints of its own in memory. Knows nothing of HTTP or MCP.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from anyio import CapacityLimiter

from limner.agents.chat.actions import Action
from limner.graph.chat.context import ChatServices
from limner.graph.chat.threads import Chats
from limner.graph.context import Models, open_models
from limner.graph.events import Event
from limner.graph.models import Lease
from limner.graph.plan import LearningSettings
from limner.graph.runner import Control
from limner.graph.settings import RefineSettings, Settings
from limner.graph.solvers import DpoOptions
from limner.promptdb.errors import BadInput
from limner.promptdb.files.prompt_file import BatchPrompt
from limner.promptdb.images import ImageStore
from limner.promptdb.search.filters import SAFE_BELOW, Filters
from limner.promptdb.seed import open_database
from limner.serve.commands import database, export, run_list
from limner.serve.commands import generate as drawing
from limner.serve.commands import optimize as optimizing
from limner.serve.commands import refine as refining
from limner.serve.commands.convert import converted
from limner.serve.commands.from_picture import prompt_of
from limner.serve.commands.generate import Reading
from limner.serve.service import files, pictures
from limner.serve.service.jobs import JobRecord, Jobs
from limner.serve.service.live import latest_pictures, live_view
from limner.serve.service.queue import WorkQueue
from limner.serve.service.requests import (
    DEFAULTS,
    ConvertAsk,
    DrawingAsk,
    GenerateAsk,
    Limits,
    OptimizeAsk,
    RefineAsk,
    SearchAsk,
    settings_of,
)
from limner.tools.solvers.dpo_diff.settings import DpoSettings

Document = dict[str, Any]
Made = TypeVar("Made")
Tell = Callable[[Event], None]


@dataclass(frozen=True)
class Offer:
    """What a server offers. `settings`: its own. `also`: further checkpoints that a request may name."""

    settings: Settings
    also: tuple[str, ...] = ()
    limits: Limits = DEFAULTS

    @property
    def checkpoints(self) -> tuple[str, ...]:
        """Returns the checkpoints that a request may name, the server's own first."""
        return tuple(dict.fromkeys([self.settings.checkpoint, *self.also]))


@dataclass(frozen=True)
class Ended(Generic[Made]):
    """The end of a work, with its result."""

    result: Made


_TRIED = "SELECT count(*), max(iteration), (SELECT count(*) FROM standing s WHERE s.run = t.run) FROM trial t WHERE t.run = ?"


# More threads that search at once than this wait for Python's lock more than they search.
SEARCHING = 2


class Service:
    """The service, open while the server lasts. `with_jobs`: this process runs the jobs of its folder, which one process may.

    Raises BadInput where the folder or the database cannot be used.
    """

    def __init__(self, offer: Offer, with_jobs: bool = True) -> None:
        self.offer, self.limits = offer, offer.limits
        self.db = open_database(offer.settings.database)
        self.images = ImageStore(offer.settings.database.parent / "images")
        self.drawing = WorkQueue("draw", self.limits.waiting, self.limits.per_client, self.limits.models)
        self.learning = WorkQueue("learn", self.limits.waiting, self.limits.per_client, self.limits.models, niceness=10)
        self.chats = Chats(ChatServices(offer.settings, self.drawing.models, self._open_offered))
        self.searching = CapacityLimiter(SEARCHING)
        try:
            self.jobs = Jobs(offer.settings, self.learning, self.db) if with_jobs else None
        except BaseException:
            self.chats.services.close()
            self.db.close()
            raise

    def close(self) -> None:
        """Stops the jobs and the queues, and closes the database."""
        if self.jobs:
            self.jobs.close()
        self.learning.close()
        self.drawing.close()
        self.chats.services.close()
        self.db.close()

    @property
    def settings(self) -> Settings:
        """Returns the server's own settings."""
        return self.offer.settings

    def settings_for(self, ask: DrawingAsk) -> Settings:
        """Returns the server's settings with those that the request names. Raises BadInput."""
        return settings_of(ask, self.settings, self.offer.checkpoints, self.limits.budget)

    async def refine(self, client: str, ask: RefineAsk, tell: Tell = lambda event: None) -> Document:
        """Returns the document of `refine`; `tell` is called with events in the queue's thread. Raises BadInput, Busy, Stopped."""
        settings, refined = self.settings_for(ask), RefineSettings(**ask.given(RefineSettings))
        options = DpoOptions(**ask.given(DpoSettings))
        work = partial(refining.refine, settings, ask.prompt, refined.method, _each(tell), options=options, pool=self.drawing.models)
        return await self.drawing.run(client, lambda control: work(control=control))

    async def generate(self, client: str, ask: GenerateAsk) -> Document:
        """Returns the document of `generate`. Raises BadInput, Busy, Cancelled."""
        settings = self.settings_for(ask)
        wanted = len(ask.prompts) * ask.count
        settings = replace(settings, budget=max(settings.budget, min(wanted, self.limits.budget)))
        work = partial(drawing.generate, settings, ask.prompts, ask.negative, ask.count, Reading(ask.lenient), pool=self.drawing.models)
        return await self.drawing.run(client, lambda control: work(control=control))

    async def score(self, client: str, image: bytes, prompt: str | None, ask: DrawingAsk) -> Document:
        """Returns the document of `score` for an uploaded picture. `prompt`: None for that which its metadata says.

        Raises BadInput where it is no picture, too large, or says no prompt where none is given.
        """
        settings = self.settings_for(ask)

        def work(control: Control) -> Document:
            with self._uploaded(image) as path:
                words = prompt_of(path, "the picture") if prompt is None else prompt
                return {**drawing.score(settings, path, words, self.drawing.models), "image": ""}

        return await self.drawing.run(client, work)

    async def optimize(self, client: str, ask: OptimizeAsk, tell: Tell) -> Document:
        """Returns the document of `optimize`. A caller that stops waiting interrupts the run, which may be resumed.

        For runs that go on without a client see `start_job`.
        """
        settings, learning = self.settings_for(ask), LearningSettings(**ask.given(LearningSettings))

        def work(control: Control) -> Document:
            pool = self.learning.models
            return optimizing.optimize(settings, learning, prompts_of(ask), None, _each(tell), control, ask.instruction, pool=pool)

        return await self.learning.run(client, work)

    async def start_thread(self, client: str, cap: int | None) -> Document:
        """Starts a conversation; returns what it waits for. `cap`: pictures that it may draw in all. Raises BadInput."""
        if cap is not None and cap > self.limits.budget:
            raise BadInput(f"a conversation may draw {self.limits.budget} images at most, not {cap}")
        return await self.drawing.run(client, lambda control: self.chats.view(self.chats.start(cap=cap)))

    async def say(
        self,
        client: str,
        thread: str,
        text: str,
        action: Action | None,
        tell: Tell,
        turn: int | None = None,
        checkpoint: str | None = None,
    ) -> Document:
        """Runs one turn; returns what the conversation waits for then. Raises BadInput, Busy.

        `thread`: empty for a new one. `turn`: the turn to go on from, if not the latest; a new thread is started where `thread` is unknown
        then. `checkpoint`: switched to first.
        """
        if not text.strip() and action is None:
            raise BadInput("say something, or choose an action")
        chosen = action.model_dump(exclude_defaults=True) | {"kind": action.kind} if action else None

        def work(control: Control) -> Document:
            here = self._found(thread, turn)
            view = self.chats.view(here)
            if turn and here == thread and view["turn"] != turn:
                view = _last(self.chats.send(here, action={"kind": "undo", "turn": turn}, control=control), tell)
            if checkpoint and view["checkpoint"] != checkpoint:
                _last(self.chats.send(here, action={"kind": "checkpoint", "text": checkpoint}, control=control), tell)
            return _last(self.chats.send(here, text, chosen, control), tell)

        return await self.drawing.run(client, work)

    async def act(self, client: str, thread: str, text: str, action: dict[str, Any] | None, tell: Tell) -> Document:
        """Runs one turn as `say` does, for a page whose thread may no longer exist: then a new one is started."""
        return await self.say(client, thread, text, Action(**action) if action else None, tell, turn=0)

    def job_mark(self, id: str) -> str:
        """Returns a mark that changes whenever there is something new to show of a job."""
        record = self.jobs.get(id) if self.jobs else None
        return f"{id} {record.state} {self.db.query(_TRIED, [id])[0]}" if record else ""

    def job_view(self, id: str) -> tuple[str, list[tuple[str, str]]]:
        """Returns a job as a piece of a page, and its last pictures. Raises BadInput where there is no such job."""
        record = self.jobs.get(id) if self.jobs else None
        if record is None:
            raise BadInput(f"there is no job {id}")
        return live_view(self.db, record), latest_pictures(self.db, id)

    def drawn_for(self, run: str) -> list[tuple[str, str]]:
        """Returns (hash, prompt) of the pictures that a run tried, whichever run drew them first, newest first."""
        return latest_pictures(self.db, run) or pictures.drawn_for(self.db, run)

    def beside_plain(self, payload: Document, number: int) -> tuple[str, str] | None:
        """Returns two hashes: the picture of the person's words alone on the seed of the shown picture `number`, and that picture.

        None where the former was not drawn. Raises BadInput for an unknown picture.
        """
        return pictures.beside_plain(self.db, payload, number)

    def pictures_of(self, hits: list[Document]) -> dict[str, str]:
        """Returns a picture (hash) by prompt id, for each prompt found that was drawn unchanged."""
        return pictures.pictures_of(self.db, hits)

    def timeline(self, text: str, negative: str, lenient: bool) -> Document:
        """Returns a DF-Prompt as bars over the denoising. Raises BadInput."""
        return pictures.over_time(text, negative, lenient)

    def timeline_view(self, text: str, negative: str, lenient: bool) -> str:
        """Returns the same as a piece of a page, or what is wrong with the prompt, and where."""
        return pictures.over_time_view(text, negative, lenient)

    def history(self, thread: str, everything: bool) -> list[Document]:
        """Returns the turns of a conversation, without the topic after each."""
        rows = [asdict(turn) for turn in self.chats.history(thread, everything)]
        return [{name: value for name, value in row.items() if name != "document"} for row in rows]

    def _found(self, thread: str, turn: int | None) -> str:
        if thread and turn is not None:
            with suppress(BadInput):
                self.chats.view(thread)
                return thread
            thread = ""
        return thread or self.chats.start()

    def loaded(self) -> list[Document]:
        """Returns the checkpoints in memory, of each queue the least recently used first."""
        return [{"queue": queue.name, **asdict(row)} for queue in (self.drawing, self.learning) for row in queue.models.loaded()]

    def _open_offered(self, settings: Settings, lease: Lease) -> Models:
        """Opens the models that a conversation may switch to: a name from outside never becomes a path or a download."""
        if settings.checkpoint not in self.offer.checkpoints:
            raise BadInput(f"this server offers {', '.join(self.offer.checkpoints)}, not {settings.checkpoint!r}")
        return open_models(settings, lease)

    def start_job(self, client: str, ask: OptimizeAsk) -> JobRecord:
        """Starts a job that learns an instruction. Raises BadInput, Busy."""
        if self.jobs is None:
            raise BadInput("this server runs no jobs")
        settings, learning = self.settings_for(ask), LearningSettings(**ask.given(LearningSettings))
        optimizing.check(settings, learning, len(ask.prompts))
        return self.jobs.create(client, settings, learning, prompts_of(ask), ask.instruction)

    def search(self, ask: SearchAsk) -> list[Document]:
        """Returns prompts of the database, best first."""
        safe = None if ask.nsfw else SAFE_BELOW
        filters = Filters(ask.source, ask.min_score, safe, ask.min_words, ask.max_words, tuple(ask.contains), tuple(ask.excludes))
        return database.find_in(self.db, ask.query, ask.limit, filters, ask.by, ask.diverse)

    def convert(self, ask: ConvertAsk) -> Document:
        """Returns the document of `convert`. Raises BadInput."""
        return converted(ask.text, ask.to, ask.source, ask.steps, ask.negative, ask.lenient)

    def prompt(self, id: str) -> Document | None:
        """Returns the prompt of that id; None where there is none."""
        found = self.db.prompt(id)
        if found is None:
            return None
        return {"id": found.id, "text": found.text, "subject": found.subject, "negative": found.negative, "source": found.source}

    def runs(self, limit: int) -> list[Document]:
        """Returns the newest `limit` runs, newest first."""
        return run_list.runs_in(self.db, limit)

    def run(self, id: str) -> Document | None:
        """Returns the run of that id with its settings, candidates and result; None where there is none."""
        return run_list.run_in(self.db, id)

    def preset(self, id: str) -> Document:
        """Returns what a run found as a preset. Raises BadInput for a run that is unknown, not done, or found nothing."""
        return export.preset(self.settings, id)

    def run_files(self, id: str) -> list[str]:
        """Returns the names of the files of a run that may be sent."""
        return files.run_files(self.settings.folder, id)

    def run_file(self, id: str, name: str) -> Path | None:
        """Returns the path of a file of a run; None where there is none that may be sent."""
        return files.run_file(self.settings.folder, id, name)

    def image(self, key: str) -> Path | None:
        """Returns the file of a stored picture. Raises BadInput for what is no hash."""
        return files.stored_image(self.images.folder, self.images.path(key))

    @contextmanager
    def _uploaded(self, image: bytes) -> Any:
        """Yields the picture as a file for the length of the block; nothing is decoded before its size is known to be within the limits."""
        check_picture(image, self.limits.pixels)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "upload"
            path.write_bytes(image)
            yield path


def check_picture(image: bytes, most_pixels: int) -> None:
    """Raises BadInput for what is no picture, and for one of more than `most_pixels` pixels. Reads the header alone."""
    import io

    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(image), formats=["PNG", "JPEG", "WEBP", "GIF", "BMP"]) as opened:
            width, height = opened.size
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadInput("the file is not a readable picture (PNG, JPEG, WebP, GIF or BMP)") from error
    if width * height > most_pixels:
        raise BadInput(f"the picture has {width} x {height} pixels; at most {most_pixels} are taken")


def prompts_of(ask: OptimizeAsk) -> list[BatchPrompt]:
    """Returns the prompts of a request to learn on."""
    return [BatchPrompt(item) if isinstance(item, str) else BatchPrompt(item.prompt, tuple(item.pins)) for item in ask.prompts]


def _last(events: Iterable[Event], tell: Tell) -> Document:
    """The payload with which a turn ends; the events before it go to `tell`."""
    payload: Document = {}
    for event in events:
        if event["kind"] == "asked":
            payload = event["payload"]
        else:
            tell(event)
    return payload


def _each(tell: Tell) -> Callable[[Iterable[Event]], None]:
    def show(events: Iterable[Event]) -> None:
        for event in events:
            tell(event)

    return show


async def with_progress(work: Callable[[Tell], Coroutine[Any, Any, Made]]) -> AsyncIterator[Event | Ended[Made]]:
    """Yields each event of `work(tell)` as it happens, then its result. Closing the iterator early cancels the work."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[Event | None] = asyncio.Queue()
    task = asyncio.ensure_future(work(lambda event: _put(loop, queue, event)))
    task.add_done_callback(lambda _: queue.put_nowait(None))  # behind all events: both go through the loop, in order
    try:
        while (event := await queue.get()) is not None:
            yield event
        yield Ended(task.result())
    finally:
        task.cancel()


def _put(loop: asyncio.AbstractEventLoop, queue: asyncio.Queue[Event | None], event: Event) -> None:
    with suppress(RuntimeError):  # the loop is closed: the run is cancelled by other means
        loop.call_soon_threadsafe(queue.put_nowait, event)
