"""Soft prompts: mixtures of words, encoded by the whole text encoder, so that a gradient shows which word would do better.

The paper mixes token embeddings (DPO-Diff, sec. 6.1.2); everything after the embedding table is the encoder's own: positions, causal mask,
final norm, pooled output. One-hot weights give the encoding of the text itself.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from limner.tools.diffusion.sampling.conditioning import TextEncoding

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class TextContext:
    """The UNet's text input. `hidden`: (rows, tokens, dim), encoders side by side. `pooled`: (rows, dim) of the last encoder where it has a
    projection (SDXL), else None.
    """

    hidden: torch.Tensor
    pooled: torch.Tensor | None = None

    @property
    def requires_grad(self) -> bool:
        """Whether either tensor requires gradients."""
        return bool(self.hidden.requires_grad or (self.pooled is not None and self.pooled.requires_grad))

    def detached(self) -> TextContext:
        """Returns the context without gradients."""
        return TextContext(self.hidden.detach(), None if self.pooled is None else self.pooled.detach())

    def expand(self, rows: int) -> TextContext:
        """Returns the context repeated for `rows` pictures."""
        pooled = None if self.pooled is None else self.pooled.expand(rows, -1)
        return TextContext(self.hidden.expand(rows, -1, -1), pooled)

    def take(self, rows: slice) -> TextContext:
        """Returns the given rows."""
        return TextContext(self.hidden[rows], None if self.pooled is None else self.pooled[rows])


@dataclass(frozen=True, slots=True)
class Mixture:
    """A place in a text where several candidates are mixed.

    `chosen`: index of the candidate that is in the text; its tokens determine the number of embedding rows. `weights`: (candidates,),
    summing to 1.
    """

    candidates: tuple[str, ...]
    chosen: int
    weights: torch.Tensor


Pieces = Sequence[tuple[str, Mixture | None]]
"""A text in pieces, each with its mixture or None; a mixed piece is its chosen candidate."""


class SoftText:
    """Encodes soft prompts with the encoders of a TextEncoding."""

    def __init__(self, encoding: TextEncoding) -> None:
        self.encoding = encoding
        self._tables: dict[tuple[int, tuple[str, ...]], list[torch.Tensor]] = {}

    def hard(self, texts: Sequence[str]) -> TextContext:
        """Encodes plain texts as for drawing: (texts, tokens, dim), without gradient."""
        import torch

        known = self.encoding.encode(texts)
        return TextContext(torch.stack([known[text] for text in texts]))

    def soft(self, pieces: Pieces) -> TextContext:
        """Encodes one soft prompt: (1, tokens, dim), differentiable in the weights.

        A candidate with fewer tokens than its place has rows is padded with the padding token, one with more is averaged over them. A text
        over the encoder's limit is truncated as the tokenizer does it, so that the end mark stays.
        """
        import torch

        checkpoint = self.encoding.checkpoint
        text = "".join(piece for piece, _ in pieces)
        hidden, pooled = [], None
        for column, encoder in enumerate(checkpoint.text_encoders):
            ids, places = self._layout(column, text, pieces)
            rows = self._rows(column, encoder, ids, places)
            tokens = torch.tensor([ids], device=checkpoint.device)
            with _instead_of(encoder.get_input_embeddings(), rows[None]):
                output = encoder(tokens, attention_mask=self.encoding._attention_mask(tokens, column))
            hidden.append(output[0])
            pooled = getattr(output, "text_embeds", None)
        return TextContext(torch.cat(hidden, dim=-1), pooled)

    def _layout(self, column: int, text: str, pieces: Pieces) -> tuple[list[int], list[tuple[Mixture, list[int]]]]:
        """Returns the padded token ids of the text, and the rows of each mixture, found by character offsets."""
        tokenizer, limit = self.encoding.checkpoint.tokenizers[column], self.encoding._limits()[column]
        with self.encoding.reading:
            offsets = tokenizer(text, add_special_tokens=False, truncation=False, verbose=False, return_offsets_mapping=True).offset_mapping
            padded = tokenizer(text, padding="max_length", max_length=limit, truncation=True).input_ids
        places, start = [], 0
        for piece, mixture in pieces:
            if mixture is not None:
                end = start + len(piece)
                rows = [row for row, (left, right) in enumerate(offsets, 1) if left < end and start < right and row < limit - 1]
                places.append((mixture, rows))
            start += len(piece)
        return list(padded), places

    def _rows(self, column: int, encoder: Any, ids: Sequence[int], places: Sequence[tuple[Mixture, list[int]]]) -> torch.Tensor:
        """Returns token embeddings (tokens, width), mixed where there is a mixture."""
        import torch

        table = encoder.get_input_embeddings().weight
        rows = table[torch.tensor(ids, device=table.device)].clone()
        for mixture, at in places:
            if not at:
                continue
            options = self._options(column, table, mixture, [ids[row] for row in at])
            index = torch.tensor(at, device=table.device)
            rows = rows.index_copy(0, index, torch.einsum("c,cld->ld", mixture.weights.to(options), options))
        return rows

    def _options(self, column: int, table: torch.Tensor, mixture: Mixture, chosen: Sequence[int]) -> torch.Tensor:
        """Returns (candidates, rows of the place, width): every candidate laid out on the rows of the chosen one."""
        import torch

        key = column, mixture.candidates
        known = self._tables.get(key) or self._tables.setdefault(key, self._embedded(column, table, mixture.candidates))
        pad = table[self.encoding.checkpoint.tokenizers[column].pad_token_id]
        laid = [spread(rows, len(chosen), pad) for rows in known]
        laid[mixture.chosen] = table[torch.tensor(chosen, device=table.device)]
        return torch.stack(laid)

    def _embedded(self, column: int, table: torch.Tensor, candidates: tuple[str, ...]) -> list[torch.Tensor]:
        import torch

        tokenizer = self.encoding.checkpoint.tokenizers[column]
        with self.encoding.reading:
            ids = [tokenizer(text, add_special_tokens=False, truncation=False, verbose=False).input_ids for text in candidates]
        return [table[torch.tensor(row, dtype=torch.long, device=table.device)] for row in ids]


def spread(rows: torch.Tensor, width: int, pad: torch.Tensor) -> torch.Tensor:
    """Lays out `rows` (tokens, dim) on `width` rows: padded with `pad` (dim,) where they are fewer, averaged in order where they
    are more.
    """
    import torch

    if len(rows) <= width:
        return torch.cat([rows, pad.expand(width - len(rows), -1)])
    return torch.stack([part.mean(dim=0) for part in rows.tensor_split(width)])


@contextmanager
def _instead_of(table: Any, rows: torch.Tensor) -> Iterator[None]:
    """Makes the embedding table return `rows` inside the context, in this thread alone."""
    owner = threading.get_ident()
    handle = table.register_forward_hook(lambda module, arguments, output: rows if threading.get_ident() == owner else output)
    try:
        yield
    finally:
        handle.remove()
