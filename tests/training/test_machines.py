"""A run on two machines: here two processes that Kubeflow Trainer's variables tell which machine they are."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from receipt_counter.cluster.following import job_of_run
from receipt_counter.config.loading import to_yaml
from receipt_counter.data.dataset import Dataset
from receipt_counter.errors import UserError
from receipt_counter.storage.run import Run
from receipt_counter.storage.store import Store, run_id
from receipt_counter.storage.versions import code_version
from receipt_counter.study import trial
from receipt_counter.training.distributed import start_processes
from receipt_counter.training.launch import Machine, launch_apart, this_machine
from tests.forks import Fork
from tests.support import small_config, write_squares

TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
SECONDS_TO_NOTICE = 20.0  # that the other machine is gone: it is noticed at once, and a busy machine is slow


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_squares(tmp_path_factory.mktemp("data") / "squares", {"train": 64, "val": 8})


def free_ports() -> int:
    """The first of two free ports: each seed of a trial meets on the next one.

    Of those that no system gives to whoever asks for any: nobody takes them before the processes meet.
    """
    while True:
        port = random.SystemRandom().randrange(10_000, 30_000, 2)
        with socket.socket() as first, socket.socket() as second, contextlib.suppress(OSError):
            first.bind(("127.0.0.1", port))
            second.bind(("127.0.0.1", port + 1))
            return port


def clean_environment() -> dict[str, str]:
    """Without what a test that trained in this process itself left for DeepSpeed."""
    left = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    return {name: value for name, value in os.environ.items() if name not in left}


class Machines:
    """Two machines that do what a TrainJob says, and the store that both see."""

    def __init__(self, directory: Path, dataset: Dataset, *overrides: str) -> None:
        directory.mkdir()
        self.directory, self.store, file = directory, directory / "store", directory / "config.yaml"
        config = small_config("cluster.nodes=2", f"data.path={dataset.path}", *overrides)
        file.write_text(to_yaml(config))
        trainer = job_of_run(config, dataset, str(self.store), "job", "two")["spec"]["trainer"]
        self.training = [sys.executable, *trainer["command"][1:]]
        self.environment = {item["name"]: item["value"].replace("$$(", "$(") for item in trainer["env"]}
        self.trial = [sys.executable, "-m", "receipt_counter.study.trial", "--config", str(file)]

    def start(self, *arguments: str, second: Sequence[str] = ()) -> list[Fork]:
        """Start both; the second with the same command, or one of its own."""
        first = list(arguments or self.training)
        told = {"PET_NNODES": "2", "PET_NPROC_PER_NODE": "1", "PET_MASTER_ADDR": "127.0.0.1"}
        told |= {"PET_MASTER_PORT": str(free_ports()), "RECEIPT_COUNTER_STORE": str(self.store)}
        logs = Path(tempfile.mkdtemp(dir=self.directory))
        return [
            Fork(
                command[2],  # after python -m
                command[3:],
                logs / f"output-{rank}.txt",
                errors=logs / f"errors-{rank}.txt",
                environment={**clean_environment(), **self.environment, **told, "PET_NODE_RANK": str(rank)},
            )
            for rank, command in enumerate((first, second or first))
        ]

    def finish(self, *arguments: str) -> tuple[str, str]:
        """Run both to their end; returns what each printed."""
        processes = self.start(*arguments)
        said = [process.communicate() for process in processes]
        assert [process.returncode for process in processes] == [0, 0], said
        return said[0][0], said[1][0]

    @property
    def run(self) -> Run:
        (directory,) = (self.store / "runs").iterdir()
        return Run.open(directory)


def weights(run: Run) -> str:
    return hashlib.sha256((run.model / "model.safetensors").read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def one_machine(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two processes on one machine."""
    directory = tmp_path_factory.mktemp("one") / "machine"
    machines = Machines(directory, dataset, "cluster.nodes=1", "training.processes=2")
    environment = {**clean_environment(), **machines.environment}
    subprocess.run(machines.training, env=environment, check=True, capture_output=True)
    return machines.run


def val_loss(run: Run) -> float:
    return float(run.record["splits"]["val"]["val_total_loss"])


def require_same(run: Run, one_machine: Run) -> None:
    """What two machines trained is what one did, to the last bit, under a name of its own."""
    assert weights(run) == weights(one_machine)
    assert val_loss(run) == val_loss(one_machine)
    assert (run.record["lineage"]["nodes"], run.record["lineage"]["processes"]) == (2, 2)
    assert run.directory.name != one_machine.directory.name


@contextlib.contextmanager
def begun(machines: Machines, step: int) -> Iterator[list[Fork]]:
    """Both machines, once they have saved a step; both must end soon after the block."""
    processes = machines.start()
    while not list(machines.store.glob(f"runs/*/checkpoints/step-{step}")) and processes[0].poll() is None:
        time.sleep(0.01)
    yield processes
    end = time.monotonic() + SECONDS_TO_NOTICE
    for process in processes:
        process.communicate(timeout=max(0.1, end - time.monotonic()))


def test_what_ends_one_machine_ends_both_and_they_continue(dataset: Dataset, one_machine: Run, tmp_path: Path) -> None:
    machines = Machines(tmp_path / "ended", dataset)
    with begun(machines, 2) as processes:
        processes[1].terminate()
    assert [process.returncode for process in processes] == [143, 143]
    assert machines.run.status == "interrupted"
    with begun(machines, 6) as processes:
        processes[0].kill()
    assert [process.returncode for process in processes] == [-signal.SIGKILL, 1]
    first, second = machines.finish(*TORCHRUN, *machines.training[1:])  # which understands the same variables
    require_same(machines.run, one_machine)
    assert "train_total_loss=" in first  # the first machine speaks for all
    assert "=" not in second


def test_machines_that_would_train_different_runs(dataset: Dataset, tmp_path: Path) -> None:
    machines = Machines(tmp_path / "different", dataset)
    other = write_squares(tmp_path / "squares", {"train": 64, "val": 8}, seed=1)
    elsewhere = [str(other.path) if word == str(dataset.path) else word for word in machines.training]
    processes = machines.start(second=elsewhere)
    (_, said), (_, different) = (process.communicate(timeout=SECONDS_TO_NOTICE * 3) for process in processes)
    assert [process.returncode for process in processes] == [1, 2], said
    assert "process 1 would train another run than the first" in different


def test_a_trial_trains_every_seed_on_both_and_the_first_judges(
    dataset: Dataset, one_machine: Run, tmp_path: Path
) -> None:
    machines = Machines(tmp_path / "trial", dataset)
    first, second = machines.finish(*machines.trial, "--seeds", "42,1", "--split", "val", "--experiment-name", "two")
    assert "=" not in second
    runs = {run.record["seed"]: run for run in map(Run.open, (machines.store / "runs").iterdir())}
    assert {seed: run.status for seed, run in runs.items()} == {42: "finished", 1: "finished"}
    require_same(runs[42], one_machine)
    figure = trial.means([run.record["splits"]["val"] for run in runs.values()])["generation_perplexity"]
    assert first.splitlines().count(f"generation_perplexity={figure:.8g}") == 1


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({}, Machine(0, 6, 6)),
        ({"PET_NNODES": "1", "PET_NODE_RANK": "0"}, Machine(0, 6, 6)),
        (
            {"PET_NNODES": "3", "PET_NODE_RANK": "2", "PET_MASTER_ADDR": "a-node-0-0.a", "PET_MASTER_PORT": "29400"},
            Machine(2, 2, 6, "tcp://a-node-0-0.a:29400"),
        ),
    ],
)
def test_which_machine_this_is(told: dict[str, str], expected: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    found = this_machine(small_config("cluster.nodes=3", "training.processes=2"))
    assert found == expected
    assert found.place(1)["RANK"] == str(2 * found.rank + 1)


def test_another_number_of_machines_than_the_config_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PET_NNODES", "4")
    with pytest.raises(UserError, match=r"cluster\.nodes is 3, but PET_NNODES says 4"):
        this_machine(small_config("cluster.nodes=3"))


@pytest.mark.parametrize(
    ("nodes", "started", "message"),
    [
        (1, {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "1"}, "1 processes, but 2 started, 1 of them on this machine"),
        (3, {}, "makes 3 processes, but 1 started, 1 of them on this machine; use torchrun --nnodes 3"),
    ],
)
def test_another_number_of_processes_than_the_config_says(
    nodes: int, started: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in started.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=message):
        start_processes(small_config(f"cluster.nodes={nodes}"))


def test_the_error_of_a_run_that_is_trained_apart(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    dataset = write_squares(tmp_path / "squares", {"train": 64, "val": 8})
    shutil.move(dataset.path, tmp_path / "elsewhere")
    config = small_config("training.processes=2")
    with pytest.raises(UserError, match="training ended with status 2") as caught:
        launch_apart(config, dataset, tmp_path, experiment_name="apart", number=0)
    assert caught.value.status == 2
    assert str(dataset.path) in capfd.readouterr().err
    run = Run(Store(tmp_path).run_directory(run_id(config, dataset.fingerprint, code_version())))
    run.update(error={"message": "it said why"})
    with pytest.raises(UserError, match=f"{run.directory.name}: it said why"):
        launch_apart(config, dataset, tmp_path, experiment_name="apart", number=0)
