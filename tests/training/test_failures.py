"""What can go wrong while training: a clear message, a status in run.json, nothing good overwritten."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import torch

from receipt_counter.config.loading import to_yaml
from receipt_counter.data.dataset import Dataset
from receipt_counter.errors import UserError
from receipt_counter.progress import Progress, Silent
from receipt_counter.training import loop
from receipt_counter.training.train import train
from tests.forks import Fork
from tests.support import small_config, write_squares


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return write_squares(tmp_path / "squares", {"train": 32, "val": 8})


def fails(tmp_path: Path, dataset: Dataset, *overrides: str) -> tuple[str, dict[str, object]]:
    """Train, expecting a message; returns it and the record."""
    with pytest.raises(UserError) as caught:
        train(small_config(*overrides), dataset, tmp_path / "store", progress=Progress(Silent()))
    (run,) = (tmp_path / "store" / "runs").iterdir()
    return caught.value.message, json.loads((run / "run.json").read_text())


def test_diverged(tmp_path: Path, dataset: Dataset) -> None:
    message, record = fails(
        tmp_path, dataset, "training.learning_rate=1e30", "training.gradient_clip=0", "training.schedule.warmup_steps=0"
    )
    assert "the loss is not finite at step" in message
    assert "try a smaller training.learning_rate" in message
    assert record["status"] == "diverged"
    assert not (tmp_path / "store" / "runs" / str(record["run_id"]) / "model").exists()


def test_out_of_memory(tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_large(*_: object) -> torch.Tensor:
        return torch.empty(2**60)

    monkeypatch.setattr(loop.TrainingLoop, "_weigh", too_large)
    message, record = fails(tmp_path, dataset)
    assert "out of memory; halve data.batch_size" in message
    assert record["status"] == "failed"


def test_truncated_image(tmp_path: Path, dataset: Dataset) -> None:
    victim = dataset.examples("train")[3].image
    victim.write_bytes(victim.read_bytes()[:200])
    message, record = fails(tmp_path, dataset)
    assert f"{victim}: cannot read the image" in message
    assert record["status"] == "failed"
    assert record["error"] == {"message": str(record["error"]["message"])}  # type: ignore[index]


def test_too_few_images(tmp_path: Path, dataset: Dataset) -> None:
    message, _ = fails(tmp_path, dataset, "data.batch_size=33")
    assert "33 images for one step, but the train split has 32; use --set data.batch_size=32" in message


def test_corrupt_best_weights(tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    original = loop.TrainingLoop._save

    def spoil(self: loop.TrainingLoop) -> None:
        original(self)
        if self.state.finished:
            (best,) = self.around.checkpoints.root.glob("best-*/model.safetensors")
            best.write_bytes(best.read_bytes()[:-1])

    monkeypatch.setattr(loop.TrainingLoop, "_save", spoil)
    message, record = fails(tmp_path, dataset)
    assert "model.safetensors is corrupt" in message
    assert record["status"] == "failed"


def test_disk_full(tmp_path: Path, dataset: Dataset) -> None:
    """On a real file system of a few megabytes."""
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(small)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a file system can only be mounted by root")
    try:
        config = tmp_path / "config.yaml"
        config.write_text(to_yaml(small_config("training.checkpoint.every_steps=1", "training.checkpoint.keep=50")))
        options = ["--config", str(config), "--data", str(dataset.path), "--store", str(small / "store")]
        process = Fork("receipt_counter.training", options, tmp_path / "log.txt")
        said, _ = process.communicate()
        assert process.returncode == 1
        assert "no space left" in said.lower()
        assert "Traceback" not in said
        (run,) = (small / "store" / "runs").iterdir()
        latest = run / "checkpoints" / (run / "checkpoints" / "LATEST").read_text()
        assert (latest / "manifest.json").is_file()
    finally:
        subprocess.run(["umount", str(small)], check=True)
