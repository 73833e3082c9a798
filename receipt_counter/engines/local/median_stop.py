"""Katib's early stopping `medianstop`.

A trial is stopped when its best objective over its first `start_step` reports is worse than the median, over the
succeeded trials known when it was made, of the average of their first `start_step` reports. As in Katib (the service
medianstop and the file metrics collector) the rule is fixed when the trial is made, is applied at the report number
`start_step` and at no other, and exists once `min_trials_required` trials have succeeded. Katib's documentation says
median, and so do we; its service (0.19) takes the mean under that name.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from receipt_counter.engines.base import SUCCEEDED, Objective, TrialResult

NAME = "medianstop"


@dataclass(frozen=True)
class MedianStop:
    """The rule's settings, with Katib's defaults."""

    min_trials_required: int = 3
    start_step: int = 4

    def rule(self, known: Iterable[TrialResult], objective: Objective) -> Callable[[str, int, float], bool]:
        """Decides while a trial runs.

        Args:
            known: the trials whose results count.
            objective: what is compared.

        Returns:
            For `Collector`: whether a report ends the trial. Serves one attempt of one trial.
        """
        averages = [
            statistics.fmean(first)
            for trial in known
            if trial.status == SUCCEEDED and (first := trial.reports.get(objective.metric, ())[: self.start_step])
        ]
        if len(averages) < self.min_trials_required:
            return lambda name, number, value: False
        median = statistics.median(averages)
        best: list[float] = []

        def stop_at(name: str, number: int, value: float) -> bool:
            if name != objective.metric:
                return False
            if not best or objective.better(value, best[0]):
                best[:] = [value]
            return number == self.start_step and objective.better(median, best[0])

        return stop_at
