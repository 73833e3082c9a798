"""What every engine takes and gives: the interface, the record of a trial, the result of a sweep."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from kubeflow_katib_api.models import V1beta1Experiment, V1beta1ExperimentSpec

from receipt_counter.errors import UserError
from receipt_counter.katib.experiment import StudyDocument

# Katib's conditions of a trial, in the order of a trial's life.
PENDING, RUNNING = "pending", "running"
SUCCEEDED, EARLY_STOPPED, FAILED, METRICS_UNAVAILABLE = "succeeded", "early-stopped", "failed", "metrics-unavailable"
ENDED = frozenset({SUCCEEDED, EARLY_STOPPED, FAILED, METRICS_UNAVAILABLE})
UNSUCCESSFUL = frozenset({FAILED, METRICS_UNAVAILABLE})

# Why a sweep ended well; Katib's reasons of a succeeded Experiment.
MAX_TRIALS, GOAL, EXHAUSTED = "max-trials", "goal", "exhausted"


class SweepStoppedError(UserError):
    """A signal asked to stop; what the sweep has done so far is kept."""


class SweepFailedError(UserError):
    """Too many trials failed; what the sweep has done so far is kept."""

    def __init__(self, message: str) -> None:
        super().__init__(message, status=1)


@dataclass(frozen=True)
class Metric:
    """What a trial reported under one name, as Katib keeps it."""

    latest: float
    min: float
    max: float

    def by(self, strategy: str) -> float:
        """The value a metric strategy takes: "min", "max" or "latest"."""
        return float(getattr(self, strategy))


@dataclass(frozen=True)
class Objective:
    """What an experiment looks for.

    Args:
        metric: name of the objective metric.
        maximize: whether more is better.
        goal: the value that ends the experiment.
        strategies: {metric: "min", "max" or "latest"}, the objective first, for every metric that is collected.
    """

    metric: str
    maximize: bool
    goal: float | None
    strategies: Mapping[str, str]

    def value(self, metrics: Mapping[str, Metric]) -> float | None:
        """The trial's objective, or None if it was not reported."""
        found = metrics.get(self.metric)
        return None if found is None else found.by(self.strategies[self.metric])

    def better(self, value: float, other: float) -> bool:
        """Whether `value` is strictly better than `other`."""
        return value > other if self.maximize else value < other

    def reached(self, value: float | None) -> bool:
        """Whether a value reaches the goal."""
        return value is not None and self.goal is not None and not self.better(self.goal, value)


@dataclass(frozen=True)
class TrialResult:
    """The record of one trial; the content of its trial.json.

    Args:
        name: "<experiment>-<index, 4 digits>".
        index: its place in the sweep, from 0.
        status: one of Katib's conditions, see above.
        assignments: {parameter: value as text}.
        metrics: what it reported.
        reports: {metric: its values in the order of reporting}; the step of a report is its place, from 1.
        objective: the objective metric by its strategy.
        attempts: how often it was started and ended, killed ones that were forgiven left out.
        started: when the last attempt began, ISO 8601.
        ended: when it ended.
        seconds: how long the last attempt took.
        message: one line: why it failed.
        log: the last lines it printed, if it failed.
        kills: how often it was killed by others than the engine and begun again without counting as failed.
    """

    name: str
    index: int
    status: str
    assignments: Mapping[str, str]
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    reports: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    objective: float | None = None
    attempts: int = 0
    started: str = ""
    ended: str = ""
    seconds: float = 0.0
    message: str = ""
    log: tuple[str, ...] = ()
    kills: int = 0

    @property
    def failure(self) -> str:
        """Why it failed and the last lines it printed, for a terminal."""
        return "\n".join([f"{self.name} {self.status}: {self.message}", *(f"  {line}" for line in self.log[-8:])])

    @property
    def endings(self) -> int:
        """How many attempts have ended, in whatever way."""
        return self.attempts + self.kills

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come of it."""
        return self.status in ENDED

    def to_json(self) -> dict[str, Any]:
        """As trial.json holds it."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> TrialResult:
        """The inverse of `to_json`."""
        metrics = {name: Metric(**values) for name, values in record["metrics"].items()}
        reports = {name: tuple(values) for name, values in record["reports"].items()}
        return cls(**{**record, "metrics": metrics, "reports": reports, "log": tuple(record["log"])})


@dataclass(frozen=True)
class SweepResult:
    """What a sweep found.

    Args:
        study_id: names the study in the store.
        directory: `<store>/studies/<study_id>`.
        trials: all that ended, by index.
        optimum: the best of them, if any reported the objective.
        outcome: why it ended: MAX_TRIALS, GOAL or EXHAUSTED.
        worked: whether this call ran any trial; false when the sweep was finished already.
    """

    study_id: str
    directory: Path
    trials: tuple[TrialResult, ...]
    optimum: TrialResult | None
    outcome: str
    worked: bool


class Engine(Protocol):
    """Runs the trials of a study somewhere."""

    def check(self, document: StudyDocument) -> None:
        """Refuse what cannot run there.

        Raises:
            UserError: everything that is wrong or not supported, a line each.
        """

    def run(self, document: StudyDocument, store: Path) -> SweepResult:
        """Run a study to its end, or continue it.

        Raises:
            SweepStoppedError: a signal asked to stop.
            SweepFailedError: too many trials failed.
            UserError: the document asks for what this engine cannot do; everything is named.
        """


def spec_of(experiment: V1beta1Experiment) -> V1beta1ExperimentSpec:
    """The experiment's spec.

    Raises:
        UserError: it has none.
    """
    if experiment.spec is None:
        raise UserError("the Experiment has no spec")
    return experiment.spec


def name_of(experiment: V1beta1Experiment) -> str:
    """The experiment's name.

    Raises:
        UserError: it has none.
    """
    name: str | None = experiment.metadata.name if experiment.metadata else None
    if not name:
        raise UserError("the Experiment has no metadata.name")
    return name


def objective_of(experiment: V1beta1Experiment) -> Objective:
    """The objective of an Experiment with Katib's defaults and without mistakes."""
    objective = spec_of(experiment).objective
    assert objective is not None
    named = {strategy.name: strategy.value for strategy in objective.metric_strategies}
    names = [objective.objective_metric_name, *(objective.additional_metric_names or [])]
    goal = None if objective.goal is None else float(objective.goal)
    strategies = {name: named[name] for name in names}
    return Objective(objective.objective_metric_name, objective.type == "maximize", goal, strategies)


def best_trial(trials: Iterable[TrialResult], objective: Objective) -> TrialResult | None:
    """The trial with the best objective; the first of equals, and never one that failed."""
    best: TrialResult | None = None
    for trial in trials:
        if trial.objective is None or trial.status in UNSUCCESSFUL:
            continue
        if best is None or best.objective is None or objective.better(trial.objective, best.objective):
            best = trial
    return best


def result_of(
    directory: Path, objective: Objective, ended: Mapping[int, TrialResult], outcome: str, *, worked: bool
) -> SweepResult:
    """A sweep's result.

    Args:
        directory: `<store>/studies/<study_id>`.
        objective: decides the optimum.
        ended: the trials that ended, by index.
        outcome: why the sweep ended.
        worked: whether this call ran or followed any trial.
    """
    trials = tuple(ended[index] for index in sorted(ended))
    return SweepResult(directory.name, directory, trials, best_trial(trials, objective), outcome, worked)
