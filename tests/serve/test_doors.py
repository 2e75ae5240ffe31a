"""Every setting through every door: flag, variable, limner.toml, HTTP body, MCP argument. It lands in the run's settings, or is refused in
the same words."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra `serve` is not installed")
pytest.importorskip("mcp", reason="the extra `serve` is not installed")

import anyio
import httpx
from mcp.client import Client

from limner import main
from limner.graph.plan import LearningSettings
from limner.graph.settings import Settings
from limner.graph.sources import OPTIONS, given_values, settings_from
from limner.promptdb.errors import BadInput
from limner.serve.commands import optimize, refine
from limner.serve.mcp.server import build_mcp
from limner.serve.service.jobs import Jobs
from limner.serve.service.requests import NOT_SERVED, SERVED_MOST, OptimizeAsk, RefineAsk
from limner.serve.service.service import Offer, Service
from limner.tools.options import Option, options_of
from tests.serve.live_server import serving

VALUES: dict[str, Any] = {
    "checkpoint": "another",
    "device": "cpu",
    "dtype": "bfloat16",
    "steps": 7,
    "guidance_scale": 2.5,
    "scorer": ["clip", "hpsv2"],
    "budget": 77,
    "seed": 5,
    "search_seeds": 3,
    "heldout_seeds": 9,
    "variants": 4,
    "pin": ["red car", "beach"],
    "trigger": ["ohwx"],
    "ban": ["neon"],
    "let_go": ["counts", "red car"],
    "trait": ["blue eyes"],
    "truncate": True,
    "dialect": "plain",
    "out": "elsewhere",
    "db": "elsewhere.db",
    "method": "rewrite",
    "space": "antonym",
    "search": "random",
    "iterations": 2,
    "batch_size": 5,
    "arms": 4,
    "selector": "greedy",
    "children": 2,
    "heldout_prompts": 8,
    "professional": False,
    "compat": "maai",
}
LEARNED = {item.name for item in options_of(LearningSettings)}
NAMES = sorted(OPTIONS)
SERVED = [name for name in NAMES if OPTIONS[name].field not in NOT_SERVED]

Seen = dict[str, Any]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Seen:
    """What the last run was asked for, by field; the run itself is refused where it would begin."""
    found: Seen = {}

    def refined(settings: Settings, prompt: str, method: str, show: Any, control: Any = None, options: Any = None, **others: Any) -> Any:
        found.update(settings.to_json(), method=method, space=options.space, search=options.search)
        raise BadInput("seen")

    def learned(settings: Settings, learning: LearningSettings, *more: Any, **others: Any) -> Any:
        found.update(settings.to_json(), **learning.to_json())
        raise BadInput("seen")

    monkeypatch.setattr(refine, "refine", refined)
    monkeypatch.setattr(optimize, "optimize", learned)
    monkeypatch.setattr(Jobs, "create", lambda self, client, settings, learning, prompts, instruction: learned(settings, learning))
    monkeypatch.chdir(tmp_path)
    return found


@pytest.fixture(scope="module")
def offer(tmp_path_factory: pytest.TempPathFactory) -> Offer:
    return Offer(Settings(out=str(tmp_path_factory.mktemp("served"))), also=("another",))


@pytest.fixture(scope="module")
def url(offer: Offer) -> Iterator[str]:
    with serving(offer.settings, also=offer.also) as address:
        yield address


def typed(item: Option, value: Any) -> list[str]:
    if item.kind is bool:
        return [item.flag if value else f"--no-{item.flag[2:]}"]
    return [part for text in (value if isinstance(value, list) else [value]) for part in (item.flag, str(text))]


def run(name: str, *more: str) -> None:
    """`refine`, or `optimize` for what only that takes."""
    main.main([*(("optimize", "prompts.txt") if name in LEARNED else ("refine", "a cat")), *more])


def by_flag(name: str, value: Any) -> None:
    run(name, *typed(OPTIONS[name], value))


def by_variable(name: str, value: Any) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(f"LIMNER_{name.upper()}", json.dumps(value) if isinstance(value, list | bool) else str(value))
        run(name)


def by_file(name: str, value: Any) -> None:
    Path("limner.toml").write_text(f"{name.replace('_', '-')} = {json.dumps(value)}\n", encoding="utf-8")
    run(name)


COMMAND_LINE: dict[str, Callable[[str, Any], None]] = {"flag": by_flag, "variable": by_variable, "limner.toml": by_file}


def by_http(url: str, name: str, value: Any) -> str:
    """The server's words."""
    field = OPTIONS[name].field
    if name in LEARNED:
        answer = httpx.post(f"{url}/v1/jobs", json={"prompts": ["a cat"] * 8, field: value}, timeout=60)
    else:
        answer = httpx.post(f"{url}/v1/refine", json={"prompt": "a cat", field: value}, timeout=60)
    return str(answer.json()["error"]["message"])


def by_mcp(offer: Offer, name: str, value: Any) -> str:
    """The tool's words."""
    tool, asked = ("optimize", {"prompts": ["a cat"] * 8}) if name in LEARNED else ("refine_prompt", {"prompt": "a cat"})
    service = Service(offer, with_jobs=False)

    async def call() -> str:
        async with Client(build_mcp(service)) as client:
            result = await client.call_tool(tool, {**asked, OPTIONS[name].field: value})
            return "".join(part.text for part in result.content if part.type == "text")

    try:
        return anyio.run(call)
    finally:
        service.close()


def expected(name: str) -> Any:
    value = VALUES[name]
    return tuple(value) if isinstance(value, list) else value


def test_every_setting_has_a_value_here_that_is_not_its_default() -> None:
    assert set(VALUES) == set(OPTIONS)
    assert [name for name in NAMES if expected(name) == OPTIONS[name].default] == []


@pytest.mark.parametrize("door", COMMAND_LINE)
@pytest.mark.parametrize("name", NAMES)
def test_the_command_line_takes_every_setting(seen: Seen, door: str, name: str) -> None:
    COMMAND_LINE[door](name, VALUES[name])
    assert seen[OPTIONS[name].field] == expected(name)


@pytest.mark.parametrize("name", SERVED)
def test_http_takes_every_setting_that_a_request_may_change(seen: Seen, url: str, name: str) -> None:
    assert by_http(url, name, VALUES[name]) == "seen"
    assert seen[OPTIONS[name].field] == expected(name)


@pytest.mark.parametrize("name", SERVED)
def test_mcp_takes_every_setting_that_a_request_may_change(seen: Seen, offer: Offer, name: str) -> None:
    assert by_mcp(offer, name, VALUES[name]).endswith(": seen")
    assert seen[OPTIONS[name].field] == expected(name)


@pytest.mark.parametrize("name", NOT_SERVED)
def test_what_the_server_decides_no_request_changes(seen: Seen, url: str, offer: Offer, name: str) -> None:
    assert "Extra inputs" in by_http(url, name, VALUES[name]) and not seen
    by_mcp(offer, name, VALUES[name])
    assert seen[name] == getattr(offer.settings, name)


def test_help_is_the_same_at_every_door(url: str) -> None:
    schemas = httpx.get(f"{url}/openapi.json", timeout=60).json()["components"]["schemas"]
    for model, groups in ((RefineAsk, set(OPTIONS) - LEARNED), (OptimizeAsk, LEARNED)):
        for name in groups & set(SERVED) - {"checkpoint"}:  # a server offers only its own
            said = schemas[model.__name__]["properties"][OPTIONS[name].field]["description"]
            assert said.startswith(OPTIONS[name].help)


def wrong() -> Iterator[tuple[str, Any, str]]:
    """A value beyond each bound, and what is said of it wherever it comes from."""
    for name, item in OPTIONS.items():
        if item.least is not None:
            yield name, int(item.least) - 1, f"must be at least {item.least}, not {int(item.least) - 1}"
        if item.most is not None and item.field not in SERVED_MOST:
            yield name, int(item.most) + 1, f"must be at most {item.most}, not {int(item.most) + 1}"
        if item.choices:
            yield name, "magic", "knows 'maai' alone, not 'magic'" if name == "compat" else f"there is no {name} 'magic'; choose one of "
    yield "space", "magic", "there is no search space 'magic': join some of"


@pytest.mark.parametrize(("name", "value", "words"), list(wrong()))
def test_a_bound_is_refused_in_the_same_words_at_every_door(
    seen: Seen, url: str, offer: Offer, capfd: pytest.CaptureFixture[str], name: str, value: Any, words: str
) -> None:
    labels = {"flag": OPTIONS[name].flag, "variable": f"LIMNER_{name.upper()}", "limner.toml": f"limner.toml: {name}"}
    for door, label in labels.items():
        COMMAND_LINE[door](name, value)
        (Path("limner.toml")).unlink(missing_ok=True)
        told = capfd.readouterr().err
        assert words in told and (label in told or words.startswith("there is no")), door
    assert words in by_http(url, name, value)
    assert words in by_mcp(offer, name, value)
    assert not seen


LISTS = {item.field for item in OPTIONS.values() if item.kind is list}


@pytest.mark.parametrize("field", [field for field in SERVED_MOST if field not in LISTS])
def test_a_server_allows_less_in_the_same_words(seen: Seen, url: str, offer: Offer, field: str) -> None:
    words = f"must be at most {SERVED_MOST[field]}, not {SERVED_MOST[field] + 1}"
    assert words in by_http(url, field, SERVED_MOST[field] + 1)
    assert words in by_mcp(offer, field, SERVED_MOST[field] + 1)
    assert not seen


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("budget", "many", "LIMNER_BUDGET must be a whole number, not 'many'"),
        ("guidance_scale", "high", "LIMNER_GUIDANCE_SCALE must be a number, not 'high'"),
        ("guidance_scale", "nan", "LIMNER_GUIDANCE_SCALE must be at least 0, not nan"),
        ("truncate", "perhaps", "LIMNER_TRUNCATE must be true or false, not 'perhaps'"),
        ("pin", '["red', "LIMNER_PIN must be a list of texts"),
    ],
)
def test_a_variable_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch, name: str, text: str, words: str) -> None:
    monkeypatch.setenv(f"LIMNER_{name.upper()}", text)
    with pytest.raises(BadInput, match=words.replace("[", r"\[")):
        given_values({})


def test_programs_without_a_command_line_read_the_same_sources(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "limner.toml").write_text('budget = 3\npin = ["red car"]\ndtype = "float16"\n', encoding="utf-8")
    monkeypatch.setenv("LIMNER_BUDGET", "12")
    monkeypatch.setenv("LIMNER_SCORER", "clip hpsv2")
    monkeypatch.setenv("LIMNER_OUT", "")
    settings = settings_from(Settings, {"budget": 1400, "variants": 3}, seed=4)
    assert (settings.budget, settings.variants, settings.seed, settings.out) == (12, 3, 4, "runs")
    assert (settings.pins, settings.scorers, settings.dtype) == (("red car",), ("clip", "hpsv2"), "float16")


def test_each_value_knows_its_source_and_what_it_wins_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "limner.toml").write_text('db = "b.db"\nsteps = 4\n', encoding="utf-8")
    monkeypatch.setenv("LIMNER_DB", "a.db")
    given = given_values({"budget": 9})
    assert {name: (item.value, item.source, item.over) for name, item in given.items()} == {
        "budget": (9, "--budget", ()),
        "db": ("a.db", "LIMNER_DB", ("limner.toml",)),
        "steps": (4, "limner.toml", ()),
    }
