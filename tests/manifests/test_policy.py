"""Every rendered object keeps every rule, and every rule finds what breaks it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.manifests.policy import RULES, Manifest, of_kind, pod_labels
from tests.manifests.rendering import TARGETS, applied, needs_kubectl

pytestmark = needs_kubectl
Change = Callable[[list[Manifest]], object]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("rule", RULES)
def test_rule(rule: str, target: str) -> None:
    assert list(RULES[rule](applied(target))) == []


def the(objects: Sequence[Manifest], kind: str, part: str = "") -> Manifest:
    return next(item for item in of_kind(objects, kind) if part in item["metadata"]["name"])


def pod(objects: Sequence[Manifest], kind: str) -> Any:
    return the(objects, kind)["spec"]["template"]["spec"]


def container(objects: Sequence[Manifest], kind: str) -> Any:
    return pod(objects, kind)["containers"][0]


def security(objects: Sequence[Manifest], kind: str, **change: object) -> None:
    container(objects, kind)["securityContext"].update(change)


def without(objects: list[Manifest], kind: str, part: str = "") -> None:
    objects[:] = [item for item in objects if item["kind"] != kind or part not in item["metadata"]["name"]]


def role_rule(objects: Sequence[Manifest]) -> Any:
    return the(objects, "Role", "sweep")["rules"][0]


# (rule, what breaks it): made in what overlays/single-node and the trials are.
COUNTER_EXAMPLES: list[tuple[str, Change]] = [
    ("runs_as_non_root", lambda o: container(o, "Job")["securityContext"].pop("runAsNonRoot")),
    ("runs_as_non_root", lambda o: pod(o, "StatefulSet")["securityContext"].update(runAsUser=0)),
    ("seccomp_profile_is_the_runtimes", lambda o: security(o, "Deployment", seccompProfile={"type": "Unconfined"})),
    ("no_privilege_escalation", lambda o: security(o, "Job", allowPrivilegeEscalation=True)),
    ("no_privilege_escalation", lambda o: security(o, "Deployment", privileged=True)),
    ("all_capabilities_dropped", lambda o: security(o, "StatefulSet", capabilities={"drop": ["NET_RAW"]})),
    ("all_capabilities_dropped", lambda o: security(o, "Job", capabilities={"drop": ["ALL"], "add": ["SYS_ADMIN"]})),
    ("root_filesystem_is_read_only", lambda o: security(o, "Deployment", readOnlyRootFilesystem=False)),
    ("image_is_pinned", lambda o: container(o, "Deployment").update(image="receipt-counter:latest")),
    ("image_is_pinned", lambda o: container(o, "Job").update(image="registry:5000/receipt-counter")),
    ("requests_and_limits_are_set", lambda o: container(o, "Job")["resources"]["limits"].pop("cpu")),
    ("requests_and_limits_are_set", lambda o: container(o, "StatefulSet").pop("resources")),
    ("nothing_of_the_host", lambda o: pod(o, "Deployment").update(hostNetwork=True)),
    ("nothing_of_the_host", lambda o: pod(o, "Job")["volumes"].append({"name": "h", "hostPath": {"path": "/"}})),
    ("nothing_of_the_host", lambda o: container(o, "StatefulSet")["ports"][0].update(hostPort=9000)),
    ("no_token_for_who_needs_none", lambda o: pod(o, "Job").pop("automountServiceAccountToken")),
    ("no_token_for_who_needs_none", lambda o: pod(o, "Deployment").pop("serviceAccountName")),
    ("no_wildcard_in_roles", lambda o: role_rule(o).update(verbs=["*"])),
    ("no_wildcard_in_roles", lambda o: role_rule(o).update(resources=["*"])),
    ("no_rights_over_the_whole_cluster", lambda o: role_rule(o).update(apiGroups=[""], resources=["secrets"])),
    ("no_rights_over_the_whole_cluster", lambda o: the(o, "Role").update(kind="ClusterRole")),
    ("no_secret_is_written_down", lambda o: the(o, "ConfigMap", "store").update(kind="Secret")),
    ("no_secret_is_written_down", lambda o: the(o, "ConfigMap", "store")["data"].update(SECRET_KEY="x")),
    (
        "no_secret_is_written_down",
        lambda o: container(o, "StatefulSet")["env"].append({"name": "ROOT_PASSWORD", "value": "x"}),
    ),
    ("network_policies_select_every_pod", lambda o: without(o, "NetworkPolicy", "default-deny")),
    ("long_running_parts_have_probes", lambda o: container(o, "Deployment").pop("readinessProbe")),
    ("long_running_parts_have_probes", lambda o: container(o, "StatefulSet")["ports"][0].update(name="x")),
    ("disruption_budgets_match", lambda o: without(o, "PodDisruptionBudget", "minio")),
    ("disruption_budgets_match", lambda o: pod_labels(the(o, "Deployment")).update({"app.kubernetes.io/name": "x"})),
    ("services_select_a_port_of_a_pod", lambda o: the(o, "Service")["spec"].update(selector={"app": "x"})),
    ("services_select_a_port_of_a_pod", lambda o: the(o, "Service")["spec"]["ports"][0].update(targetPort="x")),
    ("services_select_a_port_of_a_pod", lambda o: pod_labels(the(o, "StatefulSet")).clear()),
    ("what_is_named_exists", lambda o: without(o, "ServiceAccount", "trial")),
    ("what_is_named_exists", lambda o: without(o, "PersistentVolumeClaim")),
    ("what_is_named_exists", lambda o: without(o, "ConfigMap", "ablation")),
    ("what_is_named_exists", lambda o: without(o, "Role", "maker")),
    ("what_is_mounted_is_a_volume", lambda o: pod(o, "Job")["volumes"].pop()),
    ("standard_labels_are_set", lambda o: the(o, "Service")["metadata"].pop("labels")),
    ("standard_labels_are_set", lambda o: pod_labels(the(o, "Job")).clear()),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "change"), COUNTER_EXAMPLES, ids=[f"{i}-{r}" for i, (r, _) in enumerate(COUNTER_EXAMPLES)]
)
def test_a_rule_finds_what_breaks_it(rule: str, change: Change) -> None:
    objects = copy.deepcopy(applied("overlays/single-node"))
    change(objects)
    assert list(RULES[rule](objects))


def test_every_rule_has_a_counter_example() -> None:
    assert {rule for rule, _ in COUNTER_EXAMPLES} == set(RULES)
