"""What a DF-Prompt must keep, stated as the format's specification states it, on tiny checkpoints of both families."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
import torch

from limner.promptdb.records import Conditioning
from limner.tools.diffusion.checkpoint import Checkpoint
from limner.tools.diffusion.sampling.conditioning import TextEncoding
from limner.tools.diffusion.sampling.script import Scripts, step_embeddings
from limner.tools.diffusion.sampling.timing import timing
from limner.tools.diffusion.sampling.weighting import apply_weights
from limner.tools.prompt_language.convert import convert
from limner.tools.prompt_language.parse import read
from tests.prompt_samples import SAMPLES, bracketed, prompts

pytestmark = pytest.mark.filterwarnings("ignore:the embedding has next to no mean")  # as those of untrained encoders


@pytest.fixture(params=["sd1", "sd2"])
def checkpoint(request: pytest.FixtureRequest) -> Checkpoint:
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]


def embedded(checkpoint: Checkpoint, conditioning: Conditioning, step: int = 0) -> torch.Tensor:
    scripts = Scripts(TextEncoding(checkpoint))
    [found], _ = step_embeddings(scripts, [conditioning], timing(checkpoint, "DDIMScheduler", 10), guided=False)
    return found.at(step)


@pytest.mark.parametrize("file", SAMPLES, ids=lambda file: file.stem)
def test_what_people_write_says_at_every_step_what_the_tokenizer_makes_of_it(checkpoint: Checkpoint, file: Path) -> None:
    lines = prompts(file)
    chosen = bracketed(file)[:40] + lines[:: max(1, len(lines) // 40)]
    scripts, at = Scripts(TextEncoding(checkpoint, truncate=True)), timing(checkpoint, "DDIMScheduler", 10)
    for line in chosen:
        [only] = scripts.script(read(line, lenient=True), at, guided=False).lines
        padded = checkpoint.tokenizer(line.strip(), padding="max_length", max_length=77, truncation=True).input_ids
        [window] = only.positive
        assert window.ids == (tuple(padded),) and not window.rows


@pytest.mark.parametrize(("triple", "emphasis"), [("[red:0-1:1.3]", "(red:1.3)"), ("[red cat:0-1:0.75]", "(red cat:0.75)")])
def test_weights_alone_are_those_of_a1111(checkpoint: Checkpoint, triple: str, emphasis: str) -> None:
    """Its "Original" emphasis: rows times weight, then the mean over all rows and dimensions restored."""
    text = f"a photo of the {triple}, sharp"
    ours = read(text)
    assert convert(text, "a1111", steps=10).written.output == f"a photo of the {emphasis}, sharp"
    assert convert(f"a photo of the {emphasis}, sharp", "df", source="a1111").conditioning == ours
    plain = embedded(checkpoint, Conditioning(ours.text)) + 0.25  # untrained encoders are centred, trained ones are not
    words = {"red": range(5, 6), "red cat": range(5, 7)}[ours.text[15 : ours.spans[0].end]]
    factors = torch.ones(77, 1)
    factors[list(words)] = float(ours.spans[0].weight)
    z = plain * factors
    theirs = z * (plain.mean() / z.mean())
    found = apply_weights(plain, {row: float(ours.spans[0].weight) for row in words}, "mean_restore", plain)
    assert torch.allclose(found, theirs, rtol=1e-5, atol=1e-6)
    unrestored = embedded(checkpoint, read(text, weight_mode="none"))
    changed = (unrestored != embedded(checkpoint, Conditioning(ours.text))).any(dim=-1).nonzero().flatten()
    assert changed.tolist() == list(words)


@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-6), (torch.float16, 1e-3)])
def test_the_mean_survives_weighting_in_every_precision(dtype: torch.dtype, close: float) -> None:
    before = (torch.rand(77, 64, generator=torch.Generator().manual_seed(1)) + 0.1).to(dtype)
    after = apply_weights(before, {3: 1.5, 9: 0.5}, "mean_restore", before)
    assert after.dtype == dtype
    assert float(after.float().mean()) == pytest.approx(float(before.float().mean()), rel=close)
    assert apply_weights(before, {}, "mean_restore", before) is before


@pytest.mark.parametrize("weight", [0.5, 1.5, 4.0])
def test_rows_of_both_signs_that_nearly_cancel_are_not_blown_up(weight: float) -> None:
    before = torch.ones(77, 8)
    before[40:] = -40 / 37 + 1e-4  # a mean next to nothing, which one weighted row turns over
    with pytest.warns(RuntimeWarning, match="next to no mean"):
        after = apply_weights(before, {3: weight}, "mean_restore", before)
    assert torch.equal(after[4:], before[4:]) and torch.equal(after[3], before[3] * weight)


def test_a_word_that_never_acts_is_a_word_that_is_not_there(checkpoint: Checkpoint) -> None:
    for step in (0, 5, 9):
        never = embedded(checkpoint, read("a [red:1/3-1/3:2] cat"), step)
        assert torch.equal(never, embedded(checkpoint, Conditioning("a  cat"), step))


def test_ranges_are_exact_where_floating_numbers_are_not(sd1: Checkpoint) -> None:
    scripts = Scripts(TextEncoding(sd1))
    script = scripts.script(read("a [red:0-0.29:1] cat"), timing(sd1, "DDIMScheduler", 100), guided=False)
    assert script.starts == (0, 71)
    assert timing(sd1, "DDIMScheduler", 100).places("step")[71] == Fraction(71, 100)


def test_several_pictures_of_a_prompt_and_mixed_batches_have_the_same_embeddings(checkpoint: Checkpoint) -> None:
    asked = [read("a [red:0-0.5:1.5] cat"), Conditioning("a dog"), read("a [red:0-0.5:1.5] cat"), read("[blue:0.5-1:0.5] dog", "red")]
    at = timing(checkpoint, "DDIMScheduler", 10)
    together, against = step_embeddings(Scripts(TextEncoding(checkpoint)), asked, at, guided=True)
    for step in range(10):
        assert together[0].at(step) is together[2].at(step)
        for found, item in zip(together, asked, strict=True):
            assert torch.equal(found.at(step), embedded(checkpoint, item, step))
        assert torch.equal(against[3].at(step), embedded(checkpoint, Conditioning("red"), step))
