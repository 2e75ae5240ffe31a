"""The judge says what is right in a picture, and is never an objective."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from limner.promptdb.errors import BadInput
from limner.tools.miniature.recipe.export import export_judge
from limner.tools.miniature.recipe.judge import new_judge
from limner.tools.scoring.asked import World
from limner.tools.scoring.base import Scorer, can_judge
from limner.tools.scoring.judge import Judge, relation_of
from limner.tools.scoring.judge_network import Seen


class Seeing(torch.nn.Module):
    """A network that sees what the test tells it to."""

    def __init__(self, world: World, **seen: dict[str, float | tuple[float, float]]) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.world = world
        self.told = seen

    def forward(self, pixels: torch.Tensor) -> Seen:
        rows, world, told = len(pixels), self.world, self.told
        nouns, colours = world.names("nouns"), world.names("colours")
        presence, colour = torch.full((rows, len(nouns)), -5.0), torch.zeros(rows, len(nouns), len(colours) + 1)
        centre = torch.full((rows, len(nouns), 2), 0.5)
        for noun, value in told.get("presence", {}).items():
            presence[:, nouns.index(noun)] = float(value)  # type: ignore[arg-type]
        for noun, name in told.get("colour", {}).items():
            colour[:, nouns.index(noun), (*colours, "natural").index(name)] = 5.0  # type: ignore[arg-type]
        for noun, place in told.get("centre", {}).items():
            centre[:, nouns.index(noun)] = torch.tensor(place)
        count = torch.nn.functional.one_hot(torch.tensor([int(told.get("count", 1.0)) - 1] * rows), 3).float()  # type: ignore[arg-type]
        return Seen(presence, colour, centre, *(self._logits(kind, rows) for kind in ("backgrounds", "styles", "defects")), count)

    def _logits(self, kind: str, rows: int) -> torch.Tensor:
        names = self.world.defects if kind == "defects" else self.world.names(kind)
        logits = torch.full((rows, len(names)), -5.0)
        for name in self.told.get(kind, {}):
            logits[:, names.index(name)] = 5.0
        return logits


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    export_judge(new_judge(60), 60, tmp_path / "judge")
    return tmp_path / "judge"


@pytest.fixture
def world(folder: Path) -> World:
    return World.read(folder / "world.json")


def verdict(world: World, text: str, **seen: dict[str, float | tuple[float, float]]):  # type: ignore[no-untyped-def]
    judge = Judge("judge", Seeing(world, **seen), world, "test")  # type: ignore[arg-type]
    return judge.verdicts([Image.new("RGB", (64, 64))], [text])[0]


TEXT = "a red cat to the left of a blue bus on a beach, watercolor"
PERFECT = {
    "presence": {"cat": 3.0, "bus": 3.0},
    "colour": {"cat": "red", "bus": "blue"},
    "centre": {"cat": (0.2, 0.5), "bus": (0.8, 0.5)},
    "backgrounds": {"beach": 1.0},
    "styles": {"watercolor": 1.0},
    "defects": {},
}


def test_a_picture_that_shows_what_is_asked_is_right_in_everything(world: World) -> None:
    seen = verdict(world, TEXT, **PERFECT)  # type: ignore[arg-type]
    assert (seen.objects, seen.colours, seen.relation, seen.background, seen.style) == ((True, True), (True, True), True, True, True)
    assert seen.score == 1.0
    assert seen.defects == ()


@pytest.mark.parametrize(
    ("change", "wrong", "score"),
    [
        ({"colour": {"cat": "natural", "bus": "blue"}}, {"colours": (False, True)}, 6 / 7),
        ({"centre": {"cat": (0.8, 0.5), "bus": (0.2, 0.5)}}, {"relation": False}, 6 / 7),
        ({"centre": {"cat": (0.5, 0.2), "bus": (0.5, 0.8)}}, {"relation": False}, 6 / 7),
        ({"backgrounds": {"snow": 1.0}}, {"background": False}, 6 / 7),
        ({"styles": {"photo": 1.0}}, {"style": False}, 6 / 7),
        ({"presence": {"bus": 3.0}}, {"objects": (False, True), "colours": (None, True), "relation": None}, 4 / 7),
        ({"defects": {"blurry": 1.0}}, {"defects": ("blurry",)}, 1.0),
    ],
)
def test_each_mistake_is_seen_and_counted_once(world: World, change: dict, wrong: dict, score: float) -> None:  # type: ignore[type-arg]
    seen = verdict(world, TEXT, **{**PERFECT, **change})
    assert {name: getattr(seen, name) for name in wrong} == wrong
    assert seen.score == pytest.approx(score)


def test_a_sheep_in_its_own_colour_is_a_white_one(world: World) -> None:
    assert verdict(world, "a white sheep", presence={"sheep": 3.0}, colour={"sheep": "natural"}).score == 1.0
    assert verdict(world, "a black sheep", presence={"sheep": 3.0}, colour={"sheep": "natural"}).score == 0.5
    assert verdict(world, "a white cat", presence={"cat": 3.0}, colour={"cat": "natural"}).score == 0.5


@pytest.mark.parametrize(
    ("text", "known"), [("a poem about time", False), ("portrait of a cellist", False), ("", False), ("time flies, watercolor", True)]
)
def test_what_the_judge_knows_no_word_of_it_does_not_judge(world: World, text: str, known: bool) -> None:
    judge = Judge("judge", Seeing(world), world, "test")  # type: ignore[arg-type]
    assert can_judge(judge, text) is known
    assert bool(np.isnan(judge.score([Image.new("RGB", (64, 64))], [text])[0])) is not known


def test_relations_follow_the_longer_axis() -> None:
    assert [relation_of(*way) for way in ((-0.5, 0.1), (0.5, 0.1), (0.1, -0.5), (0.1, 0.5))] == ["left", "right", "above", "below"]


def test_the_judge_is_a_held_out_scorer_and_independent_of_the_batch(folder: Path) -> None:
    judge = Judge.open(folder)
    assert isinstance(judge, Scorer)
    assert judge.held_out
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)) for _ in range(5)]
    texts = ["a red cat", "a bus on a beach", "a cat above a bus", "snow, photo", "a dog"]
    together = judge.score(images, texts)
    alone = np.concatenate([judge.score([image], [text]) for image, text in zip(images, texts, strict=True)])
    assert together.dtype == np.float32
    assert together == pytest.approx(alone, abs=1e-4)
    with pytest.raises(ValueError, match="5 images but 1 texts"):
        judge.score(images, ["a cat"])


def test_what_is_seen_is_told_without_a_prompt(world: World) -> None:
    judge = Judge("judge", Seeing(world, **PERFECT), world, "test")  # type: ignore[arg-type]
    (sight,) = judge.see([Image.new("RGB", (64, 64))])
    assert dict(zip(sight.things, sight.colours, strict=True)) == {"cat": "red", "bus": "blue"}
    assert (sight.relation, sight.background, sight.style, sight.defects) == ("left", "beach", "watercolor", ())
    alone = Judge("judge", Seeing(world, presence={"cat": 3.0}, colour={"cat": "natural"}, count=2.0), world, "test")  # type: ignore[arg-type]
    (sight,) = alone.see([Image.new("RGB", (64, 64))])
    assert (sight.things, sight.colours, sight.count, sight.relation) == (("cat",), (None,), 2, None)


@pytest.mark.parametrize(("there", "right", "score"), [(2.0, True, 1.0), (3.0, False, 0.5)])
def test_a_number_is_judged_where_it_is_asked_for(world: World, there: float, right: bool, score: float) -> None:
    seen = verdict(world, "two cats", presence={"cat": 3.0}, count=there)  # type: ignore[arg-type]
    assert (seen.objects, seen.counts, seen.score) == ((True,), (right,), score)
    assert verdict(world, "a cat", presence={"cat": 3.0}, count=there).counts == (None,)  # type: ignore[arg-type]
    assert verdict(world, "two cats", presence={"cat": -3.0}, count=there).counts == (None,)  # type: ignore[arg-type]


def test_broken_weights_and_settings_are_refused_in_one_line(folder: Path) -> None:
    weights = folder / "judge.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput) as refused:
        Judge.open(folder)
    assert "\n" not in str(refused.value)
    weights.write_bytes(whole)
    (folder / "judge.json").write_text('{"sizes": {"nouns": 3}}')
    with pytest.raises(BadInput, match="cannot be read"):
        Judge.open(folder)


def test_the_version_changes_with_the_weights_and_with_the_words(folder: Path) -> None:
    first = Judge.open(folder).version
    words = folder / "world.json"
    words.write_text(words.read_text().replace('"kitty"', '"kitten"'))
    assert Judge.open(folder).version != first
