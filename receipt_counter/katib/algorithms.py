"""What Katib's algorithm services accept (kubeflow/katib, pkg/suggestion/v1beta1 and pkg/earlystopping/v1beta1).

Which service serves which algorithm is what Katib's own configuration says: hyperopt random and tpe; optuna grid and
multivariate-tpe; skopt bayesianoptimization; goptuna cmaes and sobol; hyperband and pbt have their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from receipt_counter.errors import suggestion
from receipt_counter.katib.space import Parameter, combinations

if TYPE_CHECKING:
    from kubeflow_katib_api.models import V1beta1AlgorithmSetting, V1beta1EarlyStoppingSetting, V1beta1ExperimentSpec


@dataclass(frozen=True)
class Setting:
    """What a service reads under one name.

    Args:
        wanted: what it must be, for messages.
        read: the value of a text; raises ValueError where the service refuses it.
    """

    wanted: str
    read: Callable[[str], Any]


def _setting(wanted: str, read: Callable[[str], Any], allowed: Callable[[Any], bool]) -> Setting:
    def checked(text: str) -> Any:
        value = read(text)
        if not allowed(value):
            raise ValueError(text)
        return value

    return Setting(wanted, checked)


def _choice(*values: str) -> Setting:
    return _setting(f"one of {', '.join(values)}", str, values.__contains__)


_COUNT = _setting("a whole number of at least 0", int, lambda value: value >= 0)
_POSITIVE_COUNT = _setting("a whole number above 0", int, lambda value: value > 0)
_POSITIVE = _setting("a number above 0", float, lambda value: 0 < value < math.inf)
_ANY_TEXT = _setting("some text", str, bool)
# Katib accepts 0 candidates, of which Optuna cannot take the best.
_STARTUP = {"n_startup_trials": _COUNT, "n_ei_candidates": _POSITIVE_COUNT, "random_state": _COUNT}

SETTINGS: Mapping[str, Mapping[str, Setting]] = {
    "random": {"random_state": _COUNT},
    "grid": {"random_state": _COUNT},
    "tpe": {
        "gamma": _setting("a number between 0 and 1", float, lambda value: 0 < value < 1),
        "prior_weight": _POSITIVE,
        "n_EI_candidates": _POSITIVE_COUNT,
        "random_state": _COUNT,
    },
    "multivariate-tpe": _STARTUP,
    "bayesianoptimization": {
        "base_estimator": _choice("GP", "RF", "ET", "GBRT"),
        "n_initial_points": _COUNT,
        "acq_func": _choice("gp_hedge", "LCB", "EI", "PI", "EIps", "PIps"),
        "acq_optimizer": _choice("auto", "sampling", "lbfgs"),
        "random_state": _COUNT,
    },
    "cmaes": {
        "restart_strategy": _choice("none", "ipop", "bipop"),
        "sigma": _POSITIVE,
        "random_state": _COUNT,
    },
    "sobol": {},
    "hyperband": {
        "r_l": _setting("a number of at least 1", float, lambda value: 1 <= value < math.inf),
        # The service rounds it down and takes 3 for anything below 1; at 1 it divides by zero.
        "eta": _setting("a number of at least 2", float, lambda value: 2 <= value < math.inf),
        "resource_name": _ANY_TEXT,
    },
    "pbt": {
        "suggestion_trial_dir": _ANY_TEXT,
        "n_population": _setting("a whole number of at least 5", int, lambda value: value >= 5),
        "truncation_threshold": _setting("a number from 0 to 1", float, lambda value: 0 <= value <= 1),
        "resample_probability": _setting("a number from 0 to 1", float, lambda value: 0 <= value <= 1),
    },
}
REQUIRED = {
    "hyperband": ("r_l", "resource_name"),
    "pbt": ("suggestion_trial_dir", "n_population", "truncation_threshold"),
}
EARLY_STOPPING: Mapping[str, Mapping[str, Setting]] = {
    "medianstop": {
        "min_trials_required": _POSITIVE_COUNT,
        "start_step": _setting("a whole number of at least 1", int, lambda value: value >= 1),
    }
}
# The distributions a service uses, where it does not use all; it ignores the others or fails over them.
_DISTRIBUTIONS = {
    "grid": ("uniform",),
    "multivariate-tpe": ("uniform", "logUniform"),
    "bayesianoptimization": ("uniform", "logUniform"),
    "cmaes": ("uniform",),
    "sobol": ("uniform",),
    "hyperband": ("uniform",),
    "pbt": ("uniform",),
}
DEFAULT_ETA = 3.0  # of hyperband
_IGNORES_STEP = ("bayesianoptimization", "hyperband")

Settings = Sequence["V1beta1AlgorithmSetting"] | Sequence["V1beta1EarlyStoppingSetting"]


def check_settings(name: str, settings: Settings, known: Mapping[str, Setting], key: str) -> Iterator[str]:
    """Problems of an algorithm's settings by themselves.

    Args:
        name: of the algorithm.
        settings: as the Experiment lists them.
        known: what the algorithm knows.
        key: where the list is, for messages.
    """
    seen = set()
    for index, setting in enumerate(settings):
        where, value = f"{key}[{index}]", setting.value or ""
        if not known:
            yield f"{where}: {name} has no settings, so {setting.name!r} has no effect"
        elif setting.name not in known:
            yield f"{where}.name: {name} has no setting {setting.name!r}; {suggestion(str(setting.name), known)}"
        elif setting.name in seen:
            yield f"{where}.name: {setting.name} is set twice"
        else:
            try:
                known[setting.name].read(value)
            except ValueError:
                yield f"{where}.value: {setting.name} is {value!r}, must be {known[setting.name].wanted}"
        seen.add(setting.name)
    for missing in REQUIRED.get(name, ()):
        if missing not in seen:
            yield f"{key}: {name} needs the setting {missing} ({known[missing].wanted})"


def read_settings(settings: Settings, known: Mapping[str, Setting]) -> dict[str, Any]:
    """The values of settings in which `check_settings` finds no problem: {name: value}."""
    return {str(setting.name): known[str(setting.name)].read(setting.value or "") for setting in settings}


def check_algorithm(spec: V1beta1ExperimentSpec, space: Sequence[Parameter]) -> Iterator[str]:
    """Problems of an algorithm with the search space and the counts.

    Args:
        spec: of an Experiment with Katib's defaults, whose settings and parameters have no problems by themselves.
        space: its parameters.
    """
    assert spec.algorithm is not None
    name = spec.algorithm.algorithm_name or ""
    settings = read_settings(spec.algorithm.algorithm_settings or [], SETTINGS[name])
    yield from _unused(name, space)
    match name:
        case "grid":
            yield from _check_grid(spec, space)
        case "cmaes":
            if sum(parameter.kind in ("double", "int") for parameter in space) < 2:
                yield "spec.parameters: cmaes needs at least two of type double or int"
        case "hyperband":
            yield from _check_hyperband(spec, space, settings)
        case "pbt":
            for index, parameter in enumerate(space):
                if parameter.kind == "double" and parameter.step is None:
                    yield f"spec.parameters[{index}].feasibleSpace.step: pbt needs one for the double {parameter.name}"


def _unused(name: str, space: Sequence[Parameter]) -> Iterator[str]:
    for index, parameter in enumerate(space):
        key = f"spec.parameters[{index}].feasibleSpace"
        usable = _DISTRIBUTIONS.get(name, (parameter.distribution,))
        if parameter.distribution not in usable:
            yield f"{key}.distribution: Katib's {name} does not draw {parameter.distribution}; {suggestion('', usable)}"
        step_matters = parameter.step is not None and (parameter.kind, parameter.step) != ("int", 1.0)
        if step_matters and name in _IGNORES_STEP:
            yield f"{key}.step: Katib's {name} ignores steps; leave it out, or list the values as type discrete"
        elif step_matters and name == "multivariate-tpe" and parameter.log:
            yield f"{key}.step: Katib's {name} ignores it beside distribution logUniform; leave one of them out"


def _check_grid(spec: V1beta1ExperimentSpec, space: Sequence[Parameter]) -> Iterator[str]:
    without = [index for index, item in enumerate(space) if item.kind == "double" and item.step is None]
    for index in without:
        yield f"spec.parameters[{index}].feasibleSpace.step: grid needs one for the double {space[index].name}"
    if not without and spec.max_trial_count is not None and spec.max_trial_count > combinations(space):
        yield f"spec.maxTrialCount: {spec.max_trial_count} is more than the grid's {combinations(space)} combinations"


def widest_bracket(r_l: float, eta: float) -> int:
    """Number of hyperband's first bracket, floor(log_eta(r_l)), in the service's arithmetic: log(243) / log(3) is a
    hair below 5, so it is 4 there."""
    return int(math.log(r_l) / math.log(eta))


def _check_hyperband(
    spec: V1beta1ExperimentSpec, space: Sequence[Parameter], settings: Mapping[str, Any]
) -> Iterator[str]:
    longest, eta = settings["r_l"], int(settings.get("eta", DEFAULT_ETA))
    needed = eta ** widest_bracket(longest, eta)
    if (spec.parallel_trial_count or 0) < needed:
        yield (
            f"spec.parallelTrialCount: {spec.parallel_trial_count} is less than the {needed} trials of hyperband's"
            f" widest bracket (r_l {longest:g}, eta {eta})"
        )
    kinds = {parameter.name: parameter.kind for parameter in space}
    key, resource = "spec.algorithm.algorithmSettings", settings["resource_name"]
    if resource not in kinds:
        yield f"{key}: resource_name {resource} is no parameter; {suggestion(resource, kinds)}"
    elif kinds[resource] not in ("int", "double"):
        yield f"{key}: resource_name {resource} is a {kinds[resource]}, must be an int"
    for index, parameter in enumerate(space):
        if parameter.kind == "discrete" and not all(value.lstrip("+-").isdigit() for value in parameter.values):
            yield (
                f"spec.parameters[{index}].feasibleSpace.list: hyperband takes whole numbers only as discrete values;"
                f" make {parameter.name} categorical"
            )
