"""Kubeflow Pipelines' API as this project uses it: requests are repeated while the server fails, refusals explained.

kfp's client finds the server and logs in (a token, a token's file, a cookie, the pod's account, the kubeconfig); the
requests go to the generated API below it, which prints nothing and takes timeouts. The wire format is tested against a
stand-in written from Pipelines' v2beta1 specification; no request was ever sent to a real server.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from receipt_counter.cluster.connection import TIMEOUT, ApiError, Patience, Sender
from receipt_counter.cluster.pipelines import AUTHORITY, COOKIE, LOGIN, TOKEN, Health, endpoint, read_health
from receipt_counter.errors import UserError

_TOKEN_FILE, _DEFAULT_TOKEN_FILE = "KF_PIPELINES_SA_TOKEN_PATH", "/var/run/secrets/kubeflow/pipelines/token"
_UI = "KF_PIPELINES_UI_ENDPOINT"
_EQUALS = "EQUALS"
_Answer = TypeVar("_Answer")


class Pipelines:
    """A server of Kubeflow Pipelines.

    Args:
        host: its address; None takes the environment's, else the one in this pod's or the kubeconfig's cluster.
        pause: sleeps so many seconds; what it raises ends the request.
        patience: how often failed requests are sent again.

    Raises:
        UserError: it is not known where the server is.
    """

    def __init__(self, host: str | None, pause: Callable[[float], object], patience: Patience) -> None:
        from kfp_server_api import ApiException

        address = endpoint(host)
        self._client = _client(address)
        shown = address or "of the cluster"
        self._server = f"Kubeflow Pipelines {shown}"
        self._ui = os.environ.get(_UI) or address or ""
        self._sender = Sender(self._server, ApiException, self._refusal, pause, patience)

    def link(self, run_id: str) -> str:
        """A run's page in the UI."""
        return f"{self._ui.rstrip('/')}/#/runs/details/{run_id}"

    def health(self) -> Health:
        """What the server says of itself."""
        ask = self._client.healthzs.healthz_service_get_healthz
        answer = self._send("say how it is", ask, _preload_content=False)
        return read_health(answer.data.decode(errors="replace"), self._server)

    def experiment(self, name: str, namespace: str | None) -> str:
        """The id of an experiment, made when missing.

        Args:
            name: of the experiment, which groups runs.
            namespace: where its runs are; None where Pipelines has no users.
        """
        api, models = self._client.experiments, self._client.api_models

        def find() -> Any:
            found = api.experiment_service_list_experiments(**_named(name, namespace), _request_timeout=TIMEOUT)
            return next(iter(found.experiments or []), None)

        def find_or_make() -> Any:
            body = models.V2beta1Experiment(display_name=name, namespace=namespace)
            return find() or api.experiment_service_create_experiment(body, _request_timeout=TIMEOUT)

        return self._id(self._find_or_make(f"open experiment {name}", find, find_or_make), "experiment_id")

    def version(self, pipeline: str, version: str, package: Path, namespace: str | None) -> tuple[str, str]:
        """The ids of a pipeline and of a version of it; both are made when missing.

        Args:
            pipeline: its name.
            version: its name; names what the package holds.
            package: uploaded if there is no such version.
            namespace: where the pipeline is; None where Pipelines has no users.
        """
        pipelines, uploads, models = self._client.pipelines, self._client.pipeline_uploads, self._client.api_models

        def find_pipeline() -> Any:
            found = pipelines.pipeline_service_list_pipelines(**_named(pipeline, namespace), _request_timeout=TIMEOUT)
            return next(iter(found.pipelines or []), None)

        def find_or_make_pipeline() -> Any:
            body = models.V2beta1Pipeline(display_name=pipeline, name=pipeline, namespace=namespace)
            return find_pipeline() or pipelines.pipeline_service_create_pipeline(body, _request_timeout=TIMEOUT)

        opened = self._find_or_make(f"open pipeline {pipeline}", find_pipeline, find_or_make_pipeline)
        owner = self._id(opened, "pipeline_id")

        def find_version() -> Any:
            listed = pipelines.pipeline_service_list_pipeline_versions
            found = listed(owner, **_named(version, None), _request_timeout=TIMEOUT)
            return next(iter(found.pipeline_versions or []), None)

        def find_or_upload() -> Any:
            return find_version() or uploads.upload_pipeline_version(
                str(package), name=version, pipelineid=owner, _request_timeout=TIMEOUT
            )

        found = self._find_or_make(f"upload version {version} of pipeline {pipeline}", find_version, find_or_upload)
        return owner, self._id(found, "pipeline_version_id")

    def newest_run(self, name: str, experiment_id: str) -> Any | None:
        """The newest run of a name in an experiment; None if there is none."""
        ask = self._client.runs.run_service_list_runs
        wanted = {**_named(name, None), "experiment_id": experiment_id, "sort_by": "created_at desc", "page_size": 1}
        return next(iter(self._send(f"list the runs {name}", ask, **wanted).runs or []), None)

    def start(self, body: Any, wanted: Callable[[Any | None], bool]) -> Any:
        """Start a run, unless the newest one of that name and experiment is what is wanted.

        Args:
            body: the run, as `run_body` makes it.
            wanted: says whether a run, if there is one, makes another needless.

        Returns:
            The run that is there then.
        """

        def find_or_start() -> Any:
            # looked for at each try: a server may start a run and fail to say so
            found = self.newest_run(body.display_name, body.experiment_id)
            if wanted(found):
                return found
            return self._client.runs.run_service_create_run(body, _request_timeout=TIMEOUT)

        started = self._sender.send(f"start run {body.display_name}", find_or_start)
        self._id(started, "run_id")
        return started

    def run_body(self, name: str, experiment_id: str, version: tuple[str, str], **fields: Any) -> Any:
        """A run as the API takes it.

        Args:
            name: of the run.
            experiment_id: of its experiment.
            version: ids of the pipeline and of its version.
            fields: `parameters`, and further fields of the run.
        """
        models = self._client.api_models
        reference = models.V2beta1PipelineVersionReference(pipeline_id=version[0], pipeline_version_id=version[1])
        runtime = models.V2beta1RuntimeConfig(parameters=fields.pop("parameters"))
        return models.V2beta1Run(
            display_name=name,
            experiment_id=experiment_id,
            pipeline_version_reference=reference,
            runtime_config=runtime,
            **fields,
        )

    def run(self, run_id: str) -> Any:
        """A run as it stands."""
        found = self._send(f"show run {run_id}", self._client.runs.run_service_get_run, run_id)
        self._id(found, "run_id")
        return found

    def terminate(self, run_id: str) -> None:
        """End a run on the cluster."""
        self._send(f"terminate run {run_id}", self._client.runs.run_service_terminate_run, run_id)

    def log(self, run_id: str, pod: str) -> str:
        """What a step of a run printed; empty if that can no longer be had."""
        path = f"/apis/v1alpha1/runs/{run_id}/nodes/{pod}/log"  # outside the specification; the UI reads it there too
        with contextlib.suppress(Exception):  # whatever it is, the failure itself is what must be told
            answer = _api_client(self._client).call_api(
                path, "GET", auth_settings=["Bearer"], _preload_content=False, _request_timeout=TIMEOUT,
                _return_http_data_only=True,
            )  # fmt: skip
            return str(answer.data.decode(errors="replace"))
        return ""

    def _send(self, what: str, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        return self._sender.send(what, lambda: call(*arguments, **options, _request_timeout=TIMEOUT))

    def _id(self, found: Any, field: str) -> str:
        """An object's id; of a page that asks for a login kfp's client makes an object in which nothing is."""
        if getattr(found, field) is None:
            raise UserError(
                f"{self._server} no longer answers as Pipelines' API: the login has ended; {LOGIN}", status=1
            )
        return str(getattr(found, field))

    def _find_or_make(self, what: str, find: Callable[[], Any], make: Callable[[], Any]) -> Any:
        """Make what is missing; somebody else may be faster."""
        try:
            return self._sender.send(what, make)
        except ApiError as error:
            there = self._sender.send(what, find) if error.code == 409 else None
            if there is None:
                raise
            return there

    def _refusal(self, request: str, error: Any) -> ApiError:
        what = f"{self._server} refused to {request} ({error.status}): {_said(error)}"
        hints = {
            401: f"it does not know who asks; {LOGIN}",
            403: "the account may not do that in this namespace; an owner of the profile can add it as a contributor",
            404: "its API is older than v2beta1 (Pipelines 2.0), or the address lacks a part (/pipeline)",
            0: f"its certificate is not trusted here; {AUTHORITY} names a file with the authority's",
        }
        hint = hints.get(error.status, "")
        if error.status == 404 and _is_object_missing(error):
            hint = "somebody deleted it"
        return ApiError("\n".join(filter(None, (what, hint))), error.status)


def _client(host: str | None) -> Any:
    """kfp's client, logged in."""
    from kfp.client import Client
    from kfp.client.set_volume_credentials import ServiceAccountTokenVolumeCredentials
    from kfp_server_api import V2beta1GetHealthzResponse
    from urllib3.util import Retry

    class Quiet(Client):  # type: ignore[misc]  # kfp is not typed
        """Without the question that the constructor asks, sleeps over and logs."""

        def get_kfp_healthz(self, sleep_duration: int = 5) -> Any:
            return V2beta1GetHealthzResponse(multi_user=False)

    token_file = os.environ.get(_TOKEN_FILE) or _DEFAULT_TOKEN_FILE
    credentials = ServiceAccountTokenVolumeCredentials(token_file) if Path(token_file).is_file() else None
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        client = Quiet(
            host=host,
            existing_token=os.environ.get(TOKEN),
            cookies=os.environ.get(COOKIE),
            ssl_ca_cert=os.environ.get(AUTHORITY),
            credentials=credentials,
        )
    # each failure comes to us; only redirects (to https, to a login) are followed
    retries = Retry(total=None, connect=0, read=0, redirect=3, status=0, other=0)
    _api_client(client).rest_client.pool_manager.connection_pool_kw["retries"] = retries
    return client


def _api_client(client: Any) -> Any:
    """What sends the requests of all generated APIs."""
    return client.runs.run_service_get_run.__self__.api_client


def _named(name: str, namespace: str | None) -> dict[str, str]:
    """What restricts a list to the objects of a name; servers without users refuse namespaces."""
    predicate = {"operation": _EQUALS, "key": "display_name", "string_value": name}
    wanted = {"filter": json.dumps({"predicates": [predicate]})}
    return {**wanted, "namespace": namespace} if namespace else wanted


def _said(error: Any) -> str:
    """The server's own words: gRPC's, or those of its uploads; a proxy before it sends none of them."""
    body = _body(error)
    return str(
        body.get("message") or body.get("error_message") or body.get("error") or error.reason or "no reason given"
    )


def _is_object_missing(error: Any) -> bool:
    """Whether it says so of an object (gRPC's NOT_FOUND in the words of Pipelines) rather than of the path."""
    return "ResourceNotFound" in _said(error) or " not found" in _said(error)


def _body(error: Any) -> dict[str, Any]:
    try:
        body = json.loads(error.body or "")
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
