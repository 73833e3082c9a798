"""What the program makes on a cluster keeps the rules of what kubectl applies."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from receipt_counter.cluster.tensorboard import manifests
from receipt_counter.cluster.train_job import training_runtime
from receipt_counter.config.cluster import Cluster
from tests.manifests.policy import RULES, Manifest
from tests.manifests.rendering import OBJECT_STORE, deployment, name_of, needs_kubectl, rendered
from tests.manifests.test_access import GATEWAY, MINIO, STRANGER, WORLD, Pod, passes
from tests.manifests.test_schemas import CUSTOM, VERSIONS, custom_problems, problem

STORES = ("/experiments", "s3://bucket/runs")
# No right to make budgets is given away for what any drain may take: a Deployment without one always goes.
WITHOUT_BUDGET = "disruption_budgets_match"


def tensorboard(store: str) -> list[Manifest]:
    cluster = Cluster(store=store)
    made = manifests(cluster, "ablation-1a2b3c4d", "deployment", datetime(2026, 1, 1, tzinfo=UTC))
    return [{**item, "metadata": {**item["metadata"], "namespace": "receipt-counter"}} for _, item in made]


def machine(store: str) -> Manifest:
    """A TrainingRuntime's pods, as the Job that JobSet makes of them."""
    runtime = training_runtime(Cluster(nodes=2, store=store, priority_class="receipt-counter-preemptible"), "run")
    (job,) = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    metadata = {"name": "run", "namespace": "receipt-counter"}
    spec = {**job["template"]["spec"], "completions": 2, "parallelism": 2, "completionMode": "Indexed"}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


@needs_kubectl
@pytest.mark.parametrize(("target", "store"), zip(("base", OBJECT_STORE), STORES, strict=True))
@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != WITHOUT_BUDGET])
def test_rule(rule: str, target: str, store: str) -> None:
    objects = [*rendered(target), *tensorboard(store), machine(store)]
    assert list(RULES[rule](objects)) == []


@needs_kubectl
@pytest.mark.parametrize("version", VERSIONS)
def test_schemas_of_the_overlay(version: str) -> None:
    for item in rendered(OBJECT_STORE):
        assert problem(json.dumps(item, sort_keys=True), version) is None, name_of(item)


@needs_kubectl
def test_the_tensorboard_of_all_mirrors_as_a_studys_does() -> None:
    server, mirror = deployment(OBJECT_STORE, "tensorboard")["spec"]["template"]["spec"]["containers"]
    assert server["args"][0] == "--logdir=/logs/runs"
    ours = tensorboard(STORES[1])[0]["spec"]["template"]["spec"]["containers"][1]
    for part in ("name", "image", "command", "resources", "securityContext", "volumeMounts", "livenessProbe"):
        assert mirror[part] == ours[part], part
    assert {variable["name"] for variable in mirror["env"]} == {variable["name"] for variable in ours["env"]}
    assert mirror["args"] == ["$(RECEIPT_COUNTER_STORE)/runs", *ours["args"][1:]]


@needs_kubectl
def test_budgets_of_the_others_still_select_one_workload() -> None:
    objects = [*rendered("overlays/single-node"), *tensorboard(STORES[0])]
    found = list(RULES[WITHOUT_BUDGET](objects))
    assert found == ["Deployment/receipt-counter-tb-ablation-1a2b3c4d: has no PodDisruptionBudget"]


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("version", VERSIONS)
def test_schemas(version: str, store: str) -> None:
    for item in [*tensorboard(store), machine(store)]:
        if (item["apiVersion"], item["kind"]) in CUSTOM:
            assert custom_problems(item) == []
        else:
            assert problem(json.dumps(item, sort_keys=True), version) is None, name_of(item)


def test_kubeflows_object_has_no_other_field() -> None:
    ((_, item),) = manifests(Cluster(), "study", "tensorboard", datetime(2026, 1, 1, tzinfo=UTC))
    assert custom_problems(item) == []


@needs_kubectl
@pytest.mark.parametrize(
    ("target", "other", "port", "direction", "expected"),
    [
        ("overlays/single-node", MINIO, 9000, "Egress", True),
        (OBJECT_STORE, WORLD, 443, "Egress", True),
        (OBJECT_STORE, WORLD, 80, "Egress", False),
        ("base", WORLD, 443, "Egress", False),
        ("overlays/kubeflow-profile", GATEWAY, 6006, "Ingress", True),
        ("overlays/kubeflow-profile", STRANGER, 6006, "Ingress", False),
    ],
)
def test_a_studys_tensorboard_is_reached_as_the_one_of_all(
    target: str, other: Pod, port: int, direction: str, expected: bool
) -> None:
    labels = tensorboard(STORES[1])[0]["spec"]["template"]["metadata"]["labels"]
    policies = [item["spec"] for item in rendered(target) if item["kind"] == "NetworkPolicy"]
    assert passes(policies, ("ours", labels), other, port, direction) is expected
