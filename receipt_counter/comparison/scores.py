"""Predictions of a finished run, as scores of single images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from receipt_counter.comparison.jackknife import image_contributions
from receipt_counter.errors import UserError, suggestion
from receipt_counter.evaluation.bootstrap import Array, ImageStatistics, Sums
from receipt_counter.evaluation.metrics import all_figures
from receipt_counter.evaluation.statistics import Prediction, statistics_of

LOWER_IS_BETTER = frozenset(
    {
        "cls_loss",
        "lm_loss",
        "classification_ece",
        "classification_off_by_one",
        "generation_perplexity",
        "seconds_per_image",
    }
)

_NEEDED = ("id", "count", "label", "predicted", "probabilities")
_LEAST_PROBABILITY = 5e-7  # what predictions.jsonl rounds to 0


@dataclass(frozen=True)
class EvaluatedRun:
    """A run's predictions on one split.

    Attributes:
        path: of its predictions.jsonl.
        predictions: its lines.
        statistics: of the images, in the same order.
    """

    path: Path
    predictions: Sequence[Prediction]
    statistics: ImageStatistics

    @property
    def ids(self) -> list[str]:
        """Of the images, in order."""
        return [line["id"] for line in self.predictions]

    @property
    def truths(self) -> list[tuple[Any, ...]]:
        """What makes two images the same one: its id, its count, and its questions with their true answers."""
        return [
            (line["id"], line["count"], *((item["question"], item["answer"]) for item in line.get("answers", ())))
            for line in self.predictions
        ]

    @cached_property
    def scores(self) -> dict[str, Array]:
        """What each image contributes to each figure, {metric: [images]}; the mean over images is the figure."""
        true = [line["probabilities"][line["label"]] for line in self.predictions]
        return {
            **image_contributions(self.statistics, _figures),
            "cls_loss": -np.log(np.maximum(np.array(true, dtype=np.float64), _LEAST_PROBABILITY)),
        }

    def score(self, metric: str) -> Array:
        """One metric's scores.

        Raises:
            UserError: the metric is unknown, or undefined in this run.
        """
        if metric not in self.scores:
            raise UserError(f"{self.path}: {metric} is unknown or undefined here; {suggestion(metric, self.scores)}")
        return self.scores[metric]

    def select(self, rows: Sequence[int]) -> EvaluatedRun:
        """The same run on some of the images, by their position."""
        return EvaluatedRun(self.path, [self.predictions[row] for row in rows], self.statistics.select(rows))


def _figures(sums: Sums) -> dict[str, Array]:
    """Every figure, and the language loss: the mean negative log-likelihood of an answer token."""
    figures = all_figures(sums)
    return {**figures, "lm_loss": np.log(figures["generation_perplexity"])}


def read_run(predictions: Path) -> EvaluatedRun:
    """Read a predictions.jsonl.

    Raises:
        UserError: missing, unreadable, no predictions, fewer than two images, or an image twice.
    """
    try:
        text = predictions.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{predictions}: cannot be read: {getattr(error, 'strerror', None) or 'not UTF-8'}") from error
    lines = [_parse(f"{predictions}:{number}", line) for number, line in enumerate(text.splitlines(), 1)]
    if len(lines) < 2:
        raise UserError(f"{predictions}: holds {len(lines)} images, a comparison needs at least 2")
    ids = [line["id"] for line in lines]
    if len(set(ids)) < len(ids):
        twice = next(name for index, name in enumerate(ids) if name in ids[:index])
        raise UserError(f"{predictions}: image {twice} is there twice")
    return EvaluatedRun(predictions, lines, statistics_of(lines, len(lines[0]["probabilities"])))


def _parse(place: str, text: str) -> dict[str, Any]:
    try:
        line = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{place}: is not valid JSON: {error.msg}") from error
    missing = [key for key in _NEEDED if key not in line] if isinstance(line, dict) else list(_NEEDED)
    if missing:
        raise UserError(f"{place}: is no prediction: {', '.join(missing)} missing")
    found: dict[str, Any] = line
    return found


def per_image_scores(predictions: Path, metric: str) -> tuple[list[str], Array]:
    """One metric's score of each image; their mean is the metric as metrics.json has it.

    For counting accuracy that is 0 or 1, for answer accuracy the mean over the image's questions (weighted where images
    have different numbers of questions), for `cls_loss` the cross-entropy of the count, for BLEU, `lm_loss` (mean over
    answer tokens) and other figures of the whole split the image's contribution by the jackknife.

    Args:
        predictions: a predictions.jsonl.
        metric: a flat metric name.

    Returns:
        Image ids and scores.

    Raises:
        UserError: see `read_run`; also a metric that is unknown or undefined in this run.
    """
    run = read_run(predictions)
    return run.ids, run.score(metric)
