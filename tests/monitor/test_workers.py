"""Workers: what ends a process is told from what waited behind it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from receipt_counter.monitor import run_jobs
from receipt_counter.monitor.workers import Workers
from tests.monitor.bad_jobs import killed_at_a_run
from tests.monitor.support import scalar, until, watching, write_events, write_record


@pytest.fixture
def worker() -> Iterator[Workers]:
    workers = Workers(1, 60.0)
    yield workers
    workers.stop()


def test_a_call_that_takes_too_long_is_stopped_and_those_behind_it_are_not_to_blame(worker: Workers) -> None:
    long, behind = worker.submit(time.sleep, 60), worker.submit(os.getpid)
    assert until(lambda: worker.stop_overdue(0.3)) is long
    assert isinstance(long.exception(10), BrokenProcessPool)
    assert isinstance(behind.exception(10), BrokenProcessPool)
    assert (worker.broke(long), worker.broke(behind)) == (True, False)
    assert worker.submit(os.getpid).result(30) != os.getpid()


def test_each_call_has_its_own_time(worker: Workers) -> None:
    calls = [worker.submit(time.sleep, 0.3) for _ in range(4)]
    while not all(call.done() for call in calls):
        assert worker.stop_overdue(0.9) is None
    assert worker.stop_overdue(0.0) is None, "nothing is under way"


def test_a_killed_process_is_the_fault_of_one_call(worker: Workers) -> None:
    process = worker.submit(os.getpid).result(30)
    at, behind = worker.submit(time.sleep, 60), worker.submit(os.getpid)
    os.kill(process, signal.SIGKILL)
    assert at.exception(10) is not None
    assert behind.exception(10) is not None
    assert (worker.broke(at), worker.broke(behind)) == (True, False)


def test_runs_that_wait_behind_one_that_kills_its_reader_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "experiments"
    for number, name in enumerate(("one", "killer", "two", "three")):
        write_record(root / "runs" / name, status="finished")
        write_events(root / "runs" / name, scalar("loss", 1, 1.0))
        os.utime(root / "runs" / name / "run.json", (1e9 + number, 1e9 + number))
    monkeypatch.setattr(run_jobs, "read_run", killed_at_a_run)
    with watching(root, tmp_path / "cache") as (monitor, _):
        read = {name: (run.index.points, bool(run.index_problem)) for name, run in monitor.runs.items()}
        assert read == {"one": (1, False), "two": (1, False), "three": (1, False), "killer": (0, True)}
