"""Training-time changes of pictures that leave every answer true: light, noise, small turns and shifts.

Nothing is mirrored: mirrored text is no text.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

TURNED = 0.5  # share of the pictures
MAX_TURN = math.radians(4.0)
MAX_SHIFT = 0.03  # of the picture's side
MAX_SCALE = 0.05
MAX_BRIGHTNESS = 0.1
MAX_CONTRAST = 0.15
MAX_NOISE = 0.015


def augment(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Augment a batch of pictures.

    Args:
        pixels: uint8 [B, S, S, 3].
        generator: decides everything; the same state gives the same pictures.

    Returns:
        float [B, S, S, 3], 0 to 255.
    """
    images = _move(pixels.permute(0, 3, 1, 2).float(), generator)
    size = (len(images), 1, 1, 1)
    contrast = 1.0 + MAX_CONTRAST * _uniform(size, generator)
    brightness = MAX_BRIGHTNESS * _uniform(size, generator)
    images.sub_(127.5).mul_(contrast).add_(127.5 + 255.0 * brightness)
    strength = 255.0 * MAX_NOISE * torch.rand(size, generator=generator)
    # one grain for the three channels, as in a dim photograph
    images.add_(torch.randn((len(images), 1, *images.shape[2:]), generator=generator).mul_(strength))
    return images.clamp_(0.0, 255.0).permute(0, 2, 3, 1)


def _move(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift every picture by whole pixels, and turn and scale half of them.

    Turning interpolates, which blurs small print; a model that only ever saw blurred print would know no other.
    """
    count, side = len(images), images.shape[-1]
    moved = (torch.rand((count,), generator=generator) < TURNED).float()
    turn = MAX_TURN * _uniform((count,), generator) * moved
    scale = 1.0 + MAX_SCALE * _uniform((count,), generator) * moved
    pixels = torch.round(MAX_SHIFT * side * _uniform((count, 2), generator))
    shift = 2.0 / side * pixels  # grid coordinates span 2
    cosine, sine = torch.cos(turn) * scale, torch.sin(turn) * scale
    matrix = torch.stack(
        [torch.stack([cosine, -sine, shift[:, 0]], 1), torch.stack([sine, cosine, shift[:, 1]], 1)],
        1,
    )
    grid = functional.affine_grid(matrix, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _uniform(size: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Uniform in [-1, 1)."""
    return 2.0 * torch.rand(size, generator=generator) - 1.0
