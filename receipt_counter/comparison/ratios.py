"""How many times as much a variation costs, with an interval that holds for other seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from receipt_counter.comparison.effects import LEVEL
from receipt_counter.errors import UserError


@dataclass(frozen=True)
class Ratio:
    """What a variation costs as a multiple of the baseline's cost.

    Attributes:
        ratio: the geometric mean over seeds.
        low, high: its interval; None with one seed, which says nothing of others.
    """

    ratio: float
    low: float | None
    high: float | None


def paired_ratio(variation: Sequence[float], baseline: Sequence[float], level: float = LEVEL) -> Ratio:
    """The ratio of two positive measurements by the paired t interval over the logarithms of the seeds' ratios.

    It holds as far as the seeds' runs are disturbed apart: load on the machine that lasts while all of a variation's
    seeds run looks like its cost.

    Args:
        variation, baseline: one measurement a seed, seeds in the same order, in the same unit.
        level: the coverage aimed for.

    Raises:
        UserError: no seed, seeds that do not pair, or a measurement that is not positive.
    """
    if not variation or len(variation) != len(baseline) or min(*variation, *baseline) <= 0:
        raise UserError(f"costs need a positive measurement a seed on both sides, found {variation} and {baseline}")
    logs = np.log(variation) - np.log(baseline)
    mean, seeds = float(logs.mean()), len(logs)
    if seeds == 1:
        return Ratio(float(np.exp(mean)), None, None)
    half = float(logs.std(ddof=1) / np.sqrt(seeds) * stdtrit(seeds - 1, (1 + level) / 2))
    return Ratio(*(float(value) for value in np.exp((mean, mean - half, mean + half))))
