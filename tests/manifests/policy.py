"""The rules that everything applied to a cluster keeps, by name; each takes all objects and says what breaks it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tests.manifests.rendering import Manifest, name_of

Rule = Callable[[Sequence[Manifest]], Iterator[str]]
RULES: dict[str, Rule] = {}

LONG_RUNNING = ("Deployment", "StatefulSet")
WORKLOADS = (*LONG_RUNNING, "Job")
STANDARD_LABELS = ("app.kubernetes.io/name", "app.kubernetes.io/part-of", "app.kubernetes.io/managed-by")
_SECRET_NAME = re.compile(r"password|secret|token|access_?key", re.IGNORECASE)


def rule(function: Rule) -> Rule:
    """Add a rule under its function's name."""
    RULES[function.__name__] = function
    return function


def of_kind(objects: Sequence[Manifest], *kinds: str) -> list[Manifest]:
    """The objects of some kinds."""
    return [item for item in objects if item["kind"] in kinds]


def pods(objects: Sequence[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """(whose, pod spec) of every workload."""
    for item in of_kind(objects, *WORKLOADS):
        yield name_of(item), item["spec"]["template"]["spec"]


def containers(objects: Sequence[Manifest]) -> Iterator[tuple[str, Manifest, Manifest]]:
    """(whose, pod spec, container) of every container, those that run first too."""
    for owner, pod in pods(objects):
        for container in (*pod.get("initContainers", ()), *pod["containers"]):
            yield f"{owner} {container['name']}", pod, container


def pod_labels(item: Manifest) -> dict[str, str]:
    """The labels that a workload's pods have."""
    labels: dict[str, str] = item["spec"]["template"].get("metadata", {}).get("labels", {})
    return labels


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector matches; only `Exists` is among its expressions here."""
    for expression in selector.get("matchExpressions", ()):
        assert expression["operator"] == "Exists", expression
        if expression["key"] not in labels:
            return False
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def _context(container: Manifest) -> Manifest:
    """The container's own security context: what Katib copies to its sidecar, so the pod's is not enough."""
    context: Manifest = container.get("securityContext", {})
    return context


@rule
def runs_as_non_root(objects: Sequence[Manifest]) -> Iterator[str]:
    for owner, pod, container in containers(objects):
        if _context(container).get("runAsNonRoot") is not True:
            yield f"{owner}: runAsNonRoot is not true"
        for context in (_context(container), pod.get("securityContext", {})):
            if context.get("runAsUser") == 0:
                yield f"{owner}: runs as user 0"


@rule
def seccomp_profile_is_the_runtimes(objects: Sequence[Manifest]) -> Iterator[str]:
    for owner, _, container in containers(objects):
        if _context(container).get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{owner}: seccompProfile is not RuntimeDefault"


@rule
def no_privilege_escalation(objects: Sequence[Manifest]) -> Iterator[str]:
    for owner, _, container in containers(objects):
        if _context(container).get("allowPrivilegeEscalation") is not False or _context(container).get("privileged"):
            yield f"{owner}: may gain privileges"


@rule
def all_capabilities_dropped(objects: Sequence[Manifest]) -> Iterator[str]:
    for owner, _, container in containers(objects):
        if _context(container).get("capabilities") != {"drop": ["ALL"]}:
            yield f"{owner}: keeps capabilities"


@rule
def root_filesystem_is_read_only(objects: Sequence[Manifest]) -> Iterator[str]:
    for owner, _, container in containers(objects):
        if _context(container).get("readOnlyRootFilesystem") is not True:
            yield f"{owner}: may write to its image"


@rule
def image_is_pinned(objects: Sequence[Manifest]) -> Iterator[str]:
    for owner, _, container in containers(objects):
        name = container["image"].rpartition("/")[2]
        if "@sha256:" not in name and name.partition(":")[2] in ("", "latest"):
            yield f"{owner}: image {container['image']} has no fixed tag"


@rule
def requests_and_limits_are_set(objects: Sequence[Manifest]) -> Iterator[str]:
    for owner, _, container in containers(objects):
        resources = container.get("resources", {})
        for part in ("requests", "limits"):
            missing = {"cpu", "memory"} - set(resources.get(part, {}))
            if missing:
                yield f"{owner}: no {part} of {', '.join(sorted(missing))}"


@rule
def nothing_of_the_host(objects: Sequence[Manifest]) -> Iterator[str]:
    for owner, pod in pods(objects):
        yield from (f"{owner}: {key}" for key in ("hostNetwork", "hostPID", "hostIPC") if pod.get(key))
        yield from (f"{owner}: hostPath {volume['name']}" for volume in pod.get("volumes", ()) if "hostPath" in volume)
    for owner, _, container in containers(objects):
        yield from (f"{owner}: hostPort" for port in container.get("ports", ()) if "hostPort" in port)


@rule
def no_token_for_who_needs_none(objects: Sequence[Manifest]) -> Iterator[str]:
    """None of our workloads speaks to the API server; the sweep's and the maker's pods are Pipelines'."""
    for owner, pod in pods(objects):
        if pod.get("automountServiceAccountToken") is not False:
            yield f"{owner}: gets a token"
        if pod.get("serviceAccountName", "default") == "default":
            yield f"{owner}: runs under the default ServiceAccount"


@rule
def no_wildcard_in_roles(objects: Sequence[Manifest]) -> Iterator[str]:
    for role in of_kind(objects, "Role", "ClusterRole"):
        for entry in role["rules"]:
            if "*" in (*entry.get("apiGroups", ()), *entry["resources"], *entry["verbs"]):
                yield f"{name_of(role)}: {entry}"


@rule
def no_rights_over_the_whole_cluster(objects: Sequence[Manifest]) -> Iterator[str]:
    for item in of_kind(objects, "ClusterRole", "ClusterRoleBinding"):
        yield name_of(item)
    for role in of_kind(objects, "Role"):
        for entry in role["rules"]:
            if {"secrets", "roles", "rolebindings", "pods/exec", "serviceaccounts/token"} & set(entry["resources"]):
                yield f"{name_of(role)}: {entry['resources']}"


@rule
def no_secret_is_written_down(objects: Sequence[Manifest]) -> Iterator[str]:
    for item in of_kind(objects, "Secret"):
        yield name_of(item)
    for item in of_kind(objects, "ConfigMap"):
        yield from (f"{name_of(item)}: {key}" for key in item.get("data", {}) if _SECRET_NAME.search(key))
    for owner, _, container in containers(objects):
        for variable in container.get("env", ()):
            if _SECRET_NAME.search(variable["name"]) and "value" in variable:
                yield f"{owner}: {variable['name']} has its value in the manifest"


@rule
def network_policies_select_every_pod(objects: Sequence[Manifest]) -> Iterator[str]:
    policies = [policy["spec"] for policy in of_kind(objects, "NetworkPolicy")]
    for item in of_kind(objects, *WORKLOADS):
        closed = {
            direction
            for policy in policies
            if selects(policy["podSelector"], pod_labels(item))
            for direction in policy["policyTypes"]
        }
        yield from (f"{name_of(item)}: {side} is open" for side in ("Ingress", "Egress") if side not in closed)


@rule
def long_running_parts_have_probes(objects: Sequence[Manifest]) -> Iterator[str]:
    for owner, _, container in containers(of_kind(objects, *LONG_RUNNING)):
        probes = ("startupProbe", "readinessProbe", "livenessProbe")
        yield from (f"{owner}: no {probe}" for probe in probes if probe not in container)
        ports = {port["name"] for port in container.get("ports", ())}
        for probe in probes:
            port = container.get(probe, {}).get("httpGet", {}).get("port")
            if port is not None and port not in ports:
                yield f"{owner}: {probe} asks port {port}"


@rule
def disruption_budgets_match(objects: Sequence[Manifest]) -> Iterator[str]:
    budgets = of_kind(objects, "PodDisruptionBudget")
    workloads = of_kind(objects, *LONG_RUNNING)
    for budget in budgets:
        if sum(selects(budget["spec"]["selector"], pod_labels(item)) for item in workloads) != 1:
            yield f"{name_of(budget)}: does not select the pods of one workload"
    for item in workloads:
        if not any(selects(budget["spec"]["selector"], pod_labels(item)) for budget in budgets):
            yield f"{name_of(item)}: has no PodDisruptionBudget"


@rule
def services_select_a_port_of_a_pod(objects: Sequence[Manifest]) -> Iterator[str]:
    workloads = of_kind(objects, *LONG_RUNNING)
    for service in of_kind(objects, "Service"):
        found = [item for item in workloads if selects({"matchLabels": service["spec"]["selector"]}, pod_labels(item))]
        ports = {port["name"] for _, _, container in containers(found) for port in container.get("ports", ())}
        if not found:
            yield f"{name_of(service)}: selects nothing"
        elif not {port["targetPort"] for port in service["spec"]["ports"]} <= ports:
            yield f"{name_of(service)}: its pods have no such port"
    for item in workloads:
        if not selects(item["spec"]["selector"], pod_labels(item)):
            yield f"{name_of(item)}: does not select its own pods"


@rule
def what_is_named_exists(objects: Sequence[Manifest]) -> Iterator[str]:
    """In the same namespace. Secrets are made by hand, Services of other namespaces are others'."""
    there = {(item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]) for item in objects}
    for item in objects:
        for kind, name in _named(item):
            if (kind, item["metadata"].get("namespace"), name) not in there:
                yield f"{name_of(item)}: there is no {kind} {name}"


def _named(item: Manifest) -> Iterator[tuple[str, str]]:
    if item["kind"] == "RoleBinding":
        yield item["roleRef"]["kind"], item["roleRef"]["name"]
        yield from ((subject["kind"], subject["name"]) for subject in item["subjects"])
    if item["kind"] == "StatefulSet":
        yield "Service", item["spec"]["serviceName"]
    if item["kind"] == "VirtualService":
        for route in item["spec"]["http"]:
            yield "Service", route["route"][0]["destination"]["host"].partition(".")[0]
    for _, pod in pods([item]):
        yield "ServiceAccount", pod.get("serviceAccountName", "default")
        yield from _named_by_pod(pod)


def _named_by_pod(pod: Manifest) -> Iterator[tuple[str, str]]:
    for volume in pod.get("volumes", ()):
        if "persistentVolumeClaim" in volume:
            yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"]["name"]
    for container in pod["containers"]:
        for variable in container.get("env", ()):
            reference = variable.get("valueFrom", {}).get("configMapKeyRef")
            if reference:
                yield "ConfigMap", reference["name"]


@rule
def what_is_mounted_is_a_volume(objects: Sequence[Manifest]) -> Iterator[str]:
    claims = {
        name_of(item): {claim["metadata"]["name"] for claim in item["spec"].get("volumeClaimTemplates", ())}
        for item in of_kind(objects, "StatefulSet")
    }
    for owner, pod, container in containers(objects):
        volumes = {volume["name"] for volume in pod.get("volumes", ())} | claims.get(owner.split()[0], set())
        yield from (
            f"{owner}: {mount['name']} is no volume"
            for mount in container.get("volumeMounts", ())
            if mount["name"] not in volumes
        )


@rule
def standard_labels_are_set(objects: Sequence[Manifest]) -> Iterator[str]:
    for item in objects:
        if item["kind"] == "Job" or item["metadata"]["name"].endswith("-study"):
            continue  # Katib makes the one and names it; the other is known by its Experiment
        missing = [label for label in STANDARD_LABELS if label not in item["metadata"].get("labels", {})]
        yield from (f"{name_of(item)}: no label {label}" for label in missing)
    for item in of_kind(objects, *WORKLOADS):
        if not {"app.kubernetes.io/name", "app.kubernetes.io/component"} <= set(pod_labels(item)):
            yield f"{name_of(item)}: its pods say neither what they are nor what for"
