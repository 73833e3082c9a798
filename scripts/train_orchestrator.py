#!/usr/bin/env python3
"""Run experiments with the flags of the project's founding document; `receipt-counter run` is the same and more."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))  # works from a checkout that is not installed

from receipt_counter.cli import main  # noqa: E402  # only importable from here on


def run(argv: Sequence[str]) -> int:
    """Run the document's command: its flags are those of `receipt-counter run`.

    Args:
        argv: `--config FILE --mode single|hyperparameter|ablation|all [--experiment-name NAME]
            [--hyperparameter-config FILE] [--ablation-config FILE]`, and any other flag of `receipt-counter run`.

    Returns:
        The exit status.
    """
    return main(["run", *argv])


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
