"""Which trial comes next, and when a sweep is over: no processes, no clock.

What a trial tries depends on the document and on the results of the trials 0 ... k - parallelTrialCount alone, told in
this order: not on timing, and not on how many processes run. A killed and continued sweep thus suggests the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from receipt_counter.engines.base import (
    EXHAUSTED,
    GOAL,
    MAX_TRIALS,
    UNSUCCESSFUL,
    TrialResult,
    best_trial,
)
from receipt_counter.engines.local.plan import Plan
from receipt_counter.engines.local.suggestions import Suggester


class Scheduler:
    """Plays a plan.

    Args:
        plan: the document.
        suggester: says what trials try.
        recorded: trials of earlier calls that ended.
    """

    def __init__(self, plan: Plan, suggester: Suggester, recorded: Mapping[int, TrialResult]) -> None:
        self._plan = plan
        self._suggester = suggester
        self._results = dict(recorded)
        self._absent: set[int] = set()
        self._queue: deque[tuple[int, dict[str, str]]] = deque()
        self._next = 0
        self._prefix = 0  # trials 0 ... prefix - 1 have ended
        self._running = 0

    @property
    def results(self) -> Mapping[int, TrialResult]:
        """The trials that ended."""
        return self._results

    @property
    def total(self) -> int:
        """How many trials the sweep has as far as is known now."""
        known = [self._plan.max_trials, self._suggester.total]
        total = min(number for number in known if number is not None)
        reached = self._goal_reached_by()
        return total if reached is None else min(total, reached + self._plan.parallel_trials)

    @property
    def failed(self) -> bool:
        """Whether too many trials failed (Katib: at least maxFailedTrialCount, and at least one)."""
        if self._plan.max_failed is None:
            return False
        count = sum(trial.status in UNSUCCESSFUL for trial in self._results.values())
        return count > 0 and count >= self._plan.max_failed

    @property
    def finished(self) -> bool:
        """Whether nothing is left to run."""
        self._advance()
        return not self._queue and not self._running and self._next >= self.total

    @property
    def outcome(self) -> str:
        """Why the sweep ended, once it has."""
        if self._goal_reached_by() is not None:
            return GOAL
        return MAX_TRIALS if self.total == self._plan.max_trials else EXHAUSTED

    @property
    def best(self) -> TrialResult | None:
        """The best trial so far."""
        return best_trial((self._results[index] for index in sorted(self._results)), self._plan.objective)

    def peek(self) -> tuple[int, dict[str, str]] | None:
        """The next trial that can start: its index and assignments."""
        self._advance()
        return self._queue[0] if self._queue else None

    def start(self) -> None:
        """The trial that `peek` named starts."""
        self._queue.popleft()
        self._running += 1

    def end(self, result: TrialResult) -> None:
        """A started trial ended."""
        self._running -= 1
        self._results[result.index] = result

    def known_to(self, index: int) -> dict[int, TrialResult]:
        """The results that may decide what happens to a trial."""
        last = index - self._plan.parallel_trials
        return {number: trial for number, trial in sorted(self._results.items()) if number <= last}

    def _advance(self) -> None:
        """Suggest as far as can be, but not much further than can start."""
        while self._next < self.total and len(self._queue) < self._plan.parallel_trials:
            index = self._next
            parents = self._suggester.waits_for(index)
            if not self._window_allows(index) or not all(map(self._is_over, parents)):
                return
            known = {**self.known_to(index), **{i: self._results[i] for i in parents if i in self._results}}
            assignments = self._suggester.suggest(index, known)
            self._next += 1
            recorded = self._results.get(index)
            if recorded is not None:
                if dict(recorded.assignments) != assignments:
                    self._suggester.correct(index, dict(recorded.assignments))
            elif assignments is None:
                self._absent.add(index)
            else:
                self._queue.append((index, assignments))

    def _window_allows(self, index: int) -> bool:
        while self._is_over(self._prefix):
            self._prefix += 1
        return not self._plan.has_window or self._prefix > index - self._plan.parallel_trials

    def _is_over(self, index: int) -> bool:
        return index in self._results or index in self._absent

    def _goal_reached_by(self) -> int | None:
        objective = self._plan.objective
        reached = [
            index
            for index, trial in self._results.items()
            if trial.status not in UNSUCCESSFUL and objective.reached(trial.objective)
        ]
        return min(reached, default=None)
