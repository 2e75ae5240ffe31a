"""Draws Drawings as pictures, batch after batch, on one device.

Groups drawings that can share a batch, pads batches to fixed sizes, redraws what came out as NaN, and yields each picture as soon as its
batch is decoded, so that no population needs more memory than one batch. Knows nothing of scores, budgets or databases.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from limner.promptdb.errors import BadInput
from limner.promptdb.records import Drawing, SamplerSettings
from limner.tools.diffusion.base import CancelToken, Drawn, Hooks
from limner.tools.diffusion.checkpoint import Checkpoint
from limner.tools.diffusion.sampling.chunks import MOST_CHUNKS
from limner.tools.diffusion.sampling.conditioning import TextEncoding
from limner.tools.diffusion.sampling.noise import MAX_SEED
from limner.tools.diffusion.sampling.population import Batch, Population, Sizes, shared_calls
from limner.tools.diffusion.sampling.script import Scripts
from limner.tools.diffusion.sampling.timing import Timing, timing

if TYPE_CHECKING:
    import torch

CPU_LATENTS = 4096
"""Latent positions in one batch on a CPU, so that it fits into the caches: 16 pictures of 64 pixels, one of 512."""

MAX_BUCKET = {"cpu": 16}
MAX_BUCKET_ELSEWHERE = 64

ROW_BYTES = 32768
"""Memory of one guided row per latent position and byte of dtype, estimated for SD 1.x; where it is too low, batches are halved."""

DECODE_PIXELS = 4 * 512 * 512
"""Pixels decoded at once: the peak of memory is the VAE's, not the UNet's."""

FULL_ENOUGH = {"cpu": 7 / 8}
FULL_ENOUGH_ELSEWHERE = 3 / 4
"""Share from which on a batch is padded to the next size instead of split. On an accelerator launches cost more than padding."""


class Sampler:
    """The local ImageModel. `truncate`: texts over the encoder's limit are cut, not read in chunks. `max_bucket`: largest batch size."""

    def __init__(self, checkpoint: Checkpoint, truncate: bool = False, max_bucket: int | None = None) -> None:
        if max_bucket is not None and max_bucket < 1:
            raise BadInput(f"the batch size must be at least 1, not {max_bucket}")
        self.checkpoint = checkpoint
        self.texts = TextEncoding(checkpoint, truncate)
        self.scripts = Scripts(self.texts)
        self.rows_drawn = 0
        """UNet rows spent so far, redrawing included and padding not."""
        self._cap = max_bucket or MAX_BUCKET_ELSEWHERE
        self._timings: dict[tuple[str, int], Timing] = {}

    @property
    def name(self) -> str:
        """Returns the checkpoint's name."""
        return self.checkpoint.name

    @property
    def fingerprint(self) -> str:
        """Returns the hash of the checkpoint's weights."""
        return self.checkpoint.fingerprint

    @property
    def default_settings(self) -> SamplerSettings:
        """Returns the settings that the checkpoint's card recommends."""
        return self.checkpoint.default_settings

    def token_count(self, text: str) -> tuple[int, int]:
        """Returns the tokens of `text` without start and end marks, and those of one window of the text encoder."""
        return self.texts.token_count(text)

    @property
    def most_windows(self) -> int:
        """Returns how many windows of a text are read side by side."""
        return 1 if self.texts.truncate else MOST_CHUNKS

    def unet_rows(self, drawings: Sequence[Drawing]) -> int:
        """Returns the UNet rows of drawing them all at once: a row that several share counts once.

        Solvers of second order make more calls than steps. Raises as `check` does.
        """
        rows = 0
        for group in self._groups(drawings):
            guided, timing = group[0].settings.guidance_scale > 1, self.timing(group[0].settings)
            said = [((item.seed, item.settings.guidance_scale), self.scripts.script(item.conditioning, timing, guided)) for item in group]
            rows += shared_calls(said, timing.calls) * (2 if guided else 1)
        return rows

    def draw(
        self,
        drawings: Sequence[Drawing],
        on_drawn: Callable[[Drawn], None] | None = None,
        *,
        cancel: CancelToken | None = None,
        hooks: Hooks | None = None,
    ) -> list[Drawn]:
        """Draws, in order. Equal drawings are drawn once. `on_drawn`: called with each distinct one as soon as its batch is decoded.

        Raises PromptTooLong and BadInput before anything is drawn. An error later on, such as that of `cancel` or Ctrl-C, loses the batch
        in work alone.
        """
        done: dict[str, Drawn] = {}
        for drawn in self.stream(drawings, cancellable(hooks, cancel) if cancel else hooks):
            done[drawn.drawing.id] = drawn
            if on_drawn:
                on_drawn(drawn)
        return [done[drawing.id] for drawing in drawings]

    def stream(self, drawings: Sequence[Drawing], hooks: Hooks | None = None) -> Iterator[Drawn]:
        """Draws as `draw` does, but yields each distinct drawing as soon as it is ready and stores none."""
        self.check(drawings)
        for group in self._groups(drawings):
            settings = group[0].settings
            population = self._population(group, hooks)
            sizes = Sizes(partial(self.bucket, settings=settings), self._smaller)
            before = 0
            for batch in population.batches(sizes, partial(self._decode, settings=settings), hooks):
                self.rows_drawn += population.rows - before
                before = population.rows
                yield from self._finished(batch, hooks)

    def check(self, drawings: Sequence[Drawing]) -> None:
        """Raises BadInput or PromptTooLong for the first drawing that this checkpoint cannot draw."""
        for settings in dict.fromkeys(drawing.settings for drawing in drawings):
            self._check_settings(settings)
        for drawing in drawings:
            if drawing.checkpoint != self.fingerprint:
                raise BadInput(f"the drawing was made for checkpoint {drawing.checkpoint}, and {self.name} is {self.fingerprint}")
            if not 0 <= drawing.seed <= MAX_SEED:
                raise BadInput(f"a seed must lie between 0 and {MAX_SEED}, not {drawing.seed}")
        for drawing in drawings:
            self.scripts.script(drawing.conditioning, self.timing(drawing.settings), drawing.settings.guidance_scale > 1)

    def bucket(self, count: int, settings: SamplerSettings) -> int:
        """Returns the batch size for the next of `count` drawings: a power of two, the same for the same count, settings and kind of
        device.
        """
        largest = min(self._cap, self._roomy(settings))
        largest = 2 ** int(math.log2(largest))
        if count >= largest:
            return largest
        padded = 2 ** math.ceil(math.log2(count))
        enough = FULL_ENOUGH.get(self.checkpoint.device.type, FULL_ENOUGH_ELSEWHERE)
        return padded if count >= enough * padded else padded // 2

    def render(self, batch: Sequence[Drawing], bucket: int, hooks: Hooks | None = None) -> torch.Tensor:
        """Returns the pictures of one batch as floats: (drawings, 3, height, width), fp32, not clamped.

        The batch shares all settings but the guidance scale, and is padded to `bucket` rows by its last drawing; every drawing has a row of
        its own.
        """
        population = Population(self.checkpoint, self.scripts, self.timing(batch[0].settings), batch, shared=False)
        sizes = Sizes(lambda count: bucket, lambda size: False)
        [whole] = population.batches(sizes, partial(self._decode, settings=batch[0].settings), hooks)
        self.rows_drawn += population.rows
        return whole.pictures

    def _groups(self, drawings: Sequence[Drawing]) -> list[list[Drawing]]:
        """Distinct drawings that can share a batch, in the order asked for. Guidance scales may differ within it, guidance on or off not,
        nor the number of windows that their texts take.
        """
        groups: dict[tuple[str, int, int, int, bool, int], dict[str, Drawing]] = {}
        for drawing in drawings:
            item = drawing.settings
            guided = item.guidance_scale > 1
            windows = self.scripts.script(drawing.conditioning, self.timing(item), guided).length
            key = (item.scheduler, item.steps, item.width, item.height, guided, windows)
            groups.setdefault(key, {})[drawing.id] = drawing
        return [list(group.values()) for group in groups.values()]

    def _population(self, group: Sequence[Drawing], hooks: Hooks | None) -> Population:
        """With hooks that take part, every drawing has a row of its own."""
        taking_part = hooks is not None and (hooks.on_batch is not None or hooks.embeddings is not None)
        return Population(self.checkpoint, self.scripts, self.timing(group[0].settings), group, shared=not taking_part)

    def timing(self, settings: SamplerSettings) -> Timing:
        """Returns where each model call of these settings stands in the denoising. Raises BadInput where they cannot be served."""
        key = settings.scheduler, settings.steps
        if key not in self._timings:
            self._timings[key] = timing(self.checkpoint, *key)
        return self._timings[key]

    def _smaller(self, bucket: int) -> bool:
        self._cap = max(1, bucket // 2)
        return bucket > 1

    def _decode(self, latents: torch.Tensor, count: int, settings: SamplerSettings) -> torch.Tensor:
        """The pictures of the first `count` latents. Padding that falls into a chunk is decoded too, so that the chunk's shape is always
        the same.
        """
        import torch

        chunk = min(len(latents), 2 ** int(math.log2(max(1, DECODE_PIXELS // (settings.width * settings.height)))))
        pictures = [self.checkpoint.decode(latents[start : start + chunk]) for start in range(0, count, chunk)]
        return torch.cat(pictures)[:count]

    def _finished(self, batch: Batch, hooks: Hooks | None) -> Iterator[Drawn]:
        for drawings, picture in zip(batch.drawings, batch.pictures, strict=True):
            size, image = batch.bucket, _to_image(picture)
            if image is None and self.checkpoint.dtype.itemsize < 4:
                with self.checkpoint.in_float32():
                    size, image = 1, _to_image(self.render(drawings[:1], 1, hooks)[0])
            for drawing in drawings:
                yield Drawn(drawing, image, size, self.checkpoint.device_name)

    def _roomy(self, settings: SamplerSettings) -> int:
        """How many drawings fit in a batch, by the machine's whole memory, so that batch sizes do not change from run to run."""
        import torch

        positions = settings.width * settings.height // self.checkpoint.vae_factor**2
        device = self.checkpoint.device
        if device.type == "cpu":
            return max(1, min(MAX_BUCKET["cpu"], CPU_LATENTS // positions))
        if device.type != "cuda":
            return max(1, min(MAX_BUCKET_ELSEWHERE, 2 * CPU_LATENTS // positions))
        memory = torch.cuda.get_device_properties(device).total_memory
        return max(1, min(MAX_BUCKET_ELSEWHERE, memory // 2 // (positions * self.checkpoint.dtype.itemsize * ROW_BYTES)))

    def _check_settings(self, settings: SamplerSettings) -> None:
        dtype = str(self.checkpoint.dtype).removeprefix("torch.")
        if settings.dtype != dtype:
            raise BadInput(f"the drawing asks for {settings.dtype} and {self.name} was opened in {dtype}: open it with that dtype")
        factor = self.checkpoint.vae_factor
        for side, pixels in (("width", settings.width), ("height", settings.height)):
            if pixels < factor or pixels % factor:
                raise BadInput(f"the {side} must be a multiple of {factor} pixels for {self.name}, not {pixels}")
        if not math.isfinite(settings.guidance_scale):
            raise BadInput(f"the guidance scale must be a finite number, not {settings.guidance_scale}")
        self.checkpoint.scheduler(settings.scheduler, settings.steps)


def cancellable(hooks: Hooks | None, cancel: CancelToken) -> Hooks:
    """Returns the hooks, with `cancel` checked before each model call."""
    own = hooks or Hooks()

    def on_step(step: int, timestep: torch.Tensor, latents: torch.Tensor) -> None:
        cancel.check()
        if own.on_step:
            own.on_step(step, timestep, latents)

    return replace(own, on_step=on_step)


def _to_image(picture: torch.Tensor) -> Image.Image | None:
    """(3, height, width) floats to RGB, rounded as diffusers does; None where a number is NaN or infinite."""
    if not bool(picture.isfinite().all()):
        return None
    pixels = picture.clamp(0, 1).permute(1, 2, 0).cpu().numpy()
    return Image.fromarray((pixels * 255).round().astype(np.uint8))
