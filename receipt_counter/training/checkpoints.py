"""Checkpoints: complete or ignored, verified before use, bounded in number."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from receipt_counter.errors import UserError
from receipt_counter.storage.files import atomic_directory, read_json, remove_leftovers, write_atomic, write_json
from receipt_counter.storage.manifest import MANIFEST, verify, write_manifest

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
            write_manifest(staged)
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
        remove_leftovers(self.root)

    def _complete(self, kind: str) -> list[Path]:
        found = [
            (int(match[2]), path)
            for path in self.root.glob(f"{kind}-*")
            if (match := _NAME.fullmatch(path.name)) and (path / MANIFEST).is_file()
        ]
        return [path for _, path in sorted(found)]
