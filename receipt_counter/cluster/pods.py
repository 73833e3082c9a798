"""What all pods of ours share, as the *restricted* Pod Security Standard wants it (pod-security-standards)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from receipt_counter import IMAGE_VARIABLE
from receipt_counter.config.cluster import Cluster
from receipt_counter.katib.template import GPU

GPU_PRODUCT = "nvidia.com/gpu.product"  # label of GPU nodes, by NVIDIA's feature discovery
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
NO_MESH = {"sidecar.istio.io/inject": "false"}  # Istio's proxy never exits, so a Job would never end
STORE = "RECEIPT_COUNTER_STORE"  # variable: where runs live
CREDENTIALS = "RECEIPT_COUNTER_CREDENTIALS"  # variable: directory with the files of an object store's Secret
CREDENTIALS_MOUNT = "/etc/receipt-counter-credentials"
STORE_SETTINGS = "receipt-counter-store"  # ConfigMap of manifests/base/store.yaml
GROUP = 1000  # that the store's volume belongs to, whoever the image's user is

POD_SECURITY = {
    "runAsNonRoot": True,
    "fsGroup": GROUP,
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTAINER_SECURITY = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    # again here, where Katib copies it to its sidecar from
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def labels(component: str) -> dict[str, str]:
    """The labels of everything that serves one purpose."""
    return {
        "app.kubernetes.io/name": "receipt-counter",
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/part-of": "receipt-counter",
    }


def job_labels(cluster: Cluster) -> dict[str, str]:
    """The labels of what makes training pods; by one of them Kueue admits it."""
    return {**labels("trial"), **({QUEUE_LABEL: cluster.queue} if cluster.queue else {})}


def variables(values: Mapping[str, str]) -> list[dict[str, Any]]:
    """Environment variables whose values are taken as they are: `$(NAME)` would be another variable's."""
    return [{"name": name, "value": value.replace("$(", "$$(")} for name, value in values.items()]


def store_environment(cluster: Cluster) -> list[dict[str, Any]]:
    """The variables that say where runs live, and of an object store how to reach it."""
    place: list[dict[str, Any]] = [{"name": STORE, "value": cluster.store}]
    if cluster.is_on_volume:
        return place
    settings = [
        {
            "name": name,
            "valueFrom": {"configMapKeyRef": {"name": STORE_SETTINGS, "key": name, "optional": True}},
        }
        for name in ("AWS_ENDPOINT_URL_S3", "AWS_REGION")
    ]
    return [*place, {"name": CREDENTIALS, "value": CREDENTIALS_MOUNT}, *settings]


def store_volume(cluster: Cluster) -> dict[str, Any]:
    """The volume `store`: the runs themselves, or the keys of the object store that has them."""
    if cluster.is_on_volume:
        return {"name": "store", "persistentVolumeClaim": {"claimName": cluster.volume}}
    return {"name": "credentials", "secret": {"secretName": cluster.credentials, "defaultMode": 0o440}}


def store_mount(cluster: Cluster, *, read_only: bool = False) -> dict[str, Any]:
    """Where a container sees what `store_volume` gives."""
    if cluster.is_on_volume:
        return {"name": "store", "mountPath": cluster.store, **({"readOnly": True} if read_only else {})}
    return {"name": "credentials", "mountPath": CREDENTIALS_MOUNT, "readOnly": True}


def training_pod(
    cluster: Cluster,
    container: dict[str, Any],
    volumes: Sequence[dict[str, Any]] = (),
    marks: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Any]:
    """The template of a pod that trains.

    Args:
        cluster: where and on what it runs.
        container: as `training_container` gives it.
        volumes: further ones that the container mounts.
        marks: further labels.
    """
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "serviceAccountName": cluster.service_account,
        "automountServiceAccountToken": False,
        "securityContext": POD_SECURITY,
        "containers": [container],
        "volumes": [
            *volumes,
            {"name": "scratch", "emptyDir": {}},
            {"name": "shared-memory", "emptyDir": {"medium": "Memory"}},
            store_volume(cluster),
        ],
    }
    if cluster.priority_class:
        pod["priorityClassName"] = cluster.priority_class
    if tolerated := tolerations(cluster):
        pod["tolerations"] = tolerated
    if selected := node_selector(cluster):
        pod["nodeSelector"] = selected
    return {"metadata": {"labels": {**labels("trial"), **marks, **NO_MESH}}, "spec": pod}


def tolerations(cluster: Cluster) -> list[dict[str, str]]:
    """The taints that training tolerates; GPU nodes are often tainted by their resource's name."""
    tolerated = [_toleration(taint) for taint in cluster.tolerations]
    if cluster.gpus:
        tolerated.insert(0, {"key": GPU, "operator": "Exists", "effect": "NoSchedule"})
    return tolerated


def node_selector(cluster: Cluster) -> dict[str, str]:
    """The labels of the nodes that train."""
    selected = dict(label.split("=", 1) for label in cluster.node_selector)
    if cluster.gpu_type:
        selected[GPU_PRODUCT] = cluster.gpu_type
    return selected


def _toleration(taint: str) -> dict[str, str]:
    """The toleration of a taint that is written as kubectl writes it: KEY[=VALUE]:EFFECT."""
    head, _, effect = taint.rpartition(":")
    name, equals, value = head.partition("=")
    found = {"key": name, "operator": "Equal" if equals else "Exists", "effect": effect}
    return {**found, "value": value} if equals else found


def training_container(
    cluster: Cluster,
    name: str,
    *,
    command: Sequence[str] = (),
    arguments: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    mounts: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """The container that trains.

    Args:
        cluster: what it runs on.
        name: of the container.
        command, arguments: what it runs; none where a TrainJob says it.
        environment: further variables; the values are taken as they are.
        mounts: of further volumes.
    """
    program = {"command": list(command), "args": list(arguments)}
    compute = {"cpu": cluster.cpu, "memory": cluster.memory}
    image = {IMAGE_VARIABLE: cluster.image_of_training}
    return {
        "name": name,
        "image": cluster.image_of_training,
        **{key: words for key, words in program.items() if words},
        "env": [*store_environment(cluster), *variables({**image, **(environment or {})})],
        # limits as requested: quotas count both, and a trial's speed does not depend on its neighbours
        "resources": {"requests": compute, "limits": {**compute, **({GPU: cluster.gpus} if cluster.gpus else {})}},
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": [
            *mounts,
            {"name": "scratch", "mountPath": "/tmp"},
            {"name": "shared-memory", "mountPath": "/dev/shm"},
            store_mount(cluster),
        ],
    }
