"""The monitor itself: one thread that watches a folder, and what it knows, for any thread to read."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from receipt_counter.errors import UserError
from receipt_counter.monitor import schemas
from receipt_counter.monitor.catalogue import Catalogue
from receipt_counter.monitor.run_entry import RunEntry
from receipt_counter.monitor.run_watcher import RunWatcher
from receipt_counter.monitor.source import Source
from receipt_counter.monitor.study_entry import StudyEntry
from receipt_counter.monitor.study_watcher import StudyWatcher
from receipt_counter.monitor.workers import Workers

_TICK = 0.5  # seconds between looks
_BUSY_TICK = 0.1  # while workers read what is long
_REMEMBERED_CHANGES = 1000
_READERS_IDLE, _ANALYSTS_IDLE = 20.0, 300.0  # seconds

logger = logging.getLogger(__name__)


class Monitor:
    """Watches a folder of experiments in a thread of its own; a context manager.

    Args:
        source: the folder.
        catalogue: remembers between two starts.
        processes: that read event files at the same time at most; None takes one a core.
    """

    def __init__(self, source: Source, catalogue: Catalogue, processes: int | None = None) -> None:
        self.source = source
        self.problem: str | None = None
        self._readers = Workers(processes or os.cpu_count() or 1, _READERS_IDLE)
        self._analysts = Workers(1, _ANALYSTS_IDLE)
        with catalogue.together():
            self._run_watcher = RunWatcher(source.root, catalogue, self._readers)
            self._study_watcher = StudyWatcher(source.root, catalogue, self._analysts)
        self._catalogue = catalogue
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watcher")
        # clients of an earlier process ask for what is far behind, and are told that all may have changed
        self._version = int(time.time() * 1000)
        self._changes: deque[schemas.Change] = deque(maxlen=_REMEMBERED_CHANGES)
        self._listeners: set[Callable[[], object]] = set()
        self.scans, self.scan_seconds, self.last_scan = 0, 0.0, time.monotonic()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._readers.stop()
        self._analysts.stop()

    @property
    def root(self) -> Path:
        """The folder."""
        return self.source.root

    @property
    def runs(self) -> dict[str, RunEntry]:
        """{id: run}; replaced, never changed."""
        return self._run_watcher.entries

    @property
    def studies(self) -> dict[str, StudyEntry]:
        """{id: study}; replaced, never changed."""
        return self._study_watcher.entries

    def scanning(self) -> schemas.Scanning | None:
        """How far the first reading is; None once everything was read."""
        waiting, total = self._run_watcher.waiting, len(self.runs)
        if self._run_watcher.listed and not waiting:
            return None
        return schemas.Scanning(done=total - waiting, total=total)

    def results_are_current(self, study: StudyEntry) -> bool:
        """Whether the cache holds an analysis of all there is of a study; if not, one is made."""
        return self._study_watcher.results_are_current(study, self.runs)

    @property
    def version(self) -> int:
        """Rises with every change."""
        return self._version

    def changes_since(self, version: int) -> list[schemas.Change]:
        """What changed after a version; a single one that says that all may have, if that is too long ago."""
        changes = list(self._changes)
        oldest = changes[0].version if changes else self._version + 1
        if version < oldest - 1 or version > self._version:
            return [schemas.Change(version=self._version, experiments=[], studies=[], all=True)]
        return [change for change in changes if change.version > version]

    def listen(self, listener: Callable[[], object]) -> Callable[[], None]:
        """Have a function called, by the watcher's thread, after every change.

        Returns:
            A function that ends it.
        """
        self._listeners.add(listener)
        return lambda: self._listeners.discard(listener)

    def _watch(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                self._look()
                self.problem = None
            except (OSError, UserError) as error:  # the folder may come back
                self._tell(f"{self.source.name}: {error}")
            except Exception as error:
                self._tell(f"{type(error).__name__}: {error}", unexpected=True)
            now = time.monotonic()
            self.scans, self.scan_seconds, self.last_scan = self.scans + 1, now - began, now
            self._readers.stop_if_idle()
            self._analysts.stop_if_idle()
            busy = self._run_watcher.waiting
            # a look that takes long is not repeated at once
            self._stop.wait(max(_BUSY_TICK if busy else _TICK, 2 * (now - began)))

    def _tell(self, problem: str, *, unexpected: bool = False) -> None:
        """Keep a problem for the pages, and log it once: it may last for hours of looks."""
        if problem != self.problem:
            logger.warning("%s", problem, exc_info=unexpected)
        self.problem = problem

    def _look(self) -> None:
        self.source.refresh()
        os.stat(self.root)  # a folder that is gone is no empty folder
        with self._catalogue.together():
            changed: set[str] = set()
            for found in self._run_watcher.look():
                changed |= found
                self._publish(found, set())
                if self._stop.is_set():
                    return
            studies = self._study_watcher.look(self.runs, changed)
            self._publish(set(), studies)

    def _publish(self, runs: set[str], studies: set[str]) -> None:
        if not runs and not studies:
            return
        self._version += 1
        self._changes.append(
            schemas.Change(version=self._version, experiments=sorted(runs), studies=sorted(studies), all=False)
        )
        for listener in list(self._listeners):
            listener()
