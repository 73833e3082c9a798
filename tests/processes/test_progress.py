"""Progress reaches whoever shows it: a terminal, a log, or a parent process."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from receipt_counter import progress as module
from receipt_counter.progress import EventFile, EventReader, Lines, LiveDisplay, Progress, Silent, open_progress


def work(progress: Progress) -> None:
    """A training of four steps with a validation in its middle."""
    progress.start("train", 4)
    progress.update(2, stage=1, loss=0.71234)
    progress.start("validate", 10)
    progress.update(10)
    progress.finish()
    progress.update(4, stage=2, loss=0.5)
    progress.finish()
    progress.note("kept [best] epoch 2")
    progress.close()


@pytest.fixture
def every_update(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVENTS_PER_SECOND", float("inf"))


@pytest.mark.usefixtures("every_update")
def test_events_reach_the_reader_in_order(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    reader = EventReader(file)
    assert list(reader.new_events()) == []
    work(Progress(EventFile(file)))
    events = list(reader.new_events())
    assert [(e["event"], e.get("phase"), e.get("depth"), e.get("done")) for e in events] == [
        ("start", "train", 1, 0),
        ("update", "train", 1, 2),
        ("start", "validate", 2, 0),
        ("update", "validate", 2, 10),
        ("finish", "validate", 2, 10),
        ("update", "train", 1, 4),
        ("finish", "train", 1, 4),
        ("note", None, None, None),
    ]
    assert events[1]["values"] == {"stage": 1, "loss": 0.71234}
    assert list(reader.new_events()) == [], "nothing comes twice"


def test_reader_waits_for_the_end_of_a_line(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    line = json.dumps({"event": "note", "text": "é" * 10}) + "\n"
    reader = EventReader(file)
    file.write_bytes(line.encode() + line.encode()[:9])
    assert len(list(reader.new_events())) == 1
    file.write_bytes(line.encode() * 2)
    assert len(list(reader.new_events())) == 1


def test_updates_are_thinned_but_the_last_one_always_comes(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    progress = Progress(EventFile(file))
    progress.start("train", 10_000)
    for step in range(1, 10_001):
        progress.update(step)
    updates = [event for event in EventReader(file).new_events() if event["event"] == "update"]
    assert len(updates) < 100
    assert updates[-1]["done"] == 10_000


def test_callback_opens_and_closes_its_phase(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    report = Progress(EventFile(file)).callback("render images")
    for done in (1, 2, 3):
        report(done, 3)
    events = [(event["event"], event["done"]) for event in EventReader(file).new_events()]
    assert (events[0], events[-2:]) == (("start", 0), [("update", 3), ("finish", 3)])


@pytest.mark.usefixtures("every_update")
def test_plain_lines_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LINES", 0.0)
    stream = io.StringIO()
    work(Progress(Lines(stream)))
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("train 2/4  stage 1  loss 0.712  ")
    assert lines[0].endswith(" s left")
    assert lines[-2].startswith("train: done in ")
    assert lines[-1] == "kept [best] epoch 2"


@pytest.mark.usefixtures("every_update")
def test_live_display_keeps_finished_phases() -> None:
    stream = io.StringIO()
    display = LiveDisplay(Console(file=stream, force_terminal=True, width=80))
    display.handle({"event": "step", "name": "train step"})
    work(Progress(display))
    drawn = stream.getvalue()
    assert "kept [best] epoch 2" in drawn
    last = drawn.rsplit("kept", 1)[-1]
    assert "4/4" in last
    assert "validate" not in last, "a phase inside another leaves the display when it is done"
    assert "train step" not in last, "the row that says that a step starts makes room for its phases"
    assert "loss" not in last, "values leave with their phase"


@pytest.mark.usefixtures("every_update")
def test_live_display_shows_everything_on_a_narrow_terminal() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    display = LiveDisplay(console)
    progress = Progress(display)
    progress.start("train", 120_000)
    progress.update(110_000, stage=2, epoch="2/12", loss=0.51234, accuracy=0.875)
    with console.capture() as captured:
        console.print(display._draw())
    progress.close()
    assert "110000/120000" in captured.get()
    assert "stage 2  epoch 2/12  loss 0.512  accuracy 0.875" in captured.get()
    assert "…" not in captured.get()


@pytest.mark.parametrize(
    ("enabled", "file", "sink"),
    [(False, "events.jsonl", Silent), (True, "events.jsonl", EventFile), (True, None, Lines)],
    ids=["another process of a distributed run", "below a parent that watches", "no terminal"],
)
def test_sink(enabled: bool, file: str | None, sink: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(module.ENVIRONMENT_VARIABLE, raising=False)
    if file:
        monkeypatch.setenv(module.ENVIRONMENT_VARIABLE, str(tmp_path / file))
    monkeypatch.setattr("sys.stderr", io.StringIO())
    progress = open_progress(enabled)
    assert type(progress._sink) is sink
    progress.close()
