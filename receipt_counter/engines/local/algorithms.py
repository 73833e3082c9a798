"""Katib's algorithms and their settings: what each is called here, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kubeflow_katib_api.models import V1beta1AlgorithmSpec, V1beta1EarlyStoppingSpec

from receipt_counter.engines.local import hyperband, median_stop
from receipt_counter.engines.local.median_stop import MedianStop
from receipt_counter.errors import suggestion
from receipt_counter.katib.space import Parameter


class _SettingError(Exception):
    """A value that a setting cannot take; the text says what it can."""


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


def _whole(least: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.strip().isdigit() or int(text) < least:
            raise _SettingError(f"must be a whole number of at least {least}")
        return int(text)

    return read


def _number(least: float, *, above: bool) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (value > least if above else value >= least) or math.isinf(value):
            raise _SettingError(f"must be a number {'above' if above else 'of at least'} {least:g}")
        return value

    return read


def _only(*valid: str) -> Callable[[str], None]:
    def read(text: str) -> None:
        if text not in valid:
            raise _SettingError(f"here it can only be {' or '.join(valid)}")

    return read


def _text(text: str) -> str:
    return text


_Reader = Callable[[str], Any]
_SEED: dict[str, tuple[str, _Reader]] = {"random_state": ("seed", _whole(0))}
_TPE: dict[str, tuple[str, _Reader]] = {
    **_SEED,
    "n_startup_trials": ("n_startup_trials", _whole(0)),
    "startup_trials": ("n_startup_trials", _whole(0)),
    "n_ei_candidates": ("n_ei_candidates", _whole(1)),
    "n_EI_candidates": ("n_ei_candidates", _whole(1)),
    "ei_candidates": ("n_ei_candidates", _whole(1)),
}
# {algorithm: {Katib's setting: (its name here, how it is read)}}; what is read as None is the only way there is
_SETTINGS: dict[str, dict[str, tuple[str, _Reader]]] = {
    "random": _SEED,
    "grid": _SEED,
    "tpe": _TPE,
    "multivariate-tpe": _TPE,
    "bayesianoptimization": {
        **_SEED,
        "n_initial_points": ("n_startup_trials", _whole(0)),
        "base_estimator": ("", _only("GP")),
        "acq_func": ("", _only("EI")),
        "acq_optimizer": ("", _only("auto")),
    },
    "cmaes": {
        **_SEED,
        "sigma": ("sigma0", _number(0, above=True)),
        "restart_strategy": ("", _only("none")),
    },
    "sobol": _SEED,
    "hyperband": {
        **_SEED,
        "r_l": ("r_l", _number(1, above=False)),
        "eta": ("eta", _number(1, above=True)),
        "resource_name": ("resource_name", _text),
    },
}
DEFAULT_ETA = 3.0


def read_algorithm(
    spec: V1beta1AlgorithmSpec | None, parameters: Sequence[Parameter], parallel_trials: int, problems: list[str]
) -> Algorithm | None:
    """The algorithm of a document.

    Args:
        spec: spec.algorithm.
        parameters: the search space.
        parallel_trials: spec.parallelTrialCount.
        problems: what is wrong is added here.

    Returns:
        The algorithm, or None if something is wrong.
    """
    name = (spec.algorithm_name if spec else None) or ""
    if name not in _SETTINGS:
        problems.append(
            f"spec.algorithm.algorithmName: {name or 'missing'}: the local engine has no such algorithm;"
            f" {suggestion(name, _SETTINGS)}"
        )
        return None
    before = len(problems)
    given = [(setting.name or "", setting.value or "") for setting in (spec.algorithm_settings if spec else None) or []]
    settings = _read_settings(f"spec.algorithm.algorithmSettings ({name})", given, _SETTINGS[name], problems)
    if name == "hyperband":
        settings = {"eta": DEFAULT_ETA, **settings}
        _check_hyperband(settings, parameters, parallel_trials, problems)
    numeric = [parameter for parameter in parameters if not parameter.values]
    if name == "cmaes" and len(numeric) < 2:
        problems.append("spec.parameters: cmaes needs at least two parameters of type int or double; use tpe")
    if name == "sobol" and not numeric:
        problems.append("spec.parameters: sobol needs a parameter of type int or double; use random or grid")
    return Algorithm(name, settings) if len(problems) == before else None


def read_early_stopping(spec: V1beta1EarlyStoppingSpec | None, problems: list[str]) -> MedianStop | None:
    """The early stopping rule of a document, if it has one; what is wrong is added to `problems`."""
    if spec is None or not spec.algorithm_name:
        return None
    if spec.algorithm_name != median_stop.NAME:
        problems.append(
            f"spec.earlyStopping.algorithmName: {spec.algorithm_name}: the local engine has no such early stopping;"
            f" {suggestion(spec.algorithm_name, [median_stop.NAME])}"
        )
        return None
    given = [(setting.name or "", setting.value or "") for setting in spec.algorithm_settings or []]
    known: dict[str, tuple[str, _Reader]] = {name: (name, _whole(1)) for name in ("min_trials_required", "start_step")}
    return MedianStop(**_read_settings("spec.earlyStopping.algorithmSettings", given, known, problems))


def _read_settings(
    place: str, given: list[tuple[str, str]], known: dict[str, tuple[str, _Reader]], problems: list[str]
) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for name, value in given:
        if name not in known:
            problems.append(f"{place}: {name}: no such setting here; {suggestion(name, known)}")
            continue
        ours, read = known[name]
        try:
            result = read(str(value))
        except _SettingError as error:
            problems.append(f"{place}: {name}: {value}: {error}")
        else:
            if ours:
                settings[ours] = result
    return settings


def _check_hyperband(
    settings: Mapping[str, Any], parameters: Sequence[Parameter], parallel_trials: int, problems: list[str]
) -> None:
    place = "spec.algorithm.algorithmSettings (hyperband)"
    problems += [f"{place}: {name}: missing" for name in ("r_l", "resource_name") if name not in settings]
    names = {parameter.name: parameter for parameter in parameters}
    resource = settings.get("resource_name")
    if resource is not None and resource not in names:
        problems.append(f"{place}: resource_name: {resource}: no such parameter; {suggestion(resource, names)}")
    elif resource is not None and names[resource].kind == "categorical":
        problems.append(f"{place}: resource_name: {resource}: is categorical; the resource must be a number")
    if "r_l" in settings:
        eta, first = settings["eta"], hyperband.s_max(settings["r_l"], settings["eta"])
        needed = math.ceil(eta**first - 1e-9)
        if parallel_trials < needed:
            problems.append(
                f"spec.parallelTrialCount: {parallel_trials}: hyperband with r_l {settings['r_l']:g} and eta {eta:g}"
                f" needs at least {needed}"
            )
