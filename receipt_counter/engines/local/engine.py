"""The local engine: reads the Experiment that Katib would run and runs its trials as processes on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from receipt_counter import IMAGE_VARIABLE
from receipt_counter.engines.base import SweepResult, result_of, spec_of
from receipt_counter.engines.journal import Journal
from receipt_counter.engines.local.devices import cores, gpus
from receipt_counter.engines.local.plan import make_plan, restart_refused
from receipt_counter.engines.local.preloaded import OURS, Preloaded
from receipt_counter.engines.local.scheduler import Scheduler
from receipt_counter.engines.local.suggestions import make_suggester
from receipt_counter.engines.local.sweep import Sweep
from receipt_counter.engines.view import NoView, View
from receipt_counter.errors import UserError
from receipt_counter.katib.experiment import StudyDocument
from receipt_counter.katib.identity import study_id
from receipt_counter.progress import ENVIRONMENT_VARIABLE


class LocalEngine:
    """Runs studies on this machine. Use it in the main thread: it listens to signals while it runs.

    Args:
        workers: processes at a time; None takes one a core, and never more than parallelTrialCount.
        open_view: makes what shows the sweep, once there is something to show.
        preloaded: the trials that fork from a server instead of starting a Python each.
    """

    def __init__(
        self,
        workers: int | None = None,
        *,
        open_view: Callable[[], View] = NoView,
        preloaded: Preloaded = OURS,
    ) -> None:
        self._workers = workers
        self._open_view = open_view
        self._preloaded = preloaded

    def check(self, document: StudyDocument) -> None:
        """Refuse what cannot run here.

        Raises:
            UserError: everything that is wrong or not supported, a line each.
        """
        make_plan(document, len(gpus()))

    def run(self, document: StudyDocument, store: Path) -> SweepResult:
        """Run a study to its end, or continue it; a finished one is left as it is.

        Args:
            document: the study.
            store: the store's directory.

        Returns:
            The trials and the optimum.

        Raises:
            SweepStoppedError: a signal asked to stop.
            SweepFailedError: too many trials failed.
            UserError: the document asks for what this engine cannot do, or another process works on the study.
        """
        machine_gpus = gpus()
        plan = make_plan(document, len(machine_gpus))
        identity = study_id(document)
        directory = store / "studies" / identity
        names = [parameter.name for parameter in plan.parameters]
        journal = Journal(directory, names, plan.objective.strategies)
        with journal.lock():
            trials = journal.read_trials()
            ended = {index: trial for index, trial in trials.items() if trial.has_ended}
            limits = {"max_trials": plan.max_trials, "goal": plan.objective.goal}
            finished = journal.finished(limits)
            if finished is not None:
                return result_of(directory, plan.objective, ended, finished, worked=False)
            outcome = journal.read_outcome()
            if restart_refused(spec_of(document.experiment), outcome):
                raise UserError(
                    f"spec.resumePolicy: Never: {directory} ended with {outcome['max_trials']} trials, so a larger"
                    " maxTrialCount is refused, as Katib does; with LongRunning or FromVolume it goes on"
                )
            journal.write_document(document)
            scheduler = Scheduler(plan, make_suggester(plan.algorithm, plan.parameters, plan.objective), ended)
            workers = min(self._workers or cores(), plan.parallel_trials)
            view = self._open_view()
            try:
                with Sweep(
                    document,
                    plan,
                    scheduler,
                    journal,
                    unfinished={index: trial for index, trial in trials.items() if not trial.has_ended},
                    workers=workers,
                    gpus=machine_gpus,
                    environment=_environment(store, identity),
                    defaults={"OMP_NUM_THREADS": str(max(1, cores() // workers))},
                    view=view,
                    preloaded=self._preloaded,
                ) as sweep:
                    sweep.run()
            finally:
                view.close()
            journal.write_table(scheduler.results.values())
            journal.write_outcome({"outcome": scheduler.outcome, **limits})
            return result_of(directory, plan.objective, scheduler.results, scheduler.outcome, worked=True)


def _environment(store: Path, study: str) -> dict[str, str]:
    """What every trial is told; its progress is for its own log, not for who watches this process.

    The image is that of this process, if any, whatever image the trial would have on a cluster.
    """
    return {
        "RECEIPT_COUNTER_STORE": str(store.resolve()),
        "RECEIPT_COUNTER_STUDY": study,
        IMAGE_VARIABLE: os.environ.get(IMAGE_VARIABLE, ""),
        ENVIRONMENT_VARIABLE: "",
    }
