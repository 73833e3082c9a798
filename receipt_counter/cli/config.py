"""`receipt-counter config`: look at the config."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from receipt_counter.cli.parser import Subparsers, add_command, add_config_options

if TYPE_CHECKING:
    from receipt_counter.config.loading import Resolved


def add_commands(commands: Subparsers) -> None:
    """Add `config` and its parts."""
    parser = commands.add_parser("config", help="look at the config", description="Look at the config.")
    parts = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    show = add_command(
        parts,
        "show",
        show_config,
        help="print every key, its value and where the value came from",
        examples=[
            "receipt-counter config show --explain",
            "receipt-counter config show --config my.yaml --set training.learning_rate=1e-4",
        ],
    )
    show.add_argument("--explain", action="store_true", help="also say what each key is")
    show.add_argument("--yaml", action="store_true", help="as YAML, for `python -m receipt_counter.training`")
    add_config_options(show)


def show_config(arguments: argparse.Namespace) -> int:
    """Print the resolved tree; the notes go to stderr, so that YAML can go to a file."""
    from rich.console import Console

    from receipt_counter.config.loading import to_yaml
    from receipt_counter.config.show import show

    resolved = resolve_config(arguments)
    for note in resolved.notes:
        print(note, file=sys.stderr)
    if arguments.yaml:
        print(to_yaml(resolved.config), end="")
    else:
        Console(soft_wrap=True).print(show(resolved, explain=arguments.explain))
    return 0


def resolve_config(arguments: argparse.Namespace, small: str = "laptop") -> Resolved:
    """The config that the options of `add_config_options` decide; without a GPU `--preset auto` takes the small one."""
    from receipt_counter.config.loading import resolve

    return resolve(
        Path(arguments.config) if arguments.config else None,
        arguments.preset,
        arguments.overrides,
        seed=arguments.seed,
        data=arguments.data,
        small=small,
    )
