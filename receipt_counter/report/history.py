"""What happened during training, read from the run's TensorBoard event files."""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator


@dataclass(frozen=True)
class Series:
    """One scalar over training; steps rise strictly."""

    steps: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class StageSpan:
    """Optimizer steps (first exclusive, last inclusive) that a training stage lasted."""

    number: int
    start: int
    end: int


@dataclass(frozen=True)
class History:
    """All scalars of a run.

    Attributes:
        series: {tag: series}.
        stages: spans in order; empty if the stage was not logged.
        epochs: the last step of each epoch, in order.
    """

    series: Mapping[str, Series] = field(default_factory=dict)
    stages: Sequence[StageSpan] = ()
    epochs: Sequence[int] = ()

    @property
    def last_step(self) -> int:
        """The last step anything was logged at; 0 before the first."""
        return max((series.steps[-1] for series in self.series.values()), default=0)


def read_history(directory: Path) -> History:
    """Read event files.

    A run that was killed and went on may have logged a step twice: the later value is the one that counts.

    Args:
        directory: of the event files; may be missing or empty.
    """
    if not directory.is_dir() or not any(directory.iterdir()):
        return History()
    events = EventAccumulator(str(directory), size_guidance={SCALARS: 0}).Reload()
    series = {}
    for tag in events.Tags()["scalars"]:
        points = {event.step: event.value for event in events.Scalars(tag)}
        steps = tuple(sorted(points))
        series[tag] = Series(steps, tuple(points[step] for step in steps))
    epochs = _epoch_ends(series.get("epoch"))
    return History(series, _stage_spans(series.get("stage"), epochs), epochs)


def _epoch_ends(epoch: Series | None) -> tuple[int, ...]:
    if epoch is None:
        return ()
    last_steps = {int(value): step for step, value in zip(epoch.steps, epoch.values, strict=True)}
    return tuple(sorted(last_steps.values()))


def _stage_spans(stage: Series | None, epochs: Sequence[int]) -> tuple[StageSpan, ...]:
    """A stage begins where an epoch ends, somewhat before the first step that was logged in it."""
    if stage is None:
        return ()
    spans: list[StageSpan] = []
    start, number = 0, int(stage.values[0])
    for step, value in zip(stage.steps, stage.values, strict=True):
        if int(value) != number:
            before = bisect.bisect_left(epochs, step)
            end = epochs[before - 1] if before and epochs[before - 1] > start else step
            spans.append(StageSpan(number, start, end))
            start, number = end, int(value)
    last = max(stage.steps[-1], epochs[-1] if epochs else 0)
    return (*spans, StageSpan(number, start, last))
