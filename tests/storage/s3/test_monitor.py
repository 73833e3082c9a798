"""The monitor shows what is in a store of objects, soon after it was sent, and survives the store's absence."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from receipt_counter.errors import UserError
from receipt_counter.monitor.app import create_app
from receipt_counter.monitor.catalogue import open_catalogue
from receipt_counter.monitor.monitor import Monitor
from receipt_counter.monitor.serve import open_source
from receipt_counter.monitor.source import StoreSource
from receipt_counter.storage.pusher import push
from receipt_counter.storage.sync import open_mirror
from tests.monitor.support import scalar, until, write_events, write_record
from tests.storage.s3.proxy import Proxy

SECONDS = 2.0  # within which what was sent is shown


def points(client: TestClient) -> list[float]:
    found = client.get("/api/experiments/abc/metrics", params={"tags": "loss"}).json()
    values: list[float] = found.get("tags", {}).get("loss", {}).get("value", [])
    return values


@pytest.mark.usefixtures("environment")
def test_what_is_sent_is_seen(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy: Proxy) -> None:
    monkeypatch.setenv("RECEIPT_COUNTER_STORE_PATIENCE", "0.2")
    run = open_mirror(url).root / "runs" / "abc"
    write_record(run)
    write_events(run, scalar("loss", 1, 4.0))
    (run / "model").mkdir()
    (run / "model" / "model.safetensors").write_bytes(b"weights")
    push(run)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    source = open_source(url, tmp_path / "cache")
    assert isinstance(source, StoreSource)
    with (
        open_catalogue(tmp_path / "cache") as catalogue,
        Monitor(source, catalogue, processes=1) as monitor,
        TestClient(create_app(monitor), base_url="http://localhost") as client,
    ):
        until(lambda: points(client) == [4.0])
        assert not (source.root / "runs" / "abc" / "model").exists(), "weights stay where they are"

        write_events(run, scalar("loss", 1, 4.0) + scalar("loss", 2, 3.0))
        push(run)
        sent = time.monotonic()
        until(lambda: points(client) == [4.0, 3.0])
        assert time.monotonic() - sent < SECONDS

        proxy.is_down = True
        until(lambda: monitor.problem)
        assert points(client) == [4.0, 3.0]
        write_events(run, scalar("loss", 1, 4.0) + scalar("loss", 2, 3.0) + scalar("loss", 3, 2.0))
        push(run)
        proxy.is_down = False
        until(lambda: points(client) == [4.0, 3.0, 2.0])
        assert monitor.problem is None


def test_no_credentials_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "MINIO_ACCESS_KEY", "RECEIPT_COUNTER_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    source = open_source("s3://bucket/team", tmp_path)
    with pytest.raises(UserError, match="AWS_ACCESS_KEY_ID"):
        source.refresh()
