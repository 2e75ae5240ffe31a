"""Tokenizes and encodes texts: token limits, chunks of long texts, and embeddings per denoising step.

Each distinct text is encoded once and cached. Text encoders run at one fixed batch shape, so that an embedding is bit-identical whatever
else is encoded at the same time.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from limner.promptdb.errors import BadInput
from limner.promptdb.records import Chunking
from limner.tools.diffusion.base import PromptTooLong
from limner.tools.diffusion.sampling.chunks import MOST_CHUNKS, TokenPlace, chunks

if TYPE_CHECKING:
    import torch

    from limner.tools.diffusion.checkpoint import Checkpoint

TokenIds = tuple[tuple[int, ...], ...]
"""Padded token ids of one text, one tuple for each text encoder."""

TEXT_ROWS = {"cpu": 1}
TEXT_ROWS_ELSEWHERE = 16
"""Rows of every text encoder call. A CPU is as fast with single rows, and a single text then needs no padding."""


class StepEmbeddings(Protocol):
    """The embedding of one prompt at each model call."""

    def at(self, step: int) -> torch.Tensor:
        """Returns the embedding (tokens, dim) for model call `step`, from 0; the same object where it equals that of the last call."""
        ...


@dataclass(frozen=True, slots=True)
class SameEveryStep:
    """A plain prompt: one embedding at every step."""

    embedding: torch.Tensor

    def at(self, step: int) -> torch.Tensor:
        """Returns the embedding (tokens, dim), whatever the step."""
        return self.embedding


@dataclass(frozen=True, slots=True)
class TextChunk:
    """One window of a text. `ids`: padded, as `TokenIds`. `tokens`: which tokens of the text it holds, counted from 0."""

    ids: TokenIds
    tokens: range


class TextEncoding:
    """Tokenizes and encodes texts for one checkpoint. `truncate`: of a text over the token limit only the first chunk is read;
    `capacity`: cached chunks.
    """

    def __init__(self, checkpoint: Checkpoint, truncate: bool = False, capacity: int = 1024) -> None:
        self.checkpoint = checkpoint
        self.truncate = truncate
        self.capacity = capacity
        self._known: OrderedDict[tuple[str, str, TokenIds], torch.Tensor] = OrderedDict()
        self.reading = threading.Lock()
        """Held while a tokenizer works: a fast one breaks when two threads set its padding and truncation."""

    def token_count(self, text: str) -> tuple[int, int]:
        """Returns the number of tokens of `text` without start and end marks, and the limit, for the encoder with the least room."""
        counts = []
        for tokenizer, limit in zip(self.checkpoint.tokenizers, self._limits(), strict=True):
            with self.reading:
                ids = tokenizer(text, add_special_tokens=False, truncation=False, verbose=False).input_ids
            counts.append((len(ids), limit - 2))
        return max(counts, key=lambda pair: pair[0] - pair[1])

    def chunks(self, text: str, breaks: Sequence[int] = (), chunking: Chunking = "comma") -> tuple[TextChunk, ...]:
        """Returns the windows of a text, at least one, which the encoders read one by one; with `truncate` the first alone.

        `breaks`: offsets at which a window begins. Raises PromptTooLong for more than MOST_CHUNKS, and BadInput for a long text that the
        encoders of the checkpoint divide into different tokens.
        """
        tokens, limit = self.token_count(text)
        if not breaks and (tokens <= limit or self.truncate):
            return (TextChunk(self.token_ids([text])[0], range(min(tokens, limit))),)
        columns = [self._places(tokenizer, text) for tokenizer in self.checkpoint.tokenizers]
        places = columns[0]
        if any([place.start for place in other] != [place.start for place in places] for other in columns):
            raise BadInput("the text encoders of this checkpoint divide the prompt differently, so that it cannot be read in chunks")
        found = chunks(text, places, breaks, chunking, limit)
        if self.truncate:
            found = found[:1]
        if len(found) > MOST_CHUNKS:
            raise PromptTooLong(text, tokens, limit * MOST_CHUNKS)
        pairs = list(zip(self.checkpoint.tokenizers, self._limits(), columns, strict=True))

        def ids(part: range) -> TokenIds:
            return tuple(_padded(tokenizer, [column[at].id for at in part], most) for tokenizer, most, column in pairs)

        return tuple(TextChunk(ids(part), part) for part in found)

    def _places(self, tokenizer: Any, text: str) -> list[TokenPlace]:
        with self.reading:
            read = tokenizer(text, add_special_tokens=False, truncation=False, verbose=False, return_offsets_mapping=True)
        pieces = tokenizer.convert_ids_to_tokens(read.input_ids)
        return [TokenPlace(*place, *ends) for *place, ends in zip(read.input_ids, pieces, read.offset_mapping, strict=True)]

    def encode(self, texts: Iterable[str]) -> dict[str, torch.Tensor]:
        """Returns the embedding (tokens, dim) of each distinct text, on the checkpoint's device and in its dtype; longer texts are
        truncated.
        """
        distinct = list(dict.fromkeys(texts))
        ids = dict(zip(distinct, self.token_ids(distinct), strict=True))
        known = self.embed(ids.values())
        return {text: known[each] for text, each in ids.items()}

    def embed(self, texts: Iterable[TokenIds]) -> dict[TokenIds, torch.Tensor]:
        """Returns the embedding (tokens, dim) of each distinct sequence of token ids; each is encoded once."""
        owner = (self.checkpoint.fingerprint, str(self.checkpoint.unet.dtype))
        found: dict[TokenIds, torch.Tensor] = {}
        missing = []
        for ids in dict.fromkeys(texts):
            if (*owner, ids) in self._known:
                found[ids] = self._known[*owner, ids]
            else:
                missing.append(ids)
        rows = TEXT_ROWS.get(self.checkpoint.device.type, TEXT_ROWS_ELSEWHERE)
        for start in range(0, len(missing), rows):
            chunk = missing[start : start + rows]
            found.update(zip(chunk, self._run(chunk, rows), strict=True))
        for ids, embedding in found.items():
            self._known[*owner, ids] = embedding
            self._known.move_to_end((*owner, ids))
        while len(self._known) > self.capacity:
            self._known.popitem(last=False)
        return found

    def token_ids(self, texts: Sequence[str]) -> list[TokenIds]:
        """Returns padded token ids of each text; longer texts are truncated."""
        if not texts:
            return []
        columns = []
        for tokenizer, limit in zip(self.checkpoint.tokenizers, self._limits(), strict=True):
            with self.reading:
                padded = tokenizer(list(texts), padding="max_length", max_length=limit, truncation=True)
            columns.append([tuple(ids) for ids in padded.input_ids])
        return list(zip(*columns, strict=True))

    def _limits(self) -> list[int]:
        """Returns the number of positions of each encoder, start and end marks included."""
        pairs = zip(self.checkpoint.tokenizers, self.checkpoint.text_encoders, strict=True)
        return [min(int(tokenizer.model_max_length), encoder.config.max_position_embeddings) for tokenizer, encoder in pairs]

    def _run(self, ids: list[TokenIds], rows: int) -> list[torch.Tensor]:
        """Runs all encoders on up to `rows` texts, padded to `rows`; returns their features side by side (as SDXL's are)."""
        import torch

        ids = ids + ids[-1:] * (rows - len(ids))
        features = []
        with torch.no_grad():  # not inference mode: gradient code reuses these
            for column, encoder in enumerate(self.checkpoint.text_encoders):
                tokens = torch.tensor([row[column] for row in ids], device=self.checkpoint.device)
                features.append(encoder(tokens, attention_mask=self._attention_mask(tokens, column))[0])
            return list(torch.cat(features, dim=-1).unbind())

    def _attention_mask(self, tokens: torch.Tensor, column: int) -> torch.Tensor | None:
        """Returns None unless a configuration asks for a mask: CLIP attends to its padding, as in stock pipelines."""
        if not getattr(self.checkpoint.text_encoders[column].config, "use_attention_mask", False):
            return None
        return (tokens != self.checkpoint.tokenizers[column].pad_token_id).long()


def _padded(tokenizer: Any, ids: Sequence[int], length: int) -> tuple[int, ...]:
    """Returns the ids between start and end mark, padded to `length`."""
    marked = [tokenizer.bos_token_id, *ids, tokenizer.eos_token_id]
    return (*marked, *[tokenizer.pad_token_id] * (length - len(marked)))
