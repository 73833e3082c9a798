"""Server-Sent Events: what changed, as it changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from receipt_counter.monitor.monitor import Monitor
from receipt_counter.monitor.schemas import Change

HEARTBEAT_SECONDS = 15.0
_RETRY_MILLISECONDS = 2000


class Streams:
    """The event streams of all clients; made in the loop that serves them.

    Args:
        monitor: watches.
    """

    def __init__(self, monitor: Monitor) -> None:
        self._monitor, self._loop = monitor, asyncio.get_running_loop()
        self._waiting: set[asyncio.Event] = set()
        self._closing = False
        self._end = monitor.listen(self._wake)

    def close(self) -> None:
        """End all of them; for any thread."""
        self._closing = True
        self._end()
        self._wake()

    def _wake(self) -> None:
        def wake_all() -> None:
            for event in self._waiting:
                event.set()

        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(wake_all)

    async def open(self, last_id: int | None) -> AsyncIterator[str]:
        """Changes after a version, as text of an event stream, with a comment now and then.

        Args:
            last_id: the last version that the client knows; None: from now on.
        """
        changed = asyncio.Event()
        self._waiting.add(changed)
        version = self._monitor.version if last_id is None else last_id
        try:
            yield f"retry: {_RETRY_MILLISECONDS}\n: connected\n\n"
            while not self._closing:
                changed.clear()
                changes = self._monitor.changes_since(version)
                if changes:
                    merged = merge(changes)
                    version = merged.version
                    yield f"id: {version}\nevent: change\ndata: {merged.model_dump_json()}\n\n"
                try:
                    await asyncio.wait_for(changed.wait(), HEARTBEAT_SECONDS)
                except TimeoutError:
                    yield ": alive\n\n"
        finally:
            self._waiting.discard(changed)


def merge(changes: list[Change]) -> Change:
    """Several changes as one."""
    return Change(
        version=changes[-1].version,
        experiments=sorted({name for change in changes for name in change.experiments}),
        studies=sorted({name for change in changes for name in change.studies}),
        all=any(change.all for change in changes),
    )
