"""A small stand-in of a cluster: an API server that speaks Kubernetes' wire format, and Katib's controllers.

Shapes are those of the API conventions (Status objects, AlreadyExists, labelSelector, owner references, strategic merge
by uid) and of Katib's v1beta1 types (conditions, observations). Faults can be put before any request.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
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
_KINDS = {"experiments": "Experiment", "trials": "Trial", "configmaps": "ConfigMap"}
DROP, LOSE = "drop", "lose the answer"  # faults: the connection ends before, or after the request was done
Fault = int | str | tuple[int, str, str] | tuple[int, str, str, Mapping[str, str]]  # status, reason, message, headers
Key = tuple[str, str, str]


class ApiServer:
    """Use it as a context.

    Attributes:
        objects: {(plural, namespace, name): object}.
        faults: what happens to the next requests, None for nothing.
        requests: "METHOD plural" of every request that arrived.
        has_katib: whether Katib's resources exist.
        headers: sent with every answer.
    """

    def __init__(self) -> None:
        self.objects: dict[Key, dict[str, Any]] = {}
        self.faults: deque[Fault | None] = deque()
        self.requests: list[str] = []
        self.has_katib = True
        self.headers: dict[str, str] = {}
        self._lock = threading.Lock()
        self._uid = 0
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> ApiServer:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
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

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._http.server_port

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
        if match is None or (plural != "configmaps" and not self.has_katib):
            return 404, "404 page not found\n"
        name = body["metadata"]["name"] if method == "POST" else match["name"]
        key = (plural, match["ns"], name)
        with self._lock:
            if method == "POST":
                return self._create(key, body)
            if name is None:
                return 200, self._list(key, parse_qs(url.query))
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

    def _list(self, key: Key, query: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        wanted = dict(pair.split("=") for pair in query.get("labelSelector", [""])[0].split(",") if pair)
        found = [
            item
            for (kind, namespace, _), item in self.objects.items()
            if (kind, namespace) == key[:2] and wanted.items() <= item["metadata"].get("labels", {}).items()
        ]
        return {"apiVersion": "kubeflow.org/v1beta1", "kind": f"{_KINDS[key[0]]}List", "metadata": {}, "items": found}

    def _patch(self, key: Key, kind: str, body: Any) -> tuple[int, Any]:
        if kind != "application/strategic-merge-patch+json":
            return 415, status(415, "UnsupportedMediaType", f"{kind} is not tested here", key[2])
        metadata = self.objects[key]["metadata"]
        owners = {owner["uid"]: owner for owner in metadata.get("ownerReferences", [])}
        owners.update({owner["uid"]: owner for owner in body["metadata"]["ownerReferences"]})
        metadata["ownerReferences"] = list(owners.values())
        return 200, self.objects[key]


def status(code: int, reason: str, message: str, name: str = "") -> dict[str, Any]:
    """The Status object of a failure."""
    content = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message}
    return {**content, "reason": reason, "code": code, "details": {"name": name} if name else {}}


def _as_go_writes_it(value: Any) -> Any:
    """Katib's mutating webhook answers with what Go writes: false and empty fields are left out."""
    if isinstance(value, dict):
        return {key: _as_go_writes_it(item) for key, item in value.items() if item not in (None, "", [], {}, False)}
    return [_as_go_writes_it(item) for item in value] if isinstance(value, list) else value


def _handler(server: ApiServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(size)) if size else None
            match = _PATH.match(urlsplit(self.path).path)
            server.requests.append(f"{self.command} {match['kind'] if match else self.path}")
            fault = server.faults.popleft() if server.faults else None
            if fault == DROP:
                self.close_connection = True
                return
            if fault is None or fault == LOSE:
                code, answer = server.answer(self.command, self.path, self.headers.get("Content-Type", ""), body)
                if fault == LOSE:
                    self.close_connection = True
                    return
                self._send(code, answer, server.headers)
                return
            code, reason, message, headers = (
                (*fault, {})[:4] if isinstance(fault, tuple) else (fault, "", "a fault", {})
            )
            self._send(int(code), status(int(code), str(reason), str(message)), headers)

        do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815

        def _send(self, code: int, answer: Any, headers: Mapping[str, str]) -> None:
            data = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
            self.send_response(code)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    return Handler


def condition(kind: str, reason: str = "", message: str = "", *, true: bool = True) -> dict[str, Any]:
    time = "2026-01-01T00:05:00Z"
    content = {"type": kind, "status": str(true), "reason": reason or f"Trial{kind}", "message": message}
    return {**content, "lastUpdateTime": time, "lastTransitionTime": time}


class Katib:
    """Katib's controllers: each `tick` a trial that runs ends, one that waits runs, and others are made.

    Args:
        server: where the objects are.
        endings: {number of a trial: the condition it ends with}; the others succeed.
        loss: what a trial reports, by its number.
    """

    def __init__(
        self,
        server: ApiServer,
        endings: Mapping[int, str] | None = None,
        loss: Callable[[int], float] = lambda number: 1.0 / (1 + number),
    ) -> None:
        self._server, self._endings, self._loss = server, endings or {}, loss
        self._time = datetime(2026, 1, 1, tzinfo=UTC)

    def tick(self) -> None:
        """Reconcile every Experiment once."""
        self._time += timedelta(seconds=10)
        for experiment in self._server.of("experiments"):
            trials = [
                trial
                for trial in self._server.of("trials")
                if trial["metadata"]["labels"]["katib.kubeflow.org/experiment"] == experiment["metadata"]["name"]
            ]
            for number, trial in enumerate(trials):
                self._advance(number, trial)
            self._reconcile(experiment, trials)

    def _reconcile(self, experiment: dict[str, Any], trials: list[dict[str, Any]]) -> None:
        spec = experiment["spec"]
        experiment.setdefault("status", {"conditions": [condition("Created", "ExperimentCreated")]})
        if any(found["type"] in ("Succeeded", "Failed") for found in experiment["status"]["conditions"]):
            return
        kinds = [_last(trial) for trial in trials]
        losses = [float(text) for trial in trials for text in _losses(trial) if text != "unavailable"]
        ended = sum(kind not in ("Created", "Running") for kind in kinds)
        end = None
        if "goal" in spec["objective"] and any(loss <= spec["objective"]["goal"] for loss in losses):
            end = condition("Succeeded", "ExperimentGoalReached", "Experiment has succeeded because Objective goal ...")
        elif sum(kind in ("Failed", "MetricsUnavailable") for kind in kinds) >= spec.get("maxFailedTrialCount", 10**6):
            end = condition("Failed", "ExperimentFailed", "Experiment has failed because max failed count has reached")
        elif ended >= spec["maxTrialCount"]:
            end = condition("Succeeded", "ExperimentMaxTrialsReached", "Experiment has succeeded because max trial ...")
        if end is not None:
            experiment["status"]["conditions"] += [condition("Running", true=False), end]
            return
        room = min(spec["parallelTrialCount"] - (len(trials) - ended), spec["maxTrialCount"] - len(trials))
        for number in range(len(trials), len(trials) + room):
            self._create(experiment, number)

    def _create(self, experiment: dict[str, Any], number: int) -> None:
        name, namespace = experiment["metadata"]["name"], experiment["metadata"]["namespace"]
        owner = {"kind": "Experiment", "name": name, "uid": experiment["metadata"]["uid"]}
        metadata = {
            "name": f"{name}-{hashlib.sha256(str(number).encode()).hexdigest()[:8]}",
            "labels": {"katib.kubeflow.org/experiment": name},
            "creationTimestamp": _text(self._time + timedelta(seconds=number)),
            "ownerReferences": [owner],
        }
        spec = {"parameterAssignments": [{"name": "lr", "value": f"0.{number + 1}"}]}
        body = {"apiVersion": "kubeflow.org/v1beta1", "kind": "Trial", "metadata": metadata, "spec": spec}
        self._server.put("trials", namespace, {**body, "status": {"conditions": [condition("Created")]}})

    def _advance(self, number: int, trial: dict[str, Any]) -> None:
        state = trial["status"]
        last = _last(trial)
        if last == "Created":
            state["conditions"].append(condition("Running"))
            state["startTime"] = _text(self._time)
        elif last == "Running" and (number % 2 == 0 or self._time.second % 20 == 0):
            ending = self._endings.get(number, "Succeeded")
            state["conditions"][-1]["status"] = "False"
            state["conditions"].append(condition(ending, message=f"Trial has ended. Job message: {ending}"))
            state["completionTime"] = _text(self._time)
            if ending != "MetricsUnavailable":
                state["observation"] = {"metrics": [metric("loss", self._loss(number))]}


def metric(name: str, latest: float | str, least: float | str | None = None, most: float | str | None = None) -> Any:
    """A metric of an observation."""
    texts = (str(latest if value is None else value) for value in (latest, least, most))
    return dict(zip(("latest", "min", "max"), texts, strict=True)) | {"name": name}


def _losses(trial: dict[str, Any]) -> list[str]:
    metrics = trial["status"].get("observation", {}).get("metrics", [])
    return [str(found["latest"]) for found in metrics if found["name"] == "loss"]


def _last(trial: dict[str, Any]) -> str:
    return str(trial["status"]["conditions"][-1]["type"])


def _text(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")
