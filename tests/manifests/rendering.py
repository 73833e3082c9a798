"""What `kubectl` would apply: the rendered base and overlays, each with the trials of the document's studies."""

from __future__ import annotations

import functools
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from receipt_counter.katib.experiment import StudyDocument, read_document
from receipt_counter.katib.space import search_space
from receipt_counter.katib.template import render_trial

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = ROOT / "manifests"
OBJECT_STORE = "overlays/object-store"
TARGETS = ("base", "overlays/single-node", "overlays/gpu", "overlays/kubeflow-profile")
STUDIES = ("hyperparameter", "ablation")

Manifest = dict[str, Any]

needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed: it renders them")


@functools.cache
def rendered(target: str, manifests: Path = MANIFESTS) -> tuple[Manifest, ...]:
    """The objects of base or of an overlay."""
    command = ["kubectl", "kustomize", str(manifests / target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr.lower(), done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def deployment(target: str, component: str) -> Manifest:
    """The Deployment of a long-running part, of base or of an overlay."""
    (found,) = (
        item
        for item in rendered(target)
        if item["kind"] == "Deployment" and item["metadata"]["name"] == f"receipt-counter-{component}"
    )
    return found


@functools.cache
def study(kind: str) -> StudyDocument:
    """One of the ready Experiments."""
    return read_document(MANIFESTS / "katib" / f"{kind}.yaml")


def trial(document: StudyDocument, namespace: str) -> Manifest:
    """The Job of a study's first trial."""
    parameters = search_space(document.experiment)
    first = {item.name: item.values[0] if item.values else item.minimum for item in parameters}
    job = render_trial(document, "trial-0", first)
    return {**job, "metadata": {**job["metadata"], "namespace": namespace}}


def applied(target: str) -> list[Manifest]:
    """Base or an overlay with both studies in its namespace: ConfigMaps and first trials."""
    objects = list(rendered(target))
    namespace = next(item["metadata"]["namespace"] for item in objects if item["kind"] == "ServiceAccount")
    for document in map(study, STUDIES):
        objects.append(trial(document, namespace))
        objects += [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data}
            for name, data in document.config_maps.items()
        ]
    return objects


def name_of(item: Mapping[str, Any]) -> str:
    """As kubectl says it."""
    return f"{item['kind']}/{item['metadata']['name']}"
