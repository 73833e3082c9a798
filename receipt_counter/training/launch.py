"""Trains a run in as many processes on this machine as its config asks for.

The calling process is the first of them: its messages, signals and files are those of the run. The others, the peers,
are started here, unless something else (torchrun) has already started all of them. Imports nothing heavy, so that all
processes import torch at the same time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from receipt_counter.config.loading import to_yaml

if TYPE_CHECKING:
    from receipt_counter.config.schema import Config
    from receipt_counter.data.dataset import Dataset
    from receipt_counter.progress import Progress

RENDEZVOUS = "RECEIPT_COUNTER_RENDEZVOUS"  # file through which the processes of one machine find each other
_WORLD = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", RENDEZVOUS)


def launch(
    config: Config, dataset: Dataset, store: Path, *, experiment_name: str = "run", progress: Progress | None = None
) -> Path:
    """Train a run in `training.processes` processes; this one is the first.

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
    alone = config.training.processes == 1 or "WORLD_SIZE" in os.environ
    arguments = ["--data", str(dataset.path), "--store", str(store), "--experiment-name", experiment_name]
    with _environment_restored(), nullcontext() if alone else _peers(config, arguments):
        from receipt_counter.training.train import train

        return train(config, dataset, store, experiment_name=experiment_name, progress=progress)


@contextmanager
def _environment_restored() -> Iterator[None]:
    """What training tells DeepSpeed through the environment ends with it: programs started later are no part of it."""
    before = {name: os.environ.get(name) for name in (*_WORLD, "MASTER_ADDR", "MASTER_PORT")}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)


@contextmanager
def _peers(config: Config, arguments: Sequence[str]) -> Iterator[None]:
    """The other processes, for as long as this one trains; they die with it, however it dies."""
    with tempfile.TemporaryDirectory(prefix="receipt-counter-", ignore_cleanup_errors=True) as scratch:
        directory = Path(scratch)
        (directory / "config.yaml").write_text(to_yaml(config), encoding="utf-8")
        command = [sys.executable, "-m", "receipt_counter.training", "--config", str(directory / "config.yaml")]
        world = config.training.processes
        peers = []
        for rank in range(1, world):
            with peer_log(directory, rank).open("wb") as log:
                peers.append(
                    subprocess.Popen(
                        [*command, *arguments],
                        env={**os.environ, **_place(rank, world, directory)},
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.DEVNULL,
                        stderr=log,
                    )
                )
        os.environ.update(_place(0, world, directory))
        try:
            yield
        finally:
            for peer in peers:  # the run is finished, or cannot go on without this process
                peer.kill()
                peer.wait()


def _place(rank: int, world: int, directory: Path) -> dict[str, str]:
    """The environment that tells a process which one it is."""
    values = (rank, rank, world, world, directory / "rendezvous")
    return {name: str(value) for name, value in zip(_WORLD, values, strict=True)}


def peer_log(directory: Path, rank: int) -> Path:
    """Where a peer's messages go."""
    return directory / f"rank-{rank}.log"


def peer_message() -> str | None:
    """What a peer said before it left, if one did: the first process itself only sees a closed connection."""
    rendezvous = os.environ.get(RENDEZVOUS)
    if rendezvous is None:
        return None
    for rank in range(1, int(os.environ["WORLD_SIZE"])):
        with suppress(FileNotFoundError):
            lines = peer_log(Path(rendezvous).parent, rank).read_text(encoding="utf-8", errors="replace").splitlines()
            if said := [line for line in lines if line.strip()]:
                return said[-1]
    return None
