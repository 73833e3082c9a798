"""Figures of parts of a split: the images with two receipts overlapping, the rotated ones, the real ones ..."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from receipt_counter.evaluation.bootstrap import ImageStatistics
from receipt_counter.evaluation.metrics import slice_metrics
from receipt_counter.evaluation.statistics import Prediction


def accuracy_by_slice(
    predictions: Sequence[Prediction], statistics: ImageStatistics, samples: int, seed: int
) -> dict[str, dict[str, dict[str, Any]]]:
    """Counting and answer accuracy for each value of each slice key, each slice resampled among its own images.

    Args:
        predictions: one mapping an image; an image without a key is in no slice of it.
        statistics: of the same images in the same order.
        samples: bootstrap resamples.
        seed: of the resampling.

    Returns:
        {slice: {value: {"n": images, "classification_accuracy": {value, low, high}, "answer_accuracy": {...}}}};
        a figure that is undefined (no question asked) is left out.
    """
    members: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row, line in enumerate(predictions):
        for key, value in line.get("slices", {}).items():
            members[key][str(value)].append(row)
    return {
        key: {
            value: {
                "n": len(rows),
                **{
                    name: interval.as_dict()
                    for name, interval in slice_metrics(statistics.select(rows), samples, seed).items()
                },
            }
            for value, rows in sorted(values.items())
        }
        for key, values in sorted(members.items())
    }
