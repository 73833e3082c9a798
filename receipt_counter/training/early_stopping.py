"""The objective: which epoch is best, and when to stop looking for a better one."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from receipt_counter.config.schema import OBJECTIVES_MAXIMISED, EarlyStopping


@dataclass
class ObjectiveTracker:
    """Follows one named objective over the epochs.

    Args:
        best_value: best value so far, None before the first epoch.
        best_epoch: its epoch.
        reference: the value that patience measures improvement from.
        epochs_without: epochs since the reference last improved by at least min_delta.
    """

    best_value: float | None = None
    best_epoch: int = 0
    reference: float | None = None
    epochs_without: int = 0

    def update(self, settings: EarlyStopping, epoch: int, value: float | None) -> bool:
        """Take one epoch's value.

        Any improvement makes the epoch the best; only one of min_delta or more restores the patience.

        Args:
            settings: objective, patience and min_delta.
            epoch: the epoch, counted from 1.
            value: the objective on the val split; None or not finite never improves.

        Returns:
            Whether this epoch is the best so far.
        """
        sign = 1.0 if settings.metric in OBJECTIVES_MAXIMISED else -1.0
        usable = value is not None and math.isfinite(value)
        score = sign * value if usable and value is not None else -math.inf
        improved = usable and (self.best_value is None or score > sign * self.best_value)
        if improved:
            self.best_value, self.best_epoch = value, epoch
        if usable and (self.reference is None or score >= sign * self.reference + settings.min_delta):
            self.reference, self.epochs_without = value, 0
        else:
            self.epochs_without += 1
        return improved

    def should_stop(self, settings: EarlyStopping) -> bool:
        """Whether the patience is spent."""
        return settings.enabled and self.epochs_without >= settings.patience

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps; `ObjectiveTracker(**state)` restores it."""
        return asdict(self)
