"""Scanned papers: cutting the sheet out of a scan, and giving drawn papers the tone of real scans."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from receipt_counter.data.compose import Paper
from receipt_counter.data.render.fonts import LINE
from receipt_counter.data.render.paper import Raster

Grey = npt.NDArray[np.uint8]

SHEET_SIDE = 1.5  # Long side of a sheet, in long sides of a picture; it may stick out of one.
_INK_CONTRAST = 45  # Grey levels below the paper's that count as ink; scanner noise stays above.
_LEAST_PITCH = 6  # Pixels; closer lines cannot be read in the source either.
_CAPITALS = 0.75  # Height of a line's ink, ems.
_SPECKS = 0.006  # Share of a row or column that must be ink: punch marks and dust are less.


@dataclass(frozen=True)
class Tone:
    """How a scanner saw a paper, in grey levels 0 to 255.

    Attributes:
        paper: the paper's level.
        ink: the level of the darkest print.
        grain: standard deviation of the paper's noise.
    """

    paper: float
    ink: float
    grain: float


@dataclass(frozen=True)
class Scan:
    """A scanned paper in two sizes that fit the wanted pictures.

    Attributes:
        sheet: the paper alone, without the scanner's border and empty margins.
        delivered: the scan as it came.
        tone: measured on the sheet.
        sha256: of the file.
    """

    sheet: Paper
    delivered: Paper
    tone: Tone
    sha256: str


def load_scan(path: Path, image_size: int) -> Scan:
    """Read a scan once, and keep no more pixels than pictures of this size can show.

    Args:
        path: the image file.
        image_size: long side of the pictures to be made, pixels.

    Raises:
        OSError: it is no readable image.
    """
    content = path.read_bytes()
    with Image.open(io.BytesIO(content)) as image:
        image.draft("L", (3 * image_size, 3 * image_size))
        grey = image.convert("L")
    pixels = cut_sheet(np.asarray(grey))
    em = print_size(pixels)
    sheet = _shrunk(Paper(Image.fromarray(pixels), None, em), round(SHEET_SIDE * image_size))
    return Scan(
        sheet=sheet,
        delivered=_shrunk(Paper(grey, None, em), image_size),
        tone=measure_tone(np.asarray(sheet.image)),
        sha256=hashlib.sha256(content).hexdigest(),
    )


def cut_sheet(scan: Grey) -> Grey:
    """Cut the paper out of a scan: first the scanner's dark border goes, then margins without print.

    Args:
        scan: [h, w] grey levels.

    Returns:
        [h', w'], at least a tenth of the scan's sides; the scan itself where no print is found.
    """
    level = float(np.percentile(scan[::4, ::4], 85))
    light = scan > 0.62 * level
    inside = scan[_extent(light.mean(1) > 0.55), :]
    inside = inside[:, _extent((inside > 0.62 * level).mean(0) > 0.55)]
    ink = inside < level - _INK_CONTRAST
    rows, columns = _extent(ink.mean(1) > _SPECKS), _extent(ink.mean(0) > _SPECKS)
    margin = max(2, round(0.05 * (columns.stop - columns.start)))
    cut = inside[
        max(rows.start - margin, 0) : rows.stop + margin, max(columns.start - margin, 0) : columns.stop + margin
    ]
    found: Grey = cut if min(cut.shape) >= 0.1 * min(scan.shape) else scan
    return found


def print_size(sheet: Grey) -> float:
    """Estimate the em of a paper's print, pixels, rather too small than too large.

    Two measures, each too large where the other is not: the distance of lines (where the rows' ink resembles itself
    most) is wrong for lines set far apart, the height of lines is wrong where they run together.

    Args:
        sheet: [h, w] grey levels.

    Returns:
        The em, or 0 where there are no regular lines.
    """
    ink = (sheet < float(np.percentile(sheet[::4, ::4], 75)) - _INK_CONTRAST).mean(1)
    spectrum = np.abs(np.fft.rfft(ink - ink.mean(), 2 * len(ink))) ** 2
    resemblance = np.fft.irfft(spectrum)[: len(ink) // 4]
    inner = resemblance[1:-1]
    higher = (inner > resemblance[:-2]) & (inner >= resemblance[2:]) & (inner > 0.12 * resemblance[0])
    pitches = np.flatnonzero(higher) + 1
    pitches = pitches[pitches >= _LEAST_PITCH]
    edges = np.diff(np.concatenate([[0], ink > _SPECKS, [0]]).astype(np.int8))
    heights = np.flatnonzero(edges < 0) - np.flatnonzero(edges > 0)
    heights = heights[heights >= _LEAST_PITCH / 2]
    if not pitches.size or not heights.size:
        return 0.0
    return min(float(pitches[0]) / LINE, float(np.median(heights)) / _CAPITALS)


def measure_tone(sheet: Grey) -> Tone:
    """Measure how the scanner saw a paper.

    Args:
        sheet: [h, w] grey levels, mostly paper.
    """
    paper = float(np.percentile(sheet, 75))
    steps = np.diff(sheet.astype(np.int16), axis=1)[sheet[:, 1:] > paper - 12]
    # Median absolute deviation, made a standard deviation; a step holds the noise of two pixels.
    grain = float(np.median(np.abs(steps))) * 1.4826 / np.sqrt(2) if steps.size else 0.0
    return Tone(paper, float(np.percentile(sheet, 2)), grain)


def scan_of_drawing(drawing: Raster, tone: Tone, rng: np.random.Generator) -> Paper:
    """Make a drawn paper look as if it came from the scanner that saw another one.

    Args:
        drawing: dark print on light paper.
        tone: of a real scan.
        rng: decides blur, light and grain.
    """
    grey = np.asarray(drawing.image.convert("L").filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 0.8))), np.float32)
    white, black = float(np.percentile(grey[::4, ::4], 90)), float(grey.min())
    print_strength = np.clip((white - grey) / max(white - black, 60.0), 0, 1)
    height, width = grey.shape
    down, across = np.linspace(-1, 1, height, dtype=np.float32), np.linspace(-1, 1, width, dtype=np.float32)
    slope = rng.normal(0, 4, 2).astype(np.float32)
    scanned = tone.paper + slope[0] * down[:, None] + slope[1] * across - print_strength * (tone.paper - tone.ink)
    scanned += np.float32(max(tone.grain, 0.3)) * rng.standard_normal(grey.shape, np.float32)
    return Paper(Image.fromarray(np.clip(scanned, 0, 255).astype(np.uint8)), drawing.outline, drawing.em[1])


def _shrunk(paper: Paper, side: int) -> Paper:
    width, height = paper.image.size
    scale = side / max(width, height)
    if scale >= 1:
        return paper
    image = paper.image.resize((max(round(width * scale), 1), max(round(height * scale), 1)), Image.Resampling.BOX)
    return Paper(image, None, paper.em * scale)


def _extent(wanted: npt.NDArray[np.bool_]) -> slice:
    places = np.flatnonzero(wanted)
    return slice(int(places[0]), int(places[-1]) + 1) if places.size else slice(0, len(wanted))
