"""Every rendered object is what Kubernetes 1.31 to 1.35 takes; of others' kinds, what their controllers take."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Mapping
from typing import Any

import kubernetes_validate
import pytest

from receipt_counter.katib.experiment import check
from tests.manifests.rendering import MANIFESTS, STUDIES, TARGETS, Manifest, applied, name_of, needs_kubectl, study
from tests.manifests.test_files import documents

VERSIONS = ("1.31", "1.32", "1.33", "1.34", "1.35")

# {(apiVersion, kind): {dotted path below spec: type}}, all that these objects may hold. Sources:
# kubernetes-sigs/kueue apis/kueue/v1beta1, istio/api networking/v1, and the API of Kubeflow's
# tensorboard-controller.
CUSTOM: dict[tuple[str, str], Mapping[str, type]] = {
    ("kueue.x-k8s.io/v1beta1", "ResourceFlavor"): {},
    ("kueue.x-k8s.io/v1beta1", "ClusterQueue"): {
        "namespaceSelector.matchLabels": dict,
        "queueingStrategy": str,
        "resourceGroups.coveredResources": list,
        "resourceGroups.flavors.name": str,
        "resourceGroups.flavors.resources.name": str,
        "resourceGroups.flavors.resources.nominalQuota": str,
    },
    ("kueue.x-k8s.io/v1beta1", "LocalQueue"): {"clusterQueue": str},
    ("networking.istio.io/v1", "VirtualService"): {
        "hosts": list,
        "gateways": list,
        "http.match.uri.prefix": str,
        "http.route.destination.host": str,
        "http.route.destination.port.number": int,
    },
    ("tensorboard.kubeflow.org/v1alpha1", "Tensorboard"): {"logspath": str},
}
LEAVES = ("matchLabels", "coveredResources", "hosts", "gateways")


@functools.cache
def problem(text: str, version: str) -> str | None:
    """What a schema says against an object, kept: overlays share most of theirs."""
    try:
        kubernetes_validate.validate(json.loads(text), version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return str(error)
    return None


def custom_problems(item: Manifest) -> list[str]:
    """What is not in the table, or of another type."""
    table = CUSTOM[(item["apiVersion"], item["kind"])]
    found: list[str] = []

    def walk(value: Any, path: str) -> None:
        if isinstance(value, dict) and path.rpartition(".")[2] not in LEAVES:
            for key, below in value.items():
                walk(below, f"{path}.{key}".strip("."))
        elif isinstance(value, list) and path.rpartition(".")[2] not in LEAVES:
            for below in value:
                walk(below, path)
        elif not isinstance(value, table.get(path, type(None))):
            found.append(f"{name_of(item)}: {path}: {value!r}")

    walk(item.get("spec", {}), "")
    return found


@needs_kubectl
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("target", TARGETS)
def test_every_object_is_valid(target: str, version: str) -> None:
    for item in applied(target):
        if (item["apiVersion"], item["kind"]) in CUSTOM:
            assert custom_problems(item) == []
        else:
            assert problem(json.dumps(item, sort_keys=True), version) is None, name_of(item)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_misspelled_field_is_found(version: str) -> None:
    item = copy.deepcopy(
        next(item for item in documents(MANIFESTS / "base/tensorboard.yaml") if item["kind"] == "Deployment")
    )
    assert problem(json.dumps(item), version) is None
    item["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    assert "readinesProbe" in str(problem(json.dumps(item), version))


def test_what_a_custom_resource_does_not_know_is_found() -> None:
    (item,) = documents(MANIFESTS / "tensorboard-object.yaml")
    assert custom_problems(item) == []
    item["spec"]["replicas"] = 2
    item["spec"]["logspath"] = 1
    assert len(custom_problems(item)) == 2


@pytest.mark.parametrize("kind", STUDIES)
def test_experiments_pass_katibs_rules(kind: str) -> None:
    assert check(study(kind)) == []
