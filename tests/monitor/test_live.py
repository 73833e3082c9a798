"""The real command in a real process: a change is told within two seconds, while a real training runs."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from receipt_counter.cli.main import main
from receipt_counter.monitor.app import create_app
from receipt_counter.monitor.catalogue import open_catalogue
from receipt_counter.monitor.monitor import Monitor
from receipt_counter.monitor.serve import _Server, listening
from receipt_counter.monitor.source import LocalSource
from receipt_counter.training.train import train
from scripts.training_monitor import run as training_monitor
from tests.monitor.support import scalar, until, write_events, write_record
from tests.support import small_config, write_squares

STRANGE = "%2e%2e%2f <b>, & ? # \u00e9"
SECONDS = 2.0  # within which a change is to be seen


@contextlib.contextmanager
def serving(root: Path, cache: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`receipt-counter monitor` in a process of its own, and its address."""
    command = [sys.executable, "-m", "receipt_counter", "monitor", "--experiments-dir", str(root), "--port", "0"]
    process = subprocess.Popen(
        [*command, "--cache-dir", str(cache), *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://\S+?/(?=[ ?])", line)
        assert found, line + process.stdout.read()
        yield process, found[0]
    finally:
        process.kill()
        process.wait()


class Listener(threading.Thread):
    """A browser that listens to the stream: when each event arrived."""

    def __init__(self, address: str, **headers: str) -> None:
        super().__init__(daemon=True)
        self.address, self.headers = address, headers
        self.events: list[tuple[float, dict[str, Any]]] = []
        self.connected, self.ended = threading.Event(), threading.Event()

    def run(self) -> None:
        opening = httpx.stream("GET", f"{self.address}api/stream", headers=self.headers, timeout=60)
        with contextlib.suppress(httpx.HTTPError), opening as stream:
            for line in stream.iter_lines():
                self.connected.set()
                if line.startswith("data: "):
                    self.events.append((time.monotonic(), json.loads(line.removeprefix("data: "))))
        self.ended.set()


def test_a_training_is_seen_while_it_runs_and_the_server_ends_cleanly(tmp_path: Path) -> None:
    root = tmp_path / "experiments"
    write_record(root / "runs" / "old", status="finished")
    dataset = write_squares(tmp_path / "data", {"train": 24, "val": 8})
    with serving(root, tmp_path / "cache", "--path-prefix", "/monitor") as (process, address):
        assert address.endswith("/monitor/")
        listener = Listener(address)
        listener.start()
        assert listener.connected.wait(60)
        trained: list[tuple[float, Path]] = []

        def training() -> None:
            run = train(small_config("training.epochs=2", "training.schedule.epochs=2"), dataset, root)
            trained.append((time.monotonic(), run))

        thread = threading.Thread(target=training)
        thread.start()
        steps, statuses = set(), set()
        while thread.is_alive():
            for one in httpx.get(f"{address}api/experiments").json()["experiments"]:
                if one["id"] != "old":
                    steps.add(one["progress"]["step"])
                    statuses.add(one["status"])
            time.sleep(0.05)
        thread.join()
        ended, run = trained[0]
        events = until(
            lambda: [e for e in listener.events if run.name in e[1]["experiments"] and e[0] >= ended - 1], 10
        )
        assert events[0][0] - ended < SECONDS
        detail = until(lambda: _finished(f"{address}api/experiments/{run.name}"), SECONDS)
        assert detail["progress"]["fraction"] == 1.0
        assert "running" in statuses
        assert len(steps) > 1, "it was seen at several steps"
        curve = httpx.get(f"{address}api/experiments/{run.name}/metrics?tags=train_total_loss").json()["tags"]
        assert curve["train_total_loss"]["step"] == list(range(1, detail["progress"]["step"] + 1))
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0, "an open stream does not hold it up"
        assert listener.ended.wait(60)
        assert process.stdout is not None
        assert process.stdout.read() == ""


def _finished(address: str) -> Any:
    found = httpx.get(address).json()
    return found if found["status"] == "finished" else None


def test_each_kind_of_change_is_told_in_time_and_after_a_lost_connection(tmp_path: Path) -> None:
    root, run = tmp_path / "experiments", tmp_path / "experiments" / "runs" / "one"
    write_record(run)
    file = write_events(run, scalar("loss", 1, 1.0))
    quiet = tmp_path / "experiments" / "runs" / "quiet"
    write_record(quiet, status="finished")
    os.utime(quiet / "run.json", (1e9, 1e9))
    with serving(root, tmp_path / "cache") as (process, address):
        listener = Listener(address)
        listener.start()
        assert listener.connected.wait(60)
        time.sleep(1)

        def append() -> None:
            with file.open("ab") as opened:
                opened.write(scalar("loss", 2, 1.0))

        changes = {
            "a point": ("one", append),
            "a status": ("one", lambda: write_record(run, status="failed")),
            "a new run": (STRANGE, lambda: write_record(run.with_name(STRANGE))),
            "a finished run that changes": ("quiet", lambda: write_record(quiet, status="finished", seed=5)),
            "a run that goes": (STRANGE, lambda: run.with_name(STRANGE).rename(tmp_path / "away")),
        }
        for what, (name, change) in changes.items():
            seen, began = len(listener.events), time.monotonic()
            change()
            arrived = until(
                lambda seen=seen, name=name: [e for e in listener.events[seen:] if name in e[1]["experiments"]]
            )
            assert arrived[0][0] - began < SECONDS, what
            shown = httpx.get(f"{address}api/experiments/{urllib.parse.quote(name, safe='')}")
            assert shown.status_code == (404 if what == "a run that goes" else 200)
        first = listener.events[0][1]["version"]
        again = Listener(address, **{"Last-Event-ID": str(first)})
        again.start()
        until(lambda: again.events)
        assert set(again.events[0][1]["experiments"]) == {"one", STRANGE, "quiet"}
        foreign = Listener(address, **{"Last-Event-ID": "17"})
        foreign.start()
        assert until(lambda: foreign.events)[0][1]["all"], "a version of another life: all may have changed"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--experiments-dir", "nowhere"], "no such folder"),
        (["--experiments-dir", "gs://bucket/prefix"], "only a folder or s3://"),
        (["--port", "x"], "is not a port"),
        (["--port", "70000"], "is not a port"),
        (["--path-prefix", "monitor"], "is not a path"),
        (["--path-prefix", "//evil.example"], "is not a path"),
        (["--token-file", "nowhere"], "cannot be read"),
        (["--token-file", os.devnull], "holds no token"),
        (["--host", "256.0.0.1"], "--host 256.0.0.1"),
        (["--output", "x"], "only with --report"),
        (["--cache-dir", "{root}/cache"], "never writes"),
    ],
)
def test_mistakes_are_told(options: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    defaults = ["--experiments-dir", str(tmp_path), "--cache-dir", str(tmp_path.with_name("cache"))]
    given = [option.format(root=tmp_path) for option in options]
    assert main(["monitor", *defaults, *given]) == 2
    assert words in capsys.readouterr().err


def test_a_port_in_use_is_told_with_a_free_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        options = ["--experiments-dir", str(tmp_path), "--cache-dir", str(tmp_path.with_name("cache"))]
        assert main(["monitor", *options, "--port", str(port)]) == 2
    found = re.search(r"is in use on 127.0.0.1; (\d+) is free: --port \1", capsys.readouterr().err)
    assert found
    assert int(found[1]) > port


def test_the_documents_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root, output = tmp_path / "experiments", tmp_path / "summary_report.json"
    for name, loss in (("a", 0.5), ("b", 0.25)):
        write_record(
            root / "runs" / name,
            status="finished",
            metrics={"val_total_loss": loss, "generation_perplexity": loss, "answer_accuracy": loss},
        )
    assert training_monitor(["--experiments-dir", str(root), "--report", "--output", str(output)]) == 0
    report = json.loads(output.read_text())
    best = {name: found["experiment"] for name, found in report["comparison"]["best"].items()}
    assert best == {"val_total_loss": "b", "generation_perplexity": "b", "answer_accuracy": "a"}
    assert sorted(report["experiments"]) == sorted(report["experiment_data"]) == ["a", "b"]


def test_trouble_while_it_listens_is_not_the_ports() -> None:
    with pytest.raises(PermissionError), listening("127.0.0.1", 0):
        raise PermissionError(errno.EACCES, "of a file, say")


def test_a_signal_before_the_application_has_started_ends_it(tmp_path: Path) -> None:
    with open_catalogue(tmp_path / "cache") as catalogue:
        app = create_app(Monitor(LocalSource(str(tmp_path)), catalogue))
        server = _Server(uvicorn.Config(app), app)
        server.handle_exit(signal.SIGTERM, None)
        assert server.should_exit
