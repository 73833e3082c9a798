"""`receipt-counter doctor`: what this machine has and lacks."""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import TYPE_CHECKING

from receipt_counter.cli.parser import Subparsers, add_command, add_store_option

if TYPE_CHECKING:
    from receipt_counter.doctor import Finding

STYLES = {"ok": "green", "absent": "yellow", "missing": "bold red"}


def add_commands(commands: Subparsers) -> None:
    """Add `doctor`."""
    parser = add_command(
        commands,
        "doctor",
        examine_machine,
        help="what this machine has and lacks",
        examples=["receipt-counter doctor", "receipt-counter doctor --json"],
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    add_store_option(parser)


def examine_machine(arguments: argparse.Namespace) -> int:
    """Print the findings; status 1 if something is missing that nothing works without."""
    from receipt_counter.doctor import MISSING, examine
    from receipt_counter.storage.store import open_store

    findings = examine(open_store(arguments.store))
    if arguments.json:
        print(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2))
    else:
        _print(findings)
    return 1 if any(finding.state == MISSING for finding in findings) else 0


def _print(findings: list[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title="This machine", title_justify="left")
    for column in ("", "state", "what"):
        table.add_column(column)
    for finding in findings:
        table.add_row(finding.name, Text(finding.state, style=STYLES[finding.state]), Text(finding.detail))
    Console().print(table)
