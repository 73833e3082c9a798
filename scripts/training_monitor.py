#!/usr/bin/env python3
"""Watch experiments with the founding document's flags; `receipt-counter monitor` is the same and more."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))  # works from a checkout that is not installed

from receipt_counter.cli import main  # noqa: E402  # only importable from here on


def run(argv: Sequence[str]) -> int:
    """Run the document's command: its flags are those of `receipt-counter monitor`.

    Args:
        argv: `--experiments-dir DIR [--report --output FILE]`, and any other flag of `receipt-counter monitor`.

    Returns:
        The exit status.
    """
    return main(["monitor", *argv])


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
