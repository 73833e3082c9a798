"""The record of a directory that a process works on: a JSON file that two threads may change, written whole."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from receipt_counter.storage.files import read_json, write_json

RUNNING = "running"
OWNER = ".owner"  # beside a record: token of its last owner of this machine; stays here


class Record:
    """A directory and its record; every change is written whole.

    Args:
        directory: what it is about.
        name: of the file.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self.directory = directory
        self.record_file = directory / name
        self.record: dict[str, Any] = {}
        self._writing = threading.Lock()
        self.reload()

    def reload(self) -> None:
        """Take what the file says now."""
        self.record = read_json(self.record_file) if self.record_file.exists() else {}

    @property
    def status(self) -> str | None:
        """What became of it; None before it first begins."""
        return self.record.get("status")

    def update(self, **fields: Any) -> None:
        """Change fields of the record.

        Args:
            fields: top-level fields; nan and infinity are refused.
        """
        with self._writing:
            self.record.update(fields)
            self.directory.mkdir(parents=True, exist_ok=True)
            write_json(self.record_file, self.record)


def now() -> str:
    """The time in UTC, ISO 8601 with seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")
