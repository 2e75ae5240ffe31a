"""How a training stage turns gradients into updates: AdamW for everything, or Muon for matrices and AdamW for the rest.

Muon (Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks") makes every direction of a weight matrix move alike,
so that what few pictures ask for, one noun among sixty, is learned at the pace of what all ask for. It is PyTorch's own; a
convolution's kernel is shown to it as the matrix (out, in x height x width), which shares the kernel's storage.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

BETAS = (0.9, 0.99)


class Optimizers:
    """Some of PyTorch's optimizers behind one face. `shown`: (weight, the matrix over its storage that an optimizer holds)."""

    def __init__(self, parts: list[torch.optim.Optimizer], shown: Sequence[tuple[torch.nn.Parameter, torch.nn.Parameter]] = ()) -> None:
        self.parts, self.shown = parts, shown

    def step(self, learning_rate: float) -> None:
        for weight, matrix in self.shown:
            matrix.grad = None if weight.grad is None else weight.grad.reshape(matrix.shape)
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = learning_rate
            part.step()

    def state_dict(self) -> list[dict[str, Any]]:
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        for part, state in zip(self.parts, states, strict=True):
            part.load_state_dict(state)


def adamw(module: torch.nn.Module, weight_decay: float) -> Optimizers:
    import torch

    weights = [weight for weight in module.parameters() if weight.requires_grad]
    return Optimizers([torch.optim.AdamW(weights, betas=BETAS, weight_decay=weight_decay)])


def muon(module: torch.nn.Module, weight_decay: float, apart: tuple[str, ...] = ()) -> Optimizers:
    """Muon for weights of two or more axes, AdamW for the others and those whose name holds one of `apart` (a network's first and
    last layers, embeddings: the paper's own exceptions). Both at one learning rate, Muon's updates scaled to AdamW's size (Liu et al.
    2025, "Muon is scalable for LLM training", sec. 2.2)."""
    import torch

    shown, rest = [], []
    for name, weight in module.named_parameters():
        if not weight.requires_grad:
            continue
        if weight.ndim >= 2 and not any(part in name for part in apart):
            shown.append((weight, torch.nn.Parameter(weight.detach().view(weight.shape[0], -1))))
        else:
            rest.append(weight)
    matrices = torch.optim.Muon([matrix for _, matrix in shown], weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
    return Optimizers([matrices, torch.optim.AdamW(rest, betas=BETAS, weight_decay=weight_decay)], shown)
