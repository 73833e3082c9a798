#!/usr/bin/env python3
"""Run an experiment with the flags of the project's founding document; `receipt-counter run` is the same and more."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))  # works from a checkout that is not installed

from receipt_counter.cli import main  # noqa: E402  # only importable from here on
from receipt_counter.cli.parser import Parser  # noqa: E402  # as above
from receipt_counter.cli.terminal import print_error  # noqa: E402
from receipt_counter.errors import UserError  # noqa: E402


def parse(argv: Sequence[str]) -> list[str]:
    """Translate the document's flags into a `receipt-counter` command line.

    Args:
        argv: the document's arguments; those it does not know go on unchanged.

    Raises:
        UserError: a flag is wrong or belongs to what is not there yet.
    """
    parser = Parser(prog="train_orchestrator.py", description=__doc__)
    parser.add_argument("--config", required=True, metavar="FILE", help="config/multimodal_config.yaml, or your own")
    parser.add_argument("--mode", default="single", metavar="MODE", help="single")
    parser.add_argument("--experiment-name", metavar="NAME", help="recorded with the run")
    parser.add_argument("--hyperparameter-config", metavar="FILE", help="comes with studies")
    parser.add_argument("--ablation-config", metavar="FILE", help="comes with studies")
    arguments, others = parser.parse_known_args(argv)
    for flag in ("hyperparameter_config", "ablation_config"):
        if getattr(arguments, flag):
            raise UserError(f"--{flag.replace('_', '-')}: comes with studies and is not there yet; use --mode single")
    command = ["run", "--config", arguments.config, "--mode", arguments.mode, *others]
    return command + (["--experiment-name", arguments.experiment_name] if arguments.experiment_name else [])


def run(argv: Sequence[str]) -> int:
    """Run the document's command; returns the exit status."""
    try:
        command = parse(argv)
    except UserError as error:
        print_error(error.message)
        return error.status
    return main(command)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
