"""Judged runs made up for tests: which images they get wrong is said, not drawn."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from receipt_counter.config.loading import to_yaml
from receipt_counter.evaluation.evaluate import judge_predictions
from receipt_counter.evaluation.metrics import class_labels, confusion_matrix
from receipt_counter.evaluation.statistics import statistics_of
from receipt_counter.storage.files import write_atomic, write_json
from tests.evaluation.fabricate import fabricate_predictions
from tests.report.fabricate import record
from tests.support import small_config

IMAGES = 200
FINGERPRINT = "9a0f6c1e55d2b741"
PERFECT = fabricate_predictions(IMAGES, skill=1.0, seed=0)

Lines = list[dict[str, Any]]


def predictions(wrong: Collection[int] = (), misspoken: Collection[int] = ()) -> Lines:
    """Predictions on the same images every time.

    Args:
        wrong: images whose count is wrong; the last class is taken for class 0, any other for the next one.
        misspoken: images whose answers are both wrong.
    """
    lines = copy.deepcopy(PERFECT)
    for row in wrong:
        label = lines[row]["label"]
        lines[row]["predicted"] = (label + 1) % 3
        lines[row]["probabilities"] = [float(index == (label + 1) % 3) for index in range(3)]
    for row in misspoken:
        for answer in lines[row]["answers"]:
            answer.update(predicted="No idea at all.", correct=False)
    return lines


def rows_of(key: str, value: str) -> list[int]:
    """The images of a slice."""
    return [row for row, line in enumerate(PERFECT) if line["slices"].get(key) == value]


def fabricate_run(
    store: Path,
    run_id: str,
    lines: Lines | None = None,
    *,
    change: Callable[[dict[str, Any]], None] = lambda record: None,
    overrides: tuple[str, ...] = (),
) -> Path:
    """A finished run, judged on the test split; its model is no model.

    Args:
        store: root.
        run_id: names the run, and what its "weights" say.
        lines: its predictions; all right by default.
        change: of run.json before it is written.
        overrides: of its config.
    """
    lines = predictions() if lines is None else lines
    directory = store / "runs" / run_id
    config = small_config("evaluation.bootstrap_samples=100", *overrides)
    judged = {"split": "test", **judge_predictions(lines, config, 0.0013)}
    test = directory / "evaluation" / "test"
    write_atomic(test / "predictions.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    write_json(test / "metrics.json", judged)
    matrix = confusion_matrix(statistics_of(lines, 3))
    write_json(test / "confusion.json", {"labels": class_labels(3), "matrix": matrix})
    write_atomic(directory / "config.yaml", to_yaml(config))
    write_atomic(directory / "model" / "model.safetensors", run_id * 1000)
    written = record(run_id=run_id, metrics={name: figure["value"] for name, figure in judged["metrics"].items()})
    written["lineage"]["data_fingerprint"] = FINGERPRINT
    change(written)
    write_json(directory / "run.json", written)
    return directory
