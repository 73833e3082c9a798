"""The learning-rate schedule: linear warm-up, then cosine, linear or constant to its horizon."""

from __future__ import annotations

import math

from receipt_counter.config.schema import Schedule


def schedule_factor(schedule: Schedule, step: int, steps_per_epoch: int) -> float:
    """Share of the full learning rate at one optimizer step.

    A function of the step alone, so that stopping training earlier or later leaves it unchanged. The cosine is
    that of Loshchilov and Hutter, SGDR, 2017, without restarts.

    Args:
        schedule: shape, horizon in epochs, warm-up in steps, share left at the horizon.
        step: optimizer step, counted from 0.
        steps_per_epoch: optimizer steps in one epoch.

    Returns:
        A factor in (0, 1].
    """
    if step < schedule.warmup_steps:
        return (step + 1) / schedule.warmup_steps
    if schedule.name == "constant":
        return 1.0
    horizon = max(schedule.epochs * steps_per_epoch - schedule.warmup_steps, 1)
    progress = min((step - schedule.warmup_steps) / horizon, 1.0)
    falling = 1.0 - progress if schedule.name == "linear" else 0.5 * (1.0 + math.cos(math.pi * progress))
    return schedule.min_ratio + (1.0 - schedule.min_ratio) * falling
