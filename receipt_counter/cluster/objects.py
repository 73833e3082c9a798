"""Objects of any kind in one namespace of a cluster, as plain JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from receipt_counter.cluster.connection import TIMEOUT, ApiError, Connection, Request
from receipt_counter.errors import UserError

MANAGED_BY = {"app.kubernetes.io/managed-by": "receipt-counter"}
_FIELDS = ("apiVersion", "kind", "metadata")


@dataclass(frozen=True)
class Kind:
    """A kind of objects.

    Args:
        group: of its API; empty for the core.
        version: of the group.
        plural: its name in paths and Roles.
    """

    group: str
    version: str
    plural: str

    @property
    def resource(self) -> str:
        """As kubectl and a Role's reader name it: "deployments.apps"."""
        return ".".join(filter(None, (self.plural, self.group)))

    def path(self, namespace: str, name: str = "") -> str:
        """Where the API server has the objects, or one of them."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        return "/".join(filter(None, (f"{root}/namespaces/{namespace}/{self.plural}", name)))


PODS = Kind("", "v1", "pods")
TRAIN_JOBS = Kind("trainer.kubeflow.org", "v1alpha1", "trainjobs")
RUNTIMES = Kind("trainer.kubeflow.org", "v1alpha1", "trainingruntimes")
EXPERIMENTS = Kind("kubeflow.org", "v1beta1", "experiments")


class Objects:
    """The objects of a namespace.

    Args:
        connection: to the API server; what fails is tried again there.
        namespace: where everything is.
    """

    def __init__(self, connection: Connection, namespace: str) -> None:
        self._connection = connection
        self._api = connection.core.api_client
        self.namespace = namespace

    def get(self, kind: Kind, name: str) -> dict[str, Any] | None:
        """An object, or None if there is none of that name."""
        try:
            found: dict[str, Any] = self._send("get", "GET", kind, name)
        except ApiError as error:
            if error.object_missing:
                return None
            raise
        return found

    def select(self, kind: Kind, selector: Mapping[str, str]) -> list[dict[str, Any]]:
        """The objects with some labels, in no order."""
        query = [("labelSelector", ",".join(f"{label}={value}" for label, value in selector.items()))]
        found: list[dict[str, Any]] = self._send("list", "GET", kind, query=query)["items"]
        return found

    def require(self, kind: Kind, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object; one that is there already is left as it is.

        Args:
            kind: of the object.
            manifest: with its name.

        Returns:
            The object as the cluster has it.

        Raises:
            UserError: it is being deleted.
        """
        name = manifest["metadata"]["name"]
        there = self.get(kind, name)
        if there is None:
            try:
                return self._send("create", "POST", kind, name, body=dict(manifest))  # type: ignore[no-any-return]  # JSON
            except ApiError as error:
                there = self.get(kind, name) if error.code == 409 else None
                if there is None:
                    raise
        if there["metadata"].get("deletionTimestamp"):
            raise UserError(f"{kind.resource} {name} in namespace {self.namespace} is being deleted; try again then")
        return there

    def merge(self, kind: Kind, name: str, patch: Mapping[str, Any]) -> None:
        """Change an object: a JSON merge patch (RFC 7396)."""
        self._send("patch", "PATCH", kind, name, body=dict(patch))

    def own(self, kind: Kind, name: str, owner: Mapping[str, Any]) -> None:
        """Have Kubernetes delete an object, one of ours, with another of the same namespace."""
        reference = {**{key: owner[key] for key in _FIELDS[:2]}, **{k: owner["metadata"][k] for k in ("name", "uid")}}
        self.merge(kind, name, {"metadata": {"ownerReferences": [reference]}})

    def delete(self, kind: Kind, name: str) -> bool:
        """Delete an object and what it owns; returns whether it was there."""
        try:
            self._send("delete", "DELETE", kind, name, query=[("propagationPolicy", "Background")])
        except ApiError as error:
            if error.object_missing:
                return False
            raise
        return True

    def log(
        self, pod: str, container: str, since: str | None = None, lines: int | None = None
    ) -> list[tuple[str, str]]:
        """What a container printed.

        Args:
            pod, container: whose.
            since: only from this second on (RFC 3339).
            lines: only the last ones.

        Returns:
            [(time, line)]; empty if it has not started, or is gone.
        """
        query: list[tuple[str, Any]] = [("container", container), ("timestamps", "true")]
        query += [("sinceTime", since)] if since else []
        query += [("tailLines", lines)] if lines else []
        try:
            text = self._send("get", "GET", PODS, f"{pod}/log", query=query, raw=True)
        except ApiError as error:
            if error.code in (400, 404):
                return []
            raise
        stamped = (line.partition(" ") for line in text.splitlines())
        return [(time, line) for time, _, line in stamped]

    def _send(
        self,
        verb: str,
        method: str,
        kind: Kind,
        name: str = "",
        *,
        query: Any = (),
        body: Any = None,
        raw: bool = False,
    ) -> Any:
        path = kind.path(self.namespace, "" if method == "POST" else name)
        types = {"PATCH": "application/merge-patch+json"}
        headers = {"Accept": "*/*" if raw else "application/json"}
        if body is not None:
            headers["Content-Type"] = types.get(method, "application/json")

        def call() -> Any:
            answer = self._api.call_api(
                path, method, {}, list(query), headers, body=body, auth_settings=["BearerToken"],
                _preload_content=False, _return_http_data_only=True, _request_timeout=TIMEOUT,
            )  # fmt: skip
            return str(answer.data, "utf-8", errors="replace") if raw else json.loads(answer.data)

        resource = kind.resource if not raw else f"{kind.resource}/log"
        return self._connection.send(Request(verb, resource, self.namespace, name.removesuffix("/log")), call)
