"""Runs on Kubeflow against a stand-in of Pipelines' API: what is made there, followed, and told of failures."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipelines.__main__ import PIPELINES
from pipelines.kubeflow.platform import package
from pipelines.kubeflow.submission import Request, Submission
from receipt_counter.cluster.connection import Patience
from receipt_counter.config.cluster import Cluster
from receipt_counter.config.loading import resolve, to_yaml
from receipt_counter.errors import UserError
from receipt_counter.progress import Lines, Progress
from tests.pipeline.pipelines_server import DROP, LOSE, Fault, PipelinesServer, show, task

PROJECT = Path(__file__).resolve().parents[2]
CONFIG = to_yaml(resolve(None, "laptop").config)
PARAMETERS = {
    "config": CONFIG,
    "store": "/experiments",
    "experiment_name": "slips",
    "code_version": "0.1.0+3fa94c1b22d0",
}
ENVIRONMENT = ("KF_PIPELINES_ENDPOINT", "KF_PIPELINES_UI_ENDPOINT", "KF_PIPELINES_SA_TOKEN_PATH")
OURS = ("RECEIPT_COUNTER_KFP_TOKEN", "RECEIPT_COUNTER_KFP_COOKIE", "RECEIPT_COUNTER_KFP_CA")


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No address and no credentials from outside."""
    for name in (*ENVIRONMENT, *OURS, "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))


@pytest.fixture
def server() -> Iterator[PipelinesServer]:
    with PipelinesServer() as started:
        yield started


def request(server: PipelinesServer, **changes: Any) -> Request:
    fixed = {"mode": "single", "name": "slips", "experiment": "receipts", "config": CONFIG, "studies": {}}
    return Request(**{**fixed, "parameters": PARAMETERS, "host": server.url, **changes})


def submit(server: PipelinesServer, sleep: Callable[[float], object] = lambda seconds: None, **changes: Any) -> str:
    """Submit and follow; returns what was told on the way."""
    told = io.StringIO()
    patience = Patience(pause=0.0, longest=5.0, tries=4, first_tries=3)
    Submission(request(server, **changes), Progress(Lines(told)), patience=patience, sleep=sleep).run()
    return told.getvalue()


def playing(server: PipelinesServer, *scenes: Callable[[Any], object]) -> None:
    """Each look at a run shows the next scene."""
    left = list(scenes)

    def look(run: Any) -> None:
        if left:
            left.pop(0)(run)

    server.on_look = look


def begins(run: Any) -> None:
    show(run, "RUNNING", task("root-driver", "SUCCEEDED"), task("prepare-data", "RUNNING"))


def trains(run: Any) -> None:
    prepared = task("prepare-data", "SUCCEEDED")
    show(run, "RUNNING", prepared, task("train-driver", "SUCCEEDED", at=11), task("train", "RUNNING", at=12))


def succeeds(run: Any) -> None:
    show(run, "SUCCEEDED", task("prepare-data", "SUCCEEDED"), task("train", "SUCCEEDED", at=12))


def fails(run: Any) -> None:
    outer = task("train", "FAILED", error="child failed", at=12)
    pod = task("executor", "FAILED", parent="train", pod="single-xyz", error="main: Error (exit code 1)", at=12)
    show(run, "FAILED", task("prepare-data", "SUCCEEDED"), outer, pod)


def test_a_run_from_nothing_to_its_end(server: PipelinesServer, capsys: pytest.CaptureFixture[str]) -> None:
    playing(server, begins, trains, succeeds)
    told = submit(server)
    (experiment,), (pipeline,), (version,), (run,) = server.experiments, server.pipelines, server.versions, server.runs
    assert (experiment.display_name, experiment.namespace) == ("receipts", "receipt-counter")
    assert (pipeline.display_name, pipeline.namespace) == ("receipt-counter-single", "receipt-counter")
    assert version.display_name.startswith("0.1.0-3fa94c1b22d0-")
    laptop = Cluster(gpus=0, cpu="2", memory="4Gi", step_memory="4Gi")
    assert server.packages[version.pipeline_version_id] == package(PIPELINES["single"], laptop, {})
    assert run.display_name.startswith("single-slips-")
    assert run.runtime_config == {"parameters": PARAMETERS}
    assert run.service_account is None
    output = capsys.readouterr().out
    assert output.count(f"{server.url}/#/runs/details/run-0") == 2
    assert "TensorBoards" not in output
    assert "has succeeded" in output
    assert told.splitlines() == [
        "prepare-data: running",
        "prepare-data: succeeded after 10 s",
        "train: running",
        "train: succeeded after 10 s",
    ]


def test_where_the_tensorboards_of_studies_are_is_told(
    server: PipelinesServer, capsys: pytest.CaptureFixture[str]
) -> None:
    playing(server, succeeds)
    submit(server, studies={"ablation": "mine"})
    told = "receipt-counter tensorboard --backend kubeflow --list --set cluster.namespace=receipt-counter\n"
    assert told in capsys.readouterr().out


def test_the_same_again_does_nothing(server: PipelinesServer, capsys: pytest.CaptureFixture[str]) -> None:
    playing(server, succeeds)
    submit(server)
    server.requests.clear()
    submit(server)
    assert len(server.runs) == len(server.versions) == 1
    assert not [line for line in server.requests if line.startswith("POST")]
    assert "nothing to do: run single-slips-" in capsys.readouterr().out


def test_a_run_on_its_way_is_attached_to(server: PipelinesServer) -> None:
    def stop(seconds: float) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    playing(server, begins)
    with pytest.raises(UserError, match="runs on"):
        submit(server, stop)
    playing(server, trains, succeeds)
    submit(server)
    assert len(server.runs) == 1


def test_a_failed_run_is_run_anew_from_the_same_version(server: PipelinesServer) -> None:
    playing(server, fails, succeeds)
    with pytest.raises(UserError):
        submit(server)
    submit(server)
    assert [run.state for run in server.runs] == ["FAILED", "SUCCEEDED"]
    assert len(server.versions) == len(server.experiments) == len(server.pipelines) == 1
    assert server.runs[0].display_name == server.runs[1].display_name


@pytest.mark.parametrize(
    ("changes", "versions"),
    [
        ({"parameters": {**PARAMETERS, "code_version": "0.1.0+other"}}, 2),
        ({"parameters": {**PARAMETERS, "store": "/other"}}, 1),
        ({"config": CONFIG.replace("retries: 0", "retries: 1")}, 2),
        ({"service_account": "sweeper"}, 1),
    ],
    ids=["code", "parameters", "cluster", "account"],
)
def test_other_work_is_another_run(server: PipelinesServer, changes: dict[str, Any], versions: int) -> None:
    playing(server, succeeds, succeeds)
    submit(server)
    submit(server, **changes)
    first, second = server.runs
    assert first.display_name != second.display_name
    assert second.service_account == changes.get("service_account")
    assert len(server.versions) == versions


def test_what_failed_is_told_with_the_end_of_its_log(server: PipelinesServer) -> None:
    server.logs["single-xyz"] = "".join(f"line {number}\n" for number in range(99)) + "train: no GPU\n"
    playing(server, trains, fails)
    with pytest.raises(UserError) as raised:
        submit(server)
    assert raised.value.status == 1
    first, *rest = raised.value.message.splitlines()
    assert first.endswith(" has failed: train: main: Error (exit code 1)")
    assert rest[0] == "the end of the log of pod single-xyz:"
    assert rest[1:-1] == [f"line {number}" for number in range(85, 99)] + ["train: no GPU"]
    assert rest[-1] == f"{server.url}/#/runs/details/run-0"


def test_a_failure_without_tasks_or_logs_is_told_too(server: PipelinesServer) -> None:
    playing(server, lambda run: show(run, "FAILED", error="the workflow was not accepted"))
    with pytest.raises(UserError, match="has failed: the workflow was not accepted"):
        submit(server)
    playing(server, fails)
    with pytest.raises(UserError, match="exit code 1"):
        submit(server)


def test_a_run_that_somebody_ends_is_a_failure(server: PipelinesServer) -> None:
    playing(server, lambda run: show(run, "CANCELED"))
    with pytest.raises(UserError, match="is canceled") as raised:
        submit(server)
    assert raised.value.status == 1


def test_tasks_of_nested_pipelines_carry_their_names(server: PipelinesServer) -> None:
    name = "receipt-counter-ablation"
    nested = (task(name, "RUNNING"), task("sweep", "RUNNING", parent=name, at=1))
    playing(server, lambda run: show(run, "RUNNING", *nested), succeeds)
    told = submit(server, mode="all")
    assert f"{name}/sweep: running" in told


FAULTS: Sequence[Fault] = (503, 500, DROP, LOSE)


@pytest.mark.parametrize("fault", FAULTS, ids=str)
@pytest.mark.parametrize("position", range(12))
def test_a_fault_at_any_request_changes_nothing(server: PipelinesServer, position: int, fault: Fault) -> None:
    playing(server, begins, trains, trains, succeeds)
    server.faults.extend([None] * position + [fault])
    submit(server)
    assert not server.faults
    assert [run.state for run in server.runs] == ["SUCCEEDED"]
    assert len(server.versions) == len(server.experiments) == len(server.pipelines) == 1


def test_a_restart_in_the_middle_is_outlasted_and_pauses_are_those_asked_for(server: PipelinesServer) -> None:
    slept: list[float] = []
    playing(server, begins, succeeds)
    server.faults.extend([None] * 9 + [(429, {"message": "slow down"}, {"Retry-After": "3"}), 503, DROP])
    submit(server, slept.append)
    assert slept == [3.0, 0.0, 0.0, 5.0]


def test_somebody_faster_is_no_failure(server: PipelinesServer) -> None:
    """Between the look and the creation another process makes the same."""
    playing(server, succeeds)
    lists = ("list_experiments", "list_pipelines", "list_versions")
    for name in lists:
        real, calls = getattr(server, name), iter(range(2))

        def late(*arguments: Any, real: Any = real, calls: Any = calls) -> Any:
            code, found = real(*arguments)
            kind = next(field for field in found.openapi_types if field not in ("total_size", "next_page_token"))
            if next(calls, 1) == 0:
                setattr(found, kind, [])
            return code, found

        setattr(server, name, late)
    server.create_experiment({}, b'{"display_name": "receipts", "namespace": "receipt-counter"}', "")
    server.create_pipeline({}, b'{"display_name": "receipt-counter-single", "namespace": "receipt-counter"}', "")
    submit(server)
    assert len(server.experiments) == len(server.pipelines) == len(server.versions) == len(server.runs) == 1


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ((401, {"code": 16, "message": "no identity"}), ["(401): no identity", *OURS[:2]]),
        ((403, {"code": 7, "message": "not authorized"}), ["(403): not authorized", "contributor"]),
        ((403, "RBAC: access denied"), ["(403): Forbidden", "contributor"]),
        ((404, "404 page not found"), ["older than v2beta1", "/pipeline"]),
        ((200, "<html>Log in to Your Account</html>"), ["answers with a page", "a login comes first", "cookie"]),
        ((400, {"code": 3, "message": "InvalidInputError: bad"}), ["(400): InvalidInputError: bad"]),
    ],
    ids=["401", "403", "403 of the mesh", "404", "login page", "400"],
)  # fmt: skip
def test_refusals_say_what_to_do(server: PipelinesServer, fault: Fault, expected: list[str]) -> None:
    server.faults.append(fault)
    with pytest.raises(UserError) as raised:
        submit(server, pytest.fail)
    assert all(text in raised.value.message for text in (*expected, server.url))
    assert len(server.requests) == 1, "a refusal is not asked again"


def test_an_upload_that_is_refused_is_told_in_the_servers_words(server: PipelinesServer) -> None:
    server.faults.extend([None] * 6 + [(400, {"error_message": "bad package", "error_details": "..."})])
    with pytest.raises(UserError, match=r"refused to upload version .* \(400\): bad package"):
        submit(server)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "https://127.0.0.1:9"])
def test_a_server_that_is_not_there(url: str) -> None:
    slept: list[float] = []
    with PipelinesServer() as server, pytest.raises(UserError) as raised:
        submit(server, slept.append, host=url)
    assert f"Kubeflow Pipelines {url} failed 3 times when asked to say how it is" in raised.value.message
    assert len(slept) == 2


def test_a_deleted_run_and_an_ended_login_end_the_following(server: PipelinesServer) -> None:
    playing(server, begins, lambda run: server.runs.clear())
    with pytest.raises(UserError, match="somebody deleted it"):
        submit(server, lambda seconds: server.runs.clear())
    playing(server, begins)
    with pytest.raises(UserError, match="the login has ended"):
        submit(server, lambda seconds: server.faults.append((200, "<html>Log in</html>")))


@pytest.mark.parametrize("before", range(1, 9))
def test_a_login_that_ends_before_the_run_is_known_is_told(server: PipelinesServer, before: int) -> None:
    server.faults.extend([*[None] * before, *[(200, "<html>Log in</html>")] * 20])
    with pytest.raises(UserError, match="the login has ended"):
        submit(server)
    assert len(server.runs) <= 1


@pytest.mark.parametrize("terminate", [False, True])
def test_a_stop_detaches_or_terminates(server: PipelinesServer, terminate: bool) -> None:
    playing(server, begins)
    with pytest.raises(UserError) as raised:
        submit(server, lambda seconds: os.kill(os.getpid(), signal.SIGINT), terminate_on_stop=terminate)
    assert raised.value.status == 128 + signal.SIGINT
    assert f"{server.url}/#/runs/details/run-0" in raised.value.message
    if terminate:
        assert "is being terminated" in raised.value.message
    else:
        assert "The same command follows it again" in raised.value.message
    assert server.runs[0].state == ("CANCELING" if terminate else "RUNNING")


def test_a_server_without_users_gets_no_namespace(capsys: pytest.CaptureFixture[str]) -> None:
    with PipelinesServer(multi_user=False, version="2.18.1") as server:
        playing(server, succeeds)
        submit(server)
        assert server.experiments[0].namespace is None
    output = capsys.readouterr().out
    assert "steps run in its own namespace" in output
    assert "warning: this is Pipelines 2.18.1; 2.15 to 2.17 are supported" in output


@pytest.mark.parametrize(("version", "secured"), [("2.15.2", False), ("2.16.0", True), ("2.17.3", True), ("x", True)])
def test_steps_get_a_security_context_where_pipelines_knows_it(
    version: str, secured: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    with PipelinesServer(version=version) as server:
        playing(server, succeeds)
        submit(server)
        assert ("securityContext" in server.packages["version-0"]) is secured
    assert ("2.15 gives steps no security context" in capsys.readouterr().out) is not secured


def test_credentials_come_from_environment_and_files_and_are_not_told(
    server: PipelinesServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    playing(server, succeeds)
    (tmp_path / "token").write_text("from-file")
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(tmp_path / "token"))
    submit(server)
    assert server.headers["authorization"] == "Bearer from-file"
    monkeypatch.setenv("RECEIPT_COUNTER_KFP_TOKEN", "from-environment")
    monkeypatch.setenv("RECEIPT_COUNTER_KFP_COOKIE", "authservice_session=secret")
    submit(server)
    assert server.headers["authorization"] == "Bearer from-environment"
    assert server.headers["Cookie"] == "authservice_session=secret"
    told = capsys.readouterr()
    assert not any(secret in told.out + told.err for secret in ("from-file", "from-environment", "secret"))


def command(server: PipelinesServer, *options: str) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "receipt_counter", "run", "--backend=kubeflow", f"--host={server.url}", *options]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "NO_COLOR": "1"}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(line, cwd=PROJECT, env=environment, text=True, **streams)  # type: ignore[call-overload]


def test_the_command_submits_a_study_and_detaches_at_a_signal(server: PipelinesServer) -> None:
    looked: list[Any] = []
    server.on_look = looked.append
    process = command(server, "--mode=ablation", "--namespace=team", "--experiment-name=mine")
    while not looked and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=240)
    assert process.returncode == 128 + signal.SIGTERM, errors
    assert "stopped following" in errors
    assert "Traceback" not in errors
    assert "preset full: it runs on a cluster" in output
    (run,) = server.runs
    assert server.experiments[0].namespace == "team"
    assert server.experiments[0].display_name == "mine"
    assert run.runtime_config["parameters"]["engine"] == "katib"
    assert run.runtime_config["parameters"]["store"] == "/experiments"
    assert "kind: Experiment" in run.runtime_config["parameters"]["experiment"]
    assert "receipt-counter/study: ablation" in server.packages["version-0"]
