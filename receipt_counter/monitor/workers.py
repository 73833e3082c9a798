"""Processes for what takes long: started when there is something to do, stopped when there has been nothing."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from receipt_counter.processes import die_with_parent

_NICENESS = 10
_AHEAD = 16  # tasks a process, of some hundredths of a second each


class Workers:
    """A pool of processes.

    Args:
        count: at most so many.
        idle_seconds: without work after which they are stopped; they hold memory.
    """

    def __init__(self, count: int, idle_seconds: float) -> None:
        self._count, self._idle_seconds = count, idle_seconds
        self._pool: ProcessPoolExecutor | None = None
        self._open: set[Future[Any]] = set()
        self._last_use = 0.0

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Have a function of a module called in a process."""
        for _ in range(2):
            self._pool = self._pool or ProcessPoolExecutor(
                self._count, multiprocessing.get_context("spawn"), initializer=_begin
            )
            try:
                future = self._pool.submit(function, *arguments)
            except BrokenProcessPool:  # one was killed, for want of memory for example
                self.stop()
                continue
            self._open.add(future)
            future.add_done_callback(self._open.discard)
            self._last_use = time.monotonic()
            return future
        raise BrokenProcessPool("no process can be started")

    @property
    def free(self) -> int:
        """How many more tasks would keep all processes busy until somebody looks again."""
        return _AHEAD * self._count - len(self._open)

    def stop_if_idle(self) -> None:
        """Give the memory back."""
        if self._open:
            self._last_use = time.monotonic()
        elif self._pool is not None and time.monotonic() - self._last_use > self._idle_seconds:
            self.stop()

    def stop(self) -> None:
        """Stop; what has not begun is dropped."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None


def _begin() -> None:
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which then stops its workers
    os.nice(_NICENESS)
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
