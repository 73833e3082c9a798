"""What a sweep leaves in the store, and what it continues from.

    <store>/studies/<study_id>/
      experiment.yaml            the document as it was read last, ConfigMaps included
      sweep.json                 why the sweep ended, once it has
      trials.csv                 a row a trial, rewritten whole after each
      trials/<trial>/trial.json  the record, see `TrialResult`
      trials/<trial>/stdout.log  what the last attempt printed; stdout-1.log the first one's, ...

Every file is whole or absent, so the engine can die at any instant. The study's id is made of what decides what its
trials are: a larger maxTrialCount, another maxFailedTrialCount, resumePolicy or goal continues the same study.
"""

from __future__ import annotations

import contextlib
import csv
import io
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from receipt_counter.engines.base import TrialResult
from receipt_counter.errors import UserError
from receipt_counter.katib.experiment import StudyDocument, write_document
from receipt_counter.storage.files import exclusive, read_json, write_atomic, write_json
from receipt_counter.storage.keeper import kept
from receipt_counter.storage.ownership import claim
from receipt_counter.storage.record import Record
from receipt_counter.storage.sync import mirror_of

DELETED = "deleted"  # outcome of a sweep that was stopped, and its Experiment deleted
LOG_LINES = 20  # of a failed trial that are kept in its record
_LOG_END = 1 << 15  # bytes


def last_lines(log: Path) -> tuple[str, ...]:
    """The lines at a log's end that the record of a failed trial keeps."""
    try:
        with log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _LOG_END))
            text = file.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ()
    return tuple(text.rstrip().splitlines()[-LOG_LINES:])


class Journal:
    """One study's directory.

    Args:
        directory: `<store>/studies/<study_id>`.
        parameters: names of the parameters, the columns of trials.csv.
        strategies: {metric: strategy}, further columns: each metric's value by its strategy.
    """

    def __init__(self, directory: Path, parameters: Sequence[str], strategies: Mapping[str, str]) -> None:
        self.directory = directory
        self.table = directory / "trials.csv"
        self._outcome_file = directory / "sweep.json"
        self._parameters = tuple(parameters)
        self._strategies = dict(strategies)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the study for this process; the lock goes with the process, however it ends.

        In a store of objects what other machines did of it is here then, and what is done here is sent as it comes.

        Raises:
            UserError: another process is working on the study.
        """
        with exclusive(self.directory, "study"):
            if mirror_of(self.directory) is None:
                yield
                return
            owner = Record(self.directory, "owner.json")
            with kept(owner, claim(owner, _say), _say):
                try:
                    yield
                finally:
                    owner.update(status="ended")

    def trial_directory(self, name: str) -> Path:
        """Where a trial's files go."""
        return self.directory / "trials" / name

    def write_document(self, document: StudyDocument) -> None:
        """Keep the document."""
        write_document(document, self.directory / "experiment.yaml")

    def read_trials(self) -> dict[int, TrialResult]:
        """The trials that ended, by index; those that were cut off are to be run again.

        Raises:
            UserError: a record is damaged.
        """
        found = {}
        for path in sorted((self.directory / "trials").glob("*/trial.json")):
            try:
                trial = TrialResult.from_json(read_json(path))
            except (TypeError, KeyError, AttributeError):
                raise UserError(f"{path}: is no record of a trial; remove its directory to run it again") from None
            found[trial.index] = trial
        return found

    def write_trial(self, trial: TrialResult) -> None:
        """Keep a trial's record."""
        write_json(self.trial_directory(trial.name) / "trial.json", trial.to_json())

    def log_file(self, name: str, attempt: int | None = None) -> Path:
        """Where a trial's log is: of its last attempt, or of one before that, counted from 1."""
        return self.trial_directory(name) / ("stdout.log" if attempt is None else f"stdout-{attempt}.log")

    def set_log_aside(self, name: str, attempt: int) -> None:
        """Keep the log of an attempt that ended while the next one begins its own."""
        with contextlib.suppress(FileNotFoundError):
            self.log_file(name).rename(self.log_file(name, attempt))

    def write_table(self, trials: Iterable[TrialResult]) -> None:
        """Write trials.csv."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        tail = ("attempts", "started", "ended", "seconds", "message")
        writer.writerow(["trial", "status", *self._parameters, *self._strategies, *tail])
        for trial in sorted(trials, key=lambda trial: trial.index):
            writer.writerow([*self._row(trial), *(getattr(trial, name) for name in tail)])
        write_atomic(self.table, text.getvalue())

    def read_outcome(self) -> dict[str, Any]:
        """What `write_outcome` kept; nothing before the sweep first ended."""
        return read_json(self._outcome_file) if self._outcome_file.exists() else {}

    def finished(self, limits: Mapping[str, Any]) -> str | None:
        """Why the sweep ended, if it has under the same limits; with others there may be more to do.

        Args:
            limits: as they were given to `write_outcome`.
        """
        outcome = self.read_outcome()
        same = outcome and not self.is_deleted and {key: outcome.get(key) for key in limits} == limits
        return str(outcome["outcome"]) if same else None

    @property
    def is_deleted(self) -> bool:
        """Whether it was stopped, and what a cluster had of it deleted."""
        return self.read_outcome().get("outcome") == DELETED

    def forget(self) -> None:
        """Remove the trials, then why the sweep ended: it begins anew."""
        shutil.rmtree(self.directory / "trials", ignore_errors=True)
        self.table.unlink(missing_ok=True)
        self._outcome_file.unlink(missing_ok=True)

    def write_outcome(self, outcome: Mapping[str, Any]) -> None:
        """Keep why the sweep ended, and under which limits."""
        write_json(self._outcome_file, dict(outcome))

    def _row(self, trial: TrialResult) -> list[Any]:
        parameters = [trial.assignments.get(name, "") for name in self._parameters]
        values = [
            trial.metrics[name].by(strategy) if name in trial.metrics else ""
            for name, strategy in self._strategies.items()
        ]
        return [trial.name, trial.status, *parameters, *values]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
