"""A TensorBoard of a study on a cluster: a Deployment of ours, or Kubeflow's own Tensorboard object.

Ours shows the runs of its study under their names, keeps the *restricted* Pod Security Standard, and reads either the
store's volume or what a sidecar mirrors from an object store. Kubeflow's shows all runs of the volume under their ids:
it takes a path and nothing else, and the standard refuses its pod.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from receipt_counter.cluster.connection import ApiError
from receipt_counter.cluster.objects import EXPERIMENTS, MANAGED_BY, Kind, Objects
from receipt_counter.cluster.pods import (
    CONTAINER_SECURITY,
    POD_SECURITY,
    labels,
    store_environment,
    store_mount,
    store_volume,
)
from receipt_counter.config.cluster import Cluster
from receipt_counter.errors import UserError
from receipt_counter.tensorboard import HEALTH, PORT

DEPLOYMENTS = Kind("apps", "v1", "deployments")
SERVICES = Kind("", "v1", "services")
VIRTUAL_SERVICES = Kind("networking.istio.io", "v1", "virtualservices")
TENSORBOARDS = Kind("tensorboard.kubeflow.org", "v1alpha1", "tensorboards")
KINDS = {"deployment": (DEPLOYMENTS, SERVICES, VIRTUAL_SERVICES), "tensorboard": (TENSORBOARDS,)}

CREATED = "receipt-counter/created"  # annotation: when it was last asked for
INSTANCE = "app.kubernetes.io/instance"
GATEWAY = "kubeflow/kubeflow-gateway"
SERVICE_ACCOUNT = "receipt-counter-tensorboard"  # of manifests/base/tensorboard.yaml; it has no rights
_LONGEST_NAME = 63
_PREFIX = "receipt-counter-tb-"
_LOGS = "/logs"  # where the sidecar mirrors to


@dataclass(frozen=True)
class TensorBoard:
    """One that is there.

    Attributes:
        study: whose.
        kind: one of KINDS.
        created: when it was last asked for.
        link: its path behind Kubeflow's gateway; None where it has none.
    """

    study: str
    kind: str
    created: datetime
    link: str | None


def manifests(cluster: Cluster, study: str, kind: str, created: datetime) -> list[tuple[Kind, dict[str, Any]]]:
    """The objects that make a TensorBoard.

    Args:
        cluster: where the runs are.
        study: its id, the Experiment's name on the cluster.
        kind: one of KINDS.
        created: written to the objects.

    Raises:
        UserError: Kubeflow's object cannot show this store.
    """
    marked = {**labels("tensorboard"), **MANAGED_BY, INSTANCE: study}
    metadata = {
        "name": _name(study),
        "namespace": cluster.namespace,
        "labels": marked,
        "annotations": {CREATED: created.isoformat(timespec="seconds")},
    }
    if kind == "tensorboard":
        if not cluster.is_on_volume:
            raise UserError(f"Kubeflow's Tensorboard object does not see new runs of {cluster.store}: leave --kind out")
        spec = {"logspath": f"pvc://{cluster.volume}/runs"}
        return [(TENSORBOARDS, _object(TENSORBOARDS, "Tensorboard", metadata, spec))]
    selected = {label: marked[label] for label in ("app.kubernetes.io/name", "app.kubernetes.io/component", INSTANCE)}
    template = {"metadata": {"labels": marked}, "spec": _pod(cluster, study)}
    deployment = {"replicas": 1, "selector": {"matchLabels": selected}, "template": template}
    service = {"selector": selected, "ports": [{"name": "http", "port": PORT, "targetPort": "http"}]}
    destination = {"host": f"{_name(study)}.{cluster.namespace}.svc.cluster.local", "port": {"number": PORT}}
    route = {
        "hosts": ["*"],
        "gateways": [GATEWAY],
        "http": [
            {
                "match": [{"uri": {"prefix": f"{path_prefix(cluster, study)}/"}}],
                "route": [{"destination": destination}],
            }
        ],
    }
    return [
        (DEPLOYMENTS, _object(DEPLOYMENTS, "Deployment", metadata, deployment)),
        (SERVICES, _object(SERVICES, "Service", metadata, service)),
        (VIRTUAL_SERVICES, _object(VIRTUAL_SERVICES, "VirtualService", metadata, route)),
    ]


def _object(kind: Kind, name: str, metadata: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
    version = "/".join(filter(None, (kind.group, kind.version)))
    return {"apiVersion": version, "kind": name, "metadata": metadata, "spec": spec}


def _name(study: str) -> str:
    """A name that a Service can have; what identifies the study is at its end."""
    room = _LONGEST_NAME - len(_PREFIX)
    return _PREFIX + (study if len(study) <= room else study[-room:].lstrip("-"))


def path_prefix(cluster: Cluster, study: str) -> str:
    """Where its pages are, behind the gateway and without one."""
    return f"/receipt-counter/{cluster.namespace}/tensorboard/{study}"


def _pod(cluster: Cluster, study: str) -> dict[str, Any]:
    logs = {"name": "logs", "mountPath": _LOGS}
    containers = [_server(cluster, study, store_mount(cluster, read_only=True) if cluster.is_on_volume else logs)]
    volumes: list[dict[str, Any]] = [store_volume(cluster), {"name": "scratch", "emptyDir": {"sizeLimit": "1Gi"}}]
    if not cluster.is_on_volume:
        containers.append(_mirror(cluster, logs))
        volumes.append({"name": "logs", "emptyDir": {"sizeLimit": "20Gi"}})
    return {
        "serviceAccountName": SERVICE_ACCOUNT,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": POD_SECURITY,
        "containers": containers,
        "volumes": volumes,
    }


def _server(cluster: Cluster, study: str, mount: dict[str, Any]) -> dict[str, Any]:
    prefix = path_prefix(cluster, study)
    health = {"httpGet": {"path": f"{prefix}{HEALTH}", "port": "http"}}
    return {
        "name": "tensorboard",
        "image": cluster.image,
        "command": ["python", "-m", "receipt_counter", "tensorboard"],
        "args": [
            study, "--wait", f"--store={mount['mountPath']}", "--host=0.0.0.0", f"--port={PORT}",
            f"--path-prefix={prefix}",
        ],
        "env": [{"name": "HOME", "value": "/tmp"}],
        "ports": [{"name": "http", "containerPort": PORT}],
        "startupProbe": {**health, "periodSeconds": 5, "failureThreshold": 24},
        "readinessProbe": {**health, "periodSeconds": 10, "timeoutSeconds": 5},
        "livenessProbe": {**health, "periodSeconds": 30, "timeoutSeconds": 10},
        "resources": {
            "requests": {"cpu": "100m", "memory": "512Mi"},
            "limits": {"cpu": "1", "memory": "2Gi"},
        },
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": [mount, {"name": "scratch", "mountPath": "/tmp"}],
    }  # fmt: skip


def _mirror(cluster: Cluster, logs: dict[str, Any]) -> dict[str, Any]:
    """The sidecar that copies event files, and later what is new of them, from the object store."""
    begun = {"exec": {"command": ["test", "-d", f"{_LOGS}/runs"]}}  # it ends by itself where it cannot go on
    return {
        "name": "mirror",
        "image": cluster.image,
        "command": ["python", "-m", "receipt_counter.storage.mirror"],
        "args": [f"{cluster.store.rstrip('/')}/runs", f"{_LOGS}/runs", "--only", "events"],
        "env": [{"name": "HOME", "value": "/tmp"}, *store_environment(cluster)],
        "startupProbe": {**begun, "periodSeconds": 5, "failureThreshold": 24},
        "readinessProbe": {**begun, "periodSeconds": 30},
        "livenessProbe": {**begun, "periodSeconds": 60},
        "resources": {
            "requests": {"cpu": "50m", "memory": "256Mi"},
            "limits": {"cpu": "500m", "memory": "512Mi"},
        },
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": [logs, store_mount(cluster), {"name": "scratch", "mountPath": "/tmp"}],
    }


class TensorBoards:
    """The TensorBoards of studies in one namespace.

    Args:
        objects: of the namespace.
        cluster: where the runs are.
        now: the time.
    """

    def __init__(
        self, objects: Objects, cluster: Cluster, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._objects, self._cluster, self._now = objects, cluster, now

    def make(self, study: str, kind: str = "deployment") -> TensorBoard:
        """Make a TensorBoard, or bring one that is there up to date.

        Raises:
            UserError: the cluster refuses.
        """
        created = self._now()
        routed = kind == "tensorboard"
        for resource, manifest in manifests(self._cluster, study, kind, created):
            try:
                self._put(resource, manifest)
                routed = routed or resource == VIRTUAL_SERVICES
            except ApiError as error:
                # a cluster without Istio has no gateway to be behind
                if resource != VIRTUAL_SERVICES or error.code != 404:
                    raise
        return TensorBoard(study, kind, created, self._link(study, kind) if routed else None)

    def _put(self, kind: Kind, manifest: dict[str, Any]) -> None:
        there = self._objects.require(kind, manifest)
        if there["metadata"].get("annotations", {}).get(CREATED) != manifest["metadata"]["annotations"][CREATED]:
            parts = {key: manifest["metadata"][key] for key in ("labels", "annotations")}
            self._objects.merge(kind, manifest["metadata"]["name"], {"metadata": parts, "spec": manifest["spec"]})

    def _link(self, study: str, kind: str) -> str:
        if kind == "tensorboard":  # as Kubeflow's controller routes it
            return f"/tensorboard/{self._cluster.namespace}/{_name(study)}/"
        return f"{path_prefix(self._cluster, study)}/"

    def own(self, study: str, seconds: float = 0.0) -> bool:
        """Have a TensorBoard deleted with the study's Experiment.

        Args:
            study: whose.
            seconds: how long to wait for an Experiment that is not there yet.

        Returns:
            Whether there is an Experiment.
        """
        end = time.monotonic() + seconds
        while (experiment := self._get(EXPERIMENTS, study)) is None:
            if time.monotonic() >= end:
                return False
            time.sleep(min(2.0, seconds))
        owner = {"apiVersion": f"{EXPERIMENTS.group}/{EXPERIMENTS.version}", "kind": "Experiment", **experiment}
        for kind in (kind for kinds in KINDS.values() for kind in kinds):
            if self._get(kind, _name(study)) is not None:
                self._objects.own(kind, _name(study), owner)
        return True

    def delete(self, study: str) -> bool:
        """Delete whatever shows a study; returns whether there was anything."""
        kinds = [kind for kinds in KINDS.values() for kind in kinds]
        there = [kind for kind in kinds if self._get(kind, _name(study)) is not None]
        for kind in there:
            self._objects.delete(kind, _name(study))
        return bool(there)

    def all(self) -> list[TensorBoard]:
        """All that are there, the oldest first."""
        found = []
        marked = {**MANAGED_BY, "app.kubernetes.io/component": "tensorboard"}
        for kind, (resource, *_) in KINDS.items():
            for item in self._select(resource, marked):
                metadata = item["metadata"]
                study = metadata["labels"][INSTANCE]
                created = datetime.fromisoformat(metadata["annotations"][CREATED])
                routed = kind == "tensorboard" or self._get(VIRTUAL_SERVICES, metadata["name"]) is not None
                found.append(TensorBoard(study, kind, created, self._link(study, kind) if routed else None))
        return sorted(found, key=lambda one: (one.created, one.study))

    def prune(self, age: timedelta) -> list[TensorBoard]:
        """Delete those that nobody has asked for in some time; returns them."""
        old = [one for one in self.all() if self._now() - one.created > age]
        for one in old:
            self.delete(one.study)
        return old

    def _get(self, kind: Kind, name: str) -> dict[str, Any] | None:
        """An object; None also where the cluster does not have the kind."""
        try:
            return self._objects.get(kind, name)
        except ApiError as error:
            if error.code != 404:
                raise
            return None

    def _select(self, kind: Kind, selector: dict[str, str]) -> list[dict[str, Any]]:
        try:
            return self._objects.select(kind, selector)
        except ApiError as error:
            if error.code != 404:
                raise
            return []


def reach(board: TensorBoard, namespace: str) -> str:
    """How to open it, in a line."""
    if board.link:
        return f"TensorBoard of {board.study}: {board.link} on Kubeflow's address"
    prefix = f"/receipt-counter/{namespace}/tensorboard/{board.study}/"
    return (
        f"TensorBoard of {board.study}: kubectl -n {namespace} port-forward service/{_name(board.study)} {PORT}, then"
        f" http://localhost:{PORT}{prefix}"
    )
