"""Argument parsing whose errors name the nearest valid choice."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from receipt_counter.errors import UserError, suggestion

Subparsers = Any  # argparse keeps the class of add_subparsers' result private


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises UserError, never abbreviates, and knows the chosen command's flags."""

    def __init__(self, **options: Any) -> None:
        defaults = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False}
        super().__init__(**{**defaults, **options})

    def error(self, message: str) -> NoReturn:
        """A mistake in the command line.

        Raises:
            UserError: always.
        """
        raise UserError(f"{message}\n`{self.prog} --help` shows what is possible")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            raise argparse.ArgumentError(action, f"no such choice: {value!r}; {suggestion(str(value), action.choices)}")

    def parse_args(  # type: ignore[override]  # argparse overloads it for namespaces of other classes
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """Parse, and refuse what is left over.

        Raises:
            UserError: the command line is wrong.
        """
        parsed, extra = self.parse_known_args(args, namespace)
        chosen: Parser = getattr(parsed, "parser", self)
        if extra:
            flags = [flag for action in chosen._actions for flag in action.option_strings]
            chosen.error("; ".join(_unknown(text, flags) for text in extra))
        return parsed


def _unknown(text: str, flags: Iterable[str]) -> str:
    if not text.startswith("-"):
        return f"unexpected argument: {text}"
    return f"unknown option: {text}; {suggestion(text.partition('=')[0], flags)}"


def add_command(
    commands: Subparsers,
    name: str,
    handler: Callable[[argparse.Namespace], int],
    *,
    help: str,
    examples: Sequence[str] = (),
) -> Parser:
    """Add a command to the command line.

    Args:
        commands: what add_subparsers returned.
        name: the command's name.
        handler: does the work; returns the exit status.
        help: a sentence for the lists and the top of the command's own help.
        examples: command lines shown below the options.
    """
    epilog = "examples:\n" + "\n".join(f"  {example}" for example in examples) if examples else None
    parser: Parser = commands.add_parser(name, help=help, description=help, epilog=epilog)
    parser.set_defaults(handler=handler, parser=parser)
    return parser


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that decide a config."""
    group = parser.add_argument_group("config", "later ones win: defaults < preset < --config < --set, --seed, --data")
    add_settings_options(group)
    group.add_argument("--seed", type=int, metavar="N", help="same as --set seed=N")
    group.add_argument("--data", metavar="DIR", help="your own dataset (or its s3:// URL), made by `data import`")


def add_settings_options(group: Any) -> None:
    """Add the options that decide a config whatever is trained."""
    group.add_argument("--config", metavar="FILE", help="YAML file with the keys you change")
    group.add_argument("--preset", default="auto", metavar="NAME", help="laptop, study, full, or auto (default)")
    group.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides", help="override any key; repeatable"
    )


def add_store_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that says where runs live."""
    parser.add_argument(
        "--store", metavar="DIR", help="where runs live: a directory or s3://bucket/prefix (default: ./experiments)"
    )


def add_workers_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that says how many trials of a study run at a time."""
    parser.add_argument(
        "--workers",
        type=_workers,
        metavar="N",
        help="trials at a time (default: one a core, at most parallelTrialCount); changes no result",
    )


def _workers(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)
