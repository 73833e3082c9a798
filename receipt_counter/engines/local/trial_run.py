"""The life of one trial: its attempts, what it reports, and how it ends."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from receipt_counter.engines.base import (
    EARLY_STOPPED,
    FAILED,
    METRICS_UNAVAILABLE,
    RUNNING,
    SUCCEEDED,
    Objective,
    TrialResult,
)
from receipt_counter.engines.journal import last_lines
from receipt_counter.engines.local.collectors import Collector, CollectorError, Tail
from receipt_counter.engines.local.devices import out_of_memory_kills
from receipt_counter.engines.local.plan import JobPolicy
from receipt_counter.engines.local.trial_process import Process
from receipt_counter.engines.view import printed_progress, seconds_left
from receipt_counter.storage.run import now

GRACE_SECONDS = 10.0  # between asking a trial to stop and killing it
# What people, shutdowns and a kernel out of memory send; the faults of a program are others (SIGSEGV, SIGABRT, ...).
KILLS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# An attempt that others killed is repeated as if it had not been, this often; after that it counts as a failed one, as
# it does at once where memory ran out: what needs more than there is would be killed again.
FORGIVEN_KILLS = 10


@dataclass(frozen=True)
class Setup:
    """What a trial needs to run.

    Args:
        start: starts an attempt.
        collect: a fresh collector.
        log: where an attempt's output goes.
        metrics: the file the collector reads.
        set_aside: called with the number of an attempt, from 1, before the next begins.
        policy: retries and deadline.
    """

    start: Callable[[], Process]
    collect: Callable[[], Collector]
    log: Path
    metrics: Path
    set_aside: Callable[[int], None]
    policy: JobPolicy


class TrialRun:
    """A trial that runs.

    Args:
        trial: its record so far; attempts of earlier calls count.
        setup: how it runs.
        objective: what its record calls the objective.
    """

    def __init__(self, trial: TrialResult, setup: Setup, objective: Objective) -> None:
        self.trial = trial
        self.progress = ""
        self._setup = setup
        self._objective = objective
        self._first = time.monotonic()
        self._stopped_for: str | None = None
        self._process = self._begin()

    @property
    def seconds(self) -> float:
        """How long this attempt has run."""
        return time.monotonic() - self._began

    @property
    def value(self) -> float | None:
        """The objective as it stands."""
        return self._objective.value(self._collector.metrics)

    def seconds_left(self) -> float | None:
        """How long it still takes, if it prints how far it is."""
        return seconds_left(self.progress, self.seconds)

    def look(self) -> float | None:
        """Read what it printed, and end it if it is time.

        Returns:
            Seconds until it wants to be looked at for another reason than its output.
        """
        self._read(last=False)
        if self._stopped_for is None:
            deadline = self._setup.policy.deadline
            if self._collector.stopped:
                self.stop("early stopping")
            elif self._error:
                self.stop(self._error)
            elif deadline is None:
                return None
            elif self._first + deadline <= time.monotonic():
                self.stop(f"took longer than activeDeadlineSeconds, {deadline:g} s")
            else:
                return self._first + deadline - time.monotonic()
        left = self._kill_at - time.monotonic()
        if left <= 0:
            self._process.signal(signal.SIGKILL)
            return None
        return left

    def stop(self, reason: str) -> None:
        """Ask it to stop; it is killed if it does not within the grace period."""
        if self._stopped_for is None:
            self._stopped_for = reason
            self._kill_at = time.monotonic() + GRACE_SECONDS
            self._process.signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self._stopped_for = self._stopped_for or "killed"
        self._kill_at = time.monotonic()
        self._process.signal(signal.SIGKILL)

    def poll(self) -> bool:
        """Whether it has ended; `trial` is its final record then. Starts the next attempt of one that failed."""
        status = self._process.poll()
        if status is None:
            return False
        self._read(last=True)
        if self._was_killed(status) and self.trial.kills < FORGIVEN_KILLS:
            self.trial = replace(self.trial, kills=self.trial.kills + 1)
        else:
            ended = replace(
                self.trial,
                metrics=self._collector.metrics,
                reports=self._collector.reports,
                objective=self.value,
                attempts=self.trial.attempts + 1,
                ended=now(),
                seconds=round(self.seconds, 3),
            )
            self.trial = self._judge(ended, status)
            tried_enough = self.trial.attempts > self._setup.policy.retries
            if self.trial.status != FAILED or tried_enough or self._stopped_for is not None:
                return True
        self._setup.set_aside(self.trial.endings)
        self._process = self._begin()
        return False

    def _was_killed(self, status: int) -> bool:
        """Whether others than the engine ended it, and not for want of memory."""
        ours = self._stopped_for is not None or self._collector.stopped or bool(self._error)
        return not ours and _signal_of(status) in KILLS and not self._ran_out_of_memory(status)

    def _ran_out_of_memory(self, status: int) -> bool:
        """Whether the kernel killed for memory while the attempt ran, and the attempt was killed like that."""
        return _signal_of(status) == signal.SIGKILL and out_of_memory_kills() > self._out_of_memory_before

    def _begin(self) -> Process:
        """Start an attempt as if there had been none."""
        self._setup.log.unlink(missing_ok=True)
        self._setup.metrics.unlink(missing_ok=True)
        self.trial = replace(
            self.trial, status=RUNNING, started=now(), ended="", seconds=0.0, metrics={}, reports={}, objective=None
        )
        self._collector = self._setup.collect()
        self._tail = Tail(self._setup.metrics)
        self._error = ""
        self._stopped_for = None
        self._kill_at = float("inf")
        self._began = time.monotonic()
        self._out_of_memory_before = out_of_memory_kills()
        return self._setup.start()

    def _read(self, *, last: bool) -> None:
        try:
            for line in self._tail.lines(last=last):
                self._collector.feed(line)
                self.progress = printed_progress(line) or self.progress
        except CollectorError as error:
            self._error = str(error)

    def _judge(self, trial: TrialResult, status: int) -> TrialResult:
        if self._collector.stopped:
            return replace(trial, status=EARLY_STOPPED, message="")
        failure = self._error or self._stopped_for or (_describe(status) if status else "")
        if not (self._error or self._stopped_for) and self._ran_out_of_memory(status):
            failure += ": memory ran out"
        if failure:
            return replace(trial, status=FAILED, message=failure, log=last_lines(self._setup.log))
        if trial.objective is None:
            message = f"it ended well but did not report {self._objective.metric}"
            return replace(trial, status=METRICS_UNAVAILABLE, message=message, log=last_lines(self._setup.log))
        return replace(trial, status=SUCCEEDED, message="", log=())


def _describe(status: int) -> str:
    number = _signal_of(status)
    if number is None:
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(number).name}"
    except ValueError:
        return f"killed by signal {number}"


def _signal_of(status: int) -> int | None:
    """The signal behind an exit status; a shell, and our trials, tell it by a status above 128."""
    if status < 0:
        return -status
    return status - 128 if status - 128 in KILLS else None
