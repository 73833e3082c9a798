"""Pictures that show the same thing, though their bytes differ: re-encoded, shrunk, brightened.

A difference hash (dHash; Krawetz, "Kind of Like That", 2013) finds candidates; the correlation of small greyscale
copies confirms them, because receipts of one shop have the same hash and are different receipts all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

MOST_BITS = 10  # of 64 that may differ in candidates; re-encoded and brightened copies differ in up to 7
LEAST_CORRELATION = 0.97  # of their copies; different receipts of one shop reach 0.96
LOOK_SIDE = 64
_ROWS_AT_ONCE = 512


@dataclass(frozen=True)
class Look:
    """What a picture looks like, small enough to keep for every picture of a dataset.

    Attributes:
        bits: its difference hash.
        copy: [64 * 64] int8, its greyscale copy without mean, at a standard deviation of 32 levels.
        aspect: width / height.
    """

    bits: int
    copy: npt.NDArray[np.int8]
    aspect: float


def look(image: Image.Image) -> Look:
    """Take in a picture, of any mode."""
    grey = image.convert("L")
    small = grey.resize((LOOK_SIDE, LOOK_SIDE), Image.Resampling.LANCZOS)
    tiny = np.asarray(small.resize((9, 8), Image.Resampling.BOX), np.int16)
    bits = int.from_bytes(np.packbits(tiny[:, 1:] > tiny[:, :-1]).tobytes(), "big")
    pixels = np.asarray(small, np.float32).ravel()
    pixels = (pixels - pixels.mean()) / max(float(pixels.std()), 1e-3) * 32
    return Look(bits, np.clip(pixels, -127, 127).astype(np.int8), grey.width / grey.height)


def similar_pairs(looks: Sequence[Look]) -> list[tuple[int, int]]:
    """Pairs of pictures that show the same thing.

    Args:
        looks: of the pictures.

    Returns:
        (i, j) with i < j, ascending.
    """
    bits = np.array([one.bits for one in looks], np.uint64)
    pairs = []
    for start in range(0, len(bits), _ROWS_AT_ONCE):
        differing = np.bitwise_count(bits[start : start + _ROWS_AT_ONCE, None] ^ bits[None, start:])
        rows, columns = np.nonzero(differing <= MOST_BITS)
        pairs += [(start + i, start + j) for i, j in zip(rows.tolist(), columns.tolist(), strict=True) if i < j]
    return [(i, j) for i, j in pairs if _same(looks[i], looks[j])]


def groups(count: int, pairs: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Join pairs that share a member (connected components).

    Args:
        count: number of things, paired or not.
        pairs: of their indices.

    Returns:
        Every thing once, in groups; ascending, groups by their first member.
    """
    root = list(range(count))

    def find(i: int) -> int:
        while root[i] != i:
            root[i] = root[root[i]]
            i = root[i]
        return i

    for i, j in pairs:
        first, second = sorted((find(i), find(j)))
        root[second] = first
    found: dict[int, list[int]] = {}
    for i in range(count):
        found.setdefault(find(i), []).append(i)
    return list(found.values())


def _same(first: Look, second: Look) -> bool:
    if abs(np.log(first.aspect / second.aspect)) > 0.05:
        return False
    one, other = first.copy.astype(np.float32), second.copy.astype(np.float32)
    scale = float(np.sqrt((one @ one) * (other @ other)))
    return scale == 0 or float(one @ other) >= LEAST_CORRELATION * scale
