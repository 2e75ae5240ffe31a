"""The judge's network: predicts which things are in a picture, where, in which colour and number, before which background, in which style,
with which defects.

Small and convolutional, unlike the scorers, so that it does not share their blind spots.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Seen:
    """The network's outputs for a batch of pictures; logits unless noted otherwise.

    presence (b, nouns); colour (b, nouns, colours + 1), the last being the natural colour; centre (b, nouns, 2), the predicted x and y of
    each noun in [0, 1]; background (b, backgrounds); style (b, styles); defects (b, defects); count (b, counts), the number of one kind
    from one on, None for a network that does not count.
    """

    presence: Tensor
    colour: Tensor
    centre: Tensor
    background: Tensor
    style: Tensor
    defects: Tensor
    count: Tensor | None = None


class JudgeNetwork(nn.Module):
    """Predicts the attributes of pictures (b, 3, 64, 64) with pixels in [0, 1]."""

    def __init__(
        self,
        nouns: int,
        colours: int,
        backgrounds: int,
        styles: int,
        defects: int,
        counts: int = 0,
        channels: tuple[int, ...] = (24, 48, 96, 128),
    ) -> None:
        super().__init__()
        self.sizes = {"nouns": nouns, "colours": colours, "backgrounds": backgrounds, "styles": styles, "defects": defects}
        self.sizes |= {"counts": counts} if counts else {}
        self.channels = channels
        self.stages = nn.ModuleList(_stage(into, out, first=into == 3) for into, out in zip((3, *channels), channels, strict=False))
        deep, side = channels[-1], 64 >> (len(channels) - 1)
        self.where = nn.Conv2d(deep, nouns, 1)
        self.value = nn.Conv2d(deep, 64, 1)
        summary = 2 * sum(channels)
        self.light = nn.Linear(summary, 64)  # a colour is recognised relative to the light of the whole picture
        self.colour = nn.Sequential(nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, colours + 1))
        self.background = nn.Linear(summary, backgrounds)
        self.style = nn.Sequential(nn.Linear(summary, 96), nn.SiLU(), nn.Linear(96, styles))
        self.defects = nn.Sequential(nn.Linear(summary, 96), nn.SiLU(), nn.Linear(96, defects))
        # The count head sees positions: two small things and one large one may have similar averages.
        self.count = _count_head(deep, side, counts) if counts else None
        line = (torch.arange(side) + 0.5) / side
        self.register_buffer("grid", torch.stack(torch.meshgrid(line, line, indexing="xy"), -1).reshape(-1, 2), persistent=False)

    def forward(self, pixels: Tensor) -> Seen:
        """Returns the predictions for `pixels` (b, 3, 64, 64) in [0, 1]."""
        x, summary = pixels * 2 - 1, []
        for stage in self.stages:
            x = stage(x)
            summary += [x.mean((2, 3)), x.flatten(2).std(2)]
        where = self.where(x).flatten(2).float()
        attention = where.softmax(-1)
        pooled = attention @ self.value(x).flatten(2).float().transpose(1, 2)
        whole = torch.cat(summary, 1).float()
        return Seen(
            presence=where.logsumexp(-1) - 4,
            colour=self.colour(pooled + self.light(whole)[:, None]),
            centre=attention @ self.grid,
            background=self.background(whole),
            style=self.style(whole),
            defects=self.defects(whole),
            count=self.count(x).float() if self.count is not None else None,
        )


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, channels)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(nn.functional.silu(self.norm(x)))


def _count_head(deep: int, side: int, counts: int) -> nn.Sequential:
    places = nn.Sequential(nn.Conv2d(deep, 12, 1), nn.SiLU(), nn.Flatten())
    return nn.Sequential(*places, nn.Linear(12 * side * side, 64), nn.SiLU(), nn.Linear(64, counts))


def _stage(into: int, out: int, first: bool) -> nn.Sequential:
    entry = nn.Conv2d(into, out, 3, padding=1) if first else nn.Conv2d(into, out, 3, stride=2, padding=1)
    return nn.Sequential(entry, _Residual(out)) if first else nn.Sequential(entry, _Residual(out), _Residual(out))
