"""The runs behind a study's trials: a run's identity follows from its config, so any engine's runs are found alike."""

from __future__ import annotations

from pathlib import Path

from receipt_counter.config.loading import resolve_onto
from receipt_counter.config.schema import Config
from receipt_counter.config.source import Setting
from receipt_counter.data.dataset import Dataset
from receipt_counter.progress import Progress
from receipt_counter.storage.files import exclusive, read_json
from receipt_counter.storage.run import FINISHED, Run
from receipt_counter.storage.store import Store, run_id
from receipt_counter.storage.versions import code_version


def with_seed(config: Config, seed: int) -> Config:
    """The config with another seed."""
    return resolve_onto(config, [Setting("seed", seed, "seeds")])


def dataset_of(config: Config, store: Store, progress: Progress) -> Dataset:
    """The config's dataset; a rendered one is rendered by one process while others wait.

    Args:
        config: `data.path` names the user's own, which was checked before the study began.
        store: keeps rendered datasets.
        progress: shows how far the rendering is.
    """
    from receipt_counter.steps import prepare_data

    if config.data.path is not None:
        return Dataset.open(Path(config.data.path))
    with exclusive(store.datasets, "store", wait=True):
        return prepare_data(config, store, progress)


def code_versions(store: Store) -> list[str]:
    """The versions of the code that runs in the store were made with: this code's first, then the latest."""
    latest: dict[str, str] = {}
    for file in store.runs.glob("*/run.json"):
        record = read_json(file)
        version = record.get("lineage", {}).get("code_version", "")
        latest[version] = max(latest.get(version, ""), record.get("started") or "")
    current = code_version()
    return [current, *sorted(latest.keys() - {current}, key=lambda version: latest[version], reverse=True)]


def finished_run(config: Config, split: str, fingerprint: str, store: Store, version: str) -> Run | None:
    """The finished run of a config, judged on a split; None where there is none.

    Args:
        config: with its seed.
        split: that it must have been judged on.
        fingerprint: of its dataset.
        store: where runs live.
        version: of the code that made it.
    """
    run = Run(store.run_directory(run_id(config, fingerprint, version)))
    judged = run.status == FINISHED and (run.evaluation(split) / "metrics.json").exists()
    return run if judged else None
