"""The monitor shows what is in a store of objects, soon after it was sent, and survives the store's absence."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from receipt_counter.errors import UserError
from receipt_counter.monitor import datasets
from receipt_counter.monitor.app import create_app
from receipt_counter.monitor.catalogue import open_catalogue
from receipt_counter.monitor.monitor import Monitor
from receipt_counter.monitor.serve import open_source
from receipt_counter.monitor.source import StoreSource
from receipt_counter.storage.files import write_atomic, write_json
from receipt_counter.storage.pusher import push
from receipt_counter.storage.sync import open_mirror
from tests.monitor.browser import CHROMIUM, browser
from tests.monitor.conftest import served
from tests.monitor.support import scalar, until, write_events, write_record
from tests.storage.s3.proxy import Proxy
from tests.support import write_squares

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
        until(lambda: monitor.problem is None)  # its points are shown before the look ends


def judged(run: Path, fingerprint: str, count: int) -> None:
    """A finished run that was wrong about the first images of its test split, of which it keeps no small copies."""
    write_record(run, status="finished", lineage={"data_fingerprint": fingerprint})
    wrong = {"count": 1, "label": 1, "predicted": 2, "probabilities": [0.1, 0.2, 0.7], "answers": []}
    lines = [json.dumps({"id": f"test-{number:06}", **wrong}) for number in range(count)]
    write_atomic(run / "evaluation" / "test" / "predictions.jsonl", "\n".join(lines))
    write_json(run / "evaluation" / "test" / "confusion.json", {"labels": ["0", "1", "2+"], "matrix": 3 * [[0, 0, 1]]})
    write_json(run / "evaluation" / "test" / "metrics.json", {"metrics": {"answer_accuracy": 0.5}})


@pytest.mark.usefixtures("environment")
def test_pictures_are_fetched_when_somebody_looks_at_them(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_mirror(url).root
    for number, name in enumerate(("squares", "others")):
        data = write_squares(store / "datasets" / name, {"test": 3 + number})
        push(data.path)
        judged(store / "runs" / name, data.fingerprint, 3)
    judged(store / "runs" / "lost", "0123456789abcdef", 1)
    push(store / "runs")
    with served(url, tmp_path / "cache") as site:
        address = f"{site.url}api/experiments/"

        def asked(name: str) -> Any:
            return httpx.get(f"{address}{name}/mistakes").json()

        def settled(name: str) -> Any:
            return until(lambda: None if (found := asked(name))["fetching"] else found)

        first = asked("squares")
        assert [one["image"] for one in first["mistakes"]] == 3 * [None]
        assert (first["fetching"], "is being fetched from the store" in first["note"]) == (True, True)
        found = settled("squares")
        assert found["note"] is None
        for one in found["mistakes"]:
            shown = httpx.get(site.url + one["image"])
            assert (shown.status_code, shown.headers["content-type"]) == (200, "image/jpeg")
        assert settled("lost")["note"] == "Some pictures are not here: its dataset is not in the store."
        mirrored = tmp_path / "cache" / "mirror" / "datasets"
        assert [path.name for path in mirrored.iterdir()] == ["squares"], "what nobody looks at stays in the store"

        bytes_of_one = sum(file.stat().st_size for file in mirrored.rglob("*") if file.is_file())
        monkeypatch.setattr(datasets, "LIMIT", 2 * bytes_of_one)
        assert settled("others")["note"] is None
        assert [path.name for path in mirrored.iterdir()] == ["others"], "the older one made room"
        monkeypatch.setattr(datasets, "LIMIT", 100)
        said = settled("squares")["note"]
        assert f"that are kept here for pictures: they are in images.tar at {url}/datasets/squares" in said
        assert [path.name for path in mirrored.iterdir()] == ["others"]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.usefixtures("environment")
def test_pictures_appear_in_the_gallery_by_themselves(url: str, tmp_path: Path) -> None:
    store = open_mirror(url).root
    data = write_squares(store / "datasets" / "squares", {"test": 3})
    push(data.path)
    judged(store / "runs" / "one", data.fingerprint, 3)
    push(store / "runs")
    with served(url, tmp_path / "cache") as site, browser(tmp_path / "browser") as chromium:
        tab = chromium.tab()
        tab.open(f"{site.url}run?id=one")
        tab.run("document.querySelector('#mistakes').scrollIntoView()")
        note = "document.querySelector('#pictures-note')"
        assert "is being fetched" in tab.run(f"{note}.textContent")
        assert tab.run("document.querySelector('.mistake .missing').textContent") == "picture on its way"
        tab.until("[...document.querySelectorAll('.mistake img')].filter((one) => one.naturalWidth > 0).length === 3")
        assert tab.run(f"{note}.hidden")
        assert tab.problems == []


@pytest.mark.usefixtures("environment")
def test_a_run_that_is_removed_from_the_store_is_gone(url: str, tmp_path: Path) -> None:
    mirror = open_mirror(url)
    for name in ("one", "two"):
        write_record(mirror.root / "runs" / name)
    push(mirror.root / "runs")
    source = StoreSource(url, tmp_path / "mirror", pause=0.0)
    source.refresh()
    assert {path.name for path in (source.root / "runs").iterdir()} == {"one", "two"}
    mirror.bucket.delete(["runs/two/run.json"])
    source.refresh()
    assert [path.name for path in (source.root / "runs").iterdir()] == ["one"]


@pytest.mark.usefixtures("environment")
def test_a_store_that_does_not_answer_is_told_soon(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy: Proxy
) -> None:
    monkeypatch.delenv("RECEIPT_COUNTER_STORE_PATIENCE")
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    proxy.is_down = True
    began = time.monotonic()
    with pytest.raises(UserError, match="cannot be reached"):
        StoreSource(url, tmp_path / "mirror").refresh()
    assert time.monotonic() - began < 15


def test_no_credentials_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "MINIO_ACCESS_KEY", "RECEIPT_COUNTER_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    source = open_source("s3://bucket/team", tmp_path)
    with pytest.raises(UserError, match="AWS_ACCESS_KEY_ID"):
        source.refresh()
