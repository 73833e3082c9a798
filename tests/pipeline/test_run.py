"""The single pipeline for real: kfp's local runner, every step a process, on data so small that it takes seconds."""

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
from tests.forks import Fork
from tests.pipeline.conftest import IMAGES, TINY, write_dataset
from tests.support import alive, ends

PROJECT = Path(__file__).resolve().parents[2]
ENDLESS = ("--set=training.epochs=100000", "--set=training.early_stopping.enabled=false", "--set=data.num_workers=2")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(PROJECT), "NO_COLOR": "1", "COLUMNS": "160"}


def command(store: Path, dataset: Dataset, *options: str) -> list[str]:
    fixed = ("--mode=single", f"--store={store}", f"--data={dataset.path}")
    return [sys.executable, "-m", "receipt_counter", "run", *fixed, *TINY, *options]


def finish(arguments: list[str], cwd: Path = PROJECT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=800)


def the_run(store: Path) -> Path:
    (run,) = (store / "runs").iterdir()
    return run


def record(store: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((the_run(store) / "run.json").read_text())
    return loaded


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, dataset: Dataset) -> Path:
    """A store in which the experiment has been run once."""
    root = tmp_path_factory.mktemp("store")
    done = finish(command(root, dataset, "--experiment-name=slips"))
    assert done.returncode == 0, done.stderr
    assert "Promotion gates" in done.stdout
    assert str(the_run(root) / "report.html") in done.stdout
    assert f"receipt-counter predict --model {the_run(root)}" in done.stdout
    assert f"receipt-counter tensorboard --store {root}" in done.stdout
    assert f"receipt-counter monitor --experiments-dir {root}" in done.stdout
    return root


def test_run_leaves_a_whole_record(store: Path, dataset: Dataset) -> None:
    run, found = the_run(store), record(store)
    assert found["status"] == "finished"
    assert found["experiment_name"] == "slips"
    assert found["lineage"]["data_fingerprint"] == dataset.fingerprint
    figures = json.loads((run / "evaluation" / "test" / "metrics.json").read_text())
    assert figures["n_images"] == IMAGES["test"]
    assert found["metrics"]["classification_accuracy"] == figures["metrics"]["classification_accuracy"]["value"]
    assert run.name in (run / "report.html").read_text()


def test_steps_emit_what_the_kubeflow_ui_shows(store: Path, dataset: Dataset) -> None:
    (pipeline,) = (store / "pipeline").iterdir()
    outputs = {
        step.name: json.loads((step / "executor_output.json").read_text())["artifacts"] for step in pipeline.iterdir()
    }
    artifact = {
        f"{step}.{name}": found["artifacts"][0] for step, all_ in outputs.items() for name, found in all_.items()
    }
    assert artifact["prepare-data.dataset"]["uri"] == str(dataset.path)
    assert artifact["prepare-data.counts"]["metadata"]["train_images"] == IMAGES["train"]
    assert artifact["train.run"]["uri"] == str(the_run(store))
    assert artifact["train.summary"]["metadata"]["epochs"] == 2
    assert artifact["evaluate.metrics"]["metadata"] == record(store)["metrics"]
    confusion = artifact["evaluate.confusion"]["metadata"]["confusionMatrix"]
    assert [entry["displayName"] for entry in confusion["annotationSpecs"]] == ["0", "1", "2+"]
    assert sum(sum(row["row"]) for row in confusion["rows"]) == IMAGES["test"]
    assert "Promotion gates" in Path(artifact["evaluate.gates"]["uri"]).read_text()
    assert "<html" in Path(artifact["visualize.report"]["uri"]).read_text()[:2000]


def test_running_it_again_does_nothing_and_says_so(store: Path, dataset: Dataset) -> None:
    before = {path: path.stat().st_mtime_ns for path in the_run(store).rglob("*")}
    done = finish(command(store, dataset, "--experiment-name=slips"))
    assert done.returncode == 0, done.stderr
    assert f"nothing to do: this experiment is finished, as run {the_run(store).name}" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in the_run(store).rglob("*")} == before


def test_the_documents_command_runs_the_same_experiment(store: Path, dataset: Dataset, tmp_path: Path) -> None:
    script = [sys.executable, str(PROJECT / "scripts" / "train_orchestrator.py")]
    config = ["--config", str(PROJECT / "config" / "multimodal_config.yaml"), "--mode", "single"]
    options = ["--experiment-name", "slips", f"--store={store}", f"--data={dataset.path}", *TINY]
    done = finish([*script, *config, *options], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "nothing to do" in done.stdout


def test_changed_data_is_no_cache_hit(store: Path, dataset: Dataset, tmp_path: Path) -> None:
    """The same directory with other content: the fingerprint decides, and the damaged image is found."""
    damaged = write_dataset(tmp_path / "damaged")
    victim = damaged.examples("train")[3].image
    victim.write_bytes(victim.read_bytes()[:100])
    done = finish(command(store, damaged))
    assert done.returncode == 2
    assert "prepare data: " in done.stderr
    assert victim.name in done.stderr
    assert f"receipt-counter data check {damaged.path}" in done.stderr
    assert "Traceback" not in done.stderr


def test_predict_answers_for_the_readable_photos(store: Path, dataset: Dataset, tmp_path: Path) -> None:
    photos = [str(example.image) for example in dataset.examples("test")[:2]]
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    ask = ["predict", "--store", str(store), "--model", the_run(store).name[:6], photos[0], str(broken), photos[1]]
    ask += ["--question", "How many?", "--question", "Any?", "--json"]
    process = Fork("receipt_counter", ask, tmp_path / "output.txt", errors=tmp_path / "errors.txt")
    output, _ = process.communicate()
    assert process.returncode == 1
    found = [json.loads(line) for line in output.splitlines()]
    assert [line["image"] for line in found] == [photos[0], str(broken), photos[1]]
    assert "broken.jpg: cannot read the image" in found[1]["error"]
    for line in (found[0], found[2]):
        assert list(line["answers"]) == ["How many?", "Any?"]
        assert line["count"] == max(line["probabilities"], key=line["probabilities"].get)
        assert line["confidence"] == line["probabilities"][line["count"]]
        assert sum(line["probabilities"].values()) == pytest.approx(1.0, abs=1e-5)


def test_report_is_drawn_again(store: Path) -> None:
    page = the_run(store) / "report.html"
    page.unlink()
    done = finish([sys.executable, "-m", "receipt_counter", "report", the_run(store).name, "--store", str(store)])
    assert (done.returncode, done.stdout.strip()) == (0, str(page))
    assert page.stat().st_size > 10_000


def start_endless(
    store: Path, dataset: Dataset, at_least_step: int, *options: str
) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    """The pipeline in the middle of training, and all processes below it."""
    process = subprocess.Popen(
        command(store, dataset, *ENDLESS, *options),
        cwd=PROJECT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and process.poll() is None:
        if any(store.glob("runs/*/run.json")) and record(store).get("step", 0) >= at_least_step:
            return process, psutil.Process(process.pid).children(recursive=True)
        time.sleep(0.2)
    process.kill()
    raise AssertionError(f"never got to step {at_least_step}: {process.communicate()[0]}")


def test_killed_command_takes_everything_with_it_and_can_be_continued(tmp_path: Path, dataset: Dataset) -> None:
    process, below = start_endless(tmp_path, dataset, at_least_step=1)
    names = {" ".join(child.cmdline()) for child in below if alive(child)}
    assert any("pipelines.local" in name for name in names)
    assert any("kfp.dsl.executor_main" in name for name in names)
    process.kill()
    process.wait()
    assert ends(*below), [child for child in below if alive(child)]  # the training itself has no end

    reached = record(tmp_path)["step"]
    process, below = start_endless(tmp_path, dataset, at_least_step=reached + 1)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=800)
    assert process.returncode == 128 + signal.SIGINT
    assert "the same command continues where it stopped" in output
    assert ends(*below), [child for child in below if alive(child)]
    assert record(tmp_path)["status"] == "interrupted"
    assert record(tmp_path)["step"] > reached
