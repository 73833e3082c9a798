"""`receipt-counter promote`: publish a run's model to the store's registry, if it is good enough."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from receipt_counter.cli.parser import Subparsers, add_command, add_store_option

if TYPE_CHECKING:
    from receipt_counter.promotion.decision import Decision
    from receipt_counter.storage.registry import Version


def add_commands(commands: Subparsers) -> None:
    """Add `promote`."""
    parser = add_command(
        commands,
        "promote",
        promote_run,
        help="publish a run's model as the current version, if it passes the gates and is better than the one before",
        examples=["receipt-counter promote 3fa94c", "receipt-counter promote 3fa94c --name real-receipts --dry-run"],
    )
    parser.add_argument("run", metavar="RUN", help="run id or run directory; judged on the test split")
    parser.add_argument("--name", metavar="NAME", help="publish under this name (default: receipt-counter)")
    parser.add_argument("--dry-run", action="store_true", help="only say what would happen")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_store_option(parser)


def promote_run(arguments: argparse.Namespace) -> int:
    """Promote, or say why not (status 1)."""
    from contextlib import closing

    from receipt_counter.progress import open_progress
    from receipt_counter.promotion.promote import decide, promote
    from receipt_counter.storage.registry import DEFAULT_MODEL
    from receipt_counter.storage.run import Run
    from receipt_counter.storage.store import open_store

    store = open_store(arguments.store)
    run, model = Run.open(store.find_run(arguments.run)), arguments.name or DEFAULT_MODEL
    with closing(open_progress()) as progress:
        if arguments.dry_run:
            decision, version = decide(run, store, model, progress), None
        else:
            decision, version = promote(run, store, model, progress)
    if arguments.json:
        print(json.dumps(decision.as_dict(version), allow_nan=False))
    else:
        _print(decision, version)
    return int(bool(decision.reasons))


def _print(decision: Decision, version: Version | None) -> None:
    from rich.console import Console
    from rich.table import Table

    from receipt_counter.evaluation.gates import format_gates
    from receipt_counter.promotion.decision import COMPARISON_COLUMNS, comparison_rows, comparison_title, sentences

    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(format_gates(decision.gates))
    if decision.comparison is not None:
        table = Table(title=comparison_title(decision), title_justify="left")
        for column in COMPARISON_COLUMNS:
            table.add_column(column, justify="left" if column in ("figure", "verdict") else "right")
        for row in comparison_rows(decision.comparison):
            table.add_row(*row)
        console.print(table)
    headline, *reasons = sentences(decision, version)
    console.print(f"\n{headline}")
    for reason in reasons:
        console.print(f"- {reason}")
    if version is not None:
        console.print(f"card    {version.directory / 'card.md'}")
