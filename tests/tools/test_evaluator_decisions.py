"""Who pays for a picture: what is stored is free, what a kill lost was paid for by its own run, and all else is paid once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from limner.promptdb.records import Conditioning, Drawing, SamplerSettings
from limner.tools.budget import Budget, BudgetSpent
from limner.tools.evaluator import Evaluator
from tests.doubles import FakeClock, FakeImageModel, FakeScorer, open_store

CAT, DOG = Conditioning("a cat"), Conditioning("a dog")


class Killed(BaseException):
    """As SIGKILL: nothing that was begun is ended."""


def evaluator_in(folder: Path, run: str = "", model: FakeImageModel | None = None, budget: Budget | None = None) -> Evaluator:
    db, images = open_store(folder)
    return Evaluator(model or FakeImageModel(), [FakeScorer()], db, images, budget or Budget(), run=run)


def paid(folder: Path, run: str, seeds: Sequence[int], conditioning: Conditioning = CAT, model: FakeImageModel | None = None) -> int:
    evaluator = evaluator_in(folder, run, model)
    evaluator.draw([conditioning], seeds)
    return int(evaluator.budget.spent["images"])


def killed(folder: Path, run: str, seeds: Sequence[int], stored: int = 0) -> None:
    """A process of `run` that dies while it draws those seeds, with the first `stored` of them stored."""
    left = [stored]

    def bucket(batch: list[Drawing]) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Killed

    with suppress(Killed):
        evaluator_in(folder, run, FakeImageModel(bucket=1, on_bucket=bucket)).draw([CAT], seeds)


@pytest.mark.parametrize(
    ("what", "images"),
    [
        (lambda folder: paid(folder, "", [1, 2]), 0),
        (lambda folder: paid(folder, "another run", [1, 2]), 0),
        (lambda folder: paid(folder, "", [2, 1]), 0),
        (lambda folder: paid(folder, "", [2, 3]), 1),
        (lambda folder: paid(folder, "", [1, 2], Conditioning("  a cat ")), 0),
        (lambda folder: paid(folder, "", [1, 2], Conditioning("a cat", "blurry")), 2),
        (lambda folder: paid(folder, "", [1, 2], DOG), 2),
        (lambda folder: paid(folder, "", [1, 2], model=FakeImageModel(fingerprint="other weights")), 2),
        (lambda folder: paid(folder, "", [1, 2], model=FakeImageModel(settings=SamplerSettings(steps=5, width=8, height=8))), 2),
    ],
    ids=["the same", "another run", "another order", "one more seed", "the same text", "another negative", "another prompt",
         "another checkpoint", "another sampler"],
)  # fmt: skip
def test_a_stored_picture_is_free_whoever_asks_for_it(tmp_path: Path, what: Callable[[Path], int], images: int) -> None:
    assert paid(tmp_path, "run-1", [1, 2]) == 2
    assert what(tmp_path) == images


@pytest.mark.parametrize(
    ("kills", "run", "seeds", "images"),
    [
        ([], "run-1", [1, 2], 2),
        ([("run-1", [1, 2], 0)], "run-1", [1, 2], 0),
        ([("run-1", [1, 2], 0)], "run-1", [2], 0),
        ([("run-1", [1, 2], 0)], "run-1", [2, 3], 1),
        ([("run-1", [1, 2], 0)], "run-2", [1, 2], 2),
        ([("run-1", [1, 2], 0)], "", [1, 2], 2),
        ([("", [1, 2], 0)], "", [1, 2], 2),
        ([("run-1", [1, 2, 3], 1)], "run-1", [1, 2, 3], 0),
        ([("run-1", [1, 2], 0), ("run-1", [3], 0)], "run-1", [1, 2, 3], 0),  # a second kill does not forget what the first one lost
        ([("run-1", [1, 2], 0), ("run-1", [2, 3], 0)], "run-1", [1, 2, 3, 4], 1),
        ([("run-1", [1], 0), ("run-2", [1], 0)], "run-2", [1], 0),
    ],
)
def test_what_a_kill_lost_is_paid_by_everybody_but_its_own_run(
    tmp_path: Path, kills: list[tuple[str, list[int], int]], run: str, seeds: list[int], images: int
) -> None:
    for dying, lost, stored in kills:
        killed(tmp_path, dying, lost, stored)
    assert paid(tmp_path, run, seeds) == images
    assert paid(tmp_path, run, seeds) == 0


def test_what_was_lost_stays_free_while_other_pictures_are_drawn(tmp_path: Path) -> None:
    killed(tmp_path, "run-1", [1, 2])
    assert paid(tmp_path, "run-1", [5]) == 1
    assert paid(tmp_path, "run-1", [1]) == 0
    assert paid(tmp_path, "run-1", [1, 2]) == 0


@pytest.mark.parametrize("same_process", [True, False])
def test_what_was_drawn_again_is_no_longer_lost(tmp_path: Path, same_process: bool) -> None:
    """Where its file disappears later, it is paid for as any other."""
    killed(tmp_path, "run-1", [1, 2])
    evaluator = evaluator_in(tmp_path, "run-1")
    evaluator.draw([CAT], [1, 2])
    for file in (tmp_path / "images").rglob("*.png"):
        file.unlink()
    again = evaluator if same_process else evaluator_in(tmp_path, "run-1")
    again.draw([CAT], [1, 2])
    assert (evaluator.budget.spent["images"], again.budget.spent["images"]) == ((2, 2) if same_process else (0, 2))


@pytest.mark.parametrize(("bucket", "repeated"), [(1, 1), (2, 2), (4, 3)])
def test_of_what_was_lost_one_batch_at_most_counts_as_repeated(tmp_path: Path, bucket: int, repeated: int) -> None:
    killed(tmp_path, "run-1", [1, 2, 3])
    evaluator = evaluator_in(tmp_path, "run-1", FakeImageModel(bucket=bucket))
    evaluator.draw([CAT], [1, 2, 3, 4])
    assert (evaluator.budget.repeated, evaluator.budget.spent["images"]) == (repeated, 1)


def test_a_refused_prompt_leaves_nothing_lost_behind(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="token"):
        evaluator_in(tmp_path, "run-1", FakeImageModel(limit=1)).draw([CAT], [1])
    assert paid(tmp_path, "run-1", [1]) == 1


@pytest.mark.parametrize("reuse", [True, False])
@pytest.mark.parametrize(
    ("asks", "search", "real"),
    [
        ([(CAT, [1, 2])], (0, 2), (0, 0)),  # stored before
        ([(CAT, [1, 2]), (CAT, [1, 2])], (0, 2), (0, 0)),
        ([(CAT, [1, 3])], (1, 2), (1, 1)),
        ([(CAT, [3]), (CAT, [3, 1])], (1, 2), (1, 1)),
        ([(DOG, [1, 2]), (DOG, [1, 2])], (2, 2), (2, 2)),
    ],
)
def test_a_search_that_is_compared_pays_for_all_that_it_sees_and_the_run_for_what_is_drawn(
    tmp_path: Path, reuse: bool, asks: list[tuple[Conditioning, list[int]]], search: tuple[int, int], real: tuple[int, int]
) -> None:
    """(with the cache, without) in images. With it a slice pays, and so the run pays the same."""
    assert paid(tmp_path, "", [1, 2]) == 2
    whole = evaluator_in(tmp_path)
    own = whole.budget.slice() if reuse else Budget()
    inner = whole.within(own, reuse_cache=reuse)
    for conditioning, seeds in asks:
        inner.draw([conditioning], seeds)
    assert own.spent["images"] == search[0 if reuse else 1]
    assert whole.budget.spent["images"] == real[0 if reuse else 1]


@pytest.mark.parametrize(
    ("images", "rows", "drawn", "unit"),
    [(None, None, 4, ""), (4, None, 4, ""), (3, None, 3, "images"), (None, 32, 4, ""), (None, 31, 3, "unet_rows"), (1, 31, 1, "images")],
)
def test_no_picture_is_drawn_beyond_a_cap(tmp_path: Path, images: int | None, rows: float | None, drawn: int, unit: str) -> None:
    evaluator = evaluator_in(tmp_path, budget=Budget(images=images, unet_rows=rows))  # 8 rows a picture
    if unit:
        with pytest.raises(BudgetSpent) as refused:
            evaluator.draw([CAT, DOG], [1, 2])
        assert refused.value.unit == unit
    else:
        evaluator.draw([CAT, DOG], [1, 2])
    assert evaluator.budget.spent["images"] == drawn and evaluator.budget.spent["unet_rows"] == 8 * drawn


@pytest.mark.parametrize(
    ("caps", "spent", "asked", "held"),
    [
        ({}, {}, 4, True),
        ({"images": 4}, {}, 4, True),
        ({"images": 3}, {}, 4, False),
        ({"images": 6}, {"images": 3}, 4, False),
        ({"unet_rows": 32}, {}, 4, True),
        ({"unet_rows": 31.9}, {}, 4, False),
        ({"images": 4, "unet_rows": 31.9}, {}, 4, False),
        ({"images": 1}, {"images": 1}, 0, True),  # what is stored needs nothing
    ],
)
def test_which_requests_a_budget_holds(tmp_path: Path, caps: dict[str, float], spent: dict[str, float], asked: int, held: bool) -> None:
    assert paid(tmp_path, "", [90, 91]) == 2
    evaluator = evaluator_in(tmp_path, budget=Budget(**caps))  # type: ignore[arg-type]
    evaluator.budget.spend(**spent)
    assert evaluator.affords(evaluator.drawing(CAT, seed) for seed in [90, 91, *range(asked)]) is held


def test_no_request_is_held_when_the_time_is_up(tmp_path: Path) -> None:
    clock = FakeClock()
    evaluator = evaluator_in(tmp_path, budget=Budget(seconds=5, clock=clock))
    assert evaluator.affords([evaluator.drawing(CAT, 1)])
    clock.advance(5)
    assert not evaluator.affords([evaluator.drawing(CAT, 1)])


@pytest.mark.parametrize(
    ("images", "spent", "keep", "rows", "pictures"),
    [
        (10, {}, 0, 80, 10),
        (10, {}, 4, 48, 6),
        (10, {"images": 3, "unet_rows": 24}, 0, 56, 7),
        (10, {"images": 3, "unet_rows": 24}, 4, 24, 3),
        (10, {"images": 3, "unet_rows": 40}, 0, 40, 5),  # 16 rows were a gradient's, and are two pictures fewer
        (10, {"images": 9, "unet_rows": 72}, 4, 0, 0),
    ],
)
def test_gradients_and_pictures_share_what_the_cap_on_images_is_worth_in_rows(
    tmp_path: Path, images: int, spent: dict[str, float], keep: int, rows: float, pictures: int
) -> None:
    evaluator = evaluator_in(tmp_path, budget=Budget(images=images))
    evaluator.budget.spend(**spent)
    assert evaluator.rows_per_image == 8
    part = evaluator.image_equivalents(keep)
    assert part.left("unet_rows") == rows
    with pytest.raises(BudgetSpent):
        evaluator.within(part).draw([CAT], range(20))
    assert part.spent["images"] == pictures


def test_without_a_cap_gradients_have_none(tmp_path: Path) -> None:
    part = evaluator_in(tmp_path).image_equivalents()
    assert part.left("unet_rows") == part.left("images") == float("inf")
