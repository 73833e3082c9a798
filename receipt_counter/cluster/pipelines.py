"""Kubeflow Pipelines' server: where it is, with what one is let in, and what it says of itself."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass

from receipt_counter.cluster.connection import has_kubeconfig
from receipt_counter.errors import UserError

ENDPOINT = "KF_PIPELINES_ENDPOINT"  # kfp's own variable
TOKEN = "RECEIPT_COUNTER_KFP_TOKEN"
COOKIE = "RECEIPT_COUNTER_KFP_COOKIE"
AUTHORITY = "RECEIPT_COUNTER_KFP_CA"
HEALTH_PATH = "/apis/v2beta1/healthz"
OLDEST, NEWEST = (2, 15), (2, 17)  # versions that this project is written for
# An older one refuses packages with a security context (its KubernetesExecutorConfig has no such field).
_FIRST_WITH_SECURITY_CONTEXT = (2, 16)
NO_SECURITY_CONTEXT = (
    "Pipelines 2.15 gives steps no security context, so a namespace under the restricted standard refuses their pods;"
    " update it to 2.16"
)
LOGIN = (
    f"give a token in {TOKEN}, a file with one in KF_PIPELINES_SA_TOKEN_PATH, or the session's cookie in {COOKIE}"
    " (authservice_session=... or oauth2_proxy_kubeflow=..., as the browser has it)"
)


@dataclass(frozen=True)
class Health:
    """What a server says of itself.

    Attributes:
        version: its release, such as "2.16.0"; "unknown" if it does not say.
        multi_user: whether runs are in the namespaces of users' profiles, not in its own.
    """

    version: str
    multi_user: bool

    @property
    def takes_security_context(self) -> bool:
        """Whether packages may give steps a security context; true where the version is not known."""
        return takes_security_context(self.version)

    @property
    def warning(self) -> str:
        """What to think of its version; empty if there is nothing to say."""
        number = _number(self.version)
        supported = "{}.{} to {}.{}".format(*OLDEST, *NEWEST)
        if number is None:
            return f"Pipelines does not say its version; {supported} are supported"
        if not OLDEST <= number <= NEWEST:
            return f"this is Pipelines {self.version}; {supported} are supported"
        return "" if self.takes_security_context else NO_SECURITY_CONTEXT


def takes_security_context(version: str) -> bool:
    """Whether a version of Pipelines takes packages with a security context; true where it is not known."""
    number = _number(version)
    return number is None or number >= _FIRST_WITH_SECURITY_CONTEXT


def _number(version: str) -> tuple[int, int] | None:
    found = re.match(r"v?(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else None


def endpoint(host: str | None) -> str | None:
    """The server's address: as given, else as the environment says; with its scheme, without a slash at its end.

    Returns:
        None where it is the one of this pod's cluster, or of the kubeconfig's.

    Raises:
        UserError: nothing says where it is.
    """
    found = (host or os.environ.get(ENDPOINT) or "").rstrip("/")
    if found:
        return found if "://" in found else f"https://{found}"
    if "KUBERNETES_SERVICE_HOST" not in os.environ and not has_kubeconfig():
        raise UserError(f"--host: where is Kubeflow Pipelines? Name its address here or in {ENDPOINT}")
    return None


def read_health(text: str, server: str) -> Health:
    """Understand the answer to a question for HEALTH_PATH, of the API server or of the UI before it.

    Args:
        text: the answer's body.
        server: where it came from, for messages.

    Raises:
        UserError: it is not Pipelines that answered, or its UI without it.
    """
    try:
        said = json.loads(text)
        versions = (said.get(key) for key in ("tag_name", "apiServerTagName"))
        health = Health(next(filter(None, versions), "unknown"), bool(said.get("multi_user")))
        is_ready = said.get("apiServerReady", True)
    except (ValueError, AttributeError):
        raise UserError(
            f"{server} answers with a page, not as Kubeflow Pipelines' API: a login comes first ({LOGIN}), or the"
            " address lacks a part (behind Kubeflow's dashboard it ends in /pipeline)"
        ) from None
    if not is_ready:
        raise UserError(
            f"{server}: its UI answers, the API server behind that does not; look at deployment/ml-pipeline"
        )
    return health
