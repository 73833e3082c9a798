"""Studies while their trials end: analysed and drawn by what draws their reports, without a word written into them."""

from __future__ import annotations

import os
import shutil
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from receipt_counter.config.loading import to_yaml
from receipt_counter.errors import UserError
from receipt_counter.katib.experiment import read_document, write_document
from receipt_counter.monitor import study_jobs, study_watcher
from receipt_counter.monitor.catalogue import open_catalogue
from receipt_counter.storage.files import read_json, write_json
from receipt_counter.storage.store import run_id
from receipt_counter.storage.versions import code_version
from receipt_counter.study.compile import ablation_document
from receipt_counter.study.documents import study_files, study_settings
from receipt_counter.study.runs import with_seed
from receipt_counter.study.settings import StudySettings
from receipt_counter.study.variants import BASELINE, Variant
from tests.monitor import bad_jobs
from tests.monitor.support import until, watching, write_record
from tests.report.fabricate import CONFIG, fabricate_run

STUDY, SEEDS = "ablation-1a2b3c4d", (1, 2)
VARIANTS = {
    BASELINE: Variant(BASELINE, {}),
    "no_counting": Variant("no_counting", {"training.loss_weights.classification": 0.0}, "loss_weights"),
}
FOREIGN = """
apiVersion: kubeflow.org/v1beta1
kind: Experiment
metadata: {name: foreign}
spec:
  objective: {type: minimize, objectiveMetricName: loss}
  algorithm: {algorithmName: random}
  parameters:
  - {name: lr, parameterType: double, feasibleSpace: {min: "0.01", max: "0.03"}}
  trialTemplate:
    trialParameters: [{name: lr, reference: lr}]
    trialSpec: {apiVersion: batch/v1, kind: Job, spec: {template: {spec: {containers: [{name: one}]}}}}
"""
HEADER = "trial,status,seed,variant,classification_accuracy,attempts,started,ended,seconds,message\n"


class Study:
    """An ablation whose trials end one by one."""

    def __init__(self, root: Path) -> None:
        self.root, self.directory = root, root / "studies" / STUDY
        settings = StudySettings(base_name="ablation", seeds=SEEDS)
        document = ablation_document(settings, list(VARIANTS.values()), CONFIG, "laptop", "analysis")
        self.directory.mkdir(parents=True)
        write_document(document, self.directory / "experiment.yaml")
        self.rows = ""

    def end(self, variant: str, seed: int) -> str:
        """End a trial; the id of its run."""
        config = with_seed(VARIANTS[variant].apply(CONFIG), seed)
        name, trial = run_id(config, "data", code_version()), f"ablation-{variant}-{seed}"
        run = self.root.with_name("staging") / name
        lineage = {"study": STUDY, "trial": trial, "data_fingerprint": "data", "code_version": code_version()}
        fabricate_run(run, splits=("analysis",), skill=0.9)
        (run / "config.yaml").write_text(to_yaml(config))
        write_record(run, **{**read_json(run / "run.json"), "run_id": name, "seed": seed, "lineage": lineage})
        (self.root / "runs").mkdir(exist_ok=True)
        run.rename(self.root / "runs" / name)
        self.add_row(f"{trial},succeeded,{seed},{variant},0.9,1,2026-03-01T10:00:00,2026-03-01T10:01:00,60.0,")
        write_json(self.directory / "trials" / trial / "trial.json", {"log": []})
        return name

    def add_row(self, row: str) -> None:
        self.rows += row + "\n"
        temporary = self.directory / ".trials.tmp"
        temporary.write_text(HEADER + self.rows)
        temporary.rename(self.directory / "trials.csv")


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Study, TestClient]]:
    study = Study(tmp_path_factory.mktemp("experiments"))
    with watching(study.root, tmp_path_factory.mktemp("cache")) as (_, client):
        yield study, client


def settled(client: TestClient, part: str = "") -> Any:
    """The study once no newer analysis is on its way."""

    def current() -> Any:
        found = client.get(f"/api/studies/{STUDY}{part}")
        state = "state" if part else "analysis_state"
        return found.json() if found.status_code == 200 and found.json()[state] != "computing" else None

    return until(current, 60)


def test_a_study_is_live_from_its_first_trial_to_its_report(watched: tuple[Study, TestClient]) -> None:
    study, client = watched
    begun = settled(client)
    assert begun["analysis_state"] == "unavailable"
    assert "none of its runs has begun yet" in begun["analysis_problem"]
    assert begun["plan"]["variants"][1]["changes"] == "training.loss_weights.classification=0"
    assert begun["progress"] == {"done": 0, "total": 4, "running": 0, "failed": 0, "fraction": 0.0}

    baseline = [study.end(BASELINE, seed) for seed in SEEDS]
    other = study.end("no_counting", 1)
    (study.directory / "trials" / "ablation-no_counting-2").mkdir()
    live = until(lambda: found if (found := settled(client))["progress"]["running"] == 1 else None)
    assert live["analysis_state"] == "live"
    assert live["kind"] == "ablation"
    assert live["progress"]["done"] == 3
    assert any("no_counting" in sentence for sentence in live["findings"])
    assert sorted(live["experiments"]) == sorted([*baseline, other])
    assert live["trials"][0]["experiments"] == [baseline[0]]
    assert live["trials"][0]["parameters"] == {"seed": "1", "variant": BASELINE}
    figures = settled(client, "/figures")["figures"]
    assert {"forest:classification_accuracy", "tornado", "curves:1", "slices"} <= figures.keys()
    assert figures["tornado"]["data"]

    study.add_row(
        "ablation-no_counting-2,failed,2,no_counting,,3,2026-03-01T10:00:00,2026-03-01T10:01:00,60.0,no memory"
    )
    ended = until(lambda: found if (found := settled(client))["progress"]["failed"] else None)
    assert [trial["message"] for trial in ended["failures"]] == ["no memory"]
    assert ended["progress"]["running"] == 0

    write_json(study.directory / "analysis.json", {**ended["analysis"], "findings": ["The last word."]})
    write_json(study.directory / "sweep.json", {"outcome": "MAX_TRIALS"})
    final = until(lambda: found if (found := settled(client))["status"] == "finished" else None)
    assert final["analysis_state"] == "final"
    assert final["findings"] == ["The last word."]


def test_runs_know_their_variant_and_what_differs_from_the_baseline(watched: tuple[Study, TestClient]) -> None:
    _, client = watched
    runs = {(r["variant"], r["seed"]): r for r in client.get(f"/api/experiments?study={STUDY}").json()["experiments"]}
    assert set(runs) == {(BASELINE, 1), (BASELINE, 2), ("no_counting", 1)}
    changed = client.get(f"/api/experiments/{runs['no_counting', 1]['id']}").json()
    differing = [(key["key"], key["value"], key["baseline"]) for key in changed["config"] if key["differs"]]
    assert differing == [("training.loss_weights.classification", 0.0, 1.0)]
    ids = urllib.parse.quote(",".join(run["id"] for run in runs.values()))
    groups = client.get(f"/api/compare?ids={ids}&tags=val_total_loss").json()["groups"]["val_total_loss"]
    assert {name: band["n"] for name, band in groups.items()} == {BASELINE: 2, "no_counting": 1}
    assert client.get(f"/api/compare?ids={ids}&group=none").json()["groups"] == {}


def test_nothing_is_written_into_the_study(watched: tuple[Study, TestClient]) -> None:
    study, _ = watched
    names = {path.name for path in study.directory.iterdir()}
    assert names == {"experiment.yaml", "trials.csv", "trials", "analysis.json", "sweep.json"}


def test_an_analysis_that_does_not_end_is_stopped_and_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, names = tmp_path / "experiments", ("endless", "other", STUDY)
    for name in names:
        shutil.copytree(Study(tmp_path / name).directory, root / "studies" / name)
    with watching(root, tmp_path / "cache") as (monitor, client):
        until(lambda: all(study.plan for study in monitor.studies.values()) and len(monitor.studies) == 3, 60)
        monkeypatch.setattr(study_watcher, "JOB_SECONDS", 4.0)
        monkeypatch.setattr(study_jobs, "analyse_study", bad_jobs.analyse_study)

        def ask(name: str) -> dict[str, Any]:
            found: dict[str, Any] = client.get(f"/api/studies/{name}").json()
            return found

        assert [ask(name)["analysis_state"] for name in names] == 3 * ["computing"]
        until(lambda: all(ask(name)["analysis_state"] != "computing" for name in names), 90)
        said = {name: ask(name)["analysis_problem"] for name in names}
        assert said.pop("endless") == "Its analysis took too long: it was stopped after 4 seconds"
        assert set(said.values()) == {"nothing yet"}
        before = monitor.version
        (root / "studies" / "endless" / "trials.csv").write_text(HEADER)
        until(lambda: monitor.version > before)
        assert ask("endless")["analysis_state"] == "unavailable", "it rests, others come first"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({}, None),
        ({"parallelism:": "job:\n      image: x\n    parallelism:"}, None),
        ({"    seed: 42": "    seed: 42\n    no_such_key: 1"}, "no_such_key"),
        ({"receipt-counter/split: val": "receipt-counter/other: val"}, None),
    ],
    ids=["of this version", "with older settings", "with another config", "without a split"],
)
def test_a_search_of_another_version_is_a_search(tmp_path: Path, change: dict[str, str], problem: str | None) -> None:
    study = tmp_path / "studies" / "search"
    study.mkdir(parents=True)
    text = (Path(__file__).parents[2] / "manifests" / "katib" / "hyperparameter.yaml").read_text()
    for old, new in change.items():
        assert old in text
        text = text.replace(old, new, 1)
    (study / "experiment.yaml").write_text(text)
    plan = study_jobs.read_plan(tmp_path, study)
    assert (plan["kind"], plan["seeds"], len(plan["parameters"])) == ("hyperparameter", [42, 43], 7)
    assert (problem in plan["problem"]) if problem else plan["problem"] is None
    assert bool(plan["base"]) == (problem is None)
    if "parallelism:" in change:
        with pytest.raises(UserError, match=r"study.yaml: job.image: no setting of this version"):
            study_settings(study_files(read_document(study / "experiment.yaml")))


def test_somebody_elses_experiment_is_a_search(tmp_path: Path) -> None:
    study = tmp_path / "studies" / "foreign"
    study.mkdir(parents=True)
    (study / "experiment.yaml").write_text(FOREIGN)
    plan = study_jobs.read_plan(tmp_path, study)
    assert (plan["kind"], plan["objective"], plan["base"]) == ("hyperparameter", "loss", {})


def test_why_a_plan_cannot_be_read_stays_said(tmp_path: Path) -> None:
    """While trials end, and after the monitor began anew."""
    root = tmp_path / "experiments"
    study = root / "studies" / "broken"
    study.mkdir(parents=True)
    (study / "experiment.yaml").write_text("[]")

    def error(client: TestClient) -> str:
        return str(client.get("/api/studies/broken").json().get("error"))

    with watching(root, tmp_path / "cache") as (monitor, client):
        until(lambda: "must be a Kubernetes object" in error(client), 60)
        (study / "trials.csv").write_text("trial,status\none,failed\n")
        until(lambda: monitor.studies["broken"].rows)
        assert "must be a Kubernetes object" in error(client)
    with watching(root, tmp_path / "cache") as (monitor, client):
        until(lambda: monitor.studies)
        assert "must be a Kubernetes object" in error(client)


def test_a_study_that_goes_leaves_nothing_in_the_cache(tmp_path: Path) -> None:
    study = Study(tmp_path / "experiments")
    with watching(study.root, tmp_path / "cache") as (monitor, client):
        until(lambda: monitor.studies)
        settled(client)
        assert list((tmp_path / "cache").rglob("studies/*.json"))
        shutil.rmtree(study.directory)
        until(lambda: not monitor.studies)
    assert not list((tmp_path / "cache").rglob("studies/*.json"))
    with open_catalogue(tmp_path / "cache") as catalogue:
        assert catalogue.load("study") == {}


def test_an_analysis_is_final_whatever_the_clock_says_of_its_file(tmp_path: Path) -> None:
    """As after a copy, or from a store whose objects come one after the other."""
    study = Study(tmp_path / "experiments")
    study.add_row("a,succeeded,1,baseline,0.9,1,,,60.0,")
    analysis = {"kind": "ablation", "failures": {"counts": {"succeeded": 1}}}
    write_json(study.directory / "analysis.json", analysis)
    os.utime(study.directory / "analysis.json", (1e9, 1e9))
    assert study_jobs._final_analysis(study.root, study.directory) == analysis
    study.add_row("b,succeeded,2,baseline,0.9,1,,,60.0,")
    assert study_jobs._final_analysis(study.root, study.directory) is None


def test_an_analysis_that_cannot_be_drawn_is_shown_without_its_figures(tmp_path: Path) -> None:
    study = Study(tmp_path / "experiments")
    write_json(study.directory / "analysis.json", {"kind": "ablation", "findings": ["One."], "priority_metrics": []})
    assert study_jobs.analyse_study(study.root, study.directory, tmp_path / "results.json") == "final"
    found = study_jobs.read_results(tmp_path / "results.json")
    assert found["problem"].startswith("Not all figures can be drawn: IndexError")
    assert found["analysis"]["findings"] == ["One."]
