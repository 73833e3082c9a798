"""What the Katib engine refuses, and finds before it begins: accounts, other specs, namespaces, names."""

from __future__ import annotations

import json
import socket
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path

import pytest

from receipt_counter.cluster.connection import Patience
from receipt_counter.engines.base import (
    name_of,
)
from receipt_counter.engines.katib.submission import submitted
from receipt_counter.errors import UserError
from receipt_counter.katib.experiment import check
from tests.engines.api_server import PAGE, ApiServer, Fault
from tests.engines.katib_support import gone, run, study, ticking
from tests.engines.support import experiment, read

FORBIDDEN = 'experiments.kubeflow.org is forbidden: User "u" cannot get resource "experiments"'


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ((401, "Unauthorized", "Unauthorized"), ["get experiments.kubeflow.org small-", "log in again"]),
        (
            (403, "Forbidden", FORBIDDEN),
            ["verb get on experiments.kubeflow.org", "auth can-i get experiments.kubeflow.org -n team", FORBIDDEN],
        ),
        ((400, "BadRequest", "what is this"), ["(400): what is this"]),
    ],
)
def test_refusals(tmp_path: Path, server: ApiServer, fault: Fault, expected: list[str]) -> None:
    server.faults.append(fault)
    with pytest.raises(UserError) as raised:
        run(tmp_path, pytest.fail)
    assert all(text in raised.value.message for text in expected)
    assert len(server.requests) == 1


def test_a_webhook_is_no_missing_role(tmp_path: Path, server: ApiServer) -> None:
    said = 'admission webhook "validator.experiment.katib.kubeflow.org" denied the request: spec.x: Invalid'
    server.faults.extend([None, None, None, (403, "Forbidden", said)])
    with pytest.raises(UserError) as raised:
        run(tmp_path, pytest.fail)
    assert said in raised.value.message
    assert "create experiments.kubeflow.org" in raised.value.message
    assert "Role" not in raised.value.message


@pytest.mark.parametrize("kind", ["GET experiments", "POST experiments", "GET configmaps", "GET trials", "GET pods"])
def test_a_page_of_a_proxy_is_no_answer(tmp_path: Path, server: ApiServer, kind: str) -> None:
    server.faults_of = {kind: deque([PAGE])}
    assert len(run(tmp_path, ticking(server)).trials) == 5
    assert not server.faults_of[kind]


def test_a_proxy_that_lets_nobody_in(tmp_path: Path, server: ApiServer) -> None:
    server.faults.extend([PAGE] * 4)
    with pytest.raises(UserError, match=r"failed 4 times .* the answer is none of its own"):
        run(tmp_path, lambda seconds: None)


def test_no_katib(tmp_path: Path, server: ApiServer) -> None:
    server.has_katib = False
    with pytest.raises(UserError, match="Katib is not installed"):
        run(tmp_path, pytest.fail)


def _more_trials(server: ApiServer) -> None:
    server.of("experiments")[0]["spec"]["maxTrialCount"] = 7


def _another_image(server: ApiServer) -> None:
    pod = server.of("experiments")[0]["spec"]["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]
    pod["containers"][0]["image"] = "other"


def _another_config(server: ApiServer) -> None:
    server.of("configmaps")[0]["data"]["a.yaml"] = "x: 2\n"


def _deleting(server: ApiServer) -> None:
    server.of("experiments")[0]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            _more_trials,
            ["with another spec:\n  spec.maxTrialCount: 7 there, 5 here\n", "kubectl edit experiment small-"],
        ),
        (_another_image, ['.containers[0].image: "other" there, "none" here']),
        (_another_config, ["ConfigMap files-", "differs from the study's in a.yaml"]),
        (_deleting, ["is being deleted"]),
        (gone, ["is gone from namespace team", "remove"]),
    ],
)
def test_what_is_there_but_differs(
    tmp_path: Path, server: ApiServer, change: Callable[[ApiServer], None], expected: list[str]
) -> None:
    result = run(tmp_path, ticking(server))
    (result.directory / "sweep.json").unlink()
    change(server)
    before = json.dumps(list(server.objects.values()))
    with pytest.raises(UserError) as raised:
        run(tmp_path, pytest.fail)
    assert all(text in raised.value.message for text in expected)
    assert json.dumps(list(server.objects.values())) == before


def test_what_another_katib_fills_in_is_no_difference(tmp_path: Path, server: ApiServer) -> None:
    first = run(tmp_path, ticking(server))
    (first.directory / "sweep.json").unlink()
    server.of("experiments")[0]["spec"]["trialTemplate"]["primaryPodLabels"] = {"a": "b"}
    assert run(tmp_path, pytest.fail).trials == first.trials


@pytest.mark.parametrize(("answered", "tries", "rests"), [(0, 2, [1.0]), (6, 5, [1.0, 2.0, 3.0, 3.0])])
def test_patience_ends(tmp_path: Path, server: ApiServer, answered: int, tries: int, rests: list[float]) -> None:
    server.faults.extend([None] * answered + [500] * 20)
    rested: list[float] = []
    with pytest.raises(UserError, match=f"failed {tries} times when asked to .*500") as raised:
        run(tmp_path, rested.append, patience=Patience(1.0, longest=3.0, tries=5, first_tries=2))
    assert raised.value.status == 1
    assert rested == rests
    assert len(server.requests) == answered + tries


def test_nobody_listens(tmp_path: Path, server: ApiServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(kubeconfig.read_text().replace(str(server.port), str(port)))
    with pytest.raises(UserError, match=f"127.0.0.1:{port} failed 4 times.*refused"):
        run(tmp_path, lambda seconds: None)


@pytest.mark.parametrize(
    ("content", "expected"), [(None, "no cluster is configured"), ("a: [", "no cluster is configured")]
)
def test_no_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, expected: str) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    if content is not None:
        (tmp_path / "kubeconfig").write_text(content)
    with pytest.raises(UserError, match=expected):
        run(tmp_path, pytest.fail)


def test_no_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kubernetes", None)
    with pytest.raises(UserError, match="pip install kubernetes"):
        run(tmp_path, pytest.fail)


@pytest.mark.parametrize(
    ("own", "contexts", "expected"), [("mine", "team", "mine"), (None, "team", "team"), (None, None, "default")]
)
def test_namespace(tmp_path: Path, server: ApiServer, own: str | None, contexts: str | None, expected: str) -> None:
    server.write_kubeconfig(tmp_path / "kubeconfig", contexts)
    document = experiment("echo loss=${lr}", trials=1)
    document["metadata"].update({"namespace": own} if own else {})
    run(tmp_path, ticking(server), read(tmp_path, document))
    assert {namespace for _, namespace, _ in server.objects} == {expected}


@pytest.mark.parametrize("length", [5, 44, 45, 54])
def test_long_names_are_folded(tmp_path: Path, length: int) -> None:
    document = experiment("echo loss=${lr}")
    document["metadata"]["name"] = "n" * length
    there = submitted(read(tmp_path, document))
    assert check(there) == []
    assert name_of(there.experiment).startswith("n" * min(length, 45) + "-")
    assert name_of(submitted(read(tmp_path, experiment("echo loss=${lr}", trials=9))).experiment) != name_of(
        submitted(read(tmp_path, experiment("echo loss=2${lr}", trials=9))).experiment
    )


def test_rules_first(tmp_path: Path, server: ApiServer) -> None:
    with pytest.raises(UserError, match=r"spec\.parallelTrialCount"):
        run(tmp_path, pytest.fail, study(tmp_path, parallelTrialCount=9))
    assert server.requests == []
