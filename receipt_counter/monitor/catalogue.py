"""What the monitor remembers between two starts: a SQLite file and the columns, in a folder of the user's cache."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from receipt_counter.errors import UserError
from receipt_counter.storage.files import InUseError, exclusive, writing

FORMAT = 2  # of the cache; another one is thrown away
_SLOTS = 16  # monitors of one folder at the same time, each with a cache of its own


def default_cache(name: str) -> Path:
    """Where the cache of a folder of experiments lies by default.

    Args:
        name: the folder's, or the store's address.
    """
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "receipt-counter" / "monitor" / hashlib.sha256(name.encode()).hexdigest()[:16]


@contextlib.contextmanager
def open_catalogue(directory: Path) -> Iterator[Catalogue]:
    """Open the cache for this process alone; where another monitor is at work on it, a second one beside it.

    Args:
        directory: made where it is missing.

    Raises:
        UserError: it cannot be written to.
    """
    with contextlib.ExitStack() as stack:
        for slot in range(_SLOTS):
            place = directory / str(slot)
            try:
                stack.enter_context(exclusive(place, "monitor's cache"))
            except InUseError:
                continue
            catalogue = Catalogue(place)
            try:
                yield catalogue
            finally:
                catalogue.close()
            return
        raise UserError(f"{directory}: {_SLOTS} monitors are at work on this folder already; name another --cache-dir")


class Catalogue:
    """Summaries by kind and name, and where the points of each run lie.

    Used by one thread.

    Args:
        directory: held by this process.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        with writing(directory):
            self._database = self._open() or self._begin_anew()

    def _open(self) -> sqlite3.Connection | None:
        file = self.directory / "catalogue.sqlite"
        database = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        try:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=NORMAL")
            (version,) = database.execute("PRAGMA user_version").fetchone()
            tables = database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if tables and version != FORMAT:
                raise sqlite3.DatabaseError("another format")
            database.execute(
                "CREATE TABLE IF NOT EXISTS entries (number INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT,"
                " name TEXT, content TEXT, UNIQUE (kind, name))"  # a number is never given again: files bear it
            )
            database.execute(f"PRAGMA user_version={FORMAT}")
        except sqlite3.DatabaseError:
            database.close()
            return None
        return database

    def _begin_anew(self) -> sqlite3.Connection:
        """It is a cache: what cannot be read is thrown away."""
        for path in self.directory.iterdir():
            if path.name == ".lock":
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        database = self._open()
        if database is None:
            raise UserError(f"{self.directory}: no database can be made here; name another --cache-dir")
        return database

    def load(self, kind: str) -> dict[str, tuple[int, Any]]:
        """{name: (number, content)} of everything of a kind."""
        rows = self._database.execute("SELECT name, number, content FROM entries WHERE kind = ?", (kind,))
        return {name: (number, json.loads(content)) for name, number, content in rows}

    def save(self, kind: str, name: str, content: Any) -> int:
        """Remember one; returns its number, which stays the same."""
        (number,) = self._database.execute(
            "INSERT INTO entries (kind, name, content) VALUES (?, ?, ?)"
            " ON CONFLICT (kind, name) DO UPDATE SET content = excluded.content RETURNING number",
            (kind, name, json.dumps(content)),
        ).fetchone()
        return int(number)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Everything saved in the block is saved at once."""
        self._database.execute("BEGIN")
        try:
            yield
        finally:
            self._database.execute("COMMIT")

    def forget(self, kind: str, name: str, number: int) -> None:
        """Forget one, and its points."""
        self._database.execute("DELETE FROM entries WHERE kind = ? AND name = ?", (kind, name))
        shutil.rmtree(self.place(number), ignore_errors=True)

    def place(self, number: int) -> Path:
        """Where the points of an entry lie."""
        return self.directory / "columns" / str(number)

    def close(self) -> None:
        """Close the database."""
        self._database.close()
