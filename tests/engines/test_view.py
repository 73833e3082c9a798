"""What is shown while a sweep runs."""

from __future__ import annotations

import io

from rich.console import Console

from receipt_counter.engines.base import FAILED, SUCCEEDED, TrialResult
from receipt_counter.engines.view import LinesView, LiveView, RunningTrial, Snapshot, differing_parameters

DONE = TrialResult("t-0000", 0, SUCCEEDED, {"lr": "0.123456", "same": "1"}, objective=0.5, ended="a", seconds=60)
BROKEN = TrialResult(
    "t-0001", 1, FAILED, {"lr": "0.2", "same": "1"}, ended="b", seconds=1, message="exit status 3", log=("bad", "news")
)
FAILURE = ["t-0001 failed: exit status 3", "  bad", "  news"]
RUNNING = RunningTrial("t-0002", {"lr": "0.3", "same": "1"}, "epoch 2/4", 0.75, 30, None)
SNAPSHOT = Snapshot((DONE, BROKEN), (RUNNING,), 5, DONE, 2)


def test_lines_are_few() -> None:
    stream = io.StringIO()
    view = LinesView(stream)
    view.show(Snapshot((), (RUNNING,), 5, None, 2))
    view.show(Snapshot((DONE,), (RUNNING,), 5, DONE, 2))
    view.show(SNAPSHOT)
    view.close()
    first, *failure, last = stream.getvalue().splitlines()
    assert failure == FAILURE
    assert first.startswith("1/5 trials  best 0.5 (t-0000)")
    assert "2/5 trials  1 failed" in last
    assert last.endswith("last t-0001 failed")


def test_a_continued_sweep_does_not_repeat_what_failed_before() -> None:
    stream = io.StringIO()
    view = LinesView(stream)
    view.show(SNAPSHOT)
    view.show(SNAPSHOT)
    assert stream.getvalue() == ""


def test_nothing_is_left_when_all_have_ended() -> None:
    stream = io.StringIO()
    view = LinesView(stream)
    view.show(Snapshot((), (RUNNING,), 1, None, 2))
    view.show(Snapshot((DONE,), (), 1, DONE, 2))
    assert (
        stream.getvalue().strip() == "1/1 trials  best 0.5 (t-0000)  spent 1 min device time  last t-0000 succeeded 0.5"
    )


def test_table() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    view = LiveView(console)
    view.show(Snapshot((DONE,), (RUNNING,), 5, DONE, 2))
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
        "spent 2 min of about 4 min device time",
        *FAILURE,
    ):
        assert shown in text
    assert "same" not in text


def test_differing_parameters() -> None:
    assert differing_parameters([{"a": "1", "b": "2"}, {"a": "1", "b": "3"}]) == ["b"]
    assert differing_parameters([{"a": "1"}]) == ["a"]


def test_a_note_is_told_once() -> None:
    stream = io.StringIO()
    view = LinesView(stream)
    for text in ("first", "again, of another trial"):
        view.show(Snapshot((), (RUNNING,), 1, None, 2, (("ImagePullBackOff", text),)))
    view.show(Snapshot((), (RUNNING,), 1, None, 2))
    view.show(Snapshot((), (RUNNING,), 1, None, 2, (("ImagePullBackOff", "and later"), ("store", "elsewhere"))))
    assert stream.getvalue() == "first\nelsewhere\n"
