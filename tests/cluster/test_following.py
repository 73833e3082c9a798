"""The train step with several machines, from the TrainJob's creation to its end, faults of the API server between."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from receipt_counter import steps
from receipt_counter.cluster import following
from receipt_counter.cluster.connection import Patience
from receipt_counter.cluster.following import job_of_run, train_on_machines
from receipt_counter.cluster.train_job import training_runtime
from receipt_counter.config.loading import parse_config
from receipt_counter.data.dataset import Dataset
from receipt_counter.errors import UserError
from receipt_counter.progress import Progress
from receipt_counter.storage.run import Run
from receipt_counter.storage.store import Store, run_id
from receipt_counter.storage.versions import code_version
from tests.cluster.stand_in import ClusterServer, Trainer
from tests.engines.api_server import DROP, LOSE
from tests.support import small_config, write_squares

NAMESPACE = "receipt-counter"
QUICK = Patience(pause=0.001, longest=0.002, tries=8)
INTERVAL = 0.02  # longer than any pause before a request is sent again
CONFIG = small_config("cluster.nodes=2", "training.processes=3")
Script = Callable[["Story"], Iterator[None]]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_squares(tmp_path_factory.mktemp("data") / "squares", {"train": 8, "val": 8})


class Notes:
    """What the step tells."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def handle(self, event: dict[str, Any]) -> None:
        self.texts.append(event["text"])

    def close(self) -> None:
        pass


class Story:
    """What happens on the cluster at each look of the step.

    Args:
        server: the cluster.
        dataset: of the run.
        store: the run's.
    """

    def __init__(self, server: ClusterServer, dataset: Dataset, store: Path) -> None:
        self.server, self.dataset, self.store = server, dataset, store
        self.trainer = Trainer(server, NAMESPACE)
        self.notes = Notes()
        self.run = Run(Store(store).run_directory(run_id(CONFIG, dataset.fingerprint, code_version())))

    @property
    def job(self) -> dict[str, Any]:
        (job,) = self.server.of("trainjobs")
        return job

    def train(self, script: Script) -> Path:
        chapters, real_sleep = script(self), time.sleep

        def sleep(seconds: float) -> None:
            if seconds > QUICK.longest:
                next(chapters, None)
            real_sleep(seconds + 0.001)

        return train_on_machines(
            CONFIG,
            self.dataset,
            str(self.store),
            experiment_name="two",
            progress=Progress(self.notes),
            patience=QUICK,
            interval=INTERVAL,
            sleep=sleep,
        )


@pytest.fixture
def story(server: ClusterServer, dataset: Dataset, tmp_path: Path) -> Story:
    return Story(server, dataset, tmp_path / "store")


def complete(story: Story) -> Iterator[None]:
    """It waits, trains, and is complete."""
    story.job["spec"]["suspend"] = True
    yield
    story.job["spec"]["suspend"] = False
    first, second = story.trainer.start(story.job)
    story.trainer.say(first, "begin", "train_total_loss=1")
    story.trainer.say(second, "never shown")
    yield
    story.server.faults.extend([500, DROP, (429, "TooManyRequests", "slow down", {"Retry-After": "1"}), 503])
    story.trainer.say(first, "train_total_loss=0.5", "train_total_loss=0.25", same_second=True)
    yield
    story.trainer.say(first, "saved")
    story.run.update(status="finished")
    for pod in (first, second):
        story.trainer.exit(pod, 0, 10)
    story.trainer.end(story.job, "Complete")
    yield


def test_a_run_is_trained_and_its_log_shown(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    made: dict[str, Any] = {}

    def watched(told: Story) -> Iterator[None]:
        made.update(job=told.job, runtime=told.server.of("trainingruntimes")[0])
        yield from complete(told)

    assert story.train(watched) == story.run.directory
    printed = ["begin", "train_total_loss=1", "train_total_loss=0.5", "train_total_loss=0.25", "saved"]
    assert capsys.readouterr().out.splitlines() == printed
    assert story.notes.texts == [
        f"TrainJob {made['job']['metadata']['name']} is created in namespace {NAMESPACE}",
        "machines: none yet",
        "machines: none yet (suspended: a queue has not admitted it yet)",
        "machines: 2 running",
        "machines: 2 succeeded",
    ]
    assert story.server.of("trainjobs") == story.server.of("trainingruntimes") == []  # one goes with the other
    spec = made["job"]["spec"]
    assert (spec["trainer"]["numNodes"], spec["trainer"]["numProcPerNode"]) == (2, 3)
    assert spec["runtimeRef"]["name"] == made["runtime"]["metadata"]["name"]
    (variable,) = spec["trainer"]["env"]
    assert parse_config(variable["value"].replace("$$(", "$(")) == CONFIG
    before = len(story.server.requests)
    story.train(complete)
    assert len(story.server.requests) == before  # a finished run is not trained again


def failed(story: Story) -> Iterator[None]:
    first, second = story.trainer.start(story.job)
    story.trainer.say(second, *(f"line {number}" for number in range(30)), "CUDA error")
    story.trainer.say(first, "Connection closed by peer")
    story.trainer.exit(first, 1, 30)
    story.trainer.exit(second, 1, 20)
    story.trainer.end(story.job, "Failed", "jobset failed due to one or more job failures")
    yield


def test_a_failed_train_job_fails_with_the_words_of_the_machine_that_failed_first(story: Story) -> None:
    with pytest.raises(UserError, match="jobset failed due to one or more job failures") as caught:
        story.train(failed)
    lines = caught.value.message.splitlines()
    assert "node-0-1-00000 ended first, with status 1 (Error)" in lines[1]
    assert (lines[2], lines[-1], len(lines)) == ("line 16", "CUDA error", 2 + following.LOG_LINES)
    assert caught.value.status == 1
    # the next try makes room for itself
    assert story.train(complete) == story.run.directory


def test_a_train_job_that_is_there_is_followed(story: Story) -> None:
    def broken(told: Story) -> Iterator[None]:
        told.server.faults.extend([403])
        yield

    with pytest.raises(UserError, match="refused to get trainjobs"):
        story.train(broken)
    uid = story.job["metadata"]["uid"]

    def same(told: Story) -> Iterator[None]:
        assert told.job["metadata"]["uid"] == uid
        yield from complete(told)

    story.train(same)
    assert sum("is there already" in text for text in story.notes.texts) == 1


@pytest.mark.parametrize("fault", [LOSE, DROP, 500])
def test_creation_survives_faults(fault: Any, story: Story) -> None:
    # of the TrainJob: look; of the runtime: look, create, change; of the TrainJob: look, create
    story.server.faults.extend([None] * 5 + [fault])
    assert story.train(complete) == story.run.directory


def test_two_steps_that_begin_at_once_share_the_train_job(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    answer, other = story.server.answer, dict[str, Any]()

    def meanwhile(method: str, path: str, kind: str, body: Any) -> tuple[int, Any]:
        found = answer(method, path, kind, body)
        if not other:
            name = path.rpartition("/")[2]
            made = job_of_run(CONFIG, story.dataset, str(story.store), name, "two")
            other.update(story.server.put("trainjobs", NAMESPACE, made))
        return found

    def same(told: Story) -> Iterator[None]:
        assert told.job["metadata"]["uid"] == other["metadata"]["uid"]
        yield from complete(told)

    monkeypatch.setattr(story.server, "answer", meanwhile)
    assert story.train(same) == story.run.directory


def test_a_runtime_that_a_killed_step_left_has_todays_settings(story: Story) -> None:
    name = f"receipt-counter-{story.run.directory.name}"
    left = {"metadata": {"name": name}, "spec": {"mlPolicy": {"numNodes": 7}, "template": {"spec": {}}}}
    story.server.put("trainingruntimes", NAMESPACE, left)

    def looked_at(told: Story) -> Iterator[None]:
        (runtime,) = told.server.of("trainingruntimes")
        assert runtime["spec"] == training_runtime(CONFIG.cluster, name)["spec"]
        yield from complete(told)

    story.train(looked_at)
    assert story.server.of("trainingruntimes") == []


def test_a_second_signal_interrupts_the_deletion(story: Story) -> None:
    def sleep(seconds: float) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        story.server.faults.append(503)

    with pytest.raises(UserError, match="may not be deleted: kubectl delete trainjob") as caught:
        train_on_machines(
            CONFIG,
            story.dataset,
            str(story.store),
            experiment_name="two",
            progress=Progress(Notes()),
            patience=QUICK,
            interval=INTERVAL,
            sleep=sleep,
        )
    assert caught.value.status == 143


def test_a_restart_shows_the_new_pod(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    def restarted(told: Story) -> Iterator[None]:
        for pod in told.trainer.start(told.job):
            told.trainer.say(pod, "before")
        yield
        for key in [key for key in told.server.objects if key[0] == "pods"]:
            told.server.delete(key)
        yield
        for pod in told.trainer.start(told.job, attempt=1):
            told.trainer.say(pod, "after")
        yield
        told.run.update(status="finished")
        told.trainer.end(told.job, "Complete")
        yield

    story.train(restarted)
    assert capsys.readouterr().out.split() == ["before", "after"]


def deleted(story: Story) -> Iterator[None]:
    story.server.delete(("trainjobs", NAMESPACE, story.job["metadata"]["name"]))
    yield


def elsewhere(story: Story) -> Iterator[None]:
    story.trainer.end(story.job, "Complete")
    yield


@pytest.mark.parametrize(
    ("script", "message"),
    [(deleted, "is gone: somebody deleted it"), (elsewhere, "do its machines see this store")],
)
def test_other_ends(script: Script, message: str, story: Story) -> None:
    with pytest.raises(UserError, match=message):
        story.train(script)


def test_a_cluster_without_trainer_says_so(story: Story) -> None:
    story.server.absent = {"trainjobs"}
    with pytest.raises(UserError, match=r"no trainjobs\.trainer\.kubeflow\.org: Kubeflow Trainer is not installed"):
        story.train(complete)


def test_a_signal_deletes_the_train_job(story: Story) -> None:
    def stop() -> None:
        while not story.server.of("trainjobs"):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop)
    thread.start()
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(UserError, match="is deleted, what its machines saved") as caught:
        train_on_machines(
            CONFIG, story.dataset, str(story.store), experiment_name="two", progress=Progress(Notes()), interval=60
        )
    thread.join()
    assert caught.value.status == 143
    assert story.server.of("trainjobs") == story.server.of("trainingruntimes") == []
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize(("nodes", "pod", "here"), [(1, True, True), (2, False, True), (2, True, False)])
def test_where_the_step_trains(
    nodes: int, pod: bool, here: bool, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(steps.PIPELINE_POD, raising=False)
    if pod:
        monkeypatch.setenv(steps.PIPELINE_POD, "pod")
    monkeypatch.setattr("receipt_counter.training.launch.launch", lambda *_, **__: Path("here"))
    monkeypatch.setattr(following, "train_on_machines", lambda *_, **__: Path("there"))
    config = small_config(f"cluster.nodes={nodes}")
    found = steps.train(config, dataset, str(tmp_path), "run", Progress(Notes()))
    assert found == Path("here" if here else "there")
