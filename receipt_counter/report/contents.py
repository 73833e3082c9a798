"""What a run directory holds, as far as it goes: a run may have just begun, or have failed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from receipt_counter.evaluation.statistics import Prediction
from receipt_counter.report.history import History, read_history
from receipt_counter.storage.files import read_json
from receipt_counter.storage.run import Run

# The split whose figures matter most comes first.
_PREFERENCE = ("test", "analysis", "val", "train")


@dataclass(frozen=True)
class SplitResults:
    """One split's evaluation.

    Attributes:
        directory: evaluation/<split>.
        metrics: content of metrics.json.
        confusion: content of confusion.json.
        predictions: lines of predictions.jsonl.
    """

    directory: Path
    metrics: Mapping[str, Any]
    confusion: Mapping[str, Any]
    predictions: list[Prediction]


@dataclass(frozen=True)
class RunContents:
    """Everything a report is made from.

    Attributes:
        record: content of run.json.
        config: content of config.yaml; empty if it is missing.
        history: scalars of the event files; empty before the first.
        results: {split: results}, in the order of importance; empty before the first evaluation.
    """

    record: Mapping[str, Any]
    config: Mapping[str, Any]
    history: History
    results: Mapping[str, SplitResults]

    @property
    def main_split(self) -> str | None:
        """The split the report is about."""
        return next(iter(self.results), None)


def read_run(directory: Path) -> RunContents:
    """Read a run directory.

    Args:
        directory: with at least a run.json.

    Raises:
        UserError: it is no run directory, or a file in it is broken.
    """
    run = Run.open(directory)
    config_file = directory / "config.yaml"
    config = yaml.safe_load(config_file.read_text(encoding="utf-8")) if config_file.is_file() else {}
    # metrics.json is written last: with it, the others are there.
    judged = [split for split in _PREFERENCE if (run.evaluation(split) / "metrics.json").is_file()]
    return RunContents(
        record=run.record,
        config=config,
        history=read_history(run.events),
        results={split: _read_split(run.evaluation(split)) for split in judged},
    )


def _read_split(directory: Path) -> SplitResults:
    lines = (directory / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    return SplitResults(
        directory=directory,
        metrics=read_json(directory / "metrics.json"),
        confusion=read_json(directory / "confusion.json"),
        predictions=[json.loads(line) for line in lines],
    )
