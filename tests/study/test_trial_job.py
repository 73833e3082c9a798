"""The Job of a trial follows the config's `cluster`."""

from __future__ import annotations

from typing import Any

import pytest

from receipt_counter.cluster.pods import QUEUE_LABEL
from receipt_counter.config.cluster import Cluster
from receipt_counter.study.trial_job import trial_job

STORE = {"name": "store", "persistentVolumeClaim": {"claimName": "shared"}}


def made(**cluster: Any) -> dict[str, Any]:
    return trial_job(Cluster(**{"gpus": 0, **cluster}), "study-files", ["--seeds", "1"], {"team": "vision"})


def pod(**cluster: Any) -> dict[str, Any]:
    found: dict[str, Any] = made(**cluster)["spec"]["template"]["spec"]
    return found


@pytest.mark.parametrize(
    ("store", "mounted"), [("/experiments", True), ("/mnt/runs", True), ("s3://bucket/runs", False)]
)
def test_a_directory_is_a_volume_and_an_object_store_is_none(store: str, mounted: bool) -> None:
    made = pod(store=store, volume="shared")
    (container,) = made["containers"]
    assert (STORE in made["volumes"]) is mounted
    assert ({"name": "store", "mountPath": store} in container["volumeMounts"]) is mounted
    assert {"name": "RECEIPT_COUNTER_STORE", "value": store} in container["env"]


def test_the_keys_of_an_object_store_are_files_and_its_place_is_optional() -> None:
    made = pod(store="s3://bucket/runs", credentials="keys")
    (container,) = made["containers"]
    assert made["volumes"][-1] == {"name": "credentials", "secret": {"secretName": "keys", "defaultMode": 0o440}}
    mounted = {"name": "credentials", "mountPath": "/etc/receipt-counter-credentials", "readOnly": True}
    assert mounted in container["volumeMounts"]
    variables = {variable["name"]: variable for variable in container["env"]}
    assert variables["RECEIPT_COUNTER_CREDENTIALS"]["value"] == mounted["mountPath"]
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_REGION"):
        reference = variables[name]["valueFrom"]["configMapKeyRef"]
        assert reference == {"name": "receipt-counter-store", "key": name, "optional": True}
    assert "credentials" not in str(pod(store="/experiments"))


def test_gpus_are_limited_and_their_nodes_tolerated() -> None:
    made = pod(gpus=2, cpu="4", memory="8Gi")
    (container,) = made["containers"]
    assert container["resources"] == {
        "requests": {"cpu": "4", "memory": "8Gi"},
        "limits": {"cpu": "4", "memory": "8Gi", "nvidia.com/gpu": 2},
    }
    assert made["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert "tolerations" not in pod(gpus=0)


def test_nodes_are_chosen_by_labels_and_taints() -> None:
    made = pod(
        gpus=1, gpu_type="NVIDIA-H200", node_selector=("pool=big",), tolerations=("spot=true:NoSchedule", "x:NoExecute")
    )
    assert made["nodeSelector"] == {"pool": "big", "nvidia.com/gpu.product": "NVIDIA-H200"}
    assert made["tolerations"][1:] == [
        {"key": "spot", "operator": "Equal", "value": "true", "effect": "NoSchedule"},
        {"key": "x", "operator": "Exists", "effect": "NoExecute"},
    ]
    assert "nodeSelector" not in pod()


@pytest.mark.parametrize(
    ("settings", "image"),
    [
        ({"gpus": 0, "image": "a:1"}, "a:1"),
        ({"gpus": 1, "image": "a:1"}, "a:1-gpu"),
        ({"gpus": 1, "image": "a:1", "training_image": "b:2"}, "b:2"),
        ({"gpus": 0, "image": "a:1", "training_image": "b:2"}, "b:2"),
        ({"gpus": 0, "image": "a/b@sha256:0123"}, "a/b@sha256:0123"),
        ({"gpus": 1, "image": "a/b@sha256:0123", "training_image": "a/b@sha256:4567"}, "a/b@sha256:4567"),
    ],
)
def test_image_of_training(settings: dict[str, Any], image: str) -> None:
    (container,) = pod(**settings)["containers"]
    assert container["image"] == image
    assert {"name": "RECEIPT_COUNTER_IMAGE", "value": image} in container["env"]  # runs record it


def test_a_queue_and_a_priority_are_named_only_where_they_are_wanted() -> None:
    assert QUEUE_LABEL not in made()["metadata"]["labels"]
    assert made(queue="gpus")["metadata"]["labels"][QUEUE_LABEL] == "gpus"
    assert "priorityClassName" not in pod()
    assert pod(priority_class="low")["priorityClassName"] == "low"


def test_who_it_runs_as_and_how_often_it_is_tried() -> None:
    job = made(service_account="somebody", retries=2)
    assert job["spec"]["template"]["spec"]["serviceAccountName"] == "somebody"
    assert job["spec"]["backoffLimit"] == 2
    (ignored,) = job["spec"]["podFailurePolicy"]["rules"]
    assert (ignored["action"], ignored["onPodConditions"][0]["type"]) == ("Ignore", "DisruptionTarget")


def test_the_job_and_its_pods_are_found_by_labels() -> None:
    job = made()
    assert job["metadata"]["labels"]["team"] == job["spec"]["template"]["metadata"]["labels"]["team"] == "vision"
