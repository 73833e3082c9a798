"""Thinning loses no peak."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receipt_counter.monitor.columns import in_order
from receipt_counter.monitor.event_files import POINT, PointArray
from receipt_counter.monitor.thinning import FEWEST, thin


def points_of(values: list[float]) -> PointArray:
    points = np.zeros(len(values), POINT)
    points["step"], points["value"] = np.arange(len(values)), values
    return points


floats = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(st.lists(floats, min_size=1, max_size=500), st.integers(4, 60), st.data())
def test_the_peaks_of_any_window_are_kept(values: list[float], limit: int, data: st.DataObject) -> None:
    points = points_of(values)
    thinned = thin(points, limit)
    assert len(thinned) <= limit
    begin = data.draw(st.integers(0, len(values) - 1))
    end = data.draw(st.integers(begin, len(values) - 1))
    # what is drawn within a stretch of the window holds its extremes
    stretch = 0 if len(thinned) == len(points) else -(-len(values) // ((limit - 2) // 2))
    near = thinned[(thinned["step"] >= begin - stretch) & (thinned["step"] <= end + stretch)]["value"]
    window = points["value"][begin : end + 1]
    assert near.max() >= window.max()
    assert near.min() <= window.min()


@given(st.lists(floats, min_size=1, max_size=300), st.integers(-5, 40))
def test_thinned_points_are_points_in_order_with_both_ends(values: list[float], limit: int) -> None:
    points = points_of(values)
    thinned = thin(points, limit)
    assert np.isin(thinned, points).all()
    assert (np.diff(thinned["step"]) > 0).all()
    assert thinned["step"][[0, -1]].tolist() == [0, len(values) - 1]
    assert {points["value"].min(), points["value"].max()} <= set(thinned["value"].tolist())


@pytest.mark.parametrize("strange", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_hides_no_peak(strange: float) -> None:
    values = [0.0] * 1000
    values[100:900:2] = [strange] * 400
    values[501] = 7.0
    thinned = thin(points_of(values), 20)
    assert 7.0 in thinned["value"]
    assert len(thin(points_of([strange] * 100), FEWEST)) <= FEWEST


def test_of_a_step_written_twice_the_later_counts() -> None:
    points = points_of([1.0, 2.0, 3.0, 4.0])
    points["step"] = [5, 7, 5, 6]
    ordered = in_order(points)
    assert ordered["step"].tolist() == [5, 6, 7]
    assert ordered["value"].tolist() == [3.0, 4.0, 2.0]
