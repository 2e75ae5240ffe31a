"""From texts to what the UNet attends to: tokens, their limit, and embeddings per denoising step.

Each distinct text is encoded once and kept while there is room. Text encoders are run at one fixed batch shape, so that an
embedding is the same to the bit whatever else is asked for at the same time. Knows nothing of latents or schedulers.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from limner.promptdb.records import Conditioning
from limner.tools.diffusion.base import PromptTooLong

if TYPE_CHECKING:
    import torch

    from limner.tools.diffusion.checkpoint import Checkpoint

TokenIds = tuple[tuple[int, ...], ...]
"""Padded token ids of one text, one tuple for each text encoder."""

TEXT_ROWS = {"cpu": 1}
TEXT_ROWS_ELSEWHERE = 16
"""Rows of every text encoder call. A CPU is as quick one by one, and then a lone text costs no padding."""


class StepEmbeddings(Protocol):
    """What one prompt says at each call of the UNet."""

    def at(self, step: int) -> torch.Tensor:
        """Embedding for model call `step`, counted from 0: (tokens, dim). The same object where nothing changed since the last call."""
        ...


@dataclass(frozen=True, slots=True)
class SameEveryStep:
    """A plain prompt: one embedding from first to last step."""

    embedding: torch.Tensor

    def at(self, step: int) -> torch.Tensor:
        return self.embedding


class TextEncoding:
    """Tokenizes and encodes for one checkpoint. `truncate` allows texts over the limit to be cut at it; `capacity` is in distinct texts."""

    def __init__(self, checkpoint: Checkpoint, truncate: bool = False, capacity: int = 1024) -> None:
        self.checkpoint = checkpoint
        self.truncate = truncate
        self.capacity = capacity
        self._known: OrderedDict[tuple[str, str, TokenIds], torch.Tensor] = OrderedDict()
        self.reading = threading.Lock()
        """Held while a tokenizer works: a fast one breaks when two threads set its padding and truncation."""

    def token_count(self, text: str) -> tuple[int, int]:
        """Tokens of `text` without start and end marks, and how many are read: the tightest of the encoders decides."""
        counts = []
        for tokenizer, limit in zip(self.checkpoint.tokenizers, self._limits(), strict=True):
            with self.reading:
                ids = tokenizer(text, add_special_tokens=False, truncation=False, verbose=False).input_ids
            counts.append((len(ids), limit - 2))
        return max(counts, key=lambda pair: pair[0] - pair[1])

    def check(self, conditioning: Conditioning, guided: bool) -> None:
        """Whether all of it can be read at once. Raises PromptTooLong. Unguided, negatives are not read."""
        if self.truncate:
            return
        for text in (conditioning.text, conditioning.negative) if guided else (conditioning.text,):
            tokens, limit = self.token_count(text)
            if tokens > limit:
                raise PromptTooLong(conditioning, tokens, limit)

    def encode(self, texts: Iterable[str]) -> dict[str, torch.Tensor]:
        """Embedding of each distinct text, (tokens, dim) on the checkpoint's device and in its dtype. Texts over the limit are cut."""
        distinct = list(dict.fromkeys(texts))
        ids = dict(zip(distinct, self.token_ids(distinct), strict=True))
        known = self.embed(ids.values())
        return {text: known[each] for text, each in ids.items()}

    def embed(self, texts: Iterable[TokenIds]) -> dict[TokenIds, torch.Tensor]:
        """As `encode`, by token ids: each distinct sequence is encoded once."""
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

    def prompts(self, conditionings: Sequence[Conditioning], guided: bool) -> tuple[list[StepEmbeddings], list[StepEmbeddings]]:
        """Positive and negative embeddings of plain prompts, a pair for each; no negatives where guidance is off. Raises ValueError for
        words that come and go or weigh: those are `scheduled.step_embeddings`'."""
        if any(item.spans or item.negative_spans for item in conditionings):
            raise ValueError("a prompt with effect spans does not say the same at every step")
        negatives = [item.negative for item in conditionings] if guided else []
        known = self.encode([*(item.text for item in conditionings), *negatives])
        return [SameEveryStep(known[item.text]) for item in conditionings], [SameEveryStep(known[text]) for text in negatives]

    def token_ids(self, texts: Sequence[str]) -> list[TokenIds]:
        """Padded token ids of each text. Texts over the limit are cut."""
        if not texts:
            return []
        columns = []
        for tokenizer, limit in zip(self.checkpoint.tokenizers, self._limits(), strict=True):
            with self.reading:
                padded = tokenizer(list(texts), padding="max_length", max_length=limit, truncation=True)
            columns.append([tuple(ids) for ids in padded.input_ids])
        return list(zip(*columns, strict=True))

    def _limits(self) -> list[int]:
        """Positions that each encoder reads, both marks included."""
        pairs = zip(self.checkpoint.tokenizers, self.checkpoint.text_encoders, strict=True)
        return [min(int(tokenizer.model_max_length), encoder.config.max_position_embeddings) for tokenizer, encoder in pairs]

    def _run(self, ids: list[TokenIds], rows: int) -> list[torch.Tensor]:
        """Run all encoders on up to `rows` texts, padded to `rows`; their features side by side (as SDXL's are)."""
        import torch

        ids = ids + ids[-1:] * (rows - len(ids))
        features = []
        with torch.no_grad():  # not inference mode: gradient code reuses these
            for column, encoder in enumerate(self.checkpoint.text_encoders):
                tokens = torch.tensor([row[column] for row in ids], device=self.checkpoint.device)
                features.append(encoder(tokens, attention_mask=self._attention_mask(tokens, column))[0])
            return list(torch.cat(features, dim=-1).unbind())

    def _attention_mask(self, tokens: torch.Tensor, column: int) -> torch.Tensor | None:
        """CLIP attends to its padding unless a configuration says otherwise, as stock pipelines do."""
        if not getattr(self.checkpoint.text_encoders[column].config, "use_attention_mask", False):
            return None
        return (tokens != self.checkpoint.tokenizers[column].pad_token_id).long()
