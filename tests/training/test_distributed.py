"""The same loop in two processes: started by torchrun at every ZeRO stage, or by the training command itself."""

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
from tests.support import small_config, write_squares

CASES = {"no ZeRO": (0, "fp32"), "ZeRO-1": (1, "fp32"), "ZeRO-2": (2, "fp32"), "ZeRO-1 in bf16": (1, "bf16")}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_squares(tmp_path_factory.mktemp("data") / "squares", {"train": 64, "val": 8})


def clean_environment() -> dict[str, str]:
    """Without what a test that trained in this process itself left for DeepSpeed."""
    left = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    return {name: value for name, value in os.environ.items() if name not in left}


def two_processes(directory: Path, dataset: Dataset, *overrides: str) -> Path:
    config = directory / "config.yaml"
    config.write_text(to_yaml(small_config("training.processes=2", *overrides)))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "receipt_counter.training", "--config", str(config), "--data", str(dataset.path)]
    command += ["--store", str(directory / "store")]
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (run,) = (directory / "store" / "runs").iterdir()
    return run


@pytest.fixture(scope="module")
def plain(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> float:
    return val_loss(two_processes(tmp_path_factory.mktemp("plain"), dataset))


def val_loss(run: Path) -> float:
    record = json.loads((run / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["lineage"]["processes"] == 2
    return float(record["splits"]["val"]["val_total_loss"])


@pytest.mark.parametrize(("zero", "precision"), CASES.values(), ids=CASES.keys())
def test_two_processes(dataset: Dataset, plain: float, tmp_path: Path, zero: int, precision: str) -> None:
    run = two_processes(tmp_path, dataset, f"training.zero_stage={zero}", f"training.precision={precision}")
    assert val_loss(run) == pytest.approx(plain, rel=0.02 if precision == "bf16" else 1e-3)
    model, _ = load_model(run / "model")
    assert all(parameter.numel() for parameter in model.parameters())  # whole, not a process's part


class Command:
    """The training command, which starts the second process itself."""

    def __init__(self, directory: Path, dataset: Dataset) -> None:
        directory.mkdir(exist_ok=True)
        (directory / "config.yaml").write_text(to_yaml(small_config("training.processes=2", "training.epochs=6")))
        self.store = directory / "store"
        self.command = [sys.executable, "-m", "receipt_counter.training", "--config", str(directory / "config.yaml")]
        self.command += ["--data", str(dataset.path), "--store", str(self.store)]

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def finish(self) -> Path:
        process = self.start()
        _, errors = process.communicate()
        assert process.returncode == 0, errors
        return self.run

    @property
    def run(self) -> Path:
        (run,) = (self.store / "runs").iterdir()
        return run


def weights(run: Path) -> str:
    return hashlib.sha256((run / "model" / "model.safetensors").read_bytes()).hexdigest()


def test_a_killed_run_takes_its_peer_along_and_continues(dataset: Dataset, tmp_path: Path) -> None:
    undisturbed = Command(tmp_path / "undisturbed", dataset).finish()
    assert json.loads((undisturbed / "run.json").read_text())["lineage"]["processes"] == 2
    command = Command(tmp_path / "killed", dataset)
    process = command.start()
    while not list(command.store.glob("runs/*/checkpoints/step-*")) and process.poll() is None:
        time.sleep(0.01)
    (peer,) = psutil.Process(process.pid).children()
    process.kill()
    assert process.wait() == -signal.SIGKILL
    deadline = time.monotonic() + 1
    while (alive := peer.is_running() and peer.status() != psutil.STATUS_ZOMBIE) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not alive, "the peer is still there"
    assert weights(command.finish()) == weights(undisturbed)


def test_what_a_peer_cannot_read_is_what_the_user_reads(tmp_path: Path) -> None:
    broken = write_squares(tmp_path / "broken", {"train": 64, "val": 8})
    for image in sorted((broken.path / "images" / "train").iterdir()):
        image.write_bytes(image.read_bytes()[:200])
    process = Command(tmp_path, broken).start()
    _, errors = process.communicate()
    assert process.returncode == 1
    assert "cannot read the image" in errors


def test_torchrun_must_start_as_many_as_the_config_says(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(to_yaml(small_config()))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "receipt_counter.training", "--config", str(tmp_path / "config.yaml")]
    command += ["--data", str(dataset.path), "--store", str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "training.processes is 1, but 2 processes started" in done.stderr
