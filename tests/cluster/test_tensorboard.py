"""TensorBoards of studies on a cluster: made, owned, listed, deleted and pruned."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from receipt_counter import steps, tensorboard_step
from receipt_counter.cli import main
from receipt_counter.cluster.connection import Connection, Patience
from receipt_counter.cluster.objects import Objects
from receipt_counter.cluster.tensorboard import CREATED, TensorBoards, manifests
from receipt_counter.config.cluster import Cluster
from receipt_counter.config.loading import resolve, to_yaml
from receipt_counter.engines.base import name_of
from receipt_counter.engines.katib.submission import submitted
from receipt_counter.errors import UserError
from receipt_counter.katib.experiment import document_text
from receipt_counter.storage.files import read_json
from receipt_counter.storage.labels import BOARD
from tests.cluster.stand_in import ClusterServer
from tests.engines.katib_support import study as small_study

CLUSTER = Cluster(namespace="team")
QUICK = Patience(pause=0.001, longest=0.01, tries=4)
START = datetime(2026, 1, 1, tzinfo=UTC)
OURS = ("deployments", "services", "virtualservices")


class Clock:
    time = START

    def __call__(self) -> datetime:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def boards(server: ClusterServer, clock: Clock) -> TensorBoards:
    return TensorBoards(Objects(Connection(time.sleep, QUICK), "team"), CLUSTER, clock)


def there(server: ClusterServer, *plurals: str) -> list[str]:
    """Whose objects of some kinds there are."""
    found = (item["metadata"]["labels"]["app.kubernetes.io/instance"] for p in plurals for item in server.of(p))
    return sorted(found)


def put_experiment(server: ClusterServer, name: str) -> None:
    body = {"apiVersion": "kubeflow.org/v1beta1", "kind": "Experiment", "metadata": {"name": name}}
    server.put("experiments", "team", body)


def test_one_is_made_and_made_again(server: ClusterServer, boards: TensorBoards, clock: Clock) -> None:
    server.faults.extend([503, None, 500])
    made = boards.make("ablation-1a2b3c4d")
    assert made.link == "/receipt-counter/team/tensorboard/ablation-1a2b3c4d/"
    assert [len(server.of(plural)) for plural in OURS] == [1, 1, 1]
    (deployment,) = server.of("deployments")
    deployment["spec"]["template"]["spec"]["containers"][0]["image"] = "old:1"
    clock.time = START + timedelta(days=1)
    boards.make("ablation-1a2b3c4d")
    (again,) = server.of("deployments")
    assert again["metadata"]["uid"] == deployment["metadata"]["uid"]
    assert again["metadata"]["annotations"][CREATED] == "2026-01-02T00:00:00+00:00"
    assert again["spec"]["template"]["spec"]["containers"][0]["image"] == CLUSTER.image


def test_a_cluster_without_a_gateway(server: ClusterServer, boards: TensorBoards) -> None:
    server.absent = {"virtualservices", "tensorboards"}
    assert boards.make("study").link is None
    assert [(one.study, one.link) for one in boards.all()] == [("study", None)]
    assert boards.delete("study")
    assert not boards.delete("study")
    assert there(server, "deployments", "services") == []


@pytest.mark.parametrize("kind", ["deployment", "tensorboard"])
def test_it_goes_with_its_experiment(kind: str, server: ClusterServer, boards: TensorBoards) -> None:
    put_experiment(server, "study")
    boards.make("study", kind)
    boards.make("other")
    assert boards.own("study")
    assert not boards.own("other")
    server.delete(("experiments", "team", "study"))
    assert there(server, *OURS, "tensorboards") == ["other"] * 3


def test_they_are_listed_and_the_old_ones_deleted(server: ClusterServer, boards: TensorBoards, clock: Clock) -> None:
    for day, name in enumerate(("first", "second", "third")):
        clock.time = START + timedelta(days=day)
        boards.make(name, "tensorboard" if name == "second" else "deployment")
    clock.time = START + timedelta(days=3)
    boards.make("first")  # somebody looks at it
    assert [(one.study, one.kind) for one in boards.all()] == [
        ("second", "tensorboard"),
        ("third", "deployment"),
        ("first", "deployment"),
    ]
    clock.time = START + timedelta(days=8, hours=1)
    assert [one.study for one in boards.prune(timedelta(days=7))] == ["second"]
    assert there(server, "deployments") == ["first", "third"]
    clock.time = START + timedelta(days=30)
    assert [one.study for one in boards.prune(timedelta(days=7))] == ["third", "first"]
    assert there(server, *OURS, "tensorboards") == []


def test_others_are_left_alone(server: ClusterServer, boards: TensorBoards) -> None:
    labels = {"app.kubernetes.io/component": "tensorboard", "app.kubernetes.io/managed-by": "kustomize"}
    server.put("deployments", "team", {"metadata": {"name": "receipt-counter-tensorboard", "labels": labels}})
    assert boards.all() == boards.prune(timedelta(0)) == []
    assert len(server.of("deployments")) == 1


@pytest.mark.parametrize("study", ["s", "a-very-long-name-of-a-study-about-everything-there-is-12345678"])
def test_names_that_a_service_can_have(study: str) -> None:
    names = {manifest["metadata"]["name"] for _, manifest in manifests(CLUSTER, study, "deployment", START)}
    (name,) = names
    assert len(name) <= 63
    assert name.endswith(study[-8:])


@pytest.mark.parametrize("slash", ["", "/"])
def test_an_object_store_is_mirrored_with_its_keys(slash: str) -> None:
    cluster = Cluster(store=f"s3://bucket/runs{slash}", credentials="keys")
    pod = manifests(cluster, "study", "deployment", START)[0][1]["spec"]["template"]["spec"]
    server, mirror = pod["containers"]
    assert "--store=/logs" in server["args"]
    assert mirror["args"] == ["s3://bucket/runs/runs", "/logs/runs", "--only", "events"]
    assert {"name": "RECEIPT_COUNTER_CREDENTIALS", "value": "/etc/receipt-counter-credentials"} in mirror["env"]
    assert pod["volumes"][0]["secret"]["secretName"] == "keys"
    assert all(mount["name"] != "credentials" for mount in server["volumeMounts"])
    with pytest.raises(UserError, match="does not see new runs of s3://bucket/runs"):
        manifests(cluster, "study", "tensorboard", START)


class TestStep:
    """The pipelines' step."""

    @pytest.fixture(autouse=True)
    def in_a_pod(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tensorboard_step, "SECONDS_TO_BEGIN", 0.0)
        monkeypatch.setenv(steps.PIPELINE_POD, "pod")

    def page(self, tmp_path: Path) -> tuple[str, str]:
        """What the step shows, and the study's name."""
        document = small_study(tmp_path / "study")
        config = to_yaml(resolve(None, "laptop", ["cluster.namespace=team"]).config)
        name = name_of(submitted(document).experiment)
        return tensorboard_step.show_study(config, document_text(document), str(tmp_path / "store")), name

    def test_here_it_makes_nothing(
        self, server: ClusterServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.delenv(steps.PIPELINE_POD)
        page, _ = self.page(tmp_path)
        assert f"receipt-counter tensorboard --store {tmp_path / 'store'}" in page
        assert server.requests == []

    def test_in_a_pod_it_makes_one_and_links_it(self, server: ClusterServer, tmp_path: Path) -> None:
        page, name = self.page(tmp_path)
        assert f"[{name}](/receipt-counter/team/tensorboard/{name}/)" in page
        assert there(server, *OURS) == [name] * 3
        (record,) = tmp_path.glob(f"store/studies/*/{BOARD}")
        assert read_json(record)["link"] == f"/receipt-counter/team/tensorboard/{name}/"

    def test_without_a_gateway_it_says_how_to_reach_it(self, server: ClusterServer, tmp_path: Path) -> None:
        server.absent = {"virtualservices"}
        page, name = self.page(tmp_path)
        (record,) = tmp_path.glob(f"store/studies/*/{BOARD}")
        known = read_json(record)
        assert known["link"] is None
        assert f"port-forward service/receipt-counter-tb-{name}" in known["where"]
        assert known["where"] in page

    def test_one_that_cannot_be_made_stops_nothing(self, server: ClusterServer, tmp_path: Path) -> None:
        server.faults.append((403, "Forbidden", 'deployments.apps is forbidden: User "u" cannot get resource'))
        page, name = self.page(tmp_path)
        assert f"none was made for {name}" in page
        assert "needs a Role with the verb get on deployments.apps" in page
        assert not list(tmp_path.glob(f"store/studies/*/{BOARD}"))

    def test_a_cluster_without_katib_has_one_all_the_same(self, server: ClusterServer, tmp_path: Path) -> None:
        server.absent = {"experiments"}
        page, name = self.page(tmp_path)
        assert f"[{name}](/receipt-counter/team/tensorboard/{name}/)" in page
        assert f"There is no Experiment {name}, so it is not deleted with one" in page
        assert there(server, *OURS) == [name] * 3

    def test_an_account_that_may_not_see_experiments_has_one(self, server: ClusterServer, tmp_path: Path) -> None:
        refused = (403, "Forbidden", 'experiments.kubeflow.org is forbidden: User "u" cannot get resource')
        server.faults.extend([None] * 6 + [refused])  # of three objects: look and create
        page, name = self.page(tmp_path)
        assert f"[{name}](/receipt-counter/team/tensorboard/{name}/)" in page
        assert "not deleted with its Experiment:\n\n> the cluster refused to get experiments" in page

    def test_a_store_that_cannot_be_written_stops_nothing(self, server: ClusterServer, tmp_path: Path) -> None:
        (tmp_path / "store").write_text("a file")
        page, name = self.page(tmp_path)
        assert f"[{name}](/receipt-counter/team/tensorboard/{name}/)" in page
        assert "report does not name it" in page

    def test_it_waits_for_the_experiment(
        self, server: ClusterServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        name = name_of(submitted(small_study(tmp_path / "study")).experiment)
        monkeypatch.setattr(tensorboard_step, "SECONDS_TO_BEGIN", 60.0)
        monkeypatch.setattr(time, "sleep", lambda seconds: put_experiment(server, name))
        self.page(tmp_path)
        server.delete(("experiments", "team", name))
        assert there(server, *OURS) == []


class TestCommand:
    """`receipt-counter tensorboard --backend kubeflow`."""

    def run(self, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
        options = ["--backend", "kubeflow", "--preset", "laptop", "--namespace", "team"]
        assert main(["tensorboard", *arguments, *options]) == 0
        return capsys.readouterr().out

    def test_a_cluster_without_katib(self, server: ClusterServer, capsys: pytest.CaptureFixture[str]) -> None:
        server.absent = {"experiments"}
        said = self.run(capsys, "study")
        assert "/receipt-counter/team/tensorboard/study/ on Kubeflow's address" in said
        assert "no Experiment study in namespace team" in said

    def test_it_makes_lists_and_deletes(self, server: ClusterServer, capsys: pytest.CaptureFixture[str]) -> None:
        assert "/receipt-counter/team/tensorboard/study/ on Kubeflow's address" in self.run(capsys, "study")
        server.absent = {"virtualservices"}
        assert "port-forward service/receipt-counter-tb-other 6006" in self.run(capsys, "other")
        listed = sorted(self.run(capsys, "--list").splitlines())
        assert [line.split()[:2] for line in listed] == [["other", "deployment"], ["study", "deployment"]]
        assert self.run(capsys, "other", "--delete") == "deleted: other\n"
        assert self.run(capsys, "other", "--delete") == "there was none: other\n"
        assert self.run(capsys, "--prune", "--older-than", "1d") == "none\n"
        assert self.run(capsys, "--prune", "--older-than", "0m").endswith("deleted\n")
        assert server.of("deployments") == []

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ([], "name a STUDY"),
            *[([name], "no name of an Experiment") for name in ("My Study", "a/../b", "a.b", "a-", "", "s" * 64)],
            (["study", "--list"], "--list and --prune take no STUDY"),
            (["--prune"], "--prune --older-than 7d"),
            (["study", "--older-than", "7d"], "--prune --older-than 7d"),
            (["--prune", "--older-than", "week"], "'week' is not an age"),
            (["study", "--list", "--delete"], "not allowed with"),
        ],
    )
    def test_mistakes(self, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["tensorboard", *arguments, "--backend", "kubeflow"]) == 2
        assert message in " ".join(capsys.readouterr().err.split())
