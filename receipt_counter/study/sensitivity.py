"""How a search's metrics go with its parameters: means with intervals, rank correlations, shares of variance.

The p-values take the trials as chosen independently of their results, as random and grid search do; a sampler that
follows the good trials makes them too small.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from receipt_counter.config.loading import to_plain
from receipt_counter.study.settings import SearchParameter

if TYPE_CHECKING:
    import pandas as pd

_BINS = 3
_PERMUTATIONS = 4999


def is_numeric(parameter: SearchParameter) -> bool:
    """Whether a parameter's values have an order: all that are numbers."""
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in parameter.probes())


def sensitivity(values: pd.Series[Any], objective: pd.Series[float], parameter: SearchParameter) -> dict[str, Any]:
    """The objective along one parameter.

    Args:
        values: the parameter's value in each trial.
        objective: the trials' values.
        parameter: its search space.

    Returns:
        `curve`: n, mean and its 95 % t interval for each listed value, or for thirds of a range's trials (`from`,
        `to`); `spearman` where the values have an order.
    """
    if parameter.values:
        places = values.map(parameter.values.index)
        curve = [
            {"value": to_plain(value), **_mean(objective[places == place])}
            for place, value in enumerate(parameter.values)
        ]
    else:
        thirds = [third for _, third in values.astype(float).groupby(_thirds(values))] if len(values) else []
        curve = [
            {"from": float(third.min()), "to": float(third.max()), **_mean(objective[third.index])} for third in thirds
        ]
    scale = "listed" if parameter.values else "log" if parameter.log else "linear"
    ordered = spearman(values.astype(float), objective) if is_numeric(parameter) else None
    return {"scale": scale, "curve": curve, "spearman": ordered}


def correlation(values: pd.Series[Any], metric: pd.Series[float], parameter: SearchParameter) -> dict[str, Any]:
    """How one metric goes with one parameter: Spearman's rho of numbers, the correlation ratio of categories.

    Args:
        values: the parameter's value in each trial.
        metric: the metric there; nan where a trial lacks it.
        parameter: its search space.
    """
    there = metric.notna()
    if is_numeric(parameter):
        return {"kind": "spearman", **spearman(values[there].astype(float), metric[there])}
    return {"kind": "eta_squared", **_correlation_ratio(values[there].map(str), metric[there])}


def spearman(one: pd.Series[float], other: pd.Series[float]) -> dict[str, Any]:
    """Spearman's rank correlation with its permutation p-value, exact below eight trials.

    Returns:
        `rho`, `p`, `n`; None where either side does not vary or there are fewer than three trials.
    """
    from scipy import stats

    if len(one) < 3 or one.nunique() < 2 or other.nunique() < 2:
        return {"rho": None, "p": None, "n": len(one)}
    # Spearman's is Pearson's of the ranks; its t approximation calls three trials in order significant (p = 0)
    method = stats.PermutationMethod(n_resamples=_PERMUTATIONS, rng=0)
    found = stats.pearsonr(stats.rankdata(one), stats.rankdata(other), method=method)
    return {"rho": float(found.statistic), "p": float(found.pvalue), "n": len(one)}


def _correlation_ratio(groups: pd.Series[str], metric: pd.Series[float]) -> dict[str, Any]:
    """Eta squared: the share of the metric's variance that lies between the groups, from the F of a one-way ANOVA."""
    from scipy import stats

    sides = [side for _, side in metric.groupby(groups)]
    between, within = len(sides) - 1, len(metric) - len(sides)
    if between < 1 or within < 1 or metric.nunique() < 2:
        return {"eta_squared": None, "p": None, "n": len(metric)}
    found = stats.f_oneway(*sides)
    share = 1.0 if math.isinf(found.statistic) else found.statistic * between / (found.statistic * between + within)
    return {"eta_squared": float(share), "p": float(found.pvalue), "n": len(metric)}


def _thirds(values: pd.Series[Any]) -> pd.Series[Any]:
    """Lower, middle and upper third of the trials; by rank, so on any scale."""
    import pandas as pd

    ranks = values.astype(float).rank(method="average")
    return pd.qcut(ranks, min(_BINS, values.nunique()), labels=False, duplicates="drop")


def _mean(sample: pd.Series[float]) -> dict[str, Any]:
    from scipy import stats

    n = len(sample)
    if n < 2:
        return {"n": n, "mean": float(sample.iloc[0]) if n else None, "low": None, "high": None}
    mean, error = float(sample.mean()), float(stats.sem(sample))
    low, high = stats.t.interval(0.95, n - 1, loc=mean, scale=error) if error else (mean, mean)
    return {"n": n, "mean": mean, "low": float(low), "high": float(high)}


def correlations(
    values: pd.DataFrame, metrics: pd.DataFrame, parameters: Sequence[SearchParameter]
) -> dict[str, dict[str, Any]]:
    """{parameter: {metric: `correlation`}} for all of them."""
    return {
        parameter.key: {
            str(name): correlation(values[parameter.key], metrics[name], parameter) for name in metrics.columns
        }
        for parameter in parameters
    }
