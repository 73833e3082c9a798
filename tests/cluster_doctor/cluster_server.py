"""A stand-in of a cluster's API server for what doctor asks: discovery, objects, reviews of access, dry runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.engines.api_server import ApiServer, status

NAMESPACE = "team"
_REVIEW = "subjectaccessreviews"


class ClusterServer(ApiServer):
    """Use it as a context; a healthy cluster, until a test takes something away.

    Attributes:
        there: {path: object}.
        hidden: paths that the account may not read.
        groups: {API group: {version: its kinds}}.
        denied: (account, or empty for whoever asks; verb; kind) that reviews of access deny.
        refusals: {kind: code and message} with which dry runs are refused.
        tried: objects sent as dry runs.
        reviewed: specs of all reviews of access.
    """

    def __init__(self) -> None:
        super().__init__()
        self.there = healthy()
        self.hidden: set[str] = set()
        self.groups: dict[str, dict[str, list[str]]] = {
            "kubeflow.org": {"v1beta1": ["experiments", "suggestions", "trials"], "v1": ["pytorchjobs"]},
            "trainer.kubeflow.org": {"v1alpha1": ["trainjobs", "trainingruntimes"]},
            "tensorboard.kubeflow.org": {"v1alpha1": ["tensorboards"]},
            "kueue.x-k8s.io": {"v1beta1": ["localqueues"]},
        }
        self.denied: set[tuple[str, str, str]] = set()
        self.refusals: dict[str, tuple[int, str]] = {}
        self.tried: list[dict[str, Any]] = []
        self.reviewed: list[dict[str, Any]] = []

    def answer(self, method: str, path: str, kind: str, body: Any) -> tuple[int, Any]:
        url = urlsplit(path)
        plural = url.path.rpartition("/")[2]
        if url.path in self.hidden:
            message = f'{plural} is forbidden: User "u" cannot get resource "{plural}" in API group ""'
            return 403, status(403, "Forbidden", message)
        if method == "GET":
            return self._get(url.path)
        if plural.endswith(_REVIEW):
            return 201, self._review(body)
        return self._try(plural, parse_qs(url.query), body)

    def _get(self, path: str) -> tuple[int, Any]:
        parts = path.strip("/").split("/")
        if parts[0] == "apis" and len(parts) in (2, 3) and parts[1] in self.groups:
            versions = self.groups[parts[1]]
            if len(parts) == 2:
                return 200, {"kind": "APIGroup", "versions": [{"version": name} for name in versions]}
            kinds = [{"name": name} for name in versions.get(parts[2], [])]
            return 200, {"kind": "APIResourceList", "resources": kinds}
        if path in self.there:
            return 200, self.there[path]
        return 404, status(404, "NotFound", f'"{parts[-1]}" not found', parts[-1])

    def _review(self, body: Any) -> dict[str, Any]:
        spec, metadata = body["spec"], body["metadata"]
        local = body["kind"] == "LocalSubjectAccessReview"
        assert local == (metadata.get("namespace") == NAMESPACE) == ("user" in spec), "as its validation wants it"
        self.reviewed.append(spec)
        account = spec.get("user", "").rpartition(":")[2]
        attributes = spec["resourceAttributes"]
        kind = "/".join(filter(None, (attributes["resource"], attributes.get("subresource"))))
        whole = ".".join(filter(None, (kind, attributes["group"])))
        return {**body, "status": {"allowed": (account, attributes["verb"], whole) not in self.denied}}

    def _try(self, plural: str, query: Mapping[str, list[str]], body: Any) -> tuple[int, Any]:
        assert query["dryRun"] == ["All"], "nothing may be made"
        self.tried.append(body)
        if plural in self.refusals:
            code, message = self.refusals[plural]
            return code, status(code, "Forbidden", message, body["metadata"]["generateName"])
        return 201, body


def healthy() -> dict[str, Any]:
    """Objects of a cluster in which everything is as it should be, by their paths."""
    here = f"/api/v1/namespaces/{NAMESPACE}"
    accounts = ("receipt-counter-trial", "receipt-counter-tensorboard-maker", "default-editor", "pipeline-runner")
    return {
        "/version": {"gitVersion": "v1.33.2"},
        f"/api/v1/namespaces/{NAMESPACE}": {
            "metadata": {
                "labels": {
                    "katib.kubeflow.org/metrics-collector-injection": "enabled",
                    "pod-security.kubernetes.io/enforce": "restricted",
                }
            }
        },
        "/api/v1/namespaces/kubeflow/configmaps/katib-config": {
            "data": {"katib-config.yaml": "init:\n  controller:\n    injectSecurityContext: true\n"}
        },
        "/api/v1/namespaces/kubeflow/services/ml-pipeline:http/proxy/apis/v2beta1/healthz": {
            "tag_name": "2.16.0",
            "multi_user": True,
        },
        **{f"{here}/serviceaccounts/{name}": {"metadata": {"name": name}} for name in accounts},
        f"{here}/resourcequotas": {"items": []},
        f"{here}/persistentvolumeclaims/receipt-counter-store": {
            "spec": {"accessModes": ["ReadWriteMany"]},
            "status": {"phase": "Bound", "capacity": {"storage": "200Gi"}},
        },
        "/api/v1/nodes": {"items": [node("gpu-1")]},
        **deployment("kubeflow", "katib-controller", "ghcr.io/kubeflow/katib/katib-controller:v0.19.0"),
        **deployment(
            "kubeflow-system",
            "kubeflow-trainer-controller-manager",
            "ghcr.io/kubeflow/trainer/trainer-controller-manager:v2.1.0",
        ),
    }


def deployment(namespace: str, name: str, image: str) -> dict[str, Any]:
    """A Deployment by its path."""
    spec = {"template": {"spec": {"containers": [{"image": image}]}}}
    return {f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}": {"spec": spec}}


def node(name: str, *, gpus: int = 4, cpu: str = "31800m", memory: str = "250Gi", taints: Any = None) -> dict[str, Any]:
    """A node with GPUs, tainted as GPU nodes are."""
    usual = [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}]
    return {
        "metadata": {"name": name, "labels": {"nvidia.com/gpu.product": "NVIDIA-H100", "pool": "big"}},
        "spec": {"taints": usual if taints is None else taints},
        "status": {"allocatable": {"cpu": cpu, "memory": memory, "nvidia.com/gpu": str(gpus)}},
    }


def quota(**hard_and_used: tuple[str, str]) -> dict[str, Any]:
    """A ResourceQuota: requests_cpu=(hard, used) is requests.cpu."""
    keys = {name.replace("_", "."): pair for name, pair in hard_and_used.items()}
    state = {
        "hard": {name: pair[0] for name, pair in keys.items()},
        "used": {name: pair[1] for name, pair in keys.items()},
    }
    return {"metadata": {"name": "q"}, "spec": {"hard": state["hard"]}, "status": state}
