"""What Katib makes of each trial: a Job, or on several machines a TrainJob."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from receipt_counter.cluster.pods import job_labels, training_container, training_pod
from receipt_counter.cluster.train_job import NODE, train_job, training_runtime
from receipt_counter.config.cluster import Cluster

MOUNT = "/etc/receipt-counter"
CONFIG_FILE = "config.yaml"
CONTAINER = "trial"
_COMMAND = ("python", "-m", "receipt_counter.study.trial", "--config", f"{MOUNT}/{CONFIG_FILE}")
_NAMED = {"RECEIPT_COUNTER_TRIAL": "${trialParameters.trialName}"}
NAME_PARAMETER = {"name": "trialName", "reference": "${trialSpec.Name}", "description": "The trial's own name."}
_MOUNTS = ({"name": "study", "mountPath": MOUNT, "readOnly": True},)
_CONDITION = 'status.conditions.#(type=="{}")#|#(status=="True")#'


def trial_template(
    cluster: Cluster,
    study: str,
    config_map: str,
    processes: int,
    arguments: Sequence[str],
    marks: Mapping[str, str],
) -> dict[str, Any]:
    """The part of an Experiment's trialTemplate that says what is made of a trial, and how its end is known.

    Args:
        cluster: where and on what it runs.
        study: name of the study, recorded with its runs.
        config_map: name of the ConfigMap that holds the study's files, and of the runtime of `trial_runtimes`.
        processes: that train on a machine.
        arguments: of `receipt_counter.study.trial`, beside the config and that name.
        marks: labels by which a Job and its pods, or a TrainJob, are found: of what study, and which of its trials.
    """
    whole = ["--experiment-name", study, *arguments]
    ends = {
        f"{end}Condition": _CONDITION.format(kind) for end, kind in (("success", "Complete"), ("failure", "Failed"))
    }
    if cluster.nodes == 1:
        return {"primaryContainerName": CONTAINER, **ends, "trialSpec": trial_job(cluster, config_map, whole, marks)}
    return {
        "primaryContainerName": NODE,
        # the first machine alone prints metrics. That Katib's sidecar may stay when it has ended, so that the trial
        # never ends, is an open defect of Katib 0.19: kubeflow/katib#2616
        "primaryPodLabels": {
            "jobset.sigs.k8s.io/replicatedjob-name": NODE,
            "batch.kubernetes.io/job-completion-index": "0",
        },
        **ends,
        "trialSpec": train_job(cluster, config_map, processes, [*_COMMAND, *whole], _NAMED, marks),
    }


def trial_runtimes(cluster: Cluster, config_map: str) -> dict[str, dict[str, Any]]:
    """{name: spec} of the TrainingRuntimes that a study's trials need: none on one machine."""
    if cluster.nodes == 1:
        return {}
    runtime = training_runtime(cluster, config_map, volumes=_volumes(config_map), mounts=_MOUNTS)
    return {config_map: runtime["spec"]}


def trial_job(cluster: Cluster, config_map: str, arguments: Sequence[str], marks: Mapping[str, str]) -> dict[str, Any]:
    """The Job of a trial.

    Args:
        cluster: where and on what it runs.
        config_map: name of the ConfigMap that holds the study's files.
        arguments: of `receipt_counter.study.trial`, beside the config.
        marks: labels of the Job and its pods, beside those of all trials.

    Returns:
        The manifest. A pod that its node evicts or a more important one preempts is made anew and does not count as a
        failed attempt: its runs continue from their checkpoints.
    """
    disrupted = [{"type": "DisruptionTarget", "status": "True"}]
    container = training_container(
        cluster,
        CONTAINER,
        command=_COMMAND[:3],
        arguments=[*_COMMAND[3:], *arguments],
        environment=_NAMED,
        mounts=_MOUNTS,
    )
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"labels": {**job_labels(cluster), **marks}},
        "spec": {
            "backoffLimit": cluster.retries,
            "podFailurePolicy": {"rules": [{"action": "Ignore", "onPodConditions": disrupted}]},
            "template": training_pod(cluster, container, _volumes(config_map), marks),
        },
    }


def _volumes(config_map: str) -> list[dict[str, Any]]:
    return [{"name": "study", "configMap": {"name": config_map}}]
