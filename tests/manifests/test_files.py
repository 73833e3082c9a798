"""The files themselves: made from their sources, one name for one thing, and what a person needs at their top."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

import components
import receipt_counter
from receipt_counter.config.cluster import Cluster
from receipt_counter.study.manifests import main, manifest_text
from tests.manifests.policy import RULES, containers
from tests.manifests.rendering import (
    MANIFESTS,
    OBJECT_STORE,
    ROOT,
    STUDIES,
    TARGETS,
    Manifest,
    needs_kubectl,
    rendered,
    study,
)

FILES = sorted(MANIFESTS.rglob("*.yaml"))
TOPICS = ("Prerequisites:", "Apply:", "Check:", "Clean:")


def documents(path: Path) -> list[Manifest]:
    """The objects of a file as written."""
    return list(yaml.safe_load_all(path.read_text()))


@pytest.mark.parametrize("kind", STUDIES)
def test_ready_experiments_are_what_their_sources_say(kind: str) -> None:
    written = (MANIFESTS / "katib" / f"{kind}.yaml").read_text()
    assert written == manifest_text(kind, ROOT / "config"), "run: make manifests"


def test_they_follow_their_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "config"
    config.mkdir()
    for path in (ROOT / "config").glob("*.yaml"):
        (config / path.name).write_text(path.read_text().replace("seeds: [42, 43, 44]", "seeds: [7, 8]"))
    monkeypatch.chdir(tmp_path)
    assert main(["out"]) == 0
    same = {
        kind: (tmp_path / "out" / f"{kind}.yaml").read_text() == manifest_text(kind, ROOT / "config")
        for kind in STUDIES
    }
    assert same == {"hyperparameter": True, "ablation": False}


def test_what_the_restricted_standard_refuses_is_not_shipped_and_says_so(tmp_path: Path) -> None:
    """Katib's early stopping; somebody who turns it on is told."""
    shipped = {kind: manifest_text(kind, ROOT / "config") for kind in STUDIES}
    assert [kind for kind in STUDIES if study(kind).experiment.spec.early_stopping is not None] == []
    assert [kind for kind, text in shipped.items() if "enforce=baseline" in text] == []
    for path in (ROOT / "config").glob("*.yaml"):
        off = "early_stopping: {algorithm: null, min"
        (tmp_path / path.name).write_text(path.read_text().replace(off, "early_stopping: {algorithm: medianstop, min"))
    on = {kind: "enforce=baseline" in manifest_text(kind, tmp_path) for kind in STUDIES}
    assert on == {"hyperparameter": True, "ablation": False}


def test_mistakes_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([]) == 2
    assert main(["out"]) != 0
    assert "config/multimodal_config.yaml" in capsys.readouterr().err


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(MANIFESTS)) for path in FILES])
def test_every_manifest_says_how_to_use_it(path: Path) -> None:
    header = re.match(r"(#.*\n)+", path.read_text())
    assert header
    elsewhere = re.search(r"Prerequisites, apply, check, clean: (\S+)", header[0])
    text = (path.parent / elsewhere[1]).read_text() if elsewhere else header[0]
    assert [topic for topic in TOPICS if topic not in text] == []


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(MANIFESTS)) for path in FILES])
def test_paths_in_commands_exist(path: Path) -> None:
    named = re.findall(r"(?:-k|-f) (manifests/[^\s;]+)", path.read_text())
    assert [place for place in named if not (ROOT / place).exists()] == []


def base(name: str, kind: str) -> Any:
    return next(item for item in documents(MANIFESTS / "base" / name) if item["kind"] == kind)


def test_one_name_for_the_image_everywhere() -> None:
    (image,) = base("kustomization.yaml", "Kustomization")["images"]
    assert f"{image['name']}:{image['newTag']}" == receipt_counter.IMAGE == Cluster().image == components.IMAGE


@needs_kubectl
def test_an_image_named_in_base_is_that_of_every_overlay(tmp_path: Path) -> None:
    """In a registry and by its digest, as base's header says."""
    copy = shutil.copytree(MANIFESTS, tmp_path / "manifests")
    registry, digest = "registry.example:5000/team/receipt-counter", "sha256:" + "0123456789abcdef" * 4
    kustomization = base("kustomization.yaml", "Kustomization")
    kustomization["images"] = [{"name": "receipt-counter", "newName": registry, "digest": digest}]
    (copy / "base" / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    for target in (*TARGETS, OBJECT_STORE):
        names = {container["image"] for _, _, container in containers(rendered(target, copy))}
        assert {name for name in names if "receipt-counter" in name} == {f"{registry}@{digest}"}, target
        assert list(RULES["image_is_pinned"](rendered(target, copy))) == []


def test_one_place_for_the_store_everywhere() -> None:
    settings = base("store.yaml", "ConfigMap")["data"]
    (container,) = base("tensorboard.yaml", "Deployment")["spec"]["template"]["spec"]["containers"]
    assert settings == {"RECEIPT_COUNTER_STORE": Cluster().store}
    assert container["volumeMounts"][0]["mountPath"] == Cluster().store
    assert base("store.yaml", "PersistentVolumeClaim")["metadata"]["name"] == Cluster().volume
    assert base("trial.yaml", "ServiceAccount")["metadata"]["name"] == Cluster().service_account
