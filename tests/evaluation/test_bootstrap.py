"""Intervals: against scipy, by coverage, and in the corners where a bootstrap misleads."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from receipt_counter.evaluation.bootstrap import (
    ImageStatistics,
    Interval,
    bca_interval,
    bootstrap,
    widen_unanimous,
)
from receipt_counter.evaluation.metrics import metrics_with_intervals
from receipt_counter.evaluation.statistics import statistics_of
from tests.evaluation.fabricate import fabricate_predictions


def mean_statistics(values):
    return ImageStatistics({"value": np.column_stack([values, np.ones(len(values))])})


def mean_figure(sums):
    return {"mean": sums["value"][:, 0] / sums["value"][:, 1]}


def test_agrees_with_scipy_where_plain_percentiles_do_not():
    values = np.random.default_rng(5).lognormal(sigma=1.3, size=40)
    ours = bootstrap(mean_statistics(values), mean_figure, 20_000, seed=1)["mean"]
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="BCa", rng=2).confidence_interval
    plain = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=2).confidence_interval
    assert ours.value == pytest.approx(values.mean())
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), rel=0.02)
    assert plain.high < 0.95 * ours.high  # BCa sees that the mean is skewed


def test_covers_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        found = bootstrap(mean_statistics(generator.random(80) < 0.8), mean_figure, 400, seed=trial)["mean"]
        covered += found.low <= 0.8 <= found.high
    assert 0.90 <= covered / 200 <= 0.99


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 40), st.floats(0, 1), st.integers(0, 1000))
def test_every_interval_holds_its_figure(images, skill, seed):
    statistics = statistics_of(fabricate_predictions(images, skill=skill, seed=seed), 3)
    for name, interval in metrics_with_intervals(statistics, 200, seed).items():
        assert interval.low <= interval.value <= interval.high, name
        assert np.isfinite([interval.low, interval.high]).all(), name


def test_an_image_brings_all_its_questions():
    """Answers that are copies of each other within an image carry no more information than one."""
    once = (np.arange(50) % 5 > 0).astype(float)
    single = ImageStatistics({"value": np.column_stack([once, np.ones(50)])})
    copied = ImageStatistics({"value": np.column_stack([3 * once, 3 * np.ones(50)])})
    first, second = (bootstrap(kind, mean_figure, 1000, seed=3)["mean"] for kind in (single, copied))
    assert (first.low, first.high) == pytest.approx((second.low, second.high))


def test_a_seed_gives_the_same_interval_and_another_seed_another():
    statistics = statistics_of(fabricate_predictions(50), 3)
    first, again, other = (metrics_with_intervals(statistics, 300, seed)["generation_bleu"] for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_fewer_images_give_wider_intervals():
    small, large = (
        metrics_with_intervals(statistics_of(fabricate_predictions(size), 3), 500, 0)["answer_accuracy"]
        for size in (30, 600)
    )
    assert small.high - small.low > 2 * (large.high - large.low)


@pytest.mark.parametrize(
    ("value", "images", "low", "high"),
    [
        pytest.param(1.0, 100, 0.025**0.01, 1.0, id="all right"),
        pytest.param(0.0, 20, 0.0, 1 - 0.025**0.05, id="all wrong"),
        pytest.param(1.0, 1, 0.025, 1.0, id="one image"),
        pytest.param(0.5, 10, 0.4, 0.6, id="mixed: left alone"),
    ],
)
def test_a_unanimous_proportion_gets_the_exact_bound(value, images, low, high):
    before = Interval(value, 0.4, 0.6) if value == 0.5 else Interval(value, value, value)
    after = widen_unanimous(before, images)
    assert (after.low, after.high) == pytest.approx((low, high))


def test_the_exact_bound_is_clopper_and_pearsons():
    expected = stats.binomtest(40, 40).proportion_ci(0.95, method="exact")
    assert widen_unanimous(Interval(1.0, 1.0, 1.0), 40).low == pytest.approx(expected.low)


def test_resamples_without_a_defined_figure_are_ignored():
    with_gaps = np.array([0.2, np.nan, 0.4, 0.3, np.nan])
    interval = bca_interval(0.3, with_gaps, np.array([np.nan, 0.3, 0.31]))
    assert 0.2 <= interval.low <= 0.3 <= interval.high <= 0.4
    assert bca_interval(0.3, np.array([np.nan]), np.array([np.nan])) == Interval(0.3, 0.3, 0.3)
