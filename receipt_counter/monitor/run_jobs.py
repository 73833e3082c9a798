"""What workers do for runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from receipt_counter.monitor.event_files import EventDecoder
from receipt_counter.monitor.run_index import RunIndex, update_index
from receipt_counter.monitor.run_record import read_config


def read_run(root: Path, directory: Path, place: Path, plain: dict[str, Any]) -> dict[str, Any]:
    """Bring a run's index up to date, and read its config.

    Args:
        root: the folder that nothing is read from outside of.
        directory: the run's.
        place: where its points go.
        plain: the index so far, as `RunIndex.to_plain` gives it.

    Returns:
        `index`, as `RunIndex.to_plain` gives it, and `config`: what `read_config` gave.

    Raises:
        ColumnsLostError: the columns do not hold what the index says.
    """
    index = RunIndex.from_plain(plain)
    update_index(index, directory / "events", place, EventDecoder())
    return {"index": index.to_plain(), "config": read_config(root, directory)}
