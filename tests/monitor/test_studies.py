"""Studies while their trials end: analysed and drawn by what draws their reports, without a word written into them."""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from receipt_counter.config.loading import to_yaml
from receipt_counter.katib.experiment import write_document
from receipt_counter.storage.files import read_json, write_json
from receipt_counter.storage.store import run_id
from receipt_counter.storage.versions import code_version
from receipt_counter.study.compile import ablation_document
from receipt_counter.study.runs import with_seed
from receipt_counter.study.settings import StudySettings
from receipt_counter.study.variants import BASELINE, Variant
from tests.monitor.support import until, watching, write_record
from tests.report.fabricate import CONFIG, fabricate_run

STUDY, SEEDS = "ablation-1a2b3c4d", (1, 2)
VARIANTS = {
    BASELINE: Variant(BASELINE, {}),
    "no_counting": Variant("no_counting", {"training.loss_weights.classification": 0.0}, "loss_weights"),
}
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
