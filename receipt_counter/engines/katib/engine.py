"""The Katib engine: has a cluster run a study, and follows it from here.

The study's directory is the one the local engine leaves, but of what a trial reported Katib keeps the latest, least
and greatest value alone, and logs come when a trial has ended, if its pods are still there. The optimum is
found by the same rule as the local engine's: where trials are equally good Katib's own currentOptimalTrial may be
another. What of this was never run on a real cluster is said in the package's docstring.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from kubeflow_katib_api.models import V1beta1Experiment, V1beta1ExperimentCondition, V1beta1ExperimentSpec

from receipt_counter.cluster.connection import PATIENT, Connection, Patience
from receipt_counter.engines.base import (
    EXHAUSTED,
    GOAL,
    MAX_TRIALS,
    SweepFailedError,
    SweepResult,
    SweepStoppedError,
    name_of,
    objective_of,
    result_of,
    spec_of,
)
from receipt_counter.engines.journal import Journal
from receipt_counter.engines.katib.cluster import Cluster
from receipt_counter.engines.katib.following import Record, last_failure
from receipt_counter.engines.katib.pod_logs import PodLogs
from receipt_counter.engines.katib.pod_troubles import PodTroubles
from receipt_counter.engines.katib.submission import submit, submitted
from receipt_counter.engines.view import NoView, View
from receipt_counter.engines.wakeup import STOP_SIGNALS, Wakeup
from receipt_counter.errors import UserError
from receipt_counter.katib.defaults import with_defaults
from receipt_counter.katib.experiment import StudyDocument, check
from receipt_counter.katib.identity import study_id

SECONDS_BETWEEN_LOOKS = 5.0
_OUTCOMES = {  # Katib's reasons of a succeeded Experiment (status_util.go)
    "ExperimentGoalReached": GOAL,
    "ExperimentMaxTrialsReached": MAX_TRIALS,
    "ExperimentSuggestionEndReached": EXHAUSTED,
}


class _SignalError(Exception):
    """A signal asked to stop."""


class KatibEngine:
    """Runs studies on a cluster. Use it in the main thread: it listens to signals while it follows a study.

    Args:
        open_view: makes what shows the sweep, once there is something to show.
        delete_on_stop: whether a stop signal ends the study on the cluster too.
        interval: seconds between looks at the cluster.
        patience: how long a failing API server is asked again.
        sleep: waits so many seconds instead of the clock.
    """

    def __init__(
        self,
        *,
        open_view: Callable[[], View] = NoView,
        delete_on_stop: bool = False,
        interval: float = SECONDS_BETWEEN_LOOKS,
        patience: Patience = PATIENT,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self._open_view = open_view
        self._delete_on_stop = delete_on_stop
        self._interval, self._patience, self._sleep = interval, patience, sleep
        self._signals: list[int] = []

    def check(self, document: StudyDocument) -> None:
        """Refuse what Katib would not run.

        Raises:
            UserError: everything that is wrong, a line each.
        """
        broken = check(submitted(document))
        if broken:
            raise UserError("\n".join(broken))

    def run(self, document: StudyDocument, store: Path) -> SweepResult:
        """Run a study to its end, or attach to it; a finished one is left as it is.

        Args:
            document: the study.
            store: the store's directory.

        Returns:
            The trials and the optimum.

        Raises:
            SweepStoppedError: a signal asked to stop.
            SweepFailedError: the Experiment failed.
            UserError: Katib would not run it, the cluster refuses, or another process works on the study.
        """
        self.check(document)
        experiment = with_defaults(document.experiment)
        spec, objective = spec_of(experiment), objective_of(experiment)
        directory = store / "studies" / study_id(document)
        journal = Journal(directory, [parameter.name for parameter in spec.parameters], objective.strategies)
        name = name_of(submitted(document).experiment)
        with journal.lock():
            record = Record(journal, name, spec, objective)
            limits = {"max_trials": spec.max_trial_count, "goal": objective.goal}
            finished = journal.finished(limits)
            if finished is not None:
                return result_of(directory, objective, record.ended, finished, worked=False)
            record.require_own()
            condition = self._listen(document, record, journal, spec)
            if condition.type == "Failed":
                raise SweepFailedError(_failure(name, condition, record, directory))
            ended = _OUTCOMES.get(condition.reason or "", MAX_TRIALS)
            journal.write_outcome({"outcome": ended, **limits})
            return result_of(directory, objective, record.ended, ended, worked=True)

    def _listen(
        self, document: StudyDocument, record: Record, journal: Journal, spec: V1beta1ExperimentSpec
    ) -> V1beta1ExperimentCondition:
        """Submit and follow while signals are heeded."""
        self._signals = []
        with Wakeup([], dict.fromkeys(STOP_SIGNALS, self._on_signal)) as wakeup:

            def pause(seconds: float) -> None:
                if self._sleep is not None:
                    self._sleep(seconds)
                else:
                    wakeup.wait([], seconds)
                if self._signals:
                    raise _SignalError

            connection = Connection(pause, self._patience)
            metadata = document.experiment.metadata
            cluster = Cluster(connection, (metadata.namespace if metadata else None) or connection.namespace)
            try:
                submit(cluster, submitted(document), begun=record.directory if record.ended else None)
                record.begin(document)
                return self._follow(cluster, record, PodLogs(cluster, journal, spec), pause)
            except _SignalError:
                raise self._stopped(cluster, record.experiment) from None

    def _follow(
        self, cluster: Cluster, record: Record, logs: PodLogs, pause: Callable[[float], None]
    ) -> V1beta1ExperimentCondition:
        view, troubles = self._open_view(), PodTroubles(cluster, record.experiment)
        try:
            while True:
                # the Experiment first: the trials of one that has ended are then the last
                there = cluster.experiment(record.experiment)
                if there is None:
                    raise UserError(
                        f"Experiment {record.experiment} is gone from namespace {cluster.namespace}: somebody deleted"
                        f" it. The trials that had ended are kept in {record.directory}",
                        status=1,
                    )
                end = _end(there)
                record.update(cluster.trials(record.experiment), logs, last=end is not None)
                troubles.look(record.active.values(), begun=record.has_begun)
                view.show(record.snapshot(troubles.reasons, {**logs.notes, **troubles.notes}))
                if end is not None and not record.active:
                    return end
                pause(self._interval)
        finally:
            view.close()

    def _stopped(self, cluster: Cluster, name: str) -> SweepStoppedError:
        status = 128 + self._signals[0]
        self._signals.clear()  # another signal interrupts the deletion
        if not self._delete_on_stop:
            return SweepStoppedError(
                f"stopped; Experiment {name} in namespace {cluster.namespace} is left as it is. The same command"
                f" follows it again; this ends it: kubectl delete experiment {name} -n {cluster.namespace}",
                status,
            )
        try:
            cluster.delete_experiment(name)
        except _SignalError:
            return SweepStoppedError(f"stopped; Experiment {name} may not be deleted", status)
        return SweepStoppedError(f"stopped; Experiment {name} in namespace {cluster.namespace} is deleted", status)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals.append(signal.Signals(number))


def _end(experiment: V1beta1Experiment) -> V1beta1ExperimentCondition | None:
    """The condition with which an Experiment ended, if it has."""
    conditions = experiment.status.conditions or [] if experiment.status else []
    true = (condition for condition in conditions if condition.status == "True")
    return next((condition for condition in true if condition.type in ("Succeeded", "Failed")), None)


def _failure(name: str, condition: V1beta1ExperimentCondition, record: Record, directory: Path) -> str:
    said = condition.message or condition.reason or "Katib does not say why"
    line = f"Experiment {name} failed: {said}; the trials that ended are kept in {directory}"
    return "\n".join([line, *last_failure(record.ended.values())])
