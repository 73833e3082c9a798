"""Papers lie so that a person can count them. Seen with masks, not with the code that places them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from receipt_counter.data.render.geometry import (
    apply,
    area,
    covered_share,
    inverse,
    moved,
    onto_quad,
    outside_share,
    rectangle,
)
from receipt_counter.data.render.layout import CROPPED_PICTURES, LEAST_VISIBLE
from receipt_counter.data.render.scene import Scene, draw_count

ROUNDING = 0.02


def visible_shares(scene: Scene) -> dict[int, float]:
    """For each paper, the share of its pixels that nothing hides and the frame does not cut off."""
    room = scene.side  # drawn with so much margin all around that nothing is cut off
    owner = np.full((3 * scene.side, 3 * scene.side), -1)
    whole: dict[int, int] = {}
    for placement in scene.layout.placements:
        mask = Image.new("1", owner.shape)
        ImageDraw.Draw(mask).polygon([(x + room, y + room) for x, y in placement.quad], fill=1)
        pixels = np.asarray(mask)
        whole[placement.paper] = int(pixels.sum())
        owner[pixels] = placement.paper
    framed = owner[room : 2 * room, room : 2 * room]
    return {paper: float((framed == paper).sum()) / count for paper, count in whole.items()}


def test_at_least_three_quarters_of_every_paper_are_seen(scenes: list[Scene]) -> None:
    shares = [share for scene in scenes for share in visible_shares(scene).values()]
    assert min(shares) >= LEAST_VISIBLE - ROUNDING
    assert LEAST_VISIBLE >= 0.75


def test_overlap_and_cropping_happen_and_are_labelled(scenes: list[Scene]) -> None:
    for scene in scenes:
        whole = min(visible_shares(scene).values(), default=1.0) > 1 - ROUNDING
        labelled = scene.layout.overlap or scene.layout.cropped
        assert whole or labelled
    seen = Counter(key for scene in scenes for key in scene.slices().items())
    for expected in (("overlap", "slight"), ("cropped", "yes"), ("stapled", "yes"), ("rotation", "strong")):
        assert seen[expected] >= 5, expected


def test_cropped_pictures_are_a_bounded_share(scenes: list[Scene]) -> None:
    assert sum(scene.layout.cropped for scene in scenes) / len(scenes) < CROPPED_PICTURES + 0.05


def test_staples_hold_two_receipts(scenes: list[Scene]) -> None:
    for scene in scenes:
        for start, end in scene.layout.staples:
            x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
            hair = tuple((x + dx, y + dy) for dx, dy in ((-0.1, -0.1), (0.1, -0.1), (0.1, 0.1), (-0.1, 0.1)))
            held = [
                placement.paper
                for placement in scene.layout.placements
                if covered_share(hair, [placement.quad]) > 0.9  # type: ignore[arg-type]
            ]
            assert len(held) == 2
            assert max(held) < len(scene.receipts)


def test_every_layout_occurs_and_fits_its_count(scenes: list[Scene]) -> None:
    names = {(scene.layout.name, min(len(scene.receipts), 2)) for scene in scenes}
    several = {(name, 2) for name in ("stack", "scattered", "side_by_side", "grid")}
    assert names == several | {("empty", 0), ("single", 1)}


@pytest.mark.parametrize("most", [1, 2, 3, 5])
def test_classes_are_equally_frequent(most: int) -> None:
    rng = np.random.default_rng(0)
    counts = Counter(draw_count(rng, most) for _ in range(6000))
    classes = Counter(min(count, 2) for count in counts.elements())
    assert set(counts) == set(range(most + 1))
    for name in classes:
        assert classes[name] / 6000 == pytest.approx(1 / len(classes), abs=0.03)
    for count in range(2, most + 1):
        assert counts[count] / classes[2] == pytest.approx(1 / (most - 1), abs=0.05)


@settings(max_examples=100, deadline=None)
@given(st.floats(-3, 3), st.floats(20, 80), st.floats(20, 80), st.floats(0, 100), st.floats(0, 100))
def test_shares_of_area_agree_with_pixels(angle: float, width: float, height: float, x: float, y: float) -> None:
    fixed = moved(rectangle(60, 60), by=(50, 50))
    quad = moved(rectangle(width, height), angle=angle, by=(x, y))
    masks = []
    for shape in (fixed, quad):
        mask = Image.new("1", (900, 900))
        ImageDraw.Draw(mask).polygon([(3 * px + 300, 3 * py + 300) for px, py in shape], fill=1)
        masks.append(np.asarray(mask))
    assert covered_share(fixed, [quad]) == pytest.approx((masks[0] & masks[1]).sum() / masks[0].sum(), abs=0.04)
    inside = masks[1][300:600, 300:600].sum() / masks[1].sum()
    assert outside_share(quad, 100.0) == pytest.approx(1 - inside, abs=0.06)
    assert area(quad) == pytest.approx(width * height, rel=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-8, 8), min_size=8, max_size=8))
def test_mapping_on_to_a_quad_and_back(shifts: list[float]) -> None:
    (a, b, c, d) = (
        (x + shifts[2 * i], y + shifts[2 * i + 1]) for i, (x, y) in enumerate(((10, 10), (90, 20), (80, 95), (5, 80)))
    )
    forward = onto_quad((a, b, c, d), 40, 60)
    for raster, corner in zip(((0, 0), (40, 0), (40, 60), (0, 60)), (a, b, c, d), strict=True):
        assert apply(forward, raster) == pytest.approx(corner, abs=1e-6)
        assert apply(inverse(forward), corner) == pytest.approx(raster, abs=1e-6)
