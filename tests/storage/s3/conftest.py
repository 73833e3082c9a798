"""A real S3 server that checks signatures (OpenStack Swift), for the tests of this folder."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from minio import Minio

from receipt_counter.storage import sync
from receipt_counter.storage.connection import Connection, EnvironmentCredentials, Patience
from receipt_counter.storage.objects import Bucket
from receipt_counter.storage.sync import Mirror, open_mirror
from tests.storage.s3.proxy import Proxy

PROJECT = Path(__file__).resolve().parents[3]
ENVIRONMENT = Path(os.environ.get("RECEIPT_COUNTER_SWIFT", PROJECT / "build" / "swift"))
PYTHON = ENVIRONMENT / "bin" / "python"  # the server's
ACCESS, SECRET = "test:tester", "a-secret-nobody-may-see"
BUCKET = "receipts"
KEYS = {"AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": SECRET}


@dataclass(frozen=True)
class Server:
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def serving(root: Path) -> Iterator[Server]:
    """The server, with an empty bucket, while the block lasts.

    Args:
        root: where it keeps everything.
    """
    log = root / "log.txt"
    process = subprocess.Popen(
        [PYTHON, Path(__file__).with_name("swift_server.py"), root / "server"],
        env={**os.environ, "PYTHONPATH": "", "SWIFT_ACCESS_KEY": ACCESS, "SWIFT_SECRET_KEY": SECRET},
        stdout=log.open("wb"),
        stderr=subprocess.STDOUT,
    )
    try:
        deadline = time.monotonic() + 60
        while not (ready := re.search(r"^ready at port (\d+)\n", log.read_text(), re.MULTILINE)):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        port = int(ready[1])
        Minio(f"127.0.0.1:{port}", ACCESS, SECRET, secure=False, region="us-east-1").make_bucket(BUCKET)
        yield Server(port)
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of the session's own."""
    if not PYTHON.exists():
        pytest.skip(f"no S3 server: tests/storage/s3/install_server.sh PYTHON {ENVIRONMENT} installs it")
    with serving(tmp_path_factory.mktemp("swift")) as running:
        yield running


@pytest.fixture(scope="session")
def _proxy(server: Server) -> Iterator[Proxy]:
    with Proxy(server.port) as running:
        yield running


@pytest.fixture
def proxy(_proxy: Proxy) -> Iterator[Proxy]:
    """What stands before the server; without faults until a test plans some."""
    _proxy.plan, _proxy.requests, _proxy.is_down = [], [], False
    yield _proxy
    _proxy.plan, _proxy.is_down = [], False


@pytest.fixture
def url() -> str:
    """A prefix of its own."""
    return f"s3://{BUCKET}/{secrets.token_hex(4)}/team"


@pytest.fixture
def environment(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """This process speaks to the server, and so do its children; what is set."""
    variables = {
        **KEYS,
        "AWS_ENDPOINT_URL": server.url,
        "RECEIPT_COUNTER_STORE_PATIENCE": "5",
        "RECEIPT_COUNTER_HEARTBEAT_SECONDS": "0.25",
        "RECEIPT_COUNTER_SCRATCH": str(tmp_path / "scratch"),
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    sync._mirror.cache_clear()
    yield variables
    sync._mirror.cache_clear()


def bucket_at(url: str, endpoint: str, *, patience: float = 5.0, part: int = 5 * 2**20) -> Bucket:
    """A bucket whose server is given up early."""
    connection = Connection(endpoint, patience=Patience(patience, first=0.01, longest=0.1), read_seconds=0.7)
    return Bucket(url, connection, EnvironmentCredentials(KEYS), part=part)


def another_machine(url: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Mirror:
    """The mirror of a machine that has nothing yet; this process speaks for it from now on."""
    monkeypatch.setenv("RECEIPT_COUNTER_SCRATCH", str(directory))
    sync._mirror.cache_clear()
    return open_mirror(url)
