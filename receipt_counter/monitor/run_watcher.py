"""Watching the runs of a folder: new ones, changed ones, vanished ones, and what their event files gained."""

from __future__ import annotations

import copy
import dataclasses
import os
import time
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from receipt_counter.monitor import run_jobs
from receipt_counter.monitor.catalogue import Catalogue
from receipt_counter.monitor.columns import ColumnsLostError
from receipt_counter.monitor.event_files import EventDecoder
from receipt_counter.monitor.reading import text
from receipt_counter.monitor.run_entry import STALE_SECONDS, RunEntry
from receipt_counter.monitor.run_index import RunIndex, began_anew, event_files, unread_bytes, update_index
from receipt_counter.monitor.run_record import NOT_YET_READ, RunRecord, Stamp, read_record, stamp
from receipt_counter.monitor.workers import Workers

KIND = "run"
GONE: Stamp = (0, 0, 0)  # of a run.json that vanished while its directory is still there
_INLINE_BYTES = 1 << 20  # of new events that are read at once; more is a worker's
_LIVELY_SECONDS = 120.0  # since a run's last change, during which it is looked at every time
_UNHURRIED = 1.5  # seconds between looks at other runs that train
_SWEEP = 60.0  # seconds between looks at those that do not
_PUBLISHED = 50  # new runs that are shown together while thousands are read


@dataclass
class _Watched:
    """What is known of a run's files.

    Attributes:
        number: in the catalogue.
        directory: the modification time of the run's directory, ns; changes with every file renamed into it.
        record: of run.json.
        config: of config.yaml.
        next_look: by the monotonic clock.
        changed: when something was last seen to change, by the same clock.
    """

    number: int
    directory: int = 0
    record: Stamp | None = None
    config: Stamp | None = None
    next_look: float = 0.0
    changed: float = 0.0


class RunWatcher:
    """Keeps the entries of all runs up to date; used by one thread, but for reading `entries`.

    Args:
        root: the folder, resolved.
        catalogue: remembers.
        workers: read what is long.
    """

    def __init__(self, root: Path, catalogue: Catalogue, workers: Workers) -> None:
        self.entries: dict[str, RunEntry] = {}
        self._root, self._catalogue, self._workers = root, catalogue, workers
        self._decoder = EventDecoder()
        self._watched: dict[str, _Watched] = {}
        self._running: dict[str, Future[Any]] = {}
        self._listed = False
        self._known = {name: item for name, item in catalogue.load(KIND).items() if isinstance(item[1], dict)}

    @property
    def waiting(self) -> int:
        """Runs whose events are yet to be read."""
        return sum(entry.waiting for entry in self.entries.values())

    @property
    def listed(self) -> bool:
        """Whether all runs have been seen once."""
        return self._listed

    def look(self) -> Iterator[set[str]]:
        """Look once at everything that is due.

        Yields:
            Ids of runs that changed, appeared or vanished; several times while many are read.
        """
        changed: set[str] = set()
        present: set[str] = set()
        added: dict[str, RunEntry] = {}
        for name, directory, mtime in self._directories():
            present.add(name)
            entry = self.entries.get(name)
            if entry is None:
                entry = self._meet(name, directory, mtime)
                if entry is not None:
                    added[name] = entry
            elif self._is_due(name, mtime) and self._look_at(entry, mtime):
                changed.add(name)
            if len(added) >= _PUBLISHED:
                self.entries = {**self.entries, **added}
                changed |= self._collect()
                self._hand_out()
                yield changed | added.keys()
                added, changed = {}, set()
        gone = {name for name in self.entries if name not in present or self._watched[name].record == GONE}
        self.entries = {name: entry for name, entry in {**self.entries, **added}.items() if name not in gone}
        for name in gone:
            self._forget(name)
        self._forget_the_vanished(present)
        changed |= self._collect()
        self._hand_out()
        self._listed = True
        yield changed | added.keys() | gone

    def _directories(self) -> Iterator[tuple[str, Path, int]]:
        """(id, directory, its modification time in ns) of everything that may be a run."""
        runs = self._root / "runs"
        try:
            with os.scandir(runs) as entries:
                found = [(e.name, mtime) for e in entries if (mtime := _modified(e)) is not None]
        except FileNotFoundError:
            return
        if not self._listed:
            found.sort(key=lambda item: -item[1])  # the latest first
        for name, mtime in found:
            yield text(name), runs / name, mtime

    def _meet(self, name: str, directory: Path, mtime: int) -> RunEntry | None:
        """The entry of a run that was not known, from the catalogue if nothing has changed; None if it is no run."""
        record, config = stamp(directory / "run.json"), stamp(directory / "config.yaml")
        if record is None and not directory.is_symlink():
            return None
        number, remembered = self._known.pop(name, (0, None))
        number = number or self._catalogue.save(KIND, name, None)
        entry = RunEntry(name, directory, self._catalogue.place(number), RunRecord())
        watched = self._watched[name] = _Watched(number, mtime, record, config)
        if directory.is_symlink():
            entry.record = RunRecord(problem="this run's directory is a link; it is not followed")
            entry.waiting, entry.seen = False, mtime / 1e9
            return entry
        if remembered:
            entry.restore(remembered)
        unread = not remembered or entry.record.config_problem == NOT_YET_READ
        if unread or remembered["stamps"] != [list(record or ()), list(config or ())]:
            self._read_record(entry, config=bool(remembered) or self._listed)
        self._note_life(entry, observed=False)
        watched.changed = time.monotonic() - max(0.0, time.time() - entry.seen)
        entry.waiting = not remembered and not self._listed
        if not remembered:
            self._read_events(entry)
            entry.measure_speed()
            self._save(entry)
        return entry

    def _is_due(self, name: str, mtime: int) -> bool:
        watched = self._watched.get(name)
        return watched is not None and (watched.directory != mtime or watched.next_look <= time.monotonic())

    def _look_at(self, entry: RunEntry, mtime: int) -> bool:
        """Look at a run's files; whether anything changed."""
        watched = self._watched[entry.id]
        watched.directory, now = mtime, time.monotonic()
        if entry.directory.is_symlink():
            watched.next_look = now + _SWEEP
            return False
        record, config = stamp(entry.directory / "run.json"), stamp(entry.directory / "config.yaml")
        if record is None:
            watched.record = GONE
            return True
        changed = (record, config) != (watched.record, watched.config)
        watched.record, watched.config = record, config
        if changed:
            self._read_record(entry)
        changed |= self._read_events(entry)
        if changed:
            watched.changed = now
            self._note_life(entry, observed=True)
            entry.measure_speed()
            self._save(entry)
        watched.next_look = now + self._patience(entry, now - watched.changed)
        return changed

    def _patience(self, entry: RunEntry, quiet: float) -> float:
        """Seconds until the next look; a directory whose modification time changes is looked at before that."""
        if quiet < _LIVELY_SECONDS and entry.record.status == "running":
            return 0.0
        return _UNHURRIED if entry.record.status == "running" and quiet < STALE_SECONDS else _SWEEP

    def _read_record(self, entry: RunEntry, *, config: bool = True) -> None:
        try:
            entry.record = read_record(self._root, entry.directory, config=config)
        except FileNotFoundError:  # replaced at this instant: the next look sees it
            self._watched[entry.id].record = None

    def _read_events(self, entry: RunEntry) -> bool:
        if entry.waiting or entry.id in self._running:
            return False
        directory = entry.directory / "events"
        present = event_files(directory)
        unread = unread_bytes(entry.index, present)
        if unread > _INLINE_BYTES:
            entry.waiting = True
        if entry.waiting or not (unread or began_anew(entry.index, present)):
            return False
        index = copy.deepcopy(entry.index)
        try:
            changed = update_index(index, directory, entry.place, self._decoder)
        except ColumnsLostError:
            self._lose(entry)
            return True
        entry.index = index
        return changed

    def _lose(self, entry: RunEntry) -> None:
        """The cache is damaged: read the run again."""
        index = RunIndex(generation=entry.index.generation)
        index.begin_anew(entry.place)
        entry.index, entry.waiting = index, True

    def _hand_out(self) -> None:
        """Give workers what is long, the latest runs first."""
        if not self._workers.free:
            return
        waiting = [e for e in self.entries.values() if e.waiting and e.id not in self._running]
        waiting.sort(key=lambda entry: -entry.seen)
        for entry in waiting[: self._workers.free]:
            arguments = (self._root, entry.directory, entry.place, entry.index.to_plain())
            self._running[entry.id] = self._workers.submit(run_jobs.read_run, *arguments)

    def _collect(self) -> set[str]:
        """Take what workers have read."""
        done = {name for name, future in self._running.items() if future.done()}
        for name in done:
            future, entry = self._running.pop(name), self.entries.get(name)
            if entry is None or name not in self._watched:
                continue
            try:
                found = future.result()
                entry.index, entry.index_problem = RunIndex.from_plain(found["index"]), None
                entry.waiting = False
                if entry.record.config_problem == NOT_YET_READ:
                    config, problem = found["config"]
                    entry.record = dataclasses.replace(entry.record, config=config, config_problem=problem)
            except ColumnsLostError:
                self._lose(entry)
            except BrokenProcessPool:
                if not self._workers.broke(future):
                    continue  # another one's process was killed: it still waits, and is handed out again
                entry.waiting = False
                entry.index_problem = "its event files could not be read: the process that did was killed"
            except Exception as error:  # whatever it is, the other runs are to be shown
                entry.waiting = False
                entry.index_problem = f"its event files could not be read: {type(error).__name__}: {error}"
            self._note_life(entry, observed=False)
            entry.measure_speed()
            self._save(entry)
        return done

    def _note_life(self, entry: RunEntry, *, observed: bool) -> None:
        """Keep when a run last showed life: by its files, but now if that was seen to happen; clocks may be wrong."""
        now = time.time()
        if observed:
            entry.seen = now
            return
        stamps = [status.st_mtime for status in event_files(entry.directory / "events").values()]
        record = self._watched[entry.id].record
        entry.seen = max(0.0, min(now, max([*stamps, record[0] / 1e9 if record else 0.0])))

    def _save(self, entry: RunEntry) -> None:
        watched = self._watched[entry.id]
        stamps = [list(watched.record or ()), list(watched.config or ())]
        self._catalogue.save(KIND, entry.id, {**entry.to_plain(), "stamps": stamps})

    def _forget(self, name: str) -> None:
        self._running.pop(name, None)  # what is being read is of one that went, should another of its name come
        self._catalogue.forget(KIND, name, self._watched.pop(name).number)

    def _forget_the_vanished(self, present: set[str]) -> None:
        """Runs that vanished while no monitor was looking."""
        for name in self._known.keys() - present:
            self._catalogue.forget(KIND, name, self._known.pop(name)[0])


def _modified(entry: os.DirEntry[str]) -> int | None:
    """When a directory that may be a run was modified, ns; None if it is none, or is gone meanwhile."""
    if entry.name.startswith(".") or not (entry.is_symlink() or entry.is_dir(follow_symlinks=False)):
        return None
    found = stamp(Path(entry.path))
    return None if found is None else found[0]
