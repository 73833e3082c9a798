"""What the monitor keeps in memory of a run, and what it says of it in a line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from receipt_counter.monitor.columns import ColumnsLostError, in_order
from receipt_counter.monitor.event_files import PointArray
from receipt_counter.monitor.reading import number, text
from receipt_counter.monitor.run_index import RunIndex
from receipt_counter.monitor.run_record import RunRecord
from receipt_counter.monitor.schemas import Experiment, Progress, Status
from receipt_counter.study.settings import METRICS

STALE_SECONDS = 600.0  # without a sign of life; an epoch's evaluation may take minutes
DEFAULT_OBJECTIVE = "classification_accuracy"
_LONGEST_ERROR = 300
_RATE_POINTS = 200  # of the loss, from which the speed of training is told
_PAUSE = 20  # an interval this many times the usual one was a pause, a sleeping laptop or a changed clock


@dataclass
class RunEntry:
    """A run.

    Only the watcher's thread changes one, and it replaces `record` and `index` instead of changing them: readers take
    a reference and see one state.

    Attributes:
        id: the directory's name as text.
        directory: the run's.
        place: where its points lie.
        record: run.json and config.yaml.
        index: of its event files.
        seen: its last sign of life, seconds since 1970 by this machine's clock.
        seconds_per_step: of training lately; None if it cannot be told.
        waiting: whether its event files are yet to be read.
        index_problem: why they could not be.
    """

    id: str
    directory: Path
    place: Path
    record: RunRecord
    index: RunIndex = field(default_factory=RunIndex)
    seen: float = 0.0
    seconds_per_step: float | None = None
    waiting: bool = True
    index_problem: str | None = None

    @property
    def study(self) -> str | None:
        """Id of its study."""
        return self.record.name("study", self.record.lineage)

    @property
    def trial(self) -> str | None:
        """Name of its trial."""
        return self.record.name("trial", self.record.lineage)

    def status(self, now: float) -> Status:
        """Its status at a time, seconds since 1970."""
        said = self.record.status
        is_stale = said == "running" and now - self.seen > STALE_SECONDS
        return "stale" if is_stale else said  # type: ignore[return-value]  # reading keeps known ones alone

    def points(self, tag: str) -> PointArray | None:
        """All points of a tag with rising steps; None if it has none."""
        for _ in range(3):  # the watcher may have replaced what is being read
            index = self.index
            state = index.tags.get(tag)
            if state is None:
                return None
            try:
                return in_order(index.columns(self.place).read(state.number, state.count))
            except ColumnsLostError:
                continue
        return None

    def latest(self, tag: str) -> float | None:
        """The last value of a tag."""
        state = self.index.tags.get(tag)
        return state.last_value if state else None

    @property
    def metrics(self) -> dict[str, float]:
        """Its figures: the record's, before there are any the latest of the event files."""
        logged = {name: self.latest(name) for name in METRICS}
        return self.record.metrics or {name: value for name, value in logged.items() if value is not None}

    def progress(self) -> Progress:
        """How far it is."""
        epochs = _whole(self.record.config.get("training.epochs"))
        logged = [state.last_step for state in self.index.tags.values() if state.count]
        step = max([*logged, _whole(self.record.record.get("step")) or 0], default=0)
        if self.record.status == "finished":
            return Progress(epoch=_whole(self.record.record.get("epochs")), epochs=epochs, step=step, fraction=1.0)
        epoch = _whole(self.latest("epoch"))
        total = self._total_steps(epochs)
        fraction = min(1.0, step / total) if total else None
        if fraction is None and epoch and epochs:
            fraction = min(1.0, (epoch - 1) / epochs)
        return Progress(epoch=epoch, epochs=epochs, step=step or None, fraction=fraction)

    def _total_steps(self, epochs: int | None) -> float | None:
        """Optimizer steps of the whole training, by the length of the first epoch or by the config."""
        if not epochs:
            return None
        judged = self.index.tags.get("val_total_loss")
        if judged and judged.count and judged.first_step > 0:
            return float(judged.first_step * epochs)
        config = self.record.config
        images, batch = number(config.get("data.epoch_images")), number(config.get("data.batch_size"))
        accumulation = number(config.get("training.gradient_accumulation_steps")) or 1
        return max(1.0, images // (batch * accumulation)) * epochs if images and batch else None

    def eta_seconds(self, now: float) -> float | None:
        """Expected seconds to the end; None unless it runs."""
        progress = self.progress()
        total = self._total_steps(progress.epochs)
        if self.status(now) != "running" or not total or not self.seconds_per_step:
            return None
        left = (total - (progress.step or 0)) * self.seconds_per_step
        return max(0.0, left - max(0.0, now - self.seen))

    def measure_speed(self) -> None:
        """Tell the speed from the last points of the loss, pauses and changed clocks left out."""
        state = self.index.tags.get("train_total_loss")
        self.seconds_per_step = None
        if state is None or state.count < 2:
            return
        try:
            columns = self.index.columns(self.place)
            points = columns.read(state.number, state.count, max(0, state.count - _RATE_POINTS))
        except ColumnsLostError:
            return
        steps, seconds = np.diff(points["step"]), np.diff(points["time"])
        usable = (steps > 0) & (seconds > 0) & np.isfinite(seconds)
        if usable.any():
            rates = seconds[usable] / steps[usable]
            kept = rates <= _PAUSE * np.median(rates)
            self.seconds_per_step = float(seconds[usable][kept].sum() / steps[usable][kept].sum())

    def summary(self, now: float, variant: str | None, objective: str | None) -> Experiment:
        """The run in a line.

        Args:
            now: seconds since 1970.
            variant: what it is called that it shares with runs of other seeds.
            objective: what its study looks at first.
        """
        record, metrics = self.record, self.metrics
        return Experiment(
            id=self.id,
            name=record.name("experiment_name") or self.id,
            status=self.status(now),
            progress=self.progress(),
            eta_seconds=self.eta_seconds(now),
            started=record.name("started"),
            ended=record.name("ended"),
            updated=moment(self.seen),
            device_seconds=number(record.record.get("device_seconds")),
            seed=_whole(record.record.get("seed")),
            study=self.study,
            trial=self.trial,
            variant=variant,
            metrics=metrics,
            objective=metrics.get(objective or DEFAULT_OBJECTIVE),
            error=one_line(record.error),
        )

    def to_plain(self) -> dict[str, Any]:
        """What the catalogue remembers."""
        record = self.record
        return {
            "record": [record.record, record.problem, record.config, record.config_problem],
            "index": self.index.to_plain(),
            "seen": self.seen,
            "seconds_per_step": self.seconds_per_step,
        }

    def restore(self, plain: Mapping[str, Any]) -> None:
        """Take over what `to_plain` gave."""
        self.record = RunRecord(*plain["record"])
        self.index = RunIndex.from_plain(plain["index"])
        self.seen, self.seconds_per_step = plain["seen"], plain["seconds_per_step"]


def moment(seconds: float) -> str:
    """A time as ISO 8601 in UTC, with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def one_line(message: str | None) -> str | None:
    """A message in a line, shortened."""
    return text(" ".join(message.split()), _LONGEST_ERROR) if message else None


def _whole(value: Any) -> int | None:
    found = number(value)
    return int(found) if found is not None and abs(found) < 2**53 else None
