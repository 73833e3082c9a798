"""A study whose trials train on several machines: its document, on this machine and on a cluster."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from kubeflow_trainer_api.models import TrainerV1alpha1TrainingRuntime, TrainerV1alpha1TrainJob

from receipt_counter.cluster.train_job import train_job, training_runtime
from receipt_counter.config.cluster import Cluster
from receipt_counter.config.loading import resolve
from receipt_counter.engines.base import SUCCEEDED, SweepFailedError, name_of
from receipt_counter.engines.katib.engine import KatibEngine
from receipt_counter.engines.katib.submission import submitted
from receipt_counter.engines.local.engine import LocalEngine
from receipt_counter.katib.experiment import StudyDocument, check, document_text
from receipt_counter.katib.identity import study_id
from receipt_counter.katib.template import primary_container, render_trial
from receipt_counter.storage.files import read_json
from receipt_counter.storage.store import Store
from receipt_counter.study.documents import parse_document
from receipt_counter.study.plan import Plan, plan_ablation
from tests.cluster.stand_in import ClusterServer
from tests.engines.katib_stand_in import Katib

STUDY = "seeds: [1]\nfamilies:\n  data: {short: {data.max_text_length: 16}}\n"
FIRST = {"variant": "baseline", "seed": "1"}


def planned(directory: Path, *overrides: str) -> Plan:
    (directory / "study.yaml").write_text(STUDY)
    settings = ["cluster.gpus=4", "training.processes=4", "cluster.tolerations=['spot=true:NoSchedule']", *overrides]
    return plan_ablation(directory / "study.yaml", resolve(None, "study", settings), Store(directory / "store"))


@pytest.fixture
def document(tmp_path: Path) -> StudyDocument:
    return planned(tmp_path, "cluster.nodes=2").document


def test_it_keeps_katibs_rules_and_survives_its_file(document: StudyDocument) -> None:
    assert check(document) == []
    again = parse_document(document_text(document))
    assert (again.fingerprint, again.runtimes) == (document.fingerprint, document.runtimes)
    changed = dataclasses.replace(document, runtimes={"other": next(iter(document.runtimes.values()))})
    assert changed.fingerprint != document.fingerprint


def test_its_pods_names_have_room(document: StudyDocument) -> None:
    document.experiment.metadata.name = "a" * 60
    assert any("at most 38 leave room" in problem for problem in check(document))
    longest = name_of(submitted(document).experiment)
    assert len(f"{longest}-12345678-node-0-63-abcde") <= 63
    assert longest.endswith(study_id(document)[-9:])


def test_one_machine_needs_none_of_it(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    assert plan.document.runtimes == {}
    assert not any("katib#2616" in note for note in plan.notes)
    assert "TrainingRuntime" not in document_text(plan.document)
    assert any("katib#2616" in note for note in planned(tmp_path, "cluster.nodes=2").notes)


def test_a_trial_is_a_train_job_in_the_studys_runtime(document: StudyDocument) -> None:
    trial = render_trial(document, "trial-1", FIRST)
    ((name, runtime),) = document.runtimes.items()
    assert trial["spec"]["runtimeRef"]["name"] == name
    assert (trial["spec"]["trainer"]["numNodes"], trial["spec"]["trainer"]["numProcPerNode"]) == (2, 4)
    container = primary_container(document, trial)
    assert container.command[:3] == ("python", "-m", "receipt_counter.study.trial")
    assert container.env["RECEIPT_COUNTER_STORE"] == "/experiments"
    assert "config.yaml" in container.mounts["/etc/receipt-counter"]
    assert container.gpus == 4
    (job,) = runtime["template"]["spec"]["replicatedJobs"]
    pod = job["template"]["spec"]["template"]["spec"]
    assert [toleration["key"] for toleration in pod["tolerations"]] == ["nvidia.com/gpu", "spot"]
    template = document.experiment.spec.trial_template
    assert template.primary_container_name == job["name"] == pod["containers"][0]["name"] == "node"
    assert template.primary_pod_labels["batch.kubernetes.io/job-completion-index"] == "0"


def lost(made: Any, typed: Any, path: str = "") -> list[str]:
    """What Trainer's own types do not know."""
    if isinstance(made, dict):
        return [text for key, value in made.items() for text in lost(value, (typed or {}).get(key), f"{path}.{key}")]
    if isinstance(made, list):
        pairs = zip(made, typed or [None] * len(made), strict=True)
        return [text for index, pair in enumerate(pairs) for text in lost(*pair, f"{path}[{index}]")]
    return [] if made == typed else [path]


@pytest.mark.parametrize("store", ["/experiments", "s3://bucket/runs"])
def test_trainers_types_know_every_field(store: str) -> None:
    cluster = Cluster(nodes=3, store=store, queue="q", priority_class="low", retries=2, gpu_type="NVIDIA-H200")
    job = {**train_job(cluster, "runtime", 2, ["python"], {"A": "1"}), "metadata": {"name": "job"}}
    for made, model in (
        (training_runtime(cluster, "runtime"), TrainerV1alpha1TrainingRuntime),
        (job, TrainerV1alpha1TrainJob),
    ):
        assert lost(made, model.from_dict(made).to_dict()) == []
    misspelled = {**job, "spec": {**job["spec"], "sustend": True}}
    assert lost(misspelled, TrainerV1alpha1TrainJob.from_dict(misspelled).to_dict()) == [".spec.sustend"]


def test_values_of_variables_are_taken_as_they_are() -> None:
    job = train_job(Cluster(nodes=2), "runtime", 1, ["python"], {"A": "$(HOME) $HOME"})
    assert job["spec"]["trainer"]["env"] == [{"name": "A", "value": "$$(HOME) $HOME"}]


def test_what_ends_a_machine_ends_all_and_only_failures_count() -> None:
    spec = training_runtime(Cluster(nodes=2, retries=3), "runtime")["spec"]["template"]["spec"]
    (job,) = spec["replicatedJobs"]
    assert job["template"]["spec"]["backoffLimit"] == 0
    assert {rule["action"] for rule in job["template"]["spec"]["podFailurePolicy"]["rules"]} == {"FailJob"}
    assert spec["failurePolicy"]["maxRestarts"] == 3
    assert spec["failurePolicy"]["rules"][0]["onJobFailureReasons"] == ["PodFailurePolicy"]


def test_the_local_engine_runs_it(document: StudyDocument, tmp_path: Path) -> None:
    metric = document.experiment.spec.objective.objective_metric_name
    command = f"grep -q seed: /etc/receipt-counter/config.yaml && echo {metric}=0.5"
    words = ["${trialParameters.variant}", "${trialParameters.seed}"]
    document.experiment.spec.trial_template.trial_spec["spec"]["trainer"]["command"] = ["sh", "-c", command, *words]
    result = LocalEngine(1).run(document, tmp_path / "store")
    assert [(trial.status, trial.objective) for trial in result.trials] == [(SUCCEEDED, 0.5)] * 2


def test_the_local_engine_tries_again_as_often_as_the_cluster(tmp_path: Path) -> None:
    document = planned(tmp_path, "cluster.nodes=2", "cluster.retries=2").document
    words = ["${trialParameters.variant}", "${trialParameters.seed}"]
    document.experiment.spec.trial_template.trial_spec["spec"]["trainer"]["command"] = ["sh", "-c", "exit 1", *words]
    with pytest.raises(SweepFailedError):
        LocalEngine(1).run(document, tmp_path / "store")
    records = [read_json(file) for file in (tmp_path / "store").glob("studies/*/trials/*/trial.json")]
    assert {record["attempts"] for record in records} == {3}


def test_on_a_cluster_the_runtime_goes_with_the_experiment(
    document: StudyDocument, server: ClusterServer, tmp_path: Path
) -> None:
    metric = document.experiment.spec.objective.objective_metric_name
    katib = Katib(server)

    def tick(seconds: float) -> None:
        katib.tick()
        for trial in server.of("trials"):
            for observed in trial["status"].get("observation", {}).get("metrics", []):
                observed["name"] = metric

    engine = KatibEngine(sleep=tick, interval=5.0)
    result = engine.run(document, tmp_path / "store")
    assert len(result.trials) == 2
    (experiment,), (runtime,), (files,) = map(server.of, ("experiments", "trainingruntimes", "configmaps"))
    name = runtime["metadata"]["name"]
    assert name.endswith(result.study_id[-9:])
    assert experiment["spec"]["trialTemplate"]["trialSpec"]["spec"]["runtimeRef"]["name"] == name
    (job,) = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    volumes = job["template"]["spec"]["template"]["spec"]["volumes"]
    assert volumes[0]["configMap"]["name"] == files["metadata"]["name"]
    server.delete(next(key for key in server.objects if key[0] == "experiments"))
    assert server.of("trainingruntimes") == server.of("configmaps") == []
