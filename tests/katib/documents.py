"""Small Experiments of every sort that Katib's published examples show."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from receipt_counter.katib import kubernetes_yaml
from receipt_counter.katib.experiment import StudyDocument, read_document

RATE = {"name": "rate", "parameterType": "double", "feasibleSpace": {"min": "0.01", "max": "0.03"}}
LAYERS = {"name": "layers", "parameterType": "int", "feasibleSpace": {"min": "2", "max": "5"}}
OPTIMIZER = {"name": "optimizer", "parameterType": "categorical", "feasibleSpace": {"list": ["sgd", "adam"]}}
COMMAND = ["python3", "train.py", "--rate=${trialParameters.rate}", "--layers=${trialParameters.layers}"]


def job(command: list[str] = COMMAND, **container: Any) -> dict[str, Any]:
    pod = {"containers": [{"name": "main", "image": "i", "command": command, **container}], "restartPolicy": "Never"}
    return {"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": {"spec": pod}}}


def experiment(**spec: Any) -> dict[str, Any]:
    """An Experiment with random search over RATE and LAYERS; `spec` replaces its parts, None takes them out."""
    parts = {
        "objective": {"type": "maximize", "goal": 0.9, "objectiveMetricName": "accuracy"},
        "algorithm": {"algorithmName": "random"},
        "parallelTrialCount": 2,
        "maxTrialCount": 6,
        "parameters": [RATE, LAYERS],
        "trialTemplate": template(),
    }
    kept = {key: value for key, value in {**parts, **spec}.items() if value is not None}
    return copy.deepcopy(
        {
            "apiVersion": "kubeflow.org/v1beta1",
            "kind": "Experiment",
            "metadata": {"name": "study", "namespace": "team"},
            "spec": kept,
        }
    )


def template(trial_spec: dict[str, Any] | None = None, names: tuple[str, ...] = ("rate", "layers")) -> dict[str, Any]:
    return {
        "primaryContainerName": "main",
        "trialParameters": [{"name": name, "reference": name} for name in names],
        "trialSpec": trial_spec or job(),
    }


def config_map(name: str, data: dict[str, str], namespace: str = "team") -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data}


def settings(algorithm: str, **values: str) -> dict[str, Any]:
    pairs = [{"name": name, "value": value} for name, value in values.items()]
    return {"algorithmName": algorithm, "algorithmSettings": pairs}


def read(directory: Path, *objects: dict[str, Any]) -> StudyDocument:
    path = directory / "study.yaml"
    path.write_text(kubernetes_yaml.dump(*objects), encoding="utf-8")
    return read_document(path)


def with_command(*command: str, parameters: list[dict[str, Any]] | None = None, **spec: Any) -> dict[str, Any]:
    """An Experiment whose trial runs a command that names all its parameters."""
    chosen = parameters or [RATE]
    names = tuple(str(item["name"]) for item in chosen)
    return experiment(parameters=chosen, trialTemplate=template(job(list(command)), names), **spec)


JSON_FILE = {
    "collector": {"kind": "File"},
    "source": {"fileSystemPath": {"path": "/katib/metrics.json", "kind": "File", "format": "JSON"}},
}
MEDIAN_STOP = settings("medianstop", min_trials_required="1", start_step="2")
STEPPED = {**RATE, "feasibleSpace": {"min": "0.01", "max": "0.03", "step": "0.01"}}
_METADATA = {
    "trial": "${trialSpec.Name}",
    "space": "${trialSpec.Namespace}",
    "kind": "${trialSpec.Kind}",
    "version": "${trialSpec.APIVersion}",
    "label": "${trialSpec.Labels[team]}",
    "note": "${trialSpec.Annotations[why]}",
}
_METADATA_JOB = {
    **job(["run", "${trialParameters.rate}", *(f"${{trialParameters.{name}}}" for name in _METADATA)]),
    "metadata": {"labels": {"team": "tax"}, "annotations": {"why": "audit"}},
}
_TEXT_TEMPLATE = kubernetes_yaml.dump(job()).removeprefix("---\n")

GOOD: dict[str, list[dict[str, Any]]] = {
    "random": [
        experiment(
            parameters=[RATE, LAYERS, OPTIMIZER],
            trialTemplate=template(
                job([*COMMAND, "--optimizer=${trialParameters.optimizer}"]), ("rate", "layers", "optimizer")
            ),
        )
    ],
    "grid": [experiment(algorithm=settings("grid", random_state="1"), parameters=[STEPPED, LAYERS], maxTrialCount=12)],
    "hyperband": [experiment(algorithm=settings("hyperband", r_l="2", eta="2", resource_name="layers"))],
    "tpe": [experiment(algorithm=settings("tpe", gamma="0.25", n_EI_candidates="24"))],
    "multivariate-tpe": [experiment(algorithm=settings("multivariate-tpe", n_startup_trials="4"))],
    "bayesian optimization": [experiment(algorithm=settings("bayesianoptimization", base_estimator="GP"))],
    "cmaes": [experiment(algorithm=settings("cmaes", restart_strategy="ipop", sigma="0.1"))],
    "sobol": [experiment(algorithm={"algorithmName": "sobol"})],
    "JSON file": [experiment(metricsCollectorSpec=JSON_FILE)],
    "median stop": [experiment(earlyStopping=MEDIAN_STOP)],
    "trial metadata": [
        experiment(
            parameters=[RATE],
            trialTemplate={
                **template(_METADATA_JOB, ("rate",)),
                "trialParameters": [
                    {"name": "rate", "reference": "rate"},
                    *({"name": name, "reference": reference} for name, reference in _METADATA.items()),
                ],
            },
        )
    ],
    "template in a ConfigMap": [
        config_map("templates", {"trial.yaml": _TEXT_TEMPLATE}, "kubeflow"),
        experiment(
            trialTemplate={
                "primaryContainerName": "main",
                "trialParameters": [{"name": name, "reference": name} for name in ("rate", "layers")],
                "successCondition": 'status.conditions.#(type=="Complete")#|#(status=="True")#',
                "failureCondition": 'status.conditions.#(type=="Failed")#|#(status=="True")#',
                "configMap": {
                    "configMapName": "templates",
                    "configMapNamespace": "kubeflow",
                    "templatePath": "trial.yaml",
                },
            }
        ),
    ],
    "TrainJob": [
        experiment(
            trialTemplate={
                **template(
                    {
                        "apiVersion": "trainer.kubeflow.org/v1alpha1",
                        "kind": "TrainJob",
                        "spec": {"runtimeRef": {"name": "torch"}, "trainer": {"numNodes": 2, "command": COMMAND}},
                    }
                ),
                "primaryContainerName": "node",
            }
        )
    ],
}
