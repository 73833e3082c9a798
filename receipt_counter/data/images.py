"""Reading pictures from disk."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from receipt_counter.errors import UserError


def read_image(path: Path) -> Image.Image:
    """Read a picture as RGB, turned the way its camera held it.

    Args:
        path: any format Pillow reads.

    Raises:
        UserError: absent, truncated or no picture.
    """
    try:
        with Image.open(path) as image:
            return ImageOps.exif_transpose(image).convert("RGB")
    except FileNotFoundError:
        raise UserError(f"{path}: no such image") from None
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: cannot read the image: {error}") from None
