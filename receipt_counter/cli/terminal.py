"""Messages on the terminal."""

from __future__ import annotations


def print_error(message: str) -> None:
    """Print a message on stderr, in red where there is colour."""
    from rich.console import Console

    console = Console(stderr=True)
    console.print(f"error: {message}", style="red", markup=False, highlight=False, soft_wrap=True)
