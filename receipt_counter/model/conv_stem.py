"""Convolutions in place of the vision tower's patch embedding."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from receipt_counter.model.batch_norm import BatchNorm


class ConvStem(nn.Module):
    """Halves the image with small normalised convolutions until one pixel is one patch.

    A vision transformer of a few layers has no depth to find strokes in raw patches; early convolutions give it
    edges to work with (Xiao et al. 2021, "Early Convolutions Help Transformers See Better"). One more convolution where
    a pixel is a quarter of the image's resolution sees whole lines of print.

    Args:
        channels: colour channels of the image.
        width: hidden size of the vision transformer.
        patch_size: side of a patch, pixels; a power of two, at least 8.
    """

    def __init__(self, channels: int, width: int, patch_size: int) -> None:
        super().__init__()
        halvings = patch_size.bit_length() - 1
        sizes = [max(width // 4, 8), max(width // 2, 8), *[width] * (halvings - 2)]
        layers: list[nn.Module] = []
        incoming = channels
        for index, size in enumerate(sizes):
            layers += _convolution(incoming, size, stride=2)
            incoming = size
            if index == 1:
                layers += _convolution(incoming, size, stride=1)
        self.layers = nn.Sequential(*layers)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Turns pixels [B,3,S,S] into patch embeddings [B,(S/patch)^2,width]."""
        patches: Tensor = self.layers(pixel_values)
        return patches.flatten(2).transpose(1, 2)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Kaiming initialisation, which the vision tower's own normal(0, 0.02) would replace."""
        for module in self.layers:
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")


def _convolution(incoming: int, outgoing: int, stride: int) -> list[nn.Module]:
    convolution = nn.Conv2d(incoming, outgoing, kernel_size=3, stride=stride, padding=1, bias=False)
    return [convolution, BatchNorm(outgoing), nn.ReLU()]
