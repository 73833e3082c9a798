"""What the local engine costs: sleeping trials of mixed lengths on two workers, beside Optuna's own loop and Ray Tune.

Each starts the same shell command for the same lengths in the same order, in turns, several times; medians count. The
ideal is what two workers need that take the next trial the instant they are free. The time of the engine includes its
start and end: reading the study, the journal with its fsyncs, trials.csv. Ray is up before its time begins.

Then what a trial of ours waits for: from its start to its first line, forked from the engine's server and as a Python
of its own with the same imports.

    pip install 'ray[tune]'                          # or the extra `bench`; without it Ray's row is left out
    python benchmarks/engine_overhead.py             # 24 trials three times, about 3 minutes
    python benchmarks/engine_overhead.py --trials 48 --rounds 5
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import importlib
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from kubeflow_katib_api.models import V1beta1Experiment

from receipt_counter.engines.local.engine import LocalEngine
from receipt_counter.engines.local.guardian import Guardian
from receipt_counter.engines.local.preloaded import OURS, PreloadedServer
from receipt_counter.engines.local.trial_process import Launch
from receipt_counter.katib.experiment import StudyDocument

WORKERS = 2
WANTED_OVERHEAD = 0.2  # seconds a trial
WANTED_PACKING = 0.95
ARGUMENTS = ["--help"]  # of a trial of ours whose first line comes at once

Contender = Callable[[Sequence[float]], None]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=24, help="how many trials")
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is measured")
    arguments = parser.parse_args()
    lengths = [round(0.3 + 0.1 * (index * 7 % 11), 1) for index in range(arguments.trials)]
    with contenders() as running:
        rounds = [[timed(run, lengths) for run in running.values()] for _ in range(arguments.rounds)]
    show_overhead(dict(zip(running, zip(*rounds, strict=True), strict=True)), lengths)
    show_first_lines(arguments.rounds)


@contextlib.contextmanager
def contenders() -> Iterator[dict[str, Contender]]:
    """Who is measured; Ray while it is up, where it is installed."""
    found: dict[str, Contender] = {"this engine": run_engine, "Optuna, n_jobs=2": run_optuna}
    if importlib.util.find_spec("ray") is None:
        print("Ray Tune is left out: ray is not installed")
        yield found
        return
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # its tables
    ray: Any = importlib.import_module("ray")
    ray.init(num_cpus=WORKERS, logging_level="ERROR", log_to_driver=False, include_dashboard=False)
    try:
        yield {**found, f"Ray Tune {ray.__version__}": run_ray}
    finally:
        ray.shutdown()


def timed(run: Contender, lengths: Sequence[float]) -> float:
    """Seconds of a call."""
    started = time.perf_counter()
    run(lengths)
    return time.perf_counter() - started


def show_overhead(measured: dict[str, tuple[float, ...]], lengths: Sequence[float]) -> None:
    """Print a row for each contender: its median."""
    ideal = ideal_seconds(lengths)
    print(f"{len(lengths)} trials of {min(lengths)} to {max(lengths)} s, {WORKERS} workers; ideal {ideal:.2f} s")
    print(f"{'':24}{'seconds':>9}{'packing':>9}{'a trial':>11}   all rounds")
    for name, rounds in measured.items():
        seconds = statistics.median(rounds)
        overhead = (seconds - ideal) * WORKERS / len(lengths)
        everything = " ".join(f"{round:.2f}" for round in rounds)
        print(f"{name:24}{seconds:9.2f}{ideal / seconds:9.1%}{overhead:+9.3f} s   {everything}")
    print(f"wanted of this engine: packing at least {WANTED_PACKING:.0%}, at most {WANTED_OVERHEAD} s a trial\n")


def show_first_lines(rounds: int) -> None:
    """Print what a trial of ours waits for before it can say anything."""
    with tempfile.TemporaryDirectory() as scratch:
        log = Path(scratch) / "trial.log"
        with preloaded_server(Path(scratch)) as (server, ready):
            pairs = [(forked_first_line(server, log), fresh_first_line(log)) for _ in range(rounds)]
    forked, fresh = (statistics.median(times) for times in zip(*pairs, strict=True))
    print("from the start of a trial of ours to its first line")
    print(f"{'forked from the server':28}{forked:9.3f} s   (the server itself: {ready:.2f} s, once)")
    print(f"{'a Python of its own':28}{fresh:9.3f} s   {fresh / forked:.0f} times as long")


@contextlib.contextmanager
def preloaded_server(directory: Path) -> Iterator[tuple[PreloadedServer, float]]:
    """The server that trials of ours fork from, and how long it took to be ready."""
    guardian, started = Guardian(), time.perf_counter()
    server = PreloadedServer(OURS, dict(os.environ), directory / "server.log", guardian)
    try:
        while not server.is_ready and server.is_alive:
            server.handle()
            time.sleep(0.001)
        yield server, time.perf_counter() - started
    finally:
        server.close()
        guardian.close()


def forked_first_line(server: PreloadedServer, log: Path) -> float:
    """Seconds from asking the server for a trial to its first line."""
    log.unlink(missing_ok=True)
    started = time.perf_counter()
    trial = server.start(Launch((), dict(os.environ), Path.cwd(), log), ARGUMENTS)
    seconds = first_line(log, started)
    while trial.poll() is None:
        server.handle()
    return seconds


def fresh_first_line(log: Path) -> float:
    """Seconds from starting a Python that imports the same to the trial's first line."""
    log.unlink(missing_ok=True)
    code = f"import {', '.join(OURS.imports)}, {OURS.module} as trial; trial.main({ARGUMENTS})"
    started = time.perf_counter()
    with log.open("ab") as output, subprocess.Popen([sys.executable, "-c", code], stdout=output, stderr=output):
        return first_line(log, started)


def first_line(log: Path, started: float) -> float:
    """Seconds until there is something in a log."""
    while not log.exists() or not log.stat().st_size:
        time.sleep(0.001)
    return time.perf_counter() - started


def ideal_seconds(lengths: Sequence[float]) -> float:
    """When the last of the trials ends if the next starts the instant a worker is free."""
    free = [0.0] * WORKERS
    for length in lengths:
        heapq.heapreplace(free, free[0] + length)
    return max(free)


def command(length: float) -> list[str]:
    """A trial."""
    return ["sh", "-c", f"sleep {length}; echo loss={length}"]


def run_engine(lengths: Sequence[float]) -> None:
    """The local engine on a grid over the lengths."""
    places = [str(index) for index in range(len(lengths))]
    choices = " ".join(map(str, lengths))
    shell = f"set -- {choices}; shift ${{trialParameters.place}}; sleep $1; echo loss=$1"
    document = experiment(["sh", "-c", shell], places)
    with tempfile.TemporaryDirectory() as store:
        result = LocalEngine(WORKERS).run(document, Path(store))
    assert [trial.objective for trial in result.trials] == list(lengths)


def experiment(words: list[str], places: list[str]) -> StudyDocument:
    """A study whose trials run a shell command each."""
    container = {"name": "main", "image": "none", "command": words}
    plain: dict[str, Any] = {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": "sleeping"},
        "spec": {
            "objective": {"type": "minimize", "objectiveMetricName": "loss"},
            "algorithm": {"algorithmName": "grid"},
            "parallelTrialCount": WORKERS,
            "maxTrialCount": len(places),
            "parameters": [{"name": "place", "parameterType": "categorical", "feasibleSpace": {"list": places}}],
            "trialTemplate": {
                "primaryContainerName": "main",
                "trialParameters": [{"name": "place", "reference": "place"}],
                "trialSpec": {
                    "apiVersion": "batch/v1",
                    "kind": "Job",
                    "spec": {"template": {"spec": {"containers": [container], "restartPolicy": "Never"}}},
                },
            },
        },
    }
    found = V1beta1Experiment.from_dict(plain)
    assert found is not None
    return StudyDocument(found, {})


def run_optuna(lengths: Sequence[float]) -> None:
    """Optuna's own parallel loop: threads that start the commands."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_float("x", 0.0, 1.0)
        printed = subprocess.run(command(lengths[trial.number]), capture_output=True, text=True, check=True).stdout
        return float(printed.partition("=")[2])

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(objective, n_trials=len(lengths), n_jobs=WORKERS)


def run_ray(lengths: Sequence[float]) -> None:
    """Ray Tune on a grid over the lengths."""
    tune: Any = importlib.import_module("ray.tune")

    def trainable(config: dict[str, float]) -> None:
        printed = subprocess.run(command(config["length"]), capture_output=True, text=True, check=True).stdout
        tune.report({"loss": float(printed.partition("=")[2])})

    with tempfile.TemporaryDirectory() as store:
        result = tune.Tuner(
            tune.with_resources(trainable, {"cpu": 1}),
            param_space={"length": tune.grid_search(list(lengths))},
            tune_config=tune.TuneConfig(reuse_actors=True),  # else each trial pays for a Python of its own
            run_config=tune.RunConfig(storage_path=store, verbose=0),
        ).fit()
    assert sorted(found.metrics["loss"] for found in result) == sorted(lengths)


if __name__ == "__main__":
    main()
