"""Paired effects: hand-made matrices, invariants, and a small simulation of coverage (the whole one is a benchmark)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import ttest_1samp

from benchmarks.coverage import covering, oracle_width
from benchmarks.simulated_scores import BINARY, GAUSSIAN, binary, gaussian
from receipt_counter.comparison.effects import (
    Components,
    contrast_effect,
    estimate,
    interaction_effect,
    mean_squares,
    paired_effect,
    slice_effects,
    variance_components,
)
from receipt_counter.comparison.power import detectable_difference
from receipt_counter.errors import UserError

MATRICES = st.tuples(st.integers(1, 5), st.integers(2, 12)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.floats(-10, 10).map(lambda value: round(value, 3)))
)


def noise(seeds=3, images=40, seed=0):
    return np.random.default_rng(seed).standard_normal((seeds, images))


class TestPairedEffect:
    def test_zero_differences_are_identical(self):
        found = paired_effect(np.zeros((3, 10)))
        assert (found.effect, found.low, found.high, found.p, found.standardized) == (0, 0, 0, 1, 0)
        assert found.identical

    @pytest.mark.parametrize(
        ("value", "images", "p", "low"),
        [
            pytest.param(0.1, 10, 2.0**-9, 0.1, id="many images"),
            pytest.param(0.1, 3, 0.25, 0.0, id="too few images to be sure"),
        ],
    )
    def test_constant_differences_are_tested_by_sign(self, value, images, p, low):
        found = paired_effect(np.full((3, images), value))
        assert (found.effect, found.p, found.standardized) == (value, p, None)
        assert found.low == pytest.approx(low, abs=1e-12)

    def test_one_seed_is_a_t_test_over_images_and_says_so(self):
        differences = noise(1)
        found = paired_effect(differences)
        reference = ttest_1samp(differences[0], 0)
        interval = reference.confidence_interval(0.95)
        assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
        assert found.p == pytest.approx(reference.pvalue)
        assert not found.holds_for_other_seeds

    def test_never_narrower_than_the_t_interval_over_seeds(self):
        differences = noise() + np.array([[-2.0], [0.0], [2.0]])
        found = paired_effect(differences)
        reference = ttest_1samp(differences.mean(axis=1), 0)
        assert found.high >= reference.confidence_interval(0.95).high - 1e-12
        assert found.p >= reference.pvalue - 1e-12
        assert found.holds_for_other_seeds

    def test_images_that_all_seeds_agree_on_leave_the_variance_of_images(self):
        row = noise(1, 200)
        found = paired_effect(np.repeat(row, 4, axis=0))
        assert found.se == pytest.approx(row.std(ddof=1) / np.sqrt(200))
        assert found.df == pytest.approx(199)

    def test_few_differing_images_are_not_significant(self):
        differences = np.zeros((1, 100))
        differences[0, :4] = 1
        assert paired_effect(differences).p == 0.125

    @pytest.mark.parametrize(
        ("differences", "message"),
        [
            pytest.param(np.full((2, 3), np.nan), "6 of 6 paired differences are not finite", id="nan"),
            pytest.param(np.array([[1.0, 2.0], [3.0, np.inf]]), "seed 1, image 1", id="infinity"),
            pytest.param(np.ones((3, 1)), "two images", id="one image"),
            pytest.param(np.ones((0, 5)), "one seed", id="no seed"),
            pytest.param(np.ones(5), "shape", id="one axis"),
            pytest.param(noise().reshape(1, 3, 40), "seeds x images", id="three axes"),
        ],
    )
    def test_refuses(self, differences, message):
        with pytest.raises(UserError, match=message):
            paired_effect(differences)

    @settings(max_examples=150, deadline=None)
    @given(differences=MATRICES)
    def test_interval_and_p_value_agree(self, differences):
        found = paired_effect(differences)
        assert found.low <= found.effect <= found.high
        assert 0 <= found.p <= 1
        # Rounding decides only where the bound is 0 but for rounding.
        if min(abs(found.low), abs(found.high)) > 1e-9:
            assert (found.p <= 0.05) == (found.low > 0 or found.high < 0)

    @settings(max_examples=50, deadline=None)
    @given(differences=MATRICES, scale=st.sampled_from([-3.0, 0.01, 100.0]))
    def test_unit_and_direction_do_not_matter(self, differences, scale):
        found, scaled = paired_effect(differences), paired_effect(scale * differences)
        assert scaled.effect == pytest.approx(scale * found.effect, abs=1e-9)
        assert scaled.high - scaled.low == pytest.approx(abs(scale) * (found.high - found.low), rel=1e-6, abs=1e-9)


def test_mean_squares_are_those_of_the_analysis_of_variance():
    # A 3 x 4 table worked by hand: rows 1, 2, 3 apart, columns 0, 1, 2, 3, one disturbed cell.
    table = np.add.outer([0.0, 1.0, 2.0], [0.0, 1.0, 2.0, 3.0])
    squares = mean_squares(table)
    assert (float(squares.seed), float(squares.image), float(squares.residual)) == pytest.approx((4.0, 5.0, 0.0))


def test_variance_components_are_found_again():
    shape, generator = (400, 4, 50), np.random.default_rng(0)
    found = variance_components(gaussian((0.5, 0.3, 0.2), 0.0, generator, shape))
    assert (found.seed, found.image, found.residual) == pytest.approx((2.0, 15.0, 40.0), rel=0.1)
    with pytest.raises(UserError, match="at least 2 seeds"):
        variance_components(noise(1))


def test_interaction_is_a_difference_of_differences():
    cells = {(a, b): noise(seed=index) for index, (a, b) in enumerate([(0, 0), (1, 0), (0, 1), (1, 1)])}
    difference = (cells[1, 1] - cells[0, 1]) - (cells[1, 0] - cells[0, 0])
    found, expected = interaction_effect(cells), paired_effect(difference)
    assert (found.effect, found.low, found.p) == pytest.approx((expected.effect, expected.low, expected.p), rel=1e-6)
    without = {(a, b): cells[0, b] for a, b in cells}
    assert interaction_effect(without).identical
    with pytest.raises(UserError, match="2 x 2"):
        interaction_effect({(0, 0): noise(), (1, 1): noise()})


def test_contrast_refuses_what_does_not_pair():
    assert contrast_effect({"a": noise(), "b": noise(seed=1)}, {"b": 1, "a": -1}).effect == pytest.approx(
        (noise(seed=1) - noise()).mean()
    )
    with pytest.raises(UserError, match="no scores for c"):
        contrast_effect({"a": noise()}, {"c": 1})
    with pytest.raises(UserError, match="different seeds x images"):
        contrast_effect({"a": noise(), "b": noise(2)}, {"a": 1, "b": -1})


def test_slices_are_effects_of_their_images():
    differences, labels = noise(), ["even", "odd"] * 15 + ["rare"] * 10
    found = slice_effects(differences, labels, least=11)
    assert set(found) == {"even", "odd"}
    expected = paired_effect(differences[:, 1:30:2])
    assert (found["odd"].effect, found["odd"].high) == pytest.approx((expected.effect, expected.high))
    with pytest.raises(UserError, match="slice labels"):
        slice_effects(differences, labels[1:])


@pytest.mark.parametrize("seeds", [3, 10])
@pytest.mark.parametrize("alpha", [0.05, 0.005])
def test_detectable_difference_is_detected_as_often_as_promised(seeds, alpha):
    parts = Components(seed=0.02**2, image=0.2**2, residual=0.2**2)
    effect = detectable_difference(parts, seeds, 100, power=0.8, alpha=alpha)
    shares = np.array([parts.seed / seeds, parts.image / 100, parts.residual / (seeds * 100)])
    scale = np.sqrt(shares.sum())
    drawn = gaussian(tuple(shares / scale**2), effect / scale, np.random.default_rng(1), (1500, seeds, 100))
    assert (estimate(scale * drawn).p < alpha).mean() == pytest.approx(0.8, abs=0.035)


def test_detectable_difference_refuses_one_seed_and_shrinks_with_seeds():
    differences = noise()
    with pytest.raises(UserError, match="at least 2 seeds"):
        detectable_difference(differences, 1, 40)
    assert detectable_difference(differences, 10, 40) < detectable_difference(differences, 3, 40)
    assert detectable_difference(np.zeros((3, 10)), 3, 10) == 0


STUDIES = 400
LEAST = 0.95 - 2.5 * (0.95 * 0.05 / STUDIES) ** 0.5


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("name", GAUSSIAN)
def test_intervals_cover_the_true_effect(name, seeds):
    generator = np.random.default_rng(seeds)
    drawn = gaussian(GAUSSIAN[name], 1.0, generator, (STUDIES, seeds, 100))
    found = estimate(drawn)
    assert (np.abs(found.mean - 1.0) <= found.half_width).mean() >= LEAST
    if name == "images":
        assert 2 * found.half_width.mean() < 1.15 * oracle_width(found.mean)


@pytest.mark.parametrize("seeds", [3, 10])
@pytest.mark.parametrize("name", BINARY)
def test_intervals_of_right_and_wrong_cover_the_true_effect(name, seeds):
    generator, latent = np.random.default_rng(seeds), BINARY[name]
    found = estimate(binary(latent, generator, (STUDIES, seeds, 200)))
    assert (np.abs(found.mean - latent.true_effect()) <= found.half_width).mean() >= LEAST


def test_a_bootstrap_nested_over_seeds_does_not_cover():
    generator = np.random.default_rng(0)
    drawn = gaussian(GAUSSIAN["mixed"], 0.0, generator, (STUDIES, 3, 60))
    assert covering(drawn, 0.0, generator)["nested bootstrap"].hits < 0.88
