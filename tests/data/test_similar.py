"""Pictures of the same thing are found, pictures of different things are not."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from receipt_counter.data.render.facts import draw_currency, draw_receipt, draw_stores
from receipt_counter.data.render.paper import rasterise
from receipt_counter.data.render.receipts import draw_sheet
from receipt_counter.data.similar import groups, look, similar_pairs


def receipt(seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    [(kind, store)] = draw_stores(rng, 1)
    sheet = draw_sheet(rng, draw_receipt(rng, kind, store, draw_currency(rng), 9))
    return rasterise(sheet, 9.0).image


def _again(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda image: image.copy(), id="the same pixels"),
        pytest.param(lambda image: _again(image, 60), id="compressed again"),
        pytest.param(lambda image: image.convert("L"), id="grey"),
        pytest.param(lambda image: ImageEnhance.Brightness(image).enhance(0.8), id="darker"),
        pytest.param(lambda image: image.resize((image.width * 2, image.height * 2)), id="enlarged"),
    ],
)
def test_the_same_receipt_is_found(change: Callable[[Image.Image], Image.Image]) -> None:
    originals = [receipt(seed) for seed in range(6)]
    looks = [look(image) for image in [*originals, *(change(image) for image in originals)]]
    assert similar_pairs(looks) == [(i, i + 6) for i in range(6)]


def test_different_receipts_are_not() -> None:
    assert similar_pairs([look(receipt(seed)) for seed in range(60)]) == []


def test_blank_pictures_of_one_shape_are_the_same() -> None:
    looks = [look(Image.new("L", size, level)) for size, level in (((40, 40), 0), ((80, 80), 255), ((80, 20), 255))]
    assert similar_pairs(looks) == [(0, 1)]


@given(st.integers(1, 12).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.tuples(*[st.integers(0, n - 1)] * 2)))))
def test_groups_are_the_connected_components(case: tuple[int, list[tuple[int, int]]]) -> None:
    count, pairs = case
    found = groups(count, pairs)
    assert sorted(i for group in found for i in group) == list(range(count))
    where = {i: number for number, group in enumerate(found) for i in group}
    assert all(where[i] == where[j] for i, j in pairs)
    # No group could be split further: within a group, pairs reach everything.
    for group in found:
        reached = {group[0]}
        for _ in group:
            reached |= {k for i, j in pairs for k in (i, j) if i in reached or j in reached}
        assert reached == set(group)
