"""Is one model better than another, over the same images of one split, and is it worse anywhere?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from receipt_counter.comparison.effects import LEVEL, Effect, paired_effect
from receipt_counter.comparison.multiple_comparisons import with_holm
from receipt_counter.comparison.scores import LOWER_IS_BETTER, EvaluatedRun, read_run
from receipt_counter.errors import UserError

PRIORITY_METRICS = ("classification_accuracy", "generation_bleu", "generation_rouge1_f")
SLICE_METRICS = ("classification_accuracy", "answer_accuracy")
SLICE_IMAGES = 50


@dataclass(frozen=True)
class Comparison:
    """Paired effects of a candidate against a baseline, candidate minus baseline.

    Attributes:
        metrics: {metric: effect}, corrected by Holm over the metrics.
        slices: {(metric, "key=value"): effect}, corrected by Holm over slices x metrics.
    """

    metrics: dict[str, Effect]
    slices: dict[tuple[str, str], Effect]

    @property
    def better(self) -> list[str]:
        """Metrics in which the candidate is significantly better."""
        return [metric for metric, effect in self.metrics.items() if verdict(metric, effect) == "better"]

    @property
    def worse(self) -> list[str]:
        """Metrics in which the candidate is significantly worse."""
        return [metric for metric, effect in self.metrics.items() if verdict(metric, effect) == "worse"]

    @property
    def worse_slices(self) -> list[tuple[str, str]]:
        """(metric, slice) in which the candidate is significantly worse."""
        return [key for key, effect in self.slices.items() if verdict(key[0], effect) == "worse"]


def verdict(metric: str, effect: Effect, alpha: float = 1 - LEVEL) -> str:
    """ "better", "worse" or "undecided": after Holm's correction where there was one.

    Args:
        metric: decides which direction is good.
        effect: candidate minus baseline.
        alpha: of the test.
    """
    if (effect.p if effect.p_holm is None else effect.p_holm) >= alpha:
        return "undecided"
    return "better" if (effect.effect < 0) == (metric in LOWER_IS_BETTER) else "worse"


def compare_models(
    baseline: Sequence[Path],
    candidate: Sequence[Path],
    metrics: Sequence[str] = PRIORITY_METRICS,
    least: int = SLICE_IMAGES,
) -> Comparison:
    """Compare two finished runs, or two sets of runs, judged on the same images.

    With one run on each side the result speaks of these two models on other images; with several seeds, of models
    trained with other seeds too.

    Args:
        baseline, candidate: predictions.jsonl of each seed's run, the seeds in the same order.
        metrics: flat metric names.
        least: slices with fewer images are left out.

    Raises:
        UserError: the runs do not pair or saw different images, or a metric is unknown or undefined.
    """
    if not baseline or len(baseline) != len(candidate):
        raise UserError(
            f"runs are compared seed by seed: {len(baseline)} of the baseline and {len(candidate)} of the candidate "
            f"do not pair"
        )
    runs = aligned_runs([*baseline, *candidate])
    before, after = runs[: len(baseline)], runs[len(baseline) :]
    slices = slice_effects(before, after, least)
    effects = {metric: metric_effect(before, after, metric) for metric in metrics}
    return Comparison(with_holm(effects), with_holm(slices))


def metric_effect(baseline: Sequence[EvaluatedRun], candidate: Sequence[EvaluatedRun], metric: str) -> Effect:
    """The paired effect on one metric of runs read by `aligned_runs`, the seeds in the same order.

    Raises:
        UserError: the metric is unknown or undefined in a run.
    """
    before, after = (np.stack([run.score(metric) for run in runs]) for runs in (baseline, candidate))
    return paired_effect(after - before)


def slice_effects(
    baseline: Sequence[EvaluatedRun], candidate: Sequence[EvaluatedRun], least: int = SLICE_IMAGES
) -> dict[tuple[str, str], Effect]:
    """The paired effects on each part of the images, {(metric, "key=value"): effect}, not corrected.

    Args:
        baseline, candidate: read by `aligned_runs`, the seeds in the same order.
        least: parts with fewer images are left out.
    """
    found: dict[tuple[str, str], Effect] = {}
    for name, rows in _slices(baseline[0]).items():
        if len(rows) < max(least, 2):
            continue
        old, new = ([run.select(rows) for run in side] for side in (baseline, candidate))
        for metric in SLICE_METRICS:
            if all(metric in run.scores for run in (*old, *new)):  # where nothing is asked there are no answers
                found[metric, name] = metric_effect(old, new, metric)
    return found


def aligned_runs(predictions: Sequence[Path]) -> list[EvaluatedRun]:
    """Read runs that were judged on the same images, and bring their images into the first one's order.

    Raises:
        UserError: see `read_run`; also where images, their counts, their questions or true answers differ.
    """
    runs = [read_run(path) for path in predictions]
    first = dict(zip(runs[0].ids, runs[0].truths, strict=True))
    aligned = []
    for run in runs:
        other = dict(zip(run.ids, run.truths, strict=True))
        if other != first:
            raise UserError(_difference(runs[0].path, first, run.path, other))
        position = {name: row for row, name in enumerate(run.ids)}
        in_order = list(first) == run.ids
        aligned.append(run if in_order else run.select([position[name] for name in first]))
    return aligned


def _difference(
    path: Path, first: dict[str, tuple[object, ...]], other_path: Path, other: dict[str, tuple[object, ...]]
) -> str:
    head = f"{path} and {other_path} were not evaluated on the same images, so they cannot be compared"
    missing, added = sorted(first.keys() - other.keys()), sorted(other.keys() - first.keys())
    if missing or added:
        example = f"{missing[0]} is only in the first" if missing else f"{added[0]} is only in the second"
        return f"{head}: {len(missing)} images are only in the first and {len(added)} only in the second ({example})"
    changed = [name for name in first if first[name] != other[name]]
    return f"{head}: {len(changed)} images have other counts, questions or true answers (first: {changed[0]})"


def _slices(run: EvaluatedRun) -> dict[str, list[int]]:
    """Positions of the images of each slice, {"key=value": rows}."""
    members: dict[str, list[int]] = defaultdict(list)
    for row, line in enumerate(run.predictions):
        for key, value in line.get("slices", {}).items():
            members[f"{key}={value}"].append(row)
    return dict(sorted(members.items()))
