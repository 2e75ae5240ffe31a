from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch

from limner.promptdb.records import Conditioning, EffectSpan
from limner.tools.diffusion.base import PromptTooLong
from limner.tools.diffusion.checkpoint import Checkpoint
from limner.tools.diffusion.sampling.conditioning import TextEncoding

LONG = "cat " * 76


@pytest.fixture
def encoded_rows(sd1: Checkpoint) -> Iterator[list[int]]:
    """Rows of each call of the text encoder."""
    calls: list[int] = []
    hook = sd1.text_encoder.register_forward_hook(lambda module, args, output: calls.append(args[0].shape[0]))
    yield calls
    hook.remove()


@pytest.mark.parametrize("family", ["sd1", "sd2"])
def test_embeddings_equal_those_of_the_stock_pipeline(family: str, request: pytest.FixtureRequest, stock: Callable[[Path], Any]) -> None:
    checkpoint = request.getfixturevalue(family)
    texts = ["a red cat", "", "Überraschung 🙂, (sharp:1.2)", "  a   DOG\n"]
    expected = stock(request.getfixturevalue(f"{family}_folder")).encode_prompt(texts, "cpu", 1, False)[0].detach()
    known = TextEncoding(checkpoint).encode(texts)
    for text, row in zip(texts, expected, strict=True):
        assert float((known[text] - row).abs().max()) < 1e-5


def test_each_distinct_text_is_encoded_once(sd1: Checkpoint, encoded_rows: list[int]) -> None:
    encoding = TextEncoding(sd1)
    population = [Conditioning("a cat", negative) for negative in ("", "blurry")] * 5 + [Conditioning("a dog")]
    encoding.prompts(population, guided=True)
    assert sum(encoded_rows) == 4  # a cat, a dog, blurry, and the empty negative
    encoding.prompts(population, guided=True)
    assert sum(encoded_rows) == 4


def test_texts_with_equal_tokens_share_one_encoding(sd1: Checkpoint, encoded_rows: list[int]) -> None:
    known = TextEncoding(sd1).encode(["A Cat", "a  cat"])
    assert known["A Cat"] is known["a  cat"]
    assert sum(encoded_rows) == 1


def test_without_guidance_negatives_are_not_encoded(sd1: Checkpoint, encoded_rows: list[int]) -> None:
    positives, negatives = TextEncoding(sd1).prompts([Conditioning("a cat", "blurry")], guided=False)
    assert (len(positives), negatives, sum(encoded_rows)) == (1, [], 1)


def test_the_cache_forgets_the_text_unused_longest(sd1: Checkpoint, encoded_rows: list[int]) -> None:
    encoding = TextEncoding(sd1, capacity=2)
    for text in ("a", "cat", "a", "dog", "a"):
        encoding.encode([text])
    assert sum(encoded_rows) == 3
    encoding.encode(["cat"])
    assert sum(encoded_rows) == 4


def test_one_call_may_ask_for_more_texts_than_are_kept(sd1: Checkpoint) -> None:
    encoding = TextEncoding(sd1, capacity=2)
    assert set(encoding.encode(["a", "cat", "dog", "red"])) == {"a", "cat", "dog", "red"}


def test_an_embedding_is_the_same_to_the_bit_whatever_is_asked_for_beside_it(sd1: Checkpoint) -> None:
    alone = TextEncoding(sd1).encode(["a red cat"])["a red cat"]
    together = TextEncoding(sd1).encode(["dog", "blue", "a red cat", "photo"])["a red cat"]
    assert torch.equal(alone, together)


def test_a_plain_prompt_says_the_same_at_every_step(sd1: Checkpoint) -> None:
    [positive], [negative] = TextEncoding(sd1).prompts([Conditioning("a cat", "blurry")], guided=True)
    assert positive.at(0) is positive.at(19)
    assert not torch.equal(positive.at(0), negative.at(0))
    assert tuple(positive.at(0).shape) == (77, 32)


def test_a_gradient_can_be_taken_through_the_unet_at_cached_embeddings(sd1: Checkpoint) -> None:
    [positive], _ = TextEncoding(sd1).prompts([Conditioning("a cat")], guided=False)
    embedding = positive.at(0)[None].clone().requires_grad_()
    sd1.unet(torch.zeros(1, 4, 8, 8), 500, encoder_hidden_states=embedding).sample.sum().backward()
    assert embedding.grad is not None
    assert float(embedding.grad.abs().sum()) > 0


def test_tokens_are_counted_without_marks_against_the_75_that_are_read(sd1: Checkpoint, sd2: Checkpoint) -> None:
    for checkpoint in (sd1, sd2):
        encoding = TextEncoding(checkpoint)
        assert encoding.token_count("") == (0, 75)
        assert encoding.token_count("a red cat") == (3, 75)
        assert encoding.token_count(LONG) == (76, 75)


def test_a_text_of_exactly_the_limit_loses_nothing(sd1: Checkpoint) -> None:
    TextEncoding(sd1).check(Conditioning("cat " * 75), guided=True)


@pytest.mark.parametrize("conditioning", [Conditioning(LONG), Conditioning("a cat", LONG)])
def test_a_text_over_the_limit_is_refused_with_both_numbers(sd1: Checkpoint, conditioning: Conditioning) -> None:
    with pytest.raises(PromptTooLong, match="76 tokens and the text encoder reads 75") as refusal:
        TextEncoding(sd1).check(conditioning, guided=True)
    assert (refusal.value.tokens, refusal.value.limit) == (76, 75)


def test_a_long_negative_does_no_harm_where_guidance_is_off(sd1: Checkpoint) -> None:
    TextEncoding(sd1).check(Conditioning("a cat", LONG), guided=False)


def test_allowed_to_truncate_it_reads_the_first_75_tokens(sd1: Checkpoint) -> None:
    encoding = TextEncoding(sd1, truncate=True)
    encoding.check(Conditioning(LONG), guided=True)
    known = encoding.encode([LONG, "cat " * 75])
    assert torch.equal(known[LONG], known["cat " * 75])


def test_words_that_come_and_go_are_not_said_to_be_the_same_at_every_step(sd1: Checkpoint) -> None:
    with pytest.raises(ValueError, match="the same at every step"):
        TextEncoding(sd1).prompts([Conditioning("a red cat", spans=(EffectSpan(2, 5, hi=Fraction(1, 2)),))], guided=True)
