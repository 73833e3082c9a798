"""What a hyperparameter search found, as `analysis.json` has it, and its best configuration as a config file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from receipt_counter.config.loading import PRESET_KEY, resolve, resolve_onto, to_plain
from receipt_counter.config.schema import Config, leaves
from receipt_counter.config.source import Setting
from receipt_counter.config.validation import NO_EFFECT, InvalidValueError, coerce
from receipt_counter.errors import UserError, suggestion
from receipt_counter.study.importance import memory_study, parameter_importance
from receipt_counter.study.search_findings import search_findings
from receipt_counter.study.sensitivity import correlations, sensitivity
from receipt_counter.study.settings import MINIMISED, Objective, SearchParameter
from receipt_counter.study.trials import EARLY_STOPPED, SUCCEEDED, cost, failures

if TYPE_CHECKING:
    import pandas as pd

_BOOKKEEPING = ("trial", "status", "attempts", "started", "ended", "seconds", "message", "log")
_RESAMPLES = 40


def analyse_search(
    trials: pd.DataFrame | Sequence[Mapping[str, Any]],
    parameters: Sequence[SearchParameter],
    objective: Objective,
    priority: Sequence[str],
    *,
    devices: int = 1,
    resamples: int = _RESAMPLES,
) -> dict[str, Any]:
    """Analyse the trials of a hyperparameter study. Only succeeded trials are compared; the history shows all.

    Args:
        trials: `trials.csv` as pandas reads it, or its rows, in the order the trials were made.
        parameters: what was searched.
        objective: what the search made as good as it could.
        priority: the metrics to look at first.
        devices: how many a trial keeps busy.
        resamples: how often the importances are drawn again for their spread.

    Returns:
        The content of `analysis.json`; see docs/ANALYSIS.md.

    Raises:
        UserError: the table does not fit the search space.
    """
    table = _read_table(trials, parameters, [objective.metric, *priority])
    done = table.select(table.finished)
    judged = done.select(done.metrics[objective.metric].notna())
    outcome = judged.metrics[objective.metric]
    analysis: dict[str, Any] = {
        "kind": "hyperparameter",
        "split": "val",
        "objective": {"metric": objective.metric, "maximise": objective.maximise, "goal": objective.goal},
        "priority_metrics": list(priority),
        "trials": len(table.frame),
        "search_space": {p.key: _space(p) for p in parameters},
        "best_configurations": {
            "objective": _best(done, objective.metric),
            **{metric: _best(done, metric) for metric in priority},
        },
        "pareto_front": _pareto_front(done, priority),
        "parameter_importance": parameter_importance(judged.values, outcome, parameters, resamples),
        "parameter_sensitivity": {p.key: sensitivity(judged.values[p.key], outcome, p) for p in parameters},
        "parameter_correlations": correlations(done.values, done.metrics, parameters),
        "optimization_history": _history(table, objective),
        "failures": failures(table.frame, table.values),
        "cost": cost(table.frame, devices),
        "confirmation": None,
    }
    analysis["findings"] = search_findings(analysis)
    return analysis


def best_config(base: Config, preset: str, parameters: Mapping[str, Any]) -> str:
    """A config file that `run --config` takes as it is: the preset's name and every value that differs from it.

    Values that do nothing beside the others are left out, as a config file must not state them.

    Args:
        base: the config that the search's trials changed.
        preset: the preset that the file is to name.
        parameters: {dotted key: value} of the best trial, as `best_configurations` has them.

    Returns:
        The YAML text.

    Raises:
        UserError: the values do not fit the config.
    """
    config = resolve_onto(base, [Setting(key, value, "best trial") for key, value in parameters.items()])
    resolved = resolve(None, preset)
    idle = [name for rule in NO_EFFECT if rule.applies(config) for name in rule.keys]
    usual = leaves(resolved.config)
    content: dict[str, Any] = {PRESET_KEY: resolved.preset}
    for key, value in leaves(config).items():
        if value == usual[key] or any(key == name or key.startswith(f"{name}.") for name in idle):
            continue
        *groups, leaf = key.split(".")
        place = content
        for name in groups:
            place = place.setdefault(name, {})
        place[leaf] = to_plain(value)
    text: str = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    return text


@dataclass(frozen=True)
class _Table:
    """Trials, a row each in three frames of one index.

    Attributes:
        frame: as given.
        values: of the parameters, in their own types.
        metrics: numbers; nan where a trial lacks one.
    """

    frame: pd.DataFrame
    values: pd.DataFrame
    metrics: pd.DataFrame

    @property
    def finished(self) -> pd.Series[bool]:
        """Which trials succeeded."""
        return self.frame["status"] == SUCCEEDED

    def select(self, rows: pd.Series[bool]) -> _Table:
        """Some of the trials."""
        return _Table(self.frame[rows], self.values[rows], self.metrics[rows])

    def described(self, row: Any, metric: str) -> dict[str, Any]:
        """One trial: its name, its value of a metric and its parameters."""
        return {
            "trial": str(self.frame.loc[row, "trial"]),
            "value": float(self.metrics.loc[row, metric]),
            "parameters": self.parameters(row),
        }

    def parameters(self, row: Any) -> dict[str, Any]:
        """{dotted key: value} of one trial."""
        return {str(key): to_plain(self.values.loc[row, key]) for key in self.values.columns}


def _read_table(trials: Any, parameters: Sequence[SearchParameter], metrics: Sequence[str]) -> _Table:
    import numpy as np
    import pandas as pd

    frame = pd.DataFrame(trials).reset_index(drop=True)
    needed = ["trial", "status", *(parameter.key for parameter in parameters)]
    missing = [name for name in needed if name not in frame.columns]
    if missing:
        hints = [f"trials: no column {name}; {suggestion(name, map(str, frame.columns))}" for name in missing]
        raise UserError("\n".join(hints))
    problems: list[str] = []
    values = pd.DataFrame(
        {p.key: pd.Series(_values(frame, p, problems), index=frame.index, dtype=object) for p in parameters}
    )
    if problems:
        raise UserError("\n".join(problems))
    names = [name for name in frame.columns if name not in (*needed, *_BOOKKEEPING)]
    # a metric that no trial reported, as when all failed, is a column without numbers
    measured = frame.reindex(columns=list(dict.fromkeys([*metrics, *names])))
    numbers = measured.apply(pd.to_numeric, errors="coerce").astype(float).replace([np.inf, -np.inf], np.nan)
    return _Table(frame, values, numbers)


def _values(frame: pd.DataFrame, parameter: SearchParameter, problems: list[str]) -> list[Any]:
    """A column of a parameter's values, read like `--set` reads them."""
    found = []
    for trial, cell in zip(frame["trial"], frame[parameter.key].tolist(), strict=True):
        value = None
        try:
            value = _value(cell, parameter)
        except (InvalidValueError, yaml.YAMLError) as error:
            problems.append(f"trials: {trial}: {parameter.key}: {error}")
        found.append(value)
    return found


def _value(cell: Any, parameter: SearchParameter) -> Any:
    # pandas reads an empty cell, "null" and "None" as nan
    absent = cell == "None" or (isinstance(cell, float) and math.isnan(cell))
    value = coerce(parameter.key, None if absent else yaml.safe_load(cell) if isinstance(cell, str) else cell)
    if parameter.values and value not in parameter.values:
        tried = [str(to_plain(one)) for one in parameter.values]
        raise InvalidValueError(f"{value!r} was not to be tried; {suggestion(str(value), tried)}")
    return value


def _best(table: _Table, metric: str) -> dict[str, Any] | None:
    """The best trial by a metric, the earlier one of equals; None where no trial has it."""
    column = table.metrics[metric].dropna()
    if column.empty:
        return None
    return table.described(column.idxmin() if metric in MINIMISED else column.idxmax(), metric)


def _pareto_front(table: _Table, priority: Sequence[str]) -> list[dict[str, Any]]:
    """Trials that no other beats in one priority metric without losing in another, best by the first metric first."""
    import optuna

    chosen = table.metrics[list(dict.fromkeys(priority))].dropna()
    if chosen.empty:
        return []
    study = memory_study(directions=["minimize" if metric in MINIMISED else "maximize" for metric in chosen.columns])
    study.add_trials([optuna.trial.create_trial(values=row) for row in chosen.to_numpy().tolist()])
    # Optuna numbers trials in the order they were added
    front = chosen.iloc[sorted(trial.number for trial in study.best_trials)]
    ordered = front.sort_values(front.columns[0], ascending=front.columns[0] in MINIMISED, kind="stable")
    return [
        {
            "trial": str(table.frame.loc[row, "trial"]),
            "values": {str(metric): float(ordered.loc[row, metric]) for metric in ordered.columns},
            "parameters": table.parameters(row),
        }
        for row in ordered.index
    ]


def _history(table: _Table, objective: Objective) -> list[dict[str, Any]]:
    """Every trial, its value and the best succeeded one so far, in the table's order."""
    column = table.metrics[objective.metric]
    shown = column.where(table.frame["status"].isin([SUCCEEDED, EARLY_STOPPED]))
    finished = column.where(table.finished)
    best = (finished.cummax() if objective.maximise else finished.cummin()).ffill()
    return [
        {
            "trial": str(table.frame.loc[row, "trial"]),
            "status": str(table.frame.loc[row, "status"]),
            "value": _known(shown[row]),
            "best": _known(best[row]),
            "metrics": {str(name): float(value) for name, value in table.metrics.loc[row].dropna().items()},
            "parameters": table.parameters(row),
        }
        for row in table.frame.index
    ]


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _space(parameter: SearchParameter) -> dict[str, Any]:
    """What was searched of one parameter: the values that were listed, or a range and its scale."""
    if parameter.values:
        return {"values": [to_plain(value) for value in parameter.values]}
    return {"low": parameter.low, "high": parameter.high, "log": parameter.log}
