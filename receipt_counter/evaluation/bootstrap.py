"""95 % intervals: images are drawn again with replacement, and figures are computed from sums over the drawn images.

Every figure here is a function of sums over images (right answers, confusion counts, matched n-grams ...), so one
resample is a row of weights and 2,000 resamples are one matrix product. An image brings all its questions with it: the
answers about one image are not independent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

Array = NDArray[np.float64]
Sums = Mapping[str, Array]  # name -> [resamples, width]
Figures = Callable[[Sums], dict[str, Array]]  # -> {figure: [resamples]}, nan where it is undefined

LEVEL = 0.95
_RESAMPLES_AT_ONCE = 250  # bounds the memory: weights of 250 x images x 8 bytes


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval, `low <= value <= high`."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        """The form it has in metrics.json."""
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class ImageStatistics:
    """What each image adds to the sums figures are made of.

    Attributes:
        blocks: {name: [images, width]}, in counts, or in the unit summed.
    """

    blocks: Mapping[str, Array]

    @property
    def images(self) -> int:
        """How many images there are."""
        return len(next(iter(self.blocks.values())))

    def select(self, rows: Sequence[int]) -> ImageStatistics:
        """Those of some images, by their position."""
        return ImageStatistics({name: block[list(rows)] for name, block in self.blocks.items()})

    def sums(self, weights: Array | None = None) -> dict[str, Array]:
        """Sums over the images.

        Args:
            weights: how often each image counts, [resamples, images]; once each when absent.

        Returns:
            {block: [resamples, width]}.
        """
        chosen = np.ones((1, self.images)) if weights is None else weights
        return {name: chosen @ rows for name, rows in self.blocks.items()}

    def leave_one_out(self) -> dict[str, Array]:
        """Sums without the i-th image, {block: [images, width]}."""
        return {name: rows.sum(axis=0, keepdims=True) - rows for name, rows in self.blocks.items()}


def points(statistics: ImageStatistics, figures: Figures) -> dict[str, float]:
    """Figures of the images as they are; an undefined figure (no such images, an overflow) is left out."""
    found = figures(statistics.sums())
    return {name: float(value[0]) for name, value in found.items() if np.isfinite(value[0])}


def bootstrap(statistics: ImageStatistics, figures: Figures, samples: int, seed: int) -> dict[str, Interval]:
    """Figures with bias-corrected and accelerated (BCa) bootstrap intervals over images.

    BCa (Efron 1987, "Better bootstrap confidence intervals"; DiCiccio and Efron 1996) rather than plain percentiles:
    several figures are skewed near 1 (BLEU, accuracy) or biased upwards in resamples (calibration error), which
    percentiles pass on. The acceleration comes from the jackknife over images.

    Args:
        statistics: what each image adds to the sums.
        figures: from sums to figures, for all resamples at once.
        samples: how many resamples.
        seed: of the resampling; equal seeds give equal intervals.

    Returns:
        {figure: Interval}; an undefined figure is left out.
    """
    values = points(statistics, figures)
    pieces = [figures(statistics.sums(weights)) for weights in _weights(statistics.images, samples, seed)]
    jackknife = figures(statistics.leave_one_out())
    return {
        name: bca_interval(value, np.concatenate([piece[name] for piece in pieces]), jackknife[name])
        for name, value in values.items()
    }


def _weights(images: int, samples: int, seed: int) -> Iterator[Array]:
    generator = np.random.default_rng(seed)
    for start in range(0, samples, _RESAMPLES_AT_ONCE):
        rows = min(_RESAMPLES_AT_ONCE, samples - start)
        drawn = generator.integers(images, size=(rows, images)) + images * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * images).reshape(rows, images).astype(np.float64)


def bca_interval(value: float, resampled: Array, jackknife: Array, level: float = LEVEL) -> Interval:
    """BCa interval of one figure (Efron 1987, equations 2.3 and 6.6).

    Args:
        value: the figure on the data as it is.
        resampled: the figure on each resample, [resamples]; nan where undefined, and ignored there.
        jackknife: the figure without the i-th image, [images]; nan likewise.
        level: the coverage aimed for.

    Returns:
        The interval, widened to hold `value` where the bias correction alone would not reach it.
    """
    defined = np.sort(resampled[np.isfinite(resampled)])
    if defined.size == 0:
        return Interval(value, value, value)
    # Ties count half; kept off 0 and 1, where the correction would be infinite.
    below = (np.count_nonzero(defined < value) + np.count_nonzero(defined <= value)) / (2 * defined.size)
    correction = ndtri(np.clip(below, 1 / (defined.size + 1), defined.size / (defined.size + 1)))
    tail = (1 - level) / 2
    shifted = correction + ndtri(np.array([tail, 1 - tail]))
    low, high = np.quantile(defined, ndtr(correction + shifted / (1 - _acceleration(jackknife) * shifted)))
    return Interval(value, min(float(low), value), max(float(high), value))


def _acceleration(jackknife: Array) -> float:
    defined = jackknife[np.isfinite(jackknife)]
    if defined.size == 0:
        return 0.0
    gaps = defined.mean() - defined
    spread = float((gaps**2).sum())
    if spread < 1e-24:
        return 0.0
    return float((gaps**3).sum() / (6 * spread**1.5))


def widen_unanimous(interval: Interval, images: float, level: float = LEVEL) -> Interval:
    """Give a proportion of exactly 0 or 1 an honest interval.

    When all images agree, so do all resamples, and the bootstrap interval has no width. The exact binomial bound
    (Clopper and Pearson 1934) is used instead, with the image as the unit.

    Args:
        interval: of a proportion.
        images: how many images the proportion is over.
        level: the coverage aimed for.

    Returns:
        `interval`, unless its value is 0 or 1.
    """
    if interval.value not in (0.0, 1.0) or images < 1:
        return interval
    bound = float(((1 - level) / 2) ** (1 / images))
    if interval.value == 1.0:
        return Interval(1.0, min(interval.low, bound), 1.0)
    return Interval(0.0, 0.0, max(interval.high, 1 - bound))
