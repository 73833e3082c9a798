"""`receipt-counter models`: what has been promoted."""

from __future__ import annotations

import argparse

from receipt_counter.cli.parser import Subparsers, add_command, add_store_option


def add_commands(commands: Subparsers) -> None:
    """Add `models`."""
    parser = add_command(commands, "models", list_models, help="list the promoted models and which version is current")
    add_store_option(parser)


def list_models(arguments: argparse.Namespace) -> int:
    """Print a line for each version."""
    from rich.console import Console
    from rich.table import Table

    from receipt_counter.evaluation.wording import format_value, title
    from receipt_counter.storage.registry import all_models
    from receipt_counter.storage.store import open_store

    store = open_store(arguments.store)
    console = Console(highlight=False, markup=False, soft_wrap=True)
    models = all_models(store)
    if not models:
        console.print(f"no model has been promoted in {store.location} yet: `receipt-counter promote RUN` does it")
        return 0
    metric = "classification_accuracy"
    table = Table()
    for column in ("model", "", "published", title(metric), "run"):
        table.add_column(column, overflow="fold")
    for registry in models:
        current = registry.current()
        for version in registry.versions():
            card = version.card
            figure = format_value(metric, card["metrics"][metric]["value"])
            mark = "current" if version == current else ""
            table.add_row(str(version), mark, card["published"][:16].replace("T", " "), figure, version.run_id)
    console.print(table)
    return 0
