"""What the Katib engine takes from pods: the logs of trials that ended, and why others do not start."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from receipt_counter.cluster.connection import Patience
from receipt_counter.engines.base import FAILED, SUCCEEDED, SweepResult, TrialResult
from receipt_counter.engines.katib import pod_logs
from receipt_counter.engines.view import Snapshot
from tests.engines.api_server import CUT, ApiServer, status
from tests.engines.katib_stand_in import COLLECTOR, Katib, container_status, klog
from tests.engines.katib_support import run, study, ticking

SOON = Patience(pause=0.5)


def log(result: SweepResult, trial: TrialResult, name: str = "stdout.log") -> str:
    return (result.directory / "trials" / trial.name / name).read_text()


class Shown:
    """A view that remembers."""

    def __init__(self) -> None:
        self.notes: dict[str, str] = {}
        self.progress: set[str] = set()

    def show(self, snapshot: Snapshot) -> None:
        self.notes |= dict(snapshot.notes)
        self.progress |= {trial.progress for trial in snapshot.running}

    def close(self) -> None:
        pass


def test_logs_are_kept_where_the_local_engine_keeps_them(tmp_path: Path, server: ApiServer) -> None:
    result = run(tmp_path, ticking(server, endings={1: "Failed"}))
    assert [log(result, trial) for trial in result.trials] == [
        f"begins\nloss={1 / (1 + number)}\n" if number != 1 else "begins\nTraceback\nValueError: no\n"
        for number in range(5)
    ]
    assert result.trials[1].failure.splitlines()[1:] == ["  begins", "  Traceback", "  ValueError: no"]
    assert [trial.log for trial in result.trials if trial.status == SUCCEEDED] == [()] * 4


def test_without_katibs_redirection_the_log_is_the_containers(tmp_path: Path, server: ApiServer) -> None:
    collector = {
        "collector": {"kind": "File"},
        "source": {"fileSystemPath": {"kind": "File", "path": "/m", "format": "TEXT"}},
    }
    tick = ticking(server)

    def sleep(seconds: float) -> None:
        tick(seconds)
        server.logs.update({key: "its own words\n" for key in server.logs if key[1] == "main"})

    result = run(tmp_path, sleep, study(tmp_path, trials=1, metricsCollectorSpec=collector))
    assert log(result, result.trials[0]) == "its own words\n"


def test_a_collector_that_writes_in_another_way_is_kept_as_it_is(tmp_path: Path, server: ApiServer) -> None:
    tick = ticking(server)

    def sleep(seconds: float) -> None:
        tick(seconds)
        server.logs.update({key: "loss=0.5\nits own words\n" for key in server.logs if key[1] == COLLECTOR})

    result = run(tmp_path, sleep, study(tmp_path, trials=1))
    assert log(result, result.trials[0]).startswith("loss=0.5\nits own words\n")


def pod(trial: dict[str, Any], name: str, created: int, state: dict[str, Any], **more: Any) -> dict[str, Any]:
    labels = {"katib.kubeflow.org/trial": trial["metadata"]["name"], "katib.kubeflow.org/experiment": "e"}
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": trial["metadata"]["name"], "uid": "u"}
    metadata = {
        "name": name,
        "labels": labels,
        "creationTimestamp": f"2026-01-01T00:00:{created:02}Z",
        "ownerReferences": [owner],
    }
    return {"metadata": metadata, "status": {"containerStatuses": [container_status(**state)], **more}}


def test_each_attempt_has_its_log_and_disruptions_are_no_attempts(tmp_path: Path, server: ApiServer) -> None:
    tick = ticking(server, endings={0: "Failed"})

    def sleep(seconds: float) -> None:
        tick(seconds)
        for trial in server.of("trials"):
            if ("pods", "team", "first") in server.objects or "startTime" not in trial["status"]:
                continue
            disrupted = [{"type": "DisruptionTarget", "status": "True"}]
            killed, failed = {"terminated": {"exitCode": 137}}, {"terminated": {"exitCode": 3}}
            server.put("pods", "team", pod(trial, "second", 2, killed, conditions=disrupted))
            server.put("pods", "team", pod(trial, "first", 1, failed))
            server.logs.update({(name, COLLECTOR): klog(name) for name in ("first", "second")})

    result = run(tmp_path, sleep, study(tmp_path, trials=1))
    (trial,) = result.trials
    assert (trial.attempts, trial.kills, trial.endings) == (2, 1, 3)
    assert [log(result, trial, f"stdout-{attempt}.log") for attempt in (1, 2)] == ["first\n", "second\n"]
    assert log(result, trial).endswith("ValueError: no\n")


@pytest.mark.parametrize(
    ("state", "more", "said"),
    [
        ({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}, {}, "container main: memory ran out (OOMKilled)"),
        ({"terminated": {"exitCode": 3}}, {}, "container main: exit status 3"),
        ({}, {"reason": "Evicted", "message": "The node was low on\n memory."}, "The node was low on memory."),
    ],
)
def test_why_it_failed(
    tmp_path: Path, server: ApiServer, state: dict[str, Any], more: dict[str, str], said: str
) -> None:
    tick = ticking(server, endings={0: "Failed"})

    def sleep(seconds: float) -> None:
        tick(seconds)
        for found in server.of("pods"):
            found["status"] = {"containerStatuses": [container_status(**state)], **more}

    (trial,) = run(tmp_path, sleep, study(tmp_path, trials=1)).trials
    assert trial.message == f"Trial has ended. Job message: Failed; {said}"


def test_a_log_is_bounded(tmp_path: Path, server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_logs, "MOST_LINES", 3)
    tick = ticking(server)

    def sleep(seconds: float) -> None:
        tick(seconds)
        server.logs.update({key: "".join(map(klog, "abcdef")) for key in server.logs if key[1] == COLLECTOR})

    result = run(tmp_path, sleep, study(tmp_path, trials=1))
    assert log(result, result.trials[0]) == "d\ne\nf\n"


def test_a_log_that_breaks_off_is_read_again(tmp_path: Path, server: ApiServer) -> None:
    server.faults_of["GET pods/log"] = deque([None, CUT])  # the first one is empty
    result = run(tmp_path, ticking(server), study(tmp_path, trials=1), patience=SOON)
    assert log(result, result.trials[0]) == "begins\nloss=1.0\n"
    assert server.requests.count("GET pods/log") == 3


def test_pods_that_are_gone_leave_no_log(tmp_path: Path, server: ApiServer) -> None:
    tick = ticking(server, endings={0: "Failed"})

    def sleep(seconds: float) -> None:
        tick(seconds)
        for found in [found for found in server.of("pods") if found["status"]["phase"] != "Running"]:
            server.delete(("pods", "team", found["metadata"]["name"]))

    result = run(tmp_path, sleep)
    assert [trial.status for trial in result.trials] == [FAILED, *[SUCCEEDED] * 4]
    assert list(result.directory.rglob("stdout.log")) == []


def refusing(server: ApiServer, what: str, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every request for `what` is answered with a failure."""
    answer, said = server.answer, f'{what} is forbidden: User "u" cannot get resource "{what}"'

    def refuse(method: str, path: str, kind: str, body: Any) -> tuple[int, Any]:
        if path.partition("?")[0].endswith(what):
            return code, status(code, "Forbidden" if code == 403 else "InternalError", said)
        return answer(method, path, kind, body)

    monkeypatch.setattr(server, "answer", refuse)


@pytest.mark.parametrize("what", ["/pods", "/log", "/events"])
def test_without_the_rights_the_study_runs_and_it_is_said(
    tmp_path: Path, server: ApiServer, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    refusing(server, what, 403, monkeypatch)
    shown = Shown()

    def without_pods() -> None:
        for key in [key for key in server.objects if key[0] == "pods" and what == "/events"]:
            kept[key] = server.objects.pop(key)

    kept: dict[Any, Any] = {}
    tick = slow(server, without_pods)

    def sleep(seconds: float) -> None:
        server.objects.update(kept)
        tick(seconds)

    result = run(tmp_path, sleep, open_view=lambda: shown)
    assert [trial.status for trial in result.trials] == [SUCCEEDED] * 5
    assert any("auth can-i" in note for note in shown.notes.values())
    assert server.requests.count("GET pods/log") <= (1 if what == "/log" else 10)


@pytest.mark.parametrize("what", ["/pods", "/log"])
def test_a_node_that_is_gone_does_not_hold_the_study_up(
    tmp_path: Path, server: ApiServer, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    refusing(server, what, 500, monkeypatch)
    shown = Shown()
    result = run(tmp_path, ticking(server), study(tmp_path, trials=1), patience=SOON, open_view=lambda: shown)
    assert [trial.status for trial in result.trials] == [SUCCEEDED]
    assert "reads its log" in shown.progress
    # each look asks twice, and the fifth gives up
    assert server.requests.count(f"GET {'pods/log' if what == '/log' else 'pods'}") == 2 * pod_logs.LOOKS


def slow(server: ApiServer, change: Callable[[], object] = lambda: None, looks: int = 14) -> Callable[[float], None]:
    """A cluster that does nothing but what `change` does for so many looks once trials run, and then goes on."""
    katib, count = Katib(server), itertools.count()

    def sleep(seconds: float) -> None:
        if any("startTime" in trial["status"] for trial in server.of("trials")) and next(count) < looks:
            change()
        else:
            katib.tick()

    return sleep


def waiting(reason: str, message: str) -> dict[str, Any]:
    return {"phase": "Pending", "containerStatuses": [container_status(waiting={"reason": reason, "message": message})]}


def unschedulable(message: str) -> dict[str, Any]:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return {"phase": "Pending", "conditions": [condition]}


@pytest.mark.parametrize(
    ("state", "reason", "mend"),
    [
        (waiting("ImagePullBackOff", 'Back-off pulling image "a:1"'), "ImagePullBackOff", "check the image"),
        (
            waiting("CreateContainerConfigError", 'secret "s" not found'),
            "CreateContainerConfigError",
            "make the Secret",
        ),
        (waiting("CrashLoopBackOff", "back-off 5m0s"), "CrashLoopBackOff", "kubectl logs"),
        (waiting("Surprise", "of a newer version"), "Surprise", "kubectl describe pods"),
        (
            unschedulable("0/3 nodes are available: 3 Insufficient nvidia.com/gpu. preemption: ..."),
            "Unschedulable",
            "free GPUs: lower cluster.gpus",
        ),
        (unschedulable("0/3 nodes are available: 3 Insufficient memory."), "Unschedulable", "lower cluster.cpu"),
        (
            unschedulable("0/3 nodes are available: 3 node(s) had untolerated taint {spot: true}."),
            "Unschedulable",
            "cluster.tolerations",
        ),
        (
            unschedulable("0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector."),
            "Unschedulable",
            "cluster.gpu_type",
        ),
        (unschedulable('persistentvolumeclaim "store" not found'), "Unschedulable", "cluster.volume"),
    ],
)
def test_a_pod_that_does_not_start_says_why(
    tmp_path: Path, server: ApiServer, state: dict[str, Any], reason: str, mend: str
) -> None:
    def stick() -> None:
        for found in server.of("pods"):
            found["status"] = state

    shown = Shown()
    result = run(tmp_path, slow(server, stick), study(tmp_path, trials=1), open_view=lambda: shown)
    assert set(shown.notes) == {reason}
    assert shown.notes[reason].startswith(f"{result.trials[0].name} does not start: {reason}: ")
    assert mend in shown.notes[reason]
    assert reason in shown.progress


SECURITY = (
    'Error creating: pods "x" is forbidden: violates PodSecurity "restricted:latest": (container "{}" must set ...)'
)
QUOTA = 'Error creating: pods "x" is forbidden: exceeded quota: team, requested: requests.nvidia.com/gpu=1'
UNLIMITED = 'Error creating: pods "x" is forbidden: failed quota: team: must specify limits.cpu for: sidecar'
ACCOUNT = 'Error creating: pods "x" is forbidden: error looking up service account team/t: serviceaccount "t" not found'


@pytest.mark.parametrize("job", ["{}", "{}-node-0"], ids=["Job", "TrainJob"])
@pytest.mark.parametrize(
    ("message", "reason", "mend"),
    [
        (SECURITY.format("main"), "FailedCreate", "Pod Security Standard"),
        (SECURITY.format(COLLECTOR), "FailedCreate", "injectSecurityContext"),
        (QUOTA, "FailedCreate", "describe resourcequota"),
        (UNLIMITED, "FailedCreate", "a LimitRange gives them"),
        (ACCOUNT, "FailedCreate", "apply -k manifests/base"),
        (None, "NoPod", "metrics-collector-injection"),
    ],
)
def test_a_pod_that_is_not_made_says_why(
    tmp_path: Path, server: ApiServer, message: str | None, reason: str, mend: str, job: str
) -> None:
    kept: dict[Any, Any] = {}

    def stick() -> None:
        (trial,) = server.of("trials")
        kept.update({key: server.objects.pop(key) for key in list(server.objects) if key[0] == "pods"})
        event(server, "Job", job.format(trial["metadata"]["name"]), message)

    tick, shown = slow(server, stick), Shown()

    def sleep(seconds: float) -> None:
        server.objects.update(kept)
        tick(seconds)

    result = run(tmp_path, sleep, study(tmp_path, trials=1), open_view=lambda: shown)
    assert set(shown.notes) == {reason}
    assert shown.notes[reason].startswith(result.trials[0].name)
    assert mend in shown.notes[reason]
    assert reason in shown.progress


def event(server: ApiServer, kind: str, name: str, message: str | None) -> None:
    if message is not None:
        body = {"metadata": {"name": f"{name}.17"}, "involvedObject": {"kind": kind, "name": name}, "message": message}
        server.put("events", "team", {**body, "reason": "FailedCreate", "type": "Warning"})


@pytest.mark.parametrize(
    ("container", "mend"), [("suggestion", "runtime.suggestions"), ("early-stopping", "turn it off in the study file")]
)
def test_a_service_of_katib_that_does_not_start(tmp_path: Path, server: ApiServer, container: str, mend: str) -> None:
    katib, looks, shown = Katib(server), itertools.count(), Shown()

    def sleep(seconds: float) -> None:
        (there,) = server.of("experiments")
        event(server, "ReplicaSet", f"{there['metadata']['name']}-random-5d9", SECURITY.format(container))
        if next(looks) > 8:
            katib.tick()

    run(tmp_path, sleep, open_view=lambda: shown)
    assert shown.notes["FailedCreate"].startswith("Katib's suggestion service does not start: FailedCreate: ")
    assert mend in shown.notes["FailedCreate"]


def test_trials_that_run_are_left_alone(tmp_path: Path, server: ApiServer) -> None:
    shown = Shown()
    run(tmp_path, slow(server), open_view=lambda: shown)
    assert shown.notes == {}
    assert 0 < server.requests.count("GET pods") - 5 <= 4  # 5 to read the logs of those that ended
    assert shown.progress <= {"", "pending"}
    assert "GET events" not in server.requests


def test_how_far_trials_are_is_read_from_their_logs(tmp_path: Path, server: ApiServer) -> None:
    def speak() -> None:
        for found in server.of("pods"):
            lines = ["epoch 1/4 loss 0.9", "epoch 2/4 loss 0.8", "loss=0.8", "nothing of that"]
            server.logs[found["metadata"]["name"], COLLECTOR] = "".join(map(klog, lines))
            server.logs[found["metadata"]["name"], "main"] = ""

    shown = Shown()
    run(tmp_path, slow(server, speak), open_view=lambda: shown)
    assert "epoch 2/4" in shown.progress
    assert shown.notes == {}


def test_a_service_of_katib_that_dies_later(tmp_path: Path, server: ApiServer) -> None:
    """No trial is left, and none is made."""
    katib, looks, shown = Katib(server), itertools.count(), Shown()

    def sleep(seconds: float) -> None:
        ended = any("completionTime" in trial["status"] for trial in server.of("trials"))
        if not ended or next(looks) > 12:
            katib.tick()
            return
        for trial in server.of("trials"):  # the cluster ends what runs, and makes nothing
            if "completionTime" not in trial["status"]:
                server.delete(("trials", "team", trial["metadata"]["name"]))
        (there,) = server.of("experiments")
        labels = {"katib.kubeflow.org/experiment": there["metadata"]["name"]}
        metadata = {"name": "suggestion", "labels": labels, "creationTimestamp": "2026-01-01T00:00:00Z"}
        server.put("pods", "team", {"metadata": metadata, "status": waiting("ImagePullBackOff", "suggestion image")})

    run(tmp_path, sleep, open_view=lambda: shown)
    assert shown.notes["ImagePullBackOff"].startswith("Katib's suggestion service does not start")
