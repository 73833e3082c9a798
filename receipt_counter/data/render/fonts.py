"""Text as arrays of ink: glyphs are rasterised once per face and size, lines are glued together from them.

Pillow takes about 90 microseconds for a short line of text, most of it spent in setting up; gluing cached glyphs
takes about 5, and a picture holds a hundred lines.
"""

from __future__ import annotations

from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from receipt_counter.data.faces import truetype

Ink = NDArray[np.uint8]

LINE = 1.25  # line height of every face, ems
# px: sizes are few, about 6 % apart, so that glyphs are reused. Below 3 px FreeType draws next to nothing: smaller text
# is drawn at that size and shrunk.
SIZES = (*np.arange(3.0, 8.0, 0.5), *np.arange(8.0, 16.0), *np.arange(16.0, 32.0, 2.0), *np.arange(32.0, 65.0, 4.0))
_REFERENCE = 64.0  # px, large enough for hinting not to matter
_TALLEST = "Hbg(/"
_NEAREST = [float(min(SIZES, key=lambda size: abs(size - i / 8))) for i in range(round(SIZES[-1] * 8) + 1)]
_SAMPLE = "The quick brown fox paid 12.50 for 3 jumps"


def nearest_size(pixels: float) -> float:
    """The size at which text of `pixels` em height is drawn."""
    return _NEAREST[min(int(pixels * 8), len(_NEAREST) - 1)]


class Glyphs(dict[str, Ink]):
    """The glyphs of one face at one size, drawn when first asked for: {character: ink, uint8 [line height, advance]}.

    Args:
        face: a name in `faces.FACES`.
        size: em height, pixels; see `nearest_size`.
    """

    def __init__(self, face: str, size: float) -> None:
        super().__init__()
        self._font = truetype(face, size)
        self.height = max(round(size * LINE), 2)
        # Faces differ in what they leave above and below: centre the tallest ink in the line.
        _, top, _, bottom = self._font.getbbox(_TALLEST)
        self._top = round((self.height - (bottom - top)) / 2 - top)

    def __missing__(self, character: str) -> Ink:
        left, _, right, _ = self._font.getbbox(character)
        # Widened where the ink is wider than the advance (handwriting), so that no stroke is cut.
        start = max(round(-left), 0)
        width = max(round(self._font.getlength(character)), round(right) + start, 1)
        image = Image.new("L", (width, self.height))
        ImageDraw.Draw(image).text((start, self._top), character, fill=255, font=self._font)
        glyph = self[character] = np.asarray(image)
        return glyph

    def line(self, text: str) -> Ink:
        """Ink of a line of text, uint8 [line height, width]; an empty text has width 0."""
        if not text:
            return np.zeros((self.height, 0), np.uint8)
        return np.concatenate([self[character] for character in text], axis=1)

    def width(self, text: str) -> int:
        """Width of a line of text, pixels."""
        return sum(self[character].shape[1] for character in text)


@lru_cache(maxsize=1024)
def glyphs(face: str, size: float) -> Glyphs:
    """The glyphs of a face at a size, shared by everything this process draws."""
    return Glyphs(face, size)


@lru_cache(maxsize=16384)
def ink(face: str, size: float, text: str) -> Ink:
    """Ink of a line of text, shared: do not write to it. Labels and names come again in picture after picture."""
    return glyphs(face, size).line(text)


def width_in_ems(face: str, text: str) -> float:
    """Width of a text relative to its size, unaffected by the rounding of small sizes."""
    return sum(map(_ems(face).__getitem__, text))


class _Ems(dict[str, float]):
    """Width of each character of a face in ems, measured when first asked for."""

    def __init__(self, face: str) -> None:
        super().__init__()
        self._glyphs = glyphs(face, _REFERENCE)

    def __missing__(self, character: str) -> float:
        width = self[character] = self._glyphs.width(character) / _REFERENCE
        return width


@cache
def _ems(face: str) -> _Ems:
    return _Ems(face)


@cache
def pixels_per_em(face: str, size: float) -> float:
    """How wide an em really comes out at a size, glyphs having whole pixels: at 3 px a mono glyph is 2, not 1.8."""
    return glyphs(face, size).width(_SAMPLE) / width_in_ems(face, _SAMPLE)
