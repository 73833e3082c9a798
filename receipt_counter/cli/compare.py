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
    from receipt_counter.report.study_report import write_study_report
    from receipt_counter.storage.store import open_store
    from receipt_counter.study.compare import compare as compare_study

    store = open_store(arguments.store)
    study = store.find_study(arguments.study)
    with closing(open_progress()) as progress:
        analysis = compare_study(study, store, progress)
    console = Console(highlight=False, markup=False)
    for sentence in analysis["findings"]:
        console.print(f"- {sentence}")
    written = [study / "analysis.json", write_study_report(study)]
    if analysis["kind"] == "hyperparameter" and analysis["best_configurations"]["objective"]:
        written.append(study / "best_config.yaml")
    for path in written:
        console.print(f"wrote {path}", soft_wrap=True)
    return 0
