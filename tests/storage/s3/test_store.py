"""All that takes a store takes one of objects: pipelines and studies, the registry, doctor, TensorBoard's mirror."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from receipt_counter.cli.main import main
from receipt_counter.data.dataset import Dataset
from receipt_counter.promotion.decision import QUALITY
from receipt_counter.storage.manifest import MANIFEST, verify
from receipt_counter.storage.pusher import Pusher, push
from receipt_counter.storage.sync import locate, mirror_of, open_mirror, place_of
from tests.storage.s3.conftest import PROJECT, SECRET, another_machine
from tests.storage.s3.proxy import Proxy
from tests.storage.s3.test_sync import points, write_checkpoint, write_events
from tests.support import SMALL, write_squares

STUDY = """
base_name: tiny_ablation
seeds: [42, 43]
families: {loss_weights: {no_counting: {training.loss_weights.classification: 0}}}
"""
TINY = (
    *SMALL,
    "training.epochs=1",
    "training.schedule.epochs=1",
    "training.three_stage.enabled=false",
    *(f"gates.{name}.minimum=0" for name in QUALITY),
)


def ours(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "receipt_counter", *arguments]
    variables = {**os.environ, "PYTHONPATH": str(PROJECT), "COLUMNS": "200", "NO_COLOR": "1"}
    return subprocess.run(command, env=variables, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=800)


def handed_on(root: Path) -> dict[str, str]:
    """Where the artifacts of pipelines' steps are, by their names; no file that is kept holds the secret."""
    for path in [*(root / "logs").iterdir(), *(root / "pipeline").rglob("*.json")]:
        assert SECRET not in path.read_text()
    outputs = [json.loads(path.read_text()) for path in (root / "pipeline").rglob("executor_output.json")]
    return {
        name: artifact["metadata"]["location"]
        for output in outputs
        for name, found in output.get("artifacts", {}).items()
        for artifact in found["artifacts"]
        if "location" in artifact["metadata"]
    }


def study_on_one_machine(url: str, data: str, study: Path, options: list[str]) -> dict[str, str]:
    """A run and an ablation as pipelines, and what their steps handed on."""
    single = ours("run", "--mode=single", *options)
    assert single.returncode == 0, single.stderr
    ablation = ours("run", "--mode=ablation", f"--ablation-config={study}", *options)
    assert ablation.returncode == 0, ablation.stderr
    assert SECRET not in single.stdout + single.stderr + ablation.stdout + ablation.stderr
    here = open_mirror(url)
    uris = handed_on(here.root)
    assert uris["dataset"] == data
    assert uris["run"].startswith(f"{url}/runs/")
    assert uris["study"].startswith(f"{url}/studies/tiny-ablation-")
    assert uris["evaluation"] == f"{uris['run']}/evaluation/test"
    assert len(here.bucket.folders("runs/")) == 4  # the single run is the baseline's with its seed
    assert f"run     {uris['run']}" in single.stdout
    return uris


def test_a_study_and_its_runs_are_everybodys(
    environment: dict[str, str],
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Run as pipelines on one machine; compared, drawn, promoted and asked on another that has nothing."""
    data = f"{url}-data/squares"
    made = write_squares(place_of(data), {"train": 24, "analysis": 60, "test": 60})
    push(made.path)
    (tmp_path / "ablation.yaml").write_text(STUDY)
    options = [f"--store={url}", f"--data={data}", "--preset=laptop", *(f"--set={text}" for text in TINY)]
    uris = study_on_one_machine(url, data, tmp_path / "ablation.yaml", options)
    here = open_mirror(url)
    there = another_machine(url, tmp_path / "elsewhere", monkeypatch)

    def said(*arguments: str) -> str:
        status = main([*arguments, f"--store={url}"])
        captured = capsys.readouterr()
        assert status == 0, captured.err
        return captured.out

    analysis = json.loads((here.root / "studies" / Path(uris["study"]).name / "analysis.json").read_text())
    said("compare", "tiny_ablation")
    study = there.root / "studies" / Path(uris["study"]).name
    assert json.loads((study / "analysis.json").read_text()) == analysis
    assert not list(there.root.rglob("checkpoints/*"))
    run = Path(uris["run"]).name
    assert said("report", run).strip() == str(there.root / "runs" / run / "report.html")
    assert "tiny-ablation" in said("report", "tiny-ablation")
    assert not list(there.root.rglob("*.safetensors"))
    assert "receipt-counter/1" in said("promote", run)
    assert there.bucket.read("models/receipt-counter/CURRENT") == b"1\n"

    third = another_machine(url, tmp_path / "third", monkeypatch)
    assert run in said("models")
    assert not list(third.root.rglob("*.safetensors"))
    photo = str(made.examples("test")[0].image)
    assert json.loads(said("predict", photo, "--json"))["image"] == photo
    assert verify(third.root / "models" / "receipt-counter" / "1") is None
    assert json.loads(said("predict", "--model", uris["run"], photo, "--json"))["image"] == photo
    assert "already" in said("promote", run) or "is the current version" in said("promote", run)
    assert "of device time" in said(
        "plan", "--mode=ablation", f"--ablation-config={tmp_path / 'ablation.yaml'}", *options[1:]
    )
    # a version without its manifest is none
    there.bucket.delete([f"models/receipt-counter/1/{MANIFEST}"])
    another_machine(url, tmp_path / "fourth", monkeypatch)
    assert main(["predict", photo, f"--store={url}"]) != 0


def test_a_finished_study_is_nothing_to_do_elsewhere_and_a_busy_one_is_refused(
    environment: dict[str, str], url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from receipt_counter.engines.journal import Journal
    from receipt_counter.errors import UserError

    def journal() -> Journal:
        return Journal(place_of(f"{url}/studies/search-1"), ["rate"], {"accuracy": "latest"})

    monkeypatch.setenv("RECEIPT_COUNTER_HEARTBEAT_SECONDS", "0.3")
    with journal().lock():
        (place_of(f"{url}/studies/search-1") / "trials.csv").write_text("trial\n")
        another_machine(url, tmp_path / "other", monkeypatch)
        with pytest.raises(UserError, match=r"studies/search-1: .* is working on it"), journal().lock():
            pass
        monkeypatch.setenv("RECEIPT_COUNTER_SCRATCH", environment["RECEIPT_COUNTER_SCRATCH"])
        journal().write_outcome({"outcome": "max-trials", "max_trials": 3})
    another_machine(url, tmp_path / "third", monkeypatch)
    with journal().lock():
        assert journal().finished({"max_trials": 3}) == "max-trials"
        assert (journal().directory / "trials.csv").read_text() == "trial\n"


def test_imported_data_goes_to_the_store(
    environment: dict[str, str],
    url: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes = ("train", "val", "analysis", "test")
    few = [f"--set=data.render.{split}_images=4" for split in sizes]
    assert main(["data", "render", "--output", f"{url}/mine", "--preset=laptop", "--set=data.image_size=64", *few]) == 0
    assert f"{url}/mine: 4 train" in capsys.readouterr().out
    another_machine(url, tmp_path / "other", monkeypatch)
    assert main(["data", "card", f"{url}/mine"]) == 0
    assert main(["data", "check", f"{url}/mine"]) == 0
    assert Dataset.open(locate(f"{url}/mine")).splits["test"] == 4
    assert main(["data", "check", f"{url}/nothing"]) == 2


@pytest.mark.parametrize(
    ("change", "state", "detail"),
    [
        ({}, "ok", "mirrored in"),
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "missing", "refuses the credentials"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "missing", "cannot be reached"),
        ({"AWS_ACCESS_KEY_ID": ""}, "missing", "no credentials for the store"),
    ],
)
def test_doctor_looks_at_the_store(
    change: dict[str, str],
    state: str,
    detail: str,
    environment: dict[str, str],
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("RECEIPT_COUNTER_STORE_PATIENCE", "0.3")
    for name, value in change.items():
        monkeypatch.setenv(name, value)
    main(["doctor", "--json", f"--store={url}"])
    (finding,) = [found for found in json.loads(capsys.readouterr().out) if found["name"] == "store"]
    assert finding["state"] == state
    assert detail in finding["detail"]
    assert SECRET not in finding["detail"]


def test_tensorboards_mirror_follows_and_ends_at_once(
    environment: dict[str, str], url: str, proxy: Proxy, tmp_path: Path
) -> None:
    mirror, target = open_mirror(url), tmp_path / "logs"
    run = mirror.root / "runs" / "abc"
    write_checkpoint(mirror.root)
    write_events(run / "events", range(1, 11))
    (run / "run.json").write_text("{}")
    pusher = Pusher(mirror, run)
    pusher.push()
    before = mirror.bucket.entries()
    command = [sys.executable, "-m", "receipt_counter.storage.mirror", url, str(target), "--only", "events"]
    once = {
        **os.environ,
        "PYTHONPATH": str(PROJECT),
        "AWS_ENDPOINT_URL": proxy.url,
        "RECEIPT_COUNTER_STORE_PATIENCE": "0.3",
    }
    assert subprocess.run([*command, "--once"], env=once, check=False, timeout=60).returncode == 0
    assert points(target / "runs" / "abc" / "events") == points(run / "events")
    assert {path.parent.name for path in target.rglob("*") if path.is_file()} == {"events"}

    log = tmp_path / "log.txt"
    process = subprocess.Popen([*command, "--every", "0.1"], env=once, stderr=log.open("wb"))

    def wait_for(text: str) -> None:
        deadline = time.monotonic() + 30
        while text not in log.read_text():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)

    with proxy.outage():
        wait_for("cannot be reached, or breaks off")
        write_events(run / "events", range(11, 21))
        pusher.push_events()
    wait_for("the store answers again")
    assert points(target / "runs" / "abc" / "events") == points(run / "events")
    assert len(points(run / "events")) == 20
    stale = next(iter(sorted((run / "events").iterdir())))
    stale.unlink()  # as training does that begins anew
    pusher.push_events()
    deadline = time.monotonic() + 20
    while (target / "runs" / "abc" / "events" / stale.name).exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not (target / "runs" / "abc" / "events" / stale.name).exists()
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    seldom = subprocess.Popen([*command[:-3], str(tmp_path / "seldom"), "--every", "200"], env=once)
    deadline = time.monotonic() + 60
    while not (tmp_path / "seldom" / "runs" / "abc" / "run.json").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    began = time.monotonic()
    seldom.send_signal(signal.SIGTERM)
    assert seldom.wait(60) == 0
    assert time.monotonic() - began < 2
    assert before.keys() - mirror.bucket.entries().keys() == {n for n in before if stale.name in n}
    assert not any(method != "GET" for method, _ in proxy.requests)  # it only reads
    assert mirror_of(target) is None
