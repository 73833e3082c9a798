"""The wanted shares of question types are met over the dataset, or come as near as its pictures allow."""

from __future__ import annotations

import numpy as np
import pytest

from receipt_counter.data.render.mix import draw_types, fit_mix

BARE = frozenset(("counting", "existence", "edge"))
FULL = BARE | {"value", "detail"}
REFERENCE = {"counting": 0.4, "existence": 0.0, "value": 0.3, "detail": 0.2, "edge": 0.1}


def overall(wanted: dict[str, float], readable: float) -> dict[str, float]:
    pictures = [FULL] * round(100 * readable) + [BARE] * round(100 * (1 - readable))
    mix = fit_mix(wanted, pictures)
    for kind, shares in mix.items():
        assert sum(shares.values()) == pytest.approx(1)
        assert all(share == 0 or name in kind for name, share in shares.items())
    return {name: sum(mix[kind][name] for kind in pictures) / len(pictures) for name in wanted}


@pytest.mark.parametrize("readable", [1.0, 0.8, 0.5])
def test_reference_mix_is_met_where_it_can_be(readable: float) -> None:
    assert overall(REFERENCE, readable) == pytest.approx(REFERENCE, abs=0.01)


def test_where_it_cannot_be_met_every_readable_picture_is_asked_what_is_missing() -> None:
    found = overall(REFERENCE, 0.3)
    assert found["value"] + found["detail"] == pytest.approx(0.3, abs=0.01)
    assert found["counting"] / found["edge"] == pytest.approx(4, rel=0.05)


def test_laptop_mix_needs_no_legible_text() -> None:
    wanted = dict.fromkeys(REFERENCE, 0.0) | {"counting": 0.7, "existence": 0.3}
    assert overall(wanted, 0.1) == pytest.approx(wanted, abs=0.01)


def test_counting_and_existence_stand_in_where_nothing_wanted_can_be_asked() -> None:
    found = overall(dict.fromkeys(REFERENCE, 0.0) | {"value": 1.0}, 0.5)
    assert found["value"] == pytest.approx(0.5)
    assert found["counting"] + found["existence"] == pytest.approx(0.5)


def test_drawn_types_have_their_shares_and_one_picture_has_several() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_types(rng, REFERENCE, 3) for _ in range(3000)]
    for name, share in REFERENCE.items():
        assert sum(types.count(name) for types in drawn) / 9000 == pytest.approx(share, abs=0.02)
    assert max(types.count("counting") for types in drawn) == 2
