"""What a sweep leaves in the store, and what it continues from.

    <store>/studies/<study_id>/
      experiment.yaml            the document as it was read last, ConfigMaps included
      sweep.json                 why the sweep ended, once it has
      trials.csv                 a row a trial, rewritten whole after each
      trials/<trial>/trial.json  the record, see `TrialResult`
      trials/<trial>/stdout.log  what the last attempt printed; stdout-1.log the first one's, ... (local engine only)

Every file is whole or absent, so the engine can die at any instant. The study's id is made of what decides what its
trials are: a larger maxTrialCount, another maxFailedTrialCount, resumePolicy or goal continues the same study.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from receipt_counter.engines.base import TrialResult, name_of
from receipt_counter.errors import UserError
from receipt_counter.katib.experiment import StudyDocument, write_document
from receipt_counter.storage.files import exclusive, read_json, write_atomic, write_json
from receipt_counter.storage.keeper import kept
from receipt_counter.storage.ownership import claim
from receipt_counter.storage.record import Record
from receipt_counter.storage.sync import mirror_of

_NOT_IN_ID = {"max_trial_count": None, "max_failed_trial_count": None, "resume_policy": None}


def study_id(document: StudyDocument) -> str:
    """Identity of a study: "<experiment name>-<8 hex>"."""
    spec = document.experiment.spec
    objective = spec.objective.model_copy(update={"goal": None}) if spec and spec.objective else None
    bare = spec.model_copy(update={**_NOT_IN_ID, "objective": objective}) if spec else None
    experiment = document.experiment.model_copy(update={"spec": bare, "status": None})
    fingerprint = dataclasses.replace(document, experiment=experiment).fingerprint
    return f"{name_of(document.experiment)}-{fingerprint[:8]}"


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

    def set_log_aside(self, name: str, attempt: int) -> None:
        """Keep the log of an attempt that ended while the next one begins its own."""
        log = self.trial_directory(name) / "stdout.log"
        with contextlib.suppress(FileNotFoundError):
            log.rename(log.with_name(f"stdout-{attempt}.log"))

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
        same = outcome and {key: outcome.get(key) for key in limits} == limits
        return str(outcome["outcome"]) if same else None

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
