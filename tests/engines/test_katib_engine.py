"""The Katib engine against a stand-in of a cluster: what it follows, faults, signals, and what is left here."""

from __future__ import annotations

import csv
import itertools
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from receipt_counter.cluster.connection import Patience
from receipt_counter.engines.base import (
    EARLY_STOPPED,
    FAILED,
    GOAL,
    MAX_TRIALS,
    METRICS_UNAVAILABLE,
    SUCCEEDED,
    SweepFailedError,
    SweepStoppedError,
    name_of,
)
from receipt_counter.engines.katib.engine import KatibEngine
from receipt_counter.engines.katib.submission import submitted
from receipt_counter.engines.local.engine import LocalEngine
from receipt_counter.engines.view import NoView, Snapshot
from receipt_counter.errors import UserError
from tests.engines.api_server import DROP, LOSE, ApiServer, Fault
from tests.engines.katib_stand_in import Katib, condition, metric
from tests.engines.katib_support import files, gone, run, study, ticking
from tests.engines.support import experiment, start_sweep, write


def test_a_study_is_followed_to_its_end(tmp_path: Path, server: ApiServer) -> None:
    result = run(tmp_path, ticking(server, endings={1: "Failed"}))
    assert [trial.status for trial in result.trials] == [SUCCEEDED, FAILED, SUCCEEDED, SUCCEEDED, SUCCEEDED]
    assert [trial.assignments["lr"] for trial in result.trials] == ["0.1", "0.2", "0.3", "0.4", "0.5"]
    assert (result.outcome, result.worked) == (MAX_TRIALS, True)
    assert result.optimum == result.trials[4]
    assert result.trials[0].started == "2026-01-01T00:00:20+00:00"
    assert result.trials[0].seconds == 10.0
    assert result.trials[1].message == "Trial has ended. Job message: Failed; container main: exit status 1"
    assert result.trials[1].log == ("begins", "Traceback", "ValueError: no")
    (there,) = server.of("experiments")
    assert there["metadata"]["name"] == result.study_id == result.directory.name
    assert there["metadata"]["namespace"] == "team"
    left = files(result.directory)
    assert json.loads(left["sweep.json"]) == {"outcome": MAX_TRIALS, "max_trials": 5, "goal": None}
    assert sum(name.endswith("trial.json") for name in left) == 5
    server.requests.clear()
    again = run(tmp_path, pytest.fail)
    assert (again.worked, again.trials, server.requests) == (False, result.trials, [])


def test_the_directory_is_the_local_engines(tmp_path: Path, server: ApiServer) -> None:
    result = run(tmp_path, ticking(server))
    local = LocalEngine().run(study(tmp_path), tmp_path / "local")
    assert result.study_id == local.study_id
    for name in ("experiment.yaml", "sweep.json"):
        assert (result.directory / name).read_text() == (local.directory / name).read_text()
    tables = [list(csv.reader((found.directory / "trials.csv").open())) for found in (result, local)]
    assert tables[0][0] == tables[1][0]
    assert len(tables[0]) == len(tables[1])
    (local.directory / "sweep.json").unlink()
    with pytest.raises(UserError, match="holds trials of another engine"):
        KatibEngine().run(study(tmp_path), tmp_path / "local")


FAULTS: list[Fault] = [
    500,
    DROP,
    LOSE,
    (429, "TooManyRequests", "slow down", {"Retry-After": "7"}),
    (410, "Expired", "too old resource version"),
    502,
    503,
    504,
]


@pytest.mark.parametrize("offset", range(len(FAULTS)))
def test_faults_change_nothing(tmp_path: Path, server: ApiServer, offset: int) -> None:
    """Every other request fails, each in turn by each fault."""
    calm = run(tmp_path / "calm", ticking(server))
    server.objects.clear()
    server.requests.clear()
    katib, rested = Katib(server), []

    def sleep(seconds: float) -> None:
        rested.append(seconds)
        if seconds == 5.0:
            katib.tick()

    cycle = itertools.islice(itertools.cycle(FAULTS), offset, None)
    server.faults.extend(fault for _, found in zip(range(60), cycle, strict=False) for fault in (found, None))
    result = run(tmp_path, sleep, patience=Patience(pause=0.5, first_tries=2))
    assert files(result.directory) == files(calm.directory)
    assert len(server.of("experiments")) == len(server.of("configmaps")) == 1
    assert set(rested) == {0.5, 5.0, 7.0}


@pytest.mark.parametrize("fault", [LOSE, DROP, 500, None])
def test_submitting_is_begun_once(tmp_path: Path, server: ApiServer, fault: Fault | None) -> None:
    """Whichever of its requests fails, there is one Experiment, which owns one ConfigMap."""
    tick = ticking(server)
    for request in range(5):
        server.objects.clear()
        server.faults.extend([None] * request + [fault])
        document = study(tmp_path, trials=request + 1)
        document.experiment.metadata.labels = {"receipt-counter/study": "small"}
        result = run(tmp_path, tick, document=document)
        (there,), (config_map,) = server.of("experiments"), server.of("configmaps")
        (owner,) = config_map["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"]) == ("Experiment", there["metadata"]["uid"])
        assert config_map["metadata"]["name"] == f"files{result.study_id[-9:]}"
        assert config_map["metadata"]["labels"] == there["metadata"]["labels"]
        (volume,) = there["spec"]["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]["volumes"]
        assert volume["configMap"]["name"] == config_map["metadata"]["name"]
        server.delete(("experiments", "team", result.study_id))
        assert server.of("configmaps") == []
        (result.directory / "sweep.json").unlink()
        for record in result.directory.glob("trials/*/trial.json"):
            record.unlink()


@pytest.mark.parametrize(
    ("conditions", "observed", "expected", "objective"),
    [
        (["Succeeded"], metric("loss", 3.0, 1.0, 4.0), SUCCEEDED, 1.0),
        (["EarlyStopped"], metric("loss", 3.0, 2.0, 4.0), EARLY_STOPPED, 2.0),
        (["Killed"], metric("loss", 3.0), FAILED, 3.0),
        (
            ["MetricsUnavailable"],
            metric("loss", "unavailable", "unavailable", "unavailable"),
            METRICS_UNAVAILABLE,
            None,
        ),
        (["Failed"], None, FAILED, None),
        (["Succeeded"], metric("loss", "3.5", "unavailable", "unavailable"), SUCCEEDED, 3.5),
        (["EarlyStopped", "Failed"], metric("loss", "nan"), FAILED, None),
        (["Succeeded"], metric("accuracy", 1.0), SUCCEEDED, None),
    ],
)
def test_statuses(
    tmp_path: Path, server: ApiServer, conditions: list[str], observed: Any, expected: str, objective: float | None
) -> None:
    tick = ticking(server)
    ticks = itertools.count()

    def sleep(seconds: float) -> None:
        tick(seconds)
        if next(ticks) == 1:  # the trial is created by now
            (trial,) = server.of("trials")
            trial["status"]["conditions"] += [condition(kind, message=f"said {kind}") for kind in conditions]
            trial["status"]["observation"] = {"metrics": [observed]} if observed else {}

    result = run(tmp_path, sleep, study(tmp_path, trials=1))
    (trial,) = result.trials
    assert (trial.status, trial.objective) == (expected, objective)
    assert (f"said {conditions[-1]}" in trial.message) == (expected in (FAILED, METRICS_UNAVAILABLE))
    assert (trial.seconds, trial.ended) == (280.0, "2026-01-01T00:05:00+00:00")


def test_the_goal_ends_it_when_what_runs_has_ended(tmp_path: Path, server: ApiServer) -> None:
    document = study(tmp_path, trials=9, parallel=3, objective={"goal": 0.5})
    result = run(tmp_path, ticking(server, loss=lambda number: 1.0 - number / 4), document)
    assert result.outcome == GOAL
    assert [trial.objective for trial in result.trials][:3] == [1.0, 0.75, 0.5]
    assert len(result.trials) == len(server.of("trials")) < 9


def test_an_experiment_that_failed(tmp_path: Path, server: ApiServer) -> None:
    document = study(tmp_path, maxFailedTrialCount=2)
    for _ in range(2):  # the second call attaches to it
        with pytest.raises(SweepFailedError, match=r"max failed count has reached.*\n.* failed: Trial has ended"):
            run(tmp_path, ticking(server, endings=dict.fromkeys(range(5), "Failed")), document)
    assert server.requests.count("POST experiments") == 1
    assert not list(tmp_path.rglob("sweep.json"))


@pytest.mark.parametrize("after", range(1, 8))
def test_stopped_and_attached_again(tmp_path: Path, server: ApiServer, after: int) -> None:
    calm = run(tmp_path / "calm", ticking(server))
    server.objects.clear()
    server.requests.clear()
    tick = ticking(server)
    left = [after]

    def sleep(seconds: float) -> None:
        tick(seconds)
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(SweepStoppedError, match="follows it again") as raised:
        run(tmp_path, sleep)
    assert raised.value.status == 128 + signal.SIGTERM
    result = run(tmp_path, tick)
    assert files(result.directory) == files(calm.directory)
    assert server.requests.count("POST experiments") == 1


@pytest.mark.parametrize(("signals", "said", "left"), [(1, "is deleted", 0), (2, "may not be deleted", 1)])
def test_deleted_on_stop(tmp_path: Path, server: ApiServer, signals: int, said: str, left: int) -> None:
    """The deletion is tried again too, unless another signal comes while it waits."""
    tick, sent = ticking(server), itertools.count()

    def sleep(seconds: float) -> None:
        tick(seconds)
        if len(server.of("trials")) == 2 and next(sent) < signals:
            os.kill(os.getpid(), signal.SIGINT)
            server.faults.append(503)

    with pytest.raises(SweepStoppedError, match=said) as raised:
        run(tmp_path, sleep, delete_on_stop=True)
    assert raised.value.status == 128 + signal.SIGINT
    assert len(server.of("experiments")) == left
    assert bool(server.objects) is bool(left)


def test_trials_of_others_and_trials_that_were_deleted(tmp_path: Path, server: ApiServer) -> None:
    first = run(tmp_path, ticking(server))
    (first.directory / "sweep.json").unlink()
    server.delete(("trials", "team", first.trials[0].name))
    metadata = {"name": "other-1", "labels": {"katib.kubeflow.org/experiment": "other"}}
    server.put("trials", "team", {"apiVersion": "kubeflow.org/v1beta1", "kind": "Trial", "metadata": metadata})
    assert run(tmp_path, pytest.fail).trials == first.trials


def test_a_trial_that_somebody_deletes_is_run_again_and_counted_once(tmp_path: Path, server: ApiServer) -> None:
    """Katib makes it anew of the same suggestion, under the same name (ReconcileSuggestions)."""
    tick, seen = ticking(server), list[Snapshot]()

    class Watching(NoView):
        def show(self, snapshot: Snapshot) -> None:
            seen.append(snapshot)

    def sleep(seconds: float) -> None:
        ended = [trial for trial in server.of("trials") if "completionTime" in trial["status"]]
        if ended and all(snapshot.ended == () for snapshot in seen[:-1]) and seen[-1].ended:
            ended[0]["status"] = {"conditions": [condition("Created")]}
        tick(seconds)

    result = run(tmp_path, sleep, open_view=Watching)
    assert [trial.index for trial in result.trials] == [0, 1, 2, 3, 4]
    assert {snapshot.total for snapshot in seen} == {5}
    ended = [{trial.name for trial in snapshot.ended} for snapshot in seen]
    running = [{trial.name for trial in snapshot.running} for snapshot in seen]
    assert not any(map(set.intersection, ended, running))
    first = next(names for names in ended if names)
    assert any(first <= names for names in running[ended.index(first) :])


def test_an_experiment_that_vanishes(tmp_path: Path, server: ApiServer) -> None:
    tick = ticking(server)

    def sleep(seconds: float) -> None:
        tick(seconds)
        if any("completionTime" in trial["status"] for trial in server.of("trials")):
            gone(server)

    with pytest.raises(UserError, match="is gone from namespace team: somebody deleted it"):
        run(tmp_path, sleep)


def test_command_line(tmp_path: Path, server: ApiServer) -> None:
    document = study(tmp_path, trials=2)
    path, store = tmp_path / "experiment.yaml", tmp_path / "store"
    process = start_sweep(path, store, "--engine", "katib")
    while "GET trials" not in server.requests:
        assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM
    assert "follows it again" in errors
    katib = Katib(server)
    for _ in range(8):
        katib.tick()
    process = start_sweep(path, store, "--engine", "katib")
    printed, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, "")
    assert "2 trials" in printed
    assert f"best    {name_of(submitted(document).experiment)}-" in printed
    broken = write(tmp_path / "broken.yaml", experiment("echo loss=${lr}", parallelTrialCount=9))
    process = start_sweep(broken, store, "--engine", "katib")
    _, errors = process.communicate(timeout=120)
    assert "broken.yaml: cannot run on a cluster:" in errors
