"""What doctor says about machines that have and lack things."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from receipt_counter import doctor
from receipt_counter.cli import main
from receipt_counter.doctor import ABSENT, MISSING, OK, Finding, examine
from receipt_counter.storage.store import Store

NAMES = [
    "python",
    "torch",
    "transformers",
    "deepspeed",
    "kfp",
    "cores",
    "gpu",
    "compiler",
    "weights",
    "cluster",
    "store",
    "disk",
]


def find(name: str, store: Path) -> Finding:
    return next(finding for finding in examine(Store(store)) if finding.name == name)


def test_everything_is_looked_for_once(tmp_path: Path) -> None:
    findings = examine(Store(tmp_path))
    assert [finding.name for finding in findings] == NAMES
    assert {finding.state for finding in findings} <= {OK, ABSENT, MISSING}
    assert all(finding.detail for finding in findings)


def test_json_is_the_findings_and_a_fit_machine_gives_status_zero(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--json", "--store", str(tmp_path / "new")]) == 0
    assert [finding["name"] for finding in json.loads(capsys.readouterr().out)] == NAMES
    assert not (tmp_path / "new").exists(), "looking must not make anything"


def test_table_names_what_is_absent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--store", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in NAMES)


@pytest.mark.parametrize("module", ["torch", "transformers", "deepspeed", "kfp"])
def test_a_missing_package_is_named_and_fails(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = doctor.importlib.util.find_spec
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None if name == module else real(name))
    assert main(["doctor", "--json", "--store", str(tmp_path)]) == 1
    states = {finding["name"]: finding["state"] for finding in json.loads(capsys.readouterr().out)}
    assert [name for name, state in states.items() if state == MISSING] == [module]


def test_no_compiler_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find("compiler", tmp_path).state == ABSENT


@pytest.mark.parametrize(
    ("variable", "value", "state"),
    [
        ("KUBERNETES_SERVICE_HOST", "10.0.0.1", OK),
        ("KUBECONFIG", "/nowhere/config", ABSENT),
        ("KUBECONFIG", __file__, OK),
    ],
    ids=["inside a cluster", "no kubeconfig", "kubeconfig"],
)
def test_cluster(variable: str, value: str, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv(variable, value)
    assert find("cluster", tmp_path).state == state


def test_store_that_cannot_be_written() -> None:
    store = Path("/proc/store")  # not even root can make files there
    finding = find("store", store)
    assert finding.state == MISSING
    assert f"{store} cannot be written: " in finding.detail
    assert "--store" in finding.detail


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = doctor.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: usage._replace(free=10**8))
    finding = find("disk", tmp_path)
    assert (finding.state, finding.detail) == (MISSING, "0.1 GB free for the store; 2 GB are needed")
