"""Processes for what takes long: started when there is something to do, stopped when there has been nothing."""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import time
import weakref
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
        self._process: Future[int] | None = None  # of a pool of one: its id
        self._open: dict[Future[Any], None] = {}  # in the order they were submitted
        self._breakers: weakref.WeakSet[Future[Any]] = weakref.WeakSet()
        self._broken: ProcessPoolExecutor | None = None
        self._last_use = self._last_end = 0.0

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Have a function of a module called in a process."""
        for _ in range(2):
            try:
                pool = self._pool or self._begin()
                future = pool.submit(function, *arguments)
            except BrokenProcessPool:  # one was killed, for want of memory for example
                self.stop()
                continue
            if not self._open:
                self._last_end = time.monotonic()
            self._open[future] = None
            future.add_done_callback(functools.partial(self._end, pool))
            self._last_use = time.monotonic()
            return future
        raise BrokenProcessPool("no process can be started")

    def _begin(self) -> ProcessPoolExecutor:
        self._pool = ProcessPoolExecutor(self._count, multiprocessing.get_context("spawn"), initializer=_begin)
        self._process = self._pool.submit(os.getpid)
        self._process.add_done_callback(self._note_end)  # a call's time begins when there is a process
        return self._pool

    def _end(self, pool: ProcessPoolExecutor, future: Future[Any]) -> None:
        self._open.pop(future, None)
        self._note_end(future)
        broke = not future.cancelled() and isinstance(future.exception(), BrokenProcessPool)
        if broke and pool is not self._broken:  # the pool ends its calls in the order they were submitted
            self._broken = pool
            self._breakers.add(future)

    def _note_end(self, future: Future[Any]) -> None:
        self._last_end = time.monotonic()

    def broke(self, future: Future[Any]) -> bool:
        """Whether the process ended while it was at this call: those behind it in a pool of one are not to blame."""
        return future in self._breakers

    def stop_overdue(self, seconds: float) -> Future[Any] | None:
        """Kill the process of a pool of one if it has been at one call for longer than it may.

        Returns:
            The call, which fails with BrokenProcessPool, as all behind it do.
        """
        first = next(iter(list(self._open)), None)
        if first is None or self._process is None or not self._process.done() or self._process.exception():
            return None
        if time.monotonic() - self._last_end < seconds:
            return None
        os.kill(self._process.result(), signal.SIGKILL)
        self._last_end = time.monotonic()
        return first

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
            self._pool = self._process = None


def _begin() -> None:
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which then stops its workers
    os.nice(_NICENESS)
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
