from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

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
    texts = ["a cat", "", "a cat", "blurry"] * 5 + ["a dog", ""]
    encoding.encode(texts)
    assert sum(encoded_rows) == 4
    encoding.encode(texts)
    assert sum(encoded_rows) == 4


def test_texts_with_equal_tokens_share_one_encoding(sd1: Checkpoint, encoded_rows: list[int]) -> None:
    known = TextEncoding(sd1).encode(["A Cat", "a  cat"])
    assert known["A Cat"] is known["a  cat"]
    assert sum(encoded_rows) == 1


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


def test_a_gradient_can_be_taken_through_the_unet_at_cached_embeddings(sd1: Checkpoint) -> None:
    embedding = TextEncoding(sd1).encode(["a cat"])["a cat"][None].clone().requires_grad_()
    sd1.unet(torch.zeros(1, 4, 8, 8), 500, encoder_hidden_states=embedding).sample.sum().backward()
    assert embedding.grad is not None
    assert float(embedding.grad.abs().sum()) > 0


def test_tokens_are_counted_without_marks_against_the_75_that_are_read(sd1: Checkpoint, sd2: Checkpoint) -> None:
    for checkpoint in (sd1, sd2):
        encoding = TextEncoding(checkpoint)
        assert encoding.token_count("") == (0, 75)
        assert encoding.token_count("a red cat") == (3, 75)
        assert encoding.token_count(LONG) == (76, 75)


def shares(text: str, encoding: TextEncoding, **how: Any) -> list[str]:
    """The text of each window, as its tokens say it."""
    tokenizer = encoding.checkpoint.tokenizers[0]
    return [tokenizer.decode(part.ids[0], skip_special_tokens=True) for part in encoding.chunks(text, **how)]


def test_a_text_of_exactly_the_limit_is_one_window_and_one_token_more_makes_two(sd1: Checkpoint) -> None:
    encoding = TextEncoding(sd1)
    assert [part.tokens for part in encoding.chunks("cat " * 75)] == [range(75)]
    assert [part.tokens for part in encoding.chunks("cat " * 76)] == [range(75), range(75, 76)]


def test_each_window_is_marked_and_padded_as_its_own_text_is(sd1: Checkpoint, sd2: Checkpoint) -> None:
    for checkpoint in (sd1, sd2):  # whose padding differs
        encoding = TextEncoding(checkpoint)
        first, second = encoding.chunks("cat " * 75 + "dog " * 5)
        assert [first.ids, second.ids] == encoding.token_ids(["cat " * 75, "dog " * 5])


def test_a_window_ends_after_a_comma_that_is_near_its_end(sd1: Checkpoint) -> None:
    encoding = TextEncoding(sd1)
    near = "cat " * 59 + ", " + "dog " * 30
    assert [len(part.tokens) for part in encoding.chunks(near)] == [60, 30]
    assert [len(part.tokens) for part in encoding.chunks(near, chunking="word")] == [75, 15]
    far = "cat " * 50 + ", " + "dog " * 30
    assert [len(part.tokens) for part in encoding.chunks(far)] == [75, 6]


def test_a_comma_that_no_longer_fits_begins_the_next_window(sd1: Checkpoint) -> None:
    assert [len(part.tokens) for part in TextEncoding(sd1).chunks("cat " * 75 + ", dog")] == [75, 2]


def test_a_word_is_kept_whole_where_it_is_short_and_divided_where_it_is_long(sd1: Checkpoint) -> None:
    encoding = TextEncoding(sd1)
    short, long = "z1z2", "z1" * 20
    assert [len(part.tokens) for part in encoding.chunks("cat " * 73 + short, chunking="word")] == [73, encoding.token_count(short)[0]]
    assert len(encoding.chunks("cat " * 73 + long, chunking="word")[0].tokens) == 75


def test_a_break_begins_a_window_wherever_it_stands(sd1: Checkpoint) -> None:
    encoding = TextEncoding(sd1)
    for chunking in ("comma", "word", "sentence"):
        assert shares("a cat a dog", encoding, breaks=(6,), chunking=chunking) == ["a cat", "a dog"]
        assert shares("a cat", encoding, breaks=(0,), chunking=chunking) == ["", "a cat"]


def test_no_token_is_lost_or_read_twice(sd1: Checkpoint) -> None:
    encoding = TextEncoding(sd1)
    text = "a lighthouse, in a storm; " * 40
    for chunking in ("comma", "word", "sentence"):
        parts = encoding.chunks(text, (100, 333), chunking)
        assert [number for part in parts for number in part.tokens] == list(range(encoding.token_count(text)[0]))
        assert max(len(part.tokens) for part in parts) <= 75


def test_more_windows_than_are_read_are_refused_with_both_numbers(sd1: Checkpoint) -> None:
    with pytest.raises(PromptTooLong, match="2401 tokens and at most 2400 are read") as refusal:
        TextEncoding(sd1).chunks("cat " * 2401)
    assert (refusal.value.tokens, refusal.value.limit) == (2401, 2400)


def test_allowed_to_truncate_it_reads_the_first_window(sd1: Checkpoint) -> None:
    encoding = TextEncoding(sd1, truncate=True)
    assert [part.tokens for part in encoding.chunks(LONG)] == [range(75)]
    known = encoding.encode([LONG, "cat " * 75])
    assert torch.equal(known[LONG], known["cat " * 75])
