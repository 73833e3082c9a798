"""Stand-in: dropped when the real module arrives."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from kubeflow_katib_api.models import V1beta1Experiment


@dataclass(frozen=True)
class StudyDocument:
    experiment: V1beta1Experiment
    config_maps: Mapping[str, Mapping[str, str]]

    @property
    def fingerprint(self) -> str:
        text = json.dumps([self.experiment.to_dict(), self.config_maps], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_document(path: Path) -> StudyDocument:
    documents = list(yaml.safe_load_all(Path(path).read_text(encoding="utf-8")))
    raw = next(d for d in documents if d["kind"] == "Experiment")
    spec = raw["spec"]
    spec.setdefault("parallelTrialCount", 3)
    spec.setdefault("resumePolicy", "Never")
    spec.setdefault("metricsCollectorSpec", {"collector": {"kind": "StdOut"}})
    objective = spec["objective"]
    names = [objective["objectiveMetricName"], *objective.get("additionalMetricNames", [])]
    given = {s["name"]: s["value"] for s in objective.get("metricStrategies", [])}
    default = "min" if objective["type"] == "minimize" else "max"
    objective["metricStrategies"] = [{"name": n, "value": given.get(n, default)} for n in names]
    spec["trialTemplate"].setdefault("primaryContainerName", "training-container")
    maps = {d["metadata"]["name"]: d["data"] for d in documents if d["kind"] == "ConfigMap"}
    return StudyDocument(V1beta1Experiment.from_dict(raw), maps)  # type: ignore[arg-type]


def check(document: StudyDocument) -> list[str]:
    return []
