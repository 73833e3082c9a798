"""What the local engine cannot do is refused before anything runs, everything at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from receipt_counter.engines.local.engine import LocalEngine
from receipt_counter.errors import UserError
from tests.engines.support import LEARNING_RATE, LETTER, UNITS, experiment, read, start_sweep, write

ECHO = "echo loss=${lr}"


def stopping(name: str, **settings: str) -> dict[str, Any]:
    return {
        "algorithmName": name,
        "algorithmSettings": [{"name": key, "value": value} for key, value in settings.items()],
    }


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param({"algorithm": "tpee"}, ["tpee", "did you mean 'tpe'?"], id="algorithm"),
        pytest.param({"algorithm": "enas"}, ["enas", "spec.algorithm.algorithmName"], id="architecture search"),
        pytest.param({"algorithm": "tpe", "settings": {"n_startup": "5"}}, ["n_startup"], id="setting"),
        pytest.param(
            {"algorithm": "random", "settings": {"random_state": "x"}}, ["random_state", "whole number"], id="value"
        ),
        pytest.param(
            {"algorithm": "bayesianoptimization", "settings": {"base_estimator": "RF"}}, ["RF", "GP"], id="estimator"
        ),
        pytest.param(
            {
                "algorithm": "cmaes",
                "parameters": [LEARNING_RATE, UNITS],
                "settings": {"restart_strategy": "ipop"},
                "command": "echo loss=${lr} ${units}",
            },
            ["restart_strategy: ipop: Optuna has none only; write that, or leave the setting out"],
            id="restarts",
        ),
        pytest.param({"algorithm": "tpe", "settings": {"gamma": "0.25"}}, ["gamma: no such setting here"], id="gamma"),
        pytest.param({"algorithm": "cmaes"}, ["cmaes needs at least two"], id="cmaes"),
        pytest.param(
            {"algorithm": "sobol", "parameters": [LETTER], "command": "echo loss=1 ${letter}"},
            ["sobol needs a parameter of type int or double"],
            id="sobol",
        ),
        pytest.param(
            {"algorithm": "hyperband", "settings": {"r_l": "9", "eta": "3", "resource_name": "lrr"}},
            ["lrr", "did you mean 'lr'?", "parallelTrialCount: 2", "9"],
            id="hyperband",
        ),
        pytest.param({"algorithm": "hyperband"}, ["r_l", "resource_name"], id="hyperband, bare"),
        pytest.param({"earlyStopping": stopping("meanstop")}, ["meanstop", "'medianstop'"], id="early stopping"),
        pytest.param(
            {"earlyStopping": stopping("medianstop", start_step="0", first="1")},
            ["start_step", "first"],
            id="its settings",
        ),
        *(
            pytest.param(
                {"metricsCollectorSpec": {"collector": {"kind": kind, **more}}}, [kind, "valid: StdOut, File"], id=kind
            )
            for kind, more in (
                ("TensorFlowEvent", {}),
                ("PrometheusMetric", {}),
                ("Custom", {"customCollector": {"name": "collector", "image": "none"}}),
                ("None", {}),
            )
        ),
        pytest.param(
            {"metricsCollectorSpec": {"source": {"filter": {"metricsFormat": ["(a", "a=(.*)"]}}}},
            ["is no regular expression", "two groups"],
            id="filters",
        ),
        pytest.param(
            {
                "metricsCollectorSpec": {
                    "collector": {"kind": "File"},
                    "source": {"fileSystemPath": {"path": "/x/y.log", "kind": "File", "format": "TEXT"}},
                }
            },
            ["/x/y.log", "neither in the command"],
            id="file nobody writes",
        ),
        pytest.param(
            {"container": {"command": [], "args": ["--lr=${trialParameters.lr}"]}},
            ["spec.trialTemplate: container main: has no command; the image's own is not known here"],
            id="the image's command",
        ),
        pytest.param({"container": {"workingDir": "/no/such"}}, ["/no/such", "no such directory"], id="workingDir"),
        pytest.param({"trials": None}, ["spec.maxTrialCount: missing"], id="no end"),
    ],
)
def test_refused(tmp_path: Path, options: dict[str, Any], expected: list[str]) -> None:
    document = experiment(options.pop("command", ECHO), **options)
    with pytest.raises(UserError) as raised:
        LocalEngine().run(read(tmp_path, document), tmp_path / "store")
    for text in expected:
        assert text in raised.value.message
    assert not (tmp_path / "store").exists()


def test_another_kind_of_trial(tmp_path: Path) -> None:
    document = experiment(ECHO)
    trial = document["spec"]["trialTemplate"]["trialSpec"]
    trial.update(apiVersion="kubeflow.org/v1", kind="PyTorchJob")
    with pytest.raises(UserError, match="PyTorchJob"):
        LocalEngine().run(read(tmp_path, document), tmp_path / "store")


def test_failures_are_summed_up(tmp_path: Path) -> None:
    document = experiment("echo bad news of ${letter}; exit 3", parameters=[LETTER], algorithm="grid", trials=3)
    process = start_sweep(write(tmp_path / "mine.yaml", document), tmp_path / "store", "--workers", "1")
    printed, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "no trial reported the objective; the last to fail said:" in printed
    assert all(f"failed: exit status 3\n  bad news of {letter}" in errors for letter in "abc")
    document = experiment("echo loss=1; test ${letter} != b", parameters=[LETTER], algorithm="grid", trials=3)
    process = start_sweep(write(tmp_path / "mine.yaml", document), tmp_path / "store", "--workers", "1")
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert "3 trials, 1 failed" in printed
    assert "failed  small-0001: exit status 1" in printed


def test_all_at_once_on_the_command_line(tmp_path: Path) -> None:
    document = experiment(
        ECHO, algorithm="tpee", earlyStopping=stopping("x"), metricsCollectorSpec={"collector": {"kind": "Custom"}}
    )
    path = write(tmp_path / "mine.yaml", document)
    process = start_sweep(path, tmp_path / "store")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "mine.yaml: cannot run here:" in errors
    assert all(text in errors for text in ("tpee", "earlyStopping", "Custom"))
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--workers", "0"], "--workers: '0' is not a whole number of at least 1"),
        (["--engine", "lokal"], "did you mean 'local'?"),
        (["--engine", "katib", "--workers", "2"], "--workers: has no effect with --engine katib"),
        (["--delete-on-stop"], "--delete-on-stop: is for --engine katib"),
    ],
)
def test_options(tmp_path: Path, options: list[str], expected: str) -> None:
    process = start_sweep(write(tmp_path / "mine.yaml", experiment(ECHO)), tmp_path / "store", *options)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 2
    assert expected in errors
