"""A run killed at any instant and started again ends like one that was never disturbed."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from receipt_counter.config.loading import to_yaml
from receipt_counter.data.dataset import Dataset
from tests.forks import Fork
from tests.support import small_config, write_squares

KILLS = int(os.environ.get("RECEIPT_COUNTER_KILLS", "4"))
TIMED = ("per_second", "memory_gigabytes", "seconds")
CONFIG = small_config(
    "training.epochs=4",
    "training.schedule.epochs=4",
    "training.three_stage.stage3.start_epoch=4",
    "data.num_workers=0",
    "training.optimizer.name=muon",
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_squares(tmp_path_factory.mktemp("data") / "squares", {"train": 400, "val": 16})


class Training:
    """The training command on one store, started as often as need be."""

    def __init__(self, directory: Path, dataset: Dataset, config: str | None = None) -> None:
        self.store = directory / "store"
        self.log = directory / "log.txt"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "config.yaml").write_text(config or to_yaml(CONFIG))
        self.options = ["--store", str(self.store), "--config", str(directory / "config.yaml")]
        self.options += ["--data", str(dataset.path)]

    def start(self) -> Fork:
        return Fork("receipt_counter.training", self.options, self.log)

    @property
    def run(self) -> Path:
        return next((self.store / "runs").iterdir())

    def checkpoints(self) -> set[str]:
        found = self.store.glob("runs/*/checkpoints/*")
        return {path.name for path in found}

    def record(self) -> dict[str, object]:
        content: dict[str, object] = json.loads((self.run / "run.json").read_text())
        return content


def outcome(run: Path) -> dict[str, object]:
    """All of a finished run that must not depend on how it got there."""
    accumulator = EventAccumulator(str(run / "events"), size_guidance={"scalars": 0})
    accumulator.Reload()
    curves = {
        tag: [(event.step, event.value) for event in accumulator.Scalars(tag)]
        for tag in accumulator.Tags()["scalars"]
        if not any(word in tag for word in TIMED)
    }
    record = json.loads((run / "run.json").read_text())
    return {
        "status": record["status"],
        "weights": hashlib.sha256((run / "model" / "model.safetensors").read_bytes()).hexdigest(),
        "val": record["splits"]["val"],
        "best_epoch": record["best_epoch"],
        "curves": curves,
    }


@pytest.fixture(scope="module")
def undisturbed(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    training = Training(tmp_path_factory.mktemp("undisturbed"), dataset)
    subprocess.run([sys.executable, "-m", "receipt_counter.training", *training.options], check=True)
    return outcome(training.run)


def wait_for(condition: Callable[[], object], process: Fork) -> None:
    while not condition() and process.poll() is None:
        time.sleep(0.002)


def kill_somewhere(training: Training, process: Fork, generator: random.Random) -> None:
    """SIGKILL at a random time after training has begun, or in the middle of saving."""
    seen = training.checkpoints()
    if generator.random() < 0.5:
        wait_for(lambda: any(name.endswith(".tmp") for name in training.checkpoints() - seen), process)
        time.sleep(generator.uniform(0, 0.01))
    else:
        wait_for(lambda: training.checkpoints() - seen, process)
        time.sleep(generator.uniform(0, 0.5))
    process.kill()
    process.wait()


@pytest.mark.timeout(1200)
def test_killed_runs_end_like_the_undisturbed_one(
    dataset: Dataset, undisturbed: dict[str, object], tmp_path: Path
) -> None:
    generator = random.Random(0)
    kills = attempt = 0
    while kills < KILLS:
        attempt += 1
        training = Training(tmp_path / str(attempt), dataset)
        for _ in range(3):  # one run may be killed several times
            process = training.start()
            kill_somewhere(training, process, generator)
            if process.returncode != -signal.SIGKILL:
                break
            kills += 1
        assert training.start().wait() == 0, training.log.read_text()
        assert outcome(training.run) == undisturbed
        print(f"{kills} kills, identical")


def test_sigterm_saves_and_the_same_command_continues(
    dataset: Dataset, undisturbed: dict[str, object], tmp_path: Path
) -> None:
    training = Training(tmp_path, dataset)
    process = training.start()
    wait_for(training.checkpoints, process)
    process.terminate()
    assert process.wait() == 128 + signal.SIGTERM
    record = training.record()
    assert record["status"] == "interrupted"
    state = json.loads((training.run / "checkpoints" / f"step-{record['step']}" / "state.json").read_text())
    assert state["step"] == record["step"]
    assert training.start().wait() == 0, training.log.read_text()
    assert outcome(training.run) == undisturbed


@pytest.mark.parametrize("damage", ["corrupt", "missing_file", "no_manifest"])
def test_a_damaged_checkpoint_is_passed_over(
    dataset: Dataset, undisturbed: dict[str, object], tmp_path: Path, damage: str
) -> None:
    training = Training(tmp_path, dataset)
    process = training.start()
    wait_for(lambda: len([name for name in training.checkpoints() if name.startswith("step-")]) >= 2, process)
    process.kill()
    process.wait()
    # not what LATEST names: the kill may have come between a checkpoint and its name
    complete = (training.run / "checkpoints").glob("step-*/manifest.json")
    newest = max((path.parent for path in complete), key=lambda path: int(path.name.removeprefix("step-")))
    weights = newest / "engine" / "mp_rank_00_model_states.pt"
    if damage == "corrupt":
        content = bytearray(weights.read_bytes())
        content[len(content) // 2] ^= 1
        weights.write_bytes(content)
    elif damage == "missing_file":
        weights.unlink()
    else:
        (newest / "manifest.json").unlink()
    assert training.start().wait() == 0, training.log.read_text()
    assert outcome(training.run) == undisturbed
    if damage != "no_manifest":
        reason = "is corrupt" if damage == "corrupt" else "is missing"
        assert reason in training.log.read_text()


def test_a_finished_run_is_left_alone(dataset: Dataset, tmp_path: Path) -> None:
    training = Training(tmp_path, dataset, to_yaml(small_config("training.epochs=1")))
    assert training.start().wait() == 0, training.log.read_text()
    before = {path: path.stat().st_mtime_ns for path in training.run.rglob("*") if path.is_file()}
    assert training.start().wait() == 0
    assert {path: path.stat().st_mtime_ns for path in training.run.rglob("*") if path.is_file()} == before


def test_two_processes_never_share_a_run(dataset: Dataset, tmp_path: Path) -> None:
    training = Training(tmp_path, dataset)
    first = training.start()
    wait_for(training.checkpoints, first)
    second = training.start()
    assert second.wait() == 2
    assert f"process {first.pid} is already working on this run" in training.log.read_text()
    first.kill()
    first.wait()
