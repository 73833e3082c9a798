"""What a cluster's config puts into compiled pipelines: every setting at every step it is meant for, and no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import json_format
from kfp import components
from kfp.kubernetes.kubernetes_executor_config_pb2 import KubernetesExecutorConfig

from pipelines.__main__ import PIPELINES
from pipelines.kubeflow.platform import package, task_names
from receipt_counter.cli import main
from receipt_counter.config.cluster import Cluster

PROJECT = Path(__file__).resolve().parents[2]
TRAINING = {"exec-train", "exec-evaluate"}
VOLUME, S3 = Cluster(), Cluster(store="s3://bucket/prefix", credentials="keys")


def compiled(mode: str, cluster: Cluster = VOLUME, **studies: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """{executor: its container} and {executor: its platform's settings}."""
    spec, platform = yaml.safe_load_all(package(PIPELINES[mode], cluster, studies))
    containers = {name: found["container"] for name, found in spec["deploymentSpec"]["executors"].items()}
    return containers, platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


def environment(container: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in container["env"]}


@pytest.mark.parametrize("mode", PIPELINES)
@pytest.mark.parametrize("cluster", [VOLUME, S3], ids=["volume", "object store"])
def test_every_step_has_what_all_need(mode: str, cluster: Cluster) -> None:
    containers, settings = compiled(mode, cluster)
    assert containers.keys() == settings.keys()
    for name, found in settings.items():
        json_format.ParseDict(found, KubernetesExecutorConfig())  # refuses what is no field of it
        assert found["securityContext"] == {"runAsGroup": "1000", "runAsNonRoot": True}
        assert found["imagePullPolicy"] == "IfNotPresent"
        assert {"mountPath": "/tmp", "volumeName": "scratch"} in found["emptyDirMounts"]
        assert found["podMetadata"]["annotations"] == {"sidecar.istio.io/inject": "false"}
        assert found["podMetadata"]["labels"]["sidecar.istio.io/inject"] == "false"
        assert environment(containers[name])["RECEIPT_COUNTER_STORE"] == cluster.store
        assert environment(containers[name])["RECEIPT_COUNTER_IMAGE"] == containers[name]["image"]
        mounted = [(entry["constant"], entry["mountPath"]) for entry in found.get("pvcMount", [])]
        secrets = [(entry["secretName"], entry["mountPath"]) for entry in found.get("secretAsVolume", [])]
        settled = [entry["configMapName"] for entry in found.get("configMapAsEnv", []) if entry["optional"]]
        assert settled == ([] if cluster is VOLUME else ["receipt-counter-store"])
        told = environment(containers[name]).get("RECEIPT_COUNTER_CREDENTIALS")
        if cluster is VOLUME:
            assert (mounted, secrets, told) == ([("receipt-counter-store", "/experiments")], [], None)
        else:
            directory = "/etc/receipt-counter-credentials"
            assert (mounted, secrets, told) == ([], [("keys", directory)], directory)


@pytest.mark.parametrize(
    ("cluster", "training", "others"),
    [
        (Cluster(image="other:1"), {"image": "other:1-gpu"}, {"image": "other:1"}),
        (Cluster(image="other:1", training_image="big:2"), {"image": "big:2"}, {"image": "other:1"}),
        (Cluster(image="other:1", gpus=0), {"image": "other:1"}, {"image": "other:1"}),
        (
            Cluster(image="ours/a@sha256:01", training_image="ours/a@sha256:23"),
            {"image": "ours/a@sha256:23"},
            {"image": "ours/a@sha256:01"},
        ),
        (Cluster(cpu="5", step_cpu="500m"), {"resourceCpuLimit": "5"}, {"resourceCpuLimit": "500m"}),
        (Cluster(cpu="5", step_cpu="500m"), {"resourceCpuRequest": "5"}, {"resourceCpuRequest": "500m"}),
        (Cluster(memory="9Gi", step_memory="1Gi"), {"resourceMemoryLimit": "9Gi"}, {"resourceMemoryLimit": "1Gi"}),
        (Cluster(memory="9Gi", step_memory="1Gi"), {"resourceMemoryRequest": "9Gi"}, {"resourceMemoryRequest": "1Gi"}),
        (Cluster(gpus=4), {"accelerator": {"resourceType": "nvidia.com/gpu", "resourceCount": "4"}}, {}),
        (Cluster(gpus=0), {"accelerator": None}, {"accelerator": None}),
        (Cluster(gpus=0), {"tolerations": None}, {"tolerations": None}),
        (
            Cluster(gpus=2, tolerations=("spot=true:NoSchedule", "mine:NoExecute")),
            {
                "tolerations": [
                    {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
                    {"key": "spot", "operator": "Equal", "value": "true", "effect": "NoSchedule"},
                    {"key": "mine", "operator": "Exists", "effect": "NoExecute"},
                ]
            },
            {"tolerations": None},
        ),
        (
            Cluster(gpu_type="NVIDIA-H100", node_selector=("pool=big",)),
            {"nodeSelector": {"labels": {"nvidia.com/gpu.product": "NVIDIA-H100", "pool": "big"}}},
            {"nodeSelector": None},
        ),
    ],
    ids=lambda value: "" if isinstance(value, dict) else str(value)[:60],
)
def test_settings_of_machines(cluster: Cluster, training: dict[str, Any], others: dict[str, Any]) -> None:
    containers, settings = compiled("single", cluster)
    assert containers.keys() >= TRAINING
    for name, container in containers.items():
        merged = {**settings[name], **container, **container["resources"]}
        for key, value in (training if name in TRAINING else others).items():
            assert merged.get(key) == value, (name, key)


def test_training_shares_memory_and_waits_in_the_queue() -> None:
    _, settings = compiled("single", Cluster(queue="gpus"))
    for name, found in settings.items():
        shared = [entry["medium"] for entry in found["emptyDirMounts"] if entry["mountPath"] == "/dev/shm"]
        assert shared == (["Memory"] if name in TRAINING else []), name
        queue = found["podMetadata"]["labels"].get("kueue.x-k8s.io/queue-name")
        assert queue == ("gpus" if name in TRAINING else None), name


def test_a_run_of_several_machines_is_no_pod_of_the_pipeline() -> None:
    """The train step then follows a TrainJob: a small machine is enough."""
    containers, settings = compiled("single", Cluster(nodes=2, image="other:1"))
    assert containers["exec-train"]["image"] == "other:1"
    assert "accelerator" not in containers["exec-train"]["resources"]
    assert "tolerations" not in settings["exec-train"]
    assert "accelerator" in containers["exec-evaluate"]["resources"]


@pytest.mark.parametrize("retries", [0, 3])
def test_retries(retries: int) -> None:
    spec = next(yaml.safe_load_all(package(PIPELINES["all"], Cluster(retries=retries), {})))
    dags = [spec["root"]["dag"], *(entry["dag"] for entry in spec["components"].values() if "dag" in entry)]
    tasks = [task for dag in dags for task in dag["tasks"].values()]
    steps = [task for task in tasks if "executorLabel" in spec["components"][task["componentRef"]["name"]]]
    assert len(steps) == len(spec["deploymentSpec"]["executors"])
    assert {task.get("retryPolicy", {}).get("maxRetryCount", 0) for task in steps} == {retries}
    assert not any("retryPolicy" in task for task in tasks if task not in steps), "a nested pipeline has no pod"


def test_labels_name_step_mode_and_study() -> None:
    _, settings = compiled("all", hyperparameter="my-search", ablation="my-ablation")
    found = {name: entry["podMetadata"]["labels"] for name, entry in settings.items()}
    told = {
        (labels["app.kubernetes.io/component"], labels["receipt-counter/mode"], labels.get("receipt-counter/study"))
        for labels in found.values()
    }
    assert ("train", "single", None) in told
    assert ("sweep", "hyperparameter", "my-search") in told
    assert ("sweep", "ablation", "my-ablation") in told
    assert {labels["app.kubernetes.io/name"] for labels in found.values()} == {"receipt-counter"}


@pytest.mark.parametrize("mode", PIPELINES)
def test_packages_are_pipelines_that_kfp_reads_and_that_cache_what_lasts(mode: str) -> None:
    text = package(PIPELINES[mode], VOLUME, {})
    loaded = components.load_component_from_text(text)
    assert loaded.name == f"receipt-counter-{mode}"
    assert loaded.platform_spec.platforms["kubernetes"]
    spec = next(yaml.safe_load_all(text))
    for dag in [spec["root"]["dag"], *(entry["dag"] for entry in spec["components"].values() if "dag" in entry)]:
        for name, task in dag["tasks"].items():
            assert bool(task["cachingOptions"].get("enableCache")) is (name not in ("promote", "tensorboard")), name
    assert "train" in task_names(text) or "sweep" in task_names(text)


def test_defaults_are_those_of_the_pipelines_parameters() -> None:
    values = {"config": "seed: 1\n", "engine": "katib", "workers": 0}
    spec = next(yaml.safe_load_all(package(PIPELINES["ablation"], VOLUME, {}, defaults=values)))
    given = {
        name: found["defaultValue"]
        for name, found in spec["root"]["inputDefinitions"]["parameters"].items()
        if name in values and found["isOptional"]
    }
    assert given == values
    with pytest.raises(KeyError):
        package(PIPELINES["single"], VOLUME, {}, defaults={"engine": "katib"})


def test_the_command_writes_packages_that_start_in_the_ui(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(PROJECT)
    options = ["--set=cluster.store=s3://bucket/prefix", "--set=cluster.step_cpu=1", "--pipelines-version=2.16"]
    assert main(["compile", "-o", str(tmp_path / "build"), *options]) == 0
    assert capfd.readouterr().out.split() == [str(tmp_path / "build" / f"{mode}.yaml") for mode in PIPELINES]
    for mode in PIPELINES:
        spec, platform = yaml.safe_load_all((tmp_path / "build" / f"{mode}.yaml").read_text())
        inputs = spec["root"]["inputDefinitions"]["parameters"]
        assert all("defaultValue" in found for found in inputs.values()), "Create run needs no typing"
        assert inputs["store"]["defaultValue"] == "s3://bucket/prefix"
        assert inputs.get("engine", {"defaultValue": "katib"})["defaultValue"] == "katib"
        assert platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-prepare-data"]["secretAsVolume"]


def test_an_older_pipelines_gets_what_it_takes() -> None:
    """The KubernetesExecutorConfig of 2.15 has every field that is used here but securityContext."""
    _, whole = yaml.safe_load_all(package(PIPELINES["all"], S3, {}))
    _, older = yaml.safe_load_all(package(PIPELINES["all"], S3, {}, security_context=False))
    settings = whole["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    for found in settings.values():
        del found["securityContext"]
    assert whole == older


def test_equal_settings_give_equal_packages_and_leave_the_pipeline_as_it_was() -> None:
    before = json_format.MessageToDict(PIPELINES["single"].pipeline_spec)
    assert package(PIPELINES["single"], S3, {}) == package(PIPELINES["single"], S3, {})
    assert package(PIPELINES["single"], S3, {}) != package(PIPELINES["single"], VOLUME, {})
    assert json_format.MessageToDict(PIPELINES["single"].pipeline_spec) == before
    assert not PIPELINES["single"].platform_spec.platforms, "a local run sees no platform"
