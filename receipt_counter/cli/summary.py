"""What `receipt-counter run` prints when a pipeline has ended: the figures, the findings, and what to try next."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from receipt_counter.evaluation.gates import format_gates
from receipt_counter.storage.files import read_json
from receipt_counter.storage.pusher import push
from receipt_counter.storage.run import Run
from receipt_counter.storage.sync import locate, mirror_of, uri

if TYPE_CHECKING:
    from receipt_counter.cli.local_pipeline import Result

FINDINGS_SHOWN = 8
_ALWAYS = {"promote"}  # steps that decide again each time


def print_summary(mode: str, result: Result) -> None:
    """Sum up a finished pipeline.

    Args:
        mode: of `receipt-counter run`.
        result: what the pipeline left.
    """
    console = Console(highlight=False, soft_wrap=True)
    outputs = {name: locate(uri) for name, uri in result.outputs.items()}
    if set(result.steps) <= _ALWAYS:
        what = f"this experiment is finished, as run {outputs['run'].name}" if mode == "single" else "all is finished"
        console.print(f"\nnothing to do: {what}")
    next_commands: dict[str, str] = {}
    if mode in ("single", "all"):
        next_commands |= _run(console, outputs["run"])
    studies = {"hyperparameter": ["study"], "ablation": ["study"], "all": ["search", "ablation"]}.get(mode, [])
    for name in studies:
        next_commands |= _study(console, outputs[name])
    if "decision" in outputs:
        console.print()
        console.print(outputs["decision"].read_text(encoding="utf-8").strip(), markup=False)
    for command, purpose in next_commands.items():
        console.print(f"\n[dim]# {purpose}[/dim]\n{escape(command)}")


def _run(console: Console, run_directory: Path) -> dict[str, str]:
    """Print a run's figures; returns the commands to try next."""
    finished = Run.open(run_directory)
    report = run_directory / "report.html"
    if not report.exists():
        from receipt_counter.report.run_report import write_run_report

        write_run_report(run_directory)
        push(report)
    console.print()
    console.print(format_gates(read_json(finished.evaluation("test") / "metrics.json")["gates"]))
    shown = _shown(run_directory)
    console.print()
    console.print(f"report  {_relative(report)}", markup=False)
    console.print(f"run     {shown}", markup=False)
    ours, store = _as_typed("receipt-counter"), _shown(run_directory.parents[1])
    return {
        f"{ours} predict --model {shown} PHOTO.jpg": "ask the model",
        f"{ours} tensorboard --store {store}": "look at the curves, of this run and all others",
        **_monitor(ours, store),
        f"{ours} promote {shown}": "publish the model, if it passes the gates",
        f"{ours} run --mode single --set training.learning_rate=1e-3": "change something",
        f"{ours} data import folder PHOTOS --output DIR": "bring your own receipts",
    }


def _study(console: Console, study: Path) -> dict[str, str]:
    """Print a study's findings; returns the commands to try next."""
    analysis = read_json(study / "analysis.json")
    findings = analysis["findings"]
    console.print(f"\n[bold]{escape(study.name)}[/bold]")
    for sentence in findings[:FINDINGS_SHOWN]:
        console.print(f"- {sentence}", markup=False)
    if len(findings) > FINDINGS_SHOWN:
        console.print(f"- ... and {len(findings) - FINDINGS_SHOWN} more in the report")
    console.print(f"report  {_relative(study / 'report.html')}", markup=False)
    console.print(f"trials  {_relative(study / 'trials.csv')}", markup=False)
    ours, store = _as_typed("receipt-counter"), _shown(study.parents[1])
    curves = {f"{ours} tensorboard {study.name} --store {store}": "compare its runs' curves", **_monitor(ours, store)}
    best = study / "best_config.yaml"
    if not best.exists():
        return curves
    return {f"{ours} run --mode single --config {_relative(best)}": "train the best trial again", **curves}


def _monitor(ours: str, store: str) -> dict[str, str]:
    return {f"{ours} monitor --experiments-dir {store} --open": "look at everything in the browser"}


def _as_typed(program: str) -> str:
    """A program as it can be typed here: by its name, or by its path where the environment is not activated."""
    beside = Path(sys.executable).parent / program
    return str(_relative(beside)) if beside.exists() and shutil.which(program) != str(beside) else program


def _shown(path: Path) -> str:
    """A directory of the store as other machines know it, or as short as it can be typed from here."""
    return str(_relative(path)) if mirror_of(path) is None else uri(path)


def _relative(path: Path) -> Path:
    """The path as short as it can be typed from here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
