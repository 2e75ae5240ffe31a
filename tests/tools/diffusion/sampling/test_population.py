"""Populations as a tree: what is shared, what it costs, and that nothing of it shows in a picture. Tiny checkpoints of both families."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import product

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from limner.promptdb.errors import BadInput
from limner.promptdb.records import Conditioning, Drawing, EffectSpan
from limner.tools.diffusion.base import Hooks, PromptTooLong
from limner.tools.diffusion.checkpoint import SCHEDULERS, Checkpoint
from limner.tools.diffusion.sampling.population import Population, Sizes
from limner.tools.diffusion.sampling.sampler import Sampler
from limner.tools.prompt_language.parse import read
from tests.tools.diffusion.inputs import settings_of

pytestmark = [
    pytest.mark.filterwarnings("ignore:the embedding has next to no mean"),  # as those of untrained encoders
    pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning"),  # numpy, of how diffusers' schedulers call it
]

RUNNING = [name for name in SCHEDULERS if name != "LMSDiscreteScheduler"]  # which needs scipy

BATCHING = 1e-4
"""What another batch shape alone moves a picture of an untrained model by; trained ones stay below 1e-5."""

LATE = [
    read("a cat [red:0-0.5:1]", "blurry"),
    read("a cat [blue:0-0.5:1.5]", "blurry"),
    read("a cat [blue:0-0.25:1.5]", "blurry"),
    read("a cat", "blurry"),
    read("a cat [red:0.5-1:1]", "[blurry:0-0.5:2]"),
    read("a [sharp:0.25-0.75:1] dog"),
]


@pytest.fixture(params=["sd1", "sd2"])
def checkpoint(request: pytest.FixtureRequest) -> Checkpoint:
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]


def drawings_of(checkpoint: Checkpoint, asked: Sequence[Conditioning], seeds: Sequence[int] = (3, 4), **changes: object) -> list[Drawing]:
    return [Drawing(item, seed, settings_of(checkpoint, **changes), checkpoint.fingerprint) for item, seed in product(asked, seeds)]


def shared_pictures(sampler: Sampler, drawings: Sequence[Drawing], bucket: Callable[[int], int] = lambda count: count) -> torch.Tensor:
    """Pictures of a population as floats, in the order asked for."""
    [timing] = {sampler.timing(drawing.settings) for drawing in drawings}
    population = Population(sampler.checkpoint, sampler.scripts, timing, drawings)
    found: dict[str, torch.Tensor] = {}
    for batch in population.batches(Sizes(bucket, lambda size: False), lambda latents, count: sampler.checkpoint.decode(latents)[:count]):
        for group, picture in zip(batch.drawings, batch.pictures, strict=True):
            found.update({drawing.id: picture for drawing in group})
    assert population.rows == sampler.unet_rows(drawings)
    return torch.stack([found[drawing.id] for drawing in drawings])


def separate_pictures(sampler: Sampler, drawings: Sequence[Drawing]) -> torch.Tensor:
    return torch.cat([sampler.render([drawing], 1) for drawing in drawings])


def worst(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found.clamp(0, 1) - expected.clamp(0, 1)).abs().max())


@pytest.mark.parametrize("scheduler", RUNNING)
def test_row_by_row_a_fork_goes_on_to_the_bit_as_if_alone_under_every_scheduler(checkpoint: Checkpoint, scheduler: str) -> None:
    sampler, drawings = Sampler(checkpoint), drawings_of(checkpoint, LATE[1:5], seeds=[3], scheduler=scheduler, steps=6)
    alone = separate_pictures(sampler, drawings)
    assert float((alone[0] - alone[1]).abs().max()) > 1e-3
    assert torch.equal(shared_pictures(sampler, drawings, lambda count: 1), alone)


@pytest.mark.parametrize("largest", [2, 4, 16])
@pytest.mark.parametrize("scheduler", ["DDIMScheduler", "UniPCMultistepScheduler", "EulerAncestralDiscreteScheduler"])
def test_in_batches_a_population_s_pictures_are_those_of_separate_runs(sd1: Checkpoint, scheduler: str, largest: int) -> None:
    sampler, drawings = Sampler(sd1), drawings_of(sd1, LATE, scheduler=scheduler, steps=4)
    assert worst(shared_pictures(sampler, drawings, lambda count: min(count, largest)), separate_pictures(sampler, drawings)) < BATCHING


@pytest.mark.parametrize("guidance_scale", [7.5, 1.0])
def test_guidance_off_and_on(sd1: Checkpoint, guidance_scale: float) -> None:
    sampler, drawings = Sampler(sd1), drawings_of(sd1, LATE, guidance_scale=guidance_scale)
    assert worst(shared_pictures(sampler, drawings), separate_pictures(sampler, drawings)) < BATCHING


def test_shared_rows_count_once(sd1: Checkpoint) -> None:
    sampler = Sampler(sd1)
    late = [read(f"a cat [red:0-0.5:{weight}]") for weight in ("0.5", "1", "1.5", "2")]
    drawings = drawings_of(sd1, late, seeds=[3], steps=20)
    assert sampler.unet_rows(drawings) == 2 * (10 + 4 * 10)
    assert sampler.unet_rows(drawings[:1]) == 2 * 20
    assert sampler.unet_rows(drawings_of(sd1, late, seeds=[3, 4], steps=20)) == 2 * 2 * (10 + 4 * 10)
    assert {drawn.image is not None for drawn in sampler.draw(drawings)} == {True}
    assert sampler.rows_drawn == sampler.unet_rows(drawings)


def test_what_says_the_same_is_drawn_once_though_it_is_written_otherwise(sd1: Checkpoint) -> None:
    sampler = Sampler(sd1)
    asked = [read("a cat"), read("A  Cat"), read("a [red:0.5-0.5:1] cat"), read("a cat", "[blue:0-1:2]"), read("a cat", "blue")]
    drawings = drawings_of(sd1, asked, seeds=[3])
    assert sampler.unet_rows(drawings) == sampler.unet_rows(drawings[2:]) == 3 * sampler.unet_rows(drawings[:1])
    images = [drawn.image for drawn in sampler.draw(drawings)]
    assert images[0] is images[1] is images[2] and images[0] is not images[3]


def test_different_seeds_and_scales_share_nothing(sd1: Checkpoint) -> None:
    cat = Conditioning("a cat")
    each = [Drawing(cat, seed, settings_of(sd1, guidance_scale=scale), sd1.fingerprint) for seed, scale in ((1, 2.0), (2, 2.0), (1, 3.0))]
    assert Sampler(sd1).unet_rows(each) == 3 * 8


def test_full_range_at_weight_one_is_the_plain_picture_to_the_bit(checkpoint: Checkpoint) -> None:
    sampler = Sampler(checkpoint)
    plain = sampler.render(drawings_of(checkpoint, [Conditioning("a red cat", "blurry")]), 2)
    for prompt in ("a [red:0-1:1] cat", "a [red:0-1:1.0] [cat:1->0:1]"):
        assert torch.equal(sampler.render(drawings_of(checkpoint, [read(prompt, "[blurry:0-1:1]")]), 2), plain)


def test_a_word_s_range_is_heard_exactly_while_it_lasts(sd1: Checkpoint) -> None:
    sampler, seen = Sampler(sd1), list[torch.Tensor]()

    def listen(step: int, embeddings: torch.Tensor) -> torch.Tensor:
        seen.append(embeddings[1].clone())
        return embeddings

    [drawing] = drawings_of(sd1, [read("a [red:0.2-0.7:1] cat")], seeds=[3], steps=10)
    sampler.render([drawing], 1, Hooks(embeddings=listen))
    known = sampler.texts.encode(["a red cat", "a cat"])
    assert [torch.equal(said, known["a red cat"]) for said in seen] == [3 <= step < 8 for step in range(10)]
    assert all(torch.equal(said, known["a cat"]) for step, said in enumerate(seen) if not 3 <= step < 8)


def test_second_order_solvers_count_each_of_their_calls(sd1: Checkpoint) -> None:
    sampler = Sampler(sd1)
    drawings = drawings_of(sd1, LATE[:2], seeds=[3], scheduler="HeunDiscreteScheduler", steps=4)
    assert sampler.unet_rows(drawings) == 2 * (4 + 2 * 3)  # seven calls; the second half begins at the fourth


def test_ranges_of_the_noise_level_end_when_half_the_noise_is_gone(sd1: Checkpoint) -> None:
    spans = (EffectSpan(2, 5, hi=Fraction(1, 2)),)
    by_step = Conditioning("a red cat", spans=spans)
    by_sigma = Conditioning("a red cat", spans=spans, range_unit="sigma")
    sampler = Sampler(sd1)
    for scheduler in RUNNING:
        timing = sampler.timing(settings_of(sd1, scheduler=scheduler, steps=20))
        ends = [sampler.scripts.script(item, timing, True).starts[1] for item in (by_step, by_sigma)]
        assert ends[0] == -(-timing.calls // 2)
        assert 1 <= ends[1] < ends[0]  # most of the noise goes in the first steps
        assert timing.by_sigma[ends[1] - 1] < Fraction(1, 2) <= timing.by_sigma[ends[1]]


def test_memory_running_out_within_the_tree_halves_the_batch_and_loses_nothing(sd1: Checkpoint) -> None:
    def full(module: object, args: tuple[torch.Tensor]) -> None:
        if args[0].shape[0] > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")

    drawings = drawings_of(sd1, LATE)
    expected = Sampler(sd1).draw(drawings)
    hook = sd1.unet.register_forward_pre_hook(full)
    drawn = Sampler(sd1).draw(drawings)
    hook.remove()
    assert [item.drawing for item in drawn] == drawings
    assert all(item.bucket <= 2 for item in drawn)
    for left, right in zip(drawn, expected, strict=True):
        assert left.image is not None and right.image is not None
        assert max(abs(a - b) for a, b in zip(left.image.tobytes(), right.image.tobytes(), strict=True)) <= 1


def test_a_method_that_takes_part_sees_every_drawing_in_a_row_of_its_own(sd1: Checkpoint) -> None:
    batches: list[list[Drawing]] = []
    rows: set[int] = set()
    hooks = Hooks(on_batch=lambda batch: batches.append(list(batch)), on_step=lambda step, timestep, latents: rows.add(len(latents)))
    drawings = drawings_of(sd1, LATE[:4], seeds=[3])
    Sampler(sd1).draw(drawings, hooks=hooks)
    assert batches == [drawings] and rows == {4}


@pytest.mark.parametrize(
    ("conditioning", "message"),
    [
        (read("a [c:0-1:1.5]at"), "one token"),
        (read("[" + "cat " * 2400 + ":0-0.5:1] dog"), "2401 tokens"),
        (read("dog", "[" + "cat " * 2400 + ":0-0.5:1] dog"), "2401 tokens"),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_anything_is(sd1: Checkpoint, conditioning: Conditioning, message: str) -> None:
    sampler = Sampler(sd1)
    with pytest.raises((BadInput, PromptTooLong), match=message):
        sampler.draw(drawings_of(sd1, [Conditioning("a cat"), conditioning]))
    assert sampler.rows_drawn == 0


@st.composite
def populations(draw: st.DrawFn) -> list[Conditioning]:
    """Prompts of few words, so that many agree for a while."""
    parts = st.sampled_from([Fraction(0), Fraction(1, 4), Fraction(1, 2), Fraction(3, 4), Fraction(1)])
    asked = []
    for _ in range(draw(st.integers(1, 4))):
        lo, hi = sorted((draw(parts), draw(parts)))
        spans = (EffectSpan(2, 5, lo, hi, draw(st.sampled_from([Fraction(1), Fraction(3, 2)]))),)
        asked.append(Conditioning("a red cat", "a red dog", spans, spans if draw(st.booleans()) else ()))
    return asked


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=populations())
def test_any_population_is_drawn_to_the_bit_as_if_each_were_alone(sd1: Checkpoint, asked: list[Conditioning]) -> None:
    drawings = list({drawing.id: drawing for drawing in drawings_of(sd1, asked, seeds=[3], steps=4)}.values())
    sampler = Sampler(sd1)
    assert torch.equal(shared_pictures(sampler, drawings, lambda count: 1), separate_pictures(sampler, drawings))
    assert sampler.unet_rows(drawings) <= len(drawings) * 8
