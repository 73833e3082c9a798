"""Trains a run in as many processes as its config asks for, on one machine or on several.

The calling process is the first of its machine: its messages, signals and files are those of the run, or of the run on
that machine. The others there, the peers, are started here, unless something else (torchrun) has already started all of
them. On several machines each runs the same command, and Kubeflow Trainer's variables (PET_*, torchrun's own) tell it
which one it is; where they are absent all processes of all machines run on this one: the same training, slower.
Imports nothing heavy, so that all processes import torch at the same time.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from receipt_counter.config.loading import to_yaml
from receipt_counter.errors import UserError
from receipt_counter.importing import importing

if TYPE_CHECKING:
    from receipt_counter.config.schema import Config
    from receipt_counter.data.dataset import Dataset
    from receipt_counter.progress import Progress

CONFIG = "RECEIPT_COUNTER_CONFIG"  # text of the config, for a command that is given no file
RENDEZVOUS = "RECEIPT_COUNTER_RENDEZVOUS"  # URL through which the processes find each other
PEERS = "RECEIPT_COUNTER_PEERS"  # directory with what the other processes of this machine said
_WORLD = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")


@dataclass(frozen=True)
class Machine:
    """This machine among those that train a run together.

    Args:
        rank: its number, from 0.
        processes: how many train on it.
        world: how many train on all of them.
        rendezvous: URL through which all of them find each other; None where this is the only machine.
    """

    rank: int
    processes: int
    world: int
    rendezvous: str | None = None

    def place(self, local_rank: int) -> dict[str, str]:
        """The environment that tells one of this machine's processes which one it is."""
        values = (self.rank * self.processes + local_rank, local_rank, self.world, self.processes)
        return {name: str(value) for name, value in zip(_WORLD, values, strict=True)}


def this_machine(config: Config) -> Machine:
    """Which machine this is, as Kubeflow Trainer's torch policy tells it.

    Raises:
        UserError: it tells of another number of machines than the config.
    """
    nodes, processes = config.cluster.nodes, config.training.processes
    told = os.environ.get("PET_NNODES", "1")
    if told == "1":
        return Machine(0, nodes * processes, nodes * processes)
    if told != str(nodes):
        raise UserError(f"cluster.nodes is {nodes}, but PET_NNODES says {told}: they must be the same")
    address, port = os.environ["PET_MASTER_ADDR"], os.environ["PET_MASTER_PORT"]
    return Machine(int(os.environ["PET_NODE_RANK"]), processes, nodes * processes, f"tcp://{address}:{port}")


def launch(
    config: Config, dataset: Dataset, store: Path, *, experiment_name: str = "run", progress: Progress | None = None
) -> Path:
    """Train a run in `training.processes` processes a machine; this one is the first of its machine.

    A process that trained with others cannot train again: see `launch_apart`.

    Args:
        config: the resolved config.
        dataset: what to train on.
        store: root of the store, or of its mirror on this machine.
        experiment_name: recorded, no part of the run's identity.
        progress: where a person watches; this process's own by default.

    Returns:
        The run directory; its status is "finished".

    Raises:
        UserError: see `train`.
    """
    machine = this_machine(config)
    started = machine.world == 1 or "WORLD_SIZE" in os.environ
    arguments = ["--data", str(dataset.path), "--store", str(store), "--experiment-name", experiment_name]
    with _environment_restored(), nullcontext() if started else _peers(config, machine, arguments):
        with importing():
            from receipt_counter.training.train import train

        return train(config, dataset, store, experiment_name=experiment_name, progress=progress)


def launch_apart(config: Config, dataset: Dataset, store: Path, *, experiment_name: str, number: int) -> Path:
    """Train a run in processes of which this one is none, so that it can train others after it.

    Args:
        config, dataset, store, experiment_name: as for `launch`.
        number: of the run among those that this process trains, from 0: machines that are still ending one do not meet
            those that begin the next.

    Returns:
        The run directory; its status is "finished".

    Raises:
        UserError: it ended otherwise; with the command's exit status.
    """
    from receipt_counter.storage.run import Run
    from receipt_counter.storage.store import Store, run_id
    from receipt_counter.storage.versions import code_version

    port = os.environ.get("PET_MASTER_PORT")
    with tempfile.TemporaryDirectory(prefix="receipt-counter-", ignore_cleanup_errors=True) as scratch:
        arguments = ["--data", str(dataset.path), "--store", str(store), "--experiment-name", experiment_name]
        child = subprocess.Popen(
            [*_command(config, Path(scratch)), *arguments],
            env={**os.environ, **({"PET_MASTER_PORT": str(int(port) + number)} if port else {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if this_machine(config).rank else None,
        )
        with _signals_passed_on(child):
            status = child.wait()
    run = Run(Store(store).run_directory(run_id(config, dataset.fingerprint, code_version())))
    if status:
        message = (run.record.get("error") or {}).get("message", f"training ended with status {status}")
        raise UserError(f"{run.directory}: {message}", status=status if status > 0 else 128 - status)
    return run.directory


@contextmanager
def _signals_passed_on(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """While it lasts, who asks this process to stop asks the child."""

    def pass_on(number: int, frame: FrameType | None) -> None:
        child.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _command(config: Config, directory: Path) -> list[str]:
    """The training command, with the config in a file."""
    path = directory / "config.yaml"
    path.write_text(to_yaml(config), encoding="utf-8")
    return [sys.executable, "-m", "receipt_counter.training", "--config", str(path)]


@contextmanager
def _environment_restored() -> Iterator[None]:
    """What training tells DeepSpeed through the environment ends with it: programs started later are no part of it."""
    names = (*_WORLD, RENDEZVOUS, PEERS, "MASTER_ADDR", "MASTER_PORT")
    before = {name: os.environ.get(name) for name in names}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)


@contextmanager
def _peers(config: Config, machine: Machine, arguments: Sequence[str]) -> Iterator[None]:
    """The other processes of this machine, for as long as this one trains; they die with it, however it dies."""
    with tempfile.TemporaryDirectory(prefix="receipt-counter-", ignore_cleanup_errors=True) as scratch:
        directory = Path(scratch)
        shared = {RENDEZVOUS: machine.rendezvous or f"file://{directory / 'rendezvous'}", PEERS: str(directory)}
        command = _command(config, directory)
        peers = []
        for local_rank in range(1, machine.processes):
            with peer_log(directory, local_rank).open("wb") as log:
                peers.append(
                    subprocess.Popen(
                        [*command, *arguments],
                        env={**os.environ, **shared, **machine.place(local_rank)},
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.DEVNULL,
                        stderr=log,
                    )
                )
        os.environ.update(shared | machine.place(0))
        try:
            yield
        finally:
            for peer in peers:  # the run is finished, or cannot go on without this process
                peer.kill()
                peer.wait()


def peer_log(directory: Path, local_rank: int) -> Path:
    """Where a peer's messages go."""
    return directory / f"rank-{local_rank}.log"


def peer_message() -> str | None:
    """What a peer said before it left, if one did: the first process itself only sees a closed connection."""
    directory = os.environ.get(PEERS)
    if directory is None:
        return None
    for local_rank in range(1, int(os.environ["LOCAL_WORLD_SIZE"])):
        with suppress(FileNotFoundError):
            lines = peer_log(Path(directory), local_rank).read_text(encoding="utf-8", errors="replace").splitlines()
            if said := [line for line in lines if line.strip()]:
                return said[-1]
    return None
