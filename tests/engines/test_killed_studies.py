"""Our own studies, with engine, trials and the server they fork from killed at random instants.

RECEIPT_COUNTER_KILLS=10 kills as often as that, in an ablation and in a search.
"""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from receipt_counter.cli.main import main
from receipt_counter.storage.files import read_json
from tests.engines.support import rows, start_sweep
from tests.support import SMALL, write_squares

FULL = "RECEIPT_COUNTER_KILLS" in os.environ
KILLS = int(os.environ.get("RECEIPT_COUNTER_KILLS", "3"))
VICTIMS = ("trial", "server", "engine")
# measured with a clock
TIMED = ("device_seconds", "seconds_per_image")
TIMED_FINDING = "of the training time"
STUDIES = {
    "ablation": f"""
seeds: {[*range(1, 8)] if FULL else [1, 2]}
parallelism: 2
families:
  loss_weights: {{no_counting: {{training.loss_weights.classification: 0}}}}
""",
    "hyperparameter": """
seeds: [1, 2]
parallelism: 2
budget: {trials: 8}
algorithm: {name: tpe}
parameters: {training.learning_rate: {min: 1e-4, max: 1e-2, log: true}, data.batch_size: {values: [4, 8]}}
""",
}


class Study:
    """A planned study and its store."""

    def __init__(self, mode: str, directory: Path, data: Path) -> None:
        directory.mkdir()
        self.store, self.file = directory / "store", directory / "experiment.yaml"
        (directory / "study.yaml").write_text(STUDIES[mode])
        settings = [option for text in (*SMALL, f"data.num_workers={int(FULL)}") for option in ("--set", text)]
        study = ["--mode", mode, f"--{mode}-config", str(directory / "study.yaml"), "--data", str(data)]
        store = ["--store", str(self.store)]
        assert main(["plan", *study, "--preset", "laptop", *settings, *store, "-o", str(self.file)]) == 0

    def start(self) -> subprocess.Popen[str]:
        return start_sweep(self.file, self.store, "--workers", "2")

    def trials(self) -> dict[str, dict[str, Any]]:
        return {file.parent.name: read_json(file) for file in self.store.glob("studies/*/trials/*/trial.json")}

    def outcome(self) -> dict[str, Any]:
        """All that must not depend on how it got there."""
        assert main(["compare", "study", "--store", str(self.store)]) == 0
        runs = [path.parent for path in self.store.glob("runs/*/run.json")]
        (analysis,) = self.store.glob("studies/*/analysis.json")
        return {
            "trials": rows(self.store),
            "figures": {run.name: without_times(read_json(run / "run.json")["splits"]) for run in runs},
            "weights": {run.name: weights_of(run) for run in runs},
            "analysis": without_times(read_json(analysis)),
        }


def weights_of(run: Path) -> str:
    return hashlib.sha256((run / "model" / "model.safetensors").read_bytes()).hexdigest()


def without_times(found: Any) -> Any:
    if isinstance(found, dict):
        return {key: without_times(value) for key, value in found.items() if key not in TIMED}
    if isinstance(found, list):
        return [without_times(item) for item in found if not (isinstance(item, str) and TIMED_FINDING in item)]
    return found


def server_of(engine: subprocess.Popen[str]) -> psutil.Process | None:
    for process in psutil.Process(engine.pid).children():
        if "receipt_counter.engines.local.preloaded" in process.cmdline():
            return process
    return None


def find(victim: str, engine: subprocess.Popen[str], generator: random.Random) -> psutil.Process | None:
    """A process to kill, if there is one now."""
    if victim == "engine":
        return psutil.Process(engine.pid)
    server = server_of(engine)
    if victim == "server" or server is None:
        return server
    forked = server.children()
    return generator.choice(forked) if forked else None


def kill_one(victim: str, engine: subprocess.Popen[str], generator: random.Random) -> bool:
    """SIGKILL after a random time; false if the study was over first."""
    if victim == "trial" or generator.random() < 0.7:  # else perhaps while the server imports
        while engine.poll() is None and find("trial", engine, generator) in (None, server_of(engine)):
            time.sleep(0.01)
    time.sleep(generator.uniform(0, 1.5))
    while engine.poll() is None:
        try:
            process = find(victim, engine, generator)
            if process is not None:
                process.kill()
                return True
        except psutil.NoSuchProcess:
            pass
        time.sleep(0.01)
    return False


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_squares(tmp_path_factory.mktemp("data") / "squares", {"train": 80, "val": 8, "analysis": 24}).path


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("mode", STUDIES if FULL else ["ablation"])
def test_a_killed_study_ends_like_the_undisturbed_one(mode: str, data: Path, tmp_path: Path) -> None:
    undisturbed = Study(mode, tmp_path / "undisturbed", data)
    assert undisturbed.start().wait() == 0
    study, generator = Study(mode, tmp_path / "killed", data), random.Random(0)
    kills: list[str] = []
    finished: dict[str, dict[str, Any]] = {}
    engine = study.start()
    while len(kills) < KILLS:
        victim = VICTIMS[len(kills) % len(VICTIMS)]
        assert kill_one(victim, engine, generator), f"the study was over after {len(kills)} kills"
        kills.append(victim)
        if victim == "engine":
            engine.wait()
            finished |= {name: trial for name, trial in study.trials().items() if trial["status"] == "succeeded"}
            engine = study.start()
    assert engine.wait() == 0, engine.communicate()
    found, expected = study.outcome(), undisturbed.outcome()
    for part in expected:
        assert found[part] == expected[part], part
    assert finished.items() <= study.trials().items()  # none of them ran again
    forgiven = sum(trial["kills"] for trial in study.trials().values())
    print(f"{mode}: {len(kills)} kills ({', '.join(kills)}), {forgiven} attempts begun again, identical")
