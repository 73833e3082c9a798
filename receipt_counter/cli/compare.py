"""`receipt-counter compare`: what a finished study found."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from receipt_counter.cli.parser import Subparsers, add_command, add_store_option
from receipt_counter.errors import UserError, suggestion

if TYPE_CHECKING:
    from receipt_counter.storage.store import Store


def add_commands(commands: Subparsers) -> None:
    """Add `compare`."""
    parser = add_command(
        commands,
        "compare",
        compare,
        help="say what a study found, with statistics; writes its analysis.json",
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
    study = find_study(arguments.study, store)
    with closing(open_progress()) as progress:
        analysis = compare_study(study, store, progress)
    console = Console(highlight=False, markup=False)
    for sentence in analysis["findings"]:
        console.print(f"- {sentence}")
    written = [study / "analysis.json"]
    if analysis["kind"] == "ablation":
        written.append(write_study_report(study))
    elif analysis["best_configurations"]["objective"]:
        written.append(study / "best_config.yaml")
    for path in written:
        console.print(f"wrote {path}", soft_wrap=True)
    return 0


def find_study(reference: str, store: Store) -> Path:
    """The study directory a user means.

    Args:
        reference: a path, a study's id, or an unambiguous beginning of one.
        store: where studies live.

    Raises:
        UserError: no study or several fit.
    """
    if (Path(reference) / "experiment.yaml").is_file():
        return Path(reference)
    known = sorted(path.parent.name for path in store.studies.glob("*/experiment.yaml"))
    found = [name for name in known if name.startswith(reference)]
    if len(found) == 1:
        return store.studies / found[0]
    if found:
        raise UserError(f"{reference}: several studies begin so in {store.studies}: {', '.join(found)}")
    hint = suggestion(reference, known) if known else "none yet; `receipt-counter sweep EXPERIMENT.yaml` runs one"
    raise UserError(f"{reference}: no such study in {store.studies}; {hint}")
