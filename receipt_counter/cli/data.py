"""`receipt-counter data`: make, import and check datasets."""

from __future__ import annotations

import argparse
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from receipt_counter.cli.config import resolve_config
from receipt_counter.cli.parser import Parser, Subparsers, add_command, add_config_options
from receipt_counter.errors import UserError
from receipt_counter.storage.pusher import push
from receipt_counter.storage.sync import locate, place_of, uri

if TYPE_CHECKING:
    from receipt_counter.data.dataset import Dataset
    from receipt_counter.progress import Progress


def add_commands(commands: Subparsers) -> None:
    """Add `data` and its parts."""
    parser = commands.add_parser("data", help="make, import and check datasets", description="Make and check datasets.")
    parts = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    render = add_command(
        parts,
        "render",
        render_data,
        help="draw receipts, with questions and answers",
        examples=[
            "receipt-counter data render --output receipts",
            "receipt-counter data render --preset full --output big",
        ],
    )
    _add_output(render)
    add_config_options(render)
    _add_import(parts)
    check = add_command(parts, "check", check_data, help="list everything that is wrong with a dataset")
    check.add_argument("directory", metavar="DIR", help="the dataset")
    card = add_command(parts, "card", show_card, help="print what is in a dataset")
    card.add_argument("directory", metavar="DIR", help="the dataset")


def _add_import(parts: Subparsers) -> None:
    parser = parts.add_parser("import", help="make a dataset of your own photos", description="Import your own photos.")
    kinds = parser.add_subparsers(title="kinds", metavar="KIND", required=True)
    folder = add_command(
        kinds,
        "folder",
        import_folder_data,
        help="photos with a CSV file: filename, receipt_count, question, answer",
        examples=["receipt-counter data import folder photos --output receipts"],
    )
    sroie = add_command(
        kinds,
        "sroie",
        import_sroie_data,
        help="scanned receipts in the SROIE layout: images and keys.csv",
        examples=["receipt-counter data import sroie sroie --output receipts"],
    )
    for kind in (folder, sroie):
        kind.add_argument("source", metavar="SOURCE", type=Path, help="the directory to import")
        _add_output(kind)
        kind.add_argument("--seed", type=int, default=0, metavar="N", help="decides the splits (default: 0)")
    sroie.add_argument("--image-size", type=int, default=128, metavar="N", help="side of the pictures (default: 128)")


def _add_output(parser: Parser) -> None:
    parser.add_argument("--output", required=True, metavar="DIR", help="where the dataset goes, or s3://bucket/name")


def render_data(arguments: argparse.Namespace) -> int:
    """Render a dataset as a config says."""
    from receipt_counter.data.render import render_dataset

    if arguments.data is not None:
        raise UserError("--data: `data render` makes a dataset and takes none; leave it out")
    resolved = resolve_config(arguments)
    with _progress() as progress:
        for note in resolved.notes:
            progress.note(note)
        output = place_of(arguments.output)
        dataset = render_dataset(resolved.config, output, progress=progress.callback("render images"))
    return _report(dataset)


def import_folder_data(arguments: argparse.Namespace) -> int:
    """Import a folder of photos."""
    from receipt_counter.data.folder import import_folder

    return _report(import_folder(arguments.source, place_of(arguments.output), seed=arguments.seed))


def import_sroie_data(arguments: argparse.Namespace) -> int:
    """Import receipts in the SROIE layout."""
    from receipt_counter.data.sroie import import_sroie

    with _progress() as progress:
        dataset = import_sroie(
            arguments.source,
            place_of(arguments.output),
            image_size=arguments.image_size,
            seed=arguments.seed,
            progress=progress.callback("compose images"),
        )
    return _report(dataset)


def _progress() -> closing[Progress]:
    from receipt_counter.progress import open_progress

    return closing(open_progress())


def _report(dataset: Dataset) -> int:
    push(dataset.path)
    splits = ", ".join(f"{images} {split}" for split, images in dataset.splits.items())
    place = uri(dataset.path)
    print(f"{place}: {splits} images, fingerprint {dataset.fingerprint}")
    print(f"train on it: receipt-counter run --mode single --data {place}")
    return 0


def check_data(arguments: argparse.Namespace) -> int:
    """Print every problem; status 1 if there is one."""
    from receipt_counter.data.check import check_dataset

    directory = locate(arguments.directory)
    if not directory.is_dir():
        raise UserError(f"{arguments.directory}: no such directory")
    problems = check_dataset(directory)
    for problem in problems:
        print(problem)
    found = {0: "nothing wrong", 1: "1 problem"}.get(len(problems), f"{len(problems)} problems")
    print(f"{arguments.directory}: {found}")
    return 1 if problems else 0


def show_card(arguments: argparse.Namespace) -> int:
    """Print the dataset's card."""
    from rich.console import Console
    from rich.markdown import Markdown

    from receipt_counter.data.dataset import Dataset

    dataset = Dataset.open(locate(arguments.directory))
    console = Console()
    console.print(Markdown((dataset.path / "card.md").read_text(encoding="utf-8")))
    console.print(f"samples: {dataset.path / 'samples.jpg'}", markup=False, highlight=False, soft_wrap=True)
    return 0
