"""Whatever is killed: the same command continues to the same end, and nothing survives the engine."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from receipt_counter.engines.base import FAILED, SUCCEEDED
from receipt_counter.engines.local import devices
from receipt_counter.engines.local.engine import LocalEngine
from receipt_counter.engines.local.preloaded import Preloaded
from receipt_counter.engines.local.trial_run import FORGIVEN_KILLS
from tests.engines.support import LEARNING_RATE, UNITS, experiment, read, rows, start_sweep, write

STUDY: dict[str, Any] = {
    "parameters": [LEARNING_RATE, UNITS],
    "algorithm": "multivariate-tpe",
    "settings": {"n_startup_trials": "3"},
    "trials": 10,
    "parallel": 3,
    "earlyStopping": {
        "algorithmName": "medianstop",
        "algorithmSettings": [{"name": "min_trials_required", "value": "2"}, {"name": "start_step", "value": "2"}],
    },
}
# some trials fail, some are stopped early
COMMAND = "for i in 1 2; do echo loss=${lr}; sleep 0.1; done; sleep 0.2; exit $((${units} % 2))"


def wait_for(condition: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("it never happened")


def group_members(marker: str) -> list[psutil.Process]:
    """Processes whose command names the marker."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and marker in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_killed_engines_end_like_an_undisturbed_one(tmp_path: Path) -> None:
    path = write(tmp_path / "experiment.yaml", experiment(COMMAND, **STUDY))
    undisturbed = start_sweep(path, tmp_path / "undisturbed", "--workers", "3")
    assert undisturbed.wait(240) == 0
    kills, random_instants = 0, random.Random(1)
    while True:
        engine = start_sweep(path, tmp_path / "killed", "--workers", "2")
        try:
            engine.wait(0.8 + random_instants.random() if kills < 5 else 240)
        except subprocess.TimeoutExpired:
            engine.kill()
            engine.wait()
            kills += 1
            continue
        break
    assert engine.returncode == 0
    assert kills >= 2
    expected = rows(tmp_path / "undisturbed")
    assert {row["status"] for row in expected} >= {"succeeded", "failed"}
    assert rows(tmp_path / "killed") == expected


@pytest.mark.parametrize("name", ["KILL", "TERM", "INT"])
def test_nothing_survives_the_engine(tmp_path: Path, name: str) -> None:
    marker = f"{1000 + random.SystemRandom().random():.9f}"
    command = f": ${{lr}}; sleep {marker} & sleep {marker}; echo"
    path = write(tmp_path / "experiment.yaml", experiment(command, parallel=2))
    engine = start_sweep(path, tmp_path / "store", "--workers", "2")
    wait_for(lambda: len(group_members(f"sleep {marker}")) >= 4)
    engine.send_signal(getattr(signal, f"SIG{name}"))
    _, errors = engine.communicate(timeout=120)
    wait_for(lambda: not group_members(marker))
    if name != "KILL":
        assert engine.returncode == 128 + getattr(signal, f"SIG{name}")
        assert "the same command continues" in errors
        assert "Traceback" not in errors


def test_a_second_signal_does_not_wait(tmp_path: Path) -> None:
    command = ": ${lr}; trap 'echo asked' TERM; echo up; while :; do sleep 1; done"
    path = write(tmp_path / "experiment.yaml", experiment(command, parallel=1))
    engine = start_sweep(path, tmp_path / "store")
    logs = tmp_path / "store"

    def says(word: str) -> bool:
        return any(word in log.read_text() for log in logs.glob("studies/*/trials/*/stdout.log"))

    wait_for(lambda: says("up"))
    engine.terminate()
    wait_for(lambda: says("asked"))
    assert engine.poll() is None
    began = time.monotonic()
    engine.terminate()
    assert engine.wait(60) == 128 + signal.SIGTERM
    assert time.monotonic() - began < 2.5


@pytest.mark.parametrize(
    ("dies", "times", "status", "attempts"),
    [
        pytest.param("kill -9 0", FORGIVEN_KILLS, SUCCEEDED, 1, id="killed"),
        pytest.param("kill -9 0", FORGIVEN_KILLS + 1, SUCCEEDED, 2, id="killed once more: a failed attempt"),
        pytest.param("kill -9 0", FORGIVEN_KILLS + 2, FAILED, 2, id="killed too often"),
        pytest.param("kill -TERM $$$$", 1, SUCCEEDED, 1, id="asked to end by others"),
        pytest.param("sh -c 'kill -9 $$$$'; exit $?", 1, SUCCEEDED, 1, id="its child was killed"),
        pytest.param("exit 1", 2, FAILED, 2, id="failed"),
        pytest.param("kill -SEGV $$$$", 2, FAILED, 2, id="crashed"),
    ],
)
def test_a_killed_attempt_is_no_failed_one(tmp_path: Path, dies: str, times: int, status: str, attempts: int) -> None:
    """There is one retry for failures; what others killed is repeated beside it. Kubernetes makes $$ of $$$$."""
    count = tmp_path / "count"
    command = f": ${{lr}}; echo x >> {count}; test $(wc -l < {count}) -gt {times} || {{ {dies}; }}; echo loss=1"
    document = experiment(command, trials=1, parallel=1, job={"backoffLimit": 1})
    (trial,) = LocalEngine().run(read(tmp_path, document), tmp_path / "store").trials
    assert (trial.status, trial.attempts) == (status, attempts)
    runs = times + 1 if status == SUCCEEDED else times
    assert trial.endings == len(count.read_text().split()) == runs
    logs = tmp_path / "store" / "studies"
    assert len(list(logs.glob("*/trials/*/stdout-*.log"))) == trial.endings - 1


def test_what_needs_too_much_memory_is_not_begun_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's counter rises when it kills for memory: here the trial raises it itself."""
    counters = tmp_path / "vmstat"
    counters.write_text("nr_free_pages 7\noom_kill 3\n")
    monkeypatch.setattr(devices, "VMSTAT", counters)
    command = f": ${{lr}}; echo 'oom_kill 4' > {counters}; kill -9 0"
    (trial,) = LocalEngine().run(read(tmp_path, experiment(command, trials=1)), tmp_path / "store").trials
    assert (trial.attempts, trial.kills, trial.message) == (1, 0, "killed by SIGKILL: memory ran out")


def test_two_engines_at_once(tmp_path: Path) -> None:
    flag = tmp_path / "go"
    waiting = f"until [ -e {flag} ]; do sleep 0.05; done; echo loss=${{lr}}"
    path = write(tmp_path / "experiment.yaml", experiment(waiting, trials=2))
    first = start_sweep(path, tmp_path / "store")
    wait_for(lambda: list((tmp_path / "store").glob("studies/*/trials/*/trial.json")))
    second = start_sweep(path, tmp_path / "store")
    _, errors = second.communicate(timeout=120)
    assert second.returncode == 2
    assert f"process {first.pid} is already working on this study" in errors
    flag.touch()
    assert first.wait(120) == 0


def test_a_server_that_dies_takes_its_trials_along_and_they_begin_again(tmp_path: Path) -> None:
    tiny = Preloaded("tests.engines.tiny_trial", ())
    flag = tmp_path / "asleep"
    document = experiment(["python3", "-m", tiny.module, "sleep-once", str(flag), "${lr}"], trials=1)

    def kill_server() -> None:
        wait_for(flag.exists)
        (server,) = [found for found in group_members("local.preloaded") if found.ppid() == os.getpid()]
        server.kill()

    killer = threading.Thread(target=kill_server)
    killer.start()
    (trial,) = LocalEngine(preloaded=tiny).run(read(tmp_path, document), tmp_path / "store").trials
    killer.join()
    assert (trial.status, trial.attempts, trial.kills) == (SUCCEEDED, 1, 1)
    wait_for(lambda: not group_members("sleep 61.5"))


def test_a_server_killed_while_it_starts_is_started_again(tmp_path: Path) -> None:
    tiny = Preloaded("tests.engines.tiny_trial", ("torch",))
    document = experiment(["python3", "-m", tiny.module, "print", "${lr}"], trials=1)

    def kill_server() -> None:
        (server,) = wait_for(lambda: [f for f in group_members("local.preloaded") if f.ppid() == os.getpid()])
        server.kill()

    killer = threading.Thread(target=kill_server)
    killer.start()
    (trial,) = LocalEngine(preloaded=tiny).run(read(tmp_path, document), tmp_path / "store").trials
    killer.join()
    assert (trial.status, trial.kills) == (SUCCEEDED, 0)
