"""Who may do what, who may reach whom, and the namespace's own labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.manifests.policy import of_kind, selects
from tests.manifests.rendering import TARGETS, applied, needs_kubectl, rendered

pytestmark = needs_kubectl

READ = {"get", "list", "watch"}
MAKE = READ | {"create", "delete"}
RIGHTS = {
    "receipt-counter-sweep": {
        "kubeflow.org/experiments": MAKE | {"patch"},
        "kubeflow.org/trials": READ,
        "trainer.kubeflow.org/trainjobs": MAKE,
        "trainer.kubeflow.org/trainingruntimes": {"create", "delete", "get", "patch"},
        "/pods": READ,
        "/pods/log": {"get"},
        "/events": {"list"},
        "/configmaps": {"create", "delete", "get", "patch"},
    },
    "receipt-counter-tensorboard-maker": {
        "apps/deployments": {"create", "delete", "get", "list", "patch"},
        "/services": {"create", "delete", "get", "patch"},
        "networking.istio.io/virtualservices": {"create", "delete", "get", "patch"},
        "tensorboard.kubeflow.org/tensorboards": {"create", "delete", "get", "list", "patch"},
        "kubeflow.org/experiments": {"get"},
    },
}


@pytest.mark.parametrize("target", TARGETS)
def test_each_duty_has_its_rights_and_no_more(target: str) -> None:
    objects = rendered(target)
    roles = {role["metadata"]["name"]: role["rules"] for role in of_kind(objects, "Role")}
    found: dict[str, dict[str, set[str]]] = {}
    for binding in of_kind(objects, "RoleBinding"):
        for entry in roles[binding["roleRef"]["name"]]:
            for group in entry["apiGroups"]:
                for resource in entry["resources"]:
                    held = found.setdefault(binding["subjects"][0]["name"], {})
                    held.setdefault(f"{group}/{resource}", set()).update(entry["verbs"])
    assert found == RIGHTS


def test_the_namespace_is_restricted_and_katib_watches_it() -> None:
    for target in ("base", "overlays/single-node", "overlays/gpu"):
        (namespace,) = of_kind(rendered(target), "Namespace")
        labels = namespace["metadata"]["labels"]
        assert labels["katib.kubeflow.org/metrics-collector-injection"] == "enabled"
        assert {labels[f"pod-security.kubernetes.io/{mode}"] for mode in ("enforce", "audit", "warn")} == {"restricted"}


def test_a_profile_gets_nothing_that_others_share() -> None:
    objects = rendered("overlays/kubeflow-profile")
    shared = ("Namespace", "PriorityClass", "LimitRange", "ResourceQuota")
    assert of_kind(objects, *shared) == []
    for policy in of_kind(objects, "NetworkPolicy"):
        assert policy["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/name"] == "receipt-counter"


OURS, KUBEFLOW, ISTIO = "ours", "kubeflow", "istio-system"
Pod = tuple[str, Mapping[str, str]]  # its namespace, its labels
NAME, COMPONENT = "app.kubernetes.io/name", "app.kubernetes.io/component"
TRIAL: Pod = (OURS, {NAME: "receipt-counter", COMPONENT: "trial"})
MACHINE: Pod = (OURS, {**TRIAL[1], "jobset.sigs.k8s.io/replicatedjob-name": "node"})
TENSORBOARD: Pod = (OURS, {NAME: "receipt-counter", COMPONENT: "tensorboard"})
MINIO: Pod = (OURS, {NAME: "minio", COMPONENT: "object-store"})
STEP: Pod = (OURS, {"pipelines.kubeflow.org/v2_component": "true"})
SUGGESTION: Pod = (OURS, {"katib.kubeflow.org/deployment": "study-tpe"})
STRANGER: Pod = (OURS, {"app": "notebook"})
DB_MANAGER: Pod = (KUBEFLOW, {"katib.kubeflow.org/component": "db-manager"})
CONTROLLER: Pod = (KUBEFLOW, {"katib.kubeflow.org/component": "controller"})
PIPELINES: Pod = (KUBEFLOW, {"app": "ml-pipeline"})
GATEWAY: Pod = (ISTIO, {"istio": "ingressgateway"})
DNS: Pod = ("kube-system", {"k8s-app": "kube-dns"})
WORLD: Pod = ("elsewhere", {})

# (overlay, from, to, port, whether it gets through)
CONNECTIONS: list[tuple[str, Pod, Pod, int, bool]] = [
    *[("base", pod, DNS, 53, True) for pod in (TRIAL, TENSORBOARD, STEP, SUGGESTION, STRANGER)],
    ("base", TRIAL, DB_MANAGER, 6789, True),
    ("base", TRIAL, SUGGESTION, 6788, True),
    ("base", TRIAL, SUGGESTION, 6789, False),
    ("base", TRIAL, PIPELINES, 8888, False),
    ("base", TRIAL, WORLD, 443, False),
    ("base", TRIAL, TRIAL, 29500, False),
    ("base", MACHINE, MACHINE, 29400, True),  # where they meet
    ("base", MACHINE, MACHINE, 41234, True),  # what gloo and NCCL choose
    ("base", MACHINE, MACHINE, 22, False),
    ("base", MACHINE, TRIAL, 29400, False),
    ("base", TRIAL, MACHINE, 29400, False),
    ("base", MACHINE, DB_MANAGER, 6789, True),
    ("base", CONTROLLER, SUGGESTION, 6789, True),
    ("base", STRANGER, SUGGESTION, 6789, False),
    ("base", SUGGESTION, DB_MANAGER, 6789, True),
    ("base", STEP, PIPELINES, 8887, True),
    ("base", STEP, PIPELINES, 3306, False),
    ("base", STEP, WORLD, 6443, True),
    ("base", STEP, WORLD, 80, False),
    ("base", TENSORBOARD, WORLD, 443, False),
    ("base", GATEWAY, TENSORBOARD, 6006, False),
    ("overlays/single-node", TRIAL, MINIO, 9000, True),
    ("overlays/single-node", TENSORBOARD, MINIO, 9000, True),
    ("overlays/single-node", STEP, MINIO, 9000, True),
    ("overlays/single-node", STRANGER, MINIO, 9000, False),
    ("overlays/single-node", WORLD, MINIO, 9000, False),
    ("overlays/single-node", MINIO, WORLD, 443, False),
    ("overlays/kubeflow-profile", GATEWAY, TENSORBOARD, 6006, True),
    ("overlays/kubeflow-profile", STRANGER, TENSORBOARD, 6006, False),
    ("overlays/kubeflow-profile", STRANGER, WORLD, 80, True),  # others' pods are left alone
    ("overlays/kubeflow-profile", TRIAL, WORLD, 443, False),
    ("overlays/kubeflow-profile", TRIAL, DB_MANAGER, 6789, True),
]


def passes(policies: list[Any], pod: Pod, other: Pod, port: int, direction: str) -> bool:
    """Whether policies let a pod through to (Egress), or be reached by (Ingress), another on a port."""
    if pod[0] != OURS:
        return True
    mine = [p for p in policies if selects(p["podSelector"], pod[1]) and direction in p["policyTypes"]]
    openings = [opening for policy in mine for opening in policy.get(direction.lower(), ())]
    peers = "to" if direction == "Egress" else "from"
    return not mine or any(
        (peers not in opening or any(is_peer(peer, other) for peer in opening[peers]))
        and any(item["port"] <= port <= item.get("endPort", item["port"]) for item in opening["ports"])
        for opening in openings
    )


def is_peer(peer: Mapping[str, Any], other: Pod) -> bool:
    """Whether a policy's peer is that pod; without a namespaceSelector only our own namespace's are."""
    namespace = peer.get("namespaceSelector", {"matchLabels": {"kubernetes.io/metadata.name": OURS}})
    where = {"kubernetes.io/metadata.name": other[0]}
    return selects(namespace, where) and selects(peer.get("podSelector", {}), other[1])


@pytest.mark.parametrize(("target", "source", "destination", "port", "expected"), CONNECTIONS)
def test_who_may_reach_whom(target: str, source: Pod, destination: Pod, port: int, expected: bool) -> None:
    policies = [item["spec"] for item in of_kind(applied(target), "NetworkPolicy")]
    through = passes(policies, source, destination, port, "Egress") and passes(
        policies, destination, source, port, "Ingress"
    )
    assert through is expected
