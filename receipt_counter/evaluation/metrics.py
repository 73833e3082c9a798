"""Figures of a model, from its predictions.

`statistics_of` reduces each image to numbers that add up; the functions here turn sums into figures, for the data as it
is and for all bootstrap resamples by the same code. A figure that is undefined (no such image, no question asked, an
infinite perplexity) is nan inside and left out of every result.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from receipt_counter.evaluation.answers import MAX_ORDER, ROUGE_TYPES
from receipt_counter.evaluation.bootstrap import (
    Array,
    ImageStatistics,
    Interval,
    Sums,
    bootstrap,
    widen_unanimous,
)
from receipt_counter.evaluation.statistics import CALIBRATION_BINS, TYPE_PREFIX

_PROPORTIONS = ("classification_accuracy", "classification_off_by_one", "answer_accuracy")


def class_labels(classes: int) -> list[str]:
    """Names of the count classes: "0", "1", "2+" for three."""
    return [*(str(count) for count in range(classes - 1)), f"{classes - 1}+"]


def _ratio(part: Array, whole: Array) -> Array:
    """part / whole, nan where whole is 0."""
    ratio: Array = np.full(np.broadcast(part, whole).shape, np.nan)
    return np.divide(part, whole, out=ratio, where=whole != 0)


def _confusion(sums: Sums) -> Array:
    """Confusion matrices, [resamples, truth, predicted]."""
    flat = sums["confusion"]
    classes = round(flat.shape[1] ** 0.5)
    return flat.reshape(-1, classes, classes)


def _per_class(sums: Sums) -> dict[str, Array]:
    """Precision, recall and F1 of each class, {name: [resamples, classes]}.

    As scikit-learn does with zero_division=0: a class that occurs (in the truth or among the predictions) but is never
    predicted, or never true, scores 0; one that does not occur has no score.
    """
    confusion = _confusion(sums)
    hits = np.diagonal(confusion, axis1=1, axis2=2)
    predicted, true = confusion.sum(axis=1), confusion.sum(axis=2)
    occurs = (predicted + true) > 0
    scores = {
        "precision": _ratio(hits, predicted),
        "recall": _ratio(hits, true),
        "f1": _ratio(2 * hits, predicted + true),
    }
    return {name: np.where(occurs, np.nan_to_num(score), np.nan) for name, score in scores.items()}


def classification_figures(sums: Sums) -> dict[str, Array]:
    """Counting: accuracy, macro precision/recall/F1 over the classes that occur, off-by-one rate, calibration error.

    Off by one: the predicted class is a neighbour of the true one. Calibration error: expected calibration error with
    15 bins of equal width (Guo et al. 2017, "On calibration of modern neural networks").
    """
    confusion = _confusion(sums)
    total = confusion.sum(axis=(1, 2))
    distance = np.abs(np.subtract.outer(np.arange(confusion.shape[1]), np.arange(confusion.shape[1])))
    figures = {"classification_accuracy": _ratio(np.trace(confusion, axis1=1, axis2=2), total)}
    for name, score in _per_class(sums).items():
        known = np.isfinite(score)
        figures[f"classification_{name}"] = _ratio(np.where(known, score, 0).sum(axis=1), known.sum(axis=1))
    _, confidence, right = np.moveaxis(sums["calibration"].reshape(-1, 3, CALIBRATION_BINS), 1, 0)
    return {
        **figures,
        "classification_off_by_one": _ratio((confusion * (distance == 1)).sum(axis=(1, 2)), total),
        "classification_ece": _ratio(np.abs(confidence - right).sum(axis=1), total),
    }


def bleu(statistics: Array, order: int) -> Array:
    """Corpus BLEU (Papineni et al. 2002) from summed counts, equal to sacrebleu's with its default smoothing.

    Args:
        statistics: [resamples, 10]; see `TextStatistics.bleu`.
        order: the longest n-gram counted.

    Returns:
        BLEU-n from 0 to 1, [resamples]; nan where nothing was answered.
    """
    predicted, true = statistics[:, 0], statistics[:, 1]
    matched = statistics[:, 2 : 2 + order]
    total = statistics[:, 2 + MAX_ORDER : 2 + MAX_ORDER + order]
    # Exponential smoothing: the k-th order without a match counts as 1 / 2^k of one (Chen and Cherry 2014, method 3).
    smoothed = np.where(matched > 0, matched, 0.5 ** np.cumsum(matched == 0, axis=1))
    with np.errstate(divide="ignore", invalid="ignore"):
        brevity = np.exp(np.minimum(0, 1 - true / predicted))
        score = brevity * np.exp(np.log(smoothed / total).mean(axis=1))
    score = np.where((matched.sum(axis=1) > 0) & (total > 0).all(axis=1), score, 0.0)
    return np.where(true > 0, score, np.nan)


def answer_figures(sums: Sums) -> dict[str, Array]:
    """Answers in words: BLEU-1..4 (`generation_bleu` is BLEU-4), mean ROUGE F, exact accuracy."""
    right, asked = sums["answers"].T
    orders = {f"generation_bleu{order}": bleu(sums["bleu"], order) for order in range(1, MAX_ORDER + 1)}
    rouge = {f"generation_{name}_f": _ratio(sums["rouge"][:, column], asked) for column, name in enumerate(ROUGE_TYPES)}
    return {**orders, "generation_bleu": orders["generation_bleu4"], **rouge, "answer_accuracy": _ratio(right, asked)}


def run_figures(sums: Sums) -> dict[str, Array]:
    """Perplexity of the true answers (exp of the mean negative log-likelihood per token) and seconds per image."""
    with np.errstate(over="ignore"):
        perplexity = np.exp(_ratio(*sums["language"].T))
    return {"generation_perplexity": perplexity, "seconds_per_image": _ratio(*sums["seconds"].T)}


def all_figures(sums: Sums) -> dict[str, Array]:
    """Every figure that depends on the predictions."""
    return {**classification_figures(sums), **answer_figures(sums), **run_figures(sums)}


def metrics_with_intervals(statistics: ImageStatistics, samples: int, seed: int) -> dict[str, Interval]:
    """Every figure with its interval, {name: Interval}.

    Args:
        statistics: of the images judged.
        samples: bootstrap resamples.
        seed: of the resampling.
    """
    found = bootstrap(statistics, all_figures, samples, seed)
    return {
        name: widen_unanimous(interval, statistics.images) if name in _PROPORTIONS else interval
        for name, interval in found.items()
    }


def answer_accuracy_by_type(statistics: ImageStatistics, samples: int, seed: int) -> dict[str, dict[str, float]]:
    """Exact answer accuracy of each question type, {type: {value, low, high, n}}; n counts questions."""
    names = [name for name in statistics.blocks if name.startswith(TYPE_PREFIX)]

    def figures(sums: Sums) -> dict[str, Array]:
        return {name: _ratio(*sums[name].T) for name in names}

    result = {}
    for name, interval in bootstrap(statistics, figures, samples, seed).items():
        asked = statistics.blocks[name][:, 1]
        honest = widen_unanimous(interval, int(np.count_nonzero(asked)))
        result[name.removeprefix(TYPE_PREFIX)] = {**honest.as_dict(), "n": int(asked.sum())}
    return result


def per_class_metrics(statistics: ImageStatistics, samples: int, seed: int) -> dict[str, dict[str, Any]]:
    """Precision, recall and F1 of each class with intervals, and its support.

    Returns:
        {class: {"precision": {value, low, high} or None, "recall": ..., "f1": ..., "support": images}}; None for a
        class that neither occurs nor is predicted.
    """
    matrix = confusion_matrix(statistics)
    labels = class_labels(len(matrix))

    def figures(sums: Sums) -> dict[str, Array]:
        scores = _per_class(sums)
        return {f"{name} {label}": scores[name][:, index] for name in scores for index, label in enumerate(labels)}

    found = bootstrap(statistics, figures, samples, seed)
    result: dict[str, dict[str, Any]] = {}
    for index, label in enumerate(labels):
        support, predicted = sum(matrix[index]), sum(row[index] for row in matrix)
        trials = {"precision": predicted, "recall": support, "f1": max(support, predicted)}
        result[label] = {"support": support}
        for name, images in trials.items():
            interval = found.get(f"{name} {label}")
            result[label][name] = None if interval is None else widen_unanimous(interval, images).as_dict()
    return result


def slice_metrics(statistics: ImageStatistics, samples: int, seed: int) -> dict[str, Interval]:
    """The two accuracies, of images resampled among themselves."""

    def figures(sums: Sums) -> dict[str, Array]:
        right, asked = sums["answers"].T
        correct = np.trace(_confusion(sums), axis1=1, axis2=2)
        return {
            "classification_accuracy": _ratio(correct, sums["confusion"].sum(axis=1)),
            "answer_accuracy": _ratio(right, asked),
        }

    found = bootstrap(statistics, figures, samples, seed)
    return {name: widen_unanimous(interval, statistics.images) for name, interval in found.items()}


def confusion_matrix(statistics: ImageStatistics) -> list[list[int]]:
    """Counts of images, [truth][predicted]."""
    return [[int(count) for count in row] for row in _confusion(statistics.sums())[0]]


def calibration(statistics: ImageStatistics) -> list[dict[str, Any]]:
    """The reliability diagram's bins: [{low, high, n, confidence, accuracy}]; the last two are None where n is 0."""
    bins: list[dict[str, Any]] = []
    columns = statistics.sums()["calibration"].reshape(3, CALIBRATION_BINS).T
    for index, (count, confidence, right) in enumerate(columns.tolist()):
        bins.append(
            {
                "low": index / CALIBRATION_BINS,
                "high": (index + 1) / CALIBRATION_BINS,
                "n": int(count),
                "confidence": confidence / count if count else None,
                "accuracy": right / count if count else None,
            }
        )
    return bins
