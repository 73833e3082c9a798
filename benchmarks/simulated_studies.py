"""Simulated ablation studies with known effects: many variations and metrics beside one baseline, on the same images.

Seeds' standard deviations may differ between variations: what collapses at random has ten times the others'. Beside
what the product does stands what was tried instead: variances moderated by those of the other variations (Smyth 2004,
"Linear models and empirical Bayes methods for assessing differential expression in microarray experiments").
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import digamma, expit, polygamma, stdtr, stdtrit

from benchmarks.simulated_scores import GAUSSIAN
from receipt_counter.comparison.effects import LEVEL, Array, estimate, mean_squares
from receipt_counter.comparison.multiple_comparisons import holm, question_weights

VARIATIONS, METRICS = 10, 3
CORRELATION = 0.5  # of the metrics
SCORES_AT_ONCE = 4_000_000  # bounds the memory
SAME = (1.0,) * VARIATIONS
HALF = {variation: (3.0,) * METRICS for variation in range(VARIATIONS // 2)}
FEW = {0: (-66.0, 0.0, 0.0), 1: (0.0, -50.0, -50.0), 2: (-10.0, -5.0, -5.0), 3: (-3.0, -3.0, -3.0)}


@dataclass(frozen=True)
class Normal:
    """Normal scores, scaled so that the mean of an ordinary variant with S seeds has the variance 1 / S.

    Attributes:
        shares: of that variance: seeds, images, residual.
        spread: how many times the baseline's each variation's standard deviation of seeds is.
        scatter: standard deviation of the spread's logarithm, drawn anew in each study.
        skew: 0, or the variations' seeds are lognormal, tailed downwards, and this is the logarithm's deviation.
        effects: {variation: its effect on each metric}.
    """

    shares: tuple[float, float, float]
    spread: tuple[float, ...] = SAME
    scatter: float = 0.0
    skew: float = 0.0
    effects: Mapping[int, Sequence[float]] = field(default_factory=dict)

    def true_effects(self) -> Array:
        """[variations, metrics]."""
        effects = np.zeros((VARIATIONS, METRICS))
        for variation, values in self.effects.items():
            effects[variation] = values
        return effects

    def draw(self, generator: np.random.Generator, studies: int, seeds: int, images: int) -> Array:
        """Differences [studies, variations, metrics, seeds, images]."""
        seed, image, residual = np.sqrt(np.multiply(self.shares, (1, images / seeds, images)))

        def part(*shape: int) -> Array:
            common, own = (generator.standard_normal((studies, shape[0], n, *shape[1:])) for n in (1, METRICS))
            return np.asarray(np.sqrt(CORRELATION) * common + np.sqrt(1 - CORRELATION) * own)

        def skewed(normal: Array) -> Array:
            tail = np.exp(self.skew**2)
            return (np.sqrt(tail) - np.exp(self.skew * normal)) / np.sqrt(tail * (tail - 1)) if self.skew else normal

        def scores(variants: int, spread: Array) -> Array:
            drawn = part(variants, seeds, 1)
            return np.asarray(
                spread * seed * (skewed(drawn) if variants > 1 else drawn)
                + image * part(variants, 1, images)
                + residual * part(variants, seeds, images)
            )

        scatter = np.exp(self.scatter * generator.standard_normal((studies, VARIATIONS)))
        spread = (np.asarray(self.spread) * scatter)[..., None, None, None]
        drawn = scores(VARIATIONS, spread) - scores(1, np.ones(1))
        return np.asarray(drawn + self.true_effects()[..., None, None])


@dataclass(frozen=True)
class RightOrWrong:
    """0/1 scores: logit = ease + image + shift + seed + residual, all normal; the last variation is the baseline again.

    Attributes:
        seed: the baseline's standard deviation of seeds.
        spread: how many times that each variation's is.
        shifts: of the variations.
    """

    seed: float
    spread: tuple[float, ...] = SAME
    shifts: tuple[float, ...] = (0.0,) * VARIATIONS
    ease: float = 2.0
    image: float = 2.0
    residual: float = 0.3

    def true_effects(self) -> Array:
        """[variations, metrics]: differences of the probabilities, by Gauss-Hermite quadrature."""
        nodes, weights = np.polynomial.hermite_e.hermegauss(80)

        def probability(shift: float, spread: float) -> float:
            deviation = np.sqrt(self.image**2 + (spread * self.seed) ** 2 + self.residual**2)
            return float(weights @ expit(self.ease + shift + deviation * nodes) / weights.sum())

        before = probability(0.0, 1.0)
        gains = [probability(*variation) - before for variation in zip(self.shifts, self.spread, strict=True)]
        return np.repeat(np.array([*gains[:-1], 0.0])[:, None], METRICS, axis=1)

    def draw(self, generator: np.random.Generator, studies: int, seeds: int, images: int) -> Array:
        """Differences [studies, variations, metrics, seeds, images]."""
        normal = generator.standard_normal
        ease = self.ease + self.image * normal((studies, 1, 1, 1, images))
        shift, spread = np.array([(0.0, 1.0), *zip(self.shifts, self.spread, strict=True)]).T[..., None, None, None]
        shape = (studies, VARIATIONS + 1, METRICS, seeds)
        noise = self.seed * spread * normal((*shape, 1)) + self.residual * normal((*shape, images))
        logit = ease + shift + noise
        right = generator.random(logit.shape) < expit(logit)
        right[:, -1] = right[:, 0]
        return np.asarray(np.subtract(right[:, 1:], right[:, :1], dtype=np.float64))


ONE_COLLAPSES = (10.0, *SAME[1:])
THREE_COLLAPSE = (10.0, 10.0, 10.0, *SAME[3:])
SEEDS_RULE = GAUSSIAN["seeds"]
STUDIES: dict[str, Normal | RightOrWrong] = {
    **{name: Normal(GAUSSIAN[name]) for name in ("seeds", "more seeds than images", "mixed", "images")},
    **{f"{name}, half differ": Normal(GAUSSIAN[name], effects=HALF) for name in ("seeds", "mixed", "images")},
    "scattered spread": Normal(SEEDS_RULE, scatter=0.7),
    "scattered, half differ": Normal(SEEDS_RULE, scatter=0.7, effects=HALF),
    "one spreads 10 x": Normal(SEEDS_RULE, ONE_COLLAPSES),
    "three spread 10 x": Normal(SEEDS_RULE, THREE_COLLAPSE),
    "three spread 10 x, mixed": Normal(GAUSSIAN["mixed"], THREE_COLLAPSE),
    "an ablation": Normal(SEEDS_RULE, (10.0, 0.1, *SAME[2:]), effects=FEW),
    "ablation, one more 10 x": Normal(SEEDS_RULE, (10.0, 0.1, *SAME[2:9], 10.0), effects=FEW),
    "0/1": RightOrWrong(0.8),
    "0/1, one spreads 10 x": RightOrWrong(0.15, ONE_COLLAPSES),
    "0/1, an ablation": RightOrWrong(
        0.15, (6.0, *SAME[1:]), shifts=(-6.0, 0.0, -1.5, -0.5, *(0.0,) * (VARIATIONS - 4))
    ),
}
BEYOND: dict[str, Normal | RightOrWrong] = {  # where t intervals end: 3 seeds do not show that they are skewed
    "skewed": Normal(SEEDS_RULE, skew=0.8),
    "skewed, one spreads 10 x": Normal(SEEDS_RULE, ONE_COLLAPSES, skew=0.8),
    "skewed, an ablation": Normal(SEEDS_RULE, (10.0, 0.1, *SAME[2:]), skew=0.8, effects=FEW),
}


@dataclass(frozen=True)
class Outcome:
    """What one method found in many studies of a kind.

    Attributes:
        coverage: of its 95 % intervals, [variations].
        error: share of studies in which a correction finds a difference where none is.
        power: share of studies in which it finds each effect, [variations, metrics].
    """

    coverage: Array
    error: float
    power: Array


def measure_studies(
    kind: Normal | RightOrWrong, seeds: int, images: int, studies: int, generator: np.random.Generator
) -> dict[str, Outcome]:
    """What each method finds: ours, Holm's correction with equal weights, and moderated variances with Holm's."""
    parts = [
        _found(kind.draw(generator, part, seeds, images))
        for part in pieces(studies, seeds * images * METRICS * (VARIATIONS + 1))
    ]
    truth = kind.true_effects()
    outcomes = {}
    for name in parts[0]:
        mean, half_width, corrected = (np.concatenate(found) for found in zip(*(p[name] for p in parts), strict=True))
        covered, rejected = np.abs(mean - truth) <= half_width, corrected <= 1 - LEVEL
        outcomes[name] = Outcome(
            coverage=covered.mean(axis=(0, 2)),
            error=float((rejected & (truth == 0)).any(axis=(1, 2)).mean()),
            power=rejected.mean(axis=0),
        )
    return outcomes


def _found(differences: Array) -> dict[str, tuple[Array, Array, Array]]:
    """{method: means, half widths and corrected p-values, each [studies, variations, metrics]}."""
    found = estimate(differences)
    mean, se, df = (np.moveaxis(part, 1, 0) for part in (found.mean, found.se, found.df))
    weights = np.moveaxis(question_weights(mean, se, df, differences.shape[-2]), 0, 1)
    se, df = moderated(differences)
    p = 2 * stdtr(df, -np.abs(found.mean) / np.maximum(se, np.finfo(float).tiny))
    return {
        "ours": (found.mean, found.half_width, holm_of_families(found.p, weights)),
        "equal weights": (found.mean, found.half_width, holm_of_families(found.p, np.ones_like(weights))),
        "moderated": (found.mean, se * stdtrit(df, (1 + LEVEL) / 2), holm_of_families(p, np.ones_like(weights))),
    }


def holm_of_families(p: Array, weights: Array) -> Array:
    """Corrected p-values of families [..., variations, metrics]."""
    flat = (*p.shape[:-2], -1)
    return holm(p.reshape(flat), weights.reshape(flat)).reshape(p.shape)


def moderated(differences: Array) -> tuple[Array, Array]:
    """Standard errors over seeds and degrees of freedom, the variances of each metric moderated by the variations'.

    The prior's scale and degrees of freedom match mean and variance of the logarithms of the seeds' mean squares (Smyth
    2004, section 6.2).

    Args:
        differences: [studies, variations, metrics, seeds, images].
    """
    seeds, images = differences.shape[-2:]
    square, df = mean_squares(differences).seed, seeds - 1
    log = np.log(np.where(square > 0, square, np.nan)) - digamma(df / 2) + np.log(df / 2)
    excess = np.nanvar(log, axis=1, ddof=1, keepdims=True) - polygamma(1, df / 2)
    prior_df = np.where(excess > 0, 2 * _inverse_trigamma(np.maximum(excess, 1e-6)), 1e6)
    center = np.nanmean(log, axis=1, keepdims=True)
    prior = np.exp(center + digamma(prior_df / 2) - np.log(prior_df / 2))
    posterior = np.where(square > 0, (prior_df * prior + df * square) / (prior_df + df), 0.0)
    return np.sqrt(posterior / (seeds * images)), np.broadcast_to(prior_df + df, square.shape)


def _inverse_trigamma(value: Array) -> Array:
    """By Newton's method from Smyth's start (2004, appendix)."""
    found = 0.5 + 1 / value
    for _ in range(20):
        trigamma = polygamma(1, found)
        found = found + trigamma * (1 - trigamma / value) / polygamma(2, found)
    return np.asarray(found)


def pieces(studies: int, scores: int) -> Iterator[int]:
    """How many studies of `scores` scores each to draw at once."""
    size = max(1, SCORES_AT_ONCE // scores)
    for start in range(0, studies, size):
        yield min(size, studies - start)
