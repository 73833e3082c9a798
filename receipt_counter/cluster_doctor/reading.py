"""Reads a cluster's objects as JSON has them, and what the account may not read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from receipt_counter.cluster.connection import ApiError, Connection, Request
from receipt_counter.doctor import ABSENT, MISSING, Finding
from receipt_counter.errors import UserError

FORBIDDEN = 403
Check = Callable[[], "Finding | Sequence[Finding]"]


class Reader:
    """A cluster, read from one namespace.

    Args:
        connection: to its API server.
        namespace: where studies and pipelines run.
    """

    def __init__(self, connection: Connection, namespace: str) -> None:
        self._connection = connection
        self.namespace = namespace

    def get(self, kind: str, name: str = "", *, version: str = "v1", namespace: str | None = None) -> Any | None:
        """An object, or without a name the list of them.

        Args:
            kind: as Roles name it: "pods", "deployments.apps".
            name: of the object.
            version: of its group.
            namespace: where; None is this one, empty for what is in no namespace.

        Returns:
            None if there is none, or no such kind.
        """
        plural, _, group = kind.partition(".")
        where = self.namespace if namespace is None else namespace
        root = f"/apis/{group}/{version}" if group else f"/api/{version}"
        path = f"{root}{f'/namespaces/{where}' if where else ''}/{plural}{f'/{name}' if name else ''}"
        return self.path(path, Request("get" if name else "list", kind, where, name))

    def path(self, path: str, request: Request | None = None) -> Any | None:
        """What a path answers; None if there is nothing."""
        try:
            return self._connection.ask(request or Request("get", path, ""), "GET", path)[0]
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    def create(self, kind: str, path: str, body: Any, **query: str) -> tuple[Any, Mapping[str, str]]:
        """Send an object; with dryRun=All the server checks it and forgets it. Returns its answer and headers."""
        return self._connection.ask(Request("create", kind, self.namespace), "POST", path, body, **query)

    def served(self, group: str) -> dict[str, frozenset[str]]:
        """{version: the kinds of it} of an API group: what its CustomResourceDefinitions have made; anyone may ask."""
        found = self.path(f"/apis/{group}")
        versions = [entry["version"] for entry in found["versions"]] if found else []
        kinds = {version: self.path(f"/apis/{group}/{version}") or {"resources": []} for version in versions}
        return {version: frozenset(entry["name"] for entry in kind["resources"]) for version, kind in kinds.items()}

    def release(self, deployment: str, namespaces: Sequence[str]) -> str:
        """The tag of a component's image; "unknown" where it is not found or may not be seen."""
        for namespace in namespaces:
            try:
                found = self.get("deployments.apps", deployment, namespace=namespace)
            except ApiError as error:
                if error.code != FORBIDDEN:
                    raise
                continue
            if found is not None:
                image = found["spec"]["template"]["spec"]["containers"][0]["image"].partition("@")[0]
                return image.rpartition(":")[2].removeprefix("v") if ":" in image.rpartition("/")[2] else "unknown"
        return "unknown"


def findings(name: str, check: Check) -> Iterator[Finding]:
    """What a check found; that the account may not look, or that the server refuses, is a finding too.

    Args:
        name: of the finding, if the check itself gives none.
        check: asks the cluster.
    """
    try:
        found = check()
    except ApiError as error:
        if error.code == FORBIDDEN:
            yield Finding(name, ABSENT, f"unknown: you may not {error.request}; an administrator can look")
        else:
            yield Finding(name, MISSING, error.message)
    except UserError as error:
        yield Finding(name, MISSING, error.message)
    else:
        yield from [found] if isinstance(found, Finding) else found
