"""No text leaves its paper, every character is in the face, what must be read is not squeezed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receipt_counter.data.faces import FACES
from receipt_counter.data.render import receipts as styles
from receipt_counter.data.render.facts import draw_currency, draw_receipt, draw_stores
from receipt_counter.data.render.fonts import glyphs, nearest_size
from receipt_counter.data.render.negatives import NEGATIVES
from receipt_counter.data.render.paper import Sheet, Text, rasterise
from receipt_counter.data.render.vocabulary import CITIES, CURRENCIES, GOODS, NAMES, STREETS

STYLES = sorted({style for group in styles.STYLES.values() for style in group}, key=lambda style: style.__name__)
DRAWN = {style.__name__: style for style in STYLES} | NEGATIVES
WRITTEN = sorted(
    set("0123456789.,:/-%#+()'!")
    | set("".join((*NAMES, *CITIES, *STREETS)))
    | {c for seconds, goods in GOODS.values() for text in (*seconds, *(name for name, _ in goods)) for c in text}
    | {c for currency in CURRENCIES for c in currency.pattern.format("")}
)


def draw(name: str, seed: int) -> Sheet:
    rng = np.random.default_rng(seed)
    if name in NEGATIVES:
        return NEGATIVES[name](rng)
    kinds = [kind for kind, group in styles.STYLES.items() if DRAWN[name] in group]
    ((_, store),) = draw_stores(rng, 1)
    receipt = draw_receipt(rng, kinds[int(rng.integers(len(kinds)))], store, draw_currency(rng), 9)
    return DRAWN[name](rng, receipt)


@pytest.mark.parametrize("name", DRAWN)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), em=st.floats(1.5, 30.0))
def test_text_stays_inside_its_paper(name: str, seed: int, em: float) -> None:
    sheet = draw(name, seed)
    raster = rasterise(sheet, em)
    width, height = raster.image.size
    paper = np.full((height, width), 255) if raster.outline is None else np.asarray(raster.outline)
    for text, box in raster.boxes:
        assert 0 <= box.left < box.right <= width, text.text
        assert 0 <= box.top < box.bottom <= height, text.text
        assert (paper[box.top : box.bottom, box.left : box.right] == 255).all(), text.text
    assert len(raster.boxes) == len(sheet.texts)


@pytest.mark.parametrize("name", [style.__name__ for style in STYLES])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), em=st.floats(8.5, 30.0))
def test_lines_of_a_receipt_neither_run_into_each_other_nor_are_squeezed(name: str, seed: int, em: float) -> None:
    raster = rasterise(draw(name, seed), em)
    for i, (text, box) in enumerate(raster.boxes):
        natural = glyphs(text.face, nearest_size(raster.em[1] * text.size)).width(text.text)
        assert box.right - box.left >= 0.85 * natural, text.text
        for other, place in raster.boxes[:i]:
            if other.y == text.y:
                assert place.right <= box.left or box.right <= place.left, (other.text, text.text)


@pytest.mark.parametrize("face", FACES)
def test_faces_hold_every_character_that_is_written(face: str) -> None:
    shapes = glyphs(face, 32.0)
    missing = shapes["\uffff"]
    lacking = [c for c in WRITTEN if c != " " and np.array_equal(shapes[c], missing)]
    assert not lacking


def test_sizes_are_near_what_is_asked_for() -> None:
    for pixels in np.arange(3.0, 64.0, 0.1):
        assert nearest_size(pixels) == pytest.approx(pixels, rel=0.11)
    assert (nearest_size(0.5), nearest_size(500.0)) == (3.0, 64.0)


def test_ink_of_a_glyph_is_not_cut() -> None:
    for face in FACES:
        for character in "fjyQ/gW":
            cell = glyphs(face, 24.0)[character]
            assert cell.max() > 200
            assert cell[0].max() < 255, (face, character)
            assert cell[-1].max() < 255, (face, character)


def test_text_wider_than_its_room_is_squeezed_into_it() -> None:
    sheet = Sheet(6.0, 3.0, "plex", (255, 255, 255), texts=(Text(1.0, 0.5, "far too long for this", "plex", 4.0),))
    raster = rasterise(sheet, 10.0)
    ink = np.asarray(raster.image.convert("L")) < 200
    columns = np.flatnonzero(ink.any(axis=0))
    assert columns.min() >= 10
    assert columns.max() < 50
