"""Objects against a real server, with faults between: nothing lost, nothing half-written, nothing secret said."""

from __future__ import annotations

import hashlib
import logging
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from receipt_counter.errors import UserError
from receipt_counter.storage.connection import CREDENTIALS, EnvironmentCredentials, connection
from receipt_counter.storage.objects import Bucket
from receipt_counter.storage.remote import StoreError, split_url
from tests.storage.s3.conftest import ACCESS, BUCKET, KEYS, SECRET, Server, bucket_at
from tests.storage.s3.proxy import FAULTS, Fault, Proxy

LARGE = 11 * 2**20  # three parts
NAMES = ("plain.txt", "with blank.txt", "ünïcode/é+%20.json", "a/b/c/d")


def content(size: int, seed: int = 0) -> bytes:
    return hashlib.shake_128(bytes([seed])).digest(size)


@pytest.fixture
def bucket(server: Server, url: str) -> Bucket:
    return bucket_at(url, server.url)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_is_read(bucket: Bucket, tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_bytes(b"receipt")
    entry = bucket.put(name, tmp_path / "file")
    assert bucket.entries() == {name: entry}
    assert bucket.etag_of(tmp_path / "file") == entry.etag == bucket.etag(name)
    assert bucket.read(name) == b"receipt"
    bucket.get(name, tmp_path / "copy" / "file")
    assert (tmp_path / "copy" / "file").read_bytes() == b"receipt"
    bucket.delete([name, "of which there is none"])
    assert (bucket.entries(), bucket.read(name), bucket.etag(name), bucket.age(name)) == ({}, None, None, None)


def test_folders_and_prefixes(bucket: Bucket) -> None:
    for name in ("runs/a/run.json", "runs/b/run.json", "runs-of-others/c", "runs/loose"):
        bucket.put(name, b"")
    assert bucket.folders("runs/") == ["a", "b"]
    assert set(bucket.entries("runs/")) == {"runs/a/run.json", "runs/b/run.json", "runs/loose"}
    age = bucket.age("runs/loose")
    assert age is not None
    assert abs(age) < 30


# What each fault does to each operation: it is repeated until it succeeds, or ends in a message.
TEMPORARY = tuple(fault for fault in FAULTS if fault not in ("507 full", "403 denied"))
OPERATIONS: dict[str, tuple[str, str]] = {
    "write": ("PUT", ""),
    "write in parts": ("PUT", "partNumber=2"),
    "begin parts": ("POST", r"\?uploads"),
    "complete parts": ("POST", "uploadId="),
    "read": ("GET", "object"),
    "list": ("GET", "list-type"),
    "delete": ("POST", "delete"),
}


def do(operation: str, bucket: Bucket, directory: Path) -> None:
    """An operation and the proof that it was done."""
    large = operation in ("write in parts", "begin parts", "complete parts")
    data = content(LARGE if large else 5000)
    if operation.startswith(("write", "begin", "complete")):
        (directory / "file").write_bytes(data)
        bucket.put("object", directory / "file")
        assert bucket.read("object") == data
    elif operation == "read":
        bucket.get("object", directory / "copy")
        assert (directory / "copy").read_bytes() == content(5000, 1)
    elif operation == "list":
        assert list(bucket.entries()) == ["object"]
    else:
        bucket.delete(["object"])
        assert bucket.entries() == {}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_fault(operation: str, fault: str, server: Server, proxy: Proxy, url: str, tmp_path: Path) -> None:
    direct, through = bucket_at(url, server.url), bucket_at(url, proxy.url, patience=20.0)
    before = content(5000, 1)
    direct.put("object", before)
    method, path = OPERATIONS[operation]
    proxy.plan = [Fault(fault, {"slow": 1, **dict.fromkeys(TEMPORARY[:-1], 2)}.get(fault, 100), method, path)]
    if fault in TEMPORARY:
        do(operation, through, tmp_path)
        return
    with pytest.raises(
        StoreError, match="no space left in the store" if "507" in fault else "refuses the credentials"
    ) as raised:
        do(operation, through, tmp_path)
    assert url in raised.value.message
    assert direct.read("object") == before  # as it was
    assert [path.name for path in tmp_path.iterdir() if path.name != "file"] == []


def test_slow_and_failing_server_is_given_up_in_time(proxy: Proxy, url: str) -> None:
    proxy.plan = [Fault("503 SlowDown", 10_000)]
    with pytest.raises(StoreError, match=r"answers with status 503|SlowDown") as raised:
        bucket_at(url, proxy.url, patience=0.5).put("object", b"")
    assert raised.value.is_temporary
    assert 3 < len(proxy.requests) < 60


def test_full_disk_leaves_nothing(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.put("object", content(LARGE))

    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", no_space)
    with pytest.raises(UserError, match=r"cannot write .*copy: No space left"):
        bucket.get("object", tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []


MISTAKES: dict[str, tuple[dict[str, str], str, str]] = {
    "wrong secret": (
        {"AWS_SECRET_ACCESS_KEY": "another"},
        "",
        "refuses the credentials .* from AWS_ACCESS_KEY_ID and AWS_SECRET",
    ),
    "unknown key": ({"AWS_ACCESS_KEY_ID": "test:nobody"}, "", "refuses the credentials .* from AWS_ACCESS_KEY_ID"),
    "no keys": ({"AWS_ACCESS_KEY_ID": ""}, "", "no credentials for the store: set AWS_ACCESS_KEY_ID"),
    "half of the keys": (
        {"AWS_SECRET_ACCESS_KEY": ""},
        "",
        "AWS_ACCESS_KEY_ID is set and AWS_SECRET_ACCESS_KEY is not",
    ),
    "keys in no directory": ({CREDENTIALS: "/nowhere"}, "", "/nowhere lacks a readable file .*access-key or accesskey"),
    "no such bucket": ({}, "s3://nowhere/x", "there is no bucket 'nowhere' at http"),
    "nobody listens": (
        {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"},
        "",
        "127.0.0.1:9 cannot be reached.*refused.*AWS_ENDPOINT_URL",
    ),
    "no such host": ({"AWS_ENDPOINT_URL": "http://no.host.invalid"}, "", "no.host.invalid cannot be reached"),
    "no URL of a server": ({"AWS_ENDPOINT_URL": "minio:9000"}, "", "AWS_ENDPOINT_URL: not the URL of a server"),
    "no TLS there": ({"AWS_ENDPOINT_URL": "https"}, "", "no trusted connection to https.*AWS_CA_BUNDLE"),
    "no such authorities": (
        {"AWS_ENDPOINT_URL": "https", "AWS_CA_BUNDLE": "/no.pem"},
        "",
        "/no.pem: no such file of certificate",
    ),
    "no patience": ({"RECEIPT_COUNTER_STORE_PATIENCE": "long"}, "", "'long' is not a number of seconds"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_explained(mistake: str, server: Server, url: str, caplog: pytest.LogCaptureFixture) -> None:
    variables, other, message = MISTAKES[mistake]
    given = {**KEYS, "AWS_ENDPOINT_URL": server.url, "RECEIPT_COUNTER_STORE_PATIENCE": "0.5", **variables}
    if given["AWS_ENDPOINT_URL"] == "https":
        given["AWS_ENDPOINT_URL"] = server.url.replace("http", "https")
    caplog.set_level(logging.DEBUG)
    with pytest.raises(UserError, match=message) as raised:
        Bucket(other or url, connection(given), EnvironmentCredentials(given)).put("object", b"")
    said = "".join(traceback.format_exception(raised.value)) + caplog.text + repr(raised.value.__dict__)
    for secret in filter(None, (SECRET, given.get("AWS_SECRET_ACCESS_KEY"))):
        assert secret not in said
    assert "Signature=" not in said


@pytest.mark.parametrize(
    "bad", ["s3://", "s3://x/y", "s3://UPPER/x", "s3://bucket/a//b", "s3://bucket/../x", "s3:/bucket/x"]
)
def test_no_url(bad: str) -> None:
    with pytest.raises(UserError, match="not a URL of the form s3://bucket/prefix"):
        split_url(bad)


def test_secrets_are_in_no_representation(bucket: Bucket, server: Server) -> None:
    for thing in (
        bucket,
        bucket.server,
        vars(bucket),
        EnvironmentCredentials(KEYS),
        EnvironmentCredentials(KEYS).source,
    ):
        assert SECRET not in repr(thing)


def test_a_rotated_secret_is_taken_up(server: Server, url: str, tmp_path: Path) -> None:
    def mount(secret: str) -> None:
        (tmp_path / "access-key").write_text(f"{ACCESS}\n")
        (tmp_path / "secret-key").write_text(f"{secret}\n")

    mount("outdated")
    pauses: list[float] = []

    def renew(seconds: float) -> None:
        pauses.append(seconds)
        mount(SECRET)

    given = {CREDENTIALS: str(tmp_path), "AWS_ENDPOINT_URL": server.url}
    bucket = Bucket(url, connection(given), EnvironmentCredentials(given), sleep=renew)
    bucket.put("object", b"1")
    assert len(pauses) == 1
    mount("outdated again")
    renewing: Callable[[float], object] = lambda seconds: None  # noqa: E731
    with pytest.raises(StoreError, match=f"were read from {tmp_path} .RECEIPT_COUNTER_CREDENTIALS."):
        Bucket(url, connection(given), EnvironmentCredentials(given), sleep=renewing).read("object")


def test_probe_leaves_nothing(bucket: Bucket) -> None:
    bucket.probe()
    assert bucket.entries() == {}
    assert bucket.name == BUCKET
