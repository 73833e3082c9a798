"""Paired effects: what a variation changes, with an interval that holds for other seeds and other images.

A baseline and a variation are trained with the same S seeds and judged on the same N images. The differences of their
scores, D[s, i] = variation - baseline, follow a model with crossed random effects,

    D[s, i] = effect + seed[s] + image[i] + residual[s, i],

whose mean has the variance V = seed variance / S + image variance / N + residual variance / (S N). Two t intervals are
made of the mean squares of the two-way analysis of variance without replication:

- over seeds and images: V from all three mean squares, as in Satterthwaite (1946, "An approximate distribution of
  estimates of variance components"), but with 1/df = sum of w/df of the parts, where he squares their shares w. His
  degrees of freedom are too many when seeds happen to agree, which shrinks V too: at 3 seeds the interval covers
  92 % and at the levels Holm's correction asks for, tests err up to nine times as often as they should.
- over seeds: the paired t interval over the S means over images, exact but for the image effects all seeds share.

Each fails where the other holds, so the wider one counts, and the larger p-value. `benchmarks/coverage.py` shows it.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from receipt_counter.errors import UserError

Array = NDArray[np.float64]
K = TypeVar("K", bound=Hashable)

LEVEL = 0.95
DECIMALS = 9  # computed scores that differ by rounding errors only are equal


@dataclass(frozen=True)
class Effect:
    """A mean paired difference and how sure one can be of it.

    Attributes:
        effect: variation minus baseline, in the metric's unit.
        low, high: its interval.
        p: two-sided p-value of "no effect"; above 1 - level exactly if the interval holds 0.
        p_holm: the same after Holm's correction, once `with_holm` has been given the whole family.
        standardized: effect / standard deviation of a single paired difference (seed, image and residual variance
            added: Westfall, Kenny and Judd 2014, "Statistical power and optimal design in experiments in which samples
            of participants respond to samples of stimuli"); None where all differences are equal and none is 0.
        df: degrees of freedom of the t interval that counted.
        se: its standard error.
        n_seeds, n_images: how many of each.
    """

    effect: float
    low: float
    high: float
    p: float
    p_holm: float | None
    standardized: float | None
    df: float
    se: float
    n_seeds: int
    n_images: int

    @property
    def holds_for_other_seeds(self) -> bool:
        """Whether the interval speaks of other seeds too. One seed says nothing about them: other images only."""
        return self.n_seeds > 1

    @property
    def identical(self) -> bool:
        """Whether every single score equals the baseline's."""
        return self.effect == 0 and self.se == 0


@dataclass(frozen=True)
class MeanSquares:
    """Two-way analysis of variance without replication, over the last two axes of differences [..., S, N].

    Attributes:
        mean: of all differences.
        seed, image, residual: mean squares with S - 1, N - 1 and (S - 1)(N - 1) degrees of freedom. With one seed,
            image is the variance over images and the other two are 0.
    """

    mean: Array
    seed: Array
    image: Array
    residual: Array


@dataclass(frozen=True)
class Components:
    """Variances of the three parts a single paired difference is made of."""

    seed: float
    image: float
    residual: float


@dataclass(frozen=True)
class Estimate:
    """Mean, standard error, degrees of freedom, half the interval's width and p-value; arrays over many matrices."""

    mean: Array
    se: Array
    df: Array
    half_width: Array
    p: Array


def mean_squares(differences: Array) -> MeanSquares:
    """The analysis of variance of one or many matrices.

    Args:
        differences: [..., S, N].
    """
    seeds, images = differences.shape[-2:]
    mean = differences.mean(axis=(-2, -1))
    centred = differences - mean[..., None, None]
    rows, columns = centred.mean(axis=-1), centred.mean(axis=-2)
    image = seeds * (columns**2).sum(axis=-1) / (images - 1)
    if seeds == 1:
        return MeanSquares(mean, np.zeros_like(image), image, np.zeros_like(image))
    rest = centred - rows[..., None] - columns[..., None, :]
    return MeanSquares(
        mean=mean,
        seed=images * (rows**2).sum(axis=-1) / (seeds - 1),
        image=image,
        residual=(rest**2).sum(axis=(-2, -1)) / ((seeds - 1) * (images - 1)),
    )


def t_intervals(squares: MeanSquares, seeds: int, images: int) -> tuple[Array, Array]:
    """Standard errors of the mean and their degrees of freedom, [intervals, ...]: the wider interval counts.

    Args:
        squares: of one or many matrices.
        seeds, images: shape of each.
    """
    total = seeds * images
    if seeds == 1:
        intervals = [(np.sqrt(squares.image / total), np.full_like(squares.image, images - 1.0))]
    else:
        over_seeds = np.sqrt(squares.seed / total), np.full_like(squares.seed, seeds - 1.0)
        intervals = [_over_seeds_and_images(squares, seeds, images), over_seeds]
    se, df = zip(*intervals, strict=True)
    return np.stack(se), np.stack(df)


def estimate(differences: Array, level: float = LEVEL) -> Estimate:
    """The mean with its interval and p-value, for one or many matrices at once (see the module).

    Args:
        differences: [..., S, N] with N >= 2.
        level: the coverage aimed for.
    """
    squares = mean_squares(differences)
    distance = np.abs(squares.mean)
    se, df = t_intervals(squares, *differences.shape[-2:])
    half_widths = se * stdtrit(df, (1 + level) / 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = np.nan_to_num(2 * stdtr(df, -distance / se), nan=1.0).max(axis=0)
    # k images that differ at all cannot give a smaller p-value than a sign test in which all k agree.
    p = np.maximum(p, np.minimum(1.0, 2.0 ** (1 - np.any(differences != 0, axis=-2).sum(axis=-1))))
    wider = half_widths.argmax(axis=0)[None]
    se, df, half_width = (np.take_along_axis(part, wider, axis=0)[0] for part in (se, df, half_widths))
    return Estimate(squares.mean, se, df, np.where(p > 1 - level, np.maximum(half_width, distance), half_width), p)


def _over_seeds_and_images(squares: MeanSquares, seeds: int, images: int) -> tuple[Array, Array]:
    """Standard error of the mean and its degrees of freedom; negative components count as 0."""
    variance = mean_variance(squares)
    share = np.divide(squares.seed, variance, out=np.ones_like(variance), where=variance > 0).clip(max=1.0)
    df = 1 / (share / (seeds - 1) + (1 - share) / (images - 1))
    return np.sqrt(variance / (seeds * images)), df


def mean_variance(squares: MeanSquares) -> Array:
    """S N times the variance of the mean; negative components count as 0."""
    seed, image, residual = squares.seed, squares.image, squares.residual
    return np.asarray(residual + np.maximum(seed - residual, 0) + np.maximum(image - residual, 0))


def variance_components(differences: Array) -> Components:
    """Variance components by the method of moments, negative ones counted as 0.

    Args:
        differences: [..., S, N] with S >= 2; the mean squares of several matrices are averaged first.

    Raises:
        UserError: see `paired_effect`; also with one seed, where seed and residual variance cannot be told apart.
    """
    checked = _checked(differences)
    seeds, images = checked.shape[-2:]
    if seeds == 1:
        raise UserError("one seed says nothing about how much seeds differ: variance components need at least 2 seeds")
    squares = mean_squares(checked)
    seed, image, residual = (float(part.mean()) for part in (squares.seed, squares.image, squares.residual))
    return Components(max(seed - residual, 0.0) / images, max(image - residual, 0.0) / seeds, residual)


def paired_effect(differences: Array, level: float = LEVEL) -> Effect:
    """The mean difference with an interval for other seeds and other images; for other images only where S is 1.

    With one seed and 0/1 scores of which fewer than about ten differ, the interval is too short (p-values are not: k
    images that differ cannot give less than a sign test in which all agree).
    Differences that are all 0 give effect 0, interval [0, 0] and p 1. Equal differences other than 0 leave no
    variance to estimate: the interval has no width and p is that of a sign test over the images.

    Args:
        differences: variation minus baseline, [S, N], at least two images.
        level: the coverage aimed for.

    Raises:
        UserError: not two-dimensional, fewer than two images, no seed, or values that are not finite.
    """
    checked = _checked(differences)
    if checked.ndim != 2:
        raise UserError(f"differences have {checked.ndim} axes: they need two, seeds x images")
    seeds, images = checked.shape
    constant = bool((checked == checked[0, 0]).all())
    # A mean of equal numbers differs from them by rounding, which must not pass for variance.
    found = estimate(checked - checked[0, 0] if constant else checked, level)
    effect = float(checked[0, 0]) if constant else float(found.mean)
    p = min(1.0, 2.0 ** (1 - images)) if constant and effect else float(found.p)
    half = max(float(found.half_width), abs(effect) if p > 1 - level else 0.0)
    deviation = float(checked.std(ddof=1)) if seeds == 1 else _deviation(variance_components(checked))
    return Effect(
        effect=effect,
        low=effect - half,
        high=effect + half,
        p=p,
        p_holm=None,
        standardized=0.0 if effect == 0 else None if constant else effect / deviation,
        df=float(found.df),
        se=float(found.se),
        n_seeds=seeds,
        n_images=images,
    )


def _deviation(components: Components) -> float:
    return float(np.sqrt(components.seed + components.image + components.residual))


def contrast_effect(cells: Mapping[K, Array], weights: Mapping[K, float], level: float = LEVEL) -> Effect:
    """The effect of a weighted sum of cells: weights 1 and -1 compare two, 1 -1 -1 1 give the interaction of four.

    Args:
        cells: {name: scores [S, N]}, the same seeds and images in all.
        weights: {name: weight}; a cell without a weight does not count.
        level: the coverage aimed for.

    Raises:
        UserError: see `paired_effect`; also where shapes differ or a weighted cell is missing.
    """
    missing = [str(name) for name in weights if name not in cells]
    if missing:
        raise UserError(f"no scores for {', '.join(missing)}; there are: {', '.join(map(str, cells))}")
    shapes = {np.shape(cells[name]) for name in weights}
    if len(shapes) != 1:
        raise UserError(f"cells of different seeds x images cannot be compared: {sorted(map(str, shapes))}")
    combined = np.sum([weight * np.asarray(cells[name]) for name, weight in weights.items()], axis=0)
    return paired_effect(np.round(combined, DECIMALS), level)


def interaction_effect(cells: Mapping[tuple[Hashable, Hashable], Array], level: float = LEVEL) -> Effect:
    """How much more a variation changes where another is made too: a difference of differences.

    Args:
        cells: {(level of factor a, level of factor b): scores [S, N]} of a 2 x 2 design. The first level met of each
            factor is its baseline.
        level: the coverage aimed for.

    Raises:
        UserError: the cells are not 2 x 2; see also `contrast_effect`.
    """
    first, second = (list(dict.fromkeys(cell[factor] for cell in cells)) for factor in (0, 1))
    if len(first) != 2 or len(second) != 2 or len(cells) != 4:
        raise UserError(
            f"an interaction needs 2 x 2 cells, found {len(first)} x {len(second)} with {len(cells)} filled"
        )
    signs = (-1.0, 1.0)
    weights = {(a, b): signs[i] * signs[j] for i, a in enumerate(first) for j, b in enumerate(second)}
    return contrast_effect(cells, weights, level)


def slice_effects(
    differences: Array, slices: Sequence[str], least: int = 20, level: float = LEVEL
) -> dict[str, Effect]:
    """The effect on each part of the images.

    Args:
        differences: [S, N].
        slices: the part each image belongs to, [N].
        least: parts with fewer images are left out.
        level: the coverage aimed for.

    Raises:
        UserError: see `paired_effect`; also where slices and images differ in number.
    """
    if len(slices) != np.shape(differences)[-1]:
        raise UserError(f"{len(slices)} slice labels for {np.shape(differences)[-1]} images")
    labels = np.asarray(slices, dtype=object)
    return {
        str(name): paired_effect(differences[:, labels == name], level)
        for name in sorted(set(slices))
        if np.count_nonzero(labels == name) >= max(least, 2)
    }


def _checked(differences: Array) -> Array:
    array = np.asarray(differences, dtype=np.float64)
    if array.ndim < 2 or array.shape[-2] < 1 or array.shape[-1] < 2:
        raise UserError(f"paired differences need at least one seed and two images, found the shape {array.shape}")
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        seed, image = bad[0][-2:]
        raise UserError(
            f"{len(bad)} of {array.size} paired differences are not finite (first: seed {seed}, image {image}, "
            f"counted from 0): leave the diverged run or the undefined metric out"
        )
    return array
