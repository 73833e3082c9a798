"""How many image tokens a picture becomes, and which sizes are possible."""

from __future__ import annotations

from receipt_counter.errors import UserError


def image_tokens(image_size: int, patch_size: int, downsample_ratio: float) -> int:
    """Tokens that stand for one square image in the language model.

    Args:
        image_size: side of the image, pixels (`data.image_size`).
        patch_size: side of a patch, pixels.
        downsample_ratio: of the pixel shuffle between the vision tower and the projector; 0.5 joins 2 x 2 patches.

    Raises:
        UserError: the patches do not fill the image, or cannot be joined.
    """
    step = round(patch_size / downsample_ratio)
    if image_size % step:
        below, above = image_size // step * step, (image_size // step + 1) * step
        nearest = f"{below} or {above}" if below else f"{above}"
        raise UserError(
            f"data.image_size is {image_size}, but must be a multiple of {step} "
            f"(patches of {patch_size} pixels, joined by {round(1 / downsample_ratio)}): nearest {nearest}"
        )
    return (image_size // step) ** 2


def require_divisor(key: str, heads: int, width: int, what: str) -> None:
    """Checks that a number of attention heads divides the width they share.

    Args:
        key: dotted name of the config key.
        heads: its value.
        width: channels to divide.
        what: whose width it is, for the message.

    Raises:
        UserError: it does not; the message names the nearest values that do.
    """
    if width % heads == 0:
        return
    divisors = [number for number in range(1, width + 1) if width % number == 0]
    below = max(number for number in divisors if number < heads)
    above = [number for number in divisors if number > heads][:1]
    nearest = " or ".join(map(str, [below, *above]))
    raise UserError(f"{key} is {heads}, but must divide {what}, which is {width}: nearest {nearest}")
