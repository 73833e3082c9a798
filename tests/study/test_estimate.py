"""What a study is expected to cost, from past runs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from receipt_counter.config.loading import to_yaml
from receipt_counter.config.schema import Config
from receipt_counter.storage.files import write_json
from receipt_counter.storage.store import Store
from receipt_counter.study.estimate import estimate
from tests.support import small_config

BATCH, STEPS = 8, 50


def past_run(store: Store, name: str, config: Config, seconds: float, status: str = "finished") -> None:
    directory = store.runs / name
    directory.mkdir(parents=True)
    (directory / "config.yaml").write_text(to_yaml(config))
    write_json(directory / "run.json", {"status": status, "step": STEPS, "device_seconds": seconds})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_without_a_past_run_nothing_is_known(store: Store) -> None:
    past_run(store, "other-size", small_config("data.image_size=128"), 10.0)
    past_run(store, "unfinished", small_config(), 10.0, status="running")
    assert estimate([small_config()], 1, store, 100) is None


def test_cost_grows_with_pictures_and_epochs(store: Store) -> None:
    for number, seconds in enumerate((36.0, 40.0, 44.0)):
        past_run(store, str(number), small_config(), seconds)
    each = 40.0 / (STEPS * BATCH)
    config = small_config("training.epochs=4", "training.schedule.epochs=4")
    found = estimate([config, config], 2, store, 100)
    assert found is not None
    assert found.device_hours == pytest.approx(2 * 4 * 100 * each / 3600)
    assert found.low < found.device_hours < found.high
    assert (found.hours, found.past_runs) == (pytest.approx(found.device_hours / 2), 3)
    rendered = dataclasses.replace(config, data=dataclasses.replace(config.data, epoch_images=10))
    less = estimate([rendered], 1, store, 100)
    assert less is not None
    assert less.device_hours == pytest.approx(4 * 10 * each / 3600)


def test_more_workers_than_runs_do_not_help(store: Store) -> None:
    past_run(store, "one", small_config(), 40.0)
    found = estimate([small_config()], 8, store, 100)
    assert found is not None
    assert found.hours == pytest.approx(found.device_hours)


def test_a_broken_run_does_not_count(store: Store) -> None:
    past_run(store, "good", small_config(), 40.0)
    (store.runs / "bad").mkdir()
    (store.runs / "bad" / "run.json").write_text("{")
    found = estimate([small_config()], 1, store, 100)
    assert found is not None
    assert found.past_runs == 1
