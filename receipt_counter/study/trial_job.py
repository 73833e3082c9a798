"""The Kubernetes Job of a trial, as the *restricted* Pod Security Standard wants it (pod-security-standards)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from receipt_counter.cluster.pods import GROUP, NO_MESH, QUEUE_LABEL, labels, node_selector, tolerations
from receipt_counter.config.cluster import Cluster
from receipt_counter.katib.template import GPU

MOUNT = "/etc/receipt-counter"
CONFIG_FILE = "config.yaml"
CONTAINER = "trial"


def trial_job(
    cluster: Cluster, study: str, config_map: str, arguments: Sequence[str], marks: Mapping[str, str]
) -> dict[str, Any]:
    """The Job that Katib makes of each trial.

    Args:
        cluster: where and on what it runs.
        study: name of the study, recorded with its runs.
        config_map: name of the ConfigMap that holds the study's files.
        arguments: of `receipt_counter.study.trial`, beside the config and that name.
        marks: labels by which the Job and its pods are found: of what study they are, and which of its trials.

    Returns:
        The manifest. A pod that its node evicts or a more important one preempts is made anew and does not count as a
        failed attempt: its runs continue from their checkpoints.
    """
    marked = {**labels("trial"), **marks}
    queue = {QUEUE_LABEL: cluster.queue} if cluster.queue else {}
    disrupted = [{"type": "DisruptionTarget", "status": "True"}]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"labels": {**marked, **queue}},
        "spec": {
            "backoffLimit": cluster.retries,
            "podFailurePolicy": {"rules": [{"action": "Ignore", "onPodConditions": disrupted}]},
            "template": {
                "metadata": {"labels": {**marked, **NO_MESH}},
                "spec": _pod(cluster, config_map, _container(cluster, ["--experiment-name", study, *arguments])),
            },
        },
    }


def _pod(cluster: Cluster, config_map: str, container: dict[str, Any]) -> dict[str, Any]:
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "serviceAccountName": cluster.service_account,
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "fsGroup": GROUP,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [
            {"name": "study", "configMap": {"name": config_map}},
            {"name": "scratch", "emptyDir": {}},
            {"name": "shared-memory", "emptyDir": {"medium": "Memory"}},
        ],
    }
    if cluster.is_on_volume:
        pod["volumes"].append({"name": "store", "persistentVolumeClaim": {"claimName": cluster.volume}})
    if cluster.priority_class:
        pod["priorityClassName"] = cluster.priority_class
    if tolerated := tolerations(cluster):
        pod["tolerations"] = tolerated
    if selected := node_selector(cluster):
        pod["nodeSelector"] = selected
    return pod


def _container(cluster: Cluster, arguments: Sequence[str]) -> dict[str, Any]:
    compute = {"cpu": cluster.cpu, "memory": cluster.memory}
    mounts: list[dict[str, Any]] = [
        {"name": "study", "mountPath": MOUNT, "readOnly": True},
        {"name": "scratch", "mountPath": "/tmp"},
        {"name": "shared-memory", "mountPath": "/dev/shm"},
    ]
    if cluster.is_on_volume:
        mounts.append({"name": "store", "mountPath": cluster.store})
    return {
        "name": CONTAINER,
        "image": cluster.image_of_training,
        "command": ["python", "-m", "receipt_counter.study.trial"],
        "args": ["--config", f"{MOUNT}/{CONFIG_FILE}", *arguments],
        "env": [{"name": "RECEIPT_COUNTER_STORE", "value": cluster.store}],
        # limits as requested: quotas count both, and a trial's speed does not depend on its neighbours
        "resources": {"requests": compute, "limits": {**compute, **({GPU: cluster.gpus} if cluster.gpus else {})}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            # again here, where Katib copies it to its sidecar from
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": mounts,
    }
