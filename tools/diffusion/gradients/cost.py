"""The cost of a gradient in UNet rows: its floating-point operations relative to those of one row, counted from shapes alone.

Counted, not timed, so that a search costs the same on a busy and on an idle machine. Decoding and the loss count for a gradient, though
decoding an ordinary picture does not count: the comparison favours pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from limner.promptdb.records import SamplerSettings
from limner.tools.diffusion.checkpoint import Checkpoint
from limner.tools.diffusion.gradients.shortcut import Decode, Shortcut

if TYPE_CHECKING:
    import torch

PictureLoss = Callable[["torch.Tensor"], "torch.Tensor"]
"""Returns a loss for each picture, (rows,), lower being better, of pictures (rows, 3, height, width) in [0, 1], not clamped."""


@dataclass(frozen=True, slots=True)
class GradientCost:
    """Costs in UNet rows.

    `call`: one branch of guidance, forward and backward; `rest`: decoding and loss, forward and backward; `text`: encoding one text;
    `text_back`: its backward pass; `guided`: whether a branch without gradient runs beside; `judged`: decoding and loss, forward alone.
    """

    call: float
    rest: float
    text: float
    text_back: float
    guided: bool
    judged: float = 0.0

    def gradient(self, shortcut: Shortcut, reused: bool = False, both: bool = False) -> float:
        """Returns the cost for one picture.

        `reused`: x_t is known, so the calls before it are free; `both`: both branches carry gradient.
        """
        branches = 2 if self.guided else 1
        graded = shortcut.graded * (branches * self.call if both else self.call + branches - 1)
        return (0.0 if reused else shortcut.done * branches) + graded + self.rest

    def previews(self, shortcut: Shortcut, count: int, reused: bool = False) -> float:
        """Returns the cost of `count` pictures predicted from one x_t after a single call, which differ in one branch's text.

        `reused`: x_t is known, so the calls before it are free.
        """
        branches = 2 if self.guided else 1
        return (0.0 if reused else shortcut.done * branches) + branches + count * (1 + self.judged)


def gradient_cost(checkpoint: Checkpoint, settings: SamplerSettings, loss: PictureLoss, decode: Decode | None = None) -> GradientCost:
    """Counts the costs for pictures with these settings; `decode` replaces the checkpoint's decoder. Nothing is computed."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    factor, channels = checkpoint.vae_factor, checkpoint.latent_channels
    dtype, width = checkpoint.dtype, int(checkpoint.unet.config.cross_attention_dim)
    tokens = int(checkpoint.text_encoder.config.max_position_embeddings)
    with FakeTensorMode(allow_non_fake_inputs=True):
        device = checkpoint.device
        latents = torch.zeros(1, channels, settings.height // factor, settings.width // factor, dtype=dtype, device=device)
        hidden = torch.zeros(1, tokens, width, dtype=dtype, device=device)
        timestep = torch.zeros((), dtype=torch.long, device=device)
        ids = torch.zeros(1, tokens, dtype=torch.long, device=device)

        def unet(context: torch.Tensor) -> torch.Tensor:
            return checkpoint.unet(latents, timestep, encoder_hidden_states=context, return_dict=False)[0]

        def picture(clean: torch.Tensor) -> torch.Tensor:
            return loss((decode or checkpoint.decode)(clean))

        def text(rows: torch.Tensor) -> torch.Tensor:
            return sum((encoder(ids)[0].sum() for encoder in checkpoint.text_encoders), start=rows.sum() * 0)

        row = _flops(unet, hidden, back=False)
        words = _flops(text, hidden, back=False)
        return GradientCost(
            call=_flops(unet, hidden) / row,
            rest=_flops(picture, latents) / row,
            text=words / row,
            text_back=words / row,
            guided=settings.guidance_scale > 1,
            judged=_flops(picture, latents, back=False) / row,
        )


def _flops(work: Callable[[Any], torch.Tensor], given: torch.Tensor, back: bool = True) -> int:
    """Returns the operations of `work`, with `back` including the gradient with respect to `given`."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.set_grad_enabled(back):
        leaf = given.detach().requires_grad_(back)
        result = work(leaf)
        if back:
            result.float().sum().backward()  # everything else is frozen, so only `given` gets a gradient
    return int(counter.get_total_flops())
