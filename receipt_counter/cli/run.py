"""`receipt-counter run`: run an experiment as a pipeline."""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from receipt_counter.cli.config import resolve_config
from receipt_counter.cli.parser import Subparsers, add_command, add_config_options, add_store_option
from receipt_counter.errors import UserError, suggestion

if TYPE_CHECKING:
    from receipt_counter.config.loading import Resolved
    from receipt_counter.storage.store import Store

MODES = ("single",)
LATER_MODES = ("hyperparameter", "ablation", "all")
BACKENDS = ("local",)
LATER_BACKENDS = ("kubeflow",)


def add_commands(commands: Subparsers) -> None:
    """Add `run`."""
    parser = add_command(
        commands,
        "run",
        run,
        help="run an experiment: prepare data, train, evaluate, draw the report",
        examples=[
            "receipt-counter run --mode single",
            "receipt-counter run --mode single --preset laptop --set training.learning_rate=1e-3 --seed 7",
            "receipt-counter run --mode single --data my-receipts --experiment-name real",
        ],
    )
    parser.add_argument("--mode", default="single", metavar="MODE", help="single: one experiment (default)")
    parser.add_argument("--backend", default="local", metavar="NAME", help="local: on this machine (default)")
    parser.add_argument("--experiment-name", metavar="NAME", help="recorded with the run (default: the preset's name)")
    add_store_option(parser)
    add_config_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the pipeline and sum up what it found."""
    _require("--mode", arguments.mode, MODES, LATER_MODES, "studies")
    _require("--backend", arguments.backend, BACKENDS, LATER_BACKENDS, "cluster support")
    if importlib.util.find_spec("kfp") is None:
        raise UserError("kfp is not installed; install this project with its extra `local`: pip install '.[local]'")
    from receipt_counter.progress import terminal_sink
    from receipt_counter.storage.store import open_store

    store = open_store(arguments.store)
    resolved = resolve_config(arguments)
    for note in resolved.notes:
        print(note, flush=True)
    from receipt_counter.cli.local_pipeline import run_pipeline

    result = run_pipeline(store, _pipeline_arguments(arguments, resolved, store), terminal_sink(sys.stderr))
    _print_summary(Path(result.outputs["run"]), nothing_done=not result.steps)
    return 0


def _require(option: str, value: str, valid: tuple[str, ...], later: tuple[str, ...], comes_with: str) -> None:
    if value in later:
        raise UserError(f"{option} {value}: comes with {comes_with} and is not there yet; use {option} {valid[0]}")
    if value not in valid:
        raise UserError(f"{option} {value}: no such choice; {suggestion(value, (*valid, *later))}")


def _pipeline_arguments(arguments: argparse.Namespace, resolved: Resolved, store: Store) -> dict[str, Any]:
    from receipt_counter.config.loading import to_yaml
    from receipt_counter.data.dataset import Dataset
    from receipt_counter.storage.versions import code_version

    data = resolved.config.data.path
    return {
        "config": to_yaml(resolved.config),
        "store": str(store.root),
        "experiment_name": arguments.experiment_name or resolved.preset,
        "code_version": code_version(),
        "data_fingerprint": Dataset.open(Path(data)).fingerprint if data else "",
    }


def _print_summary(run_directory: Path, *, nothing_done: bool) -> None:
    from rich.console import Console
    from rich.markup import escape

    from receipt_counter.evaluation.gates import format_gates
    from receipt_counter.storage.files import read_json
    from receipt_counter.storage.run import Run

    finished = Run.open(run_directory)
    report = run_directory / "report.html"
    if not report.exists():
        from receipt_counter.report.run_report import write_run_report

        write_run_report(run_directory)
    console = Console(highlight=False, soft_wrap=True)
    console.print()
    if nothing_done:
        console.print(f"nothing to do: this experiment is finished, as run {run_directory.name}")
    console.print(format_gates(read_json(finished.evaluation("test") / "metrics.json")["gates"]))
    shown = _relative(run_directory)
    console.print()
    console.print(f"report  {_relative(report)}", markup=False)
    console.print(f"run     {shown}", markup=False)
    ours = _as_typed("receipt-counter")
    commands = {
        f"{ours} predict --model {shown} PHOTO.jpg": "ask the model",
        f"{_as_typed('tensorboard')} --logdir {shown}/events": "look at the curves",
        f"{ours} run --mode single --set training.learning_rate=1e-3": "change something",
        f"{ours} data import folder PHOTOS --output DIR": "bring your own receipts",
    }
    for command, purpose in commands.items():
        console.print(f"\n[dim]# {purpose}[/dim]\n{escape(command)}")


def _as_typed(program: str) -> str:
    """A program as it can be typed here: by its name, or by its path where the environment is not activated."""
    beside = Path(sys.executable).parent / program
    return str(_relative(beside)) if beside.exists() and shutil.which(program) != str(beside) else program


def _relative(path: Path) -> Path:
    """The path as short as it can be typed from here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
