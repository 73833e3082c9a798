"""Real training into a real store: killed, continued elsewhere, cut off from it; nothing of this changes a weight."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from receipt_counter.config.loading import to_yaml
from receipt_counter.storage.manifest import MANIFEST
from receipt_counter.storage.pusher import push
from receipt_counter.storage.segments import split_segment
from receipt_counter.storage.sync import Mirror, place_of
from tests.storage.s3.conftest import PROJECT, SECRET, another_machine, bucket_at
from tests.storage.s3.proxy import Proxy
from tests.support import small_config, write_squares

CONFIG = small_config(
    "training.epochs=4", "training.schedule.epochs=4", "data.num_workers=0", "training.checkpoint.every_steps=4"
)


class Machine:
    """The training command on a machine with a scratch directory of its own."""

    def __init__(self, directory: Path, url: str, environment: dict[str, str], **more: str) -> None:
        self.scratch, self.url, self.log = directory / "scratch", url, directory / "log.txt"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "config.yaml").write_text(to_yaml(CONFIG))
        self.environment = {
            **os.environ,
            **environment,
            "PYTHONPATH": str(PROJECT),
            "RECEIPT_COUNTER_SCRATCH": str(self.scratch),
            **more,
        }
        self.command = [sys.executable, "-m", "receipt_counter.training", "--config", str(directory / "config.yaml")]
        self.command += ["--data", f"{url}/datasets/squares", "--store", url]

    def start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(self.command, env=self.environment, stdout=log, stderr=log)

    def finish(self) -> int:
        return self.start().wait(120)

    @property
    def run(self) -> Path:
        return next(self.scratch.glob("stores/*/runs/*"))


@pytest.fixture
def dataset(environment: dict[str, str], url: str) -> str:
    path = place_of(f"{url}/datasets/squares")
    write_squares(path, {"train": 64, "val": 8})
    push(path)
    return url


def until(condition: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 90
    while not condition():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)


def record(store: Mirror) -> dict[str, Any]:
    (name,) = store.bucket.folders("runs/")
    found: dict[str, Any] = json.loads(store.bucket.read(f"runs/{name}/run.json") or b"{}")
    return found


def pulled(store: Mirror) -> Path:
    (name,) = store.bucket.folders("runs/")
    store.pull(store.root / "runs" / name)
    return store.root / "runs" / name


def outcome(run: Path) -> tuple[str, Any, list[tuple[int, float]]]:
    content = json.loads((run / "run.json").read_text())
    weights = hashlib.sha256((run / "model" / "model.safetensors").read_bytes()).hexdigest()
    return weights, (content["status"], content["splits"]), points_of(run)


def points_of(run: Path) -> list[tuple[int, float]]:
    accumulator = EventAccumulator(str(run / "events"), size_guidance={"scalars": 0})
    accumulator.Reload()
    return [(event.step, event.value) for event in accumulator.Scalars("train_total_loss")]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any, list[tuple[int, float]]]:
    """What the same training leaves in a plain directory."""
    directory = tmp_path_factory.mktemp("undisturbed")
    write_squares(directory / "squares", {"train": 64, "val": 8})
    (directory / "config.yaml").write_text(to_yaml(CONFIG))
    command = [sys.executable, "-m", "receipt_counter.training", "--config", str(directory / "config.yaml")]
    subprocess.run(
        [*command, "--data", str(directory / "squares"), "--store", str(directory / "store")],
        check=True,
        capture_output=True,
    )
    return outcome(next((directory / "store" / "runs").iterdir()))


def test_killed_and_continued_on_another_machine(
    dataset: str, environment: dict[str, str], undisturbed: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (Machine(tmp_path / name, dataset, environment) for name in ("first", "second"))
    store = another_machine(dataset, tmp_path / "reader", monkeypatch)
    process = first.start()
    until(
        lambda: any(name.endswith(f"step-8/{MANIFEST}") for name in store.bucket.entries("runs/")), process, first.log
    )
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert record(store)["status"] == "running"
    assert second.finish() == 0, second.log.read_text()
    assert "may still work on it; waiting for its heartbeat" in second.log.read_text()
    assert outcome(pulled(store)) == undisturbed
    hosts = {found[0] for name in store.bucket.entries("runs/") if (found := split_segment(name))}
    assert len(hosts) == 2  # each machine's own event file
    # the first machine finds it finished, whatever it still has itself
    before = store.bucket.entries()
    assert first.finish() == 0
    assert store.bucket.entries() == before
    everything = first.log.read_text() + second.log.read_text()
    assert SECRET not in everything


def test_an_outage_stops_nothing(
    dataset: str,
    environment: dict[str, str],
    undisturbed: object,
    proxy: Proxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(
        tmp_path / "machine", dataset, environment, AWS_ENDPOINT_URL=proxy.url, RECEIPT_COUNTER_STORE_PATIENCE="0.5"
    )
    store = another_machine(dataset, tmp_path / "reader", monkeypatch)
    process = machine.start()
    until(
        lambda: any(name.endswith(f"step-4/{MANIFEST}") for name in store.bucket.entries("runs/")), process, machine.log
    )
    with proxy.outage():
        until((machine.run / "checkpoints" / "step-16").exists, process, machine.log)
    assert process.wait(60) == 0, machine.log.read_text()
    assert outcome(pulled(store)) == undisturbed
    assert set(store.bucket.folders(f"runs/{machine.run.name}/checkpoints/")) == {
        p.name for p in (machine.run / "checkpoints").iterdir() if p.is_dir()
    }


def test_what_the_store_did_not_take_is_kept_and_sent_again(
    dataset: str,
    environment: dict[str, str],
    undisturbed: object,
    proxy: Proxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(
        tmp_path / "machine", dataset, environment, AWS_ENDPOINT_URL=proxy.url, RECEIPT_COUNTER_STORE_PATIENCE="0.5"
    )
    store = another_machine(dataset, tmp_path / "reader", monkeypatch)
    process = machine.start()
    until(
        lambda: bool(machine.scratch.exists() and any(machine.scratch.glob("stores/*/runs/*/checkpoints/step-*"))),
        process,
        machine.log,
    )
    with proxy.outage():
        assert process.wait(90) == 1
    said = machine.log.read_text()
    assert f"Everything is kept in {machine.run}; the same command sends it" in said
    assert "Traceback" not in said
    assert record(store)["status"] == "running"
    assert machine.finish() == 0, machine.log.read_text()
    assert outcome(pulled(store)) == undisturbed


def test_stopped_by_a_signal_it_is_free_at_once(
    dataset: str, environment: dict[str, str], undisturbed: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = {**environment, "RECEIPT_COUNTER_HEARTBEAT_SECONDS": "60"}
    first, second = (Machine(tmp_path / name, dataset, slow) for name in ("first", "second"))
    store = another_machine(dataset, tmp_path / "reader", monkeypatch)
    process = first.start()
    until(
        lambda: any(name.endswith(f"step-4/{MANIFEST}") for name in store.bucket.entries("runs/")), process, first.log
    )
    process.terminate()
    assert process.wait(60) == 128 + signal.SIGTERM
    assert record(store)["status"] == "interrupted"
    assert second.finish() == 0, second.log.read_text()
    assert outcome(pulled(store)) == undisturbed


def test_no_bucket_is_said_before_anything_is_done(environment: dict[str, str], tmp_path: Path) -> None:
    machine = Machine(tmp_path / "machine", "s3://nobody", environment)
    machine.environment["RECEIPT_COUNTER_STORE_PATIENCE"] = "0.5"
    assert machine.finish() == 1
    assert machine.log.read_text().startswith("cannot list s3://nobody/datasets/squares")
    assert "there is no bucket 'nobody'" in machine.log.read_text()
    assert bucket_at("s3://nobody", environment["AWS_ENDPOINT_URL"]).name == "nobody"
