"""Katib's Trials as records of ours."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from kubeflow_katib_api.models import V1beta1Metric, V1beta1Trial, V1beta1TrialCondition

from receipt_counter.engines.base import (
    EARLY_STOPPED,
    FAILED,
    METRICS_UNAVAILABLE,
    PENDING,
    RUNNING,
    SUCCEEDED,
    UNSUCCESSFUL,
    Metric,
    Objective,
    TrialResult,
)

# In the order in which Katib counts a trial that meets several conditions (status_util.go, updateTrialsSummary).
_STATUSES = {
    "Killed": FAILED,
    "Failed": FAILED,
    "Succeeded": SUCCEEDED,
    "EarlyStopped": EARLY_STOPPED,
    "MetricsUnavailable": METRICS_UNAVAILABLE,
    "Running": RUNNING,
}
_BEGINNING = datetime.min.replace(tzinfo=UTC)


def trial_results(
    trials: Iterable[V1beta1Trial], recorded: Mapping[int, TrialResult], objective: Objective
) -> dict[int, TrialResult]:
    """The records of an Experiment's Trials.

    Katib numbers no trials: an index is the place in the order of creation, and one that was given stays.

    Args:
        trials: as listed, in any order.
        recorded: the records made so far, by index; their trials may be gone from the cluster.
        objective: says which metrics are wanted.

    Returns:
        {index: record} of the listed ones.
    """
    indices = {trial.name: index for index, trial in recorded.items()}
    free = (index for index in itertools.count() if index not in recorded)
    results = {}
    for trial in sorted(trials, key=_creation):
        name = trial.metadata.name
        index = indices[name] if name in indices else next(free)
        results[index] = _result(trial, index, objective)
    return results


def _creation(trial: V1beta1Trial) -> tuple[datetime, str]:
    return trial.metadata.creation_timestamp or _BEGINNING, trial.metadata.name


def _result(trial: V1beta1Trial, index: int, objective: Objective) -> TrialResult:
    conditions = {
        condition.type: condition
        for condition in (trial.status.conditions or [] if trial.status else [])
        if condition.status == "True"
    }
    kind = next((kind for kind in _STATUSES if kind in conditions), "")
    status = _STATUSES.get(kind, PENDING)
    metrics = _metrics(trial, objective)
    started = trial.status.start_time if trial.status else None
    ended = _end(trial, conditions[kind]) if kind and status != RUNNING else None
    return TrialResult(
        trial.metadata.name,
        index,
        status,
        {given.name: given.value for given in (trial.spec.parameter_assignments or [] if trial.spec else [])},
        metrics=metrics,
        objective=objective.value(metrics),
        attempts=0 if status == PENDING else 1,
        started=_text(started),
        ended=_text(ended),
        seconds=(ended - started).total_seconds() if started and ended else 0.0,
        message=_message(kind, conditions[kind]) if status in UNSUCCESSFUL else "",
    )


def _end(trial: V1beta1Trial, condition: V1beta1TrialCondition) -> datetime | None:
    """When it ended; of a trial stopped early Katib notes that with the condition only."""
    end: datetime | None = trial.status.completion_time or condition.last_transition_time
    return end


def _message(kind: str, condition: V1beta1TrialCondition) -> str:
    said = " ".join((condition.message or condition.reason or "").split())
    return f"killed on the cluster: {said}" if kind == "Killed" else said


def _metrics(trial: V1beta1Trial, objective: Objective) -> dict[str, Metric]:
    observation = trial.status.observation if trial.status else None
    reported = {metric.name: metric for metric in (observation.metrics or [] if observation else [])}
    found = {name: _metric(reported[name]) for name in objective.strategies if name in reported}
    return {name: metric for name, metric in found.items() if metric is not None}


def _metric(metric: V1beta1Metric) -> Metric | None:
    """Katib writes numbers as text, and "unavailable" for what it has not; least and greatest then are the latest."""
    latest = _number(metric.latest)
    if latest is None:
        return None
    least, greatest = _number(metric.min), _number(metric.max)
    return Metric(latest, latest if least is None else least, latest if greatest is None else greatest)


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _text(time: datetime | None) -> str:
    return time.isoformat() if time else ""
