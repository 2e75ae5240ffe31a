"""The miniature's CLIPTokenizer: byte-level BPE with few merges, learned from the world's own captions; 77 positions.

The corpus names every noun of the whole world, also those that a small preset does not draw, so that a later training has equal tokens.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from limner.tools.miniature.world import vocabulary as words
from limner.tools.miniature.world.captions import caption
from limner.tools.miniature.world.nouns import plural
from limner.tools.miniature.world.scene import draw_scene

if TYPE_CHECKING:
    import torch
    from transformers import CLIPTokenizer

POSITIONS = 77
SIZE = 2200  # tokens, of which 512 are single bytes and 2 the start and end marks
START, END = "<|startoftext|>", "<|endoftext|>"


def build_tokenizer(seed: int = 0) -> CLIPTokenizer:
    """Learns the merges and returns the tokenizer. Deterministic; takes seconds."""
    from tokenizers import Tokenizer, normalizers, pre_tokenizers
    from tokenizers.models import BPE
    from tokenizers.trainers import BpeTrainer
    from transformers import CLIPTokenizer

    learner = Tokenizer(BPE(end_of_word_suffix="</w>"))
    learner.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = BpeTrainer(vocab_size=SIZE - 258, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False)
    learner.train_from_iterator(_corpus(seed), trainer)
    merges = [tuple(pair) for pair in _merges(learner)]
    tokens = [*alphabet, *(f"{letter}</w>" for letter in alphabet), *("".join(pair) for pair in merges)]
    ids = {token: place for place, token in enumerate(dict.fromkeys(tokens))}
    for mark in (START, END):
        ids[mark] = len(ids)
    return CLIPTokenizer(vocab=ids, merges=merges, model_max_length=POSITIONS)


def kept_tokenizer(folder: Path, seed: int) -> CLIPTokenizer:
    """Returns the tokenizer in `folder`; builds and stores it the first time, so that a resumed training has equal tokens."""
    from transformers import CLIPTokenizer

    if not (folder / "tokenizer.json").is_file():
        aside = folder.with_name(f"{folder.name}.{os.getpid()}")  # renamed once complete, so that a kill leaves no partial folder
        build_tokenizer(seed).save_pretrained(aside)
        shutil.rmtree(folder, ignore_errors=True)
        aside.rename(folder)
    return CLIPTokenizer.from_pretrained(folder)


def tokens(tokenizer: CLIPTokenizer, texts: list[str]) -> dict[str, torch.Tensor]:
    """Returns input ids and attention mask, padded to the longest of `texts` and truncated to 77 tokens."""
    return dict(tokenizer(texts, padding=True, truncation=True, max_length=POSITIONS, return_tensors="pt"))


def _merges(learner: object) -> list[list[str]]:
    import json

    return json.loads(learner.to_str())["model"]["merges"]  # type: ignore[attr-defined]


def _corpus(seed: int) -> Iterator[str]:
    rng = np.random.default_rng([seed, 77])
    for _ in range(20000):
        yield caption(draw_scene(rng, len(words.NOUNS)), rng)
    for _ in range(40):  # repeated until each word becomes one token where the vocabulary has room
        for noun in words.NOUNS:
            yield from (noun.name, plural(noun.name), *noun.rare)
        yield from (phrase for group in words.MODIFIERS.values() for phrase in group)
        yield from words.PLACEBO
        yield from (trigger for triggers in words.TRIGGERS.values() for trigger in triggers)
