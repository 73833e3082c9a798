"""Watching the studies of a folder, and having workers read their plans and analyse them when somebody looks."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from receipt_counter.monitor import study_jobs
from receipt_counter.monitor.catalogue import Catalogue
from receipt_counter.monitor.reading import text
from receipt_counter.monitor.run_entry import RunEntry
from receipt_counter.monitor.run_record import Stamp, stamp
from receipt_counter.monitor.study_entry import StudyEntry, read_study
from receipt_counter.monitor.workers import Workers

KIND = "study"
_UNHURRIED = 1.0  # seconds between looks
_PLAN, _RESULTS = "plan", "results"


class StudyWatcher:
    """Keeps the entries of all studies up to date; `want_results` and reading `entries` are for any thread.

    Args:
        root: the folder, resolved.
        catalogue: remembers plans and which analyses are in the cache.
        workers: read plans and analyse.
    """

    def __init__(self, root: Path, catalogue: Catalogue, workers: Workers) -> None:
        self.entries: dict[str, StudyEntry] = {}
        self._root, self._catalogue, self._workers = root, catalogue, workers
        self._stamps: dict[str, tuple[Stamp | None, ...]] = {}
        self._remembered: dict[str, dict[str, Any]] = {
            name: content for name, (_, content) in catalogue.load(KIND).items() if isinstance(content, dict)
        }
        self._running: dict[tuple[str, str], tuple[Future[Any], str]] = {}
        self._wanted: set[str] = set()
        self._next_look = 0.0

    def look(self, runs: Mapping[str, RunEntry], changed_runs: set[str]) -> set[str]:
        """Look once.

        Args:
            runs: all there are.
            changed_runs: ids of those that changed; a study's figures may change with them.

        Returns:
            Ids of studies that changed, appeared or vanished.
        """
        changed = self._collect()
        if time.monotonic() >= self._next_look:
            changed |= self._look_at_all()
            self._next_look = time.monotonic() + _UNHURRIED
        changed |= {runs[name].study or "" for name in changed_runs if name in runs} & self.entries.keys()
        self._hand_out(runs)
        return changed

    def results_are_current(self, entry: StudyEntry, runs: Mapping[str, RunEntry]) -> bool:
        """Whether the cache holds an analysis of all there is; if not, one is made, and the study changes after it."""
        content = _content(entry, runs)
        if self._remembered.get(entry.id, {}).get(_RESULTS) == content and (entry.results.exists() or entry.problem):
            return True
        self._wanted.add(entry.id)
        return False

    def _look_at_all(self) -> set[str]:
        changed, present = set(), set()
        for name, directory in self._directories():
            if not (directory / "experiment.yaml").exists():
                continue
            present.add(name)
            files = ("", "trials", "trials.csv", "sweep.json", "analysis.json", "experiment.yaml")
            stamps = tuple(stamp(directory / file) for file in files)
            entry = self.entries.get(name)
            if entry is None:
                number = self._catalogue.save(KIND, name, self._remembered.get(name, {}))
                results = self._catalogue.directory / "studies" / f"{number}.json"
                entry = StudyEntry(name, directory, results, plan=self._plan_of(name, stamps[-1]))
            if stamps != self._stamps.get(name):
                entry = read_study(entry, self._root)
                entry.seen = min(time.time(), max(found[0] / 1e9 for found in stamps if found))
                entry.plan = self._plan_of(name, stamps[-1]) or entry.plan
                entry.content = str(stamps[2:5])
                self.entries = {**self.entries, name: entry}
                self._stamps[name] = stamps
                changed.add(name)
        gone = self.entries.keys() - present
        if gone:
            self.entries = {name: entry for name, entry in self.entries.items() if name in present}
            for name in gone:
                self._stamps.pop(name, None)
        return changed | gone

    def _directories(self) -> list[tuple[str, Path]]:
        studies = self._root / "studies"
        try:
            with os.scandir(studies) as entries:
                found = [e.name for e in entries if e.is_dir(follow_symlinks=False) and not e.name.startswith(".")]
        except OSError:
            return []
        return [(text(name), studies / name) for name in sorted(found)]

    def _plan_of(self, name: str, experiment: Stamp | None) -> dict[str, Any]:
        """The remembered plan, if it is of the same file."""
        remembered = self._remembered.get(name, {})
        same = remembered.get("experiment") == list(experiment or ())
        return dict(remembered[_PLAN]) if same and remembered.get(_PLAN) else {}

    def _hand_out(self, runs: Mapping[str, RunEntry]) -> None:
        for name, entry in self.entries.items():
            experiment = self._stamps[name][-1]
            tried = self._remembered.get(name, {}).get("experiment") == list(experiment or ())
            if not tried and (name, _PLAN) not in self._running:
                future = self._workers.submit(study_jobs.read_plan, self._root, entry.directory)
                self._running[name, _PLAN] = (future, "")
        for name in list(self._wanted):
            self._wanted.discard(name)
            wanted = self.entries.get(name)
            if wanted is not None and (name, _RESULTS) not in self._running:
                future = self._workers.submit(study_jobs.analyse_study, self._root, wanted.directory, wanted.results)
                self._running[name, _RESULTS] = (future, _content(wanted, runs))

    def _collect(self) -> set[str]:
        """Take what workers have done."""
        done = {key for key, (future, _) in self._running.items() if future.done()}
        for name, what in done:
            future, content = self._running.pop((name, what))
            entry, remembered = self.entries.get(name), self._remembered.setdefault(name, {})
            if entry is None:
                continue
            try:
                result = future.result()
            except Exception as error:  # whatever it is, the other studies are to be shown
                entry.problem, result = f"experiment.yaml: {error}" if what == _PLAN else str(error), None
            if what == _PLAN:
                entry.plan = result or {}
                remembered |= {_PLAN: result, "experiment": list(self._stamps[name][-1] or ())}
            else:
                remembered[_RESULTS] = content
            self._catalogue.save(KIND, name, remembered)
        return {name for name, _ in done}


def _content(entry: StudyEntry, runs: Mapping[str, RunEntry]) -> str:
    """What an analysis is made of; changes whenever a new one would find more."""
    finished = sum(run.record.status == "finished" for run in entry.owned(runs.values()))
    return f"{entry.content} {finished}"
