"""Katib's algorithms as they run here: what Optuna calls their settings, and what it does not have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kubeflow_katib_api.models import V1beta1AlgorithmSpec, V1beta1EarlyStoppingSpec

from receipt_counter.engines.local.median_stop import NAME as MEDIAN_STOP
from receipt_counter.engines.local.median_stop import MedianStop
from receipt_counter.errors import suggestion
from receipt_counter.katib.algorithms import DEFAULT_ETA, EARLY_STOPPING, SETTINGS, read_settings
from receipt_counter.katib.space import Parameter


@dataclass(frozen=True)
class Algorithm:
    """A checked algorithm.

    Args:
        name: Katib's name.
        settings: {Optuna's or hyperband's name of the setting: value}.
    """

    name: str
    settings: Mapping[str, Any]

    @property
    def learns(self) -> bool:
        """Whether its suggestions depend on results; hyperband knows by itself on which."""
        return self.name not in ("random", "grid", "sobol", "hyperband")


# {algorithm: {Katib's setting: its name here}}
_SEED = {"random_state": "seed"}
_NAMES: Mapping[str, Mapping[str, str]] = {
    "random": _SEED,
    "grid": _SEED,
    "tpe": {**_SEED, "n_EI_candidates": "n_ei_candidates"},
    "multivariate-tpe": {**_SEED, "n_startup_trials": "n_startup_trials", "n_ei_candidates": "n_ei_candidates"},
    "bayesianoptimization": {**_SEED, "n_initial_points": "n_startup_trials"},
    "cmaes": {**_SEED, "sigma": "sigma0"},
    "sobol": {},
    "hyperband": {name: name for name in ("r_l", "eta", "resource_name")},
}
# {algorithm: {Katib's setting: the only value there is here}}; Optuna's CMA-ES, for one, does not restart
_ONLY: Mapping[str, Mapping[str, str]] = {
    "bayesianoptimization": {"base_estimator": "GP", "acq_func": "EI", "acq_optimizer": "auto"},
    "cmaes": {"restart_strategy": "none"},
}


def read_algorithm(
    spec: V1beta1AlgorithmSpec, parameters: Sequence[Parameter], problems: list[str]
) -> Algorithm | None:
    """The algorithm of a document in which Katib finds no mistake.

    Args:
        spec: spec.algorithm.
        parameters: the search space.
        problems: what cannot be done here is added.

    Returns:
        The algorithm, or None if something cannot be done.
    """
    name = spec.algorithm_name or ""
    if name not in _NAMES:
        problems.append(
            f"spec.algorithm.algorithmName: {name}: the local engine has no such algorithm; {suggestion(name, _NAMES)}"
        )
        return None
    names, only, before = _NAMES[name], _ONLY.get(name, {}), len(problems)
    values = read_settings(spec.algorithm_settings or [], SETTINGS[name])
    for setting, value in values.items():
        place = f"spec.algorithm.algorithmSettings ({name}): {setting}"
        if setting in only and value != only[setting]:
            problems.append(f"{place}: {value}: Optuna has {only[setting]} only; write that, or leave the setting out")
        elif setting not in (*names, *only):
            problems.append(f"{place}: no such setting here; {suggestion(setting, (*names, *only))}")
    if name == "sobol" and all(parameter.values for parameter in parameters):
        problems.append("spec.parameters: sobol needs a parameter of type int or double; use random or grid")
    settings = {names[setting]: value for setting, value in values.items() if setting in names}
    if name == "hyperband":
        settings = {"eta": DEFAULT_ETA, **settings}
    return Algorithm(name, settings) if len(problems) == before else None


def read_early_stopping(spec: V1beta1EarlyStoppingSpec | None) -> MedianStop | None:
    """The early stopping rule of a document in which Katib finds no mistake, if it has one."""
    if spec is None:
        return None
    return MedianStop(**read_settings(spec.algorithm_settings or [], EARLY_STOPPING[MEDIAN_STOP]))
