"""Figures of a whole split (BLEU-4, macro F1, calibration error) as means over images, paired like any other score.

The jackknife's pseudo-value of image i is N figure - (N - 1) figure without i (Tukey 1958; Efron 1982, "The jackknife,
the bootstrap and other resampling plans", section 3). For a mean over images it is the image's own score; for a smooth
function of sums over images it is the image's influence to first order, so crossed with seeds it can be treated as
a score.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from receipt_counter.comparison.effects import DECIMALS, LEVEL, Effect, paired_effect
from receipt_counter.errors import UserError, suggestion
from receipt_counter.evaluation.bootstrap import Array, Figures, ImageStatistics
from receipt_counter.evaluation.metrics import all_figures


def image_contributions(statistics: ImageStatistics, figures: Figures = all_figures) -> dict[str, Array]:
    """What each image contributes to each figure: its pseudo-value, less the jackknife's correction of bias.

    Args:
        statistics: of at least two images.
        figures: from sums to figures.

    Returns:
        {figure: [images]}, whose mean is the figure. Left out: a figure that is undefined, or would be without one of
        the images.
    """
    whole, without = figures(statistics.sums()), figures(statistics.leave_one_out())
    contributions = {}
    for name, value in whole.items():
        influence = (statistics.images - 1) * (without[name].mean() - without[name])
        if np.isfinite(value[0]) and np.isfinite(influence).all():
            contributions[name] = np.round(value[0] + influence, DECIMALS)
    return contributions


def corpus_effect(
    baseline: Sequence[ImageStatistics],
    variation: Sequence[ImageStatistics],
    statistic: str,
    figures: Figures = all_figures,
    level: float = LEVEL,
) -> Effect:
    """The paired effect on a figure that is no mean over images, by the jackknife over images crossed with seeds.

    Args:
        baseline, variation: statistics of each seed's run, seeds and images in the same order.
        statistic: the figure's name among those of `figures`.
        figures: from sums to figures.
        level: the coverage aimed for.

    Returns:
        The effect: the mean over seeds of the figures' differences.

    Raises:
        UserError: runs that do not pair, or a figure that is unknown or undefined in one of the runs.
    """
    if len(baseline) != len(variation) or len({run.images for run in (*baseline, *variation)}) != 1:
        raise UserError("runs do not pair: both sides need the same seeds, and all the same images")

    def scores(runs: Sequence[ImageStatistics]) -> Array:
        rows = []
        for run in runs:
            found = image_contributions(run, figures)
            if statistic not in found:
                raise UserError(f"{statistic} is unknown or undefined in a run; {suggestion(statistic, found)}")
            rows.append(found[statistic])
        return np.stack(rows)

    return paired_effect(scores(variation) - scores(baseline), level)
