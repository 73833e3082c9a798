"""Trains one run on several machines: creates its TrainJob, shows what its first machine prints, ends as it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from receipt_counter.cluster.connection import PATIENT, Connection, Patience
from receipt_counter.cluster.objects import MANAGED_BY, PODS, RUNTIMES, TRAIN_JOBS, Kind, Objects
from receipt_counter.cluster.train_job import NODE, train_job, training_runtime
from receipt_counter.config.loading import to_yaml
from receipt_counter.config.schema import Config
from receipt_counter.data.dataset import Dataset
from receipt_counter.errors import UserError
from receipt_counter.progress import Progress
from receipt_counter.storage.run import FINISHED, Run
from receipt_counter.storage.store import open_store, run_id
from receipt_counter.storage.sync import uri
from receipt_counter.storage.versions import code_version
from receipt_counter.training.launch import CONFIG
from receipt_counter.wakeup import Pause, StoppedError, stoppable

SECONDS_BETWEEN_LOOKS = 5.0
LOG_LINES = 15  # of a machine that failed
_JOB_SET = "jobset.sigs.k8s.io/jobset-name"  # label of the pods of a TrainJob, whose JobSet has its name
_INDEX = "batch.kubernetes.io/job-completion-index"


def train_on_machines(
    config: Config,
    dataset: Dataset,
    store: str,
    *,
    experiment_name: str,
    progress: Progress,
    patience: Patience = PATIENT,
    interval: float = SECONDS_BETWEEN_LOOKS,
    sleep: Callable[[float], object] | None = None,
) -> Path:
    """Train a run as a TrainJob on `cluster.nodes` machines, or attach to the one that trains it.

    A signal to stop deletes the TrainJob; its machines save, and the same call continues.

    Args:
        config: the resolved config.
        dataset: what to train on, where every machine sees it.
        store: where runs live; every machine sees it.
        experiment_name: recorded, no part of the run's identity.
        progress: told what happens on the cluster.
        patience: how often requests that fail are sent again.
        interval: seconds between looks at the cluster.
        sleep: waits so many seconds instead of the clock.

    Returns:
        The run directory; its status is "finished".

    Raises:
        UserError: it failed, with the last lines of the machine that failed first; it was stopped or deleted; or the
            cluster refuses.
    """
    directory = open_store(store).run_directory(run_id(config, dataset.fingerprint, code_version()))
    if Run(directory).status == FINISHED:
        return directory
    name = f"receipt-counter-{directory.name}"
    job = job_of_run(config, dataset, store, name, experiment_name)
    with stoppable(sleep) as pause:
        objects = Objects(Connection(pause, patience), config.cluster.namespace)
        following = _Following(objects, name, progress)
        try:
            following.begin(training_runtime(config.cluster, name), job, pause)
            while not following.look():
                pause(interval)
        except StoppedError as stop:
            raise _stopped(objects, name, stop.status) from None
    if Run(directory).status != FINISHED:
        raise UserError(f"TrainJob {name} is complete, but {directory} is not: do its machines see this store?", 1)
    objects.delete(TRAIN_JOBS, name)
    return directory


def job_of_run(config: Config, dataset: Dataset, store: str, name: str, experiment_name: str) -> dict[str, Any]:
    """The TrainJob of one run; arguments as for `train_on_machines`, and its name, which is its runtime's too."""
    command = ["python", "-m", "receipt_counter.training", "--data", uri(dataset.path), "--store", store]
    job = train_job(
        config.cluster,
        name,
        config.training.processes,
        [*command, "--experiment-name", experiment_name],
        {CONFIG: to_yaml(config)},
    )
    return {**job, "metadata": {"name": name, "labels": {**job["metadata"]["labels"], **MANAGED_BY}}}


def _stopped(objects: Objects, name: str, status: int) -> UserError:
    try:
        objects.delete(TRAIN_JOBS, name)
    except StoppedError:  # asked again
        command = f"kubectl delete trainjob {name} -n {objects.namespace}"
        return UserError(f"stopped; TrainJob {name} may not be deleted: {command}", status)
    return UserError(
        f"stopped; TrainJob {name} is deleted, what its machines saved is continued by the same command", status
    )


class _Following:
    """A TrainJob as it is seen from here."""

    def __init__(self, objects: Objects, name: str, progress: Progress) -> None:
        self._objects, self._name, self._progress = objects, name, progress
        self._pod = ""  # whose log is shown
        self._printed = ""  # time of its last line
        self._state = ""

    def begin(self, runtime: dict[str, Any], job: dict[str, Any], pause: Pause) -> None:
        """Create the TrainJob and its runtime, unless they are there; a TrainJob that has ended makes room."""
        there = self._objects.get(TRAIN_JOBS, self._name)
        if there is not None and not _end(there) and not there["metadata"].get("deletionTimestamp"):
            self._progress.note(f"TrainJob {self._name} is there already; it is followed")
            return
        if there is not None:
            self._remove(TRAIN_JOBS, pause)
            self._remove(RUNTIMES, pause)
        # one that a killed step left may have other settings; another step that trains the same run has the same
        self._objects.require(RUNTIMES, runtime)
        self._objects.merge(RUNTIMES, self._name, {"spec": runtime["spec"]})
        made = self._objects.require(TRAIN_JOBS, job)
        self._objects.own(RUNTIMES, self._name, made)
        self._progress.note(f"TrainJob {self._name} is created in namespace {self._objects.namespace}")

    def _remove(self, kind: Kind, pause: Pause) -> None:
        if self._objects.delete(kind, self._name):
            while self._objects.get(kind, self._name) is not None:
                pause(1.0)

    def look(self) -> bool:
        """Show what is new.

        Returns:
            Whether it is complete.

        Raises:
            UserError: it failed, or is gone.
        """
        job = self._objects.get(TRAIN_JOBS, self._name)
        if job is None:
            raise UserError(f"TrainJob {self._name} is gone: somebody deleted it; the same command continues", 1)
        # the pods after the job: those of one that has ended say their last
        pods = self._objects.select(PODS, {_JOB_SET: self._name})
        self._show_state(job, pods)
        self._show_log(pods)
        end = _end(job)
        if end is None:
            return False
        if end["type"] == "Failed":
            raise UserError("\n".join([f"TrainJob {self._name} failed: {end['message']}", *self._last_words(pods)]), 1)
        return True

    def _show_state(self, job: dict[str, Any], pods: list[dict[str, Any]]) -> None:
        phases = sorted(pod["status"].get("phase", "Unknown") for pod in pods)
        counted = ", ".join(f"{phases.count(phase)} {phase.lower()}" for phase in dict.fromkeys(phases))
        held = " (suspended: a queue has not admitted it yet)" if job["spec"].get("suspend") else ""
        state = f"machines: {counted or 'none yet'}{held}"
        if state != self._state:
            self._progress.note(state)
            self._state = state

    def _show_log(self, pods: list[dict[str, Any]]) -> None:
        """Print what the first machine's newest pod has said since."""
        first = [pod for pod in pods if pod["metadata"].get("labels", {}).get(_INDEX) == "0"]
        if not first:
            return
        newest = max(first, key=lambda pod: pod["metadata"]["creationTimestamp"])["metadata"]["name"]
        if newest != self._pod:
            self._pod, self._printed = newest, ""
        for stamp, line in self._objects.log(self._pod, NODE, self._printed or None):
            if stamp > self._printed:  # the server knows seconds only
                print(line, flush=True)
                self._printed = stamp

    def _last_words(self, pods: list[dict[str, Any]]) -> list[str]:
        """The end of what the machine said that failed first: the others only saw it leave."""
        failed = [(ended["finishedAt"], pod["metadata"]["name"], ended) for pod in pods for ended in _failures(pod)]
        if not failed:
            return []
        _, pod, ended = min(failed, key=lambda item: item[:2])
        reason = ended.get("reason") or "Error"
        lines = [line for _, line in self._objects.log(pod, NODE, lines=LOG_LINES)]
        return [f"pod {pod} ended first, with status {ended['exitCode']} ({reason}):", *lines]


def _end(job: dict[str, Any]) -> dict[str, Any] | None:
    """The condition with which a TrainJob ended, if it has."""
    conditions = job.get("status", {}).get("conditions", [])
    ends = (found for found in conditions if found["type"] in ("Complete", "Failed") and found["status"] == "True")
    return next(ends, None)


def _failures(pod: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """How a pod's container ended that did not end well."""
    for container in pod["status"].get("containerStatuses", []):
        ended = container.get("state", {}).get("terminated")
        if container["name"] == NODE and ended and ended["exitCode"]:
            yield {"finishedAt": datetime.max.replace(tzinfo=UTC).isoformat(), **ended}
