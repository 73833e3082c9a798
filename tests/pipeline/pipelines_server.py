"""A small stand-in of Kubeflow Pipelines: its v2beta1 REST API over HTTP, in the shapes of its specification.

Objects are written through the generated models, which know the specification's fields; errors are gRPC statuses as its
gateway writes them, or those of its upload server. Faults can be put before any request.
"""

from __future__ import annotations

import email
import email.policy
import json
import re
import threading
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kfp_server_api
import yaml

DROP, LOSE = "drop", "lose the answer"  # faults: the connection ends before, or after the request was done
Fault = int | str | tuple[int, dict[str, Any] | str] | tuple[int, dict[str, Any] | str, Mapping[str, str]]
_SANITIZER = kfp_server_api.ApiClient()
_API = "/apis/v2beta1"


class PipelinesServer:
    """Use it as a context.

    Args:
        multi_user: whether it has users with namespaces.
        version: what it says it is.

    Attributes:
        experiments, pipelines, versions, runs: what there is, in the order of creation.
        packages: {id of a version: its package}.
        logs: {pod: what it printed}.
        faults: what happens to the next requests, None for nothing.
        requests: "METHOD path" of every request that arrived.
        headers: of the last request.
        on_look: called with a run at each request for it, before it is answered.
    """

    def __init__(self, *, multi_user: bool = True, version: str = "2.16.0") -> None:
        self.multi_user, self.version = multi_user, version
        self.experiments: list[Any] = []
        self.pipelines: list[Any] = []
        self.versions: list[Any] = []
        self.runs: list[Any] = []
        self.packages: dict[str, str] = {}
        self.logs: dict[str, str] = {}
        self.faults: deque[Fault | None] = deque()
        self.requests: list[str] = []
        self.headers: dict[str, str] = {}
        self.on_look: Callable[[Any], object] = lambda run: None
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> PipelinesServer:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._http.server_port}"

    def answer(self, method: str, path: str, query: Mapping[str, str], body: bytes, kind: str) -> tuple[int, Any]:
        """What the server says to a request: a status and an object, or text."""
        with self._lock:
            for verb, pattern, handle in _routes(self):
                match = re.fullmatch(pattern, path)
                if match and verb == method:
                    return handle(query, body, kind, *match.groups())
        return 404, {"code": 5, "message": "Not Found", "details": []}

    def health(self, query: Mapping[str, str], body: bytes, kind: str) -> tuple[int, Any]:
        said = {"commit_sha": "abc", "tag_name": self.version, "multi_user": self.multi_user}
        return 200, {**said, "pipeline_store": "database"}

    def create_experiment(self, query: Mapping[str, str], body: bytes, kind: str) -> tuple[int, Any]:
        given = json.loads(body)
        if bool(given.get("namespace")) is not self.multi_user:
            return _invalid("In single-user mode, CreateExperimentRequest shouldn't contain a namespace, else it must")
        if any(_key(found) == (given["display_name"], given.get("namespace")) for found in self.experiments):
            return _exists("experiment", given["display_name"])
        identity = f"experiment-{len(self.experiments)}"
        self.experiments.append(kfp_server_api.V2beta1Experiment(experiment_id=identity, created_at=_now(), **given))
        return 200, self.experiments[-1]

    def list_experiments(self, query: Mapping[str, str], body: bytes, kind: str) -> tuple[int, Any]:
        if bool(query.get("namespace")) is not self.multi_user:
            return _invalid("In single-user mode, ListExperiment cannot filter by namespace, else it must")
        found = [one for one in _filtered(self.experiments, query) if one.namespace == query.get("namespace")]
        return 200, kfp_server_api.V2beta1ListExperimentsResponse(experiments=found, total_size=len(found))

    def create_pipeline(self, query: Mapping[str, str], body: bytes, kind: str) -> tuple[int, Any]:
        given = json.loads(body)
        if any(_key(found) == (given["display_name"], given.get("namespace")) for found in self.pipelines):
            return _exists("pipeline", given["display_name"])
        identity = f"pipeline-{len(self.pipelines)}"
        self.pipelines.append(kfp_server_api.V2beta1Pipeline(pipeline_id=identity, created_at=_now(), **given))
        return 200, self.pipelines[-1]

    def list_pipelines(self, query: Mapping[str, str], body: bytes, kind: str) -> tuple[int, Any]:
        found = [one for one in _filtered(self.pipelines, query) if one.namespace == query.get("namespace")]
        return 200, kfp_server_api.V2beta1ListPipelinesResponse(pipelines=found, total_size=len(found))

    def list_versions(self, query: Mapping[str, str], body: bytes, kind: str, pipeline: str) -> tuple[int, Any]:
        found = [one for one in _filtered(self.versions, query) if one.pipeline_id == pipeline]
        return 200, kfp_server_api.V2beta1ListPipelineVersionsResponse(pipeline_versions=found, total_size=len(found))

    def upload_version(self, query: Mapping[str, str], body: bytes, kind: str) -> tuple[int, Any]:
        message = email.message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + body, policy=email.policy.HTTP)
        (part,) = message.iter_parts()
        disposition = part.get("Content-Disposition", "")
        text = part.get_payload(decode=True).decode()
        if 'name="uploadfile"' not in disposition or "pipelineInfo" not in next(yaml.safe_load_all(text)):
            return 400, {"error_message": "Failed to read the pipeline spec", "error_details": "no pipelineInfo"}
        if any((one.display_name, one.pipeline_id) == (query["name"], query["pipelineid"]) for one in self.versions):
            return 409, {"error_message": f"version {query['name']} exists", "error_details": "AlreadyExists"}
        identity = f"version-{len(self.versions)}"
        self.packages[identity] = text
        self.versions.append(
            kfp_server_api.V2beta1PipelineVersion(
                pipeline_id=query["pipelineid"], pipeline_version_id=identity, display_name=query["name"]
            )
        )
        return 200, self.versions[-1]

    def create_run(self, query: Mapping[str, str], body: bytes, kind: str) -> tuple[int, Any]:
        given = json.loads(body)
        known = {one.pipeline_version_id for one in self.versions}
        if given["pipeline_version_reference"]["pipeline_version_id"] not in known:
            return _invalid("the pipeline version was not found")
        run = kfp_server_api.V2beta1Run(**given)
        run.run_id, run.created_at, run.state = f"run-{len(self.runs)}", _now(), "PENDING"
        self.runs.append(run)
        return 200, run

    def list_runs(self, query: Mapping[str, str], body: bytes, kind: str) -> tuple[int, Any]:
        found = [one for one in _filtered(self.runs, query) if one.experiment_id == query["experiment_id"]]
        if query.get("sort_by") == "created_at desc":
            found.reverse()
        return 200, kfp_server_api.V2beta1ListRunsResponse(runs=found[: int(query["page_size"])])

    def get_run(self, query: Mapping[str, str], body: bytes, kind: str, run_id: str) -> tuple[int, Any]:
        found = next((run for run in self.runs if run.run_id == run_id), None)
        if found is None:
            return 404, {"code": 5, "message": f"ResourceNotFoundError: Run {run_id} not found", "details": []}
        self.on_look(found)
        return 200, found

    def terminate(self, query: Mapping[str, str], body: bytes, kind: str, run_id: str) -> tuple[int, Any]:
        next(run for run in self.runs if run.run_id == run_id).state = "CANCELING"
        return 200, {}

    def log(self, query: Mapping[str, str], body: bytes, kind: str, run_id: str, pod: str) -> tuple[int, Any]:
        return (200, self.logs[pod]) if pod in self.logs else (404, "pod not found")


def _routes(server: PipelinesServer) -> list[tuple[str, str, Callable[..., tuple[int, Any]]]]:
    return [
        ("GET", f"{_API}/healthz", server.health),
        ("GET", f"{_API}/experiments", server.list_experiments),
        ("POST", f"{_API}/experiments", server.create_experiment),
        ("GET", f"{_API}/pipelines", server.list_pipelines),
        ("POST", f"{_API}/pipelines", server.create_pipeline),
        ("GET", f"{_API}/pipelines/([^/]+)/versions", server.list_versions),
        ("POST", f"{_API}/pipelines/upload_version", server.upload_version),
        ("GET", f"{_API}/runs", server.list_runs),
        ("POST", f"{_API}/runs", server.create_run),
        ("GET", f"{_API}/runs/([^/:]+)", server.get_run),
        ("POST", f"{_API}/runs/([^/:]+):terminate", server.terminate),
        ("GET", "/apis/v1alpha1/runs/([^/]+)/nodes/([^/]+)/log", server.log),
    ]


def task(name: str, state: str, *, parent: str = "", pod: str = "", error: str = "", at: int = 0) -> Any:
    """A task's detail as the API gives it; it began at a second and took ten."""
    begin = datetime(2026, 1, 1, 0, 0, at, tzinfo=UTC)
    ended = state not in ("PENDING", "RUNNING")
    return kfp_server_api.V2beta1PipelineTaskDetail(
        task_id=f"{parent}{name}",
        display_name=name,
        state=state,
        start_time=begin,
        end_time=begin.replace(second=at + 10) if ended else None,
        parent_task_id=parent or None,
        pod_name=pod or None,
        error=kfp_server_api.GoogleRpcStatus(code=2, message=error) if error else None,
    )


def show(run: Any, state: str, *tasks: Any, error: str = "") -> None:
    """Set how a run stands."""
    run.state = state
    run.run_details = kfp_server_api.V2beta1RunDetails(task_details=list(tasks))
    run.error = kfp_server_api.GoogleRpcStatus(code=2, message=error) if error else None


def _key(found: Any) -> tuple[str, str | None]:
    return found.display_name, found.namespace


def _filtered(found: list[Any], query: Mapping[str, str]) -> list[Any]:
    (predicate,) = json.loads(query["filter"])["predicates"]
    assert (predicate["operation"], predicate["key"]) == ("EQUALS", "display_name")
    return [one for one in found if one.display_name == predicate["string_value"]]


def _now() -> datetime:
    return datetime.now(UTC)


def _invalid(message: str) -> tuple[int, Any]:
    return 400, {"code": 3, "message": f"InvalidInputError: {message}", "details": []}


def _exists(kind: str, name: str) -> tuple[int, Any]:
    return 409, {"code": 6, "message": f"AlreadyExistError: {kind} {name} already exists", "details": []}


def _handler(server: PipelinesServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # one packet an answer: the second would wait 40 ms for the first to be acknowledged

        def _serve(self) -> None:
            url = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            server.requests.append(f"{self.command} {url.path}")
            server.headers = dict(self.headers.items())
            fault = server.faults.popleft() if server.faults else None
            if fault == DROP:
                self.close_connection = True
                return
            if isinstance(fault, tuple | int):
                code, content, headers = (*fault, {})[:3] if isinstance(fault, tuple) else (fault, "a fault", {})
                self._send(int(code), content, headers)
                return
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            answer = server.answer(self.command, url.path, query, body, self.headers.get("Content-Type", ""))
            if fault == LOSE:
                self.close_connection = True
                return
            self._send(*answer, {})

        do_GET = do_POST = _serve  # noqa: N815

        def _send(self, code: int, answer: Any, headers: Mapping[str, str]) -> None:
            text = answer if isinstance(answer, str) else json.dumps(_SANITIZER.sanitize_for_serialization(answer))
            data = text.encode()
            self.send_response(code)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    return Handler
