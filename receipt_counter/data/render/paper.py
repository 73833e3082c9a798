"""Sheets of paper: what is on them, in ems of their text, and their pixels.

A `Sheet` is a drawing in ems, so its proportions are known before it is drawn at the size the scene needs. Every
text carries the width it may take; `rasterise` squeezes what comes out wider, so no text leaves its paper.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from receipt_counter.data.render.fonts import LINE, Ink, ink, nearest_size, pixels_per_em, width_in_ems

Colour = tuple[int, int, int]
Edge = str  # "straight", "zigzag" (torn off a roll), "round" (corners), "perforated" (sides), "mug" (disc and handle)

BLACK: Colour = (38, 38, 42)
ZIGZAG = 0.3  # depth of the teeth of a torn edge, ems


class Text(NamedTuple):
    """A line of text; `x`, `y` are its top left corner and `width` the most it may take, ems of the sheet.

    `fact` names what it states ("total", "date", "item 0"); "" for what states nothing that is asked about.
    """

    x: float
    y: float
    text: str
    face: str
    width: float
    size: float = 1.0
    align: str = "left"
    colour: Colour = BLACK
    fact: str = ""


class Block(NamedTuple):
    """A filled rectangle, ems: a rule, a table's line, a logo, a bar of a barcode."""

    x: float
    y: float
    width: float
    height: float
    colour: Colour = BLACK


class Disc(NamedTuple):
    """A filled circle, ems."""

    x: float
    y: float
    radius: float
    colour: Colour = BLACK


@dataclass(frozen=True)
class Sheet:
    """A drawing on paper, ems.

    Attributes:
        width, height: size of the paper.
        face: the face most of its text is set in.
        paper: colour of the paper.
        edge: see `Edge`.
        texts, blocks, discs: what is on it; blocks lie under discs, discs under texts.
    """

    width: float
    height: float
    face: str
    paper: Colour
    edge: Edge = "straight"
    texts: tuple[Text, ...] = ()
    blocks: tuple[Block, ...] = ()
    discs: tuple[Disc, ...] = ()


class InkBox(NamedTuple):
    """Where a text's ink lies in a raster, pixels: left, top, right, bottom (exclusive)."""

    left: int
    top: int
    right: int
    bottom: int


@dataclass
class Raster:
    """A sheet in pixels.

    Attributes:
        image: RGB.
        outline: "L", 0 where the sheet ends before its rectangle does; None where it fills it.
        paper: colour of the paper.
        thing: whether it is no paper at all, so neither crumpled nor of a quad's shape.
        boxes: (text, its place) of everything written.
        em: (horizontal, vertical) pixels of an em.
    """

    image: Image.Image
    outline: Image.Image | None
    paper: Colour
    thing: bool
    boxes: list[tuple[Text, InkBox]] = field(default_factory=list)
    em: tuple[float, float] = (1.0, 1.0)


def rasterise(sheet: Sheet, em: float) -> Raster:
    """Draw a sheet.

    Args:
        sheet: what to draw.
        em: wanted height of its text, pixels; the nearest size that fonts offer is taken.
    """
    size = nearest_size(em)
    across = pixels_per_em(sheet.face, size)
    width, height = max(round(sheet.width * across), 4), max(round(sheet.height * size), 4)
    image = Image.new("RGB", (width, height), sheet.paper)
    pen = ImageDraw.Draw(image)
    for block in sheet.blocks:
        left, top = round(block.x * across), round(block.y * size)
        right = max(round((block.x + block.width) * across), left + 1)
        bottom = max(round((block.y + block.height) * size), top + 1)
        pen.rectangle((left, top, right - 1, bottom - 1), fill=block.colour)
    for disc in sheet.discs:
        radius_x, radius_y, x, y = disc.radius * across, disc.radius * size, disc.x * across, disc.y * size
        pen.ellipse((x - radius_x, y - radius_y, x + radius_x, y + radius_y), fill=disc.colour)
    outline = _outline(sheet.edge, width, height, size)
    raster = Raster(image, outline, sheet.paper, sheet.edge == "mug", em=(across, size))
    layers: dict[Colour, Ink] = {}
    for text in sheet.texts:
        layer = layers.get(text.colour)
        if layer is None:
            layer = layers[text.colour] = np.zeros((height, width), np.uint8)
        box = _write(layer, text, across, size)
        if box is not None:
            raster.boxes.append((text, box))
    for colour, layer in layers.items():
        image.paste(colour, (0, 0), Image.fromarray(layer))
    return raster


def _write(layer: Ink, text: Text, across: float, size: float) -> InkBox | None:
    """Put a text on a layer of ink; returns None for a blank one."""
    line = ink(text.face, nearest_size(size * text.size), text.text)
    height, width = line.shape
    room = int(text.width * across) or 1
    if width == 0:
        return None
    if width > room:
        line = np.asarray(Image.fromarray(line).resize((room, height), Image.Resampling.BOX))
        width = room
    left = int(text.x * across)
    if text.align != "left":
        left += room - width if text.align == "right" else (room - width) // 2
    # Rounding can put a line a pixel beyond its place; never beyond the paper.
    left = max(min(left, layer.shape[1] - width), 0)
    top = max(min(round(text.y * size), layer.shape[0] - height), 0)
    place = layer[top : top + height, left : left + width]
    np.maximum(place, line[: place.shape[0], : place.shape[1]], out=place)
    return InkBox(left, top, left + width, top + height)


def _outline(edge: Edge, width: int, height: int, em: float) -> Image.Image | None:
    """Where the paper is: 255 inside, 0 outside; "L" image of width x height, None if it is all paper."""
    if edge == "straight":
        return None
    outline = Image.new("L", (width, height), 0)
    pen = ImageDraw.Draw(outline)
    if edge == "round":
        pen.rounded_rectangle((0, 0, width - 1, height - 1), radius=max(em * 0.8, 1.5), fill=255)
    elif edge == "zigzag":
        depth, pitch = em * ZIGZAG, em * 0.7
        teeth = max(round(width / pitch), 2)
        xs = [width * i / teeth for i in range(teeth + 1)]
        top = [(x, depth if i % 2 else 0.0) for i, x in enumerate(xs)]
        bottom = [(x, height - (depth if i % 2 else 0.0)) for i, x in enumerate(xs)]
        pen.polygon(top + bottom[::-1], fill=255)
    elif edge == "perforated":
        pen.rectangle((0, 0, width - 1, height - 1), fill=255)
        radius = em * 0.3
        for i in range(round(height / (em * 1.2))):
            y = em * (0.6 + 1.2 * i)
            for x in (0, width - 1):
                pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=0)
    elif edge == "mug":
        pen.ellipse((0, 0, height - 1, height - 1), fill=255)
        pen.rounded_rectangle((height * 0.9, height * 0.41, width - 1, height * 0.59), radius=height * 0.08, fill=255)
    else:
        raise ValueError(f"unknown edge {edge!r}")
    return outline


class Column:
    """Lines of text under each other, on paper just wide enough for the widest of them.

    Args:
        face: face of plain lines.
        bold: face of strong ones.
        colour: the ink.
        margin: left and right, ems.
    """

    def __init__(self, face: str, bold: str, colour: Colour = BLACK, margin: float = 1.3) -> None:
        self.face, self.bold, self.colour, self.margin = face, bold, colour, margin
        self._texts: list[tuple[float, str, str, float, str, str, str]] = []
        self._rules: list[tuple[float, float]] = []
        self._y = margin * 0.9
        self._width = 0.0

    def line(self, text: str, align: str = "left", *, size: float = 1.0, strong: bool = False, fact: str = "") -> None:
        """Add a line."""
        face = self.bold if strong else self.face
        self._width = max(self._width, width_in_ems(face, text) * size)
        self._texts.append((self._y, text, face, size, align, fact, ""))
        self._y += size * LINE

    def pair(
        self, left: str, right: str, *, size: float = 1.0, strong: bool = False, fact: str = "", left_fact: str = ""
    ) -> None:
        """Add a line of two texts, one at each side."""
        face = self.bold if strong else self.face
        width = (width_in_ems(face, left) + width_in_ems(face, right)) * size + 1.2
        self._width = max(self._width, width)
        self._texts.append((self._y, left, face, size, "left", left_fact, right))
        self._texts.append((self._y, right, face, size, "right", fact, left))
        self._y += size * LINE

    def rule(self, thickness: float = 0.08) -> None:
        """Add a line across the paper."""
        self._rules.append((self._y + 0.25, thickness))
        self._y += 0.5 + thickness

    def gap(self, height: float = 0.6) -> None:
        """Leave room."""
        self._y += height

    def sheet(self, paper: Colour, edge: Edge = "straight", *, least_width: float = 0.0) -> Sheet:
        """The finished sheet."""
        inner = max(self._width, least_width)
        texts = []
        for y, text, face, size, align, fact, other in self._texts:
            # The two texts of a pair share the line: each may take what the other leaves.
            room = inner - (width_in_ems(face, other) * size + 0.6 if other else 0.0)
            x = self.margin + (inner - room if align == "right" else 0.0)
            texts.append(Text(x, y, text, face, room, size, align, self.colour, fact))
        rules = tuple(Block(self.margin, y, inner, thickness, self.colour) for y, thickness in self._rules)
        height = self._y + self.margin * 0.9
        return Sheet(inner + 2 * self.margin, height, self.face, paper, edge, tuple(texts), rules)
