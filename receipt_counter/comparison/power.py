"""What a study of a given size can see: "3 seeds detect differences above 2.1 points"."""

from __future__ import annotations

import numpy as np
from scipy.special import chdtri, ndtr, stdtrit

from receipt_counter.comparison.effects import Array, Components, MeanSquares, t_intervals, variance_components
from receipt_counter.errors import UserError

_QUANTILES = 2000


def detectable_difference(
    variances: Array | Components, seeds: int, images: int, power: float = 0.8, alpha: float = 0.05
) -> float:
    """The smallest true difference that `paired_effect` finds significant with probability `power`.

    The power is the mean over the distribution of the seeds' mean square, whose few degrees of freedom matter; the
    other mean squares are taken at their expectation.

    Args:
        variances: of paired differences: components, or differences [..., S, N] to estimate them from (S >= 2).
        seeds, images: size of the study in question.
        power: wanted probability of a significant result.
        alpha: two-sided level; alpha / m where m questions are corrected for.

    Raises:
        UserError: fewer than 2 seeds or images (one seed says nothing about seeds); see also `variance_components`.
    """
    if seeds < 2 or images < 2:
        raise UserError(f"a detectable difference needs at least 2 seeds and 2 images, found {seeds} and {images}")
    parts = variances if isinstance(variances, Components) else variance_components(variances)
    deviation = float(np.sqrt(parts.seed / seeds + parts.image / images + parts.residual / (seeds * images)))
    if deviation == 0:
        return 0.0
    upper_tails = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    seed = (parts.residual + images * parts.seed) * chdtri(seeds - 1, upper_tails) / (seeds - 1)
    image, residual = (np.full_like(seed, value) for value in (parts.residual + seeds * parts.image, parts.residual))
    se, df = t_intervals(MeanSquares(np.zeros_like(seed), seed, image, residual), seeds, images)
    critical = (se * stdtrit(df, 1 - alpha / 2)).max(axis=0) / deviation

    def lacking(noncentrality: float) -> float:
        return float((ndtr(noncentrality - critical) + ndtr(-noncentrality - critical)).mean()) - power

    from scipy.optimize import brentq

    return float(brentq(lacking, 0.0, critical.max() + 10, xtol=1e-6)) * deviation
