"""Making the examples of a dataset in several processes, none of which outlives the command."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from receipt_counter.data.dataset import StoredExample
from receipt_counter.errors import UserError
from receipt_counter.processes import die_with_parent

_Shared = TypeVar("_Shared")
_CHUNK = 50  # Examples between two signs of progress.

_shared: Any  # What the examples of this worker process depend on.


def make_examples(
    make: Callable[[_Shared, str, int], StoredExample], shared: _Shared, sizes: Mapping[str, int], workers: int | None
) -> Iterator[StoredExample]:
    """Make every example of a dataset, in any order.

    Args:
        make: (shared, split, index) -> example; a function of a module, for workers to find.
        shared: what all examples depend on; sent once to each process.
        sizes: {split: number of examples}.
        workers: processes; None for one a core. 1 stays in this process.

    Raises:
        UserError: a process was killed.
    """
    chunks = [
        (split, range(start, min(start + _CHUNK, size)))
        for split, size in sizes.items()
        for start in range(0, size, _CHUNK)
    ]
    workers = min(workers or os.cpu_count() or 1, len(chunks))
    if workers <= 1:
        for split, indices in chunks:
            yield from (make(shared, split, index) for index in indices)
        return
    # Spawned, not forked: the caller may have threads, and a forked lock that one of them holds never opens.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _start_worker, (shared, os.getpid()))
    try:
        futures = [pool.submit(_make_chunk, make, split, indices) for split, indices in chunks]
        for future in as_completed(futures):
            yield from future.result()
    except BrokenProcessPool as error:
        raise UserError("a worker process was killed, perhaps for want of memory; try fewer workers") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker(shared: Any, parent: int) -> None:
    global _shared  # noqa: PLW0603 - a pool gives its workers no other place for what all tasks share
    die_with_parent(parent)
    _shared = shared


def _make_chunk(make: Callable[[Any, str, int], StoredExample], split: str, indices: range) -> list[StoredExample]:
    return [make(_shared, split, index) for index in indices]
