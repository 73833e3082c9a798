"""What papers lie on: wood, cloth, desk, carpet, card, stone, tiles.

A texture is made once per process and size, larger than a picture; every picture takes its own piece of one, turned
and tinted. Textures depend on their name and number only, never on which process makes them.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Field = NDArray[np.float32]  # [height, width], about -1 to 1

VARIANTS = 5
_MARGIN = 1.3  # side of a texture relative to a picture's
_COLOURS: dict[str, tuple[tuple[int, int, int], ...]] = {
    "wood": ((150, 104, 62), (96, 62, 38), (186, 146, 98), (120, 92, 70), (70, 48, 36)),
    "cloth": ((120, 36, 40), (46, 66, 110), (206, 200, 186), (64, 92, 70), (120, 110, 130)),
    "desk": ((206, 204, 200), (66, 68, 74), (150, 158, 166), (182, 168, 146), (92, 106, 98)),
    "carpet": ((110, 100, 90), (76, 84, 100), (134, 84, 70), (90, 104, 84), (150, 140, 124)),
    "card": ((176, 140, 98), (222, 216, 204), (120, 128, 140), (160, 172, 150), (200, 180, 150)),
    "stone": ((198, 196, 192), (84, 84, 88), (160, 152, 142), (130, 136, 140), (214, 206, 194)),
    "tiles": ((204, 206, 206), (160, 120, 96), (120, 140, 150), (186, 178, 160), (90, 96, 104)),
}


def surface(rng: np.random.Generator, side: int) -> Image.Image:
    """A piece of some surface, an RGB image of side x side pixels."""
    kinds = list(_COLOURS)
    kind = kinds[int(rng.integers(len(kinds)))]
    texture = _texture(kind, int(rng.integers(VARIANTS)), side)
    x, y = rng.integers(0, texture.width - side + 1, 2).tolist()
    piece = texture.crop((x, y, x + side, y + side))
    return piece.transpose(Image.Transpose.ROTATE_90) if rng.random() < 0.5 else piece


@lru_cache(maxsize=len(_COLOURS) * VARIANTS)
def _texture(kind: str, variant: int, side: int) -> Image.Image:
    rng = np.random.default_rng(zlib.crc32(f"{kind} {variant}".encode()))
    size = round(side * _MARGIN)
    relief = _RELIEFS[kind](rng, size)
    colour = np.array(_COLOURS[kind][variant % len(_COLOURS[kind])], np.float32)
    cast = 1 + 0.1 * rng.standard_normal(3).astype(np.float32)  # relief is not quite of the surface's own colour
    pixels = colour * (1 + relief[..., None] * cast)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def smooth_noise(rng: np.random.Generator, size: int, cells_x: int, cells_y: int) -> Field:
    """Random hills, float32 [size, size], about cells_x by cells_y of them."""
    coarse = rng.standard_normal((cells_y + 1, cells_x + 1)).astype(np.float32) * 0.5
    return np.asarray(Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC))


def _grain(rng: np.random.Generator, size: int, strength: float) -> Field:
    return (strength * rng.standard_normal((size, size))).astype(np.float32)


def _wood(rng: np.random.Generator, size: int) -> Field:
    bend = smooth_noise(rng, size, 3, 2)
    across = np.linspace(0, float(rng.uniform(14, 26)), size, dtype=np.float32)[:, None]
    rings = np.sin(across + 3.5 * bend + 1.5 * smooth_noise(rng, size, 2, 12))
    fibres = smooth_noise(rng, size, 6, min(size, 160))
    relief = 0.1 * rings + 0.12 * fibres + _grain(rng, size, 0.02)
    boards = int(rng.integers(0, 4))
    for i in range(1, boards + 1):
        edge = round(size * i / (boards + 1))
        relief[edge : edge + max(size // 200, 1)] -= 0.45
        relief[edge:] += float(rng.uniform(-0.06, 0.06))
    return np.asarray(relief, np.float32)


def _cloth(rng: np.random.Generator, size: int) -> Field:
    threads = np.arange(size, dtype=np.float32) * (2 * np.pi * float(rng.uniform(60, 100)) / size)
    weave = np.sin(threads)[:, None] * np.sin(threads)[None, :]
    relief = 0.12 * weave + 0.08 * smooth_noise(rng, size, 4, 4) + _grain(rng, size, 0.05)
    if rng.random() < 0.6:  # checks
        stripes = (
            np.sin(np.arange(size, dtype=np.float32) * (2 * np.pi * int(rng.integers(4, 9)) / size)) > 0.3
        ) * 0.16
        relief = relief + stripes[:, None] + stripes[None, :]
    return np.asarray(relief, np.float32)


def _desk(rng: np.random.Generator, size: int) -> Field:
    return 0.04 * smooth_noise(rng, size, 3, 3) + _grain(rng, size, 0.015)


def _carpet(rng: np.random.Generator, size: int) -> Field:
    tufts = smooth_noise(rng, size, min(size, 110), min(size, 110))
    return np.asarray(0.32 * tufts + 0.1 * smooth_noise(rng, size, 5, 5) + _grain(rng, size, 0.1), np.float32)


def _card(rng: np.random.Generator, size: int) -> Field:
    fibres = smooth_noise(rng, size, min(size, 90), min(size, 30))
    return 0.05 * fibres + 0.04 * smooth_noise(rng, size, 2, 2) + _grain(rng, size, 0.03)


def _stone(rng: np.random.Generator, size: int) -> Field:
    hills = (
        smooth_noise(rng, size, 4, 4) + 0.5 * smooth_noise(rng, size, 12, 12) + 0.2 * smooth_noise(rng, size, 40, 40)
    )
    veins = np.exp(-np.abs(hills) * 14)
    return np.asarray(0.12 * hills - 0.25 * veins + _grain(rng, size, 0.03), np.float32)


def _tiles(rng: np.random.Generator, size: int) -> Field:
    pitch, joint = size // int(rng.integers(3, 7)), max(size // 110, 1)
    relief = 0.05 * smooth_noise(rng, size, 10, 10) + _grain(rng, size, 0.02)
    offset = int(rng.integers(pitch))
    for start in range(offset, size, pitch):
        relief[start : start + joint] -= 0.28
        relief[:, start : start + joint] -= 0.28
    return np.asarray(relief, np.float32)


_RELIEFS: dict[str, Callable[[np.random.Generator, int], Field]] = {
    "wood": _wood,
    "cloth": _cloth,
    "desk": _desk,
    "carpet": _carpet,
    "card": _card,
    "stone": _stone,
    "tiles": _tiles,
}
