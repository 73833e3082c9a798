"""Shows a sweep while it runs: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from receipt_counter.engines.base import SUCCEEDED, UNSUCCESSFUL, TrialResult
from receipt_counter.progress import Progress, Table, draw_table

SECONDS_BETWEEN_LINES = 5.0
ENDED_SHOWN = 8  # trials that ended, in the live table
LONGEST_TEXT = 60
_PROGRESS = re.compile(r"\b(epoch|step|iteration)\b\W{0,3}(\d+)(?:\s*/\s*(\d+))?", re.IGNORECASE)


@dataclass(frozen=True)
class RunningTrial:
    """A trial that runs.

    Args:
        name: the trial's.
        assignments: what it tries.
        progress: the epoch or step it printed last.
        objective: as it stands.
        seconds: how long it has run.
        seconds_left: how long it still takes, if it says how far it is.
    """

    name: str
    assignments: Mapping[str, str]
    progress: str
    objective: float | None
    seconds: float
    seconds_left: float | None


@dataclass(frozen=True)
class Snapshot:
    """A sweep at an instant.

    Args:
        ended: trials that ended.
        running: trials that run.
        total: how many there will be.
        best: the best of those that ended.
        workers: how many run at a time.
        notes: (what it is about, a sentence) of what the user should know now; of each matter the first is told.
    """

    ended: tuple[TrialResult, ...]
    running: tuple[RunningTrial, ...]
    total: int
    best: TrialResult | None
    workers: int
    notes: tuple[tuple[str, str], ...] = ()

    @property
    def spent_hours(self) -> float:
        """Device-hours: one device a trial."""
        return (sum(trial.seconds for trial in self.ended) + sum(trial.seconds for trial in self.running)) / 3600

    def device_seconds_left(self) -> float | None:
        """How long its devices still work, one a trial, if a trial has ended well."""
        usual = self.usual_seconds()
        if usual is None:
            return None
        waiting = max(self.total - len(self.ended) - len(self.running), 0)
        return sum(self.left(trial) or 0.0 for trial in self.running) + waiting * usual

    def seconds_left(self) -> float | None:
        """How long the sweep still takes, if a trial has ended well and others are left."""
        left = self.device_seconds_left()
        return None if left is None or len(self.ended) == self.total else left / self.workers

    def usual_seconds(self) -> float | None:
        """The mean duration of the trials that succeeded."""
        good = [trial.seconds for trial in self.ended if trial.status == SUCCEEDED]
        return sum(good) / len(good) if good else None

    def left(self, trial: RunningTrial) -> float | None:
        """How long a trial still takes: by what it says, else by what others took."""
        if trial.seconds_left is not None:
            return trial.seconds_left
        usual = self.usual_seconds()
        return None if usual is None else max(usual - trial.seconds, 0.0)


def printed_progress(line: str) -> str:
    """How far a trial is, by a line it printed: "epoch 3/15"; empty where the line says nothing of that."""
    found = _PROGRESS.search(line)
    return f"{found[1].lower()} {found[2]}{f'/{found[3]}' if found[3] else ''}" if found else ""


def seconds_left(progress: str, seconds: float) -> float | None:
    """How long a trial still takes, if it says how far it is.

    Args:
        progress: as `printed_progress` gives it.
        seconds: how long it has run.
    """
    found = re.search(r"(\d+)/(\d+)$", progress)
    if not found or not int(found[1]):
        return None
    return seconds / int(found[1]) * max(int(found[2]) - int(found[1]), 0)


class View(Protocol):
    """Who shows a sweep."""

    def show(self, snapshot: Snapshot) -> None:
        """Show how it stands; called at every change and about twice a second."""

    def close(self) -> None:
        """The sweep is over."""


class News:
    """Tells what is new in a sweep, once: each trial that failed since it began, each note."""

    def __init__(self) -> None:
        self._failed: set[int] | None = None
        self._noted: set[str] = set()

    def failures(self, snapshot: Snapshot) -> list[str]:
        """What the trials said that failed since the last call; what had failed at the first call is known."""
        failed = {trial.index: trial for trial in snapshot.ended if trial.status in UNSUCCESSFUL}
        known = failed.keys() if self._failed is None else self._failed
        self._failed = set(failed)
        return [trial.failure for index, trial in sorted(failed.items()) if index not in known]

    def notes(self, snapshot: Snapshot) -> list[str]:
        """The notes about what was not told yet."""
        new = {about: text for about, text in snapshot.notes if about not in self._noted}
        self._noted.update(new)
        return list(new.values())


class NoView:
    """Shows nothing."""

    def show(self, snapshot: Snapshot) -> None:
        """Drop it."""

    def close(self) -> None:
        """Nothing to release."""


class LinesView:
    """Plain lines: every failure and note, and what ended since the last line, at most one every few seconds."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._printed = -SECONDS_BETWEEN_LINES
        self._known: int | None = None
        self._latest: Snapshot | None = None
        self._news = News()

    def show(self, snapshot: Snapshot) -> None:
        """Print a line if something changed and it is due."""
        self._latest = snapshot
        for text in (*self._news.notes(snapshot), *self._news.failures(snapshot)):
            print(text, file=self._stream, flush=True)
        if self._known is None:
            self._known = len(snapshot.ended)
        if len(snapshot.ended) != self._known and time.monotonic() - self._printed >= SECONDS_BETWEEN_LINES:
            self._print(snapshot)

    def close(self) -> None:
        """Print what the last line did not say."""
        if self._latest is not None and len(self._latest.ended) != self._known:
            self._print(self._latest)

    def _print(self, snapshot: Snapshot) -> None:
        self._known, self._printed = len(snapshot.ended), time.monotonic()
        newest = max(snapshot.ended, key=lambda trial: (trial.ended, trial.index))
        what = f"{newest.name} {newest.status} {_number(newest.objective)}".rstrip()
        print(f"{_summary(snapshot)}  last {what}", file=self._stream, flush=True)


class LiveView:
    """A live table: a row a trial; failures and notes stay above it.

    Args:
        console: the terminal.
    """

    def __init__(self, console: Console) -> None:
        self._snapshot: Snapshot | None = None
        self._news = News()
        self._live = Live(console=console, get_renderable=self._draw, refresh_per_second=4)
        self._live.start()

    def show(self, snapshot: Snapshot) -> None:
        """Draw it at the next refresh."""
        self._snapshot = snapshot
        for text in self._news.notes(snapshot):
            self._live.console.print(text, style="yellow", markup=False, highlight=False)
        for text in self._news.failures(snapshot):
            self._live.console.print(text, style="red", markup=False, highlight=False)

    def close(self) -> None:
        """Leave the last state on the screen."""
        self._live.stop()

    def _draw(self) -> RenderableType:
        if self._snapshot is None:
            return Text("")
        return Group(draw_table(sweep_table(self._snapshot)), Text(_summary(self._snapshot), style="bold"))


class ReportedView:
    """Hands the sweep on to whoever shows the progress of this process.

    Args:
        progress: where it goes.
        phase: what the sweep is called there.
    """

    def __init__(self, progress: Progress, phase: str) -> None:
        self._progress, self._phase = progress, phase
        self._news = News()
        self._ended: int | None = None

    def show(self, snapshot: Snapshot) -> None:
        """Report the table, and how far the sweep is."""
        if self._ended is None:
            self._progress.start(self._phase, snapshot.total)
        for text in (*self._news.notes(snapshot), *self._news.failures(snapshot)):
            self._progress.note(text)
        if self._ended != len(snapshot.ended):
            self._ended = len(snapshot.ended)
            self._progress.update(self._ended, **_standing(snapshot))
        self._progress.table(sweep_table(snapshot))

    def close(self) -> None:
        """Close the phase."""
        if self._ended is not None:
            self._progress.finish()


def sweep_table(snapshot: Snapshot) -> Table:
    """A row a trial: those that ended last, then those that run."""
    shown = sorted(snapshot.ended, key=lambda trial: (trial.ended, trial.index))[-ENDED_SHOWN:]
    everything = [trial.assignments for trial in snapshot.ended] + [trial.assignments for trial in snapshot.running]
    differing = differing_parameters(everything)
    rows = [
        (
            "red" if trial.status in UNSUCCESSFUL else "dim",
            (trial.name, _changes(trial.assignments, differing), trial.status, "", _number(trial.objective), ""),
        )
        for trial in shown
    ]
    for running in snapshot.running:
        left = snapshot.left(running)
        what, eta = _changes(running.assignments, differing), "" if left is None else _duration(left)
        rows.append(("", (running.name, what, "running", running.progress, _number(running.objective), eta)))
    return Table(("trial", "changes", "status", "at", "objective", "eta"), rows, numbers=("objective", "eta"))


def open_view(stream: TextIO) -> View:
    """The live table if `stream` is a terminal, else plain lines."""
    console = Console(file=stream)
    return LiveView(console) if console.is_terminal else LinesView(stream)


def differing_parameters(trials: Sequence[Mapping[str, str]]) -> list[str]:
    """The parameters in which trials differ, in their order; all of a single trial's."""
    if len(trials) < 2:
        return [name for trial in trials for name in trial]
    return [name for name in trials[0] if len({trial.get(name) for trial in trials}) > 1]


def _changes(assignments: Mapping[str, str], names: Sequence[str]) -> str:
    text = "  ".join(f"{name} {_short(assignments.get(name, ''))}" for name in names)
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"


def _short(value: str) -> str:
    try:
        return f"{float(value):.4g}"
    except ValueError:
        return value


def _summary(snapshot: Snapshot) -> str:
    left = snapshot.seconds_left()
    failed = sum(trial.status in UNSUCCESSFUL for trial in snapshot.ended)
    parts = [
        f"{len(snapshot.ended)}/{snapshot.total} trials",
        f"{failed} failed" if failed else "",
        f"best {_number(snapshot.best.objective)} ({snapshot.best.name})" if snapshot.best else "",
        _spent(snapshot),
        "" if left is None else f"{_duration(left)} left",
    ]
    return "  ".join(part for part in parts if part)


def _standing(snapshot: Snapshot) -> dict[str, float | str]:
    """How a sweep stands, as values of its progress."""
    failed = sum(trial.status in UNSUCCESSFUL for trial in snapshot.ended)
    standing: dict[str, float | str] = {"failed": failed} if failed else {}
    if snapshot.best is not None and snapshot.best.objective is not None:
        standing["best"] = snapshot.best.objective
    return {**standing, "spent": _spent(snapshot).removeprefix("spent ")}


def _spent(snapshot: Snapshot) -> str:
    """The device time so far against what the whole sweep will have taken."""
    spent, left = 3600 * snapshot.spent_hours, snapshot.device_seconds_left()
    of = f" of about {_duration(spent + left)}" if left else ""
    return f"spent {_duration(spent)}{of} device time"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
