"""Where experiments come from: a folder, or a mirror of one that something else keeps up to date."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from receipt_counter.errors import UserError
from receipt_counter.monitor.datasets import Datasets
from receipt_counter.storage.connection import connection
from receipt_counter.storage.mirror import follow
from receipt_counter.storage.objects import Bucket
from receipt_counter.storage.sync import Mirror, Wanted

_PATIENCE = 2.0  # seconds that a connection and, around it, a request are tried again
_SILENCE = 10.0  # seconds that a store may take between two pieces of an answer


class Source(Protocol):
    """A folder in the layout of a store, which the monitor reads and never writes.

    Attributes:
        root: the folder, resolved.
        name: what people call it, such as `s3://bucket/prefix`.
    """

    root: Path
    name: str

    def refresh(self) -> None:
        """Bring the folder up to date; called about twice a second by one thread, so it must be cheap when idle.

        Raises:
            OSError, UserError: it cannot be reached; the monitor shows that and goes on with what it has.
        """

    def want_dataset(self, fingerprint: str) -> str | None:
        """Have a dataset brought into the folder whose pictures are looked at and are not there; for any thread.

        Returns:
            What becomes of it, for people: `datasets.FETCHING`, or why it does not come; None: nobody can bring it.
        """


class LocalSource:
    """A folder that training writes to directly.

    Args:
        location: the folder.

    Raises:
        UserError: there is none.
    """

    def __init__(self, location: str) -> None:
        path = Path(location)
        if not path.is_dir():
            what = "is a file, not a folder" if path.exists() else "no such folder"
            raise UserError(f"--experiments-dir {location}: {what}; `receipt-counter run` makes ./experiments")
        self.root = path.resolve()
        self.name = str(self.root)

    def refresh(self) -> None:
        """Nothing to do: the folder itself is read."""

    def want_dataset(self, fingerprint: str) -> str | None:
        """None: what is not in the folder is nowhere."""


class StoreSource:
    """A store of objects, of which what the pages show is mirrored into a folder.

    Args:
        location: `s3://bucket/prefix`.
        folder: of the mirror.
        pause: seconds between looks at the store.

    Raises:
        UserError: it is no URL, or the environment names no sensible server.
    """

    def __init__(self, location: str, folder: Path, pause: float = 1.0) -> None:
        self.name = location
        folder.mkdir(parents=True, exist_ok=True)
        self.root = folder.resolve()
        server = connection()
        # what fails is tried again at the next look anyway, and pages are to say soon that it fails
        patience = replace(server.patience, seconds=min(server.patience.seconds, _PATIENCE))
        self._mirror = Mirror(self.root, Bucket(location, replace(server, patience=patience, read_seconds=_SILENCE)))
        self._datasets = Datasets(self._mirror)
        self._pause, self._next = pause, 0.0

    def refresh(self) -> None:
        """Fetch what is new of runs and studies; weights and checkpoints stay in the store, datasets until wanted.

        Raises:
            UserError: the store does not answer, or the disk is full.
        """
        if time.monotonic() < self._next:
            return
        try:
            for parent, wanted in _SHOWN.items():
                there = follow(self._mirror, self.root / parent, wanted)
                self._remove_the_gone(self.root / parent, {name.split("/")[1] for name in there})
        finally:
            self._next = time.monotonic() + self._pause

    def _remove_the_gone(self, parent: Path, there: set[str]) -> None:
        """Runs and studies that were removed from the store."""
        for directory in parent.iterdir() if parent.exists() else ():
            if directory.name not in there:
                shutil.rmtree(directory)

    def want_dataset(self, fingerprint: str) -> str | None:
        """See `Datasets.want`."""
        return self._datasets.want(fingerprint)


def _is_of_a_runs_page(name: str) -> bool:
    """Whether a file of a run is shown: `name` begins with the run's."""
    return name.partition("/")[2].partition("/")[0] not in ("checkpoints", "model")


_SHOWN: dict[str, Wanted] = {"runs": _is_of_a_runs_page, "studies": lambda name: True}  # below the store's root
