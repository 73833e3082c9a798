"""`receipt-counter sweep`: run the study an Experiment describes."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from receipt_counter.cli.parser import Subparsers, add_command, add_store_option, add_workers_option
from receipt_counter.engines.choice import ENGINES, LOCAL, make_engine
from receipt_counter.errors import UserError

if TYPE_CHECKING:
    from receipt_counter.engines.base import SweepResult

FAILURES_SHOWN = 5


def add_commands(commands: Subparsers) -> None:
    """Add `sweep`."""
    parser = add_command(
        commands,
        "sweep",
        sweep,
        help="run a Katib Experiment: its trials as parallel processes on this machine, or on a cluster",
        examples=[
            "receipt-counter sweep experiment.yaml --engine local",
            "receipt-counter sweep experiment.yaml --engine local --workers 4 --store results",
            "receipt-counter sweep experiment.yaml --engine katib",
        ],
    )
    parser.add_argument("experiment", metavar="EXPERIMENT.yaml", type=Path, help="the Experiment, and its ConfigMaps")
    parser.add_argument(
        "--engine",
        default="local",
        choices=ENGINES,
        help="local: on this machine (default); katib: on the kubeconfig's cluster, followed from here",
    )
    parser.add_argument(
        "--delete-on-stop",
        action="store_true",
        help="with --engine katib: Ctrl-C or SIGTERM deletes the Experiment too (default: it runs on)",
    )
    parser.add_argument(
        "--delete-when-done",
        action="store_true",
        help="with --engine katib: once it has succeeded and is recorded here, the Experiment is deleted, and with it"
        " its trials' pods (default: it is kept)",
    )
    add_workers_option(parser)
    add_store_option(parser)


def sweep(arguments: argparse.Namespace) -> int:
    """Run the study and sum up what it found."""
    from receipt_counter.engines.view import open_view
    from receipt_counter.katib.experiment import read_document
    from receipt_counter.storage.store import open_store

    engine = make_engine(
        arguments.engine,
        lambda: open_view(sys.stderr),
        workers=arguments.workers,
        delete_on_stop=arguments.delete_on_stop,
        delete_when_done=arguments.delete_when_done,
    )
    store = open_store(arguments.store)
    document = read_document(arguments.experiment)
    try:
        engine.check(document)
    except UserError as error:
        lines = "\n".join(f"  {line}" for line in error.message.splitlines())
        where = "here" if arguments.engine == LOCAL else "on a cluster"
        raise UserError(f"{arguments.experiment}: cannot run {where}:\n{lines}") from None
    return _print_summary(engine.run(document, store.root))


def _print_summary(result: SweepResult) -> int:
    from rich.console import Console

    from receipt_counter.engines.base import EXHAUSTED, GOAL, UNSUCCESSFUL

    console = Console(highlight=False, markup=False, soft_wrap=True)
    if not result.worked:
        console.print(f"nothing to do: study {result.study_id} is finished")
    failed = [trial for trial in result.trials if trial.status in UNSUCCESSFUL]
    why = {GOAL: ": the goal is reached", EXHAUSTED: ": there is nothing else to try"}.get(result.outcome, "")
    console.print(f"{len(result.trials)} trials{f', {len(failed)} failed' if failed else ''}{why}")
    if result.optimum is not None:
        console.print(f"best    {result.optimum.name}: {result.optimum.objective:.6g}")
        for name, value in result.optimum.assignments.items():
            console.print(f"          {name} = {value}")
        for trial in failed[:FAILURES_SHOWN]:
            console.print(f"failed  {trial.name}: {trial.message}")
        if len(failed) > FAILURES_SHOWN:
            console.print(f"        and {len(failed) - FAILURES_SHOWN} more")
    else:
        console.print("no trial reported the objective; the last to fail said:")
        console.print("\n".join(trial.failure for trial in failed[-1:]))
    console.print(f"trials  {os.path.relpath(result.directory / 'trials.csv')}")
    return 0 if result.optimum is not None else 1
