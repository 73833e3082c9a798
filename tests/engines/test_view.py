"""What is shown while a sweep runs."""

from __future__ import annotations

import io

from rich.console import Console

from receipt_counter.engines.base import FAILED, SUCCEEDED, TrialResult
from receipt_counter.engines.view import LinesView, LiveView, RunningTrial, Snapshot, differing_parameters

DONE = TrialResult("t-0000", 0, SUCCEEDED, {"lr": "0.123456", "same": "1"}, objective=0.5, ended="a", seconds=60)
BROKEN = TrialResult("t-0001", 1, FAILED, {"lr": "0.2", "same": "1"}, ended="b", seconds=1)
RUNNING = RunningTrial("t-0002", {"lr": "0.3", "same": "1"}, "epoch 2/4", 0.75, 30, None)
SNAPSHOT = Snapshot((DONE, BROKEN), (RUNNING,), 5, DONE, 2)


def test_lines_are_few() -> None:
    stream = io.StringIO()
    view = LinesView(stream)
    view.show(Snapshot((), (RUNNING,), 5, None, 2))
    view.show(Snapshot((DONE,), (RUNNING,), 5, DONE, 2))
    view.show(SNAPSHOT)
    view.close()
    first, last = stream.getvalue().splitlines()
    assert first.startswith("1/5 trials  best 0.5 (t-0000)")
    assert "2/5 trials  1 failed" in last
    assert last.endswith("last t-0001 failed")


def test_table() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    view = LiveView(console)
    view.show(SNAPSHOT)
    view.close()
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for shown in (
        "lr 0.1235",
        "lr 0.3",
        "epoch 2/4",
        "0.75",
        "running",
        "failed",
        "30 s",
        "1 min left",
        "0.03 device-",
    ):
        assert shown in text
    assert "same" not in text


def test_differing_parameters() -> None:
    assert differing_parameters([{"a": "1", "b": "2"}, {"a": "1", "b": "3"}]) == ["b"]
    assert differing_parameters([{"a": "1"}]) == ["a"]
