"""`receipt-counter report`: draw a run's report again."""

from __future__ import annotations

import argparse

from receipt_counter.cli.parser import Subparsers, add_command, add_store_option


def add_commands(commands: Subparsers) -> None:
    """Add `report`."""
    parser = add_command(
        commands,
        "report",
        draw_report,
        help="draw a run's report again",
        examples=["receipt-counter report 3fa94c", "receipt-counter report experiments/runs/3fa94c1b22d0"],
    )
    parser.add_argument("run", metavar="RUN", help="run id or run directory")
    add_store_option(parser)


def draw_report(arguments: argparse.Namespace) -> int:
    """Write report.html into the run's directory and print its path."""
    from receipt_counter.report.run_report import write_run_report
    from receipt_counter.storage.store import open_store

    print(write_run_report(open_store(arguments.store).find_run(arguments.run)))
    return 0
