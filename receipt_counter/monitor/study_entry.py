"""What the monitor keeps in memory of a study, and what it says of it."""

from __future__ import annotations

import csv
import dataclasses
import io
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from receipt_counter.monitor import study_schemas
from receipt_counter.monitor.reading import UnreadableError, mapping, number, read_inside, read_json_inside, text
from receipt_counter.monitor.run_entry import STALE_SECONDS, RunEntry, moment, one_line
from receipt_counter.study.settings import METRICS, MINIMISED
from receipt_counter.study.trials import FAILURES, SUCCEEDED

_TABLE_LIMIT = 64 << 20
_TAIL = ("attempts", "started", "ended", "seconds", "message")  # columns behind the metrics
_AXES = ("variant", "seed")


@dataclass(frozen=True)
class TrialRow:
    """A row of trials.csv, or a trial that runs.

    Attributes:
        name: the trial's.
        status: as the engine says it, or "running".
        cells: {parameter or metric: text}.
        tail: the columns that every table has.
    """

    name: str
    status: str
    cells: Mapping[str, str] = field(default_factory=dict)
    tail: Mapping[str, str] = field(default_factory=dict)


@dataclass
class StudyEntry:
    """A study; replaced, never changed, but for `plan` and what is known of its results.

    Attributes:
        id: the directory's name as text.
        directory: the study's.
        results: the file of the cache that holds its analysis and figures.
        rows: its trials, those that ended first.
        outcome: content of sweep.json; empty until its sweep has ended.
        problem: why something of it cannot be read.
        plan_problem: why its plan cannot be.
        results_problem: why there is no analysis of what there is now, where its worker was stopped.
        seen: its last sign of life, seconds since 1970.
        plan: what it is to do, as `study_jobs.read_plan` gives it; empty until that is known.
        content: changes with the files that an analysis is made of.
    """

    id: str
    directory: Path
    results: Path
    rows: Sequence[TrialRow] = ()
    outcome: Mapping[str, Any] = field(default_factory=dict)
    problem: str | None = None
    plan_problem: str | None = None
    results_problem: str | None = None
    seen: float = 0.0
    plan: Mapping[str, Any] = field(default_factory=dict)
    content: str = ""

    @property
    def ended(self) -> list[TrialRow]:
        """Trials that ended."""
        return [row for row in self.rows if row.status != "running"]

    @property
    def objective(self) -> str | None:
        """The metric it looks at first."""
        return self.plan.get("objective")

    @property
    def parameters(self) -> set[str]:
        """Names of what it varies."""
        return {parameter["name"] for parameter in self.plan.get("parameters", [])} or set(_AXES)

    def variant_namer(self) -> Callable[[RunEntry], str | None]:
        """A function that says what a run is called that it shares with runs of other seeds."""
        named = {variant["signature"]: variant["name"] for variant in self.plan.get("variants", [])}
        if not named:
            return lambda run: run.trial
        tried = {row.name: row.cells.get("variant") for row in self.rows}
        return lambda run: named.get(run.record.signature) or tried.get(run.trial or "")

    def owned(self, runs: Iterable[RunEntry]) -> list[RunEntry]:
        """The runs that are its own: made by it, or found by it because they are the same."""
        signatures = {variant["signature"] for variant in self.plan.get("variants", [])}
        seeds = self.plan.get("seeds", [])
        return [
            run
            for run in runs
            if run.study == self.id or (run.record.record.get("seed") in seeds and run.record.signature in signatures)
        ]

    def best(self) -> study_schemas.BestTrial | None:
        """The best trial so far by the objective; of an ablation the best variant is no winner, and there is none."""
        metric = self.objective
        if metric is None or self.plan.get("kind") != "hyperparameter":
            return None
        scored = [(number_of(row.cells.get(metric)), row) for row in self.ended if row.status == SUCCEEDED]
        known = [(value, row) for value, row in scored if value is not None]
        if not known:
            return None
        sign = 1 if self.plan.get("minimise") else -1
        value, row = min(known, key=lambda item: sign * item[0])
        parameters = {name: cell for name, cell in row.cells.items() if name in self.parameters}
        return study_schemas.BestTrial(trial=row.name, metric=metric, value=value, parameters=parameters)

    def summary(self, now: float, runs: Iterable[RunEntry]) -> study_schemas.Study:
        """The study in a line.

        Args:
            now: seconds since 1970.
            runs: all there are.
        """
        done, total = len(self.ended), self.plan.get("max_trials")
        started = [row.tail["started"] for row in self.rows if row.tail.get("started")]
        seconds = [number_of(row.tail.get("seconds")) or 0.0 for row in self.ended]
        own = self.owned(runs)
        progress = study_schemas.StudyProgress(
            done=done,
            total=total,
            running=len(self.rows) - done,
            failed=sum(row.status in FAILURES for row in self.rows),
            fraction=1.0 if self.outcome else min(1.0, done / total) if total else None,
        )
        seen = max([self.seen, *(run.seen for run in own if run.record.status == "running")])
        status: Any = "finished" if self.outcome else "stale" if now - seen > STALE_SECONDS else "running"
        return study_schemas.Study(
            id=self.id,
            name=self.plan.get("name") or self.id,
            kind=self.plan.get("kind", "unknown"),
            status="unreadable" if (self.problem or self.plan_problem) and not self.rows else status,
            progress=progress,
            eta_seconds=self._eta(seconds, total) if status == "running" else None,
            started=min(started, default=None),
            updated=moment(seen),
            device_seconds=sum(seconds),
            objective=self.objective,
            best=self.best(),
            experiments=[run.id for run in own],
            error=one_line(self.problem or self.plan_problem),
        )

    def _eta(self, seconds: Sequence[float], total: int | None) -> float | None:
        """What is left at the mean time of a trial, as many at a time as run now."""
        left = (total or 0) - len(seconds)
        if left <= 0 or not seconds:
            return None
        at_a_time = max(1, len(self.rows) - len(seconds))
        return left * sum(seconds) / len(seconds) / at_a_time

    def trials(self, runs: Sequence[RunEntry]) -> list[study_schemas.Trial]:
        """The table of its trials."""
        by_trial: dict[str | None, list[str]] = {}
        for run in runs:
            if run.study == self.id:
                by_trial.setdefault(run.trial, []).append(run.id)
        return [self._trial(row, by_trial.get(row.name, [])) for row in self.rows]

    def _trial(self, row: TrialRow, runs: list[str]) -> study_schemas.Trial:
        names = self.parameters
        return study_schemas.Trial(
            trial=row.name,
            status=row.status,
            parameters={name: cell for name, cell in row.cells.items() if name in names},
            metrics={
                name: number_of(cell)
                for name, cell in row.cells.items()
                if name not in names and (name in METRICS or number_of(cell) is not None)
            },
            started=row.tail.get("started") or None,
            ended=row.tail.get("ended") or None,
            seconds=number_of(row.tail.get("seconds")),
            message=one_line(row.tail.get("message")),
            experiments=runs,
        )

    def planned(self) -> study_schemas.Plan | None:
        """What it was to do."""
        plan = self.plan
        if not plan:
            return None
        objective = plan["objective"]
        return study_schemas.Plan(
            algorithm=plan["algorithm"],
            objective=objective,
            goal=plan["goal"],
            higher_is_better=None if objective is None else not (plan["minimise"] or objective in MINIMISED),
            priority_metrics=plan["priority"],
            seeds=plan["seeds"],
            split=plan["split"],
            max_trials=plan["max_trials"],
            parallel_trials=plan["parallel_trials"],
            problem=plan["problem"],
            parameters=[study_schemas.Parameter(**parameter) for parameter in plan["parameters"]],
            variants=[
                study_schemas.PlannedVariant(name=v["name"], family=v["family"], changes=v["changes"])
                for v in plan["variants"]
            ],
        )


def read_study(entry: StudyEntry, root: Path) -> StudyEntry:
    """The entry of a study as its files are now.

    Args:
        entry: as it was.
        root: the folder that nothing is read from outside of.
    """
    problem, rows, outcome = None, [], {}
    try:
        rows = read_table(root, entry.directory / "trials.csv")
    except UnreadableError as error:
        problem = str(error)
    try:
        outcome = dict(mapping(read_json_inside(root, entry.directory / "sweep.json")))
    except FileNotFoundError:
        pass
    except UnreadableError as error:
        problem = str(error)
    ended = {row.name for row in rows}
    rows += [TrialRow(name, "running") for name in _begun(entry.directory / "trials") if name not in ended]
    return dataclasses.replace(entry, rows=rows, outcome=outcome, problem=problem)


def read_table(root: Path, file: Path) -> list[TrialRow]:
    """The rows of a trials.csv; none where there is no such file.

    Args:
        root: the folder that nothing is read from outside of.
        file: the table.

    Raises:
        UnreadableError: it cannot be read.
    """
    try:
        content = read_inside(root, file, _TABLE_LIMIT).decode("utf-8", "replace")
    except FileNotFoundError:
        return []
    try:
        return [_row(line) for line in csv.DictReader(io.StringIO(content), restkey="", restval="")]
    except csv.Error as error:
        raise UnreadableError(f"{file.name}: cannot be read: {error}") from None


def _row(line: Mapping[str, Any]) -> TrialRow:
    cells = {text(str(name), 200): text(str(cell), 2000) for name, cell in line.items() if name}
    name, status = cells.pop("trial", ""), cells.pop("status", "")
    tail = {column: cells.pop(column) for column in _TAIL if column in cells}
    return TrialRow(name, status, cells, tail)


def _begun(trials: Path) -> list[str]:
    """Trials that have a directory and no record: those that run, or were cut off."""
    try:
        with os.scandir(trials) as entries:
            found = [e.name for e in entries if e.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return sorted(text(name) for name in found if not (trials / name / "trial.json").exists())


def number_of(cell: str | None) -> float | None:
    """A cell as a finite number; None for anything else."""
    try:
        return number(float(cell)) if cell else None
    except ValueError:
        return None
