"""Pictures composed of scanned papers: together on the glass of a scanner, or photographed on some surface.

Everything is grey, because the scans are: colour anywhere else would be a way round reading them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from receipt_counter.data.render.geometry import area
from receipt_counter.data.render.layout import Layout, Placement, arrange
from receipt_counter.data.render.paper import Raster
from receipt_counter.data.render.photo import take_picture

_WIDTH = 24.0  # of a receipt, in ems of its print: gives scans a size beside each other
_PAPER_LEVELS = (205.0, 252.0)  # of papers before they are lit: real ones differ less than scans of them
_LEAST_PRINT = 100.0  # grey levels between a paper and its darkest print; fainter print is gone at 128 pixels
_MOST_STRENGTHENED = 3.0  # times
_MOST_GRAIN = 30.0  # grey levels below the paper's that grain reaches
_LIDS = ((222.0, 250.0), (110.0, 200.0), (5.0, 60.0))  # grey levels of a scanner's lid: white, grey, black
_LID_SHARES = (0.2, 0.4, 0.4)


@dataclass(frozen=True)
class Paper:
    """A paper as the scanner saw it.

    Attributes:
        image: "L".
        outline: "L", 0 where the paper ends before its rectangle does; None where it fills it.
        em: height of an em of its print, pixels; 0 where there are no lines of print.
    """

    image: Image.Image
    outline: Image.Image | None
    em: float

    def resized(self, size: tuple[int, int]) -> Paper:
        """The paper at another size, (width, height) pixels."""
        scale = size[1] / self.image.height
        outline = self.outline and self.outline.resize(size, Image.Resampling.BILINEAR)
        return Paper(self.image.resize(size, Image.Resampling.LANCZOS), outline, self.em * scale)


def handled(paper: Paper, rng: np.random.Generator) -> Paper:
    """What happens to a paper before its picture is taken: torn short, printed faint or strong, shaded, stretched.

    Args:
        paper: left as it is.
        rng: decides.
    """
    image, outline = paper.image, paper.outline
    width, height = image.size
    if height > 1.3 * width and rng.random() < 0.35:
        kept = rng.uniform(0.6, 0.95) * height
        start = rng.uniform(0, height - kept)
        box = (0, round(start), width, round(start + kept))
        image, outline = image.crop(box), outline and outline.crop(box)
    grey = np.asarray(image, np.float32)
    level = float(np.percentile(grey[::3, ::3], 75))
    depth = level - float(np.percentile(grey[::3, ::3], 2))
    # Grain is no print: a blank paper stays as it is.
    least = min(_LEAST_PRINT / depth, _MOST_STRENGTHENED) if depth > _MOST_GRAIN else 0.0
    grey = level - (level - grey) * np.float32(max(rng.uniform(0.8, 1.7), least))
    down, across = (np.linspace(-1, 1, size, dtype=np.float32) for size in grey.shape)
    slope = rng.normal(0, 0.03, 2).astype(np.float32)
    brightness = np.float32(rng.uniform(*_PAPER_LEVELS) / max(level, 1.0))
    shade = brightness * (1 + slope[0] * down[:, None] + slope[1] * across)
    shaded = Paper(Image.fromarray(np.clip(grey * shade, 0, 255).astype(np.uint8)), outline, paper.em)
    return shaded.resized((max(round(width * math.exp(rng.normal(0, 0.06))), 2), image.height))


def scanned_alone(paper: Paper, side: int, rng: np.random.Generator) -> Image.Image:
    """Scan one paper that fills the picture: a little crooked, a little darker, nothing cut off.

    Args:
        paper: what is scanned; its outline is not seen.
        side: long side of the picture, pixels.
        rng: decides.

    Returns:
        "L".
    """
    width, height = paper.image.size
    scale = side / max(width, height)
    image = paper.resized((max(round(width * scale), 1), max(round(height * scale), 1))).image
    level = int(np.percentile(np.asarray(image)[::3, ::3], 75))
    crooked = image.rotate(rng.normal(0, 0.5), Image.Resampling.BICUBIC, fillcolor=level)
    brightness = rng.uniform(0.88, 1.0)
    return crooked.point([round(value * brightness) for value in range(256)])


def scanned_together(papers: Sequence[Paper], side: int, rng: np.random.Generator) -> Image.Image:
    """Lay papers in a row on a scanner's glass: even light, no shadows, hardly turned, on white, grey or black.

    Args:
        papers: at least one.
        side: long side of the picture, pixels.
        rng: decides.

    Returns:
        "L".
    """
    sizes = [paper.image.size for paper in papers]
    heights = [rng.uniform(0.8, 1.0) * math.sqrt(min(height / width, 2.2)) for width, height in sizes]
    widths = [tall * width / height for tall, (width, height) in zip(heights, sizes, strict=True)]
    gaps, margins = rng.uniform(0.03, 0.12, len(papers) + 1), rng.uniform(0.02, 0.12, 2)
    across, down = sum(widths) + float(gaps.sum()), max(heights) + float(margins.sum())
    scale = side / max(across, down)
    lid = rng.uniform(*_LIDS[int(rng.choice(len(_LIDS), p=_LID_SHARES))])
    glass = Image.new("L", (max(round(across * scale), 16), max(round(down * scale), 16)), round(lid))
    x = 0.0
    for paper, width, height, gap in zip(papers, widths, heights, gaps[1:], strict=True):
        small = paper.resized((max(round(width * scale), 4), max(round(height * scale), 4)))
        turn = rng.normal(0, 1.2)
        shape = (small.outline or Image.new("L", small.image.size, 255)).rotate(
            turn, Image.Resampling.BICUBIC, expand=True
        )
        y = margins[0] + rng.uniform(0, max(heights) - height)
        place = (round((x + gap) * scale), round(y * scale))
        glass.paste(small.image.rotate(turn, Image.Resampling.BICUBIC, expand=True), place, shape)
        x += gap + width
    grain = rng.normal(0, rng.uniform(0.3, 3), (glass.height, glass.width))
    return Image.fromarray(np.clip(np.asarray(glass) + grain, 0, 255).astype(np.uint8))


def photographed(
    papers: Sequence[Paper], receipts: int, side: int, rng: np.random.Generator
) -> tuple[Image.Image, Layout]:
    """Lay papers on some surface and photograph them.

    Args:
        papers: the receipts come first.
        receipts: how many of them are receipts.
        side: side of the square picture, pixels.
        rng: decides.

    Returns:
        The picture, "L", and where the papers lie.
    """
    ratios = [paper.image.height / paper.image.width for paper in papers]
    widths = [_WIDTH * rng.uniform(0.8, 1.25) * max(math.sqrt(1 / ratio), 0.7) for ratio in ratios]
    sizes = [(width, width * ratio) for width, ratio in zip(widths, ratios, strict=True)]
    layout = arrange(rng, sizes, receipts, side)

    def draw(placement: Placement) -> Raster:
        paper = papers[placement.paper]
        width, height = paper.image.size
        scale = math.sqrt(area(placement.quad) / (width * height))
        small = paper.resized((max(round(width * scale), 4), max(round(height * scale), 4)))
        level = int(np.median(np.asarray(small.image)))
        return Raster(
            small.image.convert("RGB"), small.outline, (level, level, level), thing=False, em=(small.em, small.em)
        )

    return take_picture(rng, side, layout, draw).convert("L"), layout
