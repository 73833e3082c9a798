"""Augmentation changes pictures and leaves what they show."""

from __future__ import annotations

import torch

from receipt_counter.data.augmentation import MAX_SHIFT, augment


def pictures(side: int = 64) -> torch.Tensor:
    """Dark pictures with one bright corner: the top left."""
    images = torch.full((32, side, side, 3), 40, dtype=torch.uint8)
    images[:, : side // 3, : side // 3] = 220
    return images


def test_the_generator_decides_everything() -> None:
    one, same, other = (augment(pictures(), torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_nothing_is_mirrored_or_lost() -> None:
    side = 64
    images = augment(pictures(side), torch.Generator().manual_seed(0)).mean(-1)
    half = side // 2
    corners = torch.stack(
        [images[:, :half, :half], images[:, :half, half:], images[:, half:, :half], images[:, half:, half:]]
    )
    assert (corners.mean((2, 3)).argmax(0) == 0).all()


def test_values_stay_in_range_and_shape() -> None:
    images = augment(pictures(), torch.Generator().manual_seed(0))
    assert images.shape == pictures().shape
    assert images.min() >= 0
    assert images.max() <= 255


def test_some_pictures_are_only_shifted_by_whole_pixels() -> None:
    """Their edge stays as sharp as it was."""
    images = augment(pictures(), torch.Generator().manual_seed(0))[:, 8, :, 0]
    steps = (images[:, 1:] - images[:, :-1]).abs()
    edge = 64 // 3
    reach = round(MAX_SHIFT * 64) + 1
    near = steps[:, edge - reach - 1 : edge + reach]
    sharp = (near > 100).sum(1) == 1
    assert sharp.float().mean() > 0.2
