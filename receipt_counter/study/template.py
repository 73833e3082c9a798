"""Stand-in: dropped when the real module arrives."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from receipt_counter.study.experiment import StudyDocument


@dataclass(frozen=True)
class Container:
    name: str
    command: tuple[str, ...]
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    working_dir: str | None = None
    mounts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    gpus: int = 0


def render_trial(document: StudyDocument, trial_name: str, assignments: Mapping[str, str]) -> dict[str, Any]:
    template = document.experiment.spec.trial_template  # type: ignore[union-attr]
    references = {p.name: p.reference for p in template.trial_parameters or []}  # type: ignore[union-attr]

    def value(match: re.Match[str]) -> str:
        reference = references[match[1]] or ""
        return trial_name if reference.startswith("${trialSpec.Name") else assignments[reference]

    text = re.sub(r"\$\{trialParameters\.([^}]+)\}", value, json.dumps(template.trial_spec))  # type: ignore[union-attr]
    manifest: dict[str, Any] = json.loads(text)
    manifest.setdefault("metadata", {})["name"] = trial_name
    return manifest


def primary_container(document: StudyDocument, manifest: Mapping[str, Any]) -> Container:
    if manifest["kind"] == "TrainJob":
        trainer = manifest["spec"]["trainer"]
        env = {e["name"]: e["value"] for e in trainer.get("env", [])}
        return Container("node", tuple(trainer.get("command", ())), tuple(trainer.get("args", ())), env)
    pod = manifest["spec"]["template"]["spec"]
    name = document.experiment.spec.trial_template.primary_container_name  # type: ignore[union-attr]
    raw = next(c for c in pod["containers"] if c["name"] == name)
    volumes = {v["name"]: v["configMap"]["name"] for v in pod.get("volumes", []) if "configMap" in v}
    mounts = {
        m["mountPath"]: document.config_maps[volumes[m["name"]]]
        for m in raw.get("volumeMounts", [])
        if m["name"] in volumes
    }
    gpus = int(raw.get("resources", {}).get("limits", {}).get("nvidia.com/gpu", 0))
    env = {e["name"]: e["value"] for e in raw.get("env", [])}
    command, args = tuple(raw.get("command", ())), tuple(raw.get("args", ()))
    return Container(name or "", command, args, env, raw.get("workingDir"), mounts, gpus)
