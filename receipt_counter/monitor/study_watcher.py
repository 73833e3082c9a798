"""Watching the studies of a folder, and having workers read their plans and analyse them when somebody looks."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NamedTuple

from receipt_counter.errors import UserError
from receipt_counter.monitor import study_jobs
from receipt_counter.monitor.catalogue import Catalogue
from receipt_counter.monitor.reading import UnreadableError, text
from receipt_counter.monitor.run_entry import RunEntry
from receipt_counter.monitor.run_record import Stamp, stamp
from receipt_counter.monitor.study_entry import StudyEntry, read_study
from receipt_counter.monitor.workers import Workers

KIND = "study"
_UNHURRIED = 1.0  # seconds between looks
_PLAN, _RESULTS = "plan", "results"
JOB_SECONDS = 300.0  # that reading a plan or an analysis may take
_REST = 10  # times as long a study rests whose analysis was stopped: others come first


class _Job(NamedTuple):
    """What a worker does for a study.

    Attributes:
        future: its end.
        content: what the job began with: the stamp of experiment.yaml, or what `_content` says.
        results: the file that an analysis goes to.
    """

    future: Future[Any]
    content: Any
    results: Path | None = None


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
        known = catalogue.load(KIND)
        self._numbers = {name: number for name, (number, _) in known.items()}
        self._remembered: dict[str, dict[str, Any]] = {
            name: content for name, (_, content) in known.items() if isinstance(content, dict)
        }
        self._running: dict[tuple[str, str], _Job] = {}
        self._wanted: set[str] = set()
        self._stopped: set[Future[Any]] = set()
        self._failed: dict[str, str] = {}  # {study: the content whose analysis did not end}
        self._rests: dict[str, float] = {}  # {study: until when, by the monotonic clock}
        self._next_look = 0.0

    def look(self, runs: Mapping[str, RunEntry], changed_runs: set[str]) -> set[str]:
        """Look once.

        Args:
            runs: all there are.
            changed_runs: ids of those that changed; a study's figures may change with them.

        Returns:
            Ids of studies that changed, appeared or vanished.
        """
        overdue = self._workers.stop_overdue(JOB_SECONDS)
        if overdue is not None:
            self._stopped.add(overdue)
        changed = self._collect()
        if time.monotonic() >= self._next_look:
            changed |= self._look_at_all()
            self._next_look = time.monotonic() + _UNHURRIED
        changed |= {runs[name].study or "" for name in changed_runs if name in runs} & self.entries.keys()
        self._hand_out(runs)
        return changed

    def results_are_current(self, entry: StudyEntry, runs: Mapping[str, RunEntry]) -> bool:
        """Whether there is no newer analysis to come; if there can be one, it is made, and the study changes after it.

        The analysis of a study that it took too long for is not begun again at once.
        """
        content = _content(entry, runs)
        made = self._remembered.get(entry.id, {}).get(_RESULTS) == content and entry.results.exists()
        if made or self._failed.get(entry.id) == content or self._rests.get(entry.id, 0.0) > time.monotonic():
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
            entry = self.entries.get(name) or StudyEntry(name, directory, self._results_file(name))
            if stamps != self._stamps.get(name):
                entry = read_study(entry, self._root)
                entry.seen = min(time.time(), max(found[0] / 1e9 for found in stamps if found))
                self._take_plan(entry, stamps[-1])
                entry.content = str(stamps[2:5])
                self.entries = {**self.entries, name: entry}
                self._stamps[name] = stamps
                changed.add(name)
        gone = self._numbers.keys() - present
        self.entries = {name: entry for name, entry in self.entries.items() if name in present}
        for name in gone:
            self._forget(name)
        return changed | gone

    def _directories(self) -> list[tuple[str, Path]]:
        studies = self._root / "studies"
        try:
            with os.scandir(studies) as entries:
                found = [e.name for e in entries if e.is_dir(follow_symlinks=False) and not e.name.startswith(".")]
        except FileNotFoundError:
            return []
        return [(text(name), studies / name) for name in sorted(found)]

    def _results_file(self, name: str) -> Path:
        """The file of the cache that holds a study's results; its number is given to it here."""
        if name not in self._numbers:
            self._numbers[name] = self._catalogue.save(KIND, name, {})
        return self._catalogue.directory / "studies" / f"{self._numbers[name]}.json"

    def _take_plan(self, entry: StudyEntry, experiment: Stamp | None) -> None:
        """Give an entry the remembered plan, if it is of the same file; else it keeps the one it has."""
        remembered = self._remembered.get(entry.id, {})
        if remembered.get("experiment") == list(experiment or ()):
            entry.plan, entry.plan_problem = remembered.get(_PLAN) or {}, remembered.get("problem")

    def _forget(self, name: str) -> None:
        """A study that is gone, while a monitor was looking or before."""
        self._results_file(name).unlink(missing_ok=True)
        self._catalogue.forget(KIND, name, self._numbers.pop(name))
        for known in (self._stamps, self._remembered, self._failed, self._rests):
            known.pop(name, None)

    def _hand_out(self, runs: Mapping[str, RunEntry]) -> None:
        for name, entry in self.entries.items():
            experiment = list(self._stamps[name][-1] or ())
            tried = self._remembered.get(name, {}).get("experiment") == experiment
            if not tried and (name, _PLAN) not in self._running:
                future = self._workers.submit(study_jobs.read_plan, self._root, entry.directory)
                self._running[name, _PLAN] = _Job(future, experiment)
        for name in list(self._wanted):
            self._wanted.discard(name)
            wanted = self.entries.get(name)
            if wanted is not None and (name, _RESULTS) not in self._running:
                future = self._workers.submit(study_jobs.analyse_study, self._root, wanted.directory, wanted.results)
                self._running[name, _RESULTS] = _Job(future, _content(wanted, runs), wanted.results)

    def _collect(self) -> set[str]:
        """Take what workers have done."""
        done = [key for key, job in self._running.items() if job.future.done()]
        for name, what in done:
            job = self._running.pop((name, what))
            entry, error = self.entries.get(name), job.future.exception()
            if isinstance(error, BrokenProcessPool) and not self._workers.broke(job.future):
                # it waited behind one whose process was stopped or killed; plans are handed out again by themselves
                self._wanted |= {name} if what == _RESULTS else set()
            elif job.results is not None and (entry is None or entry.results != job.results):
                job.results.unlink(missing_ok=True)  # of a study that went meanwhile
            elif entry is not None and what == _PLAN:
                self._take_read_plan(entry, job, error)
            elif entry is not None:
                self._take_results(entry, job, error)
            self._stopped.discard(job.future)
        return {name for name, _ in done}

    def _take_read_plan(self, entry: StudyEntry, job: _Job, error: BaseException | None) -> None:
        entry.plan = {} if error else job.future.result()
        entry.plan_problem = None if error is None else f"Its plan {self._explained(job, error)}"
        read = {_PLAN: entry.plan, "problem": entry.plan_problem, "experiment": job.content}
        self._remember(entry.id, read)

    def _take_results(self, entry: StudyEntry, job: _Job, error: BaseException | None) -> None:
        entry.results_problem = None if error is None else f"Its analysis {self._explained(job, error)}"
        if error is None:
            self._remember(entry.id, {_RESULTS: job.content})
            return
        self._failed[entry.id] = job.content
        if job.future in self._stopped:
            self._rests[entry.id] = time.monotonic() + _REST * JOB_SECONDS

    def _explained(self, job: _Job, error: BaseException) -> str:
        """Why a job did not end well."""
        if job.future in self._stopped:
            return f"took too long: it was stopped after {JOB_SECONDS:.0f} seconds"
        if isinstance(error, BrokenProcessPool):
            return "broke off: its process was killed, for want of memory perhaps"
        explained = isinstance(error, (UserError, UnreadableError))
        return f"cannot be read: {error}" if explained else f"cannot be read: {type(error).__name__}: {error}"

    def _remember(self, name: str, found: Mapping[str, Any]) -> None:
        remembered = self._remembered.setdefault(name, {})
        remembered.update(found)
        self._catalogue.save(KIND, name, remembered)


def _content(entry: StudyEntry, runs: Mapping[str, RunEntry]) -> str:
    """What an analysis is made of; changes whenever a new one would find more."""
    finished = sum(run.record.status == "finished" for run in entry.owned(runs.values()))
    return f"{entry.content} {finished}"
