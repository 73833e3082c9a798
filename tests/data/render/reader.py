"""Reads a scene the way a person reads its picture: only text that lies in the frame, uncovered and large enough.

Knows the words printed on paper, not the facts behind them: the truth of answers is judged by it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw

from receipt_counter.data.render.geometry import apply, onto_quad
from receipt_counter.data.render.paper import rasterise
from receipt_counter.data.render.scene import Scene

READABLE = 10.0  # px: height of a line from which it can be read
AMOUNT = re.compile(r"^\D*\d{1,3}(?:[ ,.']?\d{3})*(?:[.,]\d{2})?\D*$")
_NO_ITEM = ("total", "subtotal", "tip", "cash", "change", "amount")


@dataclass
class Paper:
    """What can be read on one paper: rows of one or two texts, from the top."""

    rows: list[tuple[str, ...]] = field(default_factory=list)

    @property
    def is_receipt(self) -> bool:
        """Receipts, and nothing else, have a total."""
        return self.right_of("total") is not None

    def right_of(self, *labels: str) -> str | None:
        """What stands to the right of a label."""
        for row in self.rows:
            if len(row) == 2 and row[0].casefold() in labels:
                return row[1]
        return None

    def tax(self) -> str | None:
        """What stands to the right of a rate of tax."""
        return next((row[1] for row in self.rows if len(row) == 2 and row[0].endswith("%")), None)

    def items(self) -> list[tuple[str, int, str]]:
        """(name, quantity, amount) of each line that sells something."""
        found: list[tuple[str, int, str]] = []
        for row in self.rows:
            multiple = re.fullmatch(r"\s*(\d+) x (.+)", row[0])
            if len(row) == 1 and multiple and found:
                found[-1] = (found[-1][0], int(multiple[1]), found[-1][2])
            elif len(row) == 2 and AMOUNT.match(row[1]) and not self._is_sum(row[0]):
                found.append((multiple[2], int(multiple[1]), row[1]) if multiple else (row[0], 1, row[1]))
        return found

    def _is_sum(self, label: str) -> bool:
        return label.casefold() in _NO_ITEM or label.endswith("%")

    def has(self, words: str) -> bool:
        """Whether the words stand somewhere."""
        return any(words in text for row in self.rows for text in row)


def read(scene: Scene) -> list[Paper]:
    """What can be read on each paper of a scene, in the order of its sheets."""
    above = np.zeros((scene.side, scene.side), bool)
    papers: dict[int, Paper] = {}
    for placement in reversed(scene.layout.placements):
        raster = rasterise(scene.sheets[placement.paper], scene.em(placement.paper))
        matrix = onto_quad(placement.quad, *raster.image.size)
        rows: dict[float, list[str]] = {}
        for text, box in raster.boxes:
            corners = [
                apply(matrix, corner)
                for corner in (
                    (box.left, box.top),
                    (box.right, box.top),
                    (box.right, box.bottom),
                    (box.left, box.bottom),
                )
            ]
            height = np.hypot(corners[3][0] - corners[0][0], corners[3][1] - corners[0][1])
            inside = all(0 <= x <= scene.side and 0 <= y <= scene.side for x, y in corners)
            if inside and height >= READABLE * min(text.size, 1.0) and not above[_pixels(corners, scene.side)].any():
                rows.setdefault(text.y, []).append(text.text)
        papers[placement.paper] = Paper([tuple(rows[y]) for y in sorted(rows)])
        above |= _pixels(list(placement.quad), scene.side)
    return [papers[i] for i in range(len(scene.sheets))]


def number(amount: str) -> int:
    """The digits of an amount."""
    return int(re.sub(r"\D", "", amount))


def _pixels(corners: list[tuple[float, float]], side: int) -> np.ndarray:
    mask = Image.new("1", (side, side))
    ImageDraw.Draw(mask).polygon(corners, fill=1)
    return np.asarray(mask)
