"""Where experiments come from: a folder, or a mirror of one that something else keeps up to date."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from receipt_counter.errors import UserError


class Source(Protocol):
    """A folder in the layout of a store, which the monitor reads and never writes.

    Attributes:
        root: the folder, resolved.
        name: what people call it, such as `s3://bucket/prefix`.
    """

    root: Path
    name: str

    def refresh(self) -> None:
        """Bring the folder up to date; called about twice a second by one thread, so it must be cheap when idle.

        Raises:
            OSError, UserError: it cannot be reached; the monitor shows that and goes on with what it has.
        """


class LocalSource:
    """A folder that training writes to directly.

    Args:
        location: the folder.

    Raises:
        UserError: there is none.
    """

    def __init__(self, location: str) -> None:
        path = Path(location)
        if not path.is_dir():
            what = "is a file, not a folder" if path.exists() else "no such folder"
            raise UserError(f"--experiments-dir {location}: {what}; `receipt-counter run` makes ./experiments")
        self.root = path.resolve()
        self.name = str(self.root)

    def refresh(self) -> None:
        """Nothing to do: the folder itself is read."""
