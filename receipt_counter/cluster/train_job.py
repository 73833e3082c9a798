"""Training on several machines: a TrainJob, which says what runs, and the TrainingRuntime it runs in, which says where.

The runtime is made of the config for each study or run. Trainer's own `torch-distributed` breaks the *restricted* Pod
Security Standard and knows no store; and how a TrainJob changes a shared runtime differs from version to version
(podSpecOverrides in 2.0, podTemplateOverrides in 2.1, runtimePatches from 2.2), while a runtime has been the same in
all of 2.x.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from receipt_counter.cluster.pods import job_labels, labels, training_container, training_pod, variables
from receipt_counter.config.cluster import Cluster

GROUP, VERSION = "trainer.kubeflow.org", "v1alpha1"
NODE = "node"  # what Trainer calls the job and the container that train
_STOPPED = 143  # exit status of training that was asked to stop and has saved


def training_runtime(
    cluster: Cluster, name: str, *, volumes: Sequence[dict[str, Any]] = (), mounts: Sequence[dict[str, Any]] = ()
) -> dict[str, Any]:
    """The runtime of TrainJobs on `cluster.nodes` machines.

    One machine that fails ends all at once; then all begin again, `cluster.retries` times, from the last checkpoint. An
    eviction or a preemption does not count as a failure.

    Args:
        cluster: where and on what they run.
        name: of the runtime.
        volumes, mounts: beside the store's.
    """
    disrupted = {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    # what its machine's eviction makes the others do
    stopped = {
        "action": "FailJob",
        "onExitCodes": {"containerName": NODE, "operator": "In", "values": [_STOPPED]},
    }
    again = {
        "name": "disrupted",
        "action": "RestartJobSetAndIgnoreMaxRestarts",
        "onJobFailureReasons": ["PodFailurePolicy"],
    }
    job = {
        "backoffLimit": 0,
        "podFailurePolicy": {"rules": [disrupted, stopped]},
        "template": training_pod(cluster, training_container(cluster, NODE, mounts=mounts), volumes),
    }
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "TrainingRuntime",
        "metadata": {"name": name, "labels": labels("trial")},
        "spec": {
            "mlPolicy": {"numNodes": cluster.nodes, "torch": {}},
            "template": {
                "spec": {
                    "failurePolicy": {"maxRestarts": cluster.retries, "rules": [again]},
                    "replicatedJobs": [
                        {
                            "name": NODE,
                            "template": {
                                "metadata": {"labels": {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}},
                                "spec": job,
                            },
                        }
                    ],
                }
            },
        },
    }


def train_job(
    cluster: Cluster,
    runtime: str,
    processes: int,
    command: Sequence[str],
    environment: Mapping[str, str],
    marks: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Any]:
    """A TrainJob; it has no name yet.

    The command is our own, not torchrun: training starts its peers itself, from the same variables (PET_*). So a run
    that is asked to stop exits with 143, and the messages are those of the run.

    Args:
        cluster: says on how many machines.
        runtime: name of its runtime, in the same namespace.
        processes: that train on each of them.
        command: of every machine.
        environment: further variables; the values are taken as they are.
        marks: further labels.
    """
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "TrainJob",
        "metadata": {"labels": {**job_labels(cluster), **marks}},
        "spec": {
            "runtimeRef": {"apiGroup": GROUP, "kind": "TrainingRuntime", "name": runtime},
            "trainer": {
                "numNodes": cluster.nodes,
                "numProcPerNode": processes,
                "command": list(command),
                "env": variables(environment),
            },
        },
    }
