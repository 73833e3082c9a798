"""How an S3 server is reached: endpoint, certificates and credentials, from the environment and mounted files alone.

| variable | meaning |
|---|---|
| AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL | the server, such as http://minio:9000; absent: Amazon's |
| AWS_REGION, AWS_DEFAULT_REGION | its region (default us-east-1) |
| AWS_CA_BUNDLE, SSL_CERT_FILE | a file of certificate authorities |
| RECEIPT_COUNTER_CREDENTIALS | a directory with a file for each key, as a mounted Secret is; wins |
| AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN | the keys |
| MINIO_ACCESS_KEY, MINIO_SECRET_KEY | the keys, where those are absent |
| RECEIPT_COUNTER_STORE_PATIENCE | seconds for which a failing request is tried again (default 60) |
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import certifi
import urllib3
from minio.credentials import Credentials
from minio.credentials.providers import Provider
from urllib3.exceptions import HTTPError, LocationParseError, SSLError

from receipt_counter.errors import UserError

CREDENTIALS = "RECEIPT_COUNTER_CREDENTIALS"
PATIENCE = "RECEIPT_COUNTER_STORE_PATIENCE"
AMAZON = "https://s3.amazonaws.com"
# what a Secret may call them: as manifests/components/minio does, as Pipelines' own store does, as the variables
_FILES = {
    "access key": ("access-key", "accesskey", "AWS_ACCESS_KEY_ID"),
    "secret key": ("secret-key", "secretkey", "AWS_SECRET_ACCESS_KEY"),
    "session token": ("session-token", "sessiontoken", "AWS_SESSION_TOKEN"),
}
_VARIABLES = (
    ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    ("MINIO_ACCESS_KEY", "MINIO_SECRET_KEY", ""),
)
_BUSY = frozenset({429, 500, 502, 503, 504})
_CONNECT_SECONDS, _READ_SECONDS = 10.0, 60.0
_CONNECTIONS = 32


@dataclass(frozen=True)
class Patience:
    """How long something that fails is tried again: exponential backoff with jitter.

    Args:
        seconds: after which no further try begins.
        first, longest: the first and the longest pause, seconds, before jitter.
    """

    seconds: float = 60.0
    first: float = 0.2
    longest: float = 10.0

    def pauses(self) -> Iterator[float]:
        """The pauses between tries, seconds; ends when the time is up."""
        end, pause = time.monotonic() + self.seconds, self.first
        while time.monotonic() < end:
            # full pauses of many clients that failed together would make them come back together
            yield pause * random.uniform(0.5, 1.0)
            pause = min(2 * pause, self.longest)


@dataclass(frozen=True)
class Connection:
    """A server and how to speak to it. It holds no secret.

    Args:
        endpoint: URL of the server, without a path.
        region: its region.
        authorities: file of certificate authorities.
        patience: with a server that fails.
        connect_seconds, read_seconds: how long a server may take to accept, and between two pieces of an answer.
    """

    endpoint: str = AMAZON
    region: str = "us-east-1"
    authorities: str = field(default_factory=certifi.where)
    patience: Patience = Patience()
    connect_seconds: float = _CONNECT_SECONDS
    read_seconds: float = _READ_SECONDS

    @property
    def is_secure(self) -> bool:
        """Whether it is spoken to over TLS."""
        return urlsplit(self.endpoint).scheme == "https"

    @property
    def host(self) -> str:
        """Host, and port where one is named."""
        return urlsplit(self.endpoint).netloc

    def pool(self, sleep: Callable[[float], object] = time.sleep) -> urllib3.PoolManager:
        """Connections that try again what fails."""
        timeout = urllib3.Timeout(connect=self.connect_seconds, read=self.read_seconds)
        return _PatientPool(self.patience, sleep, timeout, self.authorities)


def connection(environment: Mapping[str, str] = os.environ) -> Connection:
    """The connection that the environment describes.

    Raises:
        UserError: a variable has no sensible value.
    """
    name = next((name for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL") if environment.get(name)), None)
    endpoint = environment[name].rstrip("/") if name else AMAZON
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.path or "@" in parts.netloc:
        raise UserError(f"{name}: not the URL of a server, such as http://minio:9000 or https://s3.example.com")
    bundle = environment.get("AWS_CA_BUNDLE") or environment.get("SSL_CERT_FILE") or certifi.where()
    if parts.scheme == "https" and not Path(bundle).is_file():
        raise UserError(f"AWS_CA_BUNDLE, SSL_CERT_FILE: {bundle}: no such file of certificate authorities")
    patience = environment.get(PATIENCE, str(Patience.seconds))
    try:
        seconds = float(patience)
    except ValueError:
        raise UserError(f"{PATIENCE}: {patience!r} is not a number of seconds") from None
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or Connection.region
    return Connection(endpoint, region, bundle, Patience(seconds))


class EnvironmentCredentials(Provider):  # type: ignore[misc]  # minio is not typed here
    """The keys as they are now: read again for every request, so that a rotated Secret is taken up at once."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._environment = environment

    @property
    def source(self) -> str:
        """Which variables or files the keys come from, never what they are."""
        directory = self._environment.get(CREDENTIALS)
        if directory:
            return f"{directory} ({CREDENTIALS})"
        return next((f"{key} and {secret}" for key, secret, _ in _VARIABLES if self._environment.get(key)), "nowhere")

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be shown."""
        try:
            keys = self.retrieve()
        except UserError:
            return ()
        return tuple(text for text in (keys.secret_key, keys.session_token) if text)

    def retrieve(self) -> Credentials:
        """The keys.

        Raises:
            UserError: there are none, or only half of them.
        """
        directory = self._environment.get(CREDENTIALS)
        if directory:
            found = {what: _read_first(Path(directory), names) for what, names in _FILES.items()}
            lacking = [what for what in ("access key", "secret key") if not found[what]]
            if lacking:
                wanted = "; ".join(f"{what}: {' or '.join(_FILES[what])}" for what in lacking)
                raise UserError(f"{CREDENTIALS}: {directory} lacks a readable file ({wanted})")
            return Credentials(found["access key"], found["secret key"], found["session token"] or None)
        for key, secret, token in _VARIABLES:
            if self._environment.get(key):
                if not self._environment.get(secret):
                    raise UserError(f"{key} is set and {secret} is not: set both")
                return Credentials(
                    self._environment[key], self._environment[secret], self._environment.get(token) or None
                )
        raise UserError(
            "no credentials for the store: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or have "
            f"{CREDENTIALS} name a directory with the files access-key and secret-key"
        )


def _read_first(directory: Path, names: tuple[str, ...]) -> str:
    for name in names:
        try:
            return (directory / name).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            continue
    return ""


class _PatientPool(urllib3.PoolManager):
    """A pool that tries a request again when the connection fails or the server is busy, as long as there is patience.

    Every request of S3 may be repeated: it names the whole object.
    """

    def __init__(
        self, patience: Patience, sleep: Callable[[float], object], timeout: urllib3.Timeout, authorities: str
    ) -> None:
        super().__init__(
            timeout=timeout, maxsize=_CONNECTIONS, cert_reqs="CERT_REQUIRED", ca_certs=authorities, retries=False
        )
        self._patience, self._sleep = patience, sleep

    def urlopen(self, method: str, url: str, redirect: bool = True, **options: Any) -> urllib3.BaseHTTPResponse:  # type: ignore[override]  # its own overloads differ by release
        """Send a request, again and again where that may help; the last answer is returned, the last error raised."""
        pauses = self._patience.pauses()
        while True:
            answer, failure = None, None
            try:
                answer = super().urlopen(method, url, redirect=redirect, **options)
            except (SSLError, LocationParseError):
                raise
            except HTTPError as error:
                failure = error
            if answer is not None and answer.status not in _BUSY:
                return answer
            pause = next(pauses, None)
            if pause is None:
                if failure is not None:
                    raise failure
                assert answer is not None
                return answer
            if answer is not None:
                answer.drain_conn()
            self._sleep(pause)
