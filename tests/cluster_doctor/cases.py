"""What may be wrong with a cluster, and what doctor should say of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from receipt_counter.doctor import ABSENT, MISSING, OK
from tests.cluster_doctor.cluster_server import NAMESPACE, ClusterServer, deployment, node, quota

HERE = f"/api/v1/namespaces/{NAMESPACE}"
CLAIM = f"{HERE}/persistentvolumeclaims/receipt-counter-store"


def remove(*paths: str) -> Callable[[ClusterServer], None]:
    def change(server: ClusterServer) -> None:
        for path in paths:
            del server.there[path]

    return change


def put(path: str, **fields: Any) -> Callable[[ClusterServer], None]:
    def change(server: ClusterServer) -> None:
        server.there[path] = {**server.there.get(path, {}), **fields}

    return change


def labelled(**labels: str) -> Callable[[ClusterServer], None]:
    return put(HERE, metadata={"labels": labels})


def groups(name: str, kinds: dict[str, list[str]] | None) -> Callable[[ClusterServer], None]:
    def change(server: ClusterServer) -> None:
        del server.groups[name]
        if kinds is not None:
            server.groups[name] = kinds

    return change


def hide(*paths: str) -> Callable[[ClusterServer], None]:
    return lambda server: server.hidden.update(paths)


def deny(*rights: tuple[str, str, str]) -> Callable[[ClusterServer], None]:
    return lambda server: server.denied.update(rights)


def refuse(kind: str, code: int, message: str) -> Callable[[ClusterServer], None]:
    return lambda server: server.refusals.update({kind: (code, message)})


def quotas(*items: Any) -> Callable[[ClusterServer], None]:
    return put(f"{HERE}/resourcequotas", items=list(items))


def nodes(*items: Any) -> Callable[[ClusterServer], None]:
    return put("/api/v1/nodes", items=list(items))


def image(namespace: str, name: str, text: str) -> Callable[[ClusterServer], None]:
    return lambda server: server.there.update(deployment(namespace, name, text))


PROXY = "/api/v1/namespaces/kubeflow/services/ml-pipeline:http/proxy/apis/v2beta1/healthz"
CONTROLLER = "/apis/apps/v1/namespaces/kubeflow/deployments/katib-controller"
KATIB_CONFIG = "/api/v1/namespaces/kubeflow/configmaps/katib-config"
QUEUE = f"/apis/kueue.x-k8s.io/v1beta1/namespaces/{NAMESPACE}/localqueues/gpus"
INACTIVE = {"conditions": [{"type": "Active", "status": "False", "message": "no ClusterQueue"}]}
EDITOR = "default-editor"
MAKER = "receipt-counter-tensorboard-maker"
INJECTED = {"katib.kubeflow.org/metrics-collector-injection": "enabled"}
S3 = {"store": "s3://bucket/prefix"}

# name of the finding, what is changed, settings of the cluster, the state, what the detail says
CASES: dict[str, tuple[str, Callable[[ClusterServer], None], dict[str, Any], str, str]] = {
    "old Kubernetes": ("api server", put("/version", gitVersion="v1.28.1"), {}, ABSENT, "1.31 to 1.35"),
    "no Pipelines": ("pipelines", remove(PROXY), {}, MISSING, "name its address with --host"),
    "hidden Pipelines": ("pipelines", hide(PROXY), {}, ABSENT, "unknown: you may not get"),
    "old Pipelines": ("pipelines", put(PROXY, tag_name="2.5.0"), {}, ABSENT, "this is Pipelines 2.5.0; 2.15 to 2.17"),
    "Pipelines without contexts": ("pipelines", put(PROXY, tag_name="2.15.1"), {}, ABSENT, "update it to 2.16; steps"),
    "mute Pipelines": ("pipelines", put(PROXY, tag_name=""), {}, ABSENT, "does not say its version"),
    "Pipelines without users": ("pipelines", put(PROXY, multi_user=False), {}, OK, "cluster.namespace must be (team)"),
    "no Katib": ("katib", groups("kubeflow.org", None), {}, MISSING, "no experiments, suggestions, trials"),
    "Trainer alone": ("katib", groups("kubeflow.org", {"v1": ["pytorchjobs"]}), {}, MISSING, "install Katib 0.19"),
    "half of Katib": ("katib", groups("kubeflow.org", {"v1beta1": ["experiments", "trials"]}), {}, MISSING, "suggest"),
    "old Katib": (
        "katib",
        image("kubeflow", "katib-controller", "localhost:5000/katib-controller:v0.17.0"),
        {},
        ABSENT,
        "of version 0.17.0: 0.19 is supported",
    ),
    "hidden Katib": ("katib", hide(CONTROLLER), {}, ABSENT, "of unknown version (0.19 is supported)"),
    "Katib by digest": (
        "katib",
        image("kubeflow", "katib-controller", "localhost:5000/katib-controller@sha256:00"),
        {},
        ABSENT,
        "of unknown version",
    ),
    "no Trainer": ("trainer", groups("trainer.kubeflow.org", None), {}, ABSENT, "only runs of several machines"),
    "no Trainer for nodes": ("trainer", groups("trainer.kubeflow.org", None), {"nodes": 2}, MISSING, "install Trainer"),
    "no Tensorboards": ("tensorboards", groups("tensorboard.kubeflow.org", None), {}, ABSENT, "is a Deployment"),
    "no namespace": ("namespace", remove(HERE), {}, MISSING, "no namespace team: kubectl apply -k manifests/base"),
    "hidden namespace": ("namespace", hide(HERE), {}, ABSENT, "unknown: you may not get namespaces team"),
    "no injection": ("injection", labelled(), {}, MISSING, "kubectl label namespace team katib.kubeflow.org/metrics-"),
    "no standard": ("pod security", labelled(**INJECTED), {}, ABSENT, "none: pods here need not be restricted"),
    "bare sidecar": ("katib sidecar", put(KATIB_CONFIG, data={}), {}, MISSING, "injectSecurityContext: true"),
    "no sidecar's settings": ("katib sidecar", remove(KATIB_CONFIG), {}, MISSING, "refuses every trial's pod"),
    "hidden sidecar": (
        "katib sidecar",
        hide(KATIB_CONFIG),
        {},
        ABSENT,
        "unknown: you may not get configmaps katib-config",
    ),
    "no Kueue": ("queue", groups("kueue.x-k8s.io", None), {"queue": "gpus"}, MISSING, "leave cluster.queue out"),
    "no queue": ("queue", lambda _: None, {"queue": "gpus"}, MISSING, "no LocalQueue gpus in namespace team"),
    "queue": ("queue", put(QUEUE, status={"pendingWorkloads": 3}), {"queue": "gpus"}, OK, "gpus, 3 waiting in it"),
    "closed queue": ("queue", put(QUEUE, status=INACTIVE), {"queue": "gpus"}, MISSING, "nothing: no ClusterQueue"),
    "no priority": ("priority", lambda _: None, {"priority_class": "low"}, MISSING, "no PriorityClass low"),
    "priority": (
        "priority",
        put("/apis/scheduling.k8s.io/v1/priorityclasses/low", value=-10),
        {"priority_class": "low"},
        OK,
        "low",
    ),
    "no rights of one's own": (
        "your rights",
        deny(("", "create", "experiments.kubeflow.org"), ("", "get", "pods/log")),
        {},
        ABSENT,
        "you may not create experiments.kubeflow.org, get pods/log:",
    ),
    "weak account": (
        "pipeline account",
        deny((EDITOR, "create", "workflowtaskresults.argoproj.io")),
        {},
        MISSING,
        "ServiceAccount default-editor may not create workflowtaskresults.argoproj.io: bind a Role",
    ),
    "account without TrainJobs": (
        "pipeline account",
        deny((EDITOR, "create", "trainjobs.trainer.kubeflow.org")),
        {"nodes": 2},
        MISSING,
        "may not create trainjobs",
    ),
    "account without runtimes": (
        "pipeline account",
        deny((EDITOR, "patch", "trainingruntimes.trainer.kubeflow.org")),
        {"nodes": 2},
        MISSING,
        "may not patch trainingruntimes",
    ),
    "account that needs no TrainJobs": (
        "pipeline account",
        deny((EDITOR, "create", "trainjobs.trainer.kubeflow.org")),
        {},
        OK,
        "default-editor has the rights",
    ),
    "no account": (
        "pipeline account",
        remove(f"{HERE}/serviceaccounts/{EDITOR}"),
        {},
        MISSING,
        "no ServiceAccount default-editor in namespace team: --service-account names another",
    ),
    "account without users": ("pipeline account", put(PROXY, multi_user=False), {}, OK, "pipeline-runner has"),
    "reviews forbidden": (
        "pipeline account",
        hide(f"/apis/authorization.k8s.io/v1/namespaces/{NAMESPACE}/localsubjectaccessreviews"),
        {},
        ABSENT,
        "unknown: you may not create localsubjectaccessreviews.authorization.k8s.io",
    ),
    "weak TensorBoard account": (
        "tensorboard account",
        deny((MAKER, "create", "deployments.apps")),
        {},
        MISSING,
        "may not create deployments.apps",
    ),
    "steps that make no TensorBoards": (
        "tensorboard account",
        deny((EDITOR, "create", "services")),
        {},
        ABSENT,
        f"--role {MAKER} --serviceaccount team:{EDITOR}",
    ),
    "no trial account": (
        "trial account",
        lambda _: None,
        {"service_account": "other"},
        MISSING,
        "no ServiceAccount other",
    ),
    "full quota": (
        "quota",
        quotas(quota(requests_cpu=("40", "35"), limits_memory=("1Ti", "0"))),
        {},
        MISSING,
        "no room for a trial (requests.cpu: 5 of 40 left, a trial asks for 8)",
    ),
    "full GPUs": (
        "quota",
        quotas(quota(**{"requests_nvidia.com/gpu": ("4", "4")})),
        {},
        MISSING,
        "nvidia.com/gpu: 0 of",
    ),
    "narrow quota": (
        "quota",
        quotas(quota(cpu=("20", "0"))),
        {},
        ABSENT,
        "room for 2 trials at a time, the studies run 4",
    ),
    "wide quota": ("quota", quotas(quota(limits_cpu=("34", "0"))), {}, OK, "room for 4 trials at a time"),
    "two quotas": ("quota", quotas(quota(cpu=("99", "0")), quota(pods=("2", "1"))), {}, MISSING, "pods: 1 of 2 left"),
    "quota of several machines": ("quota", quotas(quota(cpu=("40", "0"))), {"nodes": 2}, ABSENT, "room for 2 trials"),
    "quota of something else": ("quota", quotas(quota(services=("1", "1"))), {}, OK, "none of what trials ask for"),
    "scoped quota": ("quota", quotas({**quota(cpu=("1", "1")), "spec": {"scopes": ["BestEffort"]}}), {}, OK, "none in"),
    "hidden quota": ("quota", hide(f"{HERE}/resourcequotas"), {}, ABSENT, "unknown: you may not list"),
    "no GPUs": (
        "gpu nodes",
        nodes(node("a", gpus=0)),
        {},
        MISSING,
        "0 of 1 nodes fit a trial, which asks for a node: nvid",
    ),
    "few GPUs": ("gpu nodes", nodes(node("a", gpus=2)), {"gpus": 4}, MISSING, "nvidia.com/gpu 2 of 4"),
    "other GPUs": (
        "gpu nodes",
        lambda _: None,
        {"gpu_type": "NVIDIA-B200"},
        MISSING,
        "nvidia.com/gpu.product is NVIDIA-H100, not NVIDIA-B200",
    ),
    "other labels": ("gpu nodes", lambda _: None, {"node_selector": ("zone=a",)}, MISSING, "zone is absent, not a"),
    "small nodes": ("gpu nodes", nodes(node("a", memory="32Gi")), {}, MISSING, "memory 32Gi of 64Gi"),
    "slow nodes": ("gpu nodes", nodes(node("a", cpu="7900m")), {}, MISSING, "cpu 7900m of 8"),
    "no nodes": ("gpu nodes", nodes(), {}, MISSING, "there are none. An autoscaler may add some"),
    "one node of two": (
        "gpu nodes",
        lambda _: None,
        {"nodes": 2},
        MISSING,
        "1 of 1 nodes fit a trial, which asks for 2",
    ),
    "hidden nodes": ("nodes", hide("/api/v1/nodes"), {}, ABSENT, "unknown: you may not list nodes;"),
    "spot nodes": (
        "gpu nodes",
        nodes(node("a", taints=[{"key": "spot", "value": "true", "effect": "NoSchedule"}])),
        {},
        MISSING,
        "the taint spot:NoSchedule is not in cluster.tolerations",
    ),
    "sick nodes": (
        "gpu nodes",
        nodes(node("a", taints=[{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}])),
        {},
        MISSING,
        "which asks for a node: it is not-ready",
    ),
    "tolerated spot nodes": (
        "gpu nodes",
        nodes(node("a", taints=[{"key": "spot", "value": "true", "effect": "NoSchedule"}])),
        {"tolerations": ("spot=true:NoSchedule",)},
        OK,
        "1 of 1",
    ),
    "soft taint": (
        "gpu nodes",
        nodes(node("a", taints=[{"key": "spot", "effect": "PreferNoSchedule"}])),
        {},
        OK,
        "1 of 1",
    ),
    "trials without GPUs": ("nodes", nodes(node("a", gpus=0, taints=[])), {"gpus": 0}, OK, "1 of 1 nodes fit a trial"),
    "no volume": ("store", remove(CLAIM), {}, MISSING, "or cluster.store: s3://BUCKET/PREFIX"),
    "unbound volume": (
        "store",
        put(CLAIM, status={"phase": "Pending"}),
        {},
        ABSENT,
        "describe pvc receipt-counter-store",
    ),
    "lost volume": ("store", put(CLAIM, status={"phase": "Lost"}), {}, MISSING, "has lost its volume"),
    "volume of one node": ("store", put(CLAIM, spec={"accessModes": ["ReadWriteOnce"]}), {}, ABSENT, "on one node"),
    "no secret": ("store", lambda _: None, S3, MISSING, "kubectl -n team create secret generic receipt-counter-store"),
    "secret": (
        "store",
        put(f"{HERE}/secrets/receipt-counter-store", data={"access-key": "eA==", "secret-key": "eA=="}),
        S3,
        OK,
        "s3://bucket/prefix, with the keys of Secret receipt-counter-store",
    ),
    "secret of something else": (
        "store",
        put(f"{HERE}/secrets/keys", data={"password": "eA=="}),
        {**S3, "credentials": "keys"},
        MISSING,
        "Secret keys has password, not access-key and secret-key",
    ),
    "hidden secret": (
        "store",
        hide(f"{HERE}/secrets/receipt-counter-store"),
        S3,
        ABSENT,
        "unknown: you may not get secrets",
    ),
    "image of no registry": ("images", lambda _: None, {"image": "receipt-counter:1"}, ABSENT, "no registry is named"),
    "images by their digests": (
        "images",
        lambda _: None,
        {"image": "reg.example:5000/ours@sha256:01", "training_image": "reg.example:5000/ours:1@sha256:23"},
        OK,
        "reg.example:5000/ours:1@sha256:23, reg.example:5000/ours@sha256:01; whether nodes can pull them",
    ),
    "digest of no registry": ("images", lambda _: None, {"image": "ours@sha256:01"}, ABSENT, "no registry is named"),
    "no pull secret": (
        "images",
        put(f"{HERE}/serviceaccounts/receipt-counter-trial", imagePullSecrets=[{"name": "pull"}]),
        {},
        MISSING,
        "pulls with Secret pull, which is not there",
    ),
    "refused pod": (
        "trial pod",
        refuse("pods", 403, 'pods "x" is forbidden: violates PodSecurity "restricted:v1.31": runAsNonRoot != true'),
        {},
        MISSING,
        'violates PodSecurity "restricted:v1.31"',
    ),
    "no right to try": (
        "trial job",
        refuse("jobs", 403, 'jobs.batch is forbidden: User "u" cannot create resource "jobs"'),
        {},
        ABSENT,
        "unknown: you may not create jobs",
    ),
    "webhook that takes no dry runs": (
        "trial pod",
        refuse("pods", 400, "admission webhook w does not support dry run"),
        {},
        ABSENT,
        "unknown: ",
    ),
    "warned pod": (
        "trial pod",
        lambda server: server.headers.update(Warning='299 - "would violate PodSecurity \\"restricted:latest\\": x"'),
        {},
        ABSENT,
        "accepted, with the warning: would violate PodSecurity",
    ),
}
