"""Small studies of small programs."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from receipt_counter.katib.experiment import StudyDocument, read_document

PROJECT = Path(__file__).resolve().parents[2]
LEARNING_RATE = {"name": "lr", "parameterType": "double", "feasibleSpace": {"min": "0.01", "max": "1.0"}}
UNITS = {"name": "units", "parameterType": "int", "feasibleSpace": {"min": "1", "max": "8"}}
LETTER = {"name": "letter", "parameterType": "categorical", "feasibleSpace": {"list": ["a", "b", "c"]}}


def experiment(
    command: str | Sequence[str],
    *,
    parameters: Sequence[Mapping[str, Any]] = (LEARNING_RATE,),
    algorithm: str = "random",
    settings: Mapping[str, str] | None = None,
    trials: int | None = 4,
    parallel: int = 2,
    objective: Mapping[str, Any] | None = None,
    job: Mapping[str, Any] | None = None,
    container: Mapping[str, Any] | None = None,
    pod: Mapping[str, Any] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    """An Experiment; `${name}` in the command is a parameter, a text is a shell's."""
    words = ["sh", "-c", command] if isinstance(command, str) else list(command)
    names = [parameter["name"] for parameter in parameters]
    for name in names:
        words = [word.replace(f"${{{name}}}", _placeholder(name)) for word in words]
    unused = [name for name in names if not any(_placeholder(name) in word for word in words)]
    environment = [{"name": f"P_{name}", "value": _placeholder(name)} for name in unused]
    whole = {"name": "main", "image": "none", "command": words, **(container or {})}
    whole["env"] = [*whole.get("env", []), *environment]
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": "small"},
        "spec": {
            "objective": {"type": "minimize", "objectiveMetricName": "loss", **(objective or {})},
            "algorithm": {
                "algorithmName": algorithm,
                "algorithmSettings": [{"name": n, "value": v} for n, v in (settings or {}).items()],
            },
            "parallelTrialCount": parallel if trials is None else min(parallel, trials),
            **({} if trials is None else {"maxTrialCount": trials}),
            "parameters": list(parameters),
            "trialTemplate": {
                "primaryContainerName": "main",
                "trialParameters": [{"name": p["name"], "reference": p["name"]} for p in parameters],
                "trialSpec": {
                    "apiVersion": "batch/v1",
                    "kind": "Job",
                    "spec": {
                        **(job or {}),
                        "template": {"spec": {"containers": [whole], "restartPolicy": "Never", **(pod or {})}},
                    },
                },
            },
            **spec,
        },
    }


def _placeholder(name: str) -> str:
    return f"${{trialParameters.{name}}}"


def write(path: Path, document: Mapping[str, Any], *more: Mapping[str, Any]) -> Path:
    """Write a study's file."""
    path.write_text(yaml.safe_dump_all([*more, document]), encoding="utf-8")
    return path


def read(directory: Path, document: Mapping[str, Any], *more: Mapping[str, Any]) -> StudyDocument:
    """The document as the engine gets it."""
    return read_document(write(directory / "experiment.yaml", document, *more))


def start_sweep(path: Path, store: Path, *options: str) -> subprocess.Popen[str]:
    """`receipt-counter sweep` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "receipt_counter", "sweep", str(path), "--store", str(store), *options],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def rows(store: Path) -> list[dict[str, str]]:
    """trials.csv of the store's only study, without times."""
    (table,) = store.glob("studies/*/trials.csv")
    with table.open(newline="") as file:
        return [
            {name: value for name, value in row.items() if name not in ("started", "ended", "seconds")}
            for row in csv.DictReader(file)
        ]
