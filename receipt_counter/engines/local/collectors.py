"""Katib's metrics collectors StdOut and File: what a trial's output says about its metrics.

The rules are Katib's (pkg/metricscollector/v1beta1/file-metricscollector and the trial controller's getMetrics): a
filter is a regular expression with the name in its first group and the value in its second; of each metric the latest,
least and greatest value count; values that are no finite number do not.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from kubeflow_katib_api.models import V1beta1MetricsCollectorSpec

from receipt_counter.engines.base import Metric
from receipt_counter.katib.defaults import DEFAULT_FILTER

STDOUT, FILE = "StdOut", "File"
TEXT, JSON = "TEXT", "JSON"
LONGEST_LINE = 1 << 20  # of a line without end that is kept in memory, bytes


class CollectorError(Exception):
    """The output cannot be read as the collector is told to; Katib fails the trial."""


@dataclass(frozen=True)
class CollectorSpec:
    """What to read and how.

    Args:
        file: path of the metrics file as the document has it; None reads the trial's output.
        format: TEXT or JSON.
        filters: regular expressions, for TEXT.
    """

    file: str | None
    format: str
    filters: tuple[str, ...]


def collector_spec(spec: V1beta1MetricsCollectorSpec) -> CollectorSpec:
    """The collector a document asks for, Katib's defaults filled in; its kind must be StdOut or File."""
    source, place = spec.source, spec.source.file_system_path if spec.source else None
    filters = tuple((source.filter.metrics_format if source and source.filter else None) or [DEFAULT_FILTER])
    if spec.collector is not None and spec.collector.kind == FILE and place is not None:
        return CollectorSpec(place.path, place.format or TEXT, filters)
    return CollectorSpec(None, TEXT, filters)


class Tail:
    """Reads a file as it grows, a line at a time.

    Args:
        path: the file; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0
        self._rest = b""

    def lines(self, *, last: bool = False) -> Iterator[str]:
        """The lines that were completed since the last call.

        Args:
            last: nothing more comes: a line without end counts too.
        """
        try:
            with self._path.open("rb") as file:
                file.seek(self._position)
                content = file.read()
        except (FileNotFoundError, NotADirectoryError):
            content = b""
        self._position += len(content)
        *whole, rest = (self._rest + content).split(b"\n")
        self._rest = rest[-LONGEST_LINE:]
        if last and self._rest:
            whole, self._rest = [*whole, self._rest], b""
        for line in whole:
            yield line.decode("utf-8", errors="replace")


class Collector:
    """Gathers the metrics of one attempt of a trial.

    Args:
        spec: how lines are read.
        names: the metrics wanted, the objective first.
        stop_at: called with (metric, number of the report, value); true means that the trial is to be stopped there,
            and nothing it says later counts.

    Attributes:
        stopped: whether `stop_at` said so.
    """

    def __init__(
        self,
        spec: CollectorSpec,
        names: Sequence[str],
        stop_at: Callable[[str, int, float], bool] = lambda name, number, value: False,
    ) -> None:
        self._json = spec.format == JSON
        self._filters = [re.compile(text) for text in spec.filters]
        self._names = tuple(names)
        self._stop_at = stop_at
        self._reports: dict[str, list[float]] = {}
        self._latest: dict[str, tuple[float, float]] = {}
        self.stopped = False

    def feed(self, line: str) -> None:
        """Take a line of output.

        Raises:
            CollectorError: it is not what the collector expects.
        """
        if self.stopped or not line.strip():
            return
        for name, text, time in self._read_json(line) if self._json else self._read_text(line):
            try:
                value = float(text)
            except ValueError:
                continue
            if math.isfinite(value):
                self._take(name, value, time)
            if self.stopped:
                return

    @property
    def reports(self) -> dict[str, tuple[float, ...]]:
        """{metric: its values in the order they were reported}."""
        return {name: tuple(values) for name, values in self._reports.items()}

    @property
    def metrics(self) -> dict[str, Metric]:
        """What Katib keeps of the reports, in the document's order."""
        return {
            name: Metric(self._latest[name][1], min(values), max(values))
            for name in self._names
            if (values := self._reports.get(name))
        }

    def _take(self, name: str, value: float, time: float) -> None:
        values = self._reports.setdefault(name, [])
        values.append(value)
        if time >= self._latest.get(name, (-math.inf, 0.0))[0]:
            self._latest[name] = time, value
        self.stopped = self._stop_at(name, len(values), value)

    def _read_text(self, line: str) -> Iterator[tuple[str, str, float]]:
        if not any(name in line for name in self._names):
            return
        time = _seconds(line.split(" ", 1)[0])
        for pattern in self._filters:
            for match in pattern.finditer(line):
                name = (match[1] or "").strip()
                if name in self._names:
                    yield name, (match[2] or "").strip(), time

    def _read_json(self, line: str) -> Iterator[tuple[str, str, float]]:
        try:
            record = json.loads(line)
        except ValueError:
            raise CollectorError(f"its metrics file has a line that is not JSON: {line[:80]}") from None
        if not isinstance(record, dict):
            raise CollectorError(f"its metrics file has a line that is no JSON object: {line[:80]}")
        time = _seconds(record.get("timestamp"))
        for name in self._names:
            # Katib takes texts only; a number can mean nothing else.
            if isinstance(record.get(name), str | int | float):
                yield name, str(record[name]), time


def _seconds(timestamp: object) -> float:
    """Seconds since 1970 of an RFC 3339 text or a number; minus infinity for anything else, as Katib's zero time."""
    if isinstance(timestamp, int | float):
        return float(timestamp)
    if not isinstance(timestamp, str) or not timestamp[:4].isdigit() or "T" not in timestamp:
        return -math.inf
    try:
        return datetime.fromisoformat(timestamp).timestamp()
    except ValueError:
        return -math.inf
