"""`receipt-counter report`: draw the report of a run or of a study again."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from receipt_counter.cli.parser import Subparsers, add_command, add_store_option
from receipt_counter.errors import UserError

if TYPE_CHECKING:
    from receipt_counter.storage.store import Store


def add_commands(commands: Subparsers) -> None:
    """Add `report`."""
    parser = add_command(
        commands,
        "report",
        draw_report,
        help="draw the report of a run, or of a study that was compared, again",
        examples=["receipt-counter report 3fa94c", "receipt-counter report ablation-1a2b3c4d"],
    )
    parser.add_argument("name", metavar="NAME", help="a run or a study: its directory, or the beginning of its name")
    add_store_option(parser)


def draw_report(arguments: argparse.Namespace) -> int:
    """Write report.html into the run's or the study's directory and print its path."""
    from receipt_counter.storage.store import open_store

    print(_draw(open_store(arguments.store), arguments.name))
    return 0


def _draw(store: Store, name: str) -> Path:
    from receipt_counter.report.run_report import write_run_report
    from receipt_counter.report.study_report import write_study_report
    from receipt_counter.storage.pusher import push

    try:
        run = store.find_run(name, "events", "evaluation")
    except UserError as no_run:
        try:
            study = store.find_study(name)
        except UserError as no_study:
            raise UserError(f"{no_run.message}\n{no_study.message}") from None
        page = write_study_report(study)
    else:
        page = write_run_report(run)
    push(page)
    return page
