"""What the local engine costs: sleeping trials of mixed lengths on two workers, beside Optuna's own loop and Ray Tune.

Each starts the same shell command for the same lengths in the same order, one after the other in this run. The ideal is
what two workers need that take the next trial the instant they are free. The time of each includes its own start and
end: reading the study, the journal with its fsyncs, trials.csv.

    python benchmarks/engine_overhead.py             # 24 trials, about 40 s
    python benchmarks/engine_overhead.py --trials 48
"""

from __future__ import annotations

import argparse
import heapq
import importlib.util
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kubeflow_katib_api.models import V1beta1Experiment

from receipt_counter.engines.local.engine import LocalEngine
from receipt_counter.katib.experiment import StudyDocument

WORKERS = 2
WANTED_OVERHEAD = 0.2  # seconds a trial
WANTED_PACKING = 0.95


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=24, help="how many trials")
    lengths = [round(0.3 + 0.1 * (index * 7 % 11), 1) for index in range(parser.parse_args().trials)]
    ideal = ideal_seconds(lengths)
    print(f"{len(lengths)} trials of {min(lengths)} to {max(lengths)} s, {WORKERS} workers; ideal {ideal:.2f} s")
    print(f"{'':28}{'seconds':>9}{'packing':>9}{'a trial':>11}")
    for name, run in (("this engine", run_engine), ("Optuna, n_jobs=2", run_optuna), ("Ray Tune", run_ray)):
        if run is run_ray and importlib.util.find_spec("ray") is None:
            print(f"{name:28}ray is not installed")
            continue
        seconds = timed(run, lengths)
        overhead = (seconds - ideal) * WORKERS / len(lengths)
        print(f"{name:28}{seconds:9.2f}{ideal / seconds:9.1%}{overhead:+9.3f} s")
    print(f"wanted of this engine: packing at least {WANTED_PACKING:.0%}, at most {WANTED_OVERHEAD} s a trial")


def timed(run: Callable[[Sequence[float]], None], lengths: Sequence[float]) -> float:
    """Seconds of a call."""
    started = time.perf_counter()
    run(lengths)
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
    ray: Any = importlib.import_module("ray")
    tune: Any = importlib.import_module("ray.tune")

    def trainable(config: dict[str, float]) -> None:
        printed = subprocess.run(command(config["length"]), capture_output=True, text=True, check=True).stdout
        tune.report({"loss": float(printed.partition("=")[2])})

    ray.init(num_cpus=WORKERS, logging_level="ERROR", log_to_driver=False)
    tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}), param_space={"length": tune.grid_search(list(lengths))}
    ).fit()
    ray.shutdown()


if __name__ == "__main__":
    main()
