"""The same loop in two processes, at every ZeRO stage, under torchrun."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from receipt_counter.config.loading import to_yaml
from receipt_counter.data.dataset import Dataset
from receipt_counter.model.build import load_model
from tests.support import small_config, write_squares

CASES = {"no ZeRO": (0, "fp32"), "ZeRO-1": (1, "fp32"), "ZeRO-2": (2, "fp32"), "ZeRO-1 in bf16": (1, "bf16")}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_squares(tmp_path_factory.mktemp("data") / "squares", {"train": 64, "val": 8})


def two_processes(directory: Path, dataset: Dataset, *overrides: str) -> Path:
    config = directory / "config.yaml"
    config.write_text(to_yaml(small_config("training.processes=2", *overrides)))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "receipt_counter.training", "--config", str(config), "--data", str(dataset.path)]
    done = subprocess.run([*command, "--store", str(directory / "store")], capture_output=True, text=True, check=False)
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
