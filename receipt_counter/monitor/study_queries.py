"""What pages ask about studies."""

from __future__ import annotations

import time
from typing import Any, Literal

from receipt_counter.monitor import study_schemas
from receipt_counter.monitor.monitor import Monitor
from receipt_counter.monitor.queries import NotThereError
from receipt_counter.monitor.reading import mapping
from receipt_counter.monitor.run_entry import moment
from receipt_counter.monitor.study_entry import StudyEntry
from receipt_counter.monitor.study_jobs import read_results
from receipt_counter.study.trials import FAILURES

_State = Literal["final", "live", "computing", "unavailable"]


def study_of(monitor: Monitor, identity: str) -> StudyEntry:
    """The study of an id.

    Raises:
        NotThereError: there is none.
    """
    entry = monitor.studies.get(identity)
    if entry is None:
        raise NotThereError("no study of this id")
    return entry


def studies(monitor: Monitor) -> study_schemas.Studies:
    """All studies, the latest first."""
    now, runs = time.time(), list(monitor.runs.values())
    found = [entry.summary(now, runs) for entry in monitor.studies.values()]
    found.sort(key=lambda one: (one.started or one.updated, one.id), reverse=True)
    return study_schemas.Studies(generated_at=moment(now), studies=found)


def study(monitor: Monitor, entry: StudyEntry) -> study_schemas.StudyDetail:
    """Everything about a study but its figures; starts an analysis where a newer one is possible."""
    runs = list(monitor.runs.values())
    state, results = _results(monitor, entry)
    analysis = results.get("analysis")
    trials = entry.trials(runs)
    return study_schemas.StudyDetail(
        **entry.summary(time.time(), runs).model_dump(),
        plan=entry.planned(),
        trials=trials,
        failures=[trial for trial in trials if trial.status in FAILURES],
        findings=[str(sentence) for sentence in mapping(analysis).get("findings", [])],
        analysis=analysis,
        analysis_state=state,
        analysis_problem=results.get("problem"),
    )


def figures(monitor: Monitor, entry: StudyEntry) -> study_schemas.Figures:
    """A study's figures; starts an analysis where a newer one is possible."""
    state, results = _results(monitor, entry)
    return study_schemas.Figures.model_construct(
        state=state, problem=results.get("problem"), figures=results.get("figures", {})
    )


def _results(monitor: Monitor, entry: StudyEntry) -> tuple[_State, dict[str, Any]]:
    """What is known so far, and whether more is on its way."""
    current = monitor.results_are_current(entry)
    try:
        results = read_results(entry.results)
    except (OSError, ValueError):
        results = {"problem": entry.problem or entry.plan_problem}
    if current and entry.results_problem:  # what there is, is older
        return "unavailable", results | {"problem": entry.results_problem}
    return (results.get("state", "unavailable") if current else "computing"), results
