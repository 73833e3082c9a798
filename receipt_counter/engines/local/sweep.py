"""One call of the local engine: starts trials, waits for them, keeps what they leave."""

from __future__ import annotations

import hashlib
import os
import signal
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType

from receipt_counter.engines.base import RUNNING, UNSUCCESSFUL, SweepFailedError, SweepStoppedError, TrialResult
from receipt_counter.engines.journal import Journal
from receipt_counter.engines.local.collectors import Collector
from receipt_counter.engines.local.guardian import Guardian
from receipt_counter.engines.local.plan import Plan, job_policy
from receipt_counter.engines.local.preloaded import OURS, Preloaded, PreloadedServer
from receipt_counter.engines.local.scheduler import Scheduler
from receipt_counter.engines.local.trial_process import (
    Launch,
    Process,
    Subprocess,
    argv_of,
    environment_of,
    module_arguments,
)
from receipt_counter.engines.local.trial_run import FORGIVEN_KILLS, KILLS, Setup, TrialRun
from receipt_counter.engines.view import RunningTrial, Snapshot, View
from receipt_counter.errors import UserError
from receipt_counter.katib.experiment import StudyDocument
from receipt_counter.katib.template import Container, primary_container, render_trial
from receipt_counter.storage.files import write_atomic
from receipt_counter.wakeup import STOP_SIGNALS, Wakeup

SECONDS_BETWEEN_LOOKS = 0.5  # at what running trials print


class Sweep:
    """Runs what a scheduler says, as processes; use it as a context, nothing survives its end.

    Args:
        document: rendered into trials.
        plan: what was understood of it.
        scheduler: says what comes next.
        journal: keeps the results.
        unfinished: records of trials that an earlier call did not finish.
        workers: processes at a time.
        gpus: names of the machine's GPUs.
        environment: given to every trial beside its container's.
        defaults: environment where neither the machine nor the container says otherwise.
        view: shows what happens.
        preloaded: the trials that fork from a server.
    """

    def __init__(
        self,
        document: StudyDocument,
        plan: Plan,
        scheduler: Scheduler,
        journal: Journal,
        *,
        unfinished: Mapping[int, TrialResult],
        workers: int,
        gpus: Sequence[str],
        environment: Mapping[str, str],
        defaults: Mapping[str, str],
        view: View,
        preloaded: Preloaded = OURS,
    ) -> None:
        self._document, self._plan, self._scheduler, self._journal = document, plan, scheduler, journal
        self._unfinished = unfinished
        self._workers = workers
        self._free_gpus = list(gpus)
        self._has_gpus = bool(gpus)
        self._environment, self._defaults = environment, defaults
        self._view = view
        self._preloaded = preloaded
        self._running: dict[int, tuple[TrialRun, list[str]]] = {}
        self._server: PreloadedServer | None = None
        self._stillborn = 0
        self._signals: list[signal.Signals] = []
        self._unwritten: dict[int, TrialResult] = {}

    def __enter__(self) -> Sweep:
        self._scratch = tempfile.TemporaryDirectory(prefix="receipt-counter-", ignore_cleanup_errors=True)
        self._guardian = Guardian()
        self._wakeup = Wakeup([signal.SIGCHLD], dict.fromkeys(STOP_SIGNALS, self._on_signal)).__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._guardian.close()  # kills what an error left running
        if self._server is not None:
            self._server.close()
        self._wakeup.close()
        self._scratch.cleanup()

    def run(self) -> None:
        """Run to the end.

        Raises:
            SweepStoppedError: a signal asked to stop.
            SweepFailedError: too many trials failed.
        """
        try:
            while not self._scheduler.finished:
                if self._signals:
                    self._stop_all()
                    raise SweepStoppedError("stopped; the same command continues", 128 + self._signals[0])
                if self._scheduler.failed:
                    self._stop_all()
                    raise SweepFailedError(self._failure())
                self._start_trials()
                self._keep()
                self._show()
                self._wait()
                self._collect()
        finally:
            self._keep()
        if self._scheduler.failed:
            raise SweepFailedError(self._failure())
        self._show()

    def _start_trials(self) -> None:
        while len(self._running) < self._workers and len(self._free_gpus) >= self._gpus_needed():
            found = self._scheduler.peek()
            if found is None or not self._is_ready():
                return
            index, assignments = found
            self._scheduler.start()
            gpus = [self._free_gpus.pop(0) for _ in range(self._gpus_needed())]
            self._running[index] = self._start(index, assignments, gpus), gpus
            self._unwritten[index] = self._running[index][0].trial

    def _gpus_needed(self) -> int:
        return self._plan.gpus if self._has_gpus else 0

    def _is_ready(self) -> bool:
        """Whether trials can start: those that fork from the server wait for it."""
        if module_arguments(argv_of(self._plan.container, {}), self._preloaded.module) is None:
            return True
        return self._live_server().is_ready

    def _live_server(self) -> PreloadedServer:
        """The server that trials fork from; another one if it died."""
        if self._server is not None and not self._server.is_alive:
            self._require_another_try(self._server)
            self._server.close()
            self._server = None
        if self._server is None:
            environment = environment_of(self._plan.container, {}, self._environment, self._defaults)
            log = self._journal.directory / "preloaded.log"
            self._server = PreloadedServer(self._preloaded, environment, log, self._guardian)
        return self._server

    def _require_another_try(self, died: PreloadedServer) -> None:
        """Refuse to go on with a server that cannot start; one that was killed is given another try, like a trial."""
        if died.was_ready:
            return
        self._stillborn += 1
        if -died.status() not in KILLS or self._stillborn > FORGIVEN_KILLS:
            lines = died.log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
            raise UserError("\n".join(["the process that trials fork from could not start:", *lines]), status=1)

    def _start(self, index: int, assignments: dict[str, str], gpus: Sequence[str]) -> TrialRun:
        name = self._plan.trial_name(index)
        directory = self._journal.trial_directory(name)
        directory.mkdir(parents=True, exist_ok=True)
        manifest = render_trial(self._document, name, assignments)
        container = primary_container(self._document, manifest)
        moved, metrics = self._move(container, name, directory)
        more = {**self._environment, "RECEIPT_COUNTER_TRIAL": name}
        if self._has_gpus:
            more["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
        launch = Launch(
            argv_of(container, moved),
            environment_of(container, moved, more, self._defaults),
            Path(container.working_dir or os.getcwd()),
            self._journal.log_file(name),
        )
        setup = Setup(
            start=lambda: self._launch(launch),
            collect=lambda: self._collector(index),
            log=launch.log,
            metrics=metrics or launch.log,
            set_aside=lambda attempt: self._journal.set_log_aside(name, attempt),
            policy=job_policy(self._document, manifest),
        )
        before = self._unfinished.get(index)
        attempts, kills = (before.attempts, before.kills) if before is not None else (0, 0)
        trial = TrialResult(name, index, RUNNING, assignments, attempts=attempts, kills=kills)
        return TrialRun(trial, setup, self._plan.objective)

    def _move(self, container: Container, name: str, directory: Path) -> tuple[dict[str, str], Path | None]:
        """Put the container's files on this machine: {path there: path here}, and the metrics file's path."""
        moved = {}
        for path, files in container.mounts.items():
            digest = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()[:16]
            target = Path(self._scratch.name) / "mounts" / digest
            for file, text in files.items():
                if not (target / file).exists():  # trials that run read it: it is never written over
                    target.mkdir(parents=True, exist_ok=True)
                    write_atomic(target / file, text)
            moved[path] = str(target)
        if self._plan.collector.file is None:
            return moved, None
        # by a path without spaces, wherever the store is
        link = Path(self._scratch.name) / "trials" / name
        link.parent.mkdir(exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(directory)
        folder, file = os.path.split(self._plan.collector.file)
        return {**moved, folder: str(link)}, directory / file

    def _collector(self, index: int) -> Collector:
        names = list(self._plan.objective.strategies)
        if self._plan.median_stop is None:
            return Collector(self._plan.collector, names)
        rule = self._plan.median_stop.rule(self._scheduler.known_to(index).values(), self._plan.objective)
        return Collector(self._plan.collector, names, rule)

    def _launch(self, launch: Launch) -> Process:
        arguments = module_arguments(launch.argv, self._preloaded.module)
        if arguments is None:
            return Subprocess(launch, self._guardian)
        return self._live_server().start(launch, arguments)

    def _wait(self) -> None:
        """Sleep until something happens."""
        wishes = [run.look() for run, _ in self._running.values()]
        timeout = min([SECONDS_BETWEEN_LOOKS, *(wish for wish in wishes if wish is not None)])
        server = [self._server] if self._server is not None and self._server.is_alive else []
        for ready in self._wakeup.wait(server, timeout):
            ready.handle()

    def _collect(self) -> None:
        """Take what ended."""
        for index, (run, gpus) in list(self._running.items()):
            endings = run.trial.endings
            ended = run.poll()
            if run.trial.endings != endings:
                self._unwritten[index] = run.trial
            if ended:
                del self._running[index]
                self._free_gpus += gpus
                self._scheduler.end(run.trial)

    def _keep(self) -> None:
        """Write what changed; the next trials have been started by then, so that no worker waits for the disk."""
        changed, self._unwritten = self._unwritten, {}
        for trial in changed.values():
            self._journal.write_trial(trial)
        if any(trial.has_ended for trial in changed.values()):
            self._journal.write_table(self._scheduler.results.values())

    def _stop_all(self) -> None:
        """End what runs, gently unless a second signal comes; these trials will be run again."""
        self._keep()
        for run, _ in self._running.values():
            run.stop("stopped")
        while self._running:
            self._show()
            self._wait()
            for index, (run, _) in list(self._running.items()):
                if len(self._signals) > 1:
                    run.kill()
                if run.poll():
                    del self._running[index]

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals.append(signal.Signals(number))

    def _failure(self) -> str:
        failed = [trial for trial in self._scheduler.results.values() if trial.status in UNSUCCESSFUL]
        last = max(failed, key=lambda trial: (trial.ended, trial.index))
        return "\n".join(
            [
                f"{len(failed)} trials failed and maxFailedTrialCount is {self._plan.max_failed}; the others are kept"
                f" in {self._journal.directory}. With a larger one the same command goes on.",
                last.failure,
            ]
        )

    def _show(self) -> None:
        running = [
            RunningTrial(trial.name, trial.assignments, run.progress, run.value, run.seconds, run.seconds_left())
            for trial, run in ((run.trial, run) for run, _ in self._running.values())
        ]
        trials = tuple(self._scheduler.results.values())
        self._view.show(Snapshot(trials, tuple(running), self._scheduler.total, self._scheduler.best, self._workers))
