"""The command line's entry: finds the command, and turns what goes wrong into a message and an exit status."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

from receipt_counter import __version__
from receipt_counter.cli import (
    compare,
    config,
    data,
    doctor,
    models,
    monitor,
    plan,
    predict,
    promote,
    report,
    run,
    sweep,
)
from receipt_counter.cli.parser import Parser
from receipt_counter.cli.terminal import print_error
from receipt_counter.errors import UserError

DESCRIPTION = """\
Train, judge and compare models that count the receipts in a photo and answer questions about them.

start here:
  receipt-counter doctor                             what this machine has and lacks
  receipt-counter run --mode single                  one experiment, from data to report
  receipt-counter predict --model RUN photo.jpg      ask a trained model
  receipt-counter promote RUN                        make it the model that predict asks by default
"""


def build_parser() -> Parser:
    """The whole command line."""
    parser = Parser(prog="receipt-counter", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"receipt-counter {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)
    for module in (run, plan, sweep, compare, monitor, promote, models, predict, config, data, report, doctor):
        module.add_commands(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: arguments without the program's name; None takes the process's own.

    Returns:
        Exit status: 0 fine, 1 failed, 2 the user's mistake, 128 + n stopped by signal n.
    """
    try:
        arguments = build_parser().parse_args(argv)
        status: int = arguments.handler(arguments)
        sys.stdout.flush()
        return status
    except UserError as error:
        print_error(error.message)
        return error.status
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # the reader left (`| head`): leave silently, and keep the interpreter from flushing into the closed pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
