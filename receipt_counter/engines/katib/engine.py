"""The Katib engine: has a cluster run a study, and follows it from here.

The study's directory is the one the local engine leaves, but of what a trial reported Katib keeps the latest, least
and greatest value alone, and logs come when a trial has ended, if its pods are still there. The optimum is
found by the same rule as the local engine's: where trials are equally good Katib's own currentOptimalTrial may be
another. What of this was never run on a real cluster is said in the package's docstring.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from kubeflow_katib_api.models import V1beta1ExperimentCondition

from receipt_counter.cluster.connection import PATIENT, Connection, Patience
from receipt_counter.engines.base import (
    EXHAUSTED,
    GOAL,
    MAX_TRIALS,
    SweepFailedError,
    SweepResult,
    SweepStoppedError,
    objective_of,
    result_of,
    spec_of,
)
from receipt_counter.engines.journal import DELETED, Journal
from receipt_counter.engines.katib.active_pods import ActivePods
from receipt_counter.engines.katib.cluster import Cluster
from receipt_counter.engines.katib.following import Record, last_failure
from receipt_counter.engines.katib.pod_logs import PodLogs
from receipt_counter.engines.katib.submission import MAX_TRIALS_REACHED, end_of, runs_elsewhere, submit, submitted
from receipt_counter.engines.view import NoView, View
from receipt_counter.errors import UserError
from receipt_counter.katib.defaults import with_defaults
from receipt_counter.katib.experiment import StudyDocument, check
from receipt_counter.katib.identity import cluster_name, study_id
from receipt_counter.storage.store import Store
from receipt_counter.wakeup import Pause, StoppedError, stoppable

SECONDS_BETWEEN_LOOKS = 5.0
POD_NAME = "KFP_POD_NAME"  # variable: the pod of a pipeline's step
_OUTCOMES = {  # Katib's reasons of a succeeded Experiment (status_util.go)
    "ExperimentGoalReached": GOAL,
    MAX_TRIALS_REACHED: MAX_TRIALS,
    "ExperimentSuggestionEndReached": EXHAUSTED,
}


class KatibEngine:
    """Runs studies on a cluster. Use it in the main thread: it listens to signals while it follows a study.

    Args:
        open_view: makes what shows the sweep, once there is something to show.
        delete_on_stop: whether a stop signal ends the study on the cluster too; not where this process is in a pod
            that the cluster takes away.
        delete_when_done: whether an Experiment that succeeded is deleted once it is recorded.
        interval: seconds between looks at the cluster.
        patience: how long a failing API server is asked again.
        sleep: waits so many seconds instead of the clock.
    """

    def __init__(
        self,
        *,
        open_view: Callable[[], View] = NoView,
        delete_on_stop: bool = False,
        delete_when_done: bool = False,
        interval: float = SECONDS_BETWEEN_LOOKS,
        patience: Patience = PATIENT,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self._open_view = open_view
        self._delete_on_stop, self._delete_when_done = delete_on_stop, delete_when_done
        self._interval, self._patience, self._sleep = interval, patience, sleep

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
        limits = {"max_trials": spec.max_trial_count, "goal": objective.goal}
        with journal.lock(), stoppable(self._sleep) as pause:
            record = Record(journal, cluster_name(document), spec, objective)
            finished = journal.finished(limits)
            if finished is not None:
                return result_of(directory, objective, record.ended, finished, worked=False)
            record.require_own()
            connection = Connection(pause, self._patience)
            metadata = document.experiment.metadata
            cluster = Cluster(connection, (metadata.namespace if metadata else None) or connection.namespace)
            try:
                begun = bool(record.ended) and not journal.is_deleted
                submit(cluster, submitted(document), begun=directory if begun else None)
                if journal.is_deleted:
                    journal.forget()
                    record = Record(journal, record.experiment, spec, objective)
                record.begin(document)
                notes = runs_elsewhere(document, Store(store).location)
                condition = self._follow(cluster, record, PodLogs(cluster, journal, spec), notes, pause)
            except StoppedError as stop:
                raise self._stopped(cluster, journal, record.experiment, stop.status) from None
            if condition.type == "Failed":
                raise SweepFailedError(_failure(record.experiment, condition, record, directory))
            ended = _OUTCOMES.get(condition.reason or "", MAX_TRIALS)
            journal.write_outcome({"outcome": ended, **limits})
            if self._delete_when_done:
                self._delete(cluster, record.experiment)
            return result_of(directory, objective, record.ended, ended, worked=True)

    def _follow(
        self,
        cluster: Cluster,
        record: Record,
        logs: PodLogs,
        notes: Mapping[str, str],
        pause: Pause,
    ) -> V1beta1ExperimentCondition:
        view, pods = self._open_view(), ActivePods(cluster, record.experiment, logs)
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
                end = end_of(there)
                record.update(cluster.trials(record.experiment), logs, last=end is not None)
                if end is None:
                    pods.look([trial for trial in record.active.values() if not trial.has_ended])
                view.show(record.snapshot(pods.progress, {**notes, **logs.notes, **pods.notes}))
                if end is not None and not record.active:
                    return end
                pause(self._interval)
        finally:
            view.close()

    def _stopped(self, cluster: Cluster, journal: Journal, name: str, status: int) -> SweepStoppedError:
        there = f"Experiment {name} in namespace {cluster.namespace}"
        end = f"kubectl delete experiment {name} -n {cluster.namespace}"
        try:
            if self._delete_on_stop and not _is_taken_away(cluster):
                cluster.delete_experiment(name)
                journal.write_outcome({"outcome": DELETED})
                return SweepStoppedError(
                    f"stopped; {there} is deleted. The same command begins it anew; runs that are in the store are not"
                    " trained again",
                    status,
                )
        except StoppedError:  # asked again
            return SweepStoppedError(f"stopped; {there} may not be deleted: {end}", status)
        return SweepStoppedError(
            f"stopped; {there} is left as it is. The same command follows it again; this ends it: {end}", status
        )

    def _delete(self, cluster: Cluster, name: str) -> None:
        try:
            cluster.delete_experiment(name)
        except StoppedError as stop:
            raise SweepStoppedError(
                f"finished and recorded; Experiment {name} may not be deleted: kubectl delete experiment {name} -n"
                f" {cluster.namespace}",
                stop.status,
            ) from None


def _is_taken_away(cluster: Cluster) -> bool:
    """Whether this process is in a pod that the cluster takes away: another is made, which follows the study again."""
    pod = os.environ.get(POD_NAME)
    try:
        return pod is not None and cluster.is_disrupted(pod)
    except UserError:
        return True  # a study that runs on can still be deleted


def _failure(name: str, condition: V1beta1ExperimentCondition, record: Record, directory: Path) -> str:
    said = condition.message or condition.reason or "Katib does not say why"
    line = f"Experiment {name} failed: {said}; the trials that ended are kept in {directory}"
    return "\n".join([line, *last_failure(record.ended.values())])
