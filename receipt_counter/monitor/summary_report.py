"""The summary report of a whole folder: the document's `--report`."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from receipt_counter.monitor import schemas
from receipt_counter.monitor.evaluations import higher_is_better, summary
from receipt_counter.monitor.monitor import Monitor
from receipt_counter.monitor.queries import summaries
from receipt_counter.monitor.run_entry import RunEntry, moment
from receipt_counter.monitor.study_entry import StudyEntry
from receipt_counter.monitor.study_queries import study


def summary_report(monitor: Monitor) -> schemas.Report:
    """Say what all experiments of a folder came to."""
    runs = monitor.runs
    lines = sorted(summaries(monitor, runs.values()), key=lambda one: one.started or "", reverse=True)
    data = {line.id: _data(monitor, runs[line.id], line) for line in lines}
    finished = [line for line in lines if line.status == "finished" and line.metrics]
    names = dict.fromkeys(name for line in finished for name in line.metrics)
    metrics = {name: {one.id: one.metrics[name] for one in finished if name in one.metrics} for name in names}
    problems = [f"{line.id}: {line.error}" for line in lines if line.status == "unreadable"]
    return schemas.Report(
        generated_at=moment(time.time()),
        experiments_dir=monitor.source.name,
        experiments=[line.id for line in lines],
        experiment_data=data,
        comparison=schemas.ReportComparison(
            experiments=[line.id for line in finished],
            metrics=metrics,
            best={name: _best(name, values) for name, values in metrics.items()},
            higher_is_better={name: higher_is_better(name) for name in names},
        ),
        studies={name: _study(monitor, entry) for name, entry in monitor.studies.items()},
        statuses=dict(Counter(line.status for line in lines)),
        device_hours=round(sum(line.device_seconds or 0.0 for line in lines) / 3600, 4),
        notes=problems,
    )


def _best(name: str, values: dict[str, float]) -> dict[str, Any]:
    choose = max if higher_is_better(name) else min
    run = choose(values, key=lambda run: values[run])
    return {"experiment": run, "value": values[run]}


def _data(monitor: Monitor, run: RunEntry, line: schemas.Experiment) -> dict[str, Any]:
    """What is known of a run: its line, its last figures, and how it was judged on each split."""
    latest = {tag: {"step": state.last_step, "value": state.last_value} for tag, state in run.index.tags.items()}
    judged = summary(monitor, run)
    splits = {
        split: {
            "metrics": {name: one.model_dump() for name, one in found.metrics.items()},
            "gates": {name: gate.model_dump() for name, gate in found.gates.items()},
            "verdict": found.verdict,
        }
        for split, found in judged.splits.items()
    }
    return {**line.model_dump(exclude={"id"}), "latest": latest, "splits": splits}


def _study(monitor: Monitor, entry: StudyEntry) -> dict[str, Any]:
    found = study(monitor, entry)
    kept = ("name", "kind", "status", "progress", "best", "device_seconds", "experiments", "findings")
    return found.model_dump(include=set(kept))
