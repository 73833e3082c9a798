"""The command line, `receipt-counter`: one module a command."""

from receipt_counter.cli.main import main

__all__ = ["main"]
