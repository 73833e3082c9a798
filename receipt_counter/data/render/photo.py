"""From a scene to the pixels of a photograph: surface, papers with their shadows, light, noise."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from receipt_counter.data.render.geometry import Point, Quad, apply, bounds, inverse, moved, onto_quad
from receipt_counter.data.render.layout import Layout, Placement
from receipt_counter.data.render.paper import Raster, rasterise
from receipt_counter.data.render.scene import Scene
from receipt_counter.data.render.surfaces import smooth_noise, surface

QUALITY = 90
_WORN_SHEETS = 16
_NOISE_LEVELS = 5
_GREY = 128
_DIMMED = [[round(i * (1 - tint / 100)) for i in range(256)] for tint in range(12)]  # tables for Image.point
_FINER = 2
_ACROSS = np.linspace(-1, 1, 12, dtype=np.float32)[None, :]
_DOWN = _ACROSS.T
_SHARP = 6.0  # px: text of this em is mapped with the better, slower kernel; smaller text is a smear either way


def photograph(rng: np.random.Generator, scene: Scene) -> Image.Image:
    """Draw a scene.

    Args:
        rng: decides surface, light and wear; the scene decides the rest.
        scene: what to draw.

    Returns:
        An RGB image of `scene.side` squared pixels.
    """

    def draw(placement: Placement) -> Raster:
        return rasterise(scene.sheets[placement.paper], scene.em(placement.paper))

    return take_picture(rng, scene.side, scene.layout, draw)


def take_picture(
    rng: np.random.Generator, side: int, layout: Layout, draw: Callable[[Placement], Raster]
) -> Image.Image:
    """Lay papers on a surface and photograph them, whatever is on the papers.

    Args:
        rng: decides surface, light and wear.
        side: side of the picture, pixels.
        layout: where the papers lie.
        draw: gives the pixels of a paper, at about the size it takes in the picture.

    Returns:
        An RGB image of `side` squared pixels.
    """
    picture = surface(rng, side)
    towards = float(rng.uniform(0, 2 * math.pi))  # where shadows fall
    height = side * float(rng.uniform(0.006, 0.016))  # how far papers stand off, as the length of their shadows
    shift = (height * math.cos(towards), height * math.sin(towards))
    # Where papers overlap, each casts its shadow on those below; where none do, all shadows are drawn in one go.
    together = [[placement] for placement in layout.placements] if layout.overlap else [list(layout.placements)]
    for placements in together:
        rasters = [draw(placement) for placement in placements]
        outlines = [_silhouette(raster, p.quad) for raster, p in zip(rasters, placements, strict=True)]
        _cast_shadows(picture, outlines, shift, height)
        for raster, placement in zip(rasters, placements, strict=True):
            if not raster.thing:
                raster.image = _worn(rng, side, raster.image)
            _lay(picture, raster, placement)
    _draw_staples(picture, layout)
    return _lit(rng, picture)


def encode(picture: Image.Image) -> bytes:
    """The picture as JPEG."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def _worn(rng: np.random.Generator, side: int, image: Image.Image) -> Image.Image:
    """Crumple and fold paper: shade it with a piece of some worn sheet, brightness only."""
    sheet = _worn_sheet(side, int(rng.integers(_WORN_SHEETS)))
    width, height = image.size
    x, y = (int(rng.integers(0, max(sheet.width - size, 0) + 1)) for size in (width, height))
    piece = sheet.crop((x, y, min(x + width, sheet.width), min(y + height, sheet.height)))
    return ImageChops.multiply(image, piece if piece.size == (width, height) else piece.resize((width, height)))


@lru_cache(maxsize=2 * _WORN_SHEETS)
def _worn_sheet(side: int, number: int) -> Image.Image:
    """Shading of a large sheet that was crumpled and folded, 255 where it faces the light; three equal bands."""
    rng = np.random.default_rng(number)
    size = round(1.5 * side)
    relief = 0.6 * smooth_noise(rng, size, 10, 10) + 0.5 * np.abs(smooth_noise(rng, size, 25, 25))
    relief += 0.15 * np.abs(smooth_noise(rng, size, 80, 80))
    shade = 246 - 16 * relief
    for axis in (0, 0, 0, 1):
        distance = np.abs(np.arange(size) - size * float(rng.uniform(0.05, 0.95)))
        fold = 1 - float(rng.uniform(0.06, 0.2)) * np.exp(-distance / max(side * 0.01, 0.8))
        shade *= fold[:, None] if axis == 0 else fold[None, :]
    layer = Image.fromarray(np.clip(shade, 150, 255).astype(np.uint8))
    return Image.merge("RGB", (layer, layer, layer))


def _silhouette(raster: Raster, quad: Quad) -> list[Point]:
    """The outline that casts a shadow: the paper's four corners, the mug's circle."""
    if not raster.thing:
        return list(quad)
    width, height = raster.image.size
    matrix, radius = onto_quad(quad, width, height), height / 2
    turns = np.linspace(0, 2 * math.pi, 24, endpoint=False)
    return [apply(matrix, (radius + radius * math.cos(t), radius + radius * math.sin(t))) for t in turns]


def _cast_shadows(picture: Image.Image, outlines: list[list[Point]], shift: tuple[float, float], height: float) -> None:
    """Darken what lies around papers, on one side more."""
    if not outlines:
        return
    reach = 3 * height + 2
    left, top, right, bottom = bounds(outlines)
    x, y = max(int(left - reach), 0), max(int(top - reach), 0)
    size = (min(int(right + reach), picture.width) - x, min(int(bottom + reach), picture.height) - y)
    coarse = max(picture.width // 128, 1)
    mask = Image.new("L", (max(size[0] // coarse, 1), max(size[1] // coarse, 1)))
    pen = ImageDraw.Draw(mask)
    for outline in outlines:
        pen.polygon([((px - x + shift[0]) / coarse, (py - y + shift[1]) / coarse) for px, py in outline], fill=130)
    mask = mask.filter(ImageFilter.BoxBlur(max(height / coarse, 0.7))).resize(size, Image.Resampling.BILINEAR)
    picture.paste((12, 10, 14), (x, y), mask)


def _lay(picture: Image.Image, raster: Raster, placement: Placement) -> None:
    """Map a raster on to its place."""
    left, top, right, bottom = bounds([placement.quad])
    x, y = max(math.floor(left) - 1, 0), max(math.floor(top) - 1, 0)
    size = (min(math.ceil(right) + 1, picture.width) - x, min(math.ceil(bottom) + 1, picture.height) - y)
    here = moved(placement.quad, by=(-x, -y))
    back = inverse(onto_quad(here, *raster.image.size))[:8]
    kernel = Image.Resampling.BICUBIC if raster.em[1] >= _SHARP else Image.Resampling.BILINEAR
    # Outside the paper its own colour goes on: the mask alone makes the edge, and makes it smooth.
    flat = raster.image.transform(size, Image.Transform.PERSPECTIVE, back, kernel, fillcolor=raster.paper)
    mask = _filled(here, size)
    if raster.outline is not None:
        cut = raster.outline.transform(size, Image.Transform.PERSPECTIVE, back, Image.Resampling.BILINEAR)
        mask = ImageChops.multiply(mask, cut)
    picture.paste(flat, (x, y), mask)


def _filled(outline: Quad, size: tuple[int, int]) -> Image.Image:
    """A polygon with smooth edges, "L": drawn at `_FINER` times the size, as Pillow's own edges are jagged."""
    left, top, right, bottom = bounds([outline])
    x, y = (left + right) / 2, (top + bottom) / 2
    # Pillow's polygons include the pixels their edges touch: half a pixel less on each side keeps to the paper.
    within = moved(outline, scale=1 - 1 / max(min(right - left, bottom - top), 2.0), about=(x, y))
    points = [(_FINER * px - 0.5, _FINER * py - 0.5) for px, py in within]
    fine = Image.new("L", (size[0] * _FINER, size[1] * _FINER))
    ImageDraw.Draw(fine).polygon(points, fill=255)
    return fine.reduce(_FINER)


def _draw_staples(picture: Image.Image, layout: Layout) -> None:
    pen = ImageDraw.Draw(picture)
    thick = max(round(picture.width / 160), 1)
    for (ax, ay), (bx, by) in layout.staples:
        pen.line((ax + 1, ay + thick, bx + 1, by + thick), fill=(70, 70, 72), width=thick)
        pen.line((ax, ay, bx, by), fill=(196, 198, 204), width=thick)


def _lit(rng: np.random.Generator, picture: Image.Image) -> Image.Image:
    """Uneven light, its colour, and the camera's noise."""
    side = picture.width
    angle = float(rng.uniform(0, 2 * math.pi))
    along = math.cos(angle) * _ACROSS + math.sin(angle) * _DOWN
    light = float(rng.uniform(0.8, 1.02)) + float(rng.uniform(0.0, 0.2)) * along
    if rng.random() < 0.35:  # the shadow of the person who takes the picture
        angle = float(rng.uniform(0, 2 * math.pi))
        across = math.cos(angle) * _ACROSS + math.sin(angle) * _DOWN + float(rng.uniform(-0.6, 0.6))
        light -= float(rng.uniform(0.12, 0.34)) / (1 + np.exp(-across * float(rng.uniform(4, 14))))
    light -= float(rng.uniform(0.0, 0.08)) * (_ACROSS**2 + _DOWN**2)
    lamp = Image.fromarray((np.clip(light, 0.35, 1.0) * 255).astype(np.uint8)).resize(
        (side, side), Image.Resampling.BICUBIC
    )
    dimmed = lamp.point(_DIMMED[int(rng.integers(len(_DIMMED)))])
    bands = (dimmed, lamp, lamp) if rng.random() < 0.5 else (lamp, lamp, dimmed)  # bluish or reddish
    lit = ImageChops.multiply(picture, Image.merge("RGB", bands))
    x, y = rng.integers(0, side, 2).tolist()
    noise = _noise(side, int(rng.integers(_NOISE_LEVELS))).crop((x, y, x + side, y + side))
    return ImageChops.add(lit, noise, offset=-_GREY)


@lru_cache(maxsize=_NOISE_LEVELS)
def _noise(side: int, level: int) -> Image.Image:
    """The camera's noise around `_GREY`: drawn once for each strength, every picture takes a piece of it."""
    rng = np.random.default_rng(level)
    shared, own = rng.standard_normal((2 * side, 2 * side, 1)), rng.standard_normal((2 * side, 2 * side, 3))
    values = _GREY + (1 + level) * (0.9 * shared + 0.4 * own)
    return Image.fromarray(values.round().astype(np.uint8))
