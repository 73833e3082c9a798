"""Four-sided shapes in a picture: where papers lie, how much of one another covers, how one is mapped on to pixels.

Points are (x, y) pairs, x to the right, y down; a quad's corners run from the paper's top left clockwise.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

Point = tuple[float, float]
Quad = tuple[Point, Point, Point, Point]
Box = tuple[float, float, float, float]  # left, top, right, bottom


def rectangle(width: float, height: float) -> Quad:
    """An upright rectangle around the origin."""
    x, y = width / 2, height / 2
    return ((-x, -y), (x, -y), (x, y), (-x, y))


def moved(quad: Quad, *, angle: float = 0.0, scale: float = 1.0, by: Point = (0.0, 0.0), about: Point = (0, 0)) -> Quad:
    """A quad turned clockwise by `angle` (radians) and scaled about a point, then shifted."""
    cos, sin = math.cos(angle) * scale, math.sin(angle) * scale
    # Every point goes to (x cos - y sin, x sin + y cos) + (dx, dy); written out, as pictures need hundreds of these.
    dx, dy = about[0] - about[0] * cos + about[1] * sin + by[0], about[1] - about[0] * sin - about[1] * cos + by[1]
    (ax, ay), (bx, by_), (cx, cy), (ex, ey) = quad
    return (
        (ax * cos - ay * sin + dx, ax * sin + ay * cos + dy),
        (bx * cos - by_ * sin + dx, bx * sin + by_ * cos + dy),
        (cx * cos - cy * sin + dx, cx * sin + cy * cos + dy),
        (ex * cos - ey * sin + dx, ex * sin + ey * cos + dy),
    )


def bounds(shapes: Iterable[Iterable[Point]]) -> Box:
    """The upright box around shapes."""
    points = [point for shape in shapes for point in shape]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return (min(xs), min(ys), max(xs), max(ys))


def area(polygon: Sequence[Point]) -> float:
    """Area of a simple polygon (shoelace formula)."""
    total = 0.0
    previous_x, previous_y = polygon[-1] if polygon else (0.0, 0.0)
    for x, y in polygon:
        total += previous_x * y - x * previous_y
        previous_x, previous_y = x, y
    return abs(total) / 2


def intersection(subject: Sequence[Point], clip: Sequence[Point]) -> list[Point]:
    """What two convex polygons share (Sutherland & Hodgman, 1974); corners of both run clockwise on the screen."""
    points = list(subject)
    ax, ay = clip[-1]
    for bx, by in clip:
        if not points:
            return []
        dx, dy = bx - ax, by - ay
        kept: list[Point] = []
        px, py = points[-1]
        previous = dx * (py - ay) - dy * (px - ax)
        for x, y in points:
            side = dx * (y - ay) - dy * (x - ax)
            if (side >= 0) != (previous >= 0):
                t = previous / (previous - side)
                kept.append((px + t * (x - px), py + t * (y - py)))
            if side >= 0:
                kept.append((x, y))
            px, py, previous = x, y, side
        points = kept
        ax, ay = bx, by
    return points


def covered_share(quad: Quad, above: Iterable[Quad]) -> float:
    """The share of a quad that others hide, at most: what two of them hide both counts twice."""
    left, top, right, bottom = bounds([quad])
    hidden = 0.0
    for other in above:
        other_left, other_top, other_right, other_bottom = bounds([other])
        if other_left < right and left < other_right and other_top < bottom and top < other_bottom:
            hidden += area(intersection(quad, other))
    return hidden / area(quad)


def outside_share(quad: Quad, side: float) -> float:
    """The share of a quad that lies outside a square picture."""
    if all(0 <= x <= side and 0 <= y <= side for x, y in quad):
        return 0.0
    frame = ((0.0, 0.0), (side, 0.0), (side, side), (0.0, side))
    return 1 - area(intersection(quad, frame)) / area(quad)


Matrix = tuple[float, float, float, float, float, float, float, float, float]


def onto_quad(quad: Quad, width: float, height: float) -> Matrix:
    """The projective map that takes a width x height raster on to a quad (Heckbert 1989, section 2.2).

    Returns:
        The 3x3 matrix, row by row; see `apply`.
    """
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = quad
    sx, sy = x0 - x1 + x2 - x3, y0 - y1 + y2 - y3
    dx1, dx2, dy1, dy2 = x1 - x2, x3 - x2, y1 - y2, y3 - y2
    determinant = dx1 * dy2 - dx2 * dy1
    g = (sx * dy2 - dx2 * sy) / determinant
    h = (dx1 * sy - sx * dy1) / determinant
    a, b, c = x1 - x0 + g * x1, x3 - x0 + h * x3, x0
    d, e, f = y1 - y0 + g * y1, y3 - y0 + h * y3, y0
    return (a / width, b / height, c, d / width, e / height, f, g / width, h / height, 1.0)


def inverse(m: Matrix) -> Matrix:
    """The map back, scaled so that its last element is 1."""
    a, b, c, d, e, f, g, h, i = m
    adjugate = (
        e * i - f * h, c * h - b * i, b * f - c * e,
        f * g - d * i, a * i - c * g, c * d - a * f,
        d * h - e * g, b * g - a * h, a * e - b * d,
    )  # fmt: skip
    last = adjugate[8]
    a, b, c, d, e, f, g, h, i = (element / last for element in adjugate)
    return (a, b, c, d, e, f, g, h, i)


def apply(m: Matrix, point: Point) -> Point:
    """Map a point."""
    x, y = point
    w = m[6] * x + m[7] * y + m[8]
    return ((m[0] * x + m[1] * y + m[2]) / w, (m[3] * x + m[4] * y + m[5]) / w)
