"""How much each parameter of a search matters: fANOVA, with its spread and what chance alone would give."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from receipt_counter.study.settings import SearchParameter

if TYPE_CHECKING:
    import optuna
    import pandas as pd

METHOD = "fANOVA (Hutter, Hoos, Leyton-Brown 2014) through Optuna"
SPREAD = (
    "importance and seed_sd: all trials, over evaluator seeds; mean, sd, low, high (2.5 % to 97.5 %): over bootstrap"
    " resamples of the trials, each with an evaluator seed of its own; chance: what the most important parameter stays"
    " below in 95 % of shuffles of the objective, which no parameter explains"
)
_FEWEST_TRIALS = 8
_EVALUATOR_SEEDS = 5


def parameter_importance(
    values: pd.DataFrame, objective: pd.Series[float], parameters: Sequence[SearchParameter], resamples: int
) -> dict[str, Any]:
    """The share of the objective's variation that each parameter explains by itself.

    Shares are not scaled to sum to one: what is missing belongs to parameters acting together.

    Args:
        values: a row per trial, a column per parameter.
        objective: the value of each trial, finite.
        parameters: the search space.
        resamples: bootstrap resamples of the trials, and as many shuffles of the objective.

    Returns:
        `method`, `trials` and either `parameters`, most important first, with the importance that `chance` alone
        reaches, or None there and the `reason`.
    """
    found: dict[str, Any] = {"method": METHOD, "trials": len(values), "parameters": None, "reason": None}
    if len(values) < _FEWEST_TRIALS:
        found["reason"] = f"{len(values)} finished trials are too few for importances: {_FEWEST_TRIALS} are the least"
    elif objective.nunique() == 1:
        found["reason"] = "every trial has the same objective: there is nothing to explain"
    elif sum(_encoded(parameter, values[parameter.key]).nunique() > 1 for parameter in parameters) < 2:
        found["reason"] = "fewer than two parameters vary: there is nothing to share out between them"
    if found["reason"] is None:
        found |= {"evaluator_seeds": _EVALUATOR_SEEDS, "resamples": resamples, "spread": SPREAD}
        found |= _importances(values, objective, parameters, resamples)
    return found


def _importances(
    values: pd.DataFrame, objective: pd.Series[float], parameters: Sequence[SearchParameter], resamples: int
) -> dict[str, Any]:
    import pandas as pd

    encoded = pd.DataFrame({parameter.key: _encoded(parameter, values[parameter.key]) for parameter in parameters})
    generator, outcome = np.random.default_rng(0), objective.to_numpy()
    seeds = [_fanova(encoded, outcome, parameters, seed) for seed in range(_EVALUATOR_SEEDS)]
    draws = generator.integers(0, len(values), (resamples, len(values)))
    drawn = [_fanova(encoded.iloc[rows], outcome[rows], parameters, seed) for seed, rows in enumerate(draws)]
    shuffled = [_fanova(encoded, generator.permutation(outcome), parameters, seed) for seed in range(resamples)]
    whole, spread, chance = (pd.DataFrame(rows) for rows in (seeds, drawn, shuffled))
    found = {
        parameter.key: {
            "importance": float(whole[parameter.key].mean()),
            "seed_sd": float(whole[parameter.key].std()),
            "mean": float(spread[parameter.key].mean()),
            "sd": float(spread[parameter.key].std()),
            "low": float(spread[parameter.key].quantile(0.025)),
            "high": float(spread[parameter.key].quantile(0.975)),
        }
        for parameter in parameters
    }
    return {
        # the largest of each shuffle, so that one bar holds for all parameters together (Westfall and Young 1993)
        "chance": float(chance.max(axis=1).quantile(0.95)),
        "parameters": dict(sorted(found.items(), key=lambda item: -item[1]["importance"])),
    }


def _encoded(parameter: SearchParameter, column: pd.Series[Any]) -> pd.Series[Any]:
    """A parameter as the evaluator sees it: listed values by their place, a logarithmic range by its logarithm."""
    if parameter.values:
        return column.map(parameter.values.index)
    clipped = column.astype(float).clip(parameter.low, parameter.high)
    # Optuna's fANOVA weighs a range evenly on the scale it is given, whatever the distribution says of `log`
    return clipped.map(np.log) if parameter.log else clipped


def _distribution(parameter: SearchParameter) -> optuna.distributions.BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if parameter.values:
        return CategoricalDistribution(tuple(range(len(parameter.values))))
    ends = np.array([parameter.low, parameter.high], dtype=float)
    low, high = np.log(ends) if parameter.log else ends
    return FloatDistribution(float(low), float(high))


def _fanova(
    encoded: pd.DataFrame, outcome: np.ndarray[Any, Any], parameters: Sequence[SearchParameter], seed: int
) -> dict[str, float]:
    import optuna

    distributions = {parameter.key: _distribution(parameter) for parameter in parameters}
    study = memory_study(direction="maximize")
    study.add_trials(
        [
            optuna.trial.create_trial(
                params=dict(zip(distributions, row, strict=True)), distributions=distributions, value=float(value)
            )
            for row, value in zip(encoded.itertuples(index=False, name=None), outcome, strict=True)
        ]
    )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # of `normalize`
        try:
            return optuna.importance.get_param_importances(study, evaluator=evaluator, normalize=False)
        except RuntimeError:  # no tree of the forest tells two trials apart: nothing is explained
            return dict.fromkeys(distributions, 0.0)


def memory_study(**settings: Any) -> optuna.Study:
    """An Optuna study in memory, without the line that Optuna logs about it."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study(**settings)
    finally:
        optuna.logging.set_verbosity(before)
