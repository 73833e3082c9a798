"""A resolved config for people: every value and where it came from."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text

from receipt_counter.config.loading import Resolved, to_plain
from receipt_counter.config.schema import leaves
from receipt_counter.config.validation import DECLARATIONS


def show(resolved: Resolved, *, explain: bool = False) -> Table:
    """Draw a resolved config.

    Args:
        resolved: what to draw.
        explain: also print the sentence that says what each key is.

    Returns:
        A table of keys, values and origins, for rich to print.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("key", no_wrap=True)
    table.add_column("value", no_wrap=True)
    table.add_column("from", style="dim")
    if explain:
        table.add_column("what it is", style="italic")
    group = ""
    for key, value in leaves(resolved.config).items():
        head, _, leaf = key.rpartition(".")
        if head != group:
            group = head
            table.add_row(Text(head, style="bold cyan"))
        origin = resolved.origins[key]
        shown = Text(_text(value), style="" if origin == "default" else "green")
        row: list[Any] = [Text(f"  {leaf}" if head else leaf), shown, Text(origin)]
        table.add_row(*row, *([DECLARATIONS[key][1].metadata["doc"]] if explain else []))
    return table


def _text(value: Any) -> str:
    plain = to_plain(value)
    if plain is None:
        return "null"
    if isinstance(plain, bool):
        return str(plain).lower()
    return f"{plain:g}" if isinstance(plain, float) else str(plain)
