"""Whether there is room: what quotas leave, and machines that fit a trial."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from receipt_counter.cluster.pods import GPU_PRODUCT, node_selector, tolerations
from receipt_counter.cluster_doctor.reading import Reader
from receipt_counter.config.cluster import Cluster
from receipt_counter.doctor import ABSENT, MISSING, OK, Finding
from receipt_counter.katib.template import GPU

_CONDITIONS = "node.kubernetes.io/"  # taints of nodes that are not ready, under pressure, cordoned
_REASONS_SHOWN = 5
_KEEPS_AWAY = ("NoSchedule", "NoExecute")


def quota(reader: Reader, cluster: Cluster, parallelism: int) -> Finding:
    """How many trials fit beside a step into what the namespace's quotas leave.

    Args:
        reader: the cluster.
        cluster: what a trial and a step ask for.
        parallelism: trials that the studies run at a time.
    """
    quotas = [item for item in (reader.get("resourcequotas") or {"items": []})["items"] if not _is_scoped(item)]
    if not quotas:
        return Finding("quota", OK, f"none in namespace {reader.namespace}")
    trial, step = _asked(cluster)
    room: list[tuple[int, str]] = []
    for item in quotas:
        state = item.get("status", {})
        for key, hard in item["spec"].get("hard", {}).items():
            amount = _resource(key)
            if amount not in trial or not trial[amount]:
                continue
            left = _number(hard) - _number(state.get("used", {}).get(key, "0"))
            fits = max(int((left - step.get(amount, Decimal(0))) // trial[amount]), 0)
            room.append((fits, f"{key}: {left:f} of {hard} left, a trial asks for {trial[amount]:f}"))
    if not room:
        return Finding("quota", OK, "none of what trials ask for is limited")
    fits, tightest = min(room)
    ends = f"raise ResourceQuota of namespace {reader.namespace}, or ask for less (cluster.cpu, memory, gpus)"
    if fits < 1:
        return Finding("quota", MISSING, f"no room for a trial ({tightest}): {ends}")
    if fits < parallelism:
        text = f"room for {fits} trials at a time, the studies run {parallelism} ({tightest}): some wait; or {ends}"
        return Finding("quota", ABSENT, text)
    return Finding("quota", OK, f"room for {fits} trials at a time, the studies run {parallelism}")


def machines(reader: Reader, cluster: Cluster) -> Finding:
    """Whether nodes fit a trial: GPUs of the type, labels, tolerated taints, processors, memory."""
    name = "gpu nodes" if cluster.gpus else "nodes"
    nodes = (reader.get("nodes", namespace="") or {"items": []})["items"]
    fitting = [node for node in nodes if not list(_obstacles(node, cluster))]
    if len(fitting) >= cluster.nodes:
        products = sorted({node["metadata"].get("labels", {}).get(GPU_PRODUCT, "") for node in fitting} - {""})
        of_type = f" ({', '.join(products)})" if cluster.gpus and products else ""
        return Finding(name, OK, f"{len(fitting)} of {len(nodes)} nodes fit a trial{of_type}")
    reasons = sorted({reason for node in nodes for reason in _obstacles(node, cluster)})
    asked = f"{cluster.nodes} nodes" if cluster.nodes > 1 else "a node"
    why = "; ".join(reasons[:_REASONS_SHOWN]) or "there are none"
    text = f"{len(fitting)} of {len(nodes)} nodes fit a trial, which asks for {asked}: {why}"
    return Finding(name, MISSING, f"{text}. An autoscaler may add some; else change the cluster section")


def _obstacles(node: Mapping[str, Any], cluster: Cluster) -> Iterator[str]:
    """Why a trial would not run on a node."""
    marked = node["metadata"].get("labels", {})
    for label, value in node_selector(cluster).items():
        if marked.get(label) != value:
            yield f"{label} is {marked.get(label, 'absent')}, not {value}"
    tolerated = tolerations(cluster)
    for taint in node.get("spec", {}).get("taints", []):
        if taint["effect"] in _KEEPS_AWAY and not any(_tolerates(entry, taint) for entry in tolerated):
            yield _taint_reason(taint)
    allocatable = node.get("status", {}).get("allocatable", {})
    wanted = {"cpu": cluster.cpu, "memory": cluster.memory, **({GPU: str(cluster.gpus)} if cluster.gpus else {})}
    for resource, amount in wanted.items():
        there = allocatable.get(resource, "0")
        if _number(there) < _number(amount):
            yield f"{resource} {there} of {amount}"


def _taint_reason(taint: Mapping[str, str]) -> str:
    if taint["key"].startswith(_CONDITIONS):  # Kubernetes' own: nothing to tolerate
        return f"it is {taint['key'].removeprefix(_CONDITIONS)}"
    return f"the taint {taint['key']}:{taint['effect']} is not in cluster.tolerations"


def _tolerates(toleration: Mapping[str, str], taint: Mapping[str, str]) -> bool:
    same = (toleration["key"], toleration["effect"]) == (taint["key"], taint["effect"])
    return same and (toleration["operator"] == "Exists" or toleration.get("value") == taint.get("value", ""))


def _asked(cluster: Cluster) -> tuple[dict[str, Decimal], dict[str, Decimal]]:
    """{resource: amount} of a trial on all its machines, and of a step."""
    nodes = Decimal(cluster.nodes)
    trial = {"cpu": _number(cluster.cpu), "memory": _number(cluster.memory), GPU: Decimal(cluster.gpus)}
    step = {"cpu": _number(cluster.step_cpu), "memory": _number(cluster.step_memory), "pods": Decimal(1)}
    return {name: amount * nodes for name, amount in {**trial, "pods": Decimal(1)}.items()}, step


def _resource(key: str) -> str:
    """The resource that a quota's key limits: "limits.cpu" is cpu."""
    return key.removeprefix("requests.").removeprefix("limits.")


def _is_scoped(quota: Mapping[str, Any]) -> bool:
    """Whether a quota counts some pods only (of a priority, best-effort ones): then it says nothing for sure."""
    return bool(quota.get("spec", {}).get("scopes") or quota.get("spec", {}).get("scopeSelector"))


def _number(quantity: str) -> Decimal:
    from kubernetes.utils.quantity import parse_quantity

    return Decimal(parse_quantity(str(quantity)))
