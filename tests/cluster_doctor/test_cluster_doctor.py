"""What doctor says of clusters that have and lack things, against a stand-in of the API server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from receipt_counter.cli import main
from receipt_counter.cluster_doctor import rights
from receipt_counter.cluster_doctor.examine import examine
from receipt_counter.config.cluster import Cluster
from receipt_counter.doctor import MISSING, OK, Finding
from tests.cluster_doctor.cases import CASES, CLAIM, HERE
from tests.cluster_doctor.cluster_server import NAMESPACE, ClusterServer, quota
from tests.engines.api_server import DROP
from tests.pipeline.pipelines_server import PipelinesServer

PROJECT = Path(__file__).resolve().parents[2]
IMAGE = "registry.example/receipt-counter:1"
NAMES = [
    "api server",
    "pipelines",
    "katib",
    "trainer",
    "tensorboards",
    "gpu nodes",
    "priority",
    "namespace",
    "injection",
    "pod security",
    "katib sidecar",
    "queue",
    "your rights",
    "pipeline account",
    "tensorboard account",
    "trial account",
    "quota",
    "store",
    "images",
    "trial job",
    "trial pod",
]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ClusterServer]:
    monkeypatch.delenv("KF_PIPELINES_ENDPOINT", raising=False)
    with ClusterServer() as started:
        started.write_kubeconfig(tmp_path / "kubeconfig", NAMESPACE)
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        yield started


def look(name: str, cluster: Cluster, **options: Any) -> Finding:
    return next(finding for finding in examine(cluster, **options) if finding.name == name)


def asked(**settings: Any) -> Cluster:
    return Cluster(**{"namespace": NAMESPACE, "image": IMAGE, **settings})


def test_a_cluster_that_has_everything(server: ClusterServer) -> None:
    found = list(examine(asked(queue=None), parallelism=4))
    assert [finding.name for finding in found] == NAMES
    assert [finding for finding in found if finding.state != OK] == []
    detail = {finding.name: finding.detail for finding in found}
    assert detail["api server"] == "Kubernetes v1.33.2"
    assert detail["pipelines"] == "2.16.0; steps run in the profile team"
    assert detail["katib"] == "kubeflow.org/v1beta1, 0.19"
    assert detail["trainer"] == "trainer.kubeflow.org/v1alpha1, 2.1.0"
    assert detail["gpu nodes"] == "1 of 1 nodes fit a trial (NVIDIA-H100)"
    assert detail["store"] == "PersistentVolumeClaim receipt-counter-store, 200Gi, at /experiments"
    job, pod = server.tried
    assert (job["kind"], pod["kind"]) == ("Job", "Pod")
    assert pod["spec"] == job["spec"]["template"]["spec"]
    assert not [line for line in server.requests if line.split()[0] in ("PATCH", "PUT", "DELETE")]


@pytest.mark.parametrize(("name", "change", "settings", "state", "detail"), CASES.values(), ids=CASES.keys())
def test_case(
    server: ClusterServer,
    name: str,
    change: Callable[[ClusterServer], None],
    settings: dict[str, Any],
    state: str,
    detail: str,
) -> None:
    change(server)
    found = look(name, asked(**settings), parallelism=4)
    assert (found.state, detail in found.detail) == (state, True), found


def test_nothing_is_asked_of_a_namespace_that_is_not_there(server: ClusterServer) -> None:
    del server.there[HERE]
    assert [finding.name for finding in examine(asked())] == NAMES[: NAMES.index("namespace") + 1]
    assert server.tried == server.reviewed == []


def test_a_server_that_does_not_answer_is_the_only_finding(server: ClusterServer, tmp_path: Path) -> None:
    server.faults.extend([DROP, DROP])
    (found,) = examine(asked())
    assert (found.name, found.state) == ("api server", MISSING)
    assert "failed 2 times when asked to get /version" in found.detail
    (tmp_path / "kubeconfig").unlink()
    (found,) = examine(asked())
    assert "no cluster is configured" in found.detail


def test_a_server_that_fails_later_leaves_the_other_findings(server: ClusterServer) -> None:
    server.faults.extend([None, None, 500, 500, 500])
    found = list(examine(asked(queue=None)))
    assert [finding.name for finding in found] == NAMES
    (bad,) = [finding for finding in found if finding.state != OK]
    assert (bad.name, bad.state) == ("katib", MISSING)
    assert "failed 3 times when asked to get /apis/kubeflow.org" in bad.detail


@pytest.mark.parametrize("multi_user", [True, False])
def test_pipelines_at_its_own_address(server: ClusterServer, multi_user: bool) -> None:
    with PipelinesServer(multi_user=multi_user, version="2.17.0") as pipelines:
        found = look("pipelines", asked(), host=pipelines.url)
        assert found.detail.startswith("2.17.0; ")
        assert ("profile" in found.detail) is multi_user
        pipelines.faults.append((200, "<html>Log in</html>"))
        assert "a login comes first" in look("pipelines", asked(), host=pipelines.url).detail
        pipelines.faults.append(403)
        assert "RECEIPT_COUNTER_KFP_TOKEN" in look("pipelines", asked(), host=pipelines.url).detail
        pipelines.faults.append(404)
        assert ".../pipeline" in look("pipelines", asked(), host=pipelines.url).detail
    found = look("pipelines", asked(), host=pipelines.url)
    assert (found.state, "does not answer" in found.detail) == (MISSING, True)


def test_credentials_go_to_pipelines_and_into_no_finding(
    server: ClusterServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECEIPT_COUNTER_KFP_TOKEN", "secret-token")
    monkeypatch.setenv("RECEIPT_COUNTER_KFP_COOKIE", "session=secret-cookie")
    with PipelinesServer() as pipelines:
        found = list(examine(asked(), host=pipelines.url))
        assert pipelines.headers["Authorization"] == "Bearer secret-token"
        assert pipelines.headers["Cookie"] == "session=secret-cookie"
    assert "secret-" not in str(found)


def test_the_named_account_is_looked_at(server: ClusterServer) -> None:
    server.there[f"{HERE}/serviceaccounts/sweeper"] = {}
    found = look("pipeline account", asked(), service_account="sweeper")
    assert found.detail == "sweeper has the rights that it needs"
    assert f"system:serviceaccount:{NAMESPACE}:sweeper" in {spec.get("user") for spec in server.reviewed}


@pytest.mark.parametrize(
    ("file", "wanted"),
    [("sweep", {**rights.SWEEP, **rights.TRAIN_JOBS}), ("tensorboard-maker", rights.TENSORBOARD)],
)
def test_the_rights_asked_for_are_those_that_the_manifests_give(file: str, wanted: dict[str, str]) -> None:
    documents = yaml.safe_load_all((PROJECT / "manifests" / "base" / f"{file}.yaml").read_text())
    role = next(document for document in documents if document["kind"] == "Role")
    given = {
        (verb, f"{resource}.{group}".rstrip("."))
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert {(verb, kind) for kind, verbs in wanted.items() for verb in verbs.split()} <= given


def test_the_command_prints_findings_and_counts_studies_trials(
    server: ClusterServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(PROJECT)
    server.there[f"{HERE}/resourcequotas"] = {"items": [quota(cpu=("20", "0"))]}
    command = ["doctor", "--backend=kubeflow", "--namespace=team", f"--set=cluster.image={IMAGE}"]
    assert main([*command, "--json"]) == 0
    found = {finding["name"]: finding for finding in json.loads(capsys.readouterr().out)}
    assert list(found) == NAMES
    assert "the studies run 4" in found["quota"]["detail"]
    del server.there[CLAIM]
    assert main(command) == 1
    shown = capsys.readouterr().out
    assert "The cluster" in shown
    assert "no PersistentVolumeClaim" in " ".join(shown.split())
    assert main(["doctor", "--namespace=team"]) == 2
    assert "--namespace: is for --backend kubeflow" in capsys.readouterr().err
