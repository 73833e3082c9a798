"""The count head: pooled vision features -> hidden layers -> count classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from receipt_counter.model.batch_norm import BatchNorm

ACTIVATIONS: dict[str, type[nn.Module]] = {"gelu": nn.GELU, "relu": nn.ReLU, "silu": nn.SiLU}


NORMS: dict[str, type[nn.Module]] = {"batch": BatchNorm, "layer": nn.LayerNorm, "none": nn.Identity}


class CountHead(nn.Module):
    """An MLP on the mean and the maximum of an image's patch features.

    The mean says how much of the picture is paper, the maximum which kinds of thing are anywhere in it.

    Args:
        width: channels of the patch features.
        hidden: widths of the hidden layers.
        dropout: dropout after each hidden layer, as many as `hidden`.
        norm: a key of `NORMS`.
        activation: a key of `ACTIVATIONS`.
        classes: how many logits come out.
    """

    def __init__(
        self,
        width: int,
        *,
        hidden: Sequence[int],
        dropout: Sequence[float],
        norm: str,
        activation: str,
        classes: int,
    ) -> None:
        super().__init__()
        # Pretrained towers have no final norm and a few very large channels.
        layers: list[nn.Module] = [nn.LayerNorm(2 * width)]
        incoming = 2 * width
        for size, rate in zip(hidden, dropout, strict=True):
            layers += [nn.Linear(incoming, size), NORMS[norm](size), ACTIVATIONS[activation](), nn.Dropout(rate)]
            incoming = size
        self.layers = nn.Sequential(*layers, nn.Linear(incoming, classes))

    def forward(self, features: Tensor) -> Tensor:
        """Turns patch features [B,N,width] into logits [B,classes]."""
        logits: Tensor = self.layers(torch.cat([features.mean(1), features.amax(1)], dim=-1))
        return logits
