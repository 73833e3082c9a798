"""Where a run stands: all that a checkpoint keeps beside weights and optimizer."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from receipt_counter.training.early_stopping import ObjectiveTracker


@dataclass
class TrainingState:
    """Position and memory of the training loop.

    Args:
        step: optimizer steps taken.
        epoch: epoch to go on with, counted from 1.
        step_in_epoch: steps taken in it.
        world: processes that trained so far.
        device_seconds: seconds spent so far, times devices.
        peak_memory: most memory used by a process, GB.
        best_step: step of the best epoch's end, None before the first epoch.
        finished: no epoch is left, or early stopping stopped.
        window: losses of the steps since figures were last written: [total, counting, answers] each.
        val: the last epoch's figures on the val split.
        best: the best epoch's figures on the val split.
        tracker: the objective.
    """

    step: int = 0
    epoch: int = 1
    step_in_epoch: int = 0
    world: int = 1
    device_seconds: float = 0.0
    peak_memory: float = 0.0
    best_step: int | None = None
    finished: bool = False
    window: list[list[float]] = field(default_factory=list)
    val: dict[str, float] = field(default_factory=dict)
    best: dict[str, float] = field(default_factory=dict)
    tracker: ObjectiveTracker = field(default_factory=ObjectiveTracker)

    def to_json(self) -> dict[str, Any]:
        """The state as JSON; numbers keep all their bits."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> TrainingState:
        """The inverse of `to_json`."""
        return cls(**{**content, "tracker": ObjectiveTracker(**content["tracker"])})
