"""Batch normalisation that bears mixed precision, single images and frozen stages."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class BatchNorm(nn.BatchNorm1d):
    """Normalises [B,C] or [B,C,H,W] over all but the channels, in the precision of its running statistics.

    DeepSpeed keeps those in float32 while the parameters are bfloat16. A training batch of one row has no variance, and
    a frozen layer must not change: in both cases the running statistics are used and left as they are.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalises a batch."""
        precision = (self.running_mean if self.running_mean is not None else input).dtype
        normalised = functional.batch_norm(
            input.to(precision),
            self.running_mean,
            self.running_var,
            self.weight.to(precision),
            self.bias.to(precision),
            training=self.training and self.weight.requires_grad and len(input) > 1,
            momentum=self.momentum or 0.0,
            eps=self.eps,
        )
        return normalised.to(input.dtype)
