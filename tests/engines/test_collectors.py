"""What trials print, read as Katib's collectors read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from receipt_counter.engines.base import Metric
from receipt_counter.engines.local.collectors import (
    JSON,
    TEXT,
    Collector,
    CollectorError,
    CollectorSpec,
    Tail,
)
from receipt_counter.katib.defaults import DEFAULT_FILTER

NAMES = ("loss", "val-acc")


def collect(lines: list[str], format: str = TEXT, filters: tuple[str, ...] = (DEFAULT_FILTER,)) -> Collector:
    collector = Collector(CollectorSpec(None, format, filters), NAMES)
    for line in lines:
        collector.feed(line)
    return collector


@pytest.mark.parametrize(
    ("lines", "loss"),
    [
        pytest.param(["loss=0.5"], (0.5, 0.5, 0.5), id="one"),
        pytest.param(["loss=3", "loss=1", "loss=2"], (2, 1, 3), id="latest, least, greatest"),
        pytest.param(["epoch 1: loss = 3e-1, val-acc=0.7"], (0.3, 0.3, 0.3), id="spaces, exponent, several a line"),
        pytest.param(["loss=-2.5"], (-2.5, -2.5, -2.5), id="negative"),
        pytest.param(["my_loss=1", "loss_x=2"], None, id="other names"),
        pytest.param(["loss: 1", "loss 1"], None, id="no equals sign"),
        pytest.param(["loss=1", "loss=nan", "loss=inf"], (1, 1, 1), id="no number"),
        pytest.param(
            ["2024-01-01T00:00:02Z loss=1", "2024-01-01T00:00:01Z loss=2"], (1, 1, 2), id="latest by timestamp"
        ),
        pytest.param([], None, id="nothing"),
    ],
)
def test_text(lines: list[str], loss: tuple[float, float, float] | None) -> None:
    assert collect(lines).metrics.get("loss") == (None if loss is None else Metric(*loss))


def test_custom_filters() -> None:
    collector = collect(
        ["{metricName: loss, metricValue: 0.25};"], filters=(r"{metricName: ([\w-]+), metricValue: ((\d*)(\.\d+)?)}",)
    )
    assert collector.metrics == {"loss": Metric(0.25, 0.25, 0.25)}


@pytest.mark.parametrize(
    ("lines", "loss"),
    [
        pytest.param(['{"loss": "0.5", "timestamp": "2024-01-01T00:00:00Z"}'], (0.5, 0.5, 0.5), id="text"),
        pytest.param(['{"loss": 0.5, "epoch": 1}', "", '{"epoch": 2}'], (0.5, 0.5, 0.5), id="number"),
        pytest.param(['{"loss": 1, "timestamp": 20.5}', '{"loss": 2, "timestamp": 10}'], (1, 1, 2), id="timestamps"),
    ],
)
def test_json(lines: list[str], loss: tuple[float, float, float]) -> None:
    assert collect(lines, JSON).metrics["loss"] == Metric(*loss)


@pytest.mark.parametrize("line", ["loss=1", "[1]"])
def test_json_that_is_none(line: str) -> None:
    with pytest.raises(CollectorError, match="JSON"):
        collect([line], JSON)


def test_nothing_counts_after_the_stop() -> None:
    collector = Collector(CollectorSpec(None, TEXT, (DEFAULT_FILTER,)), NAMES, lambda name, number, value: number == 2)
    for value in (3, 2, 1):
        collector.feed(f"loss={value}")
    assert collector.stopped
    assert collector.reports == {"loss": (3.0, 2.0)}


def test_tail_gives_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "log"
    tail = Tail(path)
    assert list(tail.lines()) == []
    with path.open("a") as file:
        file.write("one\ntw")
        file.flush()
        assert list(tail.lines()) == ["one"]
        file.write("o\nthree")
        file.flush()
        assert list(tail.lines()) == ["two"]
        assert list(tail.lines(last=True)) == ["three"]
        assert list(tail.lines(last=True)) == []
