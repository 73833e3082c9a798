"""Trials: placeholders filled in, and the container that runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from receipt_counter.errors import UserError
from receipt_counter.katib.template import Container, primary_container, render_trial
from tests.katib.documents import COMMAND, GOOD, config_map, experiment, job, read, template

VALUES = {"rate": "0.02", "layers": "3"}
RENDERED = ("python3", "train.py", "--rate=0.02", "--layers=3")


@pytest.mark.parametrize("name", ["tpe", "template in a ConfigMap", "TrainJob"])
def test_values_reach_the_command(name: str, tmp_path: Path) -> None:
    document = read(tmp_path, *GOOD[name])

    manifest = render_trial(document, "study-a1", VALUES)

    assert manifest["metadata"] == {"name": "study-a1", "namespace": "team"}
    assert primary_container(document, manifest).command == RENDERED
    assert "${" not in str(manifest)


def test_metadata_of_the_trial_is_filled_in(tmp_path: Path) -> None:
    document = read(tmp_path, *GOOD["trial metadata"])

    manifest = render_trial(document, "study-a1", {"rate": "0.02"})

    expected = ("run", "0.02", "study-a1", "team", "Job", "batch/v1", "tax", "audit")
    assert primary_container(document, manifest).command == expected
    assert manifest["metadata"]["labels"] == {"team": "tax"}


def test_values_are_not_filled_in_twice(tmp_path: Path) -> None:
    document = read(tmp_path, experiment())

    manifest = render_trial(document, "t", {"rate": "${trialParameters.layers}", "layers": "3"})

    assert primary_container(document, manifest).command[2] == "--rate=${trialParameters.layers}"


def test_the_document_is_not_changed_by_rendering(tmp_path: Path) -> None:
    document = read(tmp_path, experiment())
    before = document.fingerprint

    render_trial(document, "t", VALUES)["spec"]["template"] = None

    assert document.fingerprint == before


BAD_VALUES = {
    "missing": ({"rate": "1"}, "trial t: no value for parameter 'layers'"),
    "unknown": ({**VALUES, "layer": "1"}, "trial t: 'layer' is no parameter of the Experiment; did you mean 'layers'?"),
    "quote": ({**VALUES, "rate": '"'}, "it is not valid JSON"),
}


@pytest.mark.parametrize("name", BAD_VALUES)
def test_values_that_do_not_fit_are_refused(name: str, tmp_path: Path) -> None:
    values, expected = BAD_VALUES[name]
    document = read(tmp_path, experiment())

    with pytest.raises(UserError) as caught:
        render_trial(document, "t", values)

    assert expected in caught.value.message


MAPS = [config_map("settings", {"b.yaml": "x: 1\n", "a.txt": "hello"}), config_map("env", {"A": "1", "B": "2"})]


def container(tmp_path: Path, volumes: list[dict[str, Any]] | None = None, **parts: Any) -> Container:
    whole = job(COMMAND, **parts)
    whole["spec"]["template"]["spec"]["volumes"] = volumes or []
    document = read(tmp_path, *MAPS, experiment(trialTemplate=template(whole)))
    return primary_container(document, render_trial(document, "t", VALUES))


def test_a_container_is_described_whole(tmp_path: Path) -> None:
    found = container(
        tmp_path,
        [{"name": "v", "configMap": {"name": "settings"}}, {"name": "scratch", "emptyDir": {}}],
        args=["--home=$(HOME)", "$$(HOME)", "$(OTHER)"],
        env=[
            {"name": "HOME", "value": "/root"},
            {"name": "CACHE", "value": "$(HOME)/cache"},
            {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "env", "key": "A"}}},
            {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "env", "key": "C", "optional": True}}},
        ],
        envFrom=[{"prefix": "X_", "configMapRef": {"name": "env"}}],
        volumeMounts=[{"name": "v", "mountPath": "/etc/settings/"}, {"name": "scratch", "mountPath": "/tmp"}],
        workingDir="/work",
        resources={"limits": {"nvidia.com/gpu": 2, "cpu": "1"}},
    )

    assert found == Container(
        name="main",
        command=RENDERED,
        args=("--home=/root", "$(HOME)", "$(OTHER)"),
        env={"X_A": "1", "X_B": "2", "HOME": "/root", "CACHE": "/root/cache", "A": "1"},
        working_dir="/work",
        mounts={"/etc/settings": {"a.txt": "hello", "b.yaml": "x: 1\n"}},
        gpus=2,
    )


MOUNTS = {
    "chosen keys": (
        {"name": "settings", "items": [{"key": "a.txt", "path": "new.txt"}]},
        {"mountPath": "/etc"},
        {"/etc": {"new.txt": "hello"}},
    ),
    "one file": (
        {"name": "settings"},
        {"mountPath": "/etc/one.txt", "subPath": "a.txt"},
        {"/etc": {"one.txt": "hello"}},
    ),
    "absent but optional": ({"name": "none", "optional": True}, {"mountPath": "/etc"}, {"/etc": {}}),
}


@pytest.mark.parametrize("name", MOUNTS)
def test_config_maps_are_mounted_as_kubernetes_does(name: str, tmp_path: Path) -> None:
    source, mount, expected = MOUNTS[name]

    found = container(tmp_path, [{"name": "v", "configMap": source}], volumeMounts=[{"name": "v", **mount}])

    assert found.mounts == expected


BAD_CONTAINERS: dict[str, tuple[dict[str, Any], str]] = {
    "secret": (
        {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]},
        "container main: env A: valueFrom secretKeyRef: only configMapKeyRef can be resolved without a cluster",
    ),
    "secrets": ({"envFrom": [{"secretRef": {"name": "s"}}]}, "envFrom: only configMapRef can be resolved"),
    "absent ConfigMap": (
        {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "envs", "key": "A"}}}]},
        "env A: ConfigMap envs is not in the study's file; did you mean 'env'?",
    ),
    "absent key": (
        {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "env", "key": "Z"}}}]},
        "env A: ConfigMap env has no key Z; valid: A, B",
    ),
    "no command": ({"command": None}, "container main: has no command"),
}


@pytest.mark.parametrize("name", BAD_CONTAINERS)
def test_containers_that_need_a_cluster_are_refused(name: str, tmp_path: Path) -> None:
    parts, expected = BAD_CONTAINERS[name]
    command = {"args": COMMAND} if "command" in parts else {}

    with pytest.raises(UserError) as caught:
        _of(tmp_path, {**parts, **command})

    assert expected in caught.value.message


def _of(tmp_path: Path, parts: dict[str, Any]) -> Container:
    whole = job()
    whole["spec"]["template"]["spec"]["containers"][0] |= parts
    document = read(tmp_path, *MAPS, experiment(trialTemplate=template(whole)))
    return primary_container(document, render_trial(document, "t", VALUES))


def test_other_kinds_are_refused_naming_those_supported(tmp_path: Path) -> None:
    document = read(tmp_path, experiment())

    with pytest.raises(UserError, match=r"PyTorchJob \(kubeflow.org/v1\) cannot run without a cluster.*Job.*TrainJob"):
        primary_container(document, {"apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob"})
