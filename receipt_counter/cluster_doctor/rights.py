"""Who may do what: this account from here, and the ServiceAccounts that steps run under."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from receipt_counter.cluster.pipelines import Health
from receipt_counter.cluster_doctor.reading import Reader
from receipt_counter.config.cluster import Cluster
from receipt_counter.doctor import ABSENT, MISSING, OK, Finding

TENSORBOARD_MAKER = "receipt-counter-tensorboard-maker"
# {kind: verbs}, as in manifests/base
SWEEP = {
    "experiments.kubeflow.org": "create delete get",
    "trials.kubeflow.org": "list",
    "configmaps": "create get patch",
    "pods": "get list",
    "pods/log": "get",
}
TRAIN_JOBS = {
    "trainjobs.trainer.kubeflow.org": "create delete get",
    "trainingruntimes.trainer.kubeflow.org": "create delete get patch",
}
ARGO = {"workflowtaskresults.argoproj.io": "create patch"}  # every step of a pipeline reports its end so
TENSORBOARD = {"deployments.apps": "create delete get list patch", "services": "create delete get patch"}
_REVIEWS = "/apis/authorization.k8s.io/v1"


def own(reader: Reader, cluster: Cluster) -> Finding:
    """Whether this account may run studies from here; the pipelines do not need it."""
    lacking = list(_lacking(reader, _of_the_sweep(cluster), None))
    if lacking:
        text = f"you may not {', '.join(lacking)}: `sweep --engine katib` from here needs it, pipelines do not"
        return Finding("your rights", ABSENT, text)
    return Finding("your rights", OK, "you may run studies from here")


def pipeline_account(reader: Reader, cluster: Cluster, health: Health | None, account: str | None) -> Finding:
    """Whether the account of pipelines' steps is there and has the rights that they need.

    Args:
        reader: the cluster.
        cluster: says whether TrainJobs are made.
        health: says which account Pipelines takes by default.
        account: named by the user.
    """
    rights = {**_of_the_sweep(cluster), **ARGO}
    name = _of_steps(health, account)
    return _account("pipeline account", reader, name, rights, "--service-account names another")


def tensorboard_account(reader: Reader, health: Health | None, account: str | None) -> Finding:
    """Whether the account that makes TensorBoards is there and may, and that of pipelines' steps, which do too."""
    what, name = "tensorboard account", _of_steps(health, account)
    found = _account(what, reader, TENSORBOARD_MAKER, TENSORBOARD, "kubectl apply -k manifests/base")
    if found.state == OK and list(_lacking(reader, TENSORBOARD, name)):
        bind = (
            f"kubectl -n {reader.namespace} create rolebinding receipt-counter-pipeline-tensorboard --role"
            f" {TENSORBOARD_MAKER} --serviceaccount {reader.namespace}:{name}"
        )
        return Finding(what, ABSENT, f"{found.detail}; {name} has not, so studies of pipelines get none: {bind}")
    return found


def _of_steps(health: Health | None, account: str | None) -> str:
    """The account of pipelines' steps: as named, else the one that Pipelines takes."""
    return account or ("default-editor" if health and health.multi_user else "pipeline-runner")


def trial_account(reader: Reader, cluster: Cluster) -> Finding:
    """Whether the trials' account is there."""
    name = cluster.service_account
    if reader.get("serviceaccounts", name) is None:
        text = f"no ServiceAccount {name} in namespace {reader.namespace}: kubectl apply -k manifests/base"
        return Finding("trial account", MISSING, text)
    return Finding("trial account", OK, name)


def _of_the_sweep(cluster: Cluster) -> dict[str, str]:
    return {**SWEEP, **TRAIN_JOBS} if cluster.nodes > 1 else SWEEP


def _account(what: str, reader: Reader, name: str, rights: Mapping[str, str], mend: str) -> Finding:
    if reader.get("serviceaccounts", name) is None:
        return Finding(what, MISSING, f"no ServiceAccount {name} in namespace {reader.namespace}: {mend}")
    lacking = list(_lacking(reader, rights, name))
    if lacking:
        text = f"ServiceAccount {name} may not {', '.join(lacking)}: bind a Role to it, as in manifests/base/sweep.yaml"
        return Finding(what, MISSING, text)
    return Finding(what, OK, f"{name} has the rights that it needs")


def _lacking(reader: Reader, rights: Mapping[str, str], account: str | None) -> Iterator[str]:
    """What an account of the namespace, or this one, may not."""
    for kind, verbs in rights.items():
        resource, _, group = kind.partition(".")
        plural, _, part = resource.partition("/")
        for verb in verbs.split():
            attributes = {"namespace": reader.namespace, "verb": verb, "group": group, "resource": plural}
            if not _is_allowed(reader, {**attributes, **({"subresource": part} if part else {})}, account):
                yield f"{verb} {kind}"


def _is_allowed(reader: Reader, attributes: Mapping[str, str], account: str | None) -> bool:
    spec: dict[str, Any] = {"resourceAttributes": dict(attributes)}
    kind, path, metadata = "SelfSubjectAccessReview", f"{_REVIEWS}/selfsubjectaccessreviews", {}
    if account is not None:
        kind = "LocalSubjectAccessReview"
        path = f"{_REVIEWS}/namespaces/{reader.namespace}/localsubjectaccessreviews"
        metadata = {"namespace": reader.namespace}
        everybody = "system:serviceaccounts"
        spec["user"] = f"system:serviceaccount:{reader.namespace}:{account}"
        spec["groups"] = [everybody, f"{everybody}:{reader.namespace}", "system:authenticated"]
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "metadata": metadata, "spec": spec}
    answer, _ = reader.create(f"{kind.lower()}s.authorization.k8s.io", path, body)
    return bool(answer["status"]["allowed"])
