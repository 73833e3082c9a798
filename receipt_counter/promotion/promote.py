"""Promote a run: decide, and publish it to the store's registry."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from receipt_counter.comparison.compare_models import Comparison, compare_models
from receipt_counter.config.loading import from_yaml
from receipt_counter.data.dataset import Dataset, read_summary
from receipt_counter.errors import UserError
from receipt_counter.progress import Progress
from receipt_counter.promotion.card import write_card
from receipt_counter.promotion.decision import (
    PROMOTED,
    QUALITY,
    SPLIT,
    UNCHANGED,
    Decision,
    failed_gates,
    not_better,
)
from receipt_counter.storage.files import read_json
from receipt_counter.storage.registry import Registry, Version
from receipt_counter.storage.run import FINISHED, Run
from receipt_counter.storage.store import Store
from receipt_counter.storage.sync import locate, uri

PREDICTIONS = "predictions.jsonl"
COPIED = (
    "config.yaml",
    "run.json",
    *(f"evaluation/{SPLIT}/{name}" for name in ("metrics.json", "confusion.json", PREDICTIONS)),
)


def promote(run: Run, store: Store, model: str, progress: Progress) -> tuple[Decision, Version | None]:
    """Publish a run as the current version of a model, if it may become that.

    Args:
        run: finished, and judged on the test split.
        store: holds the registry.
        model: the name to publish under.
        progress: shows how far a version that must be judged again is.

    Returns:
        The decision, and the version the run is now: the new one, the current one where the run is that already, or
        None where it was refused.

    Raises:
        UserError: the run is not finished or not judged, or the registry cannot be written.
    """
    registry = Registry(store, model)
    while True:
        decision = decide(run, store, model, progress)
        if decision.outcome != PROMOTED:
            return decision, decision.current if decision.outcome == UNCHANGED else None
        version = registry.publish(decision.run_id, decision.current, partial(_fill, decision=decision, run=run))
        if version is not None:
            return decision, version
        # Another run became the current version meanwhile: this one has to be better than that.


def decide(run: Run, store: Store, model: str, progress: Progress) -> Decision:
    """Decide on a run and write nothing; arguments and errors as for `promote`."""
    require_judged(run)
    current = Registry(store, model).current()
    gates = read_json(run.evaluation(SPLIT) / "metrics.json")["gates"]
    decision = Decision(run.record["run_id"], model, current, gates)
    if decision.outcome == UNCHANGED:
        return decision
    reasons = list(failed_gates(gates))
    if current is not None:
        measured = [metric for metric in QUALITY if gates[metric]["verdict"] != "unknown"]
        judge_again = _data(current.run) != _data(run)
        try:
            comparison = _compare(run, current, measured, store, progress, judge_again=judge_again)
        except UserError as error:
            reasons.append(f"cannot be compared with {current}: {error.message}")
        else:
            reasons += not_better(comparison, current)
            decision = replace(decision, comparison=comparison, judged_again=judge_again)
    return replace(decision, reasons=tuple(reasons))


def require_judged(run: Run) -> None:
    """Refuse what is not ready.

    Raises:
        UserError: the run is not finished, has no model, or is not judged on the test split; with what to do.
    """
    place = run.directory
    if run.status != FINISHED:
        raise UserError(
            f"{place}: this run is {run.status}, and only a finished one is promoted; "
            "the command that started it continues it"
        )
    if not any(run.model.glob("*.safetensors")):
        raise UserError(f"{place}: the model of this run was removed, so there is nothing to promote")
    if not all((place / name).is_file() for name in COPIED):
        raise UserError(
            f"{place}: this run was not judged on the {SPLIT} split yet; `receipt-counter run --mode single` with its "
            "config and seed does that, and trains nothing again"
        )


def _compare(
    run: Run, current: Version, metrics: Sequence[str], store: Store, progress: Progress, *, judge_again: bool
) -> Comparison:
    """The run against the current version, over the same images.

    Raises:
        UserError: they do not count in the same classes, or the current version would have to be judged again and the
            run's dataset is gone.
    """
    ours, theirs = (read_json(one.evaluation(SPLIT) / "confusion.json")["labels"] for one in (run, current.run))
    if ours != theirs:
        raise UserError(
            f"the run counts in the classes {', '.join(ours)} and it in {', '.join(theirs)}; use another name"
        )
    with tempfile.TemporaryDirectory(prefix="receipt-counter-") as scratch:
        baseline = current.run.evaluation(SPLIT)
        if judge_again:
            baseline = Path(scratch)
            _judge_again(current, _dataset_of(run, store), baseline, progress)
        return compare_models([baseline / PREDICTIONS], [run.evaluation(SPLIT) / PREDICTIONS], metrics)


def _judge_again(version: Version, dataset: Dataset, output: Path, progress: Progress) -> None:
    from receipt_counter.evaluation.evaluate import evaluate_saved

    version.check()
    config = from_yaml(version.directory / "config.yaml")
    report = progress.callback(f"judge {version} on {dataset.name}")
    evaluate_saved(version.run.model, dataset, SPLIT, config, output, report)


def _data(run: Run) -> str:
    """Fingerprint of the dataset it was trained and judged on."""
    fingerprint: str = run.record["lineage"]["data_fingerprint"]
    return fingerprint


def _dataset_of(run: Run, store: Store) -> Dataset:
    """The dataset a run was judged on, wherever it lies: the config's own, or one in the store.

    Raises:
        UserError: it is in neither place.
    """
    own = from_yaml(run.directory / "config.yaml").data.path
    for place in [*([own] if own else []), *(uri(store.datasets / name) for name in store.names(store.datasets, "*"))]:
        with suppress(UserError):  # whatever else is there is not it
            found = locate(place)
            if read_summary(found)["fingerprint"] == _data(run):
                return Dataset.open(found)
    where = f"neither at {own} nor" if own else "not"
    raise UserError(
        f"it was judged on other images and has to be judged again, but the run's dataset "
        f"{run.record['lineage']['data_name']} (fingerprint {_data(run)}) is {where} in {uri(store.datasets)}"
    )


def _fill(directory: Path, number: int, decision: Decision, run: Run) -> None:
    """Put everything that is to last into a version's directory."""
    model_files = (path for path in run.model.rglob("*") if path.is_file())
    for path in [*(run.directory / name for name in COPIED), *model_files]:
        copy = directory / path.relative_to(run.directory)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
    write_card(directory, number, decision, run)
