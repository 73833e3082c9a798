"""The same loop in two processes at every ZeRO stage: started by torchrun, or by the training command itself."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from receipt_counter.config.loading import to_yaml
from receipt_counter.data.dataset import Dataset
from receipt_counter.model.build import load_model
from receipt_counter.training.launch import RENDEZVOUS, Machine
from tests.forks import Fork
from tests.support import ends, small_config, write_squares

CASES = {"no ZeRO": (0, "fp32"), "ZeRO-1": (1, "fp32"), "ZeRO-2": (2, "fp32"), "ZeRO-1 in bf16": (1, "bf16")}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_squares(tmp_path_factory.mktemp("data") / "squares", {"train": 64, "val": 8})


def clean_environment() -> dict[str, str]:
    """Without what a test that trained in this process itself left for DeepSpeed."""
    left = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    return {name: value for name, value in os.environ.items() if name not in left}


def training(directory: Path, dataset: Dataset, *overrides: str) -> list[str]:
    """Options of the training command."""
    config = directory / "config.yaml"
    config.write_text(to_yaml(small_config(*overrides)))
    return ["--config", str(config), "--data", str(dataset.path), "--store", str(directory / "store")]


def the_run(directory: Path) -> Path:
    (run,) = (directory / "store" / "runs").iterdir()
    return run


@pytest.fixture(scope="module")
def by_torchrun(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("torchrun")
    options = training(directory, dataset, "training.processes=2")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "receipt_counter.training", *options]
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return the_run(directory)


def placed(directory: Path, options: list[str]) -> list[Fork]:
    """Two processes, told like torchrun's which ones they are."""
    meeting = {RENDEZVOUS: f"file://{directory / 'rendezvous'}"}
    return [
        Fork(
            "receipt_counter.training",
            options,
            directory / f"log-{rank}.txt",
            environment={**clean_environment(), **meeting, **Machine(0, 2, 2).place(rank)},
        )
        for rank in range(2)
    ]


def val_loss(run: Path) -> float:
    record = json.loads((run / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["lineage"]["processes"] == 2
    return float(record["splits"]["val"]["val_total_loss"])


@pytest.mark.parametrize(("zero", "precision"), CASES.values(), ids=CASES.keys())
def test_two_processes(dataset: Dataset, by_torchrun: Path, tmp_path: Path, zero: int, precision: str) -> None:
    options = training(
        tmp_path, dataset, "training.processes=2", f"training.zero_stage={zero}", f"training.precision={precision}"
    )
    processes = placed(tmp_path, options)
    said = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    run = the_run(tmp_path)
    assert val_loss(run) == pytest.approx(val_loss(by_torchrun), rel=0.02 if precision == "bf16" else 1e-3)
    model, _ = load_model(run / "model")
    assert all(parameter.numel() for parameter in model.parameters())  # whole, not a process's part


def weights(run: Path) -> str:
    return hashlib.sha256((run / "model" / "model.safetensors").read_bytes()).hexdigest()


def test_a_killed_run_takes_its_peer_along_and_continues(dataset: Dataset, by_torchrun: Path, tmp_path: Path) -> None:
    """The training command starts the second process itself; what it trains is what torchrun's processes do."""
    options, log = training(tmp_path, dataset, "training.processes=2"), tmp_path / "log.txt"
    process = Fork("receipt_counter.training", options, log, environment=clean_environment())
    while not list(tmp_path.glob("store/runs/*/checkpoints/step-*")) and process.poll() is None:
        time.sleep(0.01)
    (peer,) = psutil.Process(process.pid).children()
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert ends(peer), "the peer is still there"
    process = Fork("receipt_counter.training", options, log, environment=clean_environment())
    assert process.wait() == 0, log.read_text()
    assert val_loss(the_run(tmp_path)) == val_loss(by_torchrun)
    assert weights(the_run(tmp_path)) == weights(by_torchrun)


def test_what_a_peer_cannot_read_is_what_the_user_reads(tmp_path: Path) -> None:
    broken = write_squares(tmp_path / "broken", {"train": 64, "val": 8})
    for image in sorted((broken.path / "images" / "train").iterdir()):
        image.write_bytes(image.read_bytes()[:200])
    options = training(tmp_path, broken, "training.processes=2")
    process = Fork("receipt_counter.training", options, tmp_path / "log.txt", environment=clean_environment())
    said, _ = process.communicate()
    assert process.returncode == 1
    assert "cannot read the image" in said


def test_torchrun_must_start_as_many_as_the_config_says(dataset: Dataset, tmp_path: Path) -> None:
    for process in placed(tmp_path, training(tmp_path, dataset, "training.processes=1")):
        said, _ = process.communicate()
        assert process.returncode == 2
        assert "training.processes is 1, but 2 processes started" in said
