"""The Kubernetes Job of a trial, as the *restricted* Pod Security Standard wants it (pod-security-standards)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from receipt_counter.katib.template import GPU
from receipt_counter.study.settings import Job, StudySettings

MOUNT = "/etc/receipt-counter"
CONFIG_FILE = "config.yaml"
CONTAINER = "trial"
LABELS = {
    "app.kubernetes.io/name": "receipt-counter",
    "app.kubernetes.io/component": "trial",
    "app.kubernetes.io/part-of": "receipt-counter",
}
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
_NO_MESH = {"sidecar.istio.io/inject": "false"}  # Istio's proxy never exits, so the Job would never end
_GROUP = 1000  # that the store's volume belongs to, whoever the image's user is


def trial_job(settings: StudySettings, config_map: str, arguments: Sequence[str]) -> dict[str, Any]:
    """The Job that Katib makes of each trial.

    Args:
        settings: of the study.
        config_map: name of the ConfigMap that holds the study's files.
        arguments: of `receipt_counter.study.trial`, beside the config and the study's name.

    Returns:
        The manifest. A pod that its node evicts or a more important one preempts is made anew and does not count as a
        failed attempt: its runs continue from their checkpoints.
    """
    job = settings.job
    labels = {**LABELS, **({QUEUE_LABEL: job.queue} if job.queue else {})}
    disrupted = [{"type": "DisruptionTarget", "status": "True"}]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"labels": labels},
        "spec": {
            "backoffLimit": job.retries,
            "podFailurePolicy": {"rules": [{"action": "Ignore", "onPodConditions": disrupted}]},
            "template": {
                "metadata": {"labels": {**LABELS, **_NO_MESH}},
                "spec": _pod(job, config_map, _container(settings, arguments)),
            },
        },
    }


def _pod(job: Job, config_map: str, container: dict[str, Any]) -> dict[str, Any]:
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "serviceAccountName": job.service_account,
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "fsGroup": _GROUP,
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
    if _is_directory(job.store):
        pod["volumes"].append({"name": "store", "persistentVolumeClaim": {"claimName": job.volume}})
    if job.priority_class:
        pod["priorityClassName"] = job.priority_class
    if job.gpus:
        pod["tolerations"] = [{"key": GPU, "operator": "Exists", "effect": "NoSchedule"}]
    return pod


def _container(settings: StudySettings, arguments: Sequence[str]) -> dict[str, Any]:
    job = settings.job
    compute = {"cpu": job.cpu, "memory": job.memory}
    mounts: list[dict[str, Any]] = [
        {"name": "study", "mountPath": MOUNT, "readOnly": True},
        {"name": "scratch", "mountPath": "/tmp"},
        {"name": "shared-memory", "mountPath": "/dev/shm"},
    ]
    if _is_directory(job.store):
        mounts.append({"name": "store", "mountPath": job.store})
    return {
        "name": CONTAINER,
        "image": job.image,
        "command": ["python", "-m", "receipt_counter.study.trial"],
        "args": ["--config", f"{MOUNT}/{CONFIG_FILE}", "--experiment-name", settings.base_name, *arguments],
        "env": [{"name": "RECEIPT_COUNTER_STORE", "value": job.store}],
        # limits as requested: quotas count both, and a trial's speed does not depend on its neighbours
        "resources": {"requests": compute, "limits": {**compute, **({GPU: job.gpus} if job.gpus else {})}},
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


def _is_directory(store: str) -> bool:
    return store.startswith("/")
