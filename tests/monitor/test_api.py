"""The API on a folder with a plausible run: what it answers, and that OpenAPI says so."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from receipt_counter.config.loading import to_yaml
from receipt_counter.data.dataset import Dataset
from receipt_counter.monitor import run_watcher, schemas, study_schemas
from receipt_counter.monitor.catalogue import open_catalogue
from receipt_counter.monitor.monitor import Monitor
from receipt_counter.monitor.source import LocalSource
from receipt_counter.monitor.telemetry import Durations, exposition
from tests.monitor.support import scalar, until, watching, write_events, write_record
from tests.report.fabricate import CONFIG, fabricate_run, record
from tests.support import small_config, write_squares

MODELS = {
    "/api/experiments": schemas.Experiments,
    "/api/experiments/good": schemas.ExperimentDetail,
    "/api/experiments/good/metrics": schemas.Metrics,
    "/api/experiments/good/summary": schemas.Summary,
    "/api/experiments/good/confusion": schemas.Confusion,
    "/api/experiments/good/confusion?split=val": schemas.Confusion,
    "/api/experiments/good/slices": schemas.Slices,
    "/api/experiments/good/mistakes?kind=count": schemas.Mistakes,
    "/api/experiments/good/log": schemas.Log,
    "/api/compare?ids=good,bad,live,missing": schemas.Comparison,
    "/api/studies": study_schemas.Studies,
    "/api/report": schemas.Report,
    "/healthz": schemas.Health,
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_squares(tmp_path_factory.mktemp("data") / "squares", {"train": 8, "test": 8})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, dataset: Dataset) -> Path:
    """A good run, a failed one with the same config but its learning rate, and one that trains."""
    root = tmp_path_factory.mktemp("experiments")
    runs = root / "runs"
    good = fabricate_run(runs / "good")
    for name in ("bad", "live"):
        write_record(runs / name, status="failed" if name == "bad" else "running", seed=7, started="2026-03-02")
        rate = CONFIG.training.learning_rate * 2
        changed = to_yaml(CONFIG).replace(f"learning_rate: {CONFIG.training.learning_rate}", f"learning_rate: {rate}")
        (runs / name / "config.yaml").write_text(changed)
    error = {"message": "out of memory\nreally", "log": ["first", "last"]}
    write_record(runs / "bad", status="failed", error=error, seed=7, started="2026-03-02")
    losses = [scalar("train_total_loss", step, 1 / step, 100 + step) for step in range(1, 9)]
    write_events(runs / "live", b"".join(losses))
    write_record(good, **record(metrics={"classification_accuracy": 0.9}, lineage=lineage(dataset)))
    (good / "config.yaml").write_text(to_yaml(small_config(f"data.path={dataset.path}")))
    return root


def lineage(dataset: Dataset) -> dict[str, Any]:
    return {"data_fingerprint": dataset.fingerprint, "code_version": "0.1.0+x", "study": None}


@pytest.fixture(scope="module")
def watched(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Monitor, TestClient]]:
    with watching(folder, tmp_path_factory.mktemp("cache")) as found:
        yield found


@pytest.fixture(scope="module")
def client(watched: tuple[Monitor, TestClient]) -> TestClient:
    return watched[1]


@pytest.mark.parametrize("path", MODELS)
def test_answers_are_what_openapi_says(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    MODELS[path].model_validate(answer.json(), strict=True)
    assert answer.headers["cache-control"] == "no-store"


def test_openapi_describes_every_address(client: TestClient) -> None:
    described = client.get("/openapi.json").json()
    for path, operations in described["paths"].items():
        assert list(operations) == ["get"], path
        assert operations["get"]["description"], path
        assert operations["get"]["responses"]["200"]["content"], path
    fields = [
        (name, field, part)
        for name, model in described["components"]["schemas"].items()
        for field, part in model.get("properties", {}).items()
    ]
    assert len(fields) > 100


def test_failures_come_first_and_filters_leave_what_fits(client: TestClient) -> None:
    def ids(query: str) -> list[str]:
        return [one["id"] for one in client.get(f"/api/experiments{query}").json()["experiments"]]

    assert ids("") == ["bad", "live", "good"]
    assert ids("?status=finished,failed") == ["bad", "good"]
    assert ids("?q=OUT+memory") == ["bad"]
    assert ids("?sort=classification_accuracy")[0] == "good"  # what has no value comes last
    assert ids("?sort=started&order=desc")[-1] == "good"
    assert ids("?study=none") == []
    assert client.get("/api/experiments?order=sideways").status_code == 422


def test_progress_and_speed_of_a_run_that_trains(client: TestClient) -> None:
    live = client.get("/api/experiments/live").json()
    assert live["status"] == "running"
    assert live["progress"]["step"] == 8
    assert live["progress"]["fraction"] > 0
    assert live["eta_seconds"] > 8  # a second a step


def test_config_beside_the_preset_it_came_from(client: TestClient) -> None:
    bad = client.get("/api/experiments/bad").json()
    assert bad["preset"] == "laptop"
    differing = {key["key"]: (key["value"], key["default"]) for key in bad["config"] if key["differs"]}
    rate = CONFIG.training.learning_rate
    assert differing == {"training.learning_rate": (2 * rate, rate)}
    assert bad["failure"] == {"message": "out of memory\nreally", "log": []}
    assert bad["error"] == "out of memory really"
    assert client.get("/api/experiments/bad/log?lines=1").json()["lines"] == ["last"]


def test_stages_and_epochs_of_a_run(client: TestClient) -> None:
    good = client.get("/api/experiments/good").json()
    assert [(start["stage"], start["epoch"]) for start in good["stages"]] == [(1, 1), (2, 2), (3, 6)]
    assert len(good["epoch_steps"]) == 12
    assert good["splits"] == ["test", "val"]


def test_a_range_is_thinned_from_all_points(client: TestClient) -> None:
    address = "/api/experiments/good/metrics?tags=train_total_loss,learning_rate_*"
    whole = client.get(f"{address}&points=20").json()["tags"]
    assert "learning_rate_head" in whole
    assert "val_total_loss" not in whole
    assert 4 < len(whole["train_total_loss"]["step"]) <= 20 < whole["train_total_loss"]["total"]
    part = client.get(f"{address}&points=1000&from=100&to=200").json()["tags"]["train_total_loss"]
    assert part["step"] == list(range(100, 201, 10))
    assert part["total"] == 11


def test_runs_side_by_side(client: TestClient) -> None:
    compared = client.get("/api/compare?ids=good,bad,live,missing&tags=train_total_loss").json()
    assert compared["missing"] == ["missing"]
    assert compared["higher_is_better"]["classification_accuracy"]
    assert not compared["higher_is_better"]["classification_off_by_one"]
    assert set(compared["curves"]["train_total_loss"]) == {"good", "live"}
    rates = next(d for d in compared["config_diff"] if d["key"] == "training.learning_rate")
    assert rates["values"]["bad"] == rates["values"]["live"] != rates["values"]["good"]
    assert compared["metrics"]["classification_accuracy"]["good"]["low"] < 1


def test_a_range_of_runs_side_by_side_is_thinned_from_all_points(client: TestClient) -> None:
    address = "/api/compare?ids=good,live&tags=train_total_loss&points=20"
    whole = client.get(address).json()["curves"]["train_total_loss"]
    assert set(whole) == {"good", "live"}
    part = client.get(f"{address}&from=100&to=200").json()
    assert part["curves"]["train_total_loss"].keys() == {"good"}, "the other one has no points there"
    assert part["curves"]["train_total_loss"]["good"]["step"] == list(range(100, 201, 10))
    (band,) = part["groups"]["train_total_loss"].values()
    assert band["step"] == list(range(100, 201, 10))
    assert "learning_rate_head" in part["tags"], "of all of them, whatever is drawn"


def test_the_gallery_shows_the_datasets_pictures_and_no_others(
    watched: tuple[Monitor, TestClient], folder: Path
) -> None:
    _, client = watched
    page = client.get("/api/experiments/good/mistakes?kind=all&limit=2&offset=1").json()
    assert page["total"] > 2
    assert len(page["mistakes"]) == 2
    shown = client.get("/" + page["mistakes"][0]["thumbnail"])
    assert (shown.status_code, shown.headers["content-type"]) == (200, "image/jpeg")
    own = client.get("/api/experiments/good/images/test/test-000003")
    assert (own.status_code, own.headers["content-type"]) == (200, "image/jpeg")
    assert client.get("/api/experiments/good/images/test/test-000099").status_code == 404
    for kept in (folder / "runs" / "good" / "evaluation" / "test" / "mistakes").iterdir():
        kept.unlink()
    whole = client.get("/api/experiments/good/mistakes?kind=all&limit=200").json()
    assert {one["image"] for one in whole["mistakes"]} == {None}, "the dataset does not have these either"
    assert "Some pictures are not here" in whole["note"]
    assert whole["fetching"] is False
    assert client.get("/api/experiments/live/images/test/test-000003").status_code == 404


def test_prometheus_reads_what_it_says(client: TestClient) -> None:
    client.get("/api/experiments")
    text = client.get("/metrics").text
    assert 'receipt_counter_monitor_runs{status="failed"} 1' in text
    assert 'request_duration_seconds_count{route="/api/experiments",status="200"}' in text


def test_the_report_has_the_documents_keys(client: TestClient) -> None:
    report = client.get("/api/report").json()
    assert {"generated_at", "experiments", "experiment_data", "comparison"} <= report.keys()
    assert {"experiments", "metrics", "best"} <= report["comparison"].keys()
    assert report["comparison"]["best"]["classification_accuracy"] == {"experiment": "good", "value": 0.9}


def test_a_restart_is_warm_and_knows_what_changed_meanwhile(folder: Path, tmp_path: Path) -> None:
    with watching(folder, tmp_path) as (monitor, _):
        before = {name: run.index.points for name, run in monitor.runs.items()}
    write_record(folder / "runs" / "new")
    with watching(folder, tmp_path) as (monitor, client):
        assert {name: run.index.points for name, run in monitor.runs.items()} == {**before, "new": 0}
        (folder / "runs" / "new" / "run.json").unlink()
        until(lambda: "new" not in monitor.runs)
        assert client.get("/api/experiments/new").status_code == 404


def test_a_damaged_cache_is_made_again(folder: Path, tmp_path: Path) -> None:
    with watching(folder, tmp_path) as (monitor, _):
        before = {name: run.index.points for name, run in monitor.runs.items()}
    for points in tmp_path.rglob("*.points"):
        points.write_bytes(b"")
    (tmp_path / "0" / "catalogue.sqlite").write_bytes(b"no database" * 1000)
    with watching(folder, tmp_path) as (monitor, _):
        assert {name: run.index.points for name, run in monitor.runs.items()} == before


def test_two_monitors_of_a_folder_do_not_disturb_each_other(folder: Path, tmp_path: Path) -> None:
    with watching(folder, tmp_path) as (first, _), watching(folder, tmp_path) as (second, _):
        assert {n: r.index.points for n, r in first.runs.items()} == {n: r.index.points for n, r in second.runs.items()}


def test_a_folder_that_vanishes_is_said_once_and_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tmp_path / "experiments"
    write_record(root / "runs" / "one")
    with watching(root, tmp_path / "cache") as (monitor, client):
        root.rename(tmp_path / "away")
        until(lambda: monitor.problem)
        looks = monitor.scans
        until(lambda: monitor.scans > looks + 2)
        assert [entry.message for entry in caplog.records if "No such file" in entry.message] == [monitor.problem]
        assert client.get("/healthz").status_code == 503
        assert [one["id"] for one in client.get("/api/experiments").json()["experiments"]] == ["one"]
        (tmp_path / "away").rename(root)
        until(lambda: monitor.problem is None)
        assert client.get("/healthz").status_code == 200


def test_json_never_holds_what_json_does_not_have(tmp_path: Path) -> None:
    root = tmp_path / "experiments"
    write_record(root / "runs" / "one")
    write_events(root / "runs" / "one", b"".join(scalar("loss", step, v) for step, v in enumerate([1.0, float("nan")])))
    with watching(root, tmp_path / "cache") as (_, client):
        text = client.get("/api/experiments/one/metrics").text
        assert json.loads(text, parse_constant=pytest.fail)["tags"]["loss"]["value"] == [1.0, None]


def test_a_run_that_goes_at_the_instant_of_a_look_takes_no_others_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "experiments"
    for name in ("one", "two"):
        write_record(root / "runs" / name)
    real, met = run_watcher.stamp, run_watcher.RunWatcher._meet

    def vanishing(path: Path) -> Any:
        if path.name == "two":
            shutil.rmtree(path, ignore_errors=True)
        return real(path)

    with watching(root, tmp_path / "cache") as (monitor, _):
        seen = []
        monkeypatch.setattr(run_watcher.RunWatcher, "_meet", lambda *given: (seen.append(given[1]), met(*given))[1])
        monkeypatch.setattr(run_watcher, "stamp", vanishing)
        until(lambda: set(monitor.runs) == {"one"})
        assert "one" not in seen, "no run was forgotten and met again"


def test_a_report_of_runs_that_go_meanwhile(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with watching(folder, tmp_path) as (monitor, client):
        whole, gone = monitor.runs, iter([monitor.runs])
        monkeypatch.setattr(Monitor, "runs", property(lambda self: next(gone, {})))
        assert set(client.get("/api/report").json()["experiments"]) == set(whole)


def test_before_the_first_look_nothing_lags(tmp_path: Path) -> None:
    with open_catalogue(tmp_path / "cache") as catalogue:
        text = exposition(Monitor(LocalSource(str(tmp_path)), catalogue), Durations())
    (lag,) = (line for line in text.splitlines() if line.startswith("receipt_counter_monitor_scan_lag_seconds"))
    assert float(lag.split()[1]) < 60


def test_a_number_in_the_cache_is_never_given_again(tmp_path: Path) -> None:
    """A worker may still be writing what bears it."""
    with open_catalogue(tmp_path) as catalogue:
        first = catalogue.save("run", "one", None)
        catalogue.forget("run", "one", first)
        assert catalogue.save("run", "two", None) > first
