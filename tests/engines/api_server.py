"""A small stand-in of a cluster's API server that speaks Kubernetes' wire format.

Shapes are those of the API conventions (Status objects, AlreadyExists, labelSelector, fieldSelector, owner references,
strategic merge by uid, merge patches of custom objects, logs as plain text). Faults can be put before any request.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml
from kubeflow_katib_api.models import V1beta1Experiment

from receipt_counter.katib.defaults import with_defaults
from receipt_counter.katib.experiment import plain

_PATH = re.compile(
    r"/apis?/(?P<version>(kubeflow\.org/v1beta1|v1))/namespaces/(?P<ns>[^/]+)/(?P<kind>\w+)(/(?P<name>.+))?$"
)
_KINDS = {
    "experiments": "Experiment",
    "trials": "Trial",
    "configmaps": "ConfigMap",
    "pods": "Pod",
    "events": "Event",
}
_OF_KATIB = ("experiments", "trials")
_SET = re.compile(r"([\w./-]+) in \(([^)]*)\)")
# faults: the connection ends before the request was done, after it, in the middle of the answer; no answer in time
DROP, LOSE, CUT, SLOW = "drop", "lose the answer", "cut", "slow"
PAGE = "page"  # a proxy before it asks for a login
SECONDS_OF_SLOW = 0.8
Fault = int | str | tuple[int, str, str] | tuple[int, str, str, Mapping[str, str]]  # status, reason, message, headers
Key = tuple[str, str, str]


class ApiServer:
    """Use it as a context.

    Attributes:
        objects: {(plural, namespace, name): object}.
        faults: what happens to the next requests, None for nothing.
        faults_of: {"METHOD plural": what happens to the next requests of that kind}.
        logs: {(pod, container): what it printed}.
        requests: "METHOD plural" of every request that arrived.
        is_down: whether it does not answer.
        has_katib: whether Katib's resources exist.
        port: where it listens.
        headers: sent with every answer.
    """

    def __init__(self) -> None:
        self.objects: dict[Key, dict[str, Any]] = {}
        self.faults: deque[Fault | None] = deque()
        self.faults_of: dict[str, deque[Fault | None]] = {}
        self.logs: dict[tuple[str, str], str] = {}
        self.requests: list[str] = []
        self.has_katib = True
        self.headers: dict[str, str] = {}
        self._lock = threading.Lock()
        self._uid = 0
        self.port = 0
        self.listen()

    def __enter__(self) -> ApiServer:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def listen(self) -> None:
        """Begin to answer; on the same port as before, if it did."""
        self.is_down = False
        self._http = ThreadingHTTPServer(("127.0.0.1", self.port), _handler(self))
        self._http.daemon_threads = True
        self.port = self._http.server_port
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def stop(self) -> None:
        """Stop listening, and close what is open."""
        self.is_down = True
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def write_kubeconfig(self, path: Path, namespace: str | None = None) -> None:
        """A kubeconfig that points here."""
        context = {"cluster": "c", "user": "u", **({"namespace": namespace} if namespace else {})}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": "here", "context": context}],
        }
        path.write_text(yaml.safe_dump(content))

    def of(self, plural: str) -> list[dict[str, Any]]:
        """All objects of a kind."""
        return [found for (kind, _, _), found in self.objects.items() if kind == plural]

    def put(self, plural: str, namespace: str, body: dict[str, Any]) -> dict[str, Any]:
        """Create an object."""
        self._uid += 1
        metadata = body["metadata"]
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        body["metadata"] = {"creationTimestamp": stamp, **metadata, "namespace": namespace, "uid": f"uid-{self._uid}"}
        self.objects[plural, namespace, metadata["name"]] = body
        return body

    def delete(self, key: Key) -> None:
        """Delete an object, and what only it owns."""
        uid = self.objects.pop(key)["metadata"]["uid"]
        for other, found in list(self.objects.items()):
            owners = found["metadata"].get("ownerReferences", [])
            if owners and all(owner["uid"] == uid for owner in owners):
                self.delete(other)

    def answer(self, method: str, path: str, kind: str, body: Any) -> tuple[int, Any]:
        """What the server says to a request: a status and an object, or text."""
        url = urlsplit(path)
        match = _PATH.match(url.path)
        plural = match["kind"] if match else ""
        if match is None or (plural in _OF_KATIB and not self.has_katib):
            return 404, "404 page not found\n"
        name = body["metadata"]["name"] if method == "POST" else match["name"]
        key = (plural, match["ns"], name)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        with self._lock:
            if method == "POST":
                return self._create(key, body)
            if name is None:
                return 200, self._list(key, query)
            if name.endswith("/log"):
                return self._log(key[1], name.removesuffix("/log"), query)
            return self._answer_about(key, method, kind, body)

    def _answer_about(self, key: Key, method: str, kind: str, body: Any) -> tuple[int, Any]:
        if key not in self.objects:
            return 404, status(404, "NotFound", f'{key[0]} "{key[2]}" not found', key[2])
        if method == "PATCH":
            return self._patch(key, kind, body)
        if method == "DELETE":
            self.delete(key)
            return 200, {"kind": "Status", "apiVersion": "v1", "status": "Success"}
        return 200, self.objects[key]

    def _create(self, key: Key, body: dict[str, Any]) -> tuple[int, Any]:
        plural, namespace, name = key
        if key in self.objects:
            return 409, status(409, "AlreadyExists", f'{plural} "{name}" already exists', name)
        if plural == "experiments":
            body = _as_go_writes_it(plain(with_defaults(V1beta1Experiment.from_dict(body))))
        return 201, self.put(plural, namespace, body)

    def _list(self, key: Key, query: Mapping[str, str]) -> dict[str, Any]:
        found = [
            item
            for (kind, namespace, _), item in self.objects.items()
            if (kind, namespace) == key[:2]
            and _fits(item["metadata"].get("labels", {}), query.get("labelSelector", ""))
            and _fits(item, query.get("fieldSelector", ""))
        ]
        version = "kubeflow.org/v1beta1" if key[0] in _OF_KATIB else "v1"
        return {"apiVersion": version, "kind": f"{_KINDS[key[0]]}List", "metadata": {}, "items": found}

    def _log(self, namespace: str, pod: str, query: Mapping[str, str]) -> tuple[int, Any]:
        if ("pods", namespace, pod) not in self.objects:
            return 404, status(404, "NotFound", f'pods "{pod}" not found', pod)
        container = query.get("container", "")
        if (pod, container) not in self.logs:
            return 400, status(400, "BadRequest", f"container {container} is not valid for pod {pod}")
        lines = self.logs[pod, container].splitlines(keepends=True)[-int(query["tailLines"]) :]
        return 200, "".join(lines)[: int(query["limitBytes"])]

    def _patch(self, key: Key, kind: str, body: Any) -> tuple[int, Any]:
        wanted = "merge" if key[0] in _OF_KATIB else "strategic-merge"
        if kind != f"application/{wanted}-patch+json":
            return 415, status(415, "UnsupportedMediaType", f"{kind} is not tested here", key[2])
        if key[0] == "experiments":
            return self._patch_experiment(self.objects[key], body["spec"])
        metadata = self.objects[key]["metadata"]
        owners = {owner["uid"]: owner for owner in metadata.get("ownerReferences", [])}
        owners.update({owner["uid"]: owner for owner in body["metadata"]["ownerReferences"]})
        metadata["ownerReferences"] = list(owners.values())
        return 200, self.objects[key]

    def _patch_experiment(self, there: dict[str, Any], spec: dict[str, Any]) -> tuple[int, Any]:
        """Merge, if Katib's validating webhook lets it (validator.go)."""
        state = there.get("status", {})
        ends = [found for found in state.get("conditions", []) if found["type"] in ("Succeeded", "Failed")]
        restartable = there["spec"]["resumePolicy"] != "Never" and ends[-1:] and ends[-1]["type"] == "Succeeded"
        refused = ""
        if set(spec) - {"maxTrialCount", "parallelTrialCount", "maxFailedTrialCount"}:
            refused = "only spec.parallelTrialCount, spec.maxTrialCount and spec.maxFailedTrialCount are editable"
        elif any(found["status"] == "True" for found in ends) and not restartable:
            refused = "Experiment can be restarted if it is in succeeded state by reaching max trials and ..."
        elif {**there["spec"], **spec}["maxTrialCount"] <= state.get("trials", 0):
            refused = "must be greater than status.trials count"
        if refused:
            return 403, status(403, "Forbidden", f"admission webhook denied the request: {refused}")
        merged = {**there["spec"], **spec}
        there["spec"] = {name: value for name, value in merged.items() if value is not None}
        return 200, there


def status(code: int, reason: str, message: str, name: str = "") -> dict[str, Any]:
    """The Status object of a failure."""
    content = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message}
    return {**content, "reason": reason, "code": code, "details": {"name": name} if name else {}}


def _fits(values: Mapping[str, Any], selector: str) -> bool:
    """Whether labels, or fields of an object, are as a selector wants them: "a=b,c in (d,e),!f"."""
    sets = {name: choices.split(",") for name, choices in _SET.findall(selector)}
    parts = [part for part in _SET.sub("", selector).split(",") if part]
    pairs = dict(part.split("=") for part in parts if "=" in part)
    absent = [part[1:] for part in parts if part.startswith("!")]
    return (
        not set(absent) & set(values)
        and all(values.get(name) in choices for name, choices in sets.items())
        and pairs.items() <= values.items()
    )


def _as_go_writes_it(value: Any) -> Any:
    """Katib's mutating webhook answers with what Go writes: false and empty fields are left out of what is typed."""
    if isinstance(value, list):
        return [_as_go_writes_it(item) for item in value]
    if not isinstance(value, dict):
        return value
    written = {key: item if key == "trialSpec" else _as_go_writes_it(item) for key, item in value.items()}
    return {key: item for key, item in written.items() if item not in (None, "", [], {}) and item is not False}


def _handler(server: ApiServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # one packet an answer: the second would wait 40 ms for the first to be acknowledged

        def _serve(self) -> None:
            if server.is_down:
                self.close_connection = True
                return
            size = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(size)) if size else None
            match = _PATH.match(urlsplit(self.path).path)
            what = f"{self.command} {match['kind'] if match else self.path}"
            what += "/log" * self.path.partition("?")[0].endswith("/log")
            server.requests.append(what)
            faults = server.faults_of.get(what) or server.faults
            fault = faults.popleft() if faults else None
            if fault in (DROP, SLOW):
                time.sleep(SECONDS_OF_SLOW if fault == SLOW else 0)
                self.close_connection = True
                return
            if fault == PAGE:
                self._send(200, "<html>Log in</html>", {"Content-Type": "text/html"})
                return
            if fault in (None, LOSE, CUT):
                code, answer = server.answer(self.command, self.path, self.headers.get("Content-Type", ""), body)
                self.close_connection = fault is not None
                if fault != LOSE:
                    self._send(code, answer, server.headers, is_cut=fault == CUT)
                return
            code, reason, message, headers = (
                (*fault, {})[:4] if isinstance(fault, tuple) else (fault, "", "a fault", {})
            )
            self._send(int(code), status(int(code), str(reason), str(message)), headers)

        do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815

        def _send(self, code: int, answer: Any, headers: Mapping[str, str], *, is_cut: bool = False) -> None:
            data = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
            self.send_response(code)
            kind = "text/plain" if isinstance(answer, str) else "application/json"
            for name, value in {"Content-Type": kind, **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if is_cut else data)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    return Handler
