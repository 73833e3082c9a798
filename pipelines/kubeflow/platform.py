"""What a cluster adds to a compiled pipeline: the machine, the store, the rights and the labels of every step.

kfp compiles a pipeline when its module is imported, before any config is read. So the settings are put onto what it
compiled, and no step can be forgotten: images, resources, environment and retries into the pipeline's own document,
everything else into the platform's, which kfp.kubernetes writes. kfp's local runners see neither.

Of the restricted Pod Security Standard kfp.kubernetes 2.17 offers runAsNonRoot and runAsGroup; no privilege escalation,
no capabilities and the default seccomp profile come from Pipelines itself, from 2.16 on. Never run on a real cluster.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from google.protobuf import json_format
from kfp import kubernetes

from receipt_counter import IMAGE_VARIABLE
from receipt_counter.cluster.pods import (
    CREDENTIALS,
    CREDENTIALS_MOUNT,
    GROUP,
    NO_MESH,
    QUEUE_LABEL,
    STORE,
    STORE_SETTINGS,
    labels,
    node_selector,
    tolerations,
)
from receipt_counter.config.cluster import Cluster
from receipt_counter.katib.template import GPU

MODE_LABEL, STUDY_LABEL = "receipt-counter/mode", "receipt-counter/study"
PREFIX = "receipt-counter-"  # of the pipelines' names; the rest is their mode
# Evaluation too: its seconds per image are a promotion gate, meant for the machine that the model is trained for.
_ON_TRAINING_MACHINE = ("train", "evaluate")
_NEVER_CACHED = "tensorboard"  # one that was there may have been deleted since; on one machine the step makes none
_OBJECT_STORE = ("AWS_ENDPOINT_URL_S3", "AWS_REGION")  # variables that say where it is
_PAUSE, _FACTOR, _LONGEST_PAUSE = "30s", 2.0, "600s"  # between a step's retries


@dataclass
class _Task:
    """All that kfp.kubernetes' functions touch of a task, which a compiled pipeline no longer has."""

    platform_config: dict[str, Any] = field(default_factory=dict)


def package(
    pipeline: Any,
    cluster: Cluster,
    studies: Mapping[str, str],
    *,
    defaults: Mapping[str, Any] | None = None,
    security_context: bool = True,
) -> str:
    """A pipeline as Kubeflow's UI and API take it, with everything that the cluster's config says.

    Args:
        pipeline: made by @dsl.pipeline.
        cluster: where and on what the steps run.
        studies: {mode: name of its study}, for the pods' labels.
        defaults: of the pipeline's parameters, for runs that are started in the UI.
        security_context: whether steps get one; Pipelines 2.15 refuses packages in which they do.

    Returns:
        Two YAML documents: the pipeline, and its platform's settings; equal for equal arguments.
    """
    spec = json_format.MessageToDict(pipeline.pipeline_spec)
    for name, value in (defaults or {}).items():
        spec["root"]["inputDefinitions"]["parameters"][name].update(defaultValue=value, isOptional=True)
    executors = spec["deploymentSpec"]["executors"]
    settings = {}
    for mode, label, task in _steps(spec):
        step = re.sub(r"-\d+$", "", label.removeprefix("exec-"))  # the second sweep of a pipeline is exec-sweep-2
        trains = step in _ON_TRAINING_MACHINE and not (step == "train" and cluster.nodes > 1)
        executors[label]["container"].update(_container(cluster, trains))
        study = {STUDY_LABEL: studies[mode]} if mode in studies else {}
        settings[label] = _pod(cluster, trains, {**labels(step), MODE_LABEL: mode, **study}, security_context)
        if step == _NEVER_CACHED:
            task["cachingOptions"] = {}
        if cluster.retries:
            task["retryPolicy"] = {
                "maxRetryCount": cluster.retries,
                "backoffDuration": _PAUSE,
                "backoffFactor": _FACTOR,
                "backoffMaxDuration": _LONGEST_PAUSE,
            }
    platform = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": settings}}}}
    return str(yaml.safe_dump_all([spec, platform], sort_keys=True, allow_unicode=True))


def task_names(package_text: str) -> frozenset[str]:
    """The names of a package's tasks, nested pipelines among them."""
    spec = next(yaml.safe_load_all(package_text))
    return frozenset(name for _, dag in _dags(spec) for name in dag["tasks"])


def _dags(spec: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every graph of tasks, with its pipeline's name."""
    yield spec["pipelineInfo"]["name"], spec["root"]["dag"]
    for name, component in spec["components"].items():
        if "dag" in component:
            yield name.removeprefix("comp-"), component["dag"]


def _steps(spec: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every step: the mode it belongs to, its executor, and its task."""
    for pipeline, dag in _dags(spec):
        for task in dag["tasks"].values():
            executor = spec["components"][task["componentRef"]["name"]].get("executorLabel")
            if executor is not None:
                yield pipeline.removeprefix(PREFIX), executor, task


def _container(cluster: Cluster, trains: bool) -> dict[str, Any]:
    """A step's image, environment and resources: limits as requested, as a trial's."""
    cpu, memory = (cluster.cpu, cluster.memory) if trains else (cluster.step_cpu, cluster.step_memory)
    resources: dict[str, Any] = {
        "resourceCpuRequest": cpu,
        "resourceCpuLimit": cpu,
        "resourceMemoryRequest": memory,
        "resourceMemoryLimit": memory,
    }
    if trains and cluster.gpus:
        resources["accelerator"] = {"resourceType": GPU, "resourceCount": str(cluster.gpus)}
    image = cluster.image_of_training if trains else cluster.image
    environment = {STORE: cluster.store, IMAGE_VARIABLE: image}
    if not cluster.is_on_volume:
        environment[CREDENTIALS] = CREDENTIALS_MOUNT
    return {
        "image": image,
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "resources": resources,
    }


def _pod(cluster: Cluster, trains: bool, marks: Mapping[str, str], security_context: bool) -> dict[str, Any]:
    """The platform's settings of a step whose pod is labelled so."""
    task = _Task()
    if security_context:
        # The volume's group: there is no fsGroup here, and the trials' one makes the store writable for its group.
        kubernetes.set_security_context(task, run_as_group=GROUP, run_as_non_root=True)
    kubernetes.set_image_pull_policy(task, "IfNotPresent")  # tags are versions
    kubernetes.empty_dir_mount(task, "scratch", "/tmp")
    if cluster.is_on_volume:
        kubernetes.mount_pvc(task, cluster.volume, cluster.store)
    else:
        kubernetes.use_secret_as_volume(task, cluster.credentials, CREDENTIALS_MOUNT)
        variables = {name: name for name in _OBJECT_STORE}
        kubernetes.use_config_map_as_env(task, STORE_SETTINGS, variables, optional=True)
    for name, value in marks.items():
        kubernetes.add_pod_label(task, name, value)
    for name, value in NO_MESH.items():
        kubernetes.add_pod_annotation(task, name, value)
        kubernetes.add_pod_label(task, name, value)
    if trains:
        _train(task, cluster)
    settings: dict[str, Any] = task.platform_config["kubernetes"]
    return settings


def _train(task: _Task, cluster: Cluster) -> None:
    """What only the machines that train have."""
    kubernetes.empty_dir_mount(task, "shared-memory", "/dev/shm", medium="Memory")
    for name, value in node_selector(cluster).items():
        kubernetes.add_node_selector(task, name, value)
    for toleration in tolerations(cluster):
        kubernetes.add_toleration(task, **toleration)
    if cluster.queue:
        kubernetes.add_pod_label(task, QUEUE_LABEL, cluster.queue)
