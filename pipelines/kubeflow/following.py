"""Follows a run of Kubeflow Pipelines: the states of its tasks, and what went wrong."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pipelines.kubeflow.client import Pipelines
from receipt_counter.progress import Progress, Table

SUCCEEDED, FAILED, CANCELED, SKIPPED = "SUCCEEDED", "FAILED", "CANCELED", "SKIPPED"
ENDED = (SUCCEEDED, FAILED, CANCELED, SKIPPED)
LOG_LINES_SHOWN = 15
_STYLES = {SUCCEEDED: "green", FAILED: "bold red", CANCELED: "yellow", SKIPPED: "dim", "RUNNING": "cyan"}


@dataclass(frozen=True)
class Task:
    """A task of a run.

    Args:
        name: the pipeline's, after those of the pipelines it is nested in.
        state: as Pipelines names it.
        seconds: how long it has run.
    """

    name: str
    state: str
    seconds: float


def follow(
    pipelines: Pipelines, run_id: str, names: Collection[str], progress: Progress, pause: Callable[[], object]
) -> Any:
    """Show a run until it has ended.

    Args:
        pipelines: the server.
        run_id: of the run.
        names: of the tasks to show; Pipelines lists its own among them.
        progress: shows them.
        pause: waits between two looks.

    Returns:
        The run at its end.
    """
    known: dict[str, str] = {}
    while True:
        run = pipelines.run(run_id)
        tasks = list(tasks_of(run, names))
        rows = [(_STYLES.get(task.state, ""), (task.name, task.state.lower(), _time(task.seconds))) for task in tasks]
        progress.table(Table(("task", "state", "time"), rows, numbers=("time",)))
        for task in tasks:
            if known.get(task.name) != task.state and (task.state in ENDED or task.state == "RUNNING"):
                told = f" after {_time(task.seconds)}" if task.state in ENDED else ""
                progress.note(f"{task.name}: {task.state.lower()}{told}")
            known[task.name] = task.state
        if run.state in ENDED:
            return run
        pause()


def tasks_of(run: Any, names: Collection[str]) -> Iterator[Task]:
    """The tasks of a run in the order in which they began.

    Args:
        run: as the API gives it.
        names: of the pipeline's tasks; others are Pipelines' own (drivers, executors, the graphs themselves).
    """
    details = _details(run)
    by_id = {detail.task_id: detail for detail in details}
    shown = [detail for detail in details if detail.display_name in names]
    for detail in sorted(shown, key=lambda detail: detail.start_time or datetime.max.replace(tzinfo=UTC)):
        path = [ancestor.display_name for ancestor in _path(detail, by_id) if ancestor.display_name in names]
        yield Task("/".join(path), detail.state or "PENDING", _seconds(detail))


def failure(pipelines: Pipelines, run: Any, names: Collection[str]) -> str:
    """What went wrong with a run: the task that failed first, its error, and the end of what it printed."""
    details = _details(run)
    by_id = {detail.task_id: detail for detail in details}
    failed = [detail for detail in details if detail.state == FAILED]
    failed.sort(key=lambda detail: (detail.end_time or datetime.max.replace(tzinfo=UTC), -len(_path(detail, by_id))))
    said = next((detail.error.message for detail in failed if detail.error and detail.error.message), "")
    said = said or (run.error.message if run.error else "") or "Pipelines does not say why"
    if not failed:
        return str(said)
    path = [ancestor.display_name for ancestor in _path(failed[0], by_id) if ancestor.display_name in names]
    lines = [f"{'/'.join(path) or failed[0].display_name}: {said}"]
    pod = next((detail.pod_name for detail in failed if detail.pod_name), None)
    log = pipelines.log(run.run_id, pod).strip().splitlines()[-LOG_LINES_SHOWN:] if pod else []
    return "\n".join([*lines, *([f"the end of the log of pod {pod}:", *log] if log else [])])


def _details(run: Any) -> list[Any]:
    return list(run.run_details.task_details or []) if run.run_details else []


def _path(detail: Any, by_id: dict[str, Any]) -> list[Any]:
    """A task's ancestors and itself."""
    path = [detail]
    while (parent := by_id.get(path[0].parent_task_id)) is not None and parent not in path:
        path.insert(0, parent)
    return path


def _seconds(detail: Any) -> float:
    if detail.start_time is None:
        return 0.0
    end = detail.end_time if detail.state in ENDED and detail.end_time else datetime.now(UTC)
    return float(max((end - detail.start_time).total_seconds(), 0.0))


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes}:{rest:02d} min" if minutes else f"{rest} s"
