from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from limner.promptdb.errors import BadInput
from limner.promptdb.records import Conditioning, Drawing, SamplerSettings
from limner.tools.diffusion.base import Drawn, Hooks, ImageModel, PromptTooLong
from limner.tools.diffusion.checkpoint import SCHEDULERS, Checkpoint, open_checkpoint
from limner.tools.diffusion.sampling.sampler import Sampler
from tests.tools.diffusion.inputs import PROMPTS, drawings_of, settings_of

pytestmark = pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")  # numpy, of how diffusers' schedulers call it

NAMED = ["DDIM", "DPMSolverMultistep", "EulerDiscrete", "EulerAncestralDiscrete", "HeunDiscrete", "PNDM"]
OTHERS = sorted({name.removesuffix("Scheduler") for name in SCHEDULERS} - {*NAMED, "LMSDiscrete"})


def stock_pictures(pipeline: Any, drawings: Sequence[Drawing]) -> torch.Tensor:
    """What the stock pipeline makes of drawings that share their settings, in [0, 1]."""
    import diffusers

    settings = drawings[0].settings
    pipeline.scheduler = getattr(diffusers, settings.scheduler).from_config(pipeline.own_config)
    pictures = pipeline(
        [drawing.conditioning.text for drawing in drawings],
        negative_prompt=[drawing.conditioning.negative for drawing in drawings] if settings.guidance_scale > 1 else None,
        num_inference_steps=settings.steps,
        guidance_scale=settings.guidance_scale,
        width=settings.width,
        height=settings.height,
        generator=[torch.Generator().manual_seed(drawing.seed) for drawing in drawings],
        output_type="np",
    ).images
    return torch.from_numpy(pictures).permute(0, 3, 1, 2)


def worst(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours.clamp(0, 1) - theirs).abs().max())


class TestEqualToStock:
    @pytest.mark.parametrize("guidance_scale", [7.5, 1.0])
    @pytest.mark.parametrize("scheduler", NAMED)
    @pytest.mark.parametrize("family", ["sd1", "sd2"])
    def test_pictures_equal_the_stock_pipelines(
        self, family: str, scheduler: str, guidance_scale: float, request: pytest.FixtureRequest, stock: Callable[[Path], Any]
    ) -> None:
        checkpoint = request.getfixturevalue(family)
        drawings = drawings_of(checkpoint, scheduler=f"{scheduler}Scheduler", guidance_scale=guidance_scale, steps=6)
        expected = stock_pictures(stock(request.getfixturevalue(f"{family}_folder")), drawings)
        assert float(expected.std()) > 0.1
        assert worst(Sampler(checkpoint).render(drawings, 4), expected) < 1e-5

    @pytest.mark.parametrize("scheduler", OTHERS)
    def test_so_do_those_of_every_other_scheduler(
        self, sd2: Checkpoint, sd2_folder: Path, scheduler: str, stock: Callable[[Path], Any]
    ) -> None:
        drawings = drawings_of(sd2, count=2, scheduler=f"{scheduler}Scheduler")
        assert worst(Sampler(sd2).render(drawings, 2), stock_pictures(stock(sd2_folder), drawings)) < 1e-5

    def test_so_do_those_of_another_size(self, sd1: Checkpoint, sd1_folder: Path, stock: Callable[[Path], Any]) -> None:
        drawings = drawings_of(sd1, count=2, width=48, height=24)
        [drawn, _] = Sampler(sd1).draw(drawings)
        assert drawn.image is not None
        assert drawn.image.size == (48, 24)
        assert worst(Sampler(sd1).render(drawings, 2), stock_pictures(stock(sd1_folder), drawings)) < 1e-5

    def test_a_truncated_text_is_drawn_as_stock_draws_it(self, sd1: Checkpoint, sd1_folder: Path, stock: Callable[[Path], Any]) -> None:
        drawing = Drawing(Conditioning("cat " * 90), 3, settings_of(sd1), sd1.fingerprint)
        assert worst(Sampler(sd1, truncate=True).render([drawing], 1), stock_pictures(stock(sd1_folder), [drawing])) < 1e-5

    def test_images_are_rounded_as_stock_rounds_them(self, sd1: Checkpoint, sd1_folder: Path, stock: Callable[[Path], Any]) -> None:
        drawings = drawings_of(sd1)
        expected = stock(sd1_folder).numpy_to_pil(stock_pictures(stock(sd1_folder), drawings).permute(0, 2, 3, 1).numpy())
        for drawn, image in zip(Sampler(sd1).draw(drawings), expected, strict=True):
            assert np.array_equal(np.asarray(drawn.image), np.asarray(image))


class TestIndependence:
    @pytest.mark.parametrize("scheduler", ["DDIM", "EulerAncestralDiscrete", "DPMSolverMultistep"])
    @pytest.mark.parametrize("place", [0, 5, 7])
    def test_in_one_bucket_a_picture_is_the_same_to_the_bit_at_every_place(self, sd1: Checkpoint, scheduler: str, place: int) -> None:
        drawings = drawings_of(sd1, count=8, scheduler=f"{scheduler}Scheduler")
        sampler = Sampler(sd1)
        alone = sampler.render([drawings[2]], 8)
        others = [drawing for drawing in drawings if drawing is not drawings[2]]
        batch = [*others[:place], drawings[2], *others[place:]]
        assert torch.equal(sampler.render(batch, 8)[place], alone[0])

    def test_another_bucket_moves_no_pixel_by_more_than_one(self, sd1: Checkpoint) -> None:
        drawings = drawings_of(sd1)
        single, batched = Sampler(sd1, max_bucket=1).draw(drawings), Sampler(sd1).draw(drawings)
        assert ({drawn.bucket for drawn in single}, {drawn.bucket for drawn in batched}) == ({1}, {4})
        for left, right in zip(single, batched, strict=True):
            assert np.abs(np.asarray(left.image, np.int16) - np.asarray(right.image, np.int16)).max() <= 1

    def test_every_picture_has_its_own_guidance(self, sd1: Checkpoint) -> None:
        drawings = [Drawing(PROMPTS[0], 3, settings_of(sd1, guidance_scale=scale), sd1.fingerprint) for scale in (2.0, 7.5, 12.0, 2.0)]
        sampler = Sampler(sd1)
        together = sampler.render(drawings, 4)
        assert torch.equal(together[0], together[3])
        assert not torch.allclose(together[0], together[1])
        for row in (0, 1, 2):
            assert torch.equal(together[row], sampler.render([drawings[row]] * 4, 4)[0])


class TestCost:
    def test_unet_rows_count_model_calls_and_guidance_and_equal_drawings_once(self, sd1: Checkpoint) -> None:
        sampler = Sampler(sd1)
        assert sampler.unet_rows(drawings_of(sd1)) == 4 * 4 * 2
        assert sampler.unet_rows(drawings_of(sd1, guidance_scale=1.0)) == 4 * 4
        assert sampler.unet_rows(drawings_of(sd1) * 2) == 4 * 4 * 2
        assert sampler.unet_rows(drawings_of(sd1, scheduler="HeunDiscreteScheduler")) == 4 * 7 * 2  # second order: 2 steps - 1 calls
        assert sampler.unet_rows([]) == 0

    def test_what_is_drawn_costs_what_was_announced_padding_not_counted(self, sd1: Checkpoint) -> None:
        sampler = Sampler(sd1)
        drawings = drawings_of(sd1, count=7) + drawings_of(sd1, count=2, scheduler="HeunDiscreteScheduler")
        assert {drawn.bucket for drawn in sampler.draw(drawings)} == {8, 2}
        assert sampler.rows_drawn == sampler.unet_rows(drawings)

    def test_equal_drawings_are_drawn_once_and_come_back_as_often_as_asked(self, sd1: Checkpoint) -> None:
        sampler = Sampler(sd1)
        heard: list[Drawn] = []
        one, two = drawings_of(sd1, count=2)
        drawn = sampler.draw([one, two, one], heard.append)
        assert [item.drawing for item in drawn] == [one, two, one]
        assert (len(heard), sampler.rows_drawn) == (2, sampler.unet_rows([one, two]))

    @pytest.mark.parametrize(
        ("count", "buckets"), [(1, [1]), (3, [2, 1]), (6, [4, 2]), (7, [8]), (16, [16]), (20, [16, 4]), (31, [16, 16])]
    )
    def test_batches_have_few_fixed_sizes_and_little_padding(self, sd1: Checkpoint, count: int, buckets: list[int]) -> None:
        sampler, settings = Sampler(sd1), settings_of(sd1)
        chosen: list[int] = []
        while count > 0:
            chosen.append(sampler.bucket(count, settings))
            count -= chosen[-1]
        assert chosen == buckets

    def test_larger_pictures_come_in_smaller_batches(self, sd1: Checkpoint) -> None:
        assert [Sampler(sd1).bucket(64, settings_of(sd1, width=side, height=side)) for side in (32, 64, 128, 256, 512)] == [16, 16, 4, 1, 1]


class TestStreaming:
    def test_pictures_are_handed_over_bucket_by_bucket(self, sd1: Checkpoint) -> None:
        events: list[str] = []
        hook = sd1.unet.register_forward_hook(lambda module, args, output: events.append(f"unet {args[0].shape[0]}"))
        Sampler(sd1, max_bucket=2).draw(drawings_of(sd1, steps=2), lambda drawn: events.append("drawn"))
        hook.remove()
        assert events == ["unet 4", "unet 4", "drawn", "drawn"] * 2

    def test_ctrl_c_between_buckets_loses_nothing(self, sd1: Checkpoint) -> None:
        sampler = Sampler(sd1, max_bucket=2)
        kept: list[Drawn] = []

        def interrupt(drawn: Drawn) -> None:
            kept.append(drawn)
            if len(kept) == 2:
                raise KeyboardInterrupt

        drawings = drawings_of(sd1)
        with pytest.raises(KeyboardInterrupt):
            sampler.draw(drawings, interrupt)
        assert [drawn.drawing for drawn in kept] == drawings[:2]
        assert sampler.rows_drawn == sampler.unet_rows(drawings[:2])
        assert len(sampler.draw(drawings[2:])) == 2

    def test_whoever_cancels_is_heard_before_the_next_step_beside_the_hooks(self, sd1: Checkpoint) -> None:
        class Cancel:
            def check(self) -> None:
                if len(steps) == 3:
                    raise InterruptedError("enough")

        steps: list[int] = []
        sampler = Sampler(sd1)
        drawings = drawings_of(sd1, steps=5)
        with pytest.raises(InterruptedError, match="enough"):
            sampler.draw(drawings, cancel=Cancel(), hooks=Hooks(on_step=lambda step, timestep, latents: steps.append(step)))
        assert steps == [0, 1, 2]
        steps.clear()
        drawn = sampler.draw(drawings[:1], cancel=Cancel())  # without hooks it is asked too, and as long as it says nothing nothing changes
        assert np.array_equal(np.asarray(drawn[0].image), np.asarray(sampler.draw(drawings[:1])[0].image))

    def test_results_come_in_the_order_asked_for_though_settings_alternate(self, sd1: Checkpoint) -> None:
        ddim, euler = drawings_of(sd1), drawings_of(sd1, scheduler="EulerDiscreteScheduler")
        drawings = [drawing for pair in zip(ddim, euler, strict=True) for drawing in pair]
        drawn = Sampler(sd1).draw(drawings)
        assert [item.drawing for item in drawn] == drawings
        assert {item.bucket for item in drawn} == {4}

    def test_what_cannot_share_a_batch_is_kept_apart(self, sd1: Checkpoint) -> None:
        changes: list[dict[str, Any]] = [{}, {"guidance_scale": 1.0}, {"guidance_scale": 0.0}, {"width": 48}, {"steps": 3}]
        drawings = [Drawing(PROMPTS[1], 3, settings_of(sd1, **change), sd1.fingerprint) for change in changes]
        together = Sampler(sd1).draw(drawings)
        assert [item.bucket for item in together] == [1, 2, 2, 1, 1]
        for drawing, item in zip(drawings, together, strict=True):
            [alone] = Sampler(sd1).draw([drawing])
            assert np.abs(np.asarray(item.image, np.int16) - np.asarray(alone.image, np.int16)).max() <= 1

    def test_nothing_is_no_work(self, sd1: Checkpoint) -> None:
        assert Sampler(sd1).draw([]) == []

    def test_memory_running_out_halves_the_batch_and_loses_no_drawing(self, sd1: Checkpoint) -> None:
        def full(module: Any, args: Any) -> None:
            if args[0].shape[0] > 4:
                raise torch.OutOfMemoryError("CUDA out of memory")

        hook = sd1.unet.register_forward_pre_hook(full)
        drawings = drawings_of(sd1)
        drawn = Sampler(sd1).draw(drawings)
        hook.remove()
        assert [(item.drawing, item.bucket) for item in drawn] == [(drawing, 2) for drawing in drawings]


class TestBrokenPictures:
    def test_a_picture_with_nan_is_dropped_and_its_neighbours_are_untouched(self, sd1: Checkpoint) -> None:
        def spoil(step: int, embeddings: torch.Tensor) -> torch.Tensor:
            embeddings = embeddings.clone()
            embeddings[5] = torch.nan  # the positive text of row 1 of 4
            return embeddings

        drawings = drawings_of(sd1)
        drawn, clean = Sampler(sd1).draw(drawings, hooks=Hooks(embeddings=spoil)), Sampler(sd1).draw(drawings)
        assert [item.image is None for item in drawn] == [False, True, False, False]
        for row in (0, 2, 3):
            assert np.array_equal(np.asarray(drawn[row].image), np.asarray(clean[row].image))

    def test_what_overflows_in_half_precision_is_redrawn_once_in_fp32(self, sd1_folder: Path) -> None:
        checkpoint = open_checkpoint(str(sd1_folder), device="cpu", dtype="float16")
        with torch.no_grad():
            checkpoint.unet.conv_in.weight *= 30000
        before = {name: weights.clone() for name, weights in checkpoint.unet.state_dict().items()}
        sampler, drawings = Sampler(checkpoint), drawings_of(checkpoint, count=2)
        drawn = sampler.draw(drawings)
        assert not bool(sampler.render(drawings, 2).isfinite().any())
        assert [(item.image is not None, item.bucket) for item in drawn] == [(True, 1), (True, 1)]
        assert sampler.rows_drawn == 3 * sampler.unet_rows(drawings)
        assert all(torch.equal(weights, before[name]) for name, weights in checkpoint.unet.state_dict().items())

    def test_what_is_nan_in_fp32_too_is_given_up(self, sd1_folder: Path) -> None:
        checkpoint = open_checkpoint(str(sd1_folder), device="cpu", dtype="bfloat16")
        with torch.no_grad():
            checkpoint.vae.decoder.conv_out.bias += torch.inf
        assert [item.image for item in Sampler(checkpoint).draw(drawings_of(checkpoint, count=1))] == [None]


class TestBadInput:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"width": 34}, "the width must be a multiple of 4 pixels"),
            ({"height": 0}, "the height must be a multiple of 4 pixels"),
            ({"width": -32}, "the width must be a multiple of 4 pixels"),
            ({"scheduler": "NoScheduler"}, "there is no scheduler 'NoScheduler'; there are DDIMScheduler"),
            ({"scheduler": "DPMSolverSDEScheduler"}, "there is no scheduler 'DPMSolverSDEScheduler'"),
            ({"steps": 1001}, "1001 steps are more than the 1000"),
            ({"scheduler": "LCMScheduler", "steps": 51}, "LCMScheduler cannot run with 51 steps"),
            ({"dtype": "float16"}, "asks for float16 and .* was opened in float32"),
            ({"guidance_scale": float("inf")}, "the guidance scale must be a finite number"),
        ],
    )
    def test_settings_it_cannot_serve_are_refused_in_one_line(self, sd1: Checkpoint, changes: dict[str, Any], message: str) -> None:
        sampler = Sampler(sd1)
        with pytest.raises(BadInput, match=message) as refusal:
            sampler.draw([*drawings_of(sd1), *drawings_of(sd1, count=1, **changes)])
        assert "\n" not in str(refusal.value)
        assert sampler.rows_drawn == 0

    def test_drawings_of_another_checkpoint_are_refused(self, sd1: Checkpoint, sd2: Checkpoint) -> None:
        with pytest.raises(BadInput, match="was made for checkpoint"):
            Sampler(sd1).draw(drawings_of(sd2))

    @pytest.mark.parametrize("seed", [-1, 2**63])
    def test_a_seed_out_of_range_is_refused(self, sd1: Checkpoint, seed: int) -> None:
        with pytest.raises(BadInput, match="a seed must lie between 0 and"):
            Sampler(sd1).draw(drawings_of(sd1, count=1, seeds=[seed]))

    def test_one_long_prompt_is_refused_before_anything_is_drawn(self, sd1: Checkpoint) -> None:
        sampler = Sampler(sd1)
        with pytest.raises(PromptTooLong):
            sampler.draw([*drawings_of(sd1), Drawing(Conditioning("cat " * 2401), 0, settings_of(sd1), sd1.fingerprint)])
        assert sampler.rows_drawn == 0

    def test_a_batch_size_of_nothing_is_refused(self, sd1: Checkpoint) -> None:
        with pytest.raises(BadInput, match="at least 1"):
            Sampler(sd1, max_bucket=0)


def test_it_is_an_image_model(sd1: Checkpoint) -> None:
    model: ImageModel = Sampler(sd1)
    assert (model.name, model.fingerprint) == (sd1.name, sd1.fingerprint)
    assert model.default_settings == SamplerSettings(width=32, height=32)
    assert model.token_count("a cat") == (2, 75)
    assert model.draw(drawings_of(sd1, count=1))[0].device == "cpu"
