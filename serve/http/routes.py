"""The routes of the HTTP API: each takes a request, passes it to the service and turns files into addresses. Decides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Annotated, Any, TypeVar

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, File, Form, Header, HTTPException, Path, Query, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent

from limner.promptdb.errors import BadInput
from limner.serve.http.gate import client_of
from limner.serve.http.streams import as_events
from limner.serve.service import requests as most
from limner.serve.service.addresses import Addresses
from limner.serve.service.documents import (
    ConvertedDocument,
    GeneratedDocument,
    HitDocument,
    JobDocument,
    JobStream,
    LoadedDocument,
    RefinedDocument,
    RefineStream,
    RunDocument,
    RunRow,
    ScoredDocument,
)
from limner.serve.service.files import KINDS
from limner.serve.service.jobs import JobRecord, Jobs
from limner.serve.service.requests import DEFAULTS, ConvertAsk, DrawingAsk, GenerateAsk, Limits, OptimizeAsk, Prompt, RefineAsk, SearchAsk
from limner.serve.service.service import Service, with_progress

router = APIRouter(prefix="/v1", max_body_size=DEFAULTS.body)

Made = TypeVar("Made")

LEFT = 499  # nginx's status for a connection that the client closed; it is never read
SHOWN_ELSEWHERE = {"cross-origin-resource-policy": "cross-origin"}  # pictures, in other programs' chat windows
REPORT_POLICY = "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; sandbox"


def service_of(request: Request) -> Service:
    """Returns the service of the application, for routes to depend on."""
    service: Service = request.app.state.service
    return service


def addresses_of(request: Request) -> Addresses:
    """Returns the addresses of this server, for routes to depend on."""
    return Addresses(request.app.state.token)


Serving = Annotated[Service, Depends(service_of)]
Placing = Annotated[Addresses, Depends(addresses_of)]
RunId = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,79}$")]


def job_there(job: RunId, service: Serving) -> JobRecord:
    """Returns the job of that id; raises 404 where there is none. Called before a stream begins, since no status can be sent afterwards."""
    return _job(service, job)


async def unless_gone(request: Request, work: Awaitable[Made]) -> Made:
    """Returns the result of `work`, which is cancelled where the client closes the connection."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_hung_up(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise HTTPException(LEFT, "the client has left")
    finally:
        gone.cancel()
        task.cancel()


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


@router.post("/refine", response_model=RefinedDocument, tags=["draw"])
async def refine(ask: RefineAsk, request: Request, service: Serving, places: Placing) -> Any:
    """Refine one prompt: rewrite it, search, and check the best candidate on seeds that no search has seen."""
    return places.refined(await unless_gone(request, service.refine(client_of(request.scope), ask)))


@router.post("/refine/events", response_class=EventSourceResponse, tags=["draw"])
async def refine_events(ask: RefineAsk, request: Request, service: Serving, places: Placing) -> AsyncIterator[RefineStream]:
    """As `refine`, told while it goes on: events of kind `progress`, at the end one of kind `done` with the document, or `error`."""
    work = with_progress(lambda tell: service.refine(client_of(request.scope), ask, tell))
    async for event in as_events(work, places, places.refined):
        yield event


@router.post("/generate", response_model=GeneratedDocument, tags=["draw"])
async def generate(ask: GenerateAsk, request: Request, service: Serving, places: Placing) -> Any:
    """Draw, nothing else."""
    return places.generated(await unless_gone(request, service.generate(client_of(request.scope), ask)))


@router.post("/convert", response_model=ConvertedDocument, tags=["prompts"])
def convert(ask: ConvertAsk, service: Serving) -> Any:
    """Translate a prompt between dialects of weighting and timing, and say what is lost."""
    return service.convert(ask)


@router.post("/search", response_model=list[HitDocument], tags=["prompts"])
async def search(ask: SearchAsk, service: Serving) -> Any:
    """Find prompts in the database, best first."""
    # returned as it is: checking it by the model would cost as much as finding it
    return JSONResponse(await run_sync(service.search, ask, limiter=service.searching))


@router.get("/search", response_model=list[HitDocument], tags=["prompts"])
async def search_by_query(
    service: Serving,
    q: Annotated[str, Query(max_length=most.QUERY_CHARS)],
    limit: Annotated[int, Query(ge=1, le=most.HITS)] = 20,
) -> Any:
    """Find prompts in the database, best first, by words and likeness."""
    return JSONResponse(await run_sync(service.search, SearchAsk(query=q, limit=limit), limiter=service.searching))


@router.get("/runs", response_model=list[RunRow], tags=["runs"])
def runs(service: Serving, limit: Annotated[int, Query(ge=1, le=most.RUNS)] = 50) -> Any:
    """What was done, newest first."""
    return service.runs(limit)


@router.get("/runs/{run}", response_model=RunDocument, tags=["runs"])
def run(run: RunId, service: Serving, places: Placing) -> Any:
    """One run with its settings, candidates, result and files."""
    found = service.run(run)
    if found is None:
        raise HTTPException(404, f"there is no run {run}")
    return {**found, "files": [places.file(run, name) for name in service.run_files(run)]}


@router.get("/runs/{run}/preset", tags=["runs"])
def preset(run: RunId, service: Serving) -> dict[str, Any]:
    """The instruction that a run learned, for other tools."""
    return service.preset(run)


@router.get("/runs/{run}/files/{name}", response_class=FileResponse, tags=["runs"])
def run_file(run: str, name: str, service: Serving) -> Response:
    """A picture or the report of a run."""
    path = service.run_file(run, name)
    if path is None:
        raise HTTPException(404, "there is no such file")
    headers = {"content-security-policy": REPORT_POLICY} if path.suffix == ".html" else dict(SHOWN_ELSEWHERE)
    return FileResponse(path, media_type=KINDS[path.suffix], headers=headers)


@router.get("/loaded", response_model=list[LoadedDocument], tags=["server"])
def loaded(service: Serving) -> Any:
    """The checkpoints in memory. Each queue keeps the last ones that were asked for, as many as `serve --models` says."""
    return service.loaded()


@router.get("/images/{key}.png", response_class=FileResponse, tags=["runs"])
def image(key: str, service: Serving) -> Response:
    """A picture of the store, by the hash of its pixels."""
    try:
        path = service.image(key)
    except BadInput as error:
        raise HTTPException(404, str(error)) from error
    if path is None:
        raise HTTPException(404, "there is no such picture")
    return FileResponse(path, media_type="image/png", headers={**SHOWN_ELSEWHERE, "cache-control": "private, max-age=31536000, immutable"})


def score_routes(limits: Limits) -> APIRouter:
    """Returns the route that judges a picture, whose body may be large."""
    routes = APIRouter(prefix="/v1", max_body_size=limits.body)

    @routes.post("/score", response_model=ScoredDocument, tags=["draw"], max_body_size=limits.upload)
    async def score(
        request: Request,
        service: Serving,
        image: Annotated[bytes, File(description="a picture: PNG, JPEG, WebP, GIF or BMP")],
        prompt: Annotated[Prompt | None, Form(description="what it should show; by default what its metadata says")] = None,
    ) -> Any:
        """Judge a picture for a prompt, by every scorer."""
        return await unless_gone(request, service.score(client_of(request.scope), image, prompt, DrawingAsk()))

    return routes


def job_routes(limits: Limits) -> APIRouter:
    """Returns the routes of jobs, whose bodies may be large since they bring prompts."""
    routes = APIRouter(prefix="/v1", max_body_size=limits.body)

    @routes.post("/jobs", response_model=JobDocument, status_code=202, tags=["jobs"], max_body_size=limits.job_body)
    def create(ask: OptimizeAsk, request: Request, service: Serving) -> Any:
        """Learn an instruction on prompts, as a job that goes on while nobody looks and after the server was started again."""
        return shown(service.start_job(client_of(request.scope), ask))

    @routes.get("/jobs", response_model=list[JobDocument], tags=["jobs"])
    def every(service: Serving) -> Any:
        """Newest first."""
        return [shown(record) for record in _jobs(service).all()]

    @routes.get("/jobs/{job}", response_model=JobDocument, tags=["jobs"])
    def one(job: RunId, service: Serving, places: Placing) -> Any:
        """A job, with its result once it is done."""
        record = _job(service, job)
        found = service.run(job) if record.state == "done" else None
        return shown(record) | {"result": places.optimized(found["result"]) if found and found["result"] else None}

    @routes.post("/jobs/{job}/pause", response_model=JobDocument, tags=["jobs"])
    def pause(job: RunId, service: Serving) -> Any:
        """Let others go first; everything so far is kept."""
        _job(service, job)
        return shown(_jobs(service).halt(job, "paused"))

    @routes.post("/jobs/{job}/stop", response_model=JobDocument, tags=["jobs"])
    def stop(job: RunId, service: Serving) -> Any:
        """End it; everything so far is kept."""
        _job(service, job)
        return shown(_jobs(service).halt(job, "stopped"))

    @routes.post("/jobs/{job}/resume", response_model=JobDocument, tags=["jobs"])
    def resume(job: RunId, request: Request, service: Serving) -> Any:
        """Go on with a job that was paused or stopped, or has failed."""
        _job(service, job)
        return shown(_jobs(service).resume(job, client_of(request.scope)))

    @routes.get("/jobs/{job}/events", response_class=EventSourceResponse, tags=["jobs"])
    async def events(
        record: Annotated[JobRecord, Depends(job_there)],
        service: Serving,
        places: Placing,
        last_event_id: Annotated[str | None, Header(description="the number of the last event that you know")] = None,
        after: Annotated[int, Query(ge=0, le=2**53, description="the same, where a header cannot be sent")] = 0,
    ) -> AsyncIterator[JobStream]:
        """All events of a job, from the first or behind the one named, and those to come; ends with it."""
        known = int(last_event_id) if last_event_id and last_event_id.isascii() and last_event_id.isdigit() else after
        async for event in _followed(_jobs(service), record.id, known, places):
            yield event

    return routes


async def _followed(jobs: Jobs, job: str, after: int, places: Addresses) -> AsyncIterator[Any]:
    loop, news = asyncio.get_running_loop(), asyncio.Event()
    end, state = jobs.watch(job, lambda: loop.call_soon_threadsafe(news.set)), ""
    try:
        while True:
            news.clear()
            record = jobs.get(job)
            assert record is not None
            for number, event in jobs.events(job, after):
                after = number
                yield ServerSentEvent(event="progress", id=str(number), data=places.event(event))
            if record.state != state:
                state = record.state
                yield ServerSentEvent(event="state", data={"state": state, "error": record.error})
            if state in ("done", "failed", "stopped"):
                return
            await news.wait()
    finally:
        end()


def shown(record: JobRecord) -> dict[str, Any]:
    """Returns a job as clients get it, without its result."""
    facts = {"id": record.id, "state": record.state, "created": record.created, "prompts": record.prompts, "error": record.error}
    return {**facts, "events": f"/v1/jobs/{record.id}/events", "result": None}


def _jobs(service: Service) -> Jobs:
    if service.jobs is None:
        raise HTTPException(404, "this server runs no jobs")
    return service.jobs


def _job(service: Service, id: str) -> JobRecord:
    record = _jobs(service).get(id)
    if record is None:
        raise HTTPException(404, f"there is no job {id}")
    return record
