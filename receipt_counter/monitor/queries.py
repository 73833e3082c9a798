"""What pages ask about runs: the list, one run, its curves, its log."""

from __future__ import annotations

import functools
import math
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from receipt_counter.config.loading import preset_names, resolve, to_plain
from receipt_counter.config.schema import leaves
from receipt_counter.monitor import schemas
from receipt_counter.monitor.event_files import PointArray
from receipt_counter.monitor.monitor import Monitor
from receipt_counter.monitor.reading import UnreadableError, clean, mapping, open_inside
from receipt_counter.monitor.run_entry import RunEntry, moment
from receipt_counter.monitor.thinning import thin

# failures first, then what goes on
_BY_STATUS = ("failed", "diverged", "unreadable", "stale", "interrupted", "running", "finished")
SORTS = ("status", "name", "started", "updated", "device_seconds", "objective", "progress", "seed", "study")
_SPLITS = ("test", "analysis", "val", "train")  # the one that matters most comes first
_LAST_MOMENT = 8.64e12  # seconds since 1970 that browsers can show
_LOG_BYTES = 256 << 10
_LOG_FILE_LIMIT = 1 << 40
_NO_COMPONENT = ("", ".", "..")


class NotThereError(Exception):
    """There is nothing of that name."""


def run_of(monitor: Monitor, identity: str) -> RunEntry:
    """The run of an id.

    Raises:
        NotThereError: there is none.
    """
    entry = monitor.runs.get(identity)
    if entry is None:
        raise NotThereError("no experiment of this id")
    return entry


def summaries(monitor: Monitor, runs: Iterable[RunEntry]) -> list[schemas.Experiment]:
    """Runs in a line each."""
    now, studies = time.time(), monitor.studies
    namers = {name: study.variant_namer() for name, study in studies.items()}
    found = []
    for run in runs:
        study = studies.get(run.study or "")
        variant, objective = (namers[study.id](run), study.objective) if study else (None, None)
        found.append(run.summary(now, variant, objective))
    return found


def experiments(
    monitor: Monitor, *, study: str | None, status: Sequence[str], q: str | None, sort: str, descending: bool
) -> schemas.Experiments:
    """The list of runs.

    Args:
        monitor: knows them.
        study: id of the study they belong to; None: any.
        status: any of these; none: any.
        q: words that must all be in the run's id, name, study, trial, variant or error; None: any.
        sort: one of `SORTS`, or a metric.
        descending: the other way round; what has no value comes last either way.
    """
    runs = monitor.runs
    chosen = list(runs.values())
    if study is not None:
        owner = monitor.studies.get(study)
        chosen = owner.owned(chosen) if owner else [run for run in chosen if run.study == study]
    words = (q or "").lower().split()
    found = [
        one
        for one in summaries(monitor, chosen)
        if (not status or one.status in status) and all(word in _searchable(one) for word in words)
    ]
    found.sort(key=lambda one: (one.started or one.updated, one.id), reverse=True)
    known = [one for one in found if _sort_key(one, sort) is not None]
    known.sort(key=lambda one: _sort_key(one, sort), reverse=descending)
    found = known + [one for one in found if _sort_key(one, sort) is None]
    return schemas.Experiments(
        generated_at=moment(time.time()), scanning=monitor.scanning(), total=len(runs), experiments=found
    )


def _searchable(one: schemas.Experiment) -> str:
    return " ".join(str(x) for x in (one.id, one.name, one.study, one.trial, one.variant, one.error, one.seed)).lower()


def _sort_key(one: schemas.Experiment, sort: str) -> Any:
    if sort == "status":
        return _BY_STATUS.index(one.status)
    if sort == "progress":
        return one.progress.fraction
    return getattr(one, sort) if sort in SORTS else one.metrics.get(sort)


def experiment(monitor: Monitor, run: RunEntry) -> schemas.ExperimentDetail:
    """Everything about a run but its points and predictions."""
    (summary,) = summaries(monitor, [run])
    study = monitor.studies.get(run.study or "")
    preset, default = nearest_preset(run.record.config)
    log = error_log(monitor, run) if run.record.error else []
    notes = list(run.index.problems)
    notes += [run.index_problem] if run.index_problem else []
    notes += ["its event files are yet to be read"] if run.waiting else []
    starts, epochs = stages(run)
    return schemas.ExperimentDetail(
        **summary.model_dump(),
        preset=preset,
        config=config_keys(run.record.config, default, study.plan.get("base", {}) if study else {}),
        config_problem=run.record.config_problem,
        lineage=dict(run.record.lineage),
        stages=starts,
        epoch_steps=epochs,
        failure=schemas.RunError(message=run.record.error, log=log) if run.record.error else None,
        splits=judged_splits(run),
        tags=sorted(run.index.tags),
        points=run.index.points,
        notes=notes,
    )


def config_keys(
    config: Mapping[str, Any], default: Mapping[str, Any], baseline: Mapping[str, Any]
) -> list[schemas.ConfigKey]:
    """A run's config beside what it is compared with."""
    reference = baseline or default
    return [
        schemas.ConfigKey(
            key=key,
            value=value,
            default=default.get(key),
            baseline=baseline.get(key),
            differs=key != "seed" and value != reference.get(key),
        )
        for key, value in config.items()
    ]


@functools.cache
def _presets() -> dict[str, dict[str, Any]]:
    resolved = {name: resolve(preset=name).config for name in preset_names()}
    return {
        name: {key: clean(to_plain(value)) for key, value in leaves(config).items()}
        for name, config in resolved.items()
    }


def nearest_preset(config: Mapping[str, Any]) -> tuple[str | None, Mapping[str, Any]]:
    """The preset that most keys of a config agree with, and its values; none without a config."""
    if not config:
        return None, {}
    presets = _presets()
    name = max(presets, key=lambda name: sum(presets[name].get(key) == value for key, value in config.items()))
    return name, presets[name]


def stages(run: RunEntry) -> tuple[list[schemas.StageStart], list[int]]:
    """Where stages began, and the last step of each epoch."""
    stage, epoch = run.points("stage"), run.points("epoch")
    ends: list[int] = []
    if epoch is not None and len(epoch):
        changes = np.flatnonzero(np.diff(epoch["value"]))
        ends = [int(step) for step in epoch["step"][[*changes, -1]]]
    starts: list[schemas.StageStart] = []
    if stage is not None and len(stage):
        for index in [0, *(np.flatnonzero(np.diff(stage["value"])) + 1)]:
            step = int(stage["step"][index])
            before = [end for end in ends if end < step]
            starts.append(
                schemas.StageStart(
                    stage=int(np.nan_to_num(stage["value"][index])),
                    # it began where an epoch ended, somewhat before the first step that was logged in it
                    step=before[-1] if index and before else 0 if not index else step,
                    epoch=len(before) + 1 if ends else None,
                )
            )
    return starts, ends


def judged_splits(run: RunEntry) -> list[str]:
    """Splits with figures, the most important first; metrics.json is written last."""
    return [s for s in _SPLITS if (run.directory / "evaluation" / s / "metrics.json").is_file()]


def metrics(
    run: RunEntry,
    tags: Sequence[str],
    *,
    points: int,
    start: float | None,
    end: float | None,
    x: Literal["step", "time"],
) -> schemas.Metrics:
    """Curves of a run.

    Args:
        run: whose.
        tags: which, `*` at the end stands for any rest; none: all.
        points: of each at most.
        start: the first step or second wanted.
        end: the last one.
        x: what `start` and `end` are.
    """
    known = list(run.index.tags)
    chosen = [tag for tag in known if not tags or any(_fits(tag, wanted) for wanted in tags)]
    found = {}
    for tag in sorted(chosen):
        whole = run.points(tag)
        if whole is not None:
            found[tag] = _series(whole, points, start, end, x)
    return schemas.Metrics(tags=found)


def _fits(tag: str, wanted: str) -> bool:
    return tag.startswith(wanted[:-1]) if wanted.endswith("*") else tag == wanted


def _series(points: PointArray, limit: int, start: float | None, end: float | None, x: str) -> schemas.Series:
    inside = within(points, start, end, x)
    drawn = thin(inside, limit)
    return schemas.Series.model_construct(
        step=drawn["step"].tolist(),
        time=np.where(np.abs(drawn["time"]) < _LAST_MOMENT, drawn["time"], 0.0).tolist(),
        value=values_of(drawn),
        total=len(inside),
    )


def within(points: PointArray, start: float | None, end: float | None, x: str = "step") -> PointArray:
    """The points of a range.

    Args:
        points: of a tag.
        start: the first step or second wanted; None: from the beginning.
        end: the last one; None: to the end.
        x: which of "step" and "time" these are.
    """
    kept = np.ones(len(points), dtype=bool)
    if start is not None:
        kept &= points[x] >= start
    if end is not None:
        kept &= points[x] <= end
    return points if kept.all() else points[kept]


def values_of(points: PointArray) -> list[float | None]:
    """The values of points; None for what JSON cannot hold. In as many digits as a float of 32 bits means."""
    return [float(f"{value:.9g}") if math.isfinite(value) else None for value in points["value"].tolist()]


def log(monitor: Monitor, run: RunEntry, lines: int) -> schemas.Log:
    """The end of the log of a run's trial, else what run.json says of its end."""
    study, trial = run.study, run.trial
    if study not in (None, *_NO_COMPONENT) and trial not in (None, *_NO_COMPONENT):
        assert study is not None
        assert trial is not None
        if "/" not in study + trial and "\0" not in study + trial:
            file = monitor.root / "studies" / study / "trials" / trial / "stdout.log"
            try:
                tail, more = _tail(open_inside(monitor.root, file, _LOG_FILE_LIMIT))
            except (FileNotFoundError, UnreadableError):
                pass
            else:
                return schemas.Log(
                    source=f"studies/{study}/trials/{trial}/stdout.log",
                    lines=tail[-lines:],
                    truncated=more or len(tail) > lines,
                )
    said = [str(line) for line in _said(run)]
    return schemas.Log(source="run.json" if said else None, lines=said[-lines:], truncated=len(said) > lines)


def _said(run: RunEntry) -> list[Any]:
    error = run.record.record.get("error")
    kept = mapping(error).get("log")
    return list(kept) if isinstance(kept, list) else (run.record.error or "").splitlines()


def error_log(monitor: Monitor, run: RunEntry) -> list[str]:
    """The last lines that a run left."""
    found = log(monitor, run, 40)
    return found.lines if found.source != "run.json" else []


def _tail(descriptor: int) -> tuple[list[str], bool]:
    """The last lines of a file, and whether there is more before them."""
    with os.fdopen(descriptor, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _LOG_BYTES))
        content = file.read().decode("utf-8", "replace")
    lines = content.splitlines()
    return (lines[1:], True) if size > _LOG_BYTES and len(lines) > 1 else (lines, False)
