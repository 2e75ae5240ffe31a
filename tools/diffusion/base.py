"""The interface of image models: they turn Drawings into pictures at a known cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from PIL import Image

from limner.promptdb.errors import BadInput
from limner.promptdb.records import Drawing, SamplerSettings

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Drawn:
    """A picture and how it was made.

    `image`: RGB, or None where the model drew NaN twice. `bucket`: the padded batch size of the last steps; earlier steps that were shared
    with other drawings may have had a smaller one.
    """

    drawing: Drawing
    image: Image.Image | None
    bucket: int
    device: str


class CancelToken(Protocol):
    """Lets the caller end a drawing, from any thread."""

    def check(self) -> None:
        """Called before each denoising step, and by a remote model before each request. Raises to end the drawing."""
        ...


@dataclass(frozen=True, slots=True)
class Hooks:
    """Functions that observe or change the denoising. Rows are those of the batch last announced, without padding.

    `on_step(step, timestep, latents)`: called before model call `step` with x_t of shape (rows, channels, height, width) in fp32. They are
    the sampler's own and made in inference mode: `clone` them to store them, outside inference mode where a gradient will be taken.

    `embeddings(step, embeddings)`: returns what the UNet attends to instead, of the same shape: (2 rows, tokens, dim), all negatives before
    all positives; without guidance (rows, tokens, dim).

    `on_batch(drawings)`: a batch begins; its rows are these drawings, in this order. It begins again with fewer rows where memory ran out.

    With one of the last two, every drawing has a row of its own from the first call on; else drawings that agree so far share one.
    """

    on_step: Callable[[int, torch.Tensor, torch.Tensor], None] | None = None
    embeddings: Callable[[int, torch.Tensor], torch.Tensor] | None = None
    on_batch: Callable[[Sequence[Drawing]], None] | None = None


class ImageModel(Protocol):
    """A model that draws, called by the Evaluator alone.

    Duties: a drawing's picture does not depend on its place in the batch; initial noise comes from the drawing's seed on the CPU in fp32;
    results come back in the order asked for; texts longer than `most_windows` are refused, never cut, unless the model was opened with
    truncation allowed.
    """

    @property
    def name(self) -> str:
        """Returns the name as typed after `--checkpoint`."""
        ...

    @property
    def fingerprint(self) -> str:
        """Returns the hash of the weights: `Drawing.checkpoint`."""
        ...

    @property
    def default_settings(self) -> SamplerSettings:
        """Returns the settings that the checkpoint's card recommends."""
        ...

    def token_count(self, text: str) -> tuple[int, int]:
        """Returns the tokens of `text` without start and end marks, and those of one window of the text encoder."""
        ...

    @property
    def most_windows(self) -> int:
        """Returns how many windows of a text are read side by side; 1 where a longer text is refused or cut."""
        ...

    def unet_rows(self, drawings: Sequence[Drawing]) -> int:
        """Returns the UNet rows that drawing them would cost; shared work is counted once."""
        ...

    def draw(
        self,
        drawings: Sequence[Drawing],
        on_drawn: Callable[[Drawn], None] | None = None,
        *,
        cancel: CancelToken | None = None,
        hooks: Hooks | None = None,
    ) -> list[Drawn]:
        """Draws, in order. `on_drawn`: called with each picture as soon as its batch is done.

        Raises PromptTooLong, ValueError for settings that this checkpoint cannot serve, BadInput for hooks in a black box, and what
        `cancel.check` raises.
        """
        ...


class PromptTooLong(BadInput):
    """A text has more tokens than the model reads; it is never cut without being asked to."""

    def __init__(self, text: str, tokens: int, limit: int) -> None:
        shown = text if len(text) <= 60 else text[:57] + "..."
        super().__init__(f"the prompt has {tokens} tokens and at most {limit} are read: {shown!r} (shorten it, or pass --truncate)")
        self.tokens = tokens
        self.limit = limit
