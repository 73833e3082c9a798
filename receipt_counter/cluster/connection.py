"""The connection to a cluster's API server: where it is, what is tried again, and what its refusals mean."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from receipt_counter.errors import UserError
from receipt_counter.katib.template import DEFAULT_NAMESPACE

# Too slow, gone (the list's version was compacted: it is begun anew), too many requests, and a server that restarts.
RETRIED = frozenset({408, 410, 429, 500, 502, 503, 504})
TIMEOUT = (5.0, 30.0)  # to connect and to answer, seconds
_PROVIDERS = {  # of groups of kinds
    "kubeflow.org": "Katib",
    "trainer.kubeflow.org": "Kubeflow Trainer",
    "tensorboard.kubeflow.org": "Kubeflow's tensorboard-controller",
}
_SERVICE_ACCOUNT_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class Request:
    """What is asked of the API server, in the words of its access rules.

    Args:
        verb: as a Role names it: get, list, create, patch, delete.
        resource: as a Role and kubectl name it: "experiments.kubeflow.org".
        namespace: where; empty for what is in no namespace.
        name: of the object, if one is meant.
    """

    verb: str
    resource: str
    namespace: str
    name: str = ""

    def __str__(self) -> str:
        where = f" in namespace {self.namespace}" if self.namespace else ""
        return f"{self.verb} {' '.join(filter(None, (self.resource, self.name)))}{where}"


@dataclass(frozen=True)
class Patience:
    """How long a failing API server is asked again: the pause doubles after each try.

    Args:
        pause: before the second try, seconds.
        longest: of any pause, those the server asks for (Retry-After) included, seconds.
        tries: of one request; the defaults outlast a restart of some five minutes.
        first_tries: of the first request: a server that never answered is more likely not there.
    """

    pause: float = 1.0
    longest: float = 30.0
    tries: int = 15
    first_tries: int = 4


PATIENT = Patience()


class ApiError(UserError):
    """The API server refused something for good.

    Args:
        message: what was asked, and the server's words.
        code: HTTP status.
        object_missing: whether it says that this one object does not exist, rather than its kind or its namespace.
        request: what was asked.
    """

    def __init__(self, message: str, code: int, *, object_missing: bool = False, request: str = "") -> None:
        super().__init__(message, status=1)
        self.code, self.request = code, request
        self.object_missing = object_missing


class Sender:
    """Sends requests to one server until each is answered.

    Args:
        server: what and where it is, for messages: "the API server https://10.0.0.1".
        failed: the class in which its client reports answers that are failures, with `status`, `reason`, `headers`.
        refused: the error that says what such an answer means, given the request and the report.
        pause: sleeps so many seconds; what it raises ends the request.
        patience: how often failed requests are sent again.
    """

    def __init__(
        self,
        server: str,
        failed: type[Exception],
        refused: Callable[[Any, Any], UserError],
        pause: Callable[[float], object],
        patience: Patience,
    ) -> None:
        self._server, self._failed, self._refused = server, failed, refused
        self._pause, self._patience = pause, patience
        self._has_answered = False

    def send(self, request: object, call: Callable[[], _Answer], tries: int | None = None) -> _Answer:
        """Send a request until it is answered.

        Args:
            request: what it is, for messages: `str` of it follows "to".
            call: sends it; repeating it must do no harm.
            tries: of this one, where its answer is not worth all the patience there is.

        Raises:
            UserError: it is refused, or the server fails, or cannot be reached, for too long.
        """
        from urllib3.exceptions import HTTPError

        tried, pause = 0, self._patience.pause
        while True:
            try:
                answer = call()
                self._has_answered = True
                return answer
            except self._failed as error:
                report: Any = error
                if report.status not in RETRIED and not _was_outrun(report):
                    raise self._refused(request, error) from None
                problem, asked = f"{report.status} {report.reason}", _retry_after(error)
            except HTTPError as error:
                cause = getattr(error, "reason", None) or error
                problem, asked = str(cause) or type(cause).__name__, 0.0
            except ValueError:  # of a proxy before it, or a page that asks for a login
                problem, asked = "the answer is none of its own", 0.0
            tried += 1
            most = self._patience.tries if self._has_answered else self._patience.first_tries
            if tried >= (most if tries is None else min(tries, most)):
                raise UserError(
                    f"{self._server} failed {tried} times when asked to {request}; the last time: {problem}. What runs"
                    " on the cluster runs on; the same command continues",
                    status=1,
                )
            self._pause(min(max(pause, asked), self._patience.longest))
            pause *= 2


class Connection:
    """A connection as the kubeconfig (KUBECONFIG, ~/.kube/config) describes it, else as a pod has it.

    Args:
        pause: sleeps so many seconds; what it raises ends the request.
        patience: how often failed requests are sent again.

    Attributes:
        namespace: the context's, else the pod's, else `default`.
        custom_objects: the client of Katib's objects.
        core: the client of ConfigMaps, pods and events.

    Raises:
        UserError: the client is not installed, or no cluster is configured.
    """

    def __init__(self, pause: Callable[[float], object], patience: Patience) -> None:
        try:
            from kubernetes import client
            from urllib3 import disable_warnings
            from urllib3.exceptions import InsecureRequestWarning
        except ImportError:
            raise UserError("a cluster is reached through the package kubernetes: pip install kubernetes") from None
        configuration = client.Configuration()
        configuration.retries = False  # each failure comes here
        self.namespace = _configure(configuration) or DEFAULT_NAMESPACE
        if not configuration.verify_ssl:  # as the kubeconfig wants it: no warning at each request
            disable_warnings(InsecureRequestWarning)
        api = client.ApiClient(configuration)
        self.custom_objects, self.core = client.CustomObjectsApi(api), client.CoreV1Api(api)
        server = f"the API server {configuration.host}"
        self._api = api
        self._sender = Sender(server, client.ApiException, _refusal, pause, patience)

    def send(self, request: Request, call: Callable[[], _Answer], tries: int | None = None) -> _Answer:
        """Send a request until it is answered.

        Args:
            request: what it is, for messages.
            call: sends it; repeating it must do no harm.
            tries: of this one, where its answer is not worth all the patience there is.

        Raises:
            ApiError: it is refused.
            UserError: the server fails, or cannot be reached, for too long.
        """
        return self._sender.send(request, call, tries)

    def ask(
        self, request: Request, method: str, path: str, body: Any = None, **query: str
    ) -> tuple[Any, Mapping[str, str]]:
        """Send a request for a path, where no client of its own is worth it; arguments and errors as for `send`.

        Args:
            request: what it is, for messages.
            method: GET, or POST with a body.
            path: below the server's address.
            body: the object to send, as JSON has it.
            query: parameters.

        Returns:
            The answer as JSON has it, and its headers.
        """

        def call() -> tuple[Any, Mapping[str, str]]:
            answer, _, headers = self._api.call_api(
                path,
                method,
                query_params=list(query.items()),
                header_params={"Accept": "application/json", "Content-Type": "application/json"},
                body=body,
                response_type="object",
                auth_settings=["BearerToken"],
                _request_timeout=TIMEOUT,
            )
            return require_json(answer), headers

        return self.send(request, call)


def require_json(answer: _Answer) -> _Answer:
    """What the client made of an answer's body.

    Raises:
        ValueError: the body is no JSON; of such it makes text, or an object in which nothing is.
    """
    if isinstance(answer, str) or getattr(answer, "metadata", answer) is None:
        raise ValueError("an answer that is no JSON")
    return answer


def has_kubeconfig() -> bool:
    """Whether there is a kubeconfig; KUBECONFIG may name several files, of which some are there."""
    return any(Path(part).expanduser().is_file() for part in _kubeconfig().split(os.pathsep) if part)


def _kubeconfig() -> str:
    return os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")


def _configure(configuration: Any) -> str | None:
    """Fill in where the API server is and who asks.

    Returns:
        The namespace that is meant where none is named.
    """
    from kubernetes import config

    location = _kubeconfig()
    try:
        if has_kubeconfig():
            config.load_kube_config(location, client_configuration=configuration)
            _, context = config.list_kube_config_contexts(location)
            namespace: str | None = context["context"].get("namespace")
            return namespace
        config.load_incluster_config(client_configuration=configuration)
    except (config.ConfigException, yaml.YAMLError) as error:
        raise UserError(f"no cluster is configured: {location} (KUBECONFIG), and no pod's account: {error}") from None
    return _SERVICE_ACCOUNT_NAMESPACE.read_text(encoding="utf-8").strip()


def _refusal(request: Request, error: Any) -> ApiError:
    status = _status(error.body)
    said = status.get("message") or error.reason or "no reason given"
    missing = error.status == 404 and bool((status.get("details") or {}).get("name"))
    what = f"the cluster refused to {request} ({error.status}): {said}"
    hint = ""
    if error.status == 401:
        hint = "the account is not known there: log in again, or renew the token of the kubeconfig"
    elif error.status == 403 and " cannot " in said:  # webhooks and quotas forbid too, in other words
        hint = (
            f"its account needs a Role with the verb {request.verb} on {request.resource}; see:"
            f" kubectl auth can-i {request.verb} {request.resource} -n {request.namespace}"
        )
    elif error.status == 404 and not missing:
        provider = _PROVIDERS.get(request.resource.partition(".")[2], "what provides them")
        hint = f"it has no {request.resource}: {provider} is not installed, or this is another cluster"
    message = "\n".join(filter(None, (what, hint)))
    return ApiError(message, error.status, object_missing=missing, request=str(request))


def _status(body: str | bytes | None) -> dict[str, Any]:
    """The Status object that the API server sends with an error; a proxy before it sends none."""
    try:
        status = json.loads(body or "")
    except ValueError:
        return {}
    return status if isinstance(status, dict) else {}


def _was_outrun(error: Any) -> bool:
    """Whether another's change of the same object came between, which the next try takes into account."""
    return error.status == 409 and _status(error.body).get("reason") == "Conflict"


def _retry_after(error: Any) -> float:
    """Seconds the server asks to wait; it may also send a date, which is not heeded."""
    text = str((error.headers or {}).get("Retry-After", ""))
    return float(text) if text.isdecimal() else 0.0
