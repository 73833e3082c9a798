"""Live progress: whoever does long work reports it here, whoever owns the terminal shows it.

    progress = open_progress()
    progress.start("train", total=960)
    progress.update(120, stage=1, epoch=2, loss=0.71, accuracy=0.83)
    progress.finish()

Phases nest: a `start` before the `finish` of the last one opens a phase inside it, and disappears from the display when
it finishes. Three places can receive the reports, chosen by `open_progress`:

- an event file (one JSON object a line), when `RECEIPT_COUNTER_PROGRESS` names one: a parent process shows them;
- a live display, when stderr is a terminal;
- a plain line now and then, otherwise.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.table import Table as RichTable
from rich.text import Text

ENVIRONMENT_VARIABLE = "RECEIPT_COUNTER_PROGRESS"
EVENTS_PER_SECOND = 5.0
SECONDS_BETWEEN_LINES = 10.0
_ENOUGH = 0.01  # share of a phase that must be done before it is said how long the rest takes

Value = float | int | str
Event = dict[str, Any]


@dataclass(frozen=True)
class Table:
    """A table that changes while work goes on, such as the trials of a sweep.

    Attributes:
        columns: headings; those of numbers are aligned to the right.
        rows: (style, its cells), the style as rich names it, or empty.
        numbers: headings of the columns that hold numbers.
    """

    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[str]]]
    numbers: Sequence[str] = ()


def draw_table(table: Table) -> RenderableType:
    """The table as rich draws it."""
    drawn = RichTable(box=None, pad_edge=False)
    for heading in table.columns:
        drawn.add_column(heading, justify="right" if heading in table.numbers else "left", no_wrap=True)
    for style, cells in table.rows:
        drawn.add_row(*map(Text, cells), style=style or None)
    return drawn


class Sink(Protocol):
    """What receives events: {"event": "start"|"update"|"finish"|"note"|..., "phase", "done", "total", "values"}."""

    def handle(self, event: Event) -> None:
        """Take one event."""

    def close(self) -> None:
        """No more events come."""


class Progress:
    """Reports long work to a sink. Cheap enough to call at every step.

    Args:
        sink: who shows or records the reports.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._phases: list[tuple[str, int]] = []
        self._sent = 0.0

    def start(self, phase: str, total: int) -> None:
        """Open a phase of `total` units of work (steps, images, ...), inside the one still open, if any."""
        self._phases.append((phase, total))
        self._send("start", 0, {})

    def update(self, done: int, **values: Value) -> None:
        """Say how far the innermost phase is and what it measures: stage, epoch, loss, accuracy, ..."""
        total = self._phases[-1][1]
        if done >= total or time.monotonic() - self._sent >= 1.0 / EVENTS_PER_SECOND:
            self._send("update", done, values)

    def finish(self) -> None:
        """Close the innermost phase."""
        self._send("finish", self._phases[-1][1], {})
        self._phases.pop()

    def note(self, text: str) -> None:
        """Leave a lasting line: something the user should know that is not an error."""
        self.event("note", text=text)

    def table(self, table: Table) -> None:
        """Show a table below the phases until the step ends; only live displays do."""
        self._sink.handle({"event": "table", "table": asdict(table)})

    def event(self, kind: str, **fields: Value) -> None:
        """Send what is no phase of work (a step that begins, an error) to a parent that reads the event file."""
        self._sink.handle({"event": kind, **fields})

    def callback(self, phase: str) -> Callable[[int, int], None]:
        """A `(done, total)` function that opens the phase when first called and closes it when done equals total."""

        def report(done: int, total: int) -> None:
            if not self._phases or self._phases[-1][0] != phase:
                self.start(phase, total)
            self.update(done)
            if done >= total:
                self.finish()

        return report

    def close(self) -> None:
        """Release the terminal or file; the progress cannot be used afterwards."""
        self._sink.close()

    def _send(self, kind: str, done: int, values: dict[str, Value]) -> None:
        phase, total = self._phases[-1]
        self._sent = time.monotonic()
        event: Event = {"event": kind, "phase": phase, "depth": len(self._phases), "done": done, "total": total}
        self._sink.handle({**event, "values": values} if values else event)


class EventFile:
    """Appends events to a file, one JSON object a line; each line is one write, so a reader never sees half of one."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def handle(self, event: Event) -> None:
        """Append one event."""
        os.write(self._descriptor, (json.dumps(event) + "\n").encode())

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


class EventReader:
    """Reads an event file as it grows.

    Args:
        path: the file; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0

    def new_events(self) -> Iterator[Event]:
        """The events appended since the last call."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._position)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._position += len(line)
                yield json.loads(line)


class Silent:
    """Drops everything: for the processes of a distributed run that are not the first."""

    def handle(self, event: Event) -> None:
        """Drop the event."""

    def close(self) -> None:
        """Nothing to release."""


class Lines:
    """Plain lines for logs and pipes: the start and end of each outer phase, and a line now and then between."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._printed = 0.0
        self._started: dict[str, float] = {}

    def handle(self, event: Event) -> None:
        """Print the event if it is due."""
        now = time.monotonic()
        if event["event"] == "note":
            self._print(event["text"], now)
        elif event["event"] == "start":
            self._started[event["phase"]] = now
            self._printed = now if event["depth"] == 1 else self._printed
        elif event["event"] == "update" and event["done"] and now - self._printed >= SECONDS_BETWEEN_LINES:
            left = (now - self._started[event["phase"]]) / event["done"] * (event["total"] - event["done"])
            # the first few per mille hold the start of the workers too, and would promise hours
            shown = f"  {left:.0f} s left" if event["done"] >= _ENOUGH * event["total"] else ""
            text = f"{event['phase']} {event['done']}/{event['total']}  {format_values(event.get('values', {}))}"
            self._print(f"{text.rstrip()}{shown}", now)
        elif event["event"] == "finish" and event["depth"] == 1:
            self._print(f"{event['phase']}: done in {now - self._started[event['phase']]:.1f} s", now)

    def close(self) -> None:
        """The stream stays open: it is not ours."""

    def _print(self, text: str, now: float) -> None:
        self._printed = now
        print(text, file=self._stream, flush=True)


class LiveDisplay:
    """One live block on the terminal: a row a phase with bar, time gone and time left; below it, the newest values.

    Args:
        console: the terminal to draw on.
    """

    def __init__(self, console: Console) -> None:
        self._bars = RichProgress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("[dim]eta"),
            TimeRemainingColumn(compact=True),
        )
        self._rows: dict[str, TaskID] = {}
        self._starting: TaskID | None = None
        self._values: tuple[str, Text] | None = None
        self._table: RenderableType | None = None
        self._live = Live(console=console, get_renderable=self._draw, refresh_per_second=4)
        self._live.start()

    def handle(self, event: Event) -> None:
        """Draw what the event changes."""
        kind = event["event"]
        if kind == "note":
            self._live.console.print(event["text"], markup=False, highlight=False)
        elif kind in ("step", "start", "step_end"):
            self._remove_starting()
        if kind in ("step", "step_end"):
            self._table = None
        elif kind == "table":
            self._table = draw_table(Table(**event["table"]))
        if kind == "step":
            self._starting = self._bars.add_task(f"{escape(event['name'])} [dim]starts", total=None)
        if "phase" in event:
            self._draw_phase(event)

    def close(self) -> None:
        """Stop drawing and leave the last state on the screen."""
        self._remove_starting()
        self._live.stop()

    def _draw(self) -> RenderableType:
        below = [self._values[1] if self._values else None, self._table]
        return Group(self._bars, *(part for part in below if part is not None))

    def _remove_starting(self) -> None:
        if self._starting is not None:
            self._bars.remove_task(self._starting)
            self._starting = None

    def _draw_phase(self, event: Event) -> None:
        phase, kind = event["phase"], event["event"]
        if kind == "start":
            text = escape("  " * (event["depth"] - 1) + phase)
            self._rows[phase] = self._bars.add_task(text, total=event["total"])
        elif kind == "finish" and event["depth"] > 1:
            self._bars.remove_task(self._rows.pop(phase))
        else:
            self._bars.update(self._rows[phase], completed=event["done"])
        if "values" in event:
            self._values = phase, Text(f"  {format_values(event['values'])}", style="cyan")
        elif kind == "finish" and self._values and self._values[0] == phase:
            self._values = None


def format_values(values: dict[str, Value]) -> str:
    """Values as short text: `stage 1  epoch 2  loss 0.713`."""
    return "  ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in values.items()
    )


def terminal_sink(stream: TextIO) -> Sink:
    """The live display if `stream` is a terminal, else plain lines."""
    console = Console(file=stream)
    return LiveDisplay(console) if console.is_terminal else Lines(stream)


def open_progress(enabled: bool = True) -> Progress:
    """The progress of this process.

    Args:
        enabled: false for all but the first process of a distributed run.
    """
    if not enabled:
        return Progress(Silent())
    path = os.environ.get(ENVIRONMENT_VARIABLE)
    return Progress(EventFile(Path(path)) if path else terminal_sink(sys.stderr))
