"""Runs side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from receipt_counter.monitor import schemas
from receipt_counter.monitor.evaluations import estimate, higher_is_better, read_evaluation
from receipt_counter.monitor.event_files import PointArray
from receipt_counter.monitor.monitor import Monitor
from receipt_counter.monitor.queries import NotThereError, judged_splits, summaries, values_of, within
from receipt_counter.monitor.reading import mapping
from receipt_counter.monitor.run_entry import RunEntry
from receipt_counter.monitor.thinning import thin

DEFAULT_TAGS = ("train_total_loss", "val_total_loss", "classification_accuracy", "answer_accuracy", "generation_bleu")


def compare(
    monitor: Monitor,
    ids: Sequence[str],
    tags: Sequence[str],
    *,
    points: int,
    start: float | None,
    end: float | None,
    group: Literal["variant", "none"],
) -> schemas.Comparison:
    """Compare runs.

    Args:
        monitor: knows them.
        ids: of the runs, in the order they are shown.
        tags: of the curves; none: `DEFAULT_TAGS`.
        points: of each curve at most.
        start: the first step wanted of each; None: from the beginning.
        end: the last one.
        group: whether runs that differ only in the seed are also summed up.
    """
    known = monitor.runs
    runs = [known[name] for name in dict.fromkeys(ids) if name in known]
    lines = summaries(monitor, runs)
    splits, metrics = _metrics(monitor, runs)
    wholes = {tag: _curves(runs, tag, start, end) for tag in tags or DEFAULT_TAGS}
    return schemas.Comparison.model_construct(
        experiments=lines,
        split=splits,
        metrics=metrics,
        best=_best(metrics, splits),
        higher_is_better={name: higher_is_better(name) for name in metrics},
        config_diff=config_diff(runs),
        tags=sorted({tag for run in runs for tag in run.index.tags}),
        curves={
            tag: {name: _curve(thin(whole, points)) for name, whole in curves.items()}
            for tag, curves in wholes.items()
            if curves
        },
        groups=_groups(lines, runs, wholes, points) if group == "variant" else {},
        missing=[name for name in dict.fromkeys(ids) if name not in known],
    )


def _metrics(
    monitor: Monitor, runs: Sequence[RunEntry]
) -> tuple[dict[str, str | None], dict[str, dict[str, schemas.Estimate]]]:
    """The split each run's figures are of, and {figure: {run: estimate}}."""
    splits: dict[str, str | None] = {}
    metrics: dict[str, dict[str, schemas.Estimate]] = {}
    for run in runs:
        split = next(iter(judged_splits(run)), None)
        found: dict[str, Any] = dict(run.metrics)
        if split is not None:
            try:
                found = dict(mapping(read_evaluation(monitor, run, split, "metrics.json").get("metrics")))
            except NotThereError:
                split = None
        splits[run.id] = split or ("val" if found else None)
        for name, value in found.items():
            one = estimate(value)
            if one.value is not None:
                metrics.setdefault(str(name), {})[run.id] = one
    return splits, metrics


def _best(metrics: dict[str, dict[str, schemas.Estimate]], splits: dict[str, str | None]) -> dict[str, str]:
    """{figure: the best run} of those judged on the split that most runs were judged on."""
    counted = Counter(split for split in splits.values() if split)
    if not counted:
        return {}
    common = counted.most_common(1)[0][0]
    best = {}
    for name, found in metrics.items():
        values = {run: one.value for run, one in found.items() if splits[run] == common and one.value is not None}
        if len(values) > 1:
            choose = max if higher_is_better(name) else min
            best[name] = choose(values, key=lambda run: values[run])
    return best


def config_diff(runs: Sequence[RunEntry]) -> list[schemas.ConfigDifference]:
    """Keys that are not the same in all runs."""
    keys = dict.fromkeys(key for run in runs for key in run.record.config)
    found = []
    for key in keys:
        values = {run.id: run.record.config.get(key) for run in runs}
        if len({repr(value) for value in values.values()}) > 1:
            found.append(schemas.ConfigDifference(key=key, values=values))
    return found


def _curves(runs: Sequence[RunEntry], tag: str, start: float | None, end: float | None) -> dict[str, PointArray]:
    """{run: its points of a range}, of those that have some."""
    wholes = {run.id: run.points(tag) for run in runs}
    found = {name: within(points, start, end) for name, points in wholes.items() if points is not None}
    return {name: points for name, points in found.items() if len(points)}


def _curve(points: PointArray) -> schemas.Curve:
    return schemas.Curve.model_construct(step=points["step"].tolist(), value=values_of(points))


def _groups(
    lines: Sequence[schemas.Experiment], runs: Sequence[RunEntry], wholes: dict[str, dict[str, PointArray]], limit: int
) -> dict[str, dict[str, schemas.Band]]:
    """{tag: {group: band}}; a group's name is its variant's, or the experiment's."""
    members: dict[tuple[str | None, str], list[str]] = {}
    for line, run in zip(lines, runs, strict=True):
        key = (line.study, line.variant) if line.variant else (None, f"{line.name} {run.record.signature}")
        members.setdefault(key, []).append(line.id)
    labels = _labels(lines, members)
    found: dict[str, dict[str, schemas.Band]] = {}
    for tag, curves in wholes.items():
        for key, ids in members.items():
            band = _band([(name, curves[name]) for name in ids if name in curves], limit)
            if band is not None:
                found.setdefault(tag, {})[labels[key]] = band
    return found


def _labels(
    lines: Sequence[schemas.Experiment], members: dict[tuple[str | None, str], list[str]]
) -> dict[tuple[str | None, str], str]:
    """Short names, as long as they tell groups apart."""
    by_id = {line.id: line for line in lines}
    short = {key: by_id[ids[0]].variant or by_id[ids[0]].name for key, ids in members.items()}
    counts = Counter(short.values())
    return {key: name if counts[name] == 1 else f"{name} ({key[0] or members[key][0]})" for key, name in short.items()}


def _band(curves: Sequence[tuple[str, PointArray]], limit: int) -> schemas.Band | None:
    """Mean, lowest and highest at the steps that all curves have, thinned by the mean."""
    if not curves:
        return None
    shared = curves[0][1]["step"]
    for _, points in curves[1:]:
        shared = np.intersect1d(shared, points["step"], assume_unique=True)
    values = np.stack([points["value"][np.isin(points["step"], shared, assume_unique=True)] for _, points in curves])
    finite = np.isfinite(values).all(axis=0)
    shared, values = shared[finite], values[:, finite].astype(np.float64)
    if not len(shared):
        return None
    mean = np.zeros(len(shared), dtype=curves[0][1].dtype)
    mean["step"], mean["value"] = shared, values.mean(axis=0)
    kept = np.isin(shared, thin(mean, limit)["step"], assume_unique=True)
    return schemas.Band.model_construct(
        step=shared[kept].tolist(),
        mean=values.mean(axis=0)[kept].tolist(),
        low=values.min(axis=0)[kept].tolist(),
        high=values.max(axis=0)[kept].tolist(),
        n=len(curves),
        experiments=[name for name, _ in curves],
    )
