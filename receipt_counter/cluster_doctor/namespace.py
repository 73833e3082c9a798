"""The namespace and what is in it: labels, the store, images, and whether a trial would be accepted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from receipt_counter.cluster.connection import ApiError
from receipt_counter.cluster.train_job import training_runtime
from receipt_counter.cluster_doctor.components import KUBEFLOW
from receipt_counter.cluster_doctor.reading import FORBIDDEN, Reader
from receipt_counter.config.cluster import Cluster
from receipt_counter.doctor import ABSENT, MISSING, OK, Finding
from receipt_counter.study.trial_job import trial_job

INJECTION = "katib.kubeflow.org/metrics-collector-injection"
POD_SECURITY = "pod-security.kubernetes.io/enforce"
RESTRICTED = "restricted"
# What files of the Secret may be called, as the store's connection reads them.
ACCESS_KEYS = ("access-key", "accesskey", "AWS_ACCESS_KEY_ID")
SECRET_KEYS = ("secret-key", "secretkey", "AWS_SECRET_ACCESS_KEY")
_TRAINER = "/apis/trainer.kubeflow.org/v1alpha1"
_NAME = "receipt-counter-doctor"


def labels(reader: Reader) -> dict[str, str] | None:
    """The namespace's labels; None if there is no such namespace."""
    found = reader.get("namespaces", reader.namespace, namespace="")
    return None if found is None else found["metadata"].get("labels", {})


def namespace(reader: Reader) -> list[Finding]:
    """Whether the namespace is there, lets Katib add its sidecar, and holds pods to the restricted standard."""
    marked, name = labels(reader), reader.namespace
    if marked is None:
        text = f"no namespace {name}: kubectl apply -k manifests/base, or name yours with --namespace"
        return [Finding("namespace", MISSING, text)]
    found = [Finding("namespace", OK, name)]
    if marked.get(INJECTION) == "enabled":
        found.append(Finding("injection", OK, f"{INJECTION}: enabled"))
    else:
        mend = f"kubectl label namespace {name} {INJECTION}=enabled"
        found.append(Finding("injection", MISSING, f"Katib would never see a trial's metrics: {mend}"))
    standard = marked.get(POD_SECURITY, "none")
    if standard == RESTRICTED:
        found.append(Finding("pod security", OK, standard))
    else:
        mend = f"kubectl label namespace {name} {POD_SECURITY}={RESTRICTED}"
        found.append(Finding("pod security", ABSENT, f"{standard}: pods here need not be restricted; {mend}"))
    return [*found, _sidecar(reader, restricted=standard == RESTRICTED)]


def _sidecar(reader: Reader, *, restricted: bool) -> Finding:
    """Whether Katib gives its sidecar what the restricted standard wants."""
    try:
        found = reader.get("configmaps", "katib-config", namespace=KUBEFLOW)
    except ApiError as error:
        if error.code != FORBIDDEN:
            raise
        text = f"unknown: you may not {error.request}; an administrator can look"
        return Finding("katib sidecar", ABSENT, text)
    text = (found or {}).get("data", {}).get("katib-config.yaml", "")
    controller = ((yaml.safe_load(text) or {}).get("init") or {}).get("controller") or {}
    if controller.get("injectSecurityContext") is True:
        return Finding("katib sidecar", OK, "has a security context (injectSecurityContext)")
    mend = (
        "set init.controller.injectSecurityContext: true in ConfigMap katib-config, namespace kubeflow, and restart"
        " deployment/katib-controller"
    )
    if restricted:
        return Finding("katib sidecar", MISSING, f"the restricted standard refuses every trial's pod: {mend}")
    return Finding("katib sidecar", ABSENT, f"without a security context: before you restrict the namespace, {mend}")


def store(reader: Reader, cluster: Cluster) -> Finding:
    """Whether the store can be reached by pods: a bound volume, or a Secret with keys."""
    return _volume(reader, cluster) if cluster.is_on_volume else _secret(reader, cluster)


def _volume(reader: Reader, cluster: Cluster) -> Finding:
    name = cluster.volume
    found = reader.get("persistentvolumeclaims", name)
    if found is None:
        text = f"no PersistentVolumeClaim {name} in namespace {reader.namespace}: kubectl apply -k manifests/base"
        return Finding("store", MISSING, f"{text}, or cluster.store: s3://BUCKET/PREFIX")
    phase = found.get("status", {}).get("phase", "Pending")
    if phase == "Lost":
        return Finding(
            "store", MISSING, f"PersistentVolumeClaim {name} has lost its volume: restore it from a snapshot"
        )
    modes = found["spec"].get("accessModes", [])
    if "ReadWriteMany" not in modes:
        text = f"PersistentVolumeClaim {name} is {', '.join(modes)}: every pod must be on one node"
        return Finding("store", ABSENT, f"{text}; a StorageClass with ReadWriteMany lets them be anywhere")
    if phase != "Bound":
        text = f"PersistentVolumeClaim {name} is {phase}: it binds when a pod first uses it, or its StorageClass cannot"
        return Finding("store", ABSENT, f"{text}; see: kubectl -n {reader.namespace} describe pvc {name}")
    size = found.get("status", {}).get("capacity", {}).get("storage", "unknown size")
    return Finding("store", OK, f"PersistentVolumeClaim {name}, {size}, at {cluster.store}")


def _secret(reader: Reader, cluster: Cluster) -> Finding:
    name = cluster.credentials
    make = (
        f"kubectl -n {reader.namespace} create secret generic {name} --from-literal=access-key=..."
        " --from-literal=secret-key=..."
    )
    found = reader.get("secrets", name)
    if found is None:
        return Finding("store", MISSING, f"no Secret {name} with the keys of {cluster.store}: {make}")
    keys = set(found.get("data", {}))
    if not keys & set(ACCESS_KEYS) or not keys & set(SECRET_KEYS):
        text = f"Secret {name} has {', '.join(sorted(keys)) or 'nothing'}, not access-key and secret-key"
        return Finding("store", MISSING, f"{text}: delete it, then {make}")
    return Finding("store", OK, f"{cluster.store}, with the keys of Secret {name}")


def images(reader: Reader, cluster: Cluster) -> Finding:
    """What can be said of images before one is pulled: where they come from, and with which secrets."""
    account = reader.get("serviceaccounts", cluster.service_account) or {}
    secrets = [entry["name"] for entry in account.get("imagePullSecrets", [])]
    for name in secrets:
        if reader.get("secrets", name) is None:
            text = f"ServiceAccount {cluster.service_account} pulls with Secret {name}, which is not there"
            return Finding(
                "images", MISSING, f"{text}: kubectl -n {reader.namespace} create secret docker-registry {name} ..."
            )
    names = sorted({cluster.image, cluster.image_of_training})
    local = [name for name in names if not re.match(r"(localhost|[^/]+[.:][^/]*)/", name)]
    if local:
        text = f"{', '.join(local)}: no registry is named, so nodes must have it already or find it on Docker Hub"
        return Finding("images", ABSENT, f"{text}; push it to yours and set cluster.image: REGISTRY/NAME:TAG")
    with_secrets = f" (with {', '.join(secrets)})" if secrets else ""
    return Finding(
        "images", OK, f"{', '.join(names)}{with_secrets}; whether nodes can pull them shows with the first pod"
    )


def priority(reader: Reader, cluster: Cluster) -> Finding:
    """Whether the PriorityClass of training is there."""
    name = cluster.priority_class
    if name is None:
        return Finding("priority", OK, "the cluster's default")
    if reader.get("priorityclasses.scheduling.k8s.io", name, namespace="") is None:
        text = f"no PriorityClass {name}: kubectl apply -k manifests/base, or leave cluster.priority_class out"
        return Finding("priority", MISSING, text)
    return Finding("priority", OK, name)


def trial(reader: Reader, cluster: Cluster) -> list[Finding]:
    """Whether what a trial is made of and its pod would be accepted: all is sent as dry runs, which leave nothing.

    On several machines that is a TrainingRuntime: a TrainJob is refused while its runtime is not there.
    """
    where = f"/namespaces/{reader.namespace}"
    if cluster.nodes > 1:
        made = training_runtime(cluster, _NAME)
        template = made["spec"]["template"]["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]
        what, kind, path = (
            "training runtime",
            "trainingruntimes.trainer.kubeflow.org",
            f"{_TRAINER}{where}/trainingruntimes",
        )
    else:
        made = trial_job(cluster, _NAME, ["--seeds", "0"], {})
        template = made["spec"]["template"]
        what, kind, path = "trial job", "jobs.batch", f"/apis/batch/v1{where}/jobs"
    named = {"generateName": f"{_NAME}-"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**template["metadata"], **named},
        "spec": template["spec"],
    }
    made["metadata"] = {"labels": made["metadata"]["labels"], **named}
    return [
        _dry_run(reader, what, kind, path, made),
        _dry_run(reader, "trial pod", "pods", f"/api/v1{where}/pods", pod),
    ]


def _dry_run(reader: Reader, what: str, kind: str, path: str, body: Mapping[str, Any]) -> Finding:
    try:
        _, headers = reader.create(kind, path, body, dryRun="All")
    except ApiError as error:
        first, *_ = error.message.splitlines()
        if error.code == FORBIDDEN and " cannot " in first:
            return Finding(what, ABSENT, f"unknown: you may not {error.request}, so nothing was tried")
        if error.code == 400 and "dry run" in first:
            return Finding(what, ABSENT, f"unknown: {first}")
        return Finding(what, MISSING, f"{first}; change the cluster section, or what refuses it")
    warned = [text for name, text in headers.items() if name.lower() == "warning"]
    if warned:
        said = "; ".join(re.findall(r'"((?:[^"\\]|\\.)*)"', " ".join(warned))) or warned[0]
        return Finding(what, ABSENT, f"accepted, with the warning: {said}")
    return Finding(what, OK, "would be accepted (dry run)")
