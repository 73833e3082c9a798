"""`receipt-counter plan`: what a study would try and cost, and its Katib Experiment."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from receipt_counter.cli.config import resolve_config
from receipt_counter.cli.parser import Subparsers, add_command, add_config_options, add_store_option
from receipt_counter.errors import UserError, suggestion

if TYPE_CHECKING:
    from receipt_counter.config.loading import Resolved
    from receipt_counter.study.plan import Plan

STUDIES = ("hyperparameter", "ablation")
SMALL_PRESET = "study"  # what `--preset auto` takes for a study without a GPU
OVER_BUDGET = 1


def add_commands(commands: Subparsers) -> None:
    """Add `plan`."""
    parser = add_command(
        commands,
        "plan",
        plan,
        help="say what a study would try and what it would cost, and write its Katib Experiment",
        examples=[
            "receipt-counter plan --mode ablation --preset study",
            "receipt-counter plan --mode hyperparameter --preset laptop --budget 0.5 -o experiment.yaml",
        ],
    )
    parser.add_argument("--mode", required=True, metavar="MODE", help="hyperparameter or ablation")
    parser.add_argument("--budget", type=float, metavar="HOURS", help="device-hours; a dearer study is refused")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="where the Experiment goes")
    add_study_options(parser)
    add_store_option(parser)
    add_config_options(parser)


def add_study_options(parser: Any) -> None:
    """Add the options that name the study files."""
    for kind in STUDIES:
        default = Path("config") / f"{kind}_config.yaml"
        parser.add_argument(
            f"--{kind}-config", type=Path, default=default, metavar="FILE", help=f"the study (default: {default})"
        )


def plan(arguments: argparse.Namespace) -> int:
    """Print the plan; write the Experiment unless it is over budget."""
    if arguments.mode not in STUDIES:
        raise UserError(f"--mode {arguments.mode}: no such study; {suggestion(arguments.mode, STUDIES)}")
    resolved = resolve_config(arguments, SMALL_PRESET)
    for note in resolved.notes:
        print(note, flush=True)
    planned = make_plan(arguments, arguments.mode, resolved)
    _show(planned)
    refuse_over_budget(planned, arguments.budget)
    if arguments.output is not None:
        from receipt_counter.katib.experiment import write_document

        write_document(planned.document, arguments.output)
        print(f"\nwrote {arguments.output}; run it: receipt-counter sweep {arguments.output}")
        print(f"or on a cluster: kubectl apply -f {arguments.output}")
    return 0


def make_plan(arguments: argparse.Namespace, mode: str, resolved: Resolved, *, on_cluster: bool = False) -> Plan:
    """The plan of the study that the options of `add_study_options` name.

    Args:
        arguments: with those options, and the store's.
        mode: one of STUDIES.
        resolved: the config that every variant changes.
        on_cluster: whether the user's own dataset, if there is one, is out of reach from here.
    """
    from receipt_counter.data.dataset import Dataset
    from receipt_counter.storage.store import open_store
    from receipt_counter.storage.sync import locate
    from receipt_counter.study.plan import plan_ablation, plan_search

    path = resolved.config.data.path
    images = len(Dataset.open(locate(path)).examples("train")) if path and not on_cluster else None
    file = getattr(arguments, f"{mode}_config")
    make = plan_search if mode == "hyperparameter" else plan_ablation
    return make(file, resolved, open_store(arguments.store), images)


def refuse_over_budget(planned: Plan, budget: float | None) -> None:
    """Refuse a study that is expected to cost more than it may.

    Args:
        planned: the study; its file may name a budget.
        budget: device-hours; None takes the file's.

    Raises:
        UserError: it costs more.
    """
    budget = budget or planned.settings.budget.device_hours
    if budget is None:
        return
    if planned.cost is None:
        print(f"\nwhether it fits the budget of {budget:g} device-hours cannot be said without a past run")
    elif planned.cost.device_hours > budget:
        raise UserError(
            f"the study is expected to take {planned.cost.device_hours:.2g} device-hours, more than the budget of"
            f" {budget:g}: give it fewer trials, seeds or epochs, or a larger --budget",
            status=OVER_BUDGET,
        )


def _show(planned: Plan) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    search = planned.kind == "hyperparameter"
    table = Table(title=plan_title(planned))
    for heading in ("parameter", "values") if search else ("variant", "changes"):
        table.add_column(heading, overflow="fold")
    for name, change in planned.changes:
        table.add_row(escape(name), escape(change))
    console.print()
    console.print(table)
    for note in planned.notes:
        console.print(f"note: {note}", markup=False)
    console.print(plan_cost(planned), markup=False)


def plan_title(planned: Plan) -> str:
    """How many trials, in words."""
    seeds = len(planned.settings.seeds)
    plural = "s" * (seeds > 1)
    if planned.kind == "hyperparameter":
        return f"{planned.trials} trials by {planned.settings.algorithm.name}, each with {seeds} seed{plural}"
    return f"{len(planned.changes)} variants x {seeds} seed{plural} = {planned.trials} trials"


def plan_cost(planned: Plan) -> str:
    """What it will cost, in words."""
    cost = planned.cost
    if cost is None:
        return "cost: unknown, there is no past run of this model and picture size (run one: receipt-counter run)"
    return (
        f"cost: {_hours(cost.device_hours)} of device time ({_hours(cost.low)} to {_hours(cost.high)}), about"
        f" {_hours(cost.hours)} with {planned.settings.parallelism} at a time; from {cost.past_runs} past runs"
    )


def _hours(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.1f} min"
