"""The pool of checkpoints: who stays open, who is unloaded, who waits, and that memory is given back."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from limner.graph import models
from limner.graph.models import ModelPool
from limner.promptdb.errors import BadInput


class Shelf:
    """Stands for the disk. `opened`: names in order. `most`: the most that were being opened at one time."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.most = self._now = 0

    def checkpoint(self, name: str, device: str | None, dtype: str | None) -> Any:
        self._now += 1
        self.most = max(self.most, self._now)
        time.sleep(0.02)
        self._now -= 1
        if name == "missing":
            raise BadInput("there is no such checkpoint")
        self.opened.append(name)
        return SimpleNamespace(name=name, device_name=device or "cpu")

    def scorer(self, name: str, checkpoint: Any, device: str) -> Any:
        self.opened.append(f"{name} of {checkpoint.name if checkpoint else 'nobody'}")
        return SimpleNamespace(name=name)


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> Iterator[Shelf]:
    made = Shelf()
    monkeypatch.setattr(models, "open_checkpoint", made.checkpoint)
    monkeypatch.setattr(models, "open_scorer", made.scorer)
    yield made


def use(pool: ModelPool, *names: str) -> None:
    """Runs one after the other, each with its checkpoint."""
    for name in names:
        with pool.lease() as lease:
            lease.checkpoint(name, None, None)


@pytest.mark.parametrize(
    ("bound", "runs", "opened", "kept"),
    [
        (1, "a a a", "a", "a"),
        (1, "a b", "a b", "b"),
        (1, "a b a", "a b a", "a"),
        (2, "a b a b", "a b", "a b"),
        (2, "a b c", "a b c", "b c"),  # the least recently used goes
        (2, "a b a c", "a b c", "a c"),  # which is not the first opened
        (2, "a b a c b", "a b c b", "c b"),
        (3, "a b c a", "a b c", "b c a"),
    ],
)
def test_who_is_kept_and_who_is_unloaded(shelf: Shelf, bound: int, runs: str, opened: str, kept: str) -> None:
    pool = ModelPool(bound)
    use(pool, *runs.split())
    assert shelf.opened == opened.split()
    assert [row.checkpoint for row in pool.loaded()] == kept.split()
    assert not any(row.leased for row in pool.loaded())


@pytest.mark.parametrize(
    ("bound", "idle", "held", "asked", "waits", "kept"),
    [
        (1, "", "", "a", False, "a"),
        (1, "", "a", "a", True, "a"),  # another run's weights are not shared
        (1, "", "a", "b", True, "b"),  # and not unloaded under it
        (2, "", "a", "b", False, "a b"),
        (2, "b", "a", "c", False, "a c"),  # the idle one goes, though the one in use was opened before it
        (2, "", "a b", "c", True, "b c"),
        (2, "b", "a", "b", False, "a b"),
        (2, "b", "a", "a", True, "b a"),
    ],
)
def test_who_waits(shelf: Shelf, bound: int, idle: str, held: str, asked: str, waits: bool, kept: str) -> None:
    pool, came = ModelPool(bound), threading.Event()
    leases = [pool.lease() for _ in held.split()]
    for lease, name in zip(leases, held.split(), strict=True):
        lease.checkpoint(name, None, None)
    use(pool, *idle.split())

    def run() -> None:
        with pool.lease() as lease:
            lease.checkpoint(asked, None, None)
            came.set()

    thread = threading.Thread(target=run)
    thread.start()
    assert came.wait(0.3) is not waits
    assert {row.checkpoint for row in pool.loaded()} >= set(held.split())  # whoever is in use stays
    for lease in leases[:1]:  # one that ends is enough for one that waits
        lease.close()
    assert came.wait(10)
    thread.join(10)
    assert [row.checkpoint for row in pool.loaded()] == kept.split()


def test_a_lease_holds_one_checkpoint_at_a_time(shelf: Shelf) -> None:
    pool = ModelPool()
    with pool.lease() as lease:
        first = lease.checkpoint("a", None, None)
        assert lease.checkpoint("a", None, None) is first and pool.loaded()[0].leased
        lease.checkpoint("b", None, None)
        assert [(row.checkpoint, row.leased) for row in pool.loaded()] == [("b", True)]
    assert not pool.loaded()[0].leased


def test_name_device_and_dtype_tell_checkpoints_apart(shelf: Shelf) -> None:
    pool = ModelPool(3)
    with pool.lease() as lease:
        opened = [lease.checkpoint("a", *rest) for rest in ((None, None), ("cpu", None), ("cpu", "float32"), ("cpu", None))]
    assert opened[1] is opened[3] and len({id(item) for item in opened}) == 3


def test_scorers_stay_open_as_long_as_their_checkpoint(shelf: Shelf) -> None:
    pool = ModelPool()
    for name in ("a", "a", "b", "a"):
        with pool.lease() as lease:
            checkpoint = lease.checkpoint(name, None, None)
            lease.scorer("clip", checkpoint, "cpu")
            assert lease.scorer("clip", checkpoint, "cpu") is lease.scorer("clip", checkpoint, "cpu")
            assert pool.loaded()[0].scorers == ("clip",)
    assert shelf.opened == ["a", "clip of a", "b", "clip of b", "a", "clip of a"]
    with pool.lease() as lease:
        assert lease.scorer("clip", None, "cpu") is not lease.scorer("clip", None, "cpu")  # a black box keeps none


def test_what_cannot_be_opened_takes_no_place(shelf: Shelf) -> None:
    pool = ModelPool()
    for _ in range(2):
        with pool.lease() as lease, pytest.raises(BadInput):
            lease.checkpoint("missing", None, None)
        assert pool.loaded() == []
    use(pool, "a")
    assert [row.checkpoint for row in pool.loaded()] == ["a"]


def test_a_run_that_fails_gives_its_checkpoint_back(shelf: Shelf) -> None:
    pool = ModelPool()
    with pytest.raises(KeyError), pool.lease() as lease:
        lease.checkpoint("a", None, None)
        raise KeyError
    assert [(row.checkpoint, row.leased) for row in pool.loaded()] == [("a", False)]


def test_many_runs_at_once_open_one_at_a_time_and_never_share(shelf: Shelf) -> None:
    pool, using, clashes = ModelPool(2), set[int](), list[str]()

    def run(number: int) -> None:
        for step in range(6):
            with pool.lease() as lease:
                checkpoint = lease.checkpoint("abc"[(number + step) % 3], None, None)
                if id(checkpoint) in using or len(pool.loaded()) > 2:
                    clashes.append(checkpoint.name)
                using.add(id(checkpoint))
                time.sleep(0.001)
                using.remove(id(checkpoint))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not clashes and not any(thread.is_alive() for thread in threads) and shelf.most == 1
    assert len(pool.loaded()) <= 2


@pytest.mark.parametrize("way", ["another is asked for", "unload"])
def test_memory_is_given_back(tiny: Path, way: str) -> None:
    """Of a real checkpoint with its scorers: weights, not only the object around them."""
    pool = ModelPool()
    with pool.lease() as lease:
        checkpoint = lease.checkpoint(str(tiny), "cpu", None)
        scorer = lease.scorer("liking", checkpoint, "cpu")
        watched = [weakref.ref(item) for item in (checkpoint.unet, checkpoint.vae, next(checkpoint.unet.parameters()), scorer)]
        del checkpoint, scorer
        pool.unload()  # in use: nothing happens
        assert all(ref() is not None for ref in watched)
    gc.disable()  # what is unloaded is gone at once, not when Python next cleans up
    try:
        if way == "unload":
            pool.unload()
        else:
            with pool.lease() as lease:
                assert lease.checkpoint(str(tiny), "cpu", None).unet is watched[0]()  # still open
                lease.checkpoint(str(tiny), "cpu", "bfloat16")
        assert [ref() for ref in watched] == [None] * 4
    finally:
        gc.enable()
    assert len(pool.loaded()) == (0 if way == "unload" else 1)


def test_a_pool_holds_one_at_least() -> None:
    with pytest.raises(ValueError, match="can open none"):
        ModelPool(0)
