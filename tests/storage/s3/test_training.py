"""Real training into a real store: killed, continued elsewhere, cut off from it; nothing of this changes a weight."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from receipt_counter.config.loading import to_yaml
from receipt_counter.errors import UserError
from receipt_counter.storage.manifest import MANIFEST
from receipt_counter.storage.ownership import catch_up
from receipt_counter.storage.pusher import push
from receipt_counter.storage.run import Run
from receipt_counter.storage.segments import split_segment
from receipt_counter.storage.sync import Mirror, place_of
from receipt_counter.training.batches import Share
from receipt_counter.training.train import require_shared_mirror
from tests.forks import Fork
from tests.storage.s3.conftest import SECRET, another_machine
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
            "RECEIPT_COUNTER_SCRATCH": str(self.scratch),
            **more,
        }
        self.options = ["--config", str(directory / "config.yaml"), "--data", f"{url}/datasets/squares"]
        self.options += ["--store", url]

    def start(self) -> Fork:
        return Fork("receipt_counter.training", self.options, self.log, environment=self.environment)

    def finish(self) -> int:
        return self.start().wait(240)

    @property
    def run(self) -> Path:
        return next(self.scratch.glob("stores/*/runs/*"))


@pytest.fixture
def dataset(environment: dict[str, str], url: str) -> str:
    path = place_of(f"{url}/datasets/squares")
    write_squares(path, {"train": 128, "val": 8})
    push(path)
    return url


def steps(names: Iterable[str]) -> int:
    """The last step of which there is a checkpoint."""
    return max((int(name.rpartition("-")[2]) for name in names if name.startswith("step-")), default=0)


def whole_steps(store: Mirror) -> int:
    """The last step of which the store has a whole checkpoint."""
    return steps(
        name.split("/")[3] for name in store.bucket.entries("runs/") if name.endswith(MANIFEST) and "/step-" in name
    )


def until(condition: Callable[[], bool], process: Fork, log: Path) -> None:
    deadline = time.monotonic() + 240
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
    write_squares(directory / "squares", {"train": 128, "val": 8})
    (directory / "config.yaml").write_text(to_yaml(CONFIG))
    command = [sys.executable, "-m", "receipt_counter.training", "--config", str(directory / "config.yaml")]
    subprocess.run(
        [*command, "--data", str(directory / "squares"), "--store", str(directory / "store")],
        check=True,
        capture_output=True,
    )
    return outcome(next((directory / "store" / "runs").iterdir()))


def test_stopped_then_killed_and_continued_elsewhere(
    dataset: str, environment: dict[str, str], undisturbed: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = (Machine(tmp_path / name, dataset, environment) for name in ("first", "second", "third"))
    store = another_machine(dataset, tmp_path / "reader", monkeypatch)
    process = first.start()
    until(lambda: whole_steps(store) >= 4, process, first.log)
    process.terminate()
    assert process.wait(240) == 128 + signal.SIGTERM
    assert record(store)["status"] == "interrupted"
    stopped = whole_steps(store)

    process = second.start()
    until(lambda: whole_steps(store) > stopped, process, second.log)
    process.kill()
    process.wait()
    assert record(store)["status"] == "running"
    assert "waiting for its heartbeat" not in second.log.read_text()

    assert third.finish() == 0, third.log.read_text()
    assert outcome(pulled(store)) == undisturbed
    files = {found[0] for name in store.bucket.entries("runs/") if (found := split_segment(name))}
    assert len(files) == 3  # each machine's own event file

    # the first machine finds it finished, whatever it still has itself
    before, run = store.bucket.entries(), Run(first.run)
    assert run.status == "interrupted"
    catch_up(run)
    assert run.status == "finished"
    assert store.bucket.entries() == before
    assert SECRET not in "".join(machine.log.read_text() for machine in (first, second, third))


def test_a_store_that_is_away_stops_nothing_and_what_it_did_not_take_is_sent_again(
    dataset: str,
    environment: dict[str, str],
    undisturbed: object,
    proxy: Proxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    through = {"AWS_ENDPOINT_URL": proxy.url, "RECEIPT_COUNTER_STORE_PATIENCE": "0.5"}
    machine = Machine(tmp_path / "machine", dataset, environment, **through)
    store = another_machine(dataset, tmp_path / "reader", monkeypatch)
    process = machine.start()
    until(lambda: any(machine.scratch.glob("stores/*/runs/*/checkpoints/step-*")), process, machine.log)
    with proxy.outage():
        assert process.wait(240) == 1, machine.log.read_text()
    said = machine.log.read_text()
    assert f"Everything is kept in {machine.run}; the same command sends it" in said
    assert "Traceback" not in said
    assert record(store)["status"] == "running"

    assert machine.finish() == 0, machine.log.read_text()
    assert outcome(pulled(store)) == undisturbed
    there = store.bucket.folders(f"runs/{machine.run.name}/checkpoints/")
    assert set(there) >= {path.name for path in (machine.run / "checkpoints").iterdir() if path.is_dir()}


def test_no_bucket_is_said_before_anything_is_done(environment: dict[str, str], tmp_path: Path) -> None:
    machine = Machine(tmp_path / "machine", "s3://nobody", environment)
    assert machine.finish() == 1
    assert machine.log.read_text().startswith("cannot list s3://nobody/datasets/squares")
    assert "there is no bucket 'nobody'" in machine.log.read_text()


def test_several_machines_need_a_directory_that_all_see(
    environment: dict[str, str], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = place_of(f"{url}/runs/abc")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    require_shared_mirror(run, Share(rank=1, world=4))  # they see the one that the environment names
    monkeypatch.delenv("RECEIPT_COUNTER_SCRATCH")
    require_shared_mirror(run, Share(rank=1, world=2))
    require_shared_mirror(Path("/anywhere"), Share(rank=1, world=4))
    with pytest.raises(UserError, match="have RECEIPT_COUNTER_SCRATCH name a directory that all of them see"):
        require_shared_mirror(run, Share(rank=1, world=4))
