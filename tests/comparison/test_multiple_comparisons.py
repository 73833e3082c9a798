"""Holm's correction and its weights: hand-made families, invariants, and simulated studies (all are a benchmark)."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import kendalltau
from statsmodels.stats.multitest import multipletests

from benchmarks.simulated_studies import STUDIES, measure_studies
from receipt_counter.comparison.effects import estimate, paired_effect
from receipt_counter.comparison.multiple_comparisons import holm, question_weights, with_holm

STUDIED = 400
P_VALUES = st.integers(1, 8).flatmap(lambda n: arrays(np.float64, n, elements=st.floats(1e-12, 1)))


def effect(shift=0.0, spread=1.0, seed=0, seeds=3):
    """An effect whose seeds spread, and whose images hardly matter."""
    generator = np.random.default_rng(seed)
    return paired_effect(shift + spread * generator.standard_normal((seeds, 1)) + 1e-3 * generator.random((seeds, 50)))


@pytest.mark.parametrize("p", [(0.03,), (0.01, 0.04, 0.03, 0.005), (0.02, 0.02, 0.02, 1.0), (0.0, 0.5, 0.9, 0.7)])
def test_equal_weights_are_holms_correction(p):
    found = holm(np.array(p), np.full(len(p), 0.3))
    assert found == pytest.approx(multipletests(p, method="holm")[1])


@given(P_VALUES, st.randoms(use_true_random=False))
def test_weights_keep_holms_order_and_bounds(p, random):
    weights = np.array([random.random() + 0.01 for _ in p])
    corrected = holm(p, weights)
    assert (corrected >= p * (1 - 1e-9)).all()
    assert (corrected <= 1).all()
    assert holm(p, 1000 * weights) == pytest.approx(corrected)
    order = np.argsort(p / weights)
    assert (np.diff(corrected[order]) >= 0).all()


def test_weights_worked_by_hand():
    # Steps: 0.01 of 0.8 of all; then 0.03 of 0.15 of the 0.2 left; then 0.02 of all that is left.
    found = holm(np.array([0.01, 0.02, 0.03]), np.array([0.8, 0.05, 0.15]))
    assert found == pytest.approx([0.0125, 0.04, 0.04])
    assert holm(np.array([0.01, 1.0]), np.array([2.0, 0.0])) == pytest.approx([0.01, 1.0])


def test_families_are_corrected_apart():
    generator = np.random.default_rng(0)
    p, weights = generator.random((2, 5, 4, 6))
    assert holm(p, weights)[3, 2] == pytest.approx(holm(p[3, 2], weights[3, 2]))


def test_weights_of_questions():
    square, zero = np.array([4.0, 0.0]), np.zeros(2)
    assert question_weights(square, zero, np.full(2, 2.0), 3) == pytest.approx([2.0, 0.0])
    assert question_weights(square, zero, np.full(2, 4.0), 5) == pytest.approx([2**0.5, 0.0])
    assert question_weights(square, zero, np.full(2, 99.0), 1) == pytest.approx([1.0, 1.0])
    assert question_weights(zero, zero, np.full(2, 2.0), 3) == pytest.approx([0.0, 0.0])
    # An effect weighs as much as a standard error of the same mean square.
    assert question_weights(np.array([2.0, 0.0]), np.array([0.0, 2**0.5]), np.full(2, 2.0), 3) == pytest.approx([1, 1])


def test_where_nothing_differs_weights_say_nothing_of_p():
    differences = np.random.default_rng(0).standard_normal((4000, 3, 1)) * np.ones(5)
    found = estimate(differences)
    weights = question_weights(found.mean, found.se, found.df, 3)
    assert kendalltau(weights, found.p).pvalue > 0.01
    assert kendalltau(found.se, found.p).pvalue < 1e-9  # as the standard error does


def test_every_family_is_corrected_whole():
    effects = {name: effect(index, seed=index) for index, name in enumerate("abcdef")}
    expected = multipletests([found.p for found in effects.values()], method="holm")[1]
    assert [found.p_holm for found in with_holm(effects).values()] == pytest.approx(list(expected))
    assert with_holm({}) == {}


def test_a_large_effect_is_tested_at_nearly_the_whole_level():
    effects = {("large", "accuracy"): effect(-60.0, 5.0)} | {(n, "accuracy"): effect(seed=n + 1) for n in range(20)}
    equal, weighted = with_holm(effects), with_holm(effects, metric_of=lambda key: key[1])
    large = effects["large", "accuracy"]
    assert equal["large", "accuracy"].p_holm == pytest.approx(21 * large.p)
    assert weighted["large", "accuracy"].p_holm == pytest.approx(large.p, rel=0.05)
    assert weighted[0, "accuracy"].p_holm >= equal[0, "accuracy"].p


def test_a_metrics_unit_does_not_matter():
    effects = {(name, metric): effect(3, seed=10 * name + metric) for name in range(4) for metric in range(2)}
    scaled = {
        key: dataclasses.replace(found, effect=1000 * found.effect, se=1000 * found.se) if key[1] else found
        for key, found in effects.items()
    }
    corrected, again = (with_holm(family, metric_of=lambda key: key[1]) for family in (effects, scaled))
    assert [found.p_holm for found in again.values()] == pytest.approx([found.p_holm for found in corrected.values()])


def test_what_changes_nothing_takes_no_level():
    alone = {(0, "a"): effect(9.0, seed=3)}
    beside = alone | {(n, "a"): paired_effect(np.zeros((3, 50))) for n in range(1, 9)}
    found = with_holm(beside, metric_of=lambda key: key[1])
    assert found[0, "a"].p_holm == pytest.approx(alone[0, "a"].p)
    assert found[1, "a"].p_holm == 1


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("name", STUDIES)
def test_simulated_studies_are_judged_right(name, seeds):
    found = measure_studies(STUDIES[name], seeds, 30, STUDIED, np.random.default_rng(seeds))["ours"]
    assert found.error <= 0.05 + 2.5 * (0.05 * 0.95 / STUDIED) ** 0.5
    assert found.coverage.min() >= 0.93 - 2.5 * (0.93 * 0.07 / STUDIED) ** 0.5


@pytest.mark.parametrize("name", ["an ablation", "0/1, an ablation"])
def test_three_seeds_find_a_collapse(name):
    found = measure_studies(STUDIES[name], 3, 30, STUDIED, np.random.default_rng(0))
    assert found["ours"].power[0, 0] > 0.95
    assert found["equal weights"].power[0, 0] < 0.5


def test_variances_borrowed_from_other_variations_would_not_do():
    found = measure_studies(STUDIES["one spreads 10 x"], 3, 30, STUDIED, np.random.default_rng(0))["moderated"]
    assert found.coverage.min() < 0.8
    assert found.error > 0.2
