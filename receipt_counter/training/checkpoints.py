"""Checkpoints: complete or ignored, verified before use, bounded in number."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from receipt_counter.errors import UserError
from receipt_counter.storage.files import atomic_directory, read_json, write_atomic, write_json

MANIFEST = "manifest.json"
STATE = "state.json"
LATEST = "LATEST"
_NAME = re.compile(r"(step|best)-(\d+)")


@dataclass(frozen=True)
class Restored:
    """A checkpoint that passed its manifest."""

    directory: Path
    state: dict[str, Any]


class CheckpointStore:
    """The checkpoints of one run.

    A checkpoint is a directory `step-N` with a manifest (names, sizes, SHA-256), renamed into place when all of it is
    on disk. `best-N` holds the weights of the best epoch so far in the same way.

    Args:
        root: the run's `checkpoints` directory.
        keep: how many complete step checkpoints stay.
    """

    def __init__(self, root: Path, keep: int) -> None:
        self.root, self.keep = root, keep

    @contextmanager
    def writing(self, name: str, state: dict[str, Any]) -> Iterator[Path]:
        """Write a checkpoint that is complete or absent.

        Args:
            name: "step-N" or "best-N".
            state: what the training loop needs to continue.

        Yields:
            An empty directory for the checkpoint's files; they count once the block has ended.
        """
        with atomic_directory(self.root / name, replace=True) as staged:
            yield staged
            write_json(staged / STATE, state)
            files = sorted(path for path in staged.rglob("*") if path.is_file())
            entries = [
                {"name": str(path.relative_to(staged)), "size": path.stat().st_size, "sha256": _sha256(path)}
                for path in files
            ]
            write_json(staged / MANIFEST, {"files": entries})
        if name.startswith("step-"):
            write_atomic(self.root / LATEST, name)

    def latest(self, report: Callable[[str], None]) -> Restored | None:
        """The newest checkpoint that is whole.

        Args:
            report: told about every checkpoint that had to be passed over.

        Returns:
            None when there is none: training begins at its beginning.
        """
        for directory in reversed(self._complete("step")):
            problem = verify(directory)
            if problem is None:
                return Restored(directory, read_json(directory / STATE))
            report(f"{directory}: {problem}; trying the one before it")
        return None

    def best(self, step: int) -> Path:
        """The weights of the best epoch.

        Raises:
            UserError: they are missing or corrupt.
        """
        directory = self.root / f"best-{step}"
        problem = verify(directory)
        if problem:
            raise UserError(f"{directory}: {problem}; delete the run's checkpoints to train again")
        return directory

    def prune(self, best_step: int | None) -> None:
        """Delete what is no longer needed: old step checkpoints, former bests, leftovers of a kill."""
        steps = self._complete("step")
        stale = steps[: -self.keep]
        stale += [path for path in self._complete("best") if path.name != f"best-{best_step}"]
        for directory in stale:
            # without its manifest it no longer counts, even if deletion stops half-way
            (directory / MANIFEST).unlink(missing_ok=True)
            shutil.rmtree(directory)
        for leftover in self.root.glob(".*.tmp"):
            if leftover.is_dir():
                shutil.rmtree(leftover)
            else:
                leftover.unlink()

    def _complete(self, kind: str) -> list[Path]:
        found = [
            (int(match[2]), path)
            for path in self.root.glob(f"{kind}-*")
            if (match := _NAME.fullmatch(path.name)) and (path / MANIFEST).is_file()
        ]
        return [path for _, path in sorted(found)]


def verify(directory: Path) -> str | None:
    """Compare a checkpoint with its manifest.

    Returns:
        What is wrong, or None.
    """
    try:
        entries = read_json(directory / MANIFEST)["files"]
    except (UserError, KeyError):
        return "the checkpoint has no readable manifest"
    for entry in entries:
        path = directory / entry["name"]
        if not path.is_file():
            return f"{entry['name']} is missing"
        if path.stat().st_size != entry["size"] or _sha256(path) != entry["sha256"]:
            return f"{entry['name']} is corrupt"
    return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
