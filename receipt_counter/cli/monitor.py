"""`receipt-counter monitor`: watch experiments in a browser."""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path

from receipt_counter.cli.parser import Subparsers, add_command
from receipt_counter.errors import UserError

_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)+")
_DEFAULT_OUTPUT = "summary_report.json"


def add_commands(commands: Subparsers) -> None:
    """Add `monitor`."""
    parser = add_command(
        commands,
        "monitor",
        watch,
        help="watch experiments in a browser, while they train and afterwards",
        examples=[
            "receipt-counter monitor --open",
            "receipt-counter monitor --experiments-dir /mnt/experiments --port 8081",
            "receipt-counter monitor --report --output summary.json",
        ],
    )
    parser.add_argument(
        "--experiments-dir", default="experiments", metavar="DIR", help="where runs live (default: ./experiments)"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=_port, default=8080, metavar="N", help="0 takes any free one (default: 8080)")
    parser.add_argument(
        "--path-prefix", type=_prefix, default="", metavar="PATH", help="path it lies under, behind a proxy: /monitor"
    )
    parser.add_argument("--cache-dir", type=Path, metavar="DIR", help="where its index lies (default: your cache)")
    parser.add_argument(
        "--token-file", type=Path, metavar="FILE", help="ask for the token in it (or in RECEIPT_COUNTER_MONITOR_TOKEN)"
    )
    parser.add_argument("--open", action="store_true", help="show it in your browser")
    parser.add_argument("--report", action="store_true", help="write a summary report instead, and end")
    parser.add_argument("--output", type=Path, metavar="FILE", help=f"of the report (default: {_DEFAULT_OUTPUT})")


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, 0 to 65535")
    return int(text)


def _prefix(text: str) -> str:
    trimmed = text.rstrip("/")
    if trimmed and not _PREFIX.fullmatch(trimmed):
        raise argparse.ArgumentTypeError(f"{text!r} is not a path such as /monitor")
    return trimmed


def watch(arguments: argparse.Namespace) -> int:
    """Serve the monitor until it is stopped, or write its report."""
    from receipt_counter.monitor.security import TOKEN_VARIABLE, loopback_hosts
    from receipt_counter.monitor.serve import Service, open_monitor, open_source, read_token, serve, write_report

    source = open_source(arguments.experiments_dir)
    if arguments.report:
        output = arguments.output or Path(_DEFAULT_OUTPUT)
        with open_monitor(source, arguments.cache_dir) as monitor:
            write_report(monitor, output)
        print(output)
        return 0
    if arguments.output:
        raise UserError("--output: only with --report")
    token = read_token(os.environ.get(TOKEN_VARIABLE), arguments.token_file)
    if token is None and not loopback_hosts(arguments.host):
        print(
            f"warning: everybody who reaches {arguments.host} can read these experiments; --token-file keeps them out",
            file=sys.stderr,
        )
    service = Service(arguments.host, arguments.port, arguments.path_prefix, token, arguments.open)

    def announce(address: str) -> None:
        hint = "?token=..., your token" if token else ""
        print(f"{source.name} at {address}{hint}  (Ctrl-C ends it)", flush=True)

    with open_monitor(source, arguments.cache_dir) as monitor:
        serve(monitor, service, announce)
    return 0
