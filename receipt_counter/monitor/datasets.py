"""Datasets of a store of objects, brought here when somebody looks at their pictures."""

from __future__ import annotations

import json
import shutil
import threading
import time
from pathlib import Path

from receipt_counter.errors import UserError
from receipt_counter.monitor.reading import mapping
from receipt_counter.storage.remote import in_parallel
from receipt_counter.storage.sync import DATASET, Mirror

LIMIT = 2 << 30  # bytes of all datasets that are kept here
PARENT = "datasets"
FETCHING = "is being fetched from the store"
_AGAIN = 60.0  # seconds after which what did not work is tried again


class Datasets:
    """Fetches datasets into a mirror, one at a time in threads of their own; the oldest ones make room.

    Args:
        mirror: the folder and the store.
    """

    def __init__(self, mirror: Mirror) -> None:
        self._mirror, self._parent = mirror, mirror.root / PARENT
        self._lock, self._fetching = threading.Lock(), threading.Lock()
        self._said: dict[str, tuple[str, float]] = {}  # {fingerprint: what became of it, when by the monotonic clock}
        self._fingerprints: dict[str, str] = {}  # {dataset's directory: its fingerprint}

    def want(self, fingerprint: str) -> str:
        """Have a dataset fetched whose pictures are not here.

        Args:
            fingerprint: of a run's dataset.

        Returns:
            What becomes of it, for people: `FETCHING`, or why it does not come.
        """
        with self._lock:
            said, since = self._said.get(fingerprint, (None, 0.0))
            if said is not None and (said == FETCHING or time.monotonic() - since < _AGAIN):
                return said
            self._said[fingerprint] = (FETCHING, time.monotonic())
        threading.Thread(target=self._bring, args=(fingerprint,), name="datasets", daemon=True).start()
        return FETCHING

    def _bring(self, fingerprint: str) -> None:
        try:
            with self._fetching:
                said = self._fetch(fingerprint)
        except (UserError, OSError) as error:
            said = f"could not be fetched: {error}"
        with self._lock:
            self._said[fingerprint] = (said, time.monotonic())

    def _fetch(self, fingerprint: str) -> str:
        """Fetch a dataset, and say what became of it."""
        name = self._find(fingerprint)
        if name is None:
            return "is not in the store"
        place = self._parent / name
        entries = self._mirror.bucket.entries(f"{PARENT}/{name}/")
        size = sum(entry.size for entry in entries.values())
        if size > LIMIT:
            return (
                f"has {size / 1e9:,.1f} GB, more than the {LIMIT / 1e9:,.1f} GB that are kept here for pictures: "
                f"they are in images.tar at {self._mirror.url(place)}"
            )
        self._make_room(size)
        return "does not have them" if self._mirror.pull_sealed(place, DATASET) else "is not whole in the store"

    def _find(self, fingerprint: str) -> str | None:
        """The directory of a dataset in the store."""
        names = [name for name in self._mirror.bucket.folders(f"{PARENT}/") if not name.startswith(".")]
        in_parallel(self._read_fingerprint, [name for name in names if name not in self._fingerprints])
        return next((name for name in names if self._fingerprints.get(name) == fingerprint), None)

    def _read_fingerprint(self, name: str) -> None:
        content = self._mirror.bucket.read(f"{PARENT}/{name}/{DATASET}")
        try:
            found = mapping(json.loads(content or b"null")).get("fingerprint")
        except (ValueError, RecursionError):
            return
        if found:
            self._fingerprints[name] = str(found)

    def _make_room(self, size: int) -> None:
        """Remove the datasets that were fetched first, until another one has room."""
        kept = sorted(self._parent.iterdir(), key=lambda path: path.stat().st_mtime) if self._parent.exists() else []
        sizes = {path: _size(path) for path in kept}
        for path in kept:
            if sum(sizes.values()) + size <= LIMIT:
                return
            shutil.rmtree(path)
            del sizes[path]
            with self._lock:
                self._said.pop(self._fingerprints.get(path.name, ""), None)


def _size(directory: Path) -> int:
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())
