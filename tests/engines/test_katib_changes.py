"""Experiments that are asked for more, deleted or left, by wish and by what takes this process away."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from receipt_counter.engines.base import SweepFailedError, SweepResult, SweepStoppedError
from receipt_counter.engines.katib.engine import POD_NAME
from receipt_counter.errors import UserError
from tests.engines.api_server import ApiServer, Fault
from tests.engines.katib_support import files, gone, run, study, ticking
from tests.engines.test_katib_pods import Shown


def stopping(server: ApiServer, when: Callable[[], bool], number: int = signal.SIGTERM) -> Callable[[float], None]:
    """A sleep in which the cluster works, and this process is stopped once."""
    tick, count = ticking(server), itertools.count()

    def sleep(seconds: float) -> None:
        tick(seconds)
        if when() and next(count) == 0:
            os.kill(os.getpid(), number)

    return sleep


def test_a_running_experiment_makes_more_trials_when_asked(tmp_path: Path, server: ApiServer) -> None:
    with pytest.raises(SweepStoppedError):
        run(tmp_path, stopping(server, lambda: len(server.of("trials")) > 2), study(tmp_path, maxFailedTrialCount=3))
    more = study(tmp_path, trials=7, maxFailedTrialCount=4)
    result = run(tmp_path, ticking(server), more)
    assert len(result.trials) == 7
    (there,) = server.of("experiments")
    assert (there["spec"]["maxTrialCount"], there["metadata"]["name"]) == (7, result.study_id)
    assert server.requests.count("PATCH experiments") == server.requests.count("POST experiments") == 1


def test_as_many_failures_as_there_may_be(tmp_path: Path, server: ApiServer) -> None:
    with pytest.raises(SweepStoppedError):
        run(tmp_path, stopping(server, lambda: bool(server.of("trials"))), study(tmp_path, maxFailedTrialCount=1))
    result = run(tmp_path, ticking(server, endings={0: "Failed", 1: "Failed"}))
    assert len(result.trials) == 5
    assert "maxFailedTrialCount" not in server.of("experiments")[0]["spec"]


@pytest.mark.parametrize("policy", ["LongRunning", "FromVolume"])
def test_a_finished_one_goes_on_where_its_policy_lets_it(tmp_path: Path, server: ApiServer, policy: str) -> None:
    tick = ticking(server)
    first = run(tmp_path, tick, study(tmp_path, resumePolicy=policy))
    result = run(tmp_path, tick, study(tmp_path, trials=7, resumePolicy=policy))
    assert (first.directory, first.trials) == (result.directory, result.trials[:5])
    assert len(result.trials) == 7
    assert server.requests.count("POST experiments") == 1


def test_a_finished_one_that_may_not_go_on_says_how_to_begin_anew(tmp_path: Path, server: ApiServer) -> None:
    first = run(tmp_path, ticking(server), study(tmp_path, resumePolicy="Never"))
    with pytest.raises(UserError) as raised:
        run(tmp_path, pytest.fail, study(tmp_path, trials=7, resumePolicy="Never"))
    for text in ("has ended (ExperimentMaxTrialsReached)", "resumePolicy Never", f"and remove {first.directory}"):
        assert text in raised.value.message
    assert "PATCH experiments" not in server.requests


def test_how_many_may_fail_does_not_matter_to_one_that_succeeded(tmp_path: Path, server: ApiServer) -> None:
    first = run(tmp_path, ticking(server), study(tmp_path, maxFailedTrialCount=1))
    (first.directory / "sweep.json").unlink()
    assert run(tmp_path, pytest.fail).trials == first.trials
    assert "PATCH experiments" not in server.requests


def test_one_that_failed_is_not_revived(tmp_path: Path, server: ApiServer) -> None:
    tick = ticking(server, endings=dict.fromkeys(range(9), "Failed"))
    with pytest.raises(SweepFailedError):
        run(tmp_path, tick, study(tmp_path, maxFailedTrialCount=2, resumePolicy="LongRunning"))
    with pytest.raises(UserError, match=r"has ended .*maxFailedTrialCount"):
        run(tmp_path, pytest.fail, study(tmp_path, maxFailedTrialCount=4, resumePolicy="LongRunning"))


def test_what_another_changed_meanwhile_is_tried_again(tmp_path: Path, server: ApiServer) -> None:
    with pytest.raises(SweepStoppedError):
        run(tmp_path, stopping(server, lambda: bool(server.of("trials"))))
    outrun: Fault = (409, "Conflict", "the object has been modified; please apply your changes to the latest version")
    server.faults.extend([None, outrun])
    assert len(run(tmp_path, ticking(server), study(tmp_path, trials=7)).trials) == 7
    assert server.requests.count("PATCH experiments") == 2


def test_deleted_when_done(tmp_path: Path, server: ApiServer) -> None:
    result = run(tmp_path, ticking(server), delete_when_done=True)
    assert server.objects == {}
    server.requests.clear()
    again = run(tmp_path, pytest.fail, delete_when_done=True)
    assert (again.trials, again.worked, server.requests) == (result.trials, False, [])
    assert len(list(result.directory.rglob("stdout.log"))) == 5


def test_one_that_failed_is_kept_to_be_looked_at(tmp_path: Path, server: ApiServer) -> None:
    with pytest.raises(SweepFailedError):
        run(
            tmp_path,
            ticking(server, endings=dict.fromkeys(range(5), "Failed")),
            study(tmp_path, maxFailedTrialCount=1),
            delete_when_done=True,
        )
    assert len(server.of("experiments")) == 1


def test_deleted_on_stop_and_begun_anew(tmp_path: Path, server: ApiServer) -> None:
    calm = run(tmp_path / "calm", ticking(server))
    gone(server)
    ended = stopping(server, lambda: any("completionTime" in trial["status"] for trial in server.of("trials")))
    with pytest.raises(SweepStoppedError, match="begins it anew"):
        run(tmp_path, ended, delete_on_stop=True)
    assert server.of("experiments") == []
    result = run(tmp_path, ticking(server))
    assert files(result.directory) == files(calm.directory)
    assert server.requests.count("POST experiments") == 3


def test_a_config_map_that_goes_with_the_one_before_is_made_anew(
    tmp_path: Path, server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kubernetes deletes what a deleted Experiment owned some time after it, and the next one may have begun."""
    answer = server.answer

    def collecting(method: str, path: str, kind: str, body: object) -> tuple[int, object]:
        if method == "PATCH" and "configmaps" in path and server.requests.count("PATCH configmaps") == 1:
            (key,) = [key for key in server.objects if key[0] == "configmaps"]
            server.delete(key)
        return answer(method, path, kind, body)

    monkeypatch.setattr(server, "answer", collecting)
    run(tmp_path, ticking(server))
    (made,) = server.of("configmaps")
    (experiment,) = server.of("experiments")
    assert [owner["uid"] for owner in made["metadata"]["ownerReferences"]] == [experiment["metadata"]["uid"]]


DISRUPTED = {"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}]}


@pytest.mark.parametrize(
    ("status", "faults", "left"),
    [
        ({}, [], False),  # a person ended the run of the pipeline
        (DISRUPTED, [], True),  # its node is drained: another pod goes on
        (None, [], False),
        (DISRUPTED, [503], True),
        ({}, [503, 503], True),  # nobody knows: a study that runs on can still be deleted
        ({}, [(403, "Forbidden", "no")], True),
    ],
)
def test_a_step_whose_pod_is_taken_away_leaves_its_experiment(
    tmp_path: Path,
    server: ApiServer,
    monkeypatch: pytest.MonkeyPatch,
    status: dict[str, object] | None,
    faults: list[Fault],
    left: bool,
) -> None:
    monkeypatch.setenv(POD_NAME, "step")
    if status is not None:
        server.put("pods", "team", {"metadata": {"name": "step"}, "status": status})

    def stop() -> bool:
        is_time = len(server.of("trials")) == 2
        if is_time and not server.faults:
            server.faults.extend(faults)
        return is_time

    with pytest.raises(SweepStoppedError, match="is left as it is" if left else "is deleted"):
        run(tmp_path, stopping(server, stop), delete_on_stop=True)
    assert bool(server.of("experiments")) is left


def where(tmp_path: Path, server: ApiServer, store: str) -> tuple[SweepResult, dict[str, str]]:
    shown = Shown()
    variable = {"name": "RECEIPT_COUNTER_STORE", "value": store}
    document = study(tmp_path, trials=1, container={"env": [variable]})
    return run(tmp_path, ticking(server), document, open_view=lambda: shown), shown.notes


@pytest.mark.parametrize(
    ("store", "mend"),
    [
        ("/experiments", "run this where that directory is mounted"),
        ("s3://bucket/runs", "--store s3://bucket/runs"),
        (None, ""),
    ],
)
def test_runs_that_are_elsewhere_are_said_to_be(
    tmp_path: Path, server: ApiServer, store: str | None, mend: str
) -> None:
    result, notes = where(tmp_path, server, store or f"{tmp_path / 'store'}/")
    assert set(notes) == ({"store"} if store else set())
    assert mend in notes.get("store", "")
    assert result.directory.parent.parent == tmp_path / "store"
