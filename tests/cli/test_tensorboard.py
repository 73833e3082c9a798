"""`receipt-counter tensorboard` with the real TensorBoard, started as a study's Deployment starts it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from receipt_counter.cli import main
from receipt_counter.cluster.tensorboard import manifests
from receipt_counter.config.cluster import Cluster
from receipt_counter.storage.labels import LABEL, STUDY, label_events
from receipt_counter.training.events import EventLog
from tests.support import ends, small_config

PROJECT = Path(__file__).resolve().parents[2]
THE_STUDY = "ablation-1a2b3c4d"
SECONDS = 90.0  # for TensorBoard to start, or to see a new run, on a busy machine


def write_run(store: Path, identity: str, study: str, label: str, seed: int) -> None:
    """A run's events as training writes them."""
    events = store / "runs" / identity / "events"
    with EventLog(events, small_config(f"seed={seed}"), 0) as log:
        log.write(1, {"train_total_loss": 1.0, "val_total_loss": 2.0})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(STUDY, study)
        patch.setenv(LABEL, label)
        label_events(events)


@dataclass
class Server:
    """A TensorBoard that runs."""

    process: subprocess.Popen[str]
    store: Path
    url: str
    probe: str

    def ask(self, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())

    def wait_for_runs(self, *names: str) -> None:
        end = time.monotonic() + SECONDS
        while (found := self.runs()) != list(names):
            assert self.process.poll() is None
            assert time.monotonic() < end, found
            time.sleep(0.3)

    def runs(self) -> list[str]:
        try:
            return sorted(self.ask("data/runs"))
        except urllib.error.URLError:
            return []


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    store = tmp_path_factory.mktemp("store")
    write_run(store, "aaaaaaaaaaaa", THE_STUDY, "baseline-seed42", 42)
    write_run(store, "bbbbbbbbbbbb", THE_STUDY, "no_counting-seed42", 43)
    write_run(store, "cccccccccccc", "another-study", "baseline-seed1", 1)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    deployment = manifests(Cluster(store=str(store)), THE_STUDY, "deployment", datetime.now(UTC))[0][1]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    command = [sys.executable, *container["command"][1:], *container["args"], f"--port={port}"]
    process = subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    prefix = f"/receipt-counter/receipt-counter/tensorboard/{THE_STUDY}/"
    yield Server(process, store, f"http://127.0.0.1:{port}{prefix}", container["readinessProbe"]["httpGet"]["path"])
    process.kill()
    process.communicate()


def test_the_runs_of_the_study_have_their_names(server: Server) -> None:
    server.wait_for_runs("baseline-seed42", "no_counting-seed42")
    assert server.url.endswith(server.probe.removesuffix("data/environment"))
    server.ask("data/environment")


def test_its_pages_are_filled(server: Server) -> None:
    server.wait_for_runs("baseline-seed42", "no_counting-seed42")
    layout = server.ask("data/plugin/custom_scalars/layout")
    assert {category["title"] for category in layout["category"]} >= {"losses", "counting", "answers"}
    experiment = server.ask("data/plugin/hparams/experiment", {"experimentName": ""})
    assert {"training.learning_rate", "seed"} <= {item["name"] for item in experiment["hparamInfos"]}
    asked = {"experimentName": "", "colParams": [], "startIndex": 0, "sliceSize": 10, "allowedStatuses": []}
    asked["allowedStatuses"] = ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"]
    groups = server.ask("data/plugin/hparams/session_groups", asked)["sessionGroups"]
    assert sorted(group["hparams"]["seed"] for group in groups) == [42, 43]


def test_a_run_that_begins_later_appears(server: Server) -> None:
    server.wait_for_runs("baseline-seed42", "no_counting-seed42")
    write_run(server.store, "dddddddddddd", THE_STUDY, "later-seed42", 44)
    server.wait_for_runs("baseline-seed42", "later-seed42", "no_counting-seed42")


def test_a_stop_leaves_nothing_behind(server: Server) -> None:
    children = psutil.Process(server.process.pid).children(recursive=True)
    server.process.send_signal(signal.SIGTERM)
    said, _ = server.process.communicate(timeout=SECONDS)
    assert server.process.returncode == 143
    assert f"of study {THE_STUDY}" in said
    assert ends(*children)


def test_a_port_that_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["tensorboard", "--store", str(tmp_path), "--host", "127.0.0.1", "--port", str(port)]) == 1
    assert f"{port}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere: no study"),
        (["--namespace", "team"], "--namespace: is for --backend kubeflow"),
        (["--list"], "--list: is for --backend kubeflow"),
        (["--older-than", "7d"], "--older-than: is for --backend kubeflow"),
        (["--backend", "kubflow"], "did you mean 'kubeflow'?"),
    ],
)
def test_mistakes(arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tensorboard", *arguments, "--store", str(tmp_path)]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
