"""The pipelines of studies for real: by kfp's local runner, on data so small that it takes seconds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from receipt_counter.data.dataset import Dataset
from receipt_counter.storage.labels import labelled_runs
from tests.pipeline.test_run import ENVIRONMENT, PROJECT
from tests.support import SMALL, alive, ends, write_squares

SEARCH = """
base_name: tiny_search
seeds: [1]
confirmation_seeds: [11, 12]
budget: {trials: 2}
algorithm: {name: random}
parameters: {training.learning_rate: {min: 1e-4, max: 1e-2, log: true}, data.batch_size: {values: [4, 8]}}
"""
ABLATION = """
base_name: tiny_ablation
seeds: [42, 43]
families: {loss_weights: {no_counting: {training.loss_weights.classification: 0}}}
"""
FEW = ("training.epochs=1", "training.three_stage.enabled=false")
SCRIPT = PROJECT / "scripts" / "train_orchestrator.py"


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The document's flags, and what makes its studies small enough to run in seconds."""
    directory = tmp_path_factory.mktemp("study")
    (directory / "search.yaml").write_text(SEARCH)
    (directory / "ablation.yaml").write_text(ABLATION)
    dataset: Dataset = write_squares(directory / "data", {"train": 24, "analysis": 60, "test": 60})
    return [
        f"--config={PROJECT / 'config' / 'multimodal_config.yaml'}",
        f"--hyperparameter-config={directory / 'search.yaml'}",
        f"--ablation-config={directory / 'ablation.yaml'}",
        "--preset=laptop",
        f"--data={dataset.path}",
        *(f"--set={text}" for text in (*SMALL, *FEW)),
    ]


def orchestrate(mode: str, store: Path, options: list[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "--mode", mode, f"--store={store}", *options]
    environment = {**ENVIRONMENT, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=800)


def read(pattern: str, store: Path) -> dict[str, Any]:
    (file,) = store.glob(pattern)
    loaded: dict[str, Any] = json.loads(file.read_text())
    return loaded


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory, options: list[str]) -> tuple[Path, str]:
    """A store in which all has been run once, and what that printed."""
    store = tmp_path_factory.mktemp("store")
    done = orchestrate("all", store, options)
    assert done.returncode == 0, done.stderr
    return store, done.stdout


def test_all_runs_the_baseline_once(everything: tuple[Path, str]) -> None:
    store, _ = everything
    runs = [json.loads(file.read_text()) for file in store.glob("runs/*/run.json")]
    # search 2 x 1, confirmation 2 x 2, ablation 2 x 2, of which the single run is one
    assert len(runs) == 10
    shared = [run for run in runs if {"test", "analysis"} <= run["splits"].keys()]
    assert [run["seed"] for run in shared] == [42]
    assert shared[0]["experiment_name"] == "laptop"


def test_the_winner_is_confirmed_with_other_seeds_on_the_test_split(everything: tuple[Path, str]) -> None:
    store, _ = everything
    analysis = read("studies/tiny-search-*/analysis.json", store)
    confirmation, chosen = analysis["confirmation"], analysis["chosen"]
    assert (confirmation["split"], confirmation["seeds"]) == ("test", [11, 12])
    assert confirmation["ablation_analysis"]["winner"]["classification_accuracy"]["n_images"] == 60
    record = json.loads((store / "runs" / chosen["run"] / "run.json").read_text())
    assert record["seed"] == chosen["seed"]
    assert record["splits"]["val"][chosen["metric"]] == chosen["value"]
    runs = [json.loads(file.read_text()) for file in store.glob("runs/*/run.json")]
    tested = {run["seed"] for run in runs if "test" in run["splits"]}
    assert tested == {11, 12, 42}, "the test split is for the baseline and the chosen model only"


def test_the_searchs_tensorboard_shows_its_confirmation_too(everything: tuple[Path, str]) -> None:
    store, _ = everything
    (search,) = store.glob("studies/tiny-search-*")
    names = {name.partition("-seed")[0] for name in labelled_runs(store / "runs", search.name)}
    assert names >= {"confirmation-baseline", "confirmation-winner"}
    assert len(labelled_runs(store / "runs", search.name)) == 6


def test_what_is_printed_tells_what_was_found_and_what_is_next(everything: tuple[Path, str]) -> None:
    store, printed = everything
    assert "hyperparameter: 2 trials by random, each with 1 seed" in printed
    assert "ablation: 2 variants x 2 seeds = 4 trials" in printed
    assert "Promotion gates" in printed
    for name in ("search", "ablation"):
        (study,) = store.glob(f"studies/tiny-{name}-*")
        assert f"report  {study / 'report.html'}" in printed
        assert json.loads((study / "analysis.json").read_text())["findings"][0] in printed
        assert "<html" in (study / "report.html").read_text()[:2000]
    assert "run --mode single --config" in printed
    assert f"receipt-counter monitor --experiments-dir {store}" in printed


def test_all_again_says_that_there_is_nothing_to_do(everything: tuple[Path, str], options: list[str]) -> None:
    store, _ = everything
    done = orchestrate("all", store, options)
    assert done.returncode == 0, done.stderr
    assert "nothing to do: all is finished" in done.stdout


@pytest.mark.parametrize("mode", ["single", "hyperparameter", "ablation"])
def test_what_all_has_run_is_not_run_again(everything: tuple[Path, str], options: list[str], mode: str) -> None:
    store, _ = everything
    files = [path for kind in ("runs", "studies/*/trials") for path in store.glob(f"{kind}/*/*")]
    before = {path: path.stat().st_mtime_ns for path in files}
    done = orchestrate(mode, store, options)
    assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_killed_study_leaves_nothing_running_and_goes_on(tmp_path: Path, options: list[str]) -> None:
    store = tmp_path / "store"
    command = [sys.executable, "-m", "receipt_counter", "run", "--mode", "ablation", f"--store={store}", *options]
    environment = {**ENVIRONMENT, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(store.glob("studies/*/trials/*/trial.json")) and time.monotonic() < deadline:
        time.sleep(0.1)
    below = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert below
    assert ends(*below), [child for child in below if alive(child)]
    trials = [json.loads(file.read_text()) for file in store.glob("studies/*/trials/*/trial.json")]
    assert len([trial for trial in trials if trial["status"] == "succeeded"]) < 4, "it went on"
    done = orchestrate("ablation", store, options)
    assert done.returncode == 0, done.stderr
    assert read("studies/*/analysis.json", store)["seeds"] == [42, 43]
