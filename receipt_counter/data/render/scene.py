"""What one picture shows: which receipts and other things lie where, before anything is drawn."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from receipt_counter.data.render.facts import Receipt, draw_currency, draw_receipt, draw_stores
from receipt_counter.data.render.geometry import Quad, area, covered_share, outside_share
from receipt_counter.data.render.layout import Layout, arrange, turned
from receipt_counter.data.render.negatives import NEGATIVES
from receipt_counter.data.render.paper import Sheet
from receipt_counter.data.render.receipts import draw_sheet

LEGIBLE = 8.5  # px: height of an em from which a person can read a line in the finished picture
_MOST_ITEMS = {1: 9, 2: 6, 3: 4, 4: 3, 5: 3}
_SAME_CURRENCY = 0.85
_MOST_PAPERS = 6
_LEAST_PAPERS = 2
_PAPER_SIDE = 45  # px: with more papers to a picture none could be told from another


@dataclass(frozen=True)
class Scene:
    """One picture, decided but not drawn.

    Attributes:
        side: side of the square picture, pixels.
        receipts: the facts of each receipt.
        others: what else lies there, names in `NEGATIVES`, all different.
        sheets: what is on the papers: the receipts, then the others.
        layout: where the papers lie.
    """

    side: int
    receipts: tuple[Receipt, ...]
    others: tuple[str, ...]
    sheets: tuple[Sheet, ...]
    layout: Layout

    @cached_property
    def quads(self) -> dict[int, Quad]:
        """Where each paper lies, by its index in `sheets`."""
        return {placement.paper: placement.quad for placement in self.layout.placements}

    @cached_property
    def legible(self) -> tuple[bool, ...]:
        """Whether each receipt can be read: text large enough, nothing cut off, nothing lying on it."""
        quads = [placement.quad for placement in self.layout.placements]
        places = {placement.paper: i for i, placement in enumerate(self.layout.placements)}
        return tuple(
            self.em(i) >= LEGIBLE
            and outside_share(self.quads[i], self.side) == 0.0
            and covered_share(self.quads[i], quads[places[i] + 1 :]) == 0.0
            for i in range(len(self.receipts))
        )

    def em(self, paper: int) -> float:
        """Height of an em of a paper's text in the picture, pixels."""
        sheet = self.sheets[paper]
        return float((area(self.quads[paper]) / (sheet.width * sheet.height)) ** 0.5)

    def slices(self) -> dict[str, str]:
        """The groups in which figures about this picture are reported."""
        return {
            "layout": self.layout.name,
            "overlap": "slight" if self.layout.overlap else "none",
            "rotation": turned(self.layout),
            "stapled": "yes" if self.layout.staples else "no",
            "cropped": "yes" if self.layout.cropped else "no",
            "negatives": "yes" if self.others else "no",
            "source": "synthetic",
        }


def source(seed: int, split: str, index: int, purpose: str) -> np.random.Generator:
    """The random numbers of one picture: splits and purposes never share any, and no worker's past matters."""
    return np.random.Generator(
        np.random.PCG64(np.random.SeedSequence((seed, zlib.crc32(split.encode()), index, zlib.crc32(purpose.encode()))))
    )


def draw_scene(seed: int, split: str, index: int, side: int, max_receipts: int) -> Scene:
    """Decide what one picture shows.

    Args:
        seed: `data.render.seed`.
        split: the split's name.
        index: position of the picture in its split.
        side: side of the picture, pixels.
        max_receipts: most receipts in one picture.
    """
    rng = source(seed, split, index, "scene")
    count = draw_count(rng, max_receipts)
    others = _draw_others(rng, count, side)
    currency = draw_currency(rng)
    receipts = []
    for kind, store in draw_stores(rng, count):
        own = currency if rng.random() < _SAME_CURRENCY else draw_currency(rng)
        receipts.append(draw_receipt(rng, kind, store, own, _MOST_ITEMS[count]))
    sheets = [draw_sheet(rng, receipt) for receipt in receipts] + [NEGATIVES[name](rng) for name in others]
    layout = arrange(rng, [(sheet.width, sheet.height) for sheet in sheets], count, side)
    return Scene(side, tuple(receipts), others, tuple(sheets), layout)


def draw_count(rng: np.random.Generator, max_receipts: int) -> int:
    """How many receipts: the classes 0, 1 and 2+ equally often, and so the numbers within 2+."""
    kind = int(rng.integers(min(max_receipts, 2) + 1))
    return kind if kind < 2 else int(rng.integers(2, max_receipts + 1))


def room_beside(receipts: int, side: int) -> int:
    """How many other papers a picture can hold beside its receipts, so that each can still be told apart.

    Args:
        receipts: how many receipts it holds.
        side: of the picture, pixels.
    """
    return max(max(_LEAST_PAPERS, min(_MOST_PAPERS, side // _PAPER_SIDE)) - receipts, 0)


def _draw_others(rng: np.random.Generator, receipts: int, side: int) -> tuple[str, ...]:
    """What else lies there: nearly always something where there is no receipt, often beside one, all different."""
    most = {0: 4, 1: 3}.get(receipts, 2)
    if rng.random() > {0: 0.93, 1: 0.45}.get(receipts, 0.35):
        return ()
    count = min(int(rng.integers(1, most + 1)), room_beside(receipts, side))
    names = list(NEGATIVES)
    return tuple(names[i] for i in rng.permutation(len(names))[:count])
