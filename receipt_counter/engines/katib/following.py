"""A study that runs on a cluster as it is known here: what is kept of its trials, and what is shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from kubeflow_katib_api.models import V1beta1ExperimentSpec, V1beta1Trial

from receipt_counter.engines.base import PENDING, UNSUCCESSFUL, Objective, TrialResult, best_trial
from receipt_counter.engines.journal import Journal
from receipt_counter.engines.katib.pod_logs import PodLogs
from receipt_counter.engines.katib.trials import trial_results
from receipt_counter.engines.view import RunningTrial, Snapshot, seconds_left
from receipt_counter.errors import UserError
from receipt_counter.katib.experiment import StudyDocument


class Record:
    """The trials of one Experiment.

    Args:
        journal: keeps those that ended.
        experiment: the Experiment's name on the cluster.
        spec: its spec, with Katib's defaults.
        objective: what it looks for.

    Attributes:
        ended: the trials that ended, by index, those of earlier calls included.
        active: those that run or wait to run.
    """

    def __init__(self, journal: Journal, experiment: str, spec: V1beta1ExperimentSpec, objective: Objective) -> None:
        self.experiment = experiment
        self.directory = journal.directory
        self.ended: dict[int, TrialResult] = journal.read_trials()
        self.active: dict[int, TrialResult] = {}
        self._journal, self._objective = journal, objective
        self._total = 0
        self._most: int | None = spec.max_trial_count
        self._parallel: int = spec.parallel_trial_count

    def require_own(self) -> None:
        """Refuse to mix the trials of an Experiment with those another engine ran.

        Raises:
            UserError: another engine began the study.
        """
        other = next((trial.name for trial in self.ended.values() if not self._is_own(trial.name)), None)
        if other is not None:
            raise UserError(
                f"{self.directory} holds trials of another engine ({other}): finish it there, or use another --store"
            )

    def begin(self, document: StudyDocument) -> None:
        """Keep the document as it was read."""
        self._journal.write_document(document)

    def update(self, trials: Iterable[V1beta1Trial], logs: PodLogs, *, last: bool) -> None:
        """Take how the trials stand now, and keep what changed of those that ended.

        Args:
            trials: the Experiment's.
            logs: complete the record of a trial that ended, which is active until then.
            last: whether no other trials will come.
        """
        found = trial_results(trials, {**self.active, **self.ended}, self._objective)
        self.active, changed = {}, {}
        for index, trial in found.items():
            if self._is_kept(trial):
                continue
            complete = logs.complete(trial) if trial.has_ended else None
            if complete is None:
                self.active[index] = trial
            else:
                self._journal.write_trial(complete)
                changed[index] = complete
        self.ended.update(changed)
        self._total = len(self.ended.keys() | self.active.keys())
        if not last:
            self._total = max(self._total, self._most or 0)
        if changed or not self._journal.table.exists():
            self._journal.write_table(self.ended.values())

    def snapshot(self, progress: Mapping[str, str], notes: Mapping[str, str]) -> Snapshot:
        """How the sweep stands, for a view.

        Args:
            progress: {trial: how far it is, or why it does not start}.
            notes: see `Snapshot`.
        """
        # Katib runs a trial again that somebody deleted
        ended = tuple(self.ended[index] for index in sorted(self.ended.keys() - self.active.keys()))
        running = tuple(_running(trial, progress.get(trial.name, "")) for trial in self.active.values())
        return Snapshot(
            ended, running, self._total, best_trial(ended, self._objective), self._parallel, tuple(notes.items())
        )

    def _is_kept(self, trial: TrialResult) -> bool:
        """Whether the trial is recorded as it stands; the record also has what its pods told."""
        kept = self.ended.get(trial.index)
        return kept is not None and (kept.status, kept.metrics) == (trial.status, trial.metrics)

    def _is_own(self, trial: str) -> bool:
        return trial.startswith(f"{self.experiment}-")


def last_failure(trials: Iterable[TrialResult]) -> list[str]:
    """What the trial that failed last said, if any did."""
    failed = [trial for trial in trials if trial.status in UNSUCCESSFUL]
    return [max(failed, key=lambda trial: (trial.ended, trial.index)).failure] if failed else []


def _running(trial: TrialResult, progress: str) -> RunningTrial:
    started = datetime.fromisoformat(trial.started) if trial.started else None
    seconds = max((datetime.now(UTC) - started).total_seconds(), 0.0) if started else 0.0
    shown = "reads its log" if trial.has_ended else progress or (PENDING if trial.status == PENDING else "")
    return RunningTrial(trial.name, trial.assignments, shown, trial.objective, seconds, seconds_left(progress, seconds))
