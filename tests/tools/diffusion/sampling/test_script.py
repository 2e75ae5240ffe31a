"""A DF-Prompt's embeddings at each step, on tiny checkpoints of both families."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from limner.promptdb.errors import BadInput
from limner.promptdb.records import AdapterSetting, Conditioning, WeightMode
from limner.tools.diffusion.base import PromptTooLong
from limner.tools.diffusion.checkpoint import Checkpoint
from limner.tools.diffusion.sampling.conditioning import StepEmbeddings, TextEncoding
from limner.tools.diffusion.sampling.script import Scripts, step_embeddings
from limner.tools.diffusion.sampling.timing import Timing, timing
from limner.tools.diffusion.sampling.weighting import apply_weights
from limner.tools.prompt_language.parse import read

STEPS = 10

pytestmark = pytest.mark.filterwarnings("ignore:the embedding has next to no mean")  # as those of untrained encoders


@pytest.fixture(params=["sd1", "sd2"])
def checkpoint(request: pytest.FixtureRequest) -> Checkpoint:
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]


@pytest.fixture
def encoded(sd1: Checkpoint) -> Iterator[list[int]]:
    """Rows of each call of the text encoder."""
    calls: list[int] = []
    hook = sd1.text_encoder.register_forward_hook(lambda module, args, output: calls.append(args[0].shape[0]))
    yield calls
    hook.remove()


def places(checkpoint: Checkpoint, steps: int = STEPS) -> Timing:
    return timing(checkpoint, "DDIMScheduler", steps)


def positive(checkpoint: Checkpoint, prompt: str, mode: WeightMode = "mean_restore") -> StepEmbeddings:
    [found], _ = step_embeddings(Scripts(TextEncoding(checkpoint)), [read(prompt, weight_mode=mode)], places(checkpoint), guided=True)
    return found


def plain(checkpoint: Checkpoint, text: str) -> torch.Tensor:
    return TextEncoding(checkpoint).encode([text])[text]


def rows(checkpoint: Checkpoint, prompt: str, step: int) -> list[int]:
    """Rows that weights change, without any restoring."""
    conditioning = read(prompt, weight_mode="none")
    unweighted = Conditioning(
        conditioning.text, spans=tuple(type(span)(span.start, span.end, span.lo, span.hi) for span in conditioning.spans)
    )
    pair, _ = step_embeddings(Scripts(TextEncoding(checkpoint)), [conditioning, unweighted], places(checkpoint), guided=False)
    return [int(row) for row in (pair[0].at(step) != pair[1].at(step)).any(dim=-1).nonzero()]


@pytest.mark.parametrize("prompt", ["a red cat", "a [red:0-1:1] cat", "a [red:1->0:1.0] cat"])
def test_full_range_at_weight_one_is_the_plain_prompt_to_the_bit(checkpoint: Checkpoint, prompt: str) -> None:
    found = positive(checkpoint, prompt)
    assert found.at(0) is found.at(STEPS - 1)
    assert torch.equal(found.at(0), plain(checkpoint, "a red cat"))


def test_where_words_do_not_act_they_are_as_if_removed(checkpoint: Checkpoint) -> None:
    found = positive(checkpoint, "portrait, [red:0-0.5:1], [blue:0.5-1:1] cat")
    for step in range(STEPS):
        said = "portrait, , blue cat" if step < 5 else "portrait, red,  cat"
        assert torch.equal(found.at(step), plain(checkpoint, said))
    never = positive(checkpoint, "a [red:0.5-0.5:2] cat")
    assert torch.equal(never.at(0), plain(checkpoint, "a cat"))


def test_rows_before_the_first_word_that_comes_or_goes_are_the_same_at_all_steps(checkpoint: Checkpoint) -> None:
    found = positive(checkpoint, "a red cat [blue:0-0.5:1] dog")
    assert float((found.at(0)[:4] - found.at(9)[:4]).abs().max()) < 1e-6
    assert not torch.equal(found.at(0)[4:], found.at(9)[4:])


def test_a_weight_scales_the_rows_of_its_words_and_no_others_whatever_has_gone_before_them(checkpoint: Checkpoint) -> None:
    prompt = "a cat, [red:0-0.5:1.5], [blue:0.5-1:0.5], dog"
    assert rows(checkpoint, prompt, 0) == [5]  # start, a, cat, comma, comma, blue
    assert rows(checkpoint, prompt, 9) == [4]
    unweighted, weighted = plain(checkpoint, "a cat, , blue, dog"), positive(checkpoint, prompt, "none").at(0)
    assert torch.allclose(weighted[5], unweighted[5] * 0.5)


def test_the_mean_is_restored_over_all_rows(checkpoint: Checkpoint) -> None:
    before = plain(checkpoint, "a red cat") + 0.25  # untrained encoders are centred, trained ones are not
    after = apply_weights(before, {2: 1.5}, "mean_restore", before)
    assert float(after.mean()) == pytest.approx(float(before.mean()), rel=1e-6)
    by_hand = before.clone()
    by_hand[2] *= 1.5
    assert torch.allclose(after, by_hand * (before.mean() / by_hand.mean()), rtol=1e-5, atol=1e-6)


def test_the_other_weightings(checkpoint: Checkpoint) -> None:
    before, empty = plain(checkpoint, "a red cat"), plain(checkpoint, "")
    normed = positive(checkpoint, "a [red:0-1:1.5] cat", "norm_restore").at(0)
    assert float(normed.norm()) == pytest.approx(float(before.norm()), rel=1e-5)
    moved = positive(checkpoint, "a [red:0-1:1.5] cat", "lerp_from_empty").at(0)
    assert torch.allclose(moved[2], empty[2] + 1.5 * (before[2] - empty[2]), rtol=1e-5, atol=1e-6)
    assert torch.equal(moved[3:], before[3:]) and torch.equal(moved[:2], before[:2])


def test_an_embedding_without_a_mean_stays_finite_and_warns() -> None:
    centred = torch.tensor([[1.0, -1.0], [2.0, -2.0], [0.5, -0.5]])
    with pytest.warns(RuntimeWarning, match="mean"):
        found = apply_weights(centred, {1: 1.5}, "mean_restore", torch.zeros_like(centred))
    assert torch.equal(found[1], centred[1] * 1.5) and torch.equal(found[0], centred[0])


def test_weights_are_applied_in_fp32_and_given_back_in_the_model_s_dtype() -> None:
    half = torch.full((3, 4), 60000.0, dtype=torch.float16)  # a sum over these overflows
    found = apply_weights(half, {1: 0.5}, "mean_restore", half)
    assert found.dtype == torch.float16 and bool(found[1].isfinite().all())


def test_each_distinct_set_of_words_is_encoded_once_whatever_the_number_of_steps(sd1: Checkpoint, encoded: list[int]) -> None:
    prompt = read("a [red:0-0.5:1.5] cat [blue:0.5-1:0.75] [dog:0-1:1.25]")
    scripts = Scripts(TextEncoding(sd1))
    for steps in (10, 50):
        step_embeddings(scripts, [prompt] * 4, places(sd1, steps), guided=True)
        assert sum(encoded) == 3  # two sets, and the empty negative


def test_neighbours_in_a_batch_change_nothing(sd1: Checkpoint) -> None:
    prompts = [read("a [red:0-0.5:1.5] cat"), read("dog", "[blue:0.5-1:2]"), read("a [cat:0.2-0.9:0.5]")]
    together = step_embeddings(Scripts(TextEncoding(sd1)), prompts, places(sd1), guided=True)
    for number, prompt in enumerate(prompts):
        alone = step_embeddings(Scripts(TextEncoding(sd1)), [prompt], places(sd1), guided=True)
        for step in range(STEPS):
            assert all(torch.equal(side[number].at(step), own[0].at(step)) for side, own in zip(together, alone, strict=True))


def test_the_negative_prompt_has_ranges_and_weights_too(sd1: Checkpoint) -> None:
    _, [found] = step_embeddings(Scripts(TextEncoding(sd1)), [read("a cat", "dog [blue:0.5-1:1]")], places(sd1), guided=True)
    assert torch.equal(found.at(4), plain(sd1, "dog blue")) and torch.equal(found.at(5), plain(sd1, "dog"))
    assert step_embeddings(Scripts(TextEncoding(sd1)), [read("a cat", "dog")], places(sd1), guided=False)[1] == []


def test_fragments_of_a_word_that_act_alike_are_that_word(sd1: Checkpoint) -> None:
    assert torch.equal(positive(sd1, "a [c:0-1:1.5][at:0-1:1.5]").at(0), positive(sd1, "a [cat:0-1:1.5]").at(0))


@pytest.mark.parametrize("prompt", ["a [c:0-1:1.5]at", "a [c:0-1:1.5][at:0-1:2]"])
def test_a_weight_on_half_a_token_is_refused(sd1: Checkpoint, prompt: str) -> None:
    assert TextEncoding(sd1).token_count("cat")[0] == 1
    with pytest.raises(BadInput, match="one token"):
        positive(sd1, prompt)


def test_the_limit_holds_for_what_acts_together_and_not_for_the_whole(sd1: Checkpoint) -> None:
    half = "cat " * 1201
    positive(sd1, f"[{half}:0.5-1:1] [{half}:0-0.5:1]")
    with pytest.raises(PromptTooLong, match="2402 tokens"):
        positive(sd1, f"[{half}:0-1:1] [{half}:0-0.6:2]")


def test_an_adapter_is_refused(sd1: Checkpoint) -> None:
    with pytest.raises(BadInput, match="adapter"):
        step_embeddings(Scripts(TextEncoding(sd1)), [Conditioning("a", adapter=AdapterSetting("w"))], places(sd1), guided=False)
