"""Ratios of costs over seeds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receipt_counter.comparison.ratios import paired_ratio
from receipt_counter.errors import UserError

SECONDS = st.lists(st.tuples(st.floats(0.1, 1e4), st.floats(0.1, 1e4)), min_size=2, max_size=6)


def test_hand_made_seeds():
    # Ratios 1/2, 1, 2: mean logarithm 0, standard error ln 2 / sqrt(3), t of 2 degrees of freedom 4.302653.
    found = paired_ratio([5.0, 10.0, 20.0], [10.0, 10.0, 10.0])
    assert (found.ratio, found.high) == pytest.approx((1.0, np.exp(4.302653 * np.log(2) / 3**0.5)), rel=1e-6)
    assert found.low == pytest.approx(1 / found.high)


@given(SECONDS)
def test_the_other_way_round_is_the_reciprocal(pairs):
    one, other = (list(side) for side in zip(*pairs, strict=True))
    found, turned = paired_ratio(one, other), paired_ratio(other, one)
    assert found.ratio == pytest.approx(1 / turned.ratio, rel=1e-6)
    assert found.low == pytest.approx(1 / turned.high, rel=1e-6)
    assert found.low <= found.ratio * (1 + 1e-9)


def test_covers_the_true_ratio():
    generator = np.random.default_rng(0)
    hits = 0
    for _ in range(400):
        baseline = generator.lognormal(3, 0.3, 3)
        found = paired_ratio(list(0.6 * baseline * generator.lognormal(0, 0.1, 3)), list(baseline))
        hits += found.low <= 0.6 <= found.high
    assert hits / 400 == pytest.approx(0.95, abs=0.03)


def test_one_seed_says_nothing_of_others():
    found = paired_ratio([30.0], [60.0])
    assert (found.ratio, found.low, found.high) == (pytest.approx(0.5), None, None)


@pytest.mark.parametrize(("one", "other"), [([], []), ([1.0], [1.0, 2.0]), ([1.0], [0.0])])
def test_refuses(one, other):
    with pytest.raises(UserError, match="positive measurement a seed"):
        paired_ratio(one, other)
