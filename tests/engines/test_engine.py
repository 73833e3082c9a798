"""Whole sweeps of small programs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from receipt_counter.engines.base import (
    EARLY_STOPPED,
    EXHAUSTED,
    FAILED,
    GOAL,
    MAX_TRIALS,
    METRICS_UNAVAILABLE,
    SUCCEEDED,
    SweepFailedError,
    SweepResult,
)
from receipt_counter.engines.local.engine import LocalEngine
from receipt_counter.engines.local.preloaded import Preloaded
from receipt_counter.engines.local.trial_process import argv_of
from receipt_counter.errors import UserError
from receipt_counter.katib.template import Container
from tests.engines.support import LEARNING_RATE, LETTER, UNITS, experiment, read, rows

GRID = {
    "parameters": [{"name": "number", "parameterType": "int", "feasibleSpace": {"min": "1", "max": "6"}}],
    "algorithm": "grid",
}


def run(directory: Path, document: dict[str, Any], *more: dict[str, Any], workers: int | None = None) -> SweepResult:
    return LocalEngine(workers).run(read(directory, document, *more), directory / "store")


def statuses(result: SweepResult) -> list[str]:
    return [trial.status for trial in result.trials]


def log(result: SweepResult, index: int = 0, name: str = "stdout.log") -> str:
    return (result.directory / "trials" / result.trials[index].name / name).read_text()


def test_a_sweep_leaves_its_trials(tmp_path: Path) -> None:
    result = run(tmp_path, experiment("echo loss=${lr}", trials=3))
    assert statuses(result) == [SUCCEEDED] * 3
    assert result.outcome == MAX_TRIALS
    assert [trial.name for trial in result.trials] == ["small-0000", "small-0001", "small-0002"]
    best = min(result.trials, key=lambda trial: float(trial.assignments["lr"]))
    assert result.optimum == best
    assert [row["loss"] for row in rows(tmp_path / "store")] == [str(trial.objective) for trial in result.trials]
    assert result.directory.name.startswith("small-")
    assert (result.directory / "experiment.yaml").is_file()
    again = run(tmp_path, experiment("echo loss=${lr}", trials=3))
    assert not again.worked
    assert again.trials == result.trials


@pytest.mark.parametrize(
    ("kind", "strategy", "value"),
    [
        ("minimize", None, 1.0),
        ("maximize", None, 3.0),
        ("minimize", "latest", 2.0),
        ("minimize", "max", 3.0),
        ("maximize", "min", 1.0),
    ],
)
def test_metric_strategies(tmp_path: Path, kind: str, strategy: str | None, value: float) -> None:
    objective: dict[str, Any] = {"type": kind}
    if strategy:
        objective["metricStrategies"] = [{"name": "loss", "value": strategy}]
    result = run(tmp_path, experiment(": ${lr}; echo loss=3; echo loss=1; echo loss=2", trials=1, objective=objective))
    assert result.trials[0].objective == value


@pytest.mark.parametrize(
    ("command", "status", "message"),
    [
        pytest.param("echo bad news; exit 3", FAILED, "exit status 3", id="exit status"),
        pytest.param("kill -9 0", FAILED, "killed by SIGKILL", id="signal"),
        pytest.param("echo acc=1", METRICS_UNAVAILABLE, "did not report loss", id="no objective"),
        pytest.param("echo loss=1; no-such-program", FAILED, "exit status 127", id="no such program"),
    ],
)
def test_a_failed_trial_is_a_result(tmp_path: Path, command: str, status: str, message: str) -> None:
    result = run(tmp_path, experiment(f": ${{lr}}; {command}", trials=1))
    assert statuses(result) == [status]
    assert message in result.trials[0].message
    assert result.optimum is None
    if "bad news" in command:
        assert result.trials[0].log == ("bad news",)


def test_retries(tmp_path: Path) -> None:
    flag = tmp_path / "tried"
    command = (
        f": ${{lr}}; echo attempt; if test -e {flag}; then echo loss=1; else touch {flag}; echo loss=0; exit 1; fi"
    )
    result = run(tmp_path, experiment(command, trials=1, job={"backoffLimit": 2}))
    assert statuses(result) == [SUCCEEDED]
    assert (result.trials[0].attempts, result.trials[0].objective) == (2, 1.0)
    assert "loss=0" in log(result, name="stdout-1.log")
    worse = run(tmp_path, experiment(": ${lr}; exit 1", trials=1, job={"backoffLimit": 2}))
    assert (worse.trials[0].status, worse.trials[0].attempts) == (FAILED, 3)


def test_deadline(tmp_path: Path) -> None:
    result = run(
        tmp_path, experiment(": ${lr}; sleep 100", trials=1, job={"activeDeadlineSeconds": 1, "backoffLimit": 3})
    )
    assert "activeDeadlineSeconds" in result.trials[0].message
    assert result.trials[0].seconds < 3


@pytest.mark.parametrize(("limit", "ended"), [(1, 1), (2, 2)])
def test_too_many_failures(tmp_path: Path, limit: int, ended: int) -> None:
    document = experiment("exit ${number}", **GRID, parallel=1, maxFailedTrialCount=limit)
    with pytest.raises(SweepFailedError, match="exit status") as raised:
        run(tmp_path, document)
    assert raised.value.status == 1
    assert len(rows(tmp_path / "store")) == ended


@pytest.mark.parametrize("workers", [1, 3])
def test_goal(tmp_path: Path, workers: int) -> None:
    """Trial 1 reaches it; as with Katib those that run beside it, 2 and 3, end too."""
    document = experiment("echo loss=$((9 - ${number}))", **GRID, trials=6, parallel=3, objective={"goal": 7})
    result = run(tmp_path, document, workers=workers)
    assert result.outcome == GOAL
    assert len(result.trials) == 4
    assert run(tmp_path, experiment("echo loss=$((9 - ${number}))", **GRID, trials=6, parallel=3)).outcome == MAX_TRIALS


def test_grid_ends_when_all_is_tried(tmp_path: Path) -> None:
    document = experiment("echo loss=1 ${letter}", parameters=[LETTER], algorithm="grid", trials=None)
    result = run(tmp_path, document)
    assert [trial.assignments["letter"] for trial in result.trials] == ["a", "b", "c"]
    assert run(tmp_path, experiment("echo loss=2 ${letter}", parameters=[LETTER], trials=9)).outcome == EXHAUSTED


def test_more_trials_continue_the_study(tmp_path: Path) -> None:
    def document(trials: int, policy: str) -> dict[str, Any]:
        return experiment("echo loss=${lr}", algorithm="multivariate-tpe", trials=trials, resumePolicy=policy)

    first = run(tmp_path, document(2, "LongRunning"))
    more = run(tmp_path, document(4, "LongRunning"))
    assert more.trials[:2] == first.trials
    assert len(more.trials) == 4
    with pytest.raises(UserError, match="resumePolicy"):
        run(tmp_path, document(6, "Never"))


def test_workers_change_nothing(tmp_path: Path) -> None:
    found = []
    for workers in (1, 3):
        directory = tmp_path / str(workers)
        directory.mkdir()
        command = "sleep 0.$((${units} % 3)); echo loss=${lr}"
        document = experiment(
            command,
            parameters=[LEARNING_RATE, UNITS],
            algorithm="multivariate-tpe",
            settings={"n_startup_trials": "2"},
            trials=10,
            parallel=3,
        )
        run(directory, document, workers=workers)
        found.append(rows(directory / "store"))
    assert found[0] == found[1]


def test_median_stop(tmp_path: Path) -> None:
    command = "for i in 1 2 3; do echo loss=${number}; done; test ${number} -lt 4 || sleep 100"
    stopping = {
        "algorithmName": "medianstop",
        "algorithmSettings": [{"name": "min_trials_required", "value": "2"}, {"name": "start_step", "value": "2"}],
    }
    result = run(tmp_path, experiment(command, **GRID, trials=5, parallel=2, earlyStopping=stopping))
    # trial 2 knows trial 0 alone; trial 3 knows 0 and 1, whose median is 1.5
    assert statuses(result) == [SUCCEEDED] * 3 + [EARLY_STOPPED] * 2
    assert result.trials[3].reports["loss"] == (4.0, 4.0)
    assert result.trials[3].seconds < 10


@pytest.mark.parametrize("format", ["TEXT", "JSON"])
def test_metrics_file(tmp_path: Path, format: str) -> None:
    line = "loss=${number}" if format == "TEXT" else '{"loss": "${number}"}'
    collector = {
        "collector": {"kind": "File"},
        "source": {"fileSystemPath": {"path": "/katib/metrics.log", "kind": "File", "format": format}},
    }
    command = f"echo '{line}' > /katib/metrics.log; echo loss=99"
    result = run(tmp_path, experiment(command, **GRID, trials=3, metricsCollectorSpec=collector))
    assert [trial.objective for trial in result.trials] == [1.0, 2.0, 3.0]


def test_config_maps_and_environment(tmp_path: Path) -> None:
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "files"},
        "data": {"value.txt": "0.25", "other.txt": "x"},
    }
    document = experiment(
        "echo loss=$(cat /etc/study/value.txt); cat $WHERE/other.txt; echo; echo $RECEIPT_COUNTER_STORE;"
        ": ${lr};  echo $RECEIPT_COUNTER_STUDY $RECEIPT_COUNTER_TRIAL $OMP_NUM_THREADS; which python3;"
        "echo image=$RECEIPT_COUNTER_IMAGE",
        trials=1,
        container={
            "env": [
                {"name": "WHERE", "value": "/etc/study"},
                {"name": "OMP_NUM_THREADS", "value": "3"},
                {"name": "RECEIPT_COUNTER_IMAGE", "value": "of-a-cluster:1"},
            ],
            "volumeMounts": [{"name": "v", "mountPath": "/etc/study"}],
        },
        pod={"volumes": [{"name": "v", "configMap": {"name": "files"}}]},
    )
    result = run(tmp_path, document, config_map)
    study = result.directory.name
    where = str(Path(sys.executable).parent / "python3")
    expected = ["loss=0.25", "x", str(tmp_path / "store"), f"{study} small-0000 3", where, "image="]
    assert log(result).splitlines() == expected
    assert result.trials[0].objective == 0.25


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param(["echo", "loss=1", "  two", "words"], "loss=1 two words", id="split by the shell"),
        pytest.param(["echo", "loss=1;", "echo", "$((1 + 1))"], "loss=1\n2", id="run by the shell"),
        pytest.param(["python3", "-c", "'print(\"loss=1\")'"], "loss=1", id="quotes of one's own"),
        pytest.param(["A=5", "sh", "-c", "'echo loss=$A'"], "loss=5", id="assignment"),
        pytest.param(["bash", "-c", "echo loss=${BASH_VERSION:+1}"], "loss=1", id="its own shell"),
    ],
)
def test_command_and_args_are_joined_as_katib_does(words: list[str], expected: str) -> None:
    container = Container("main", tuple(words[:1]), tuple(words[1:]), {}, None, {}, 0)
    printed = subprocess.run(argv_of(container, {}), capture_output=True, text=True, check=True).stdout
    assert printed.strip() == expected


def test_gpus_go_to_one_trial_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    command = "echo gpu=$CUDA_VISIBLE_DEVICES; sleep 0.2; echo loss=${number}"
    limits = {"resources": {"limits": {"nvidia.com/gpu": 1}}}
    document = experiment(command, **GRID, trials=4, parallel=4, container=limits)
    result = run(tmp_path, document, workers=4)
    assert [log(result, i).splitlines()[0] for i in range(2)] == ["gpu=3", "gpu=5"]
    assert result.trials[2].started >= result.trials[0].started
    limits["resources"]["limits"]["nvidia.com/gpu"] = 3
    with pytest.raises(UserError, match="asks for 3 GPUs"):
        run(tmp_path, experiment(command, **GRID, container=limits))


TINY = Preloaded("tests.engines.tiny_trial", ())


def tiny(directory: Path, *words: str, **options: Any) -> SweepResult:
    document = experiment(["python3", "-m", TINY.module, *words], **{"trials": 1, **options})
    return LocalEngine(preloaded=TINY).run(read(directory, document), directory / "store")


@pytest.mark.parametrize(
    ("action", "status", "message"),
    [
        ("crash", FAILED, "exit status 1"),
        ("abort", FAILED, "killed by SIGABRT"),
        ("leave", FAILED, "exit status 7"),
        ("exit", FAILED, "exit status 1"),
        ("nothing", METRICS_UNAVAILABLE, "did not report"),
    ],
)
def test_a_forked_trial_fails_alone(tmp_path: Path, action: str, status: str, message: str) -> None:
    result = tiny(tmp_path, action)
    assert statuses(result) == [status]
    assert message in result.trials[0].message
    if action == "crash":
        assert "RuntimeError: as asked" in result.trials[0].log
    if action == "exit":
        assert result.trials[0].log[-1] == "no more"


def test_forked_trials(tmp_path: Path) -> None:
    result = tiny(tmp_path, "print", "${lr}", trials=4, parallel=2)
    assert statuses(result) == [SUCCEEDED] * 4
    first = log(result)
    assert "threads=1" in first
    assert f"trial=small-0000 directory={os.getcwd()}" in first
    assert result.trials[0].objective == float(result.trials[0].assignments["lr"])


def test_a_server_that_cannot_start(tmp_path: Path) -> None:
    document = experiment(["python3", "-m", "tests.engines.tiny_trial", "print", "${lr}"])
    engine = LocalEngine(preloaded=Preloaded("tests.engines.tiny_trial", ("no_such_module",)))
    with pytest.raises(UserError, match="no_such_module"):
        engine.run(read(tmp_path, document), tmp_path / "store")
