"""Somebody else's Experiments: studies of the form of Katib's published examples, with a local script for a command.

Katib's examples (kubeflow/katib, examples/v1beta1) differ from ours in much: the names of trial parameters are not
those of the parameters, they live in a namespace, name images that are not here, print log lines around their metrics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from receipt_counter.engines.base import EARLY_STOPPED, SUCCEEDED, SweepResult
from receipt_counter.engines.local.engine import LocalEngine
from tests.engines.support import read

SCRIPT = Path(__file__).with_name("mnist.py")
# {parameter: (type, feasible space, name of the trial parameter)}
SPACE: dict[str, tuple[str, dict[str, Any], str]] = {
    "lr": ("double", {"min": "0.01", "max": "0.03"}, "learningRate"),
    "momentum": ("double", {"min": "0.3", "max": "0.7"}, "momentum"),
    "num-layers": ("int", {"min": "2", "max": "5"}, "numberLayers"),
    "optimizer": ("categorical", {"list": ["sgd", "adam", "ftrl"]}, "optimizer"),
    "num-epochs": ("int", {"min": "3", "max": "4"}, "numberEpochs"),
}
IMAGES = ("lr", "num-layers", "optimizer")  # what most examples search
ACCURACY = {
    "type": "maximize",
    "goal": 0.99,
    "objectiveMetricName": "Validation-accuracy",
    "additionalMetricNames": ["Train-accuracy"],
}
LOGGED = {"type": "maximize", "goal": 0.99, "objectiveMetricName": "accuracy", "additionalMetricNames": ["loss"]}
MEDIAN_STOP = {
    "algorithmName": "medianstop",
    "algorithmSettings": [{"name": "min_trials_required", "value": "1"}, {"name": "start_step", "value": "2"}],
}
WIDE = {"lr": {"min": "0.01", "max": "0.5"}}
TEXT_FILE = {
    "source": {
        "filter": {"metricsFormat": ["{metricName: ([\\w|-]+), metricValue: ((-?\\d+)(\\.\\d+)?)}"]},
        "fileSystemPath": {"path": "/katib/mnist.log", "kind": "File"},
    },
    "collector": {"kind": "File"},
}
JSON_FILE = {
    "source": {"fileSystemPath": {"path": "/katib/mnist.json", "kind": "File", "format": "JSON"}},
    "collector": {"kind": "File"},
}
METADATA = {"trialName": "${trialSpec.Name}", "trialKind": "${trialSpec.Kind}"}


def example(
    algorithm: str = "random",
    searched: Sequence[str] = IMAGES,
    *,
    settings: Mapping[str, str] | None = None,
    spaces: Mapping[str, Mapping[str, str]] | None = None,
    flags: Sequence[str] = ("--batch-size=64",),
    objective: Mapping[str, Any] = ACCURACY,
    train_job: bool = False,
    metadata: Mapping[str, str] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    """An Experiment as Katib's examples are written."""
    space = {name: {**SPACE[name][1], **(spaces or {}).get(name, {})} for name in searched}
    values = [f"--{name}=${{trialParameters.{SPACE[name][2]}}}" for name in searched]
    command = ["python3", str(SCRIPT), *flags, *values]
    variables = {"TRIAL_NAME": "trialName", "TRIAL_KIND": "trialKind"} if metadata else {}
    container = {
        "image": "docker.io/somebody/mnist:v1",
        "command": command,
        "env": [{"name": name, "value": f"${{trialParameters.{value}}}"} for name, value in variables.items()],
    }
    pod = {"containers": [{"name": "training-container", **container}], "restartPolicy": "Never"}
    job = {"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": {"spec": pod}}}
    trainer = {"runtimeRef": {"name": "torch-distributed"}, "trainer": {"numNodes": 2, **container}}
    references = {**{SPACE[name][2]: name for name in searched}, **(metadata or {})}
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"namespace": "kubeflow", "name": "somebody-elses"},
        "spec": {
            "objective": dict(objective),
            "algorithm": {
                "algorithmName": algorithm,
                "algorithmSettings": [{"name": name, "value": value} for name, value in (settings or {}).items()],
            },
            "parallelTrialCount": 3,
            "maxTrialCount": 6,
            "maxFailedTrialCount": 3,
            "parameters": [
                {"name": name, "parameterType": SPACE[name][0], "feasibleSpace": space[name]} for name in searched
            ],
            "trialTemplate": {
                "primaryContainerName": "node" if train_job else "training-container",
                "trialParameters": [
                    {"name": name, "description": f"The {name} of the model", "reference": reference}
                    for name, reference in references.items()
                ],
                "trialSpec": {"apiVersion": "trainer.kubeflow.org/v1alpha1", "kind": "TrainJob", "spec": trainer}
                if train_job
                else job,
            },
            **spec,
        },
    }


RATES = ("lr", "momentum")
HYPERBAND = {"resource_name": "num-epochs", "eta": "2", "r_l": "2"}
STRATEGIES = [{"name": "Train-accuracy", "value": "latest"}, {"name": "Validation-accuracy", "value": "max"}]
EXAMPLES = {
    "random": example(),
    "grid": example("grid", spaces={"lr": {"min": "0.001", "max": "0.01", "step": "0.001"}}),
    "tpe": example("tpe"),
    "multivariate-tpe": example("multivariate-tpe"),
    "bayesian optimization": example("bayesianoptimization", settings={"random_state": "10"}),
    "cmaes": example("cmaes"),
    "sobol": example("sobol"),
    "hyperband": example(
        "hyperband",
        (*IMAGES, "num-epochs"),
        settings=HYPERBAND,
        spaces={"num-epochs": {"min": "1", "max": "1"}},
        parallelTrialCount=2,
        maxTrialCount=5,
    ),
    "metric strategies": example("tpe", objective={**ACCURACY, "metricStrategies": STRATEGIES}),
    "distributions": example(
        searched=RATES,
        spaces={
            "lr": {"min": "0.01", "max": "0.05", "step": "0.01", "distribution": "normal"},
            "momentum": {"min": "0.001", "max": "1", "distribution": "uniform"},
        },
        objective={"type": "minimize", "goal": 0.05, "objectiveMetricName": "loss"},
    ),
    "median stop": example(searched=("lr", "num-epochs"), spaces=WIDE, earlyStopping=MEDIAN_STOP, maxTrialCount=10),
    "median stop in JSON": example(
        searched=("lr", "num-epochs"),
        spaces=WIDE,
        flags=["--log-path=/katib/mnist.json", "--logger=hypertune"],
        objective=LOGGED,
        metricsCollectorSpec=JSON_FILE,
        earlyStopping=MEDIAN_STOP,
        maxTrialCount=10,
    ),
    "file": example(
        searched=RATES, flags=["--log-path=/katib/mnist.log"], objective=LOGGED, metricsCollectorSpec=TEXT_FILE
    ),
    "TrainJob": example(
        searched=RATES,
        flags=["--num-epochs=1"],
        objective={"type": "minimize", "goal": 0.001, "objectiveMetricName": "loss"},
        train_job=True,
    ),
    "trial metadata": example(searched=["lr"], metadata=METADATA),
    "resumed from a volume": example(resumePolicy="FromVolume"),
}


def run(directory: Path, document: dict[str, Any]) -> SweepResult:
    return LocalEngine(2).run(read(directory, document), directory / "store")


@pytest.mark.parametrize("name", EXAMPLES)
def test_somebody_elses_experiment(name: str, tmp_path: Path) -> None:
    document = EXAMPLES[name]
    result = run(tmp_path, document)
    spec = document["spec"]
    assert len(result.trials) == spec["maxTrialCount"]
    expected = {SUCCEEDED, EARLY_STOPPED} if "earlyStopping" in spec else {SUCCEEDED}
    assert {trial.status for trial in result.trials} == expected
    wanted = [spec["objective"]["objectiveMetricName"], *spec["objective"].get("additionalMetricNames", [])]
    assert all(list(trial.metrics) == wanted for trial in result.trials)
    values = [trial.objective for trial in result.trials if trial.status == SUCCEEDED and trial.objective is not None]
    assert result.optimum is not None
    assert result.optimum.objective == (max if spec["objective"]["type"] == "maximize" else min)(values)


def test_hyperband_gives_the_best_more_epochs(tmp_path: Path) -> None:
    """r_l 2 and eta 2: two trials of one epoch, the better one again with two, then two of two epochs."""
    result = run(tmp_path, EXAMPLES["hyperband"])
    epochs = [trial.assignments["num-epochs"] for trial in result.trials]
    assert epochs == ["1", "1", "2", "2", "2"]


def test_a_trial_knows_its_name(tmp_path: Path) -> None:
    result = run(tmp_path, EXAMPLES["trial metadata"])
    log = result.directory / "trials" / result.trials[0].name / "stdout.log"
    assert log.read_text().splitlines()[0] == "trial somebody-elses-0000 of Job"
