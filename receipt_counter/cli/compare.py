"""`receipt-counter compare`: what a finished study found."""

from __future__ import annotations

import argparse

from receipt_counter.cli.parser import Subparsers, add_command, add_store_option


def add_commands(commands: Subparsers) -> None:
    """Add `compare`."""
    parser = add_command(
        commands,
        "compare",
        compare,
        help="say what a study found, with statistics; writes its analysis.json and report.html",
        examples=["receipt-counter compare ablation", "receipt-counter compare experiments/studies/ablation-1a2b3c4d"],
    )
    parser.add_argument("study", metavar="STUDY", help="a study's directory, or the beginning of its name")
    add_store_option(parser)


def compare(arguments: argparse.Namespace) -> int:
    """Compare, and print the findings."""
    from contextlib import closing

    from rich.console import Console

    from receipt_counter.progress import open_progress
    from receipt_counter.storage.store import open_store
    from receipt_counter.study_steps import compare as compare_study

    store = open_store(arguments.store)
    study = store.find_study(arguments.study)
    with closing(open_progress()) as progress:
        found = compare_study(study, store, progress)
    console = Console(highlight=False, markup=False)
    for sentence in found.analysis["findings"]:
        console.print(f"- {sentence}")
    written = [study / "analysis.json", found.report]
    if found.confirmation:
        written += [study / "best_config.yaml", study / "confirmation.yaml"]
    for path in written:
        console.print(f"wrote {path}", soft_wrap=True)
    if found.confirmation and found.chosen is None:
        console.print("\nconfirm the winner with other seeds on the test split, then compare again:")
        console.print(f"receipt-counter sweep {study / 'confirmation.yaml'}", soft_wrap=True)
    elif found.chosen is not None:
        console.print(f"\npublish it: receipt-counter promote {found.chosen.name}", soft_wrap=True)
    return 0
