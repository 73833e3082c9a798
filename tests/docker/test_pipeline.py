"""The single pipeline in the image: kfp's DockerRunner, a read-only root, a user that is not root and has no name."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import docker
import psutil
import pytest

from receipt_counter.data.dataset import Dataset
from tests.docker.conftest import PROJECT, give
from tests.pipeline.conftest import IMAGES, TINY, write_dataset
from tests.pipeline.test_run import ENVIRONMENT, command, finish, record, start_endless, the_run

pytestmark = pytest.mark.usefixtures("alone")

IN_CONTAINERS = "--backend=docker"


@pytest.fixture(scope="module")
def slips(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    directory = tmp_path_factory.mktemp("data") / "slips"
    write_dataset(directory)
    return Dataset.open(give(directory))


@pytest.fixture(scope="module")
def store(image: str, tmp_path_factory: pytest.TempPathFactory, slips: Dataset) -> Path:
    """A store in which the experiment has been run once."""
    root = give(tmp_path_factory.mktemp("store"))
    done = finish(command(root, slips, IN_CONTAINERS, "--set=training.epochs=1", "--experiment-name=slips"))
    assert done.returncode == 0, done.stderr
    assert "Promotion gates" in done.stdout
    return root


def test_run_leaves_a_whole_record_that_belongs_to_the_user(store: Path, slips: Dataset) -> None:
    run, found = the_run(store), record(store)
    assert found["status"] == "finished"
    assert found["experiment_name"] == "slips"
    assert found["lineage"]["data_fingerprint"] == slips.fingerprint
    figures = json.loads((run / "evaluation" / "test" / "metrics.json").read_text())
    assert figures["n_images"] == IMAGES["test"]
    assert run.name in (run / "report.html").read_text()
    owner = store.stat().st_uid
    assert owner != 0
    assert {path.stat().st_uid for path in (run, *run.rglob("*"))} == {owner}


def test_every_step_ran_in_the_image(store: Path, image: str) -> None:
    (log,) = (store / "logs").iterdir()
    assert log.read_text().count(f"Found image {image!r}") == 4
    assert record(store)["lineage"]["image"] == image


def test_running_it_again_does_nothing_and_says_so(store: Path, slips: Dataset) -> None:
    done = finish(command(store, slips, IN_CONTAINERS, "--set=training.epochs=1", "--experiment-name=slips"))
    assert (done.returncode, done.stderr) == (0, "")
    assert f"nothing to do: this experiment is finished, as run {the_run(store).name}" in done.stdout


def test_damaged_data_fails_as_clearly_as_on_a_laptop(image: str, tmp_path: Path) -> None:
    damaged = write_dataset(tmp_path / "damaged")
    victim = damaged.examples("train")[3].image
    victim.write_bytes(victim.read_bytes()[:100])
    give(tmp_path)
    done = finish(command(give_new(tmp_path / "store"), damaged, IN_CONTAINERS))
    on_a_laptop = finish(command(tmp_path / "other", damaged))
    assert done.returncode == on_a_laptop.returncode == 2
    assert done.stderr == on_a_laptop.stderr
    assert f"prepare data: {damaged.path}: this dataset has 1 problem" in done.stderr
    assert "Traceback" not in done.stderr


def give_new(directory: Path) -> Path:
    directory.mkdir()
    return give(directory)


def test_absent_data_fails_as_clearly_as_on_a_laptop(image: str, engine: docker.DockerClient) -> None:
    options = ["run", "--store=/tmp/store", "--data=/nowhere", *TINY]
    container = engine.containers.run(
        image, ["receipt-counter", *options], detach=True, read_only=True, tmpfs={"/tmp": ""}, network_disabled=True
    )
    try:
        status = container.wait()["StatusCode"]
        said = container.logs(stdout=False).decode()
    finally:
        container.remove(force=True)
    on_a_laptop = finish([sys.executable, "-m", "receipt_counter", *options])
    assert (status, said) == (on_a_laptop.returncode, on_a_laptop.stderr)
    assert status == 2
    assert "/nowhere" in said
    assert "Traceback" not in said


def steps_of(store: Path) -> list[psutil.Process]:
    """The processes of this store's steps, in whatever container: kfp names its files in their commands."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        if "kfp.dsl.executor_main" in line and str(store) in line:
            found.append(process)
    return found


def gone(store: Path, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while steps_of(store) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not steps_of(store)


def test_killed_command_takes_its_containers_with_it_and_can_be_continued(
    image: str, slips: Dataset, tmp_path: Path
) -> None:
    store = give_new(tmp_path / "store")
    process, _ = start_endless(store, slips, 1, IN_CONTAINERS)
    assert steps_of(store)
    process.kill()
    process.wait()
    assert gone(store, seconds=2)  # at once; the training itself has no end

    reached = record(store)["step"]
    process, _ = start_endless(store, slips, reached + 1, IN_CONTAINERS)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 128 + signal.SIGINT
    assert "the same command continues where it stopped" in output
    assert gone(store, seconds=2)  # its work is done and saved, but Python takes its time to unload it all
    assert record(store)["status"] == "interrupted"
    assert record(store)["step"] > reached


def refused(store: Path, slips: Dataset, **environment: str) -> subprocess.CompletedProcess[str]:
    asked = command(store, slips, IN_CONTAINERS)
    return subprocess.run(
        asked, cwd=store, env={**ENVIRONMENT, **environment}, capture_output=True, text=True, check=False
    )


def test_no_engine_is_said_before_anything_runs(slips: Dataset, tmp_path: Path) -> None:
    done = refused(tmp_path, slips, DOCKER_HOST=f"unix://{tmp_path}/nowhere.sock")
    assert done.returncode == 1
    assert "--backend docker: the container engine cannot be used" in done.stderr
    assert "Traceback" not in done.stderr


def test_absent_image_is_said_with_the_command_that_builds_it(
    engine: docker.DockerClient, slips: Dataset, tmp_path: Path
) -> None:
    done = refused(tmp_path, slips, RECEIPT_COUNTER_IMAGE="receipt-counter:none")
    assert done.returncode == 2
    assert "receipt-counter:none: this machine has no such image; `make images TARGET=cpu` builds it" in done.stderr


def test_image_of_other_code_is_refused(image: str, slips: Dataset, tmp_path: Path) -> None:
    for name in ("receipt_counter", "pipelines", "components"):
        shutil.copytree(PROJECT / name, tmp_path / name)
    changed = tmp_path / "receipt_counter" / "errors.py"
    changed.write_text(f"{changed.read_text()}\n# another version\n")
    done = refused(tmp_path, slips, PYTHONPATH=str(tmp_path))
    assert done.returncode == 2
    assert "this image holds other code" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has a store of root's")
def test_steps_never_run_as_root(image: str, slips: Dataset, tmp_path: Path) -> None:
    done = refused(tmp_path, slips)
    assert done.returncode == 2
    assert f"chown 1000 {tmp_path}" in done.stderr
