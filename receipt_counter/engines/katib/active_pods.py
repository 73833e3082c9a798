"""How far trials are, or why they do not start: what their pods say, and the events of pods that could not be made."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from receipt_counter.cluster.connection import ApiError
from receipt_counter.cluster.train_job import NODE
from receipt_counter.engines.base import TrialResult
from receipt_counter.engines.katib.cluster import EXPERIMENT_LABEL, TRIAL_LABEL, Cluster
from receipt_counter.engines.katib.pod_logs import PodLogs
from receipt_counter.errors import UserError

PATIENCE = timedelta(seconds=60)  # with which a pod's start is waited for before anything is said
LOOKS_BETWEEN = 6  # of the engine, one of which also looks at pods
_LONGEST = 240  # characters of the cluster's own words
_SUGGESTION = "Katib's suggestion service"

# What the cluster says, and what mends it, in one sentence; the first that matches.
_MENDS = (
    (r"violates PodSecurity.*early-stopping", "early stopping needs a namespace that enforces no more than the"
     " baseline standard: turn it off in the study file"),
    (r"violates PodSecurity.*metrics-", "KatibConfig needs init.controller.injectSecurityContext: true"),
    (r"violates PodSecurity.*suggestion", "KatibConfig needs a securityContext in each of its runtime.suggestions"),
    (r"violates PodSecurity", "the trial template must keep to the namespace's Pod Security Standard"),
    (r"failed quota.*must specify", "the namespace's quota wants requests and limits of every container, Katib's too: a"
     " LimitRange gives them (kubectl apply -f manifests/base/limits.yaml)"),
    (r"exceeded quota", "it starts when others have ended, or with a larger quota: kubectl describe resourcequota"),
    (r"serviceaccount .*not found", "make the accounts: kubectl apply -k manifests/base"),
    (r"[Pp]riorityClass", "name one that is there with cluster.priority_class: kubectl get priorityclass"),
    (r"^(ErrImage|ImagePull|InvalidImage)", "check the image (cluster.image, cluster.training_image), and that nodes"
     " may pull it"),
    (r"^CreateContainerConfigError", "make the Secret or ConfigMap that is named, or correct its name in the config"),
    (r"^(Create|Run)ContainerError", "the image does not hold what the trial's command runs"),
    (r"^CrashLoopBackOff", "see what it says before it ends: kubectl logs"),
    (r"[Pp]ersistent[Vv]olume|unbound", "see what the volume (cluster.volume) waits for: kubectl describe pvc"),
    (r"Insufficient nvidia\.com/gpu", "it waits for free GPUs: lower cluster.gpus or parallelism, or add nodes"),
    (r"Insufficient (cpu|memory)", "it waits for room: lower cluster.cpu or cluster.memory, or add nodes"),
    (r"affinity|selector", "no node has the labels of cluster.node_selector and cluster.gpu_type: kubectl get nodes"),
    (r"taint", "name the taints of the nodes that are meant in cluster.tolerations"),
    (r"^SchedulingGated", "it waits until its queue admits it: kubectl get workloads"),
)  # fmt: skip


class ActivePods:
    """Watches the pods of trials that have not ended: how far they are, or why they do not start.

    Args:
        cluster: where they are.
        experiment: whose.
        logs: of its trials.

    Attributes:
        progress: {trial: how far it is, or in a word why it does not start}.
        notes: {why something does not start: a sentence, with what mends it}.
    """

    def __init__(self, cluster: Cluster, experiment: str, logs: PodLogs) -> None:
        self.progress: dict[str, str] = {}
        self.notes: dict[str, str] = {}
        self._cluster, self._experiment, self._logs = cluster, experiment, logs
        self._looks = 0
        self._is_forbidden = False

    def look(self, active: Sequence[TrialResult]) -> None:
        """Look at them, if it is time to.

        Args:
            active: the trials that have not ended.
        """
        self._looks += 1
        late = [trial.name for trial in active if trial.started and _is_old(datetime.fromisoformat(trial.started))]
        if self._is_forbidden or self._looks % LOOKS_BETWEEN or (active and not late):
            return
        try:
            pods = self._cluster.pods(
                f"{TRIAL_LABEL} in ({','.join(sorted(late))})"
                if late
                else f"{EXPERIMENT_LABEL}={self._experiment},!{TRIAL_LABEL}"
            )
            stuck = [*self._waiting(pods), *self._not_made(pods, late)]
            self.notes = {reason: _sentence(whose, reason, said) for whose, reason, said in reversed(stuck)}
            self.progress = {whose: reason for whose, reason, _ in stuck}
            for pod in pods:
                trial = _trial(pod)
                if trial not in self.progress and pod.status.phase == "Running":
                    self.progress[trial] = self._logs.progress(pod.metadata.name)
        except ApiError as error:
            self._is_forbidden = True
            self.notes = {"pods": f"why trials wait cannot be seen: {error.message}"}
        except UserError:  # it cannot be asked now; what was seen last is still shown
            return

    def _waiting(self, pods: Iterable[Any]) -> Iterator[tuple[str, str, str]]:
        """(what does not start, why in a word, the cluster's words) of pods that are there."""
        for pod in pods:
            problem = _problem(pod) if _is_old(pod.metadata.creation_timestamp) else None
            if problem is not None:
                yield (_trial(pod), *problem)

    def _not_made(self, pods: Sequence[Any], late: Sequence[str]) -> Iterator[tuple[str, str, str]]:
        """The same of pods that are not."""
        without = set(late) - {_trial(pod) for pod in pods} if late else {_SUGGESTION} - set(map(_trial, pods))
        if not without:
            return
        refused = {self._whose(event.involved_object): event.message or "" for event in self._cluster.refused_pods()}
        for whose in sorted(without):
            if whose in refused:
                yield whose, "FailedCreate", refused[whose]
            elif whose != _SUGGESTION:
                yield whose, "NoPod", ""

    def _whose(self, refused: Any) -> str:
        """The trial that a Job is of (a TrainJob's is named after it), or what a ReplicaSet of the Experiment's is."""
        is_service = refused.kind == "ReplicaSet" and refused.name.startswith(f"{self._experiment}-")
        return _SUGGESTION if is_service else str(refused.name).removesuffix(f"-{NODE}-0")


def _trial(pod: Any) -> str:
    """The trial that a pod is of; what else an Experiment has is the service that suggests trials."""
    return str(pod.metadata.labels.get(TRIAL_LABEL, _SUGGESTION))


def _is_old(time: datetime) -> bool:
    return datetime.now(UTC) - time > PATIENCE


def _problem(pod: Any) -> tuple[str, str] | None:
    """Why a pod does not run: in a word, and the cluster's words."""
    for condition in pod.status.conditions or ():
        if condition.type == "PodScheduled" and condition.status == "False":
            return condition.reason or "Unschedulable", condition.message or ""
    for found in (*(pod.status.init_container_statuses or ()), *(pod.status.container_statuses or ())):
        waiting = found.state.waiting if found.state else None
        if waiting is not None and waiting.reason not in (None, "ContainerCreating", "PodInitializing"):
            return waiting.reason, waiting.message or ""
    return None


def _sentence(whose: str, reason: str, said: str) -> str:
    if reason == "NoPod":
        return (
            f"{whose} has no pod that Katib knows: its queue has not admitted it, a quota leaves no room for its Job,"
            " or the namespace lacks the label katib.kubeflow.org/metrics-collector-injection: enabled; see: kubectl"
            f" describe trial,job {whose}"
        )
    words = " ".join(said.split())
    words = words if len(words) <= _LONGEST else f"{words[: _LONGEST - 1]}…"
    text = f"{reason}: {said}"
    mend = next((mend for pattern, mend in _MENDS if re.search(pattern, text, re.DOTALL)), "")
    mend = mend or f"see: kubectl get events, and kubectl describe pods of {whose}"
    return f"{whose} does not start: {reason}{f': {words}' if words else ''}\n  {mend}"
