"""What all pods of ours share, as the *restricted* Pod Security Standard wants it (pod-security-standards)."""

from __future__ import annotations

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


def labels(component: str) -> dict[str, str]:
    """The labels of everything that serves one purpose."""
    return {
        "app.kubernetes.io/name": "receipt-counter",
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/part-of": "receipt-counter",
    }


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
