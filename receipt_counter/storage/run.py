"""A run directory and its record, run.json."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from receipt_counter.errors import UserError
from receipt_counter.storage.files import exclusive, read_json, write_json

FINISHED = "finished"
STATUSES = ("running", "interrupted", "failed", "diverged", FINISHED)


class Run:
    """One run's directory; every change of its record is written whole.

    Args:
        directory: `<store>/runs/<run_id>`.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.record_file = directory / "run.json"
        self.record: dict[str, Any] = read_json(self.record_file) if self.record_file.exists() else {}

    @classmethod
    def open(cls, directory: Path) -> Run:
        """Open a run that must exist.

        Raises:
            UserError: there is no run.json.
        """
        if not (directory / "run.json").is_file():
            raise UserError(f"{directory}: not a run directory (no run.json)")
        return cls(directory)

    @property
    def status(self) -> str | None:
        """One of STATUSES, or None before the run first starts."""
        return self.record.get("status")

    @property
    def events(self) -> Path:
        """TensorBoard event files."""
        return self.directory / "events"

    @property
    def checkpoints(self) -> Path:
        """Where training continues from."""
        return self.directory / "checkpoints"

    @property
    def model(self) -> Path:
        """The best model, once training has finished."""
        return self.directory / "model"

    def evaluation(self, split: str) -> Path:
        """Figures and predictions on one split."""
        return self.directory / "evaluation" / split

    def update(self, **fields: Any) -> None:
        """Change fields of run.json.

        Args:
            fields: top-level fields; nan and infinity are refused.
        """
        self.record.update(fields)
        self.directory.mkdir(parents=True, exist_ok=True)
        write_json(self.record_file, self.record)

    def add_metrics(self, split: str, metrics: dict[str, float], *, headline: bool = False) -> None:
        """Record a split's figures.

        Args:
            split: the split they were measured on.
            metrics: flat names and finite numbers; added to those the split already has.
            headline: also make them the run's top-level `metrics`.
        """
        splits = self.record.get("splits", {})
        splits = {**splits, split: {**splits.get(split, {}), **metrics}}
        self.update(splits=splits, **({"metrics": metrics} if headline else {}))

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run for this process; the lock goes with the process, however it ends.

        Raises:
            UserError: another process is working on the run.
        """
        with exclusive(self.directory, "run"):
            # what another process wrote before the lock was ours
            if self.record_file.exists():
                self.record = read_json(self.record_file)
            yield


def now() -> str:
    """The time in UTC, ISO 8601 with seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")
