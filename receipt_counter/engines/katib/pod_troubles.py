"""Why trials do not start: what their pods, and the events of pods that could not be made, say; and what mends it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from receipt_counter.cluster.connection import ApiError
from receipt_counter.engines.base import TrialResult
from receipt_counter.engines.katib.cluster import EXPERIMENT_LABEL, TRIAL_LABEL, Cluster
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


class PodTroubles:
    """Watches whether trials begin.

    Args:
        cluster: where their pods are.
        experiment: whose.

    Attributes:
        reasons: {trial that does not start: why, in a word}.
        notes: {reason: a sentence, with what mends it}.
    """

    def __init__(self, cluster: Cluster, experiment: str) -> None:
        self.reasons: dict[str, str] = {}
        self.notes: dict[str, str] = {}
        self._cluster, self._experiment = cluster, experiment
        self._looks = 0
        self._is_forbidden = False

    def look(self, active: Iterable[TrialResult], *, begun: bool) -> None:
        """See what keeps trials from running, if it is time to.

        Args:
            active: the trials that have not ended.
            begun: whether Katib has made any trial.
        """
        self._looks += 1
        waiting = [trial.name for trial in active if trial.started and _is_old(datetime.fromisoformat(trial.started))]
        if self._is_forbidden or self._looks % LOOKS_BETWEEN or (begun and not waiting):
            return
        try:
            found = list(self._find(waiting, begun=begun))
        except ApiError as error:
            self._is_forbidden = True
            self.notes = {"pods": f"why trials wait cannot be seen: {error.message}"}
            return
        except UserError:
            return
        self.reasons = {whose: reason for whose, reason, _ in found}
        self.notes = {reason: _sentence(whose, reason, said) for whose, reason, said in reversed(found)}

    def _find(self, waiting: list[str], *, begun: bool) -> Iterator[tuple[str, str, str]]:
        """(what does not start, why in a word, the cluster's words)."""
        names = ",".join(sorted(waiting))
        pods = self._cluster.pods(f"{TRIAL_LABEL} in ({names})" if begun else f"{EXPERIMENT_LABEL}={self._experiment}")
        for pod in pods:
            problem = _problem(pod) if _is_old(pod.metadata.creation_timestamp) else None
            if problem is not None:
                yield (pod.metadata.labels.get(TRIAL_LABEL, _SUGGESTION), *problem)
        without = set(waiting) - {pod.metadata.labels.get(TRIAL_LABEL) for pod in pods}
        if begun and not without:
            return
        refused: dict[str, str] = {}
        for event in self._cluster.refused_pods():
            refused[self._whose(event.involved_object)] = event.message or ""
        for trial in sorted(without):
            told = trial in refused
            yield (trial, "FailedCreate", refused[trial]) if told else (trial, "NoPod", "")
        if not begun and _SUGGESTION in refused:
            yield _SUGGESTION, "FailedCreate", refused[_SUGGESTION]

    def _whose(self, refused: Any) -> str:
        """The trial that a Job is of, or what else a ReplicaSet of the Experiment's is."""
        is_service = refused.kind == "ReplicaSet" and refused.name.startswith(f"{self._experiment}-")
        return _SUGGESTION if is_service else str(refused.name)


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
            f"{whose} has no pod that Katib knows: its queue has not admitted it, or the namespace lacks the label"
            f" katib.kubeflow.org/metrics-collector-injection: enabled; see: kubectl describe job {whose}"
        )
    words = " ".join(said.split())
    words = words if len(words) <= _LONGEST else f"{words[: _LONGEST - 1]}…"
    text = f"{reason}: {said}"
    mend = next((mend for pattern, mend in _MENDS if re.search(pattern, text, re.DOTALL)), "")
    mend = mend or f"see: kubectl get events, and kubectl describe pods of {whose}"
    return f"{whose} does not start: {reason}{f': {words}' if words else ''}\n  {mend}"
