"""What each image adds to the sums that figures are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from receipt_counter.evaluation.answers import MAX_ORDER, text_statistics
from receipt_counter.evaluation.bootstrap import ImageStatistics

Prediction = Mapping[str, Any]  # a line of predictions.jsonl

CALIBRATION_BINS = 15
TYPE_PREFIX = "type:"  # of the blocks that hold the questions of one type


def statistics_of(predictions: Sequence[Prediction], classes: int) -> ImageStatistics:
    """Reduce each image to numbers whose sums give every figure.

    Args:
        predictions: one mapping an image; `seconds`, `answer_tokens` and `answers` may be absent.
        classes: how many count classes there are.

    Returns:
        Blocks: confusion [classes²], calibration [3 x bins], answers [2], one per question type [2], bleu [10],
        rouge [3], language [2] and seconds [2].
    """
    types = sorted({answer["type"] for line in predictions for answer in line.get("answers", ())})
    blocks = {
        "confusion": np.zeros((len(predictions), classes, classes)),
        "calibration": np.zeros((len(predictions), 3, CALIBRATION_BINS)),
        "answers": np.zeros((len(predictions), 2)),
        "bleu": np.zeros((len(predictions), 2 + 2 * MAX_ORDER)),
        "rouge": np.zeros((len(predictions), 3)),
        "language": np.zeros((len(predictions), 2)),
        "seconds": np.zeros((len(predictions), 2)),
        **{TYPE_PREFIX + name: np.zeros((len(predictions), 2)) for name in types},
    }
    for row, line in enumerate(predictions):
        right = line["predicted"] == line["label"]
        confidence = max(line["probabilities"])
        blocks["confusion"][row, line["label"], line["predicted"]] = 1
        blocks["calibration"][row, :, _calibration_bin(confidence)] = (1, confidence, right)
        if line.get("seconds") is not None:
            blocks["seconds"][row] = (line["seconds"], 1)
        if line.get("answer_tokens"):
            # An answer held impossible (or a diverged model) makes the perplexity of the whole split undefined.
            nll = line["nll"]
            blocks["language"][row] = (np.nan if nll is None else nll, line["answer_tokens"])
        for answer in line.get("answers", ()):
            text = text_statistics(answer["predicted"], answer["answer"])
            blocks["answers"][row] += (answer["correct"], 1)
            blocks[TYPE_PREFIX + answer["type"]][row] += (answer["correct"], 1)
            blocks["bleu"][row] += text.bleu
            blocks["rouge"][row] += text.rouge
    return ImageStatistics({name: block.reshape(len(predictions), -1) for name, block in blocks.items()})


def _calibration_bin(confidence: float) -> int:
    """Bin of a confidence: ((m-1)/15, m/15], as in Guo et al."""
    return int(np.clip(np.ceil(confidence * CALIBRATION_BINS) - 1, 0, CALIBRATION_BINS - 1))
