"""Promotion and prediction with models that were really trained, judged on different data."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from receipt_counter import steps
from receipt_counter.cli.main import main
from receipt_counter.comparison.compare_models import compare_models
from receipt_counter.config.loading import from_yaml
from receipt_counter.data.dataset import Dataset
from receipt_counter.errors import UserError
from receipt_counter.evaluation.evaluate import evaluate_saved
from receipt_counter.model.build import load_model
from receipt_counter.predict import find_model
from receipt_counter.progress import Progress, Silent
from receipt_counter.promotion.decision import QUALITY
from receipt_counter.storage.files import read_json
from receipt_counter.storage.run import Run
from receipt_counter.storage.store import Store
from receipt_counter.training.train import train
from tests.support import small_config, write_squares

PROJECT = Path(__file__).resolve().parents[2]
QUIET = Progress(Silent())
ONE_STAGE = ("training.three_stage.enabled=false", *(f"gates.{name}.minimum=0" for name in QUALITY))
POOR = ("training.epochs=1", "training.learning_rate=1e-5")
GOOD = ("training.epochs=5", "training.schedule.epochs=5", "training.learning_rate=0.004")


@dataclass(frozen=True)
class Trained:
    """A store with a poor run of one dataset, promoted, and a good run of another, which lies in the store."""

    store: Store
    poor: Run
    good: Run
    others: Dataset

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The real command line, in a process of its own."""
        return subprocess.run(
            [sys.executable, "-m", "receipt_counter", *arguments, "--store", str(self.store.root)],
            cwd=PROJECT,
            env={**os.environ, "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    directory = tmp_path_factory.mktemp("trained")
    store = Store(directory / "store")
    first = write_squares(directory / "first", {"train": 32, "test": 20}, seed=1)
    others = write_squares(store.datasets / "others", {"train": 160, "test": 60}, seed=2)
    runs = []
    for dataset, overrides in ((first, POOR), (others, GOOD)):
        config = small_config(*ONE_STAGE, *overrides)
        runs.append(Run.open(train(config, dataset, store.root, progress=QUIET)))
        steps.evaluate(runs[-1], dataset, "test", QUIET)
    found = Trained(store, *runs, others)
    assert main(["promote", found.poor.directory.name, "--store", str(store.root)]) == 0
    return found


def test_a_version_judged_on_other_data_is_judged_again(trained: Trained, tmp_path: Path) -> None:
    good, store = trained.good.directory, str(trained.store.root)
    before = sorted(trained.store.root.rglob("*"))
    assert main(["promote", str(good), "--dry-run", "--store", store]) == 0
    assert sorted(trained.store.root.rglob("*")) == before
    assert main(["promote", str(good), "--store", store]) == 0
    version = trained.store.models / "receipt-counter" / "2"
    compared = read_json(version / "card.json")["comparison"]
    assert (compared["version"], compared["judged_again"]) == (1, True)
    poor = trained.poor
    evaluate_saved(poor.model, trained.others, "test", from_yaml(poor.directory / "config.yaml"), tmp_path)
    expected = compare_models(
        [tmp_path / "predictions.jsonl"], [trained.good.evaluation("test") / "predictions.jsonl"], QUALITY
    )
    for metric, effect in expected.metrics.items():
        assert compared["metrics"][metric]["effect"] == pytest.approx(effect.effect)
    assert "judged again on the images of this run" in (version / "card.md").read_text()


def test_predict_asks_the_current_version(trained: Trained, tmp_path: Path) -> None:
    assert main(["promote", str(trained.good.directory), "--store", str(trained.store.root)]) == 0
    # the version holds all it needs
    away = shutil.move(trained.store.runs, tmp_path / "away")
    photo = str(trained.others.examples("test")[0].image)
    try:
        done = trained.command("predict", photo, "--json")
    finally:
        shutil.move(away, trained.store.runs)
    assert done.returncode == 0, done.stderr
    assert done.stderr == f"model: receipt-counter/2 (run {trained.good.directory.name})\n"
    (said,) = [json.loads(line) for line in done.stdout.splitlines()]
    line = json.loads((trained.good.evaluation("test") / "predictions.jsonl").read_text().splitlines()[0])
    assert list(said["probabilities"].values()) == pytest.approx(line["probabilities"], abs=1e-5)


def test_a_model_is_named_in_many_ways(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    store, poor = trained.store, trained.poor.directory.name
    version = store.models / "receipt-counter" / "1"
    for reference, directory, name in (
        ("receipt-counter/1", version / "model", f"receipt-counter/1 (run {poor})"),
        (str(version), version / "model", f"run {poor}"),
        (poor[:8], store.runs / poor / "model", f"run {poor}"),
        (str(store.runs / poor), store.runs / poor / "model", f"run {poor}"),
        (str(store.runs / poor / "model"), store.runs / poor / "model", str(store.runs / poor / "model")),
    ):
        found = find_model(reference, store)
        assert (found.directory, found.name) == (directory, name)
    load_model(version / "model")


def test_a_damaged_version_is_not_asked(trained: Trained, tmp_path: Path) -> None:
    copied = Store(tmp_path / "store")
    shutil.copytree(trained.store.models, copied.models)
    weights = copied.models / "receipt-counter" / "1" / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match=r"receipt-counter/1: model/model\.safetensors is corrupt; restore it"):
        find_model("receipt-counter/1", copied)


def test_without_a_promoted_model_predict_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        find_model(None, Store(tmp_path))
    assert caught.value.message == (
        f"no model has been promoted in {tmp_path} yet: `receipt-counter promote RUN` does it, or name one with --model"
    )
    with pytest.raises(UserError, match=r"nobody: no run of that name in .*; there: none yet; promoted models: none"):
        find_model("nobody", Store(tmp_path))
