"""A run directory and its record, run.json."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from receipt_counter.errors import UserError
from receipt_counter.storage.files import exclusive
from receipt_counter.storage.record import RUNNING, Record, now

__all__ = ["FINISHED", "RUNNING", "STATUSES", "Run", "now"]

FINISHED = "finished"
STATUSES = (RUNNING, "interrupted", "failed", "diverged", FINISHED)


class Run(Record):
    """One run's directory; its `status` is one of STATUSES, or None before it first starts.

    Args:
        directory: `<store>/runs/<run_id>`.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, "run.json")

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
            self.reload()  # what another process wrote before the lock was ours
            yield
