"""The API server's stand-in with objects of every kind, and Trainer's controller.

Shapes: the API conventions (generic paths, merge patches of RFC 7396, logs with timestamps, sinceTime in whole seconds)
and kubeflow/trainer's v1alpha1 types (conditions, suspend) with the labels that JobSet puts on pods.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.engines.api_server import ApiServer, Key, status

_VERBS = {"POST": "create", "PATCH": "patch", "DELETE": "delete"}
_PATH = re.compile(r"/(api/v1|apis/[^/]+/[^/]+)/namespaces/([^/]+)/(\w+)(?:/([^/]+))?(/log)?$")
_TESTED_THERE = ("experiments", "trials", "configmaps")  # by the engines' stand-in


class ClusterServer(ApiServer):
    """An API server that has every kind.

    Attributes:
        printed: {pod: [(time, line)]} of its first container.
        asked: {resource as a Role names it: verbs} of all requests.
        absent: plurals that this cluster does not have.
    """

    def __init__(self) -> None:
        super().__init__()
        self.printed: dict[str, list[tuple[str, str]]] = {}
        self.asked: dict[str, set[str]] = {}
        self.absent: set[str] = set()

    def answer(self, method: str, path: str, kind: str, body: Any) -> tuple[int, Any]:
        """What the server says to a request."""
        url = urlsplit(path)
        match = _PATH.match(url.path)
        if match is None or match[3] in self.absent:
            return 404, "404 page not found\n"
        plural, namespace = match[3], match[2]
        group = match[1].split("/")[1] if match[1] != "api/v1" else ""
        verb = _VERBS.get(method) or ("get" if match[4] else "list")
        self.asked.setdefault(f"{group}/{plural}{match[5] or ''}", set()).add(verb)
        if plural in _TESTED_THERE and method != "PATCH":
            return super().answer(method, path, kind, body)
        with self._lock:
            if method == "POST":
                return self._make((plural, namespace, body["metadata"]["name"]), body)
            if match[4] is None:
                return 200, {"items": self._selected(plural, namespace, parse_qs(url.query))}
            if match[5] and ("pods", namespace, match[4]) in self.objects:
                return 200, self._printed(match[4], parse_qs(url.query))
            return self._one((plural, namespace, match[4]), method, kind, body)

    def _make(self, key: Key, body: Any) -> tuple[int, Any]:
        if key in self.objects:
            return 409, status(409, "AlreadyExists", f'{key[0]} "{key[2]}" already exists', key[2])
        return 201, self.put(key[0], key[1], body)

    def _selected(self, kind: str, where: str, query: dict[str, list[str]]) -> list[Any]:
        wanted = dict(pair.split("=") for pair in query.get("labelSelector", [""])[0].split(",") if pair)
        return [
            item
            for (plural, namespace, _), item in self.objects.items()
            if (plural, namespace) == (kind, where) and wanted.items() <= item["metadata"].get("labels", {}).items()
        ]

    def _one(self, key: Key, method: str, kind: str, body: Any) -> tuple[int, Any]:
        if key not in self.objects:
            return 404, status(404, "NotFound", f'{key[0]} "{key[2]}" not found', key[2])
        if method == "DELETE":
            self.delete(key)
            return 200, {"kind": "Status", "apiVersion": "v1", "status": "Success"}
        if method == "PATCH":
            if kind == "application/strategic-merge-patch+json":
                return self._patch(key, kind, body)
            assert kind == "application/merge-patch+json"
            _merge(self.objects[key], body)
        return 200, self.objects[key]

    def _printed(self, pod: str, query: dict[str, list[str]]) -> str:
        since = query.get("sinceTime", [""])[0][:19]
        lines = [f"{time} {line}\n" for time, line in self.printed.get(pod, []) if time[:19] >= since]
        return "".join(lines[-int(query.get("tailLines", ["1000"])[0]) :])


def _merge(target: dict[str, Any], patch: dict[str, Any]) -> None:
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict):
            _merge(target.setdefault(key, {}), value)
        else:
            target[key] = value


class Trainer:
    """Trainer's and JobSet's controllers."""

    def __init__(self, server: ClusterServer, namespace: str) -> None:
        self.server, self.namespace = server, namespace
        self._second = 0

    def start(self, job: dict[str, Any], attempt: int = 0) -> list[str]:
        """Make the pods of a TrainJob; returns their names."""
        name = job["metadata"]["name"]
        names = []
        for rank in range(job["spec"]["trainer"]["numNodes"]):
            names.append(f"{name}-node-0-{rank}-{attempt:05d}")
            labels = {
                "jobset.sigs.k8s.io/jobset-name": name,
                "jobset.sigs.k8s.io/replicatedjob-name": "node",
                "batch.kubernetes.io/job-completion-index": str(rank),
            }
            owner = {"kind": "TrainJob", "name": name, "uid": job["metadata"]["uid"]}
            stamp = f"2026-01-01T00:{attempt:02d}:00Z"
            metadata = {
                "name": names[-1],
                "labels": labels,
                "ownerReferences": [owner],
                "creationTimestamp": stamp,
            }
            self.server.put("pods", self.namespace, {"metadata": metadata, "status": {"phase": "Running"}})
        return names

    def say(self, pod: str, *lines: str, same_second: bool = False) -> None:
        """Have a pod print."""
        for number, line in enumerate(lines):
            self._second += not same_second
            stamp = f"2026-01-01T01:{self._second // 60:02d}:{self._second % 60:02d}.{number:09d}Z"
            self.server.printed.setdefault(pod, []).append((stamp, line))

    def exit(self, pod: str, code: int, second: int) -> None:
        """Have a pod's container end."""
        ended = {
            "exitCode": code,
            "reason": "Error" if code else "Completed",
            "finishedAt": f"2026-01-01T02:00:{second}Z",
        }
        found = self.server.objects["pods", self.namespace, pod]
        found["status"] = {
            "phase": "Failed" if code else "Succeeded",
            "containerStatuses": [{"name": "node", "state": {"terminated": ended}}],
        }

    def end(self, job: dict[str, Any], kind: str, message: str = "jobset ended") -> None:
        """Give a TrainJob its last condition."""
        job["status"] = {
            "conditions": [
                {"type": "Suspended", "status": "False", "reason": "Resumed", "message": "TrainJob is resumed"},
                {"type": kind, "status": "True", "reason": "FailedJobs", "message": message},
            ]
        }
