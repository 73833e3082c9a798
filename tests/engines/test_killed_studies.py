"""Our own studies, with engine, trials and the server they fork from killed at random instants.

RECEIPT_COUNTER_KILLS=10 kills as often as that, in an ablation and in a search.
"""

from __future__ import annotations

import contextlib
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
TIMED = ("device_seconds", "by_status", "seconds", "seconds_per_image")
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


def candidates(victim: str, engine: subprocess.Popen[str]) -> list[psutil.Process]:
    """The living processes of a kind."""
    try:
        whole = psutil.Process(engine.pid)
        servers = [child for child in whole.children() if "receipt_counter.engines.local.preloaded" in child.cmdline()]
        kinds = {"engine": [whole], "server": servers, "trial": [trial for one in servers for trial in one.children()]}
        return [process for process in kinds[victim] if process.status() != psutil.STATUS_ZOMBIE]
    except psutil.Error:
        return []  # it has just ended


def kill_one(victim: str, engine: subprocess.Popen[str], generator: random.Random) -> None:
    """SIGKILL after a random time: while trials run, or perhaps while the server imports."""
    if generator.random() < 0.7:
        wait_for_one("trial", engine)
    time.sleep(generator.uniform(0, 1.5))
    while True:
        with contextlib.suppress(psutil.NoSuchProcess):
            return generator.choice(wait_for_one(victim, engine)).kill()


def wait_for_one(victim: str, engine: subprocess.Popen[str]) -> list[psutil.Process]:
    while not (found := candidates(victim, engine)):
        assert engine.poll() is None, "the study was over before enough was killed"
        time.sleep(0.01)
    return found


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_squares(tmp_path_factory.mktemp("data") / "squares", {"train": 80, "val": 8, "analysis": 24}).path


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("mode", STUDIES if FULL else ["ablation"])
def test_a_killed_study_ends_like_the_undisturbed_one(mode: str, data: Path, tmp_path: Path) -> None:
    undisturbed = Study(mode, tmp_path / "undisturbed", data)
    assert undisturbed.start().wait() == 0
    study, generator = Study(mode, tmp_path / "killed", data), random.Random(0)
    finished: dict[str, dict[str, Any]] = {}
    victims = [VICTIMS[number % len(VICTIMS)] for number in range(KILLS)]
    engine = study.start()
    try:
        for victim in victims:
            kill_one(victim, engine, generator)
            if victim == "engine":
                engine.wait()
                finished |= {name: trial for name, trial in study.trials().items() if trial["status"] == "succeeded"}
                engine = study.start()
        assert engine.wait() == 0
    finally:
        engine.kill()
    found, expected = study.outcome(), undisturbed.outcome()
    for part in expected:
        assert found[part] == expected[part], part
    assert finished.items() <= study.trials().items()  # none of them ran again
    forgiven = sum(trial["kills"] for trial in study.trials().values())
    print(f"{mode}: {KILLS} kills ({', '.join(victims)}), {forgiven} attempts begun again, identical")
