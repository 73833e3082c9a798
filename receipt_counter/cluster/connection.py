"""The connection to a cluster's API server: where it is, what is tried again, and what its refusals mean."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
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
        namespace: where.
        name: of the object, if one is meant.
    """

    verb: str
    resource: str
    namespace: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.verb} {' '.join(filter(None, (self.resource, self.name)))} in namespace {self.namespace}"


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
    """

    def __init__(self, message: str, code: int, *, object_missing: bool = False) -> None:
        super().__init__(message, status=1)
        self.code = code
        self.object_missing = object_missing


class Connection:
    """A connection as the kubeconfig (KUBECONFIG, ~/.kube/config) describes it, else as a pod has it.

    Args:
        pause: sleeps so many seconds; what it raises ends the request.
        patience: how often failed requests are sent again.

    Attributes:
        namespace: the context's, else the pod's, else `default`.
        custom_objects: the client of Katib's objects.
        core: the client of ConfigMaps.

    Raises:
        UserError: the client is not installed, or no cluster is configured.
    """

    def __init__(self, pause: Callable[[float], object], patience: Patience) -> None:
        try:
            from kubernetes import client
        except ImportError:
            raise UserError("a cluster is reached through the package kubernetes: pip install kubernetes") from None
        configuration = client.Configuration()
        configuration.retries = False  # each failure comes here
        self.namespace = _configure(configuration) or DEFAULT_NAMESPACE
        api = client.ApiClient(configuration)
        self.custom_objects, self.core = client.CustomObjectsApi(api), client.CoreV1Api(api)
        self._host = configuration.host
        self._pause, self._patience = pause, patience
        self._has_answered = False

    def send(self, request: Request, call: Callable[[], _Answer]) -> _Answer:
        """Send a request until it is answered.

        Args:
            request: what it is, for messages.
            call: sends it; repeating it must do no harm.

        Raises:
            ApiError: it is refused.
            UserError: the server fails, or cannot be reached, for too long.
        """
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        tries, pause = 0, self._patience.pause
        while True:
            try:
                answer = call()
                self._has_answered = True
                return answer
            except ApiException as error:
                if error.status not in RETRIED:
                    raise _refusal(request, error) from None
                problem, asked = f"{error.status} {error.reason}", _retry_after(error)
            except HTTPError as error:
                problem, asked = str(error) or type(error).__name__, 0.0
            tries += 1
            if tries >= (self._patience.tries if self._has_answered else self._patience.first_tries):
                raise UserError(
                    f"the API server {self._host} failed {tries} times when asked to {request}; the last time:"
                    f" {problem}. What runs on the cluster runs on; the same command continues",
                    status=1,
                )
            self._pause(min(max(pause, asked), self._patience.longest))
            pause *= 2


def _configure(configuration: Any) -> str | None:
    """Fill in where the API server is and who asks.

    Returns:
        The namespace that is meant where none is named.
    """
    from kubernetes import config

    location = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    try:
        if any(Path(part).expanduser().is_file() for part in location.split(os.pathsep) if part):
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
    return ApiError("\n".join(filter(None, (what, hint))), error.status, object_missing=missing)


def _status(body: str | None) -> dict[str, Any]:
    """The Status object that the API server sends with an error; a proxy before it sends none."""
    try:
        status = json.loads(body or "")
    except ValueError:
        return {}
    return status if isinstance(status, dict) else {}


def _retry_after(error: Any) -> float:
    """Seconds the server asks to wait; it may also send a date, which is not heeded."""
    text = str((error.headers or {}).get("Retry-After", ""))
    return float(text) if text.isdecimal() else 0.0
