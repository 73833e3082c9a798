"""A study from its file to its findings: planned, really run on this machine, compared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from markupsafe import escape

from receipt_counter.cli.main import main
from receipt_counter.config.loading import resolve
from receipt_counter.storage.files import read_json
from receipt_counter.study.schema import analysis_schema
from tests.support import SMALL, write_squares

FEW = ("training.epochs=1", "training.three_stage.enabled=false")
ABLATION = """
seeds: [1, 2]
families:
  loss_weights: {no_counting: {training.loss_weights.classification: 0}}
  data: {augmented: {data.augmentation: true}}
design: {name: full-factorial, factors: [no_counting, augmented]}
path: {to: {training.loss_weights.classification: 0, data.augmentation: true}}
"""
SEARCH = """
seeds: [1]
budget: {trials: 3}
algorithm: {name: random}
objective: {goal: 0.99}
parameters: {training.learning_rate: {min: 1e-4, max: 1e-2, log: true}, data.batch_size: {values: [4, 8]}}
"""
DIVERGING = """
seeds: [1]
budget: {trials: 2}
algorithm: {name: grid}
parameters: {training.learning_rate: {values: [0.001, 1e30]}}
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options of a config small enough to train in a second."""
    directory = tmp_path_factory.mktemp("study")
    dataset = write_squares(directory / "data", {"train": 24, "val": 8, "analysis": 60})
    settings = [option for text in (*SMALL, *FEW) for option in ("--set", text)]
    return ["--preset", "laptop", "--data", str(dataset.path), *settings]


def run_study(mode: str, text: str, base: list[str], directory: Path) -> Path:
    """Plan, sweep and compare by the command line; returns the study's directory."""
    store = ["--store", str(directory / "store")]
    (directory / "study.yaml").write_text(text)
    experiment = str(directory / "experiment.yaml")
    study = [f"--{mode}-config", str(directory / "study.yaml")]
    assert main(["plan", "--mode", mode, *study, *base, *store, "-o", experiment]) == 0
    assert main(["sweep", experiment, *store, "--workers", "2"]) == 0
    assert main(["compare", "study", *store]) == 0
    (found,) = (directory / "store" / "studies").glob("study-*")
    return found


def test_an_ablation_from_its_file_to_its_findings(base: list[str], tmp_path: Path) -> None:
    found = run_study("ablation", ABLATION, base, tmp_path)
    analysis = read_json(found / "analysis.json")
    assert set(analysis["ablation_analysis"]) == {"no_counting", "augmented"}
    effect = analysis["ablation_analysis"]["no_counting"]["classification_accuracy"]
    assert (effect["n_seeds"], effect["n_images"]) == (2, 60)
    assert effect["low"] <= effect["effect"] <= effect["high"]
    baseline = analysis["baseline_metrics"]["classification_accuracy"]
    runs = [read_json(file) for file in (tmp_path / "store" / "runs").glob("*/run.json")]
    assert len(runs) == 8
    assert baseline["seeds"]["1"] in [run["splits"]["analysis"]["classification_accuracy"] for run in runs]
    assert any(sentence.startswith("2 seeds ") for sentence in analysis["findings"])
    assert set(analysis["factorial"]["interactions"]) == {"no_counting.augmented"}
    one, both = analysis["path"]
    assert (one["variant"], both["variant"]) == ("no_counting", "no_counting.augmented")
    assert one["effect"]["classification_accuracy"]["effect"] == effect["effect"]
    Draft202012Validator(analysis_schema()).validate(analysis)
    named = [analysis["baseline_runs"], *(found["runs"] for found in analysis["variations"].values())]
    made = {(str(run["seed"]), run["run_id"]) for run in runs}
    assert {(seed, run) for by_seed in named for seed, run in by_seed.items()} < made
    assert analysis["failures"] == {"trials": [], "counts": {"succeeded": 8}}
    assert analysis["cost"]["device_seconds"] > 0
    page = (found / "report.html").read_text()
    assert all(f'id="{section}"' in page for section in ("variations", "factorial", "path"))
    assert "Data: counting accuracy</h3>" in page  # its learning curves
    assert "The study spent" in page
    (found / "trials.csv").unlink()  # as if its runs had been made without it
    assert main(["compare", found.name, "--store", str(tmp_path / "store")]) == 0
    again = read_json(found / "analysis.json")
    assert again["ablation_analysis"] == analysis["ablation_analysis"]
    assert again["failures"] == {"trials": [], "counts": {}}
    assert "The study spent" not in (found / "report.html").read_text()


def test_a_searchs_best_config_is_taken_as_it_is(base: list[str], tmp_path: Path) -> None:
    found = run_study("hyperparameter", SEARCH, base, tmp_path)
    analysis = read_json(found / "analysis.json")
    best = analysis["best_configurations"]["objective"]["parameters"]
    resolved = resolve(found / "best_config.yaml")
    assert resolved.preset == "laptop"
    assert resolved.config.data.batch_size == best["data.batch_size"]
    assert resolved.config.training.learning_rate == pytest.approx(best["training.learning_rate"])
    assert resolved.config.data.image_size == 64
    assert json.dumps(analysis, allow_nan=False)
    Draft202012Validator(analysis_schema()).validate(analysis)
    assert analysis["objective"]["goal"] == 0.99
    assert "The goal of 99.0 % is not reached." in (found / "report.html").read_text()


def test_trials_that_fail_are_told_with_their_last_lines(base: list[str], tmp_path: Path) -> None:
    found = run_study("hyperparameter", DIVERGING, base, tmp_path)
    analysis = read_json(found / "analysis.json")
    Draft202012Validator(analysis_schema()).validate(analysis)
    assert [trial["parameters"]["training.learning_rate"] for trial in analysis["failures"]["trials"]] == [1e30]
    last = analysis["failures"]["trials"][0]["log"][-1]
    assert "the loss is not finite" in last
    assert str(escape(last)) in (found / "report.html").read_text()
    (found / "report.html").unlink()
    assert main(["report", found.name, "--store", str(tmp_path / "store")]) == 0
    assert str(escape(last)) in (found / "report.html").read_text()


def test_an_unknown_study_is_a_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "ablatoin", "--store", str(tmp_path)]) == 2
    assert "no study of that name" in capsys.readouterr().err
