"""Where papers lie in a picture.

Papers are first put together into groups (one paper, a stack that overlaps a little, a stapled pair); groups are then
placed in cells that share out the picture, so papers of different groups never touch. The rule that keeps receipts
countable: of every paper at least `LEAST_VISIBLE` is seen, because a group either overlaps (by at most `MOST_COVERED`)
or is cropped by the picture's edge (by at most `MOST_OUTSIDE`), never both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from receipt_counter.data.render.geometry import (
    Box,
    Point,
    Quad,
    bounds,
    covered_share,
    moved,
    outside_share,
    rectangle,
)

MOST_COVERED = 0.25
MOST_OUTSIDE = 0.25
LEAST_VISIBLE = 0.75
CROPPED_PICTURES = 0.12  # share of pictures in which a group is pushed over the edge
SLIGHT_TURN = math.radians(15)
NO_TURN = math.radians(2)

_HALVINGS = 6
_UNEVEN = 0.015  # how far a corner is out of square, relative to the paper's size: papers are not quite flat
_OTHERS_SIZE = 0.55  # other things may come out smaller than receipts by this factor before room is shared anew


@dataclass(frozen=True)
class Placement:
    """One paper's place.

    Attributes:
        paper: which one, an index into the papers that were to be placed.
        quad: its corners, pixels.
        angle: how far it is turned clockwise, radians.
    """

    paper: int
    quad: Quad
    angle: float


@dataclass(frozen=True)
class Layout:
    """All places, the lowest paper first, and what the arrangement is called in the slices."""

    placements: tuple[Placement, ...]
    staples: tuple[tuple[Point, Point], ...]
    name: str
    overlap: bool
    cropped: bool


@dataclass
class _Group:
    papers: list[int]
    quads: list[Quad]
    angles: list[float]
    staple: tuple[Point, Point] | None = None

    def turn(self, angle: float) -> None:
        self.quads = [moved(quad, angle=angle) for quad in self.quads]
        self.angles = [own + angle for own in self.angles]
        self._map_staple(angle, 1.0, (0.0, 0.0))

    def place(self, scale: float, by: Point) -> None:
        self.quads = [moved(quad, scale=scale, by=by) for quad in self.quads]
        self._map_staple(0.0, scale, by)

    def _map_staple(self, angle: float, scale: float, by: Point) -> None:
        if self.staple is not None:
            start, end = self.staple
            first, last, _, _ = moved((start, end, start, end), angle=angle, scale=scale, by=by)
            self.staple = (first, last)


class _Wish(NamedTuple):
    """The room a group needs, ems, and how large it should come out relative to others."""

    width: float
    height: float
    weight: float

    def scale(self, cell: Box) -> float:
        """How large it can be in a cell, pixels per em."""
        return min((cell[2] - cell[0]) / self.width, (cell[3] - cell[1]) / self.height)


def arrange(rng: np.random.Generator, sizes: Sequence[tuple[float, float]], receipts: int, side: float) -> Layout:
    """Find a place for every paper.

    Args:
        rng: source of randomness.
        sizes: (width, height) of each paper, ems; the receipts come first.
        receipts: how many of them are receipts.
        side: side of the picture, pixels.
    """
    turn = _turns(rng)
    quads = [_uneven(rng, width, height) for width, height in sizes]
    groups = _group(rng, quads, receipts, turn)
    _place(rng, groups, receipts, side)
    cropped = bool(groups) and bool(rng.random() < CROPPED_PICTURES) and _crop(rng, groups, side)
    placements = [
        Placement(paper, quad, angle)
        for group in groups
        for paper, quad, angle in zip(group.papers, group.quads, group.angles, strict=True)
    ]
    receipt_groups = [group for group in groups if any(paper < receipts for paper in group.papers)]
    return Layout(
        placements=tuple(placements),
        staples=tuple(group.staple for group in groups if group.staple is not None),
        name=_name(receipts, receipt_groups, placements),
        overlap=any(len(group.papers) > 1 for group in groups),
        cropped=cropped,
    )


def turned(layout: Layout) -> str:
    """The rotation slice: how far the paper that is turned most is turned."""
    most = max((abs(placement.angle) for placement in layout.placements), default=0.0)
    return "none" if most <= NO_TURN else "slight" if most <= SLIGHT_TURN else "strong"


def _turns(rng: np.random.Generator) -> tuple[float, float]:
    """Least and most turn of the papers of a picture, radians."""
    kind = rng.random()
    if kind < 0.25:
        return 0.0, NO_TURN
    if kind < 0.75:
        return 0.0, SLIGHT_TURN
    return SLIGHT_TURN, math.radians(80)


def _angle(rng: np.random.Generator, turn: tuple[float, float]) -> float:
    return float(rng.uniform(*turn)) * (1 if rng.random() < 0.5 else -1)


def _uneven(rng: np.random.Generator, width: float, height: float) -> Quad:
    shifts = rng.uniform(-_UNEVEN, _UNEVEN, 8).tolist()
    (a, b, c, d) = (
        (x + shifts[2 * i] * width, y + shifts[2 * i + 1] * height) for i, (x, y) in enumerate(rectangle(width, height))
    )
    return (a, b, c, d)


def _group(rng: np.random.Generator, quads: list[Quad], receipts: int, turn: tuple[float, float]) -> list[_Group]:
    """Put papers together: mostly alone, sometimes receipts in a stack, sometimes two stapled."""
    alone = list(range(len(quads)))
    groups = []
    if receipts >= 2:
        kind = rng.random()
        if kind < 0.14:
            groups.append(_stapled(rng, quads, alone[:2], turn))
            alone = alone[2:]
        elif kind < 0.45:
            size = receipts if rng.random() < 0.5 else int(rng.integers(2, receipts + 1))
            groups.append(_stack(rng, quads, alone[:size], turn))
            alone = alone[size:]
    if len(quads) > receipts and len(alone) >= 2 and rng.random() < 0.25:
        # Another paper half under or over its neighbour: overlap must not mean that there are two receipts.
        groups.append(_stack(rng, quads, [alone[0], alone[-1]], turn))
        alone = alone[1:-1]
    groups += [_Group([paper], [quads[paper]], [0.0]) for paper in alone]
    for group in groups:
        if len(group.papers) == 1:
            group.turn(_angle(rng, turn))
    order = rng.permutation(len(groups))
    return [groups[i] for i in order]


def _stack(rng: np.random.Generator, quads: list[Quad], papers: list[int], turn: tuple[float, float]) -> _Group:
    """Papers that lie over each other, shifted along one direction until none hides too much of another."""
    order = [papers[i] for i in rng.permutation(len(papers))]
    angles = [_angle(rng, turn) for _ in order]
    turned_quads = [moved(quads[paper], angle=angle) for paper, angle in zip(order, angles, strict=True)]
    direction = float(rng.uniform(-0.9, 0.9)) + (0.0 if rng.random() < 0.75 else math.pi / 2)
    dx, dy = math.cos(direction), math.sin(direction)
    left, top, right, bottom = bounds(turned_quads)
    wanted = float(rng.uniform(0.04, MOST_COVERED))

    def at(step: float) -> list[Quad]:
        return [moved(quad, by=(i * step * dx, i * step * dy)) for i, quad in enumerate(turned_quads)]

    near, far = 0.0, math.hypot(right - left, bottom - top)
    for _ in range(_HALVINGS):
        middle = (near + far) / 2
        if _most_covered(at(middle)) > wanted:
            near = middle
        else:
            far = middle
    return _Group(order, at(far), angles)


def _stapled(rng: np.random.Generator, quads: list[Quad], papers: list[int], turn: tuple[float, float]) -> _Group:
    """Two papers held by a staple at their upper inner corners, fanned out until neither hides too much."""
    corners = []
    for paper, inner in zip(papers, (1, 0), strict=True):
        quad = quads[paper]
        # The staple sits a little inside the corner: 12 % of the way to the opposite one.
        (x, y), (ox, oy) = quad[inner], quad[(inner + 2) % 4]
        corners.append(moved(quad, by=(-(x + 0.12 * (ox - x)), -(y + 0.12 * (oy - y)))))
    wanted = float(rng.uniform(0.08, MOST_COVERED))
    near, far = 0.0, math.radians(75)

    def fanned(opening: float) -> list[Quad]:
        return [moved(corners[0], angle=opening / 2), moved(corners[1], angle=-opening / 2)]

    for _ in range(_HALVINGS):
        middle = (near + far) / 2
        if _most_covered(fanned(middle)) > wanted:
            near = middle
        else:
            far = middle
    width = min(quads[paper][1][0] - quads[paper][0][0] for paper in papers)
    half, slope = 0.07 * width, float(rng.uniform(-0.5, 0.5))
    staple = ((-half * math.cos(slope), -half * math.sin(slope)), (half * math.cos(slope), half * math.sin(slope)))
    group = _Group(list(papers), fanned(far), [far / 2, -far / 2], staple)
    group.turn(_angle(rng, (0.0, min(turn[1], SLIGHT_TURN))))
    return group


def _most_covered(quads: list[Quad]) -> float:
    return max(covered_share(quad, quads[i + 1 :]) for i, quad in enumerate(quads))


def _place(rng: np.random.Generator, groups: list[_Group], receipts: int, side: float) -> None:
    """Divide the picture into a cell for every group; scale and shift each group into its cell."""
    if not groups:
        return
    boxes = [bounds(group.quads) for group in groups]
    wishes = [
        _Wish(right - left, bottom - top, 1.0 if min(group.papers) < receipts else _OTHERS_SIZE)
        for group, (left, top, right, bottom) in zip(groups, boxes, strict=True)
    ]
    _, cells = _divide(wishes, (0.0, 0.0, side, side))
    fits = [wish.scale(cell) for wish, cell in zip(wishes, cells, strict=True)]
    for group, cell, (left, top, right, bottom), fit in zip(groups, cells, boxes, fits, strict=True):
        # Things in one picture are seen from one distance: none much larger than its neighbours.
        scale = min(fit, 2.2 * min(fits)) * float(rng.uniform(0.86, 0.98))
        slack_x, slack_y = cell[2] - cell[0] - (right - left) * scale, cell[3] - cell[1] - (bottom - top) * scale
        x = cell[0] + slack_x * float(rng.uniform(0.05, 0.95)) - left * scale
        y = cell[1] + slack_y * float(rng.uniform(0.05, 0.95)) - top * scale
        group.place(scale, (x, y))


def _divide(wishes: list[_Wish], cell: Box) -> tuple[float, list[Box]]:
    """Halve a cell and the groups that go into it, again and again, each time in the better direction.

    Returns:
        The scale of the worst served group, and a cell for each.
    """
    if len(wishes) == 1:
        return wishes[0].scale(cell) / wishes[0].weight, [cell]
    half = len(wishes) // 2
    first, second = wishes[:half], wishes[half:]
    left, top, right, bottom = cell
    # The share of a half follows what its groups need side by side in that direction.
    across = _share([wish.weight * wish.width for wish in first], [wish.weight * wish.width for wish in second])
    down = _share([wish.weight * wish.height for wish in first], [wish.weight * wish.height for wish in second])
    x, y = left + (right - left) * across, top + (bottom - top) * down
    ways = (((left, top, x, bottom), (x, top, right, bottom)), ((left, top, right, y), (left, y, right, bottom)))
    best: tuple[float, list[Box]] = (0.0, [])
    for one, other in ways:
        worst_one, cells_one = _divide(first, one)
        worst_other, cells_other = _divide(second, other)
        if min(worst_one, worst_other) > best[0]:
            best = (min(worst_one, worst_other), cells_one + cells_other)
    return best


def _share(first: list[float], second: list[float]) -> float:
    one, other = sum(first), sum(second)
    return min(max(one / (one + other), 0.2), 0.8)


def _crop(rng: np.random.Generator, groups: list[_Group], side: float) -> bool:
    """Push a paper that lies alone over the nearest edge; returns whether there was one."""
    alone = [group for group in groups if len(group.papers) == 1]
    if not alone:
        return False
    group = alone[int(rng.integers(len(alone)))]
    left, top, right, bottom = bounds(group.quads)
    distance, dx, dy = min((left, -1, 0), (top, 0, -1), (side - right, 1, 0), (side - bottom, 0, 1))
    wanted = float(rng.uniform(0.06, MOST_OUTSIDE))
    near, far = distance, distance + max(right - left, bottom - top)
    for _ in range(_HALVINGS):
        middle = (near + far) / 2
        if outside_share(moved(group.quads[0], by=(dx * middle, dy * middle)), side) > wanted:
            far = middle
        else:
            near = middle
    group.place(1.0, (dx * near, dy * near))
    return outside_share(group.quads[0], side) > 0


def _name(receipts: int, groups: list[_Group], placements: list[Placement]) -> str:
    """What the arrangement of the receipts is called."""
    if receipts <= 1:
        return ("empty", "single")[receipts]
    if any(group.staple for group in groups) or any(sum(p < receipts for p in group.papers) > 1 for group in groups):
        return "stack"
    own = [placement for placement in placements if placement.paper < receipts]
    if any(abs(placement.angle) > SLIGHT_TURN for placement in own):
        return "scattered"
    boxes = [bounds([placement.quad]) for placement in own]
    in_line = any(max(box[i] for box in boxes) < min(box[i + 2] for box in boxes) for i in (0, 1))
    return "side_by_side" if in_line else "grid"
