"""A study of ours on a cluster: planned, run as a pipeline's step does, its trials really trained, compared."""

from __future__ import annotations

import io
import os
import signal
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from receipt_counter import study_steps
from receipt_counter.cli.main import main
from receipt_counter.engines.base import SweepStoppedError
from receipt_counter.errors import UserError
from receipt_counter.katib.experiment import StudyDocument, read_document
from receipt_counter.katib.space import grid, search_space
from receipt_counter.katib.template import primary_container, render_trial
from receipt_counter.progress import Progress
from receipt_counter.storage.store import Store
from receipt_counter.study import trial
from receipt_counter.wakeup import Wakeup
from tests.engines.api_server import ApiServer
from tests.engines.katib_stand_in import Katib
from tests.support import SMALL, write_squares

STUDY = """
seeds: [1, 2]
families: {loss_weights: {no_counting: {training.loss_weights.classification: 0}}}
"""


class Events:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.all: list[dict[str, Any]] = []

    def handle(self, event: dict[str, Any]) -> None:
        self.all.append(event)

    def close(self) -> None:
        pass


def planned(directory: Path, store: Path) -> Path:
    """The Experiment of a study whose trials keep their runs in a store."""
    dataset = write_squares(directory / "data", {"train": 16, "val": 8, "analysis": 40})
    settings = (*SMALL, "training.epochs=1", "training.three_stage.enabled=false", f"cluster.store={store}")
    (directory / "study.yaml").write_text(STUDY)
    options = ["--preset", "laptop", "--data", str(dataset.path), *(f"--set={text}" for text in settings)]
    experiment = directory / "experiment.yaml"
    files = ["--ablation-config", str(directory / "study.yaml"), "-o", str(experiment), "--store", str(store)]
    assert main(["plan", "--mode", "ablation", *options, *files]) == 0
    return experiment


def run_trial(document: StudyDocument, mounts: Path, assigned: Mapping[str, str]) -> str:
    """What the trial's container does, with what its pod mounts; returns what it printed."""
    container = primary_container(document, render_trial(document, "trial", assigned))
    arguments = [*container.command[3:], *container.args]
    for place, found in container.mounts.items():
        for name, text in found.items():
            mounts.mkdir(exist_ok=True)
            (mounts / name).write_text(text)
        arguments = [argument.replace(place, str(mounts)) for argument in arguments]
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
        for name, value in container.env.items():
            patch.setenv(name, value)
        assert trial.main(arguments) == 0
    return printed.getvalue()


def test_an_ablation_whose_trials_are_a_clusters_is_compared_like_any(
    tmp_path: Path, server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "store")
    experiment = planned(tmp_path, store.root)
    document = read_document(experiment)
    trials = list(grid(search_space(document.experiment)))
    katib = Katib(
        server, assign=trials.__getitem__, work=lambda assigned: run_trial(document, tmp_path / "mounts", assigned)
    )
    monkeypatch.setattr(Wakeup, "wait", lambda wakeup, others, timeout=None: katib.tick())  # the engine rests
    events = Events()
    result = study_steps.sweep(experiment.read_text(), store, "katib", 0, Progress(events))
    assert [dict(found.assignments) for found in result.trials] == trials
    assert result.directory.parent == store.studies
    assert {event["phase"] for event in events.all if "phase" in event} == {"sweep study"}
    assert [event for event in events.all if event["event"] == "note"] == []
    assert {len(event["table"]["rows"]) for event in events.all if event["event"] == "table"} >= {2, 4}
    compared = study_steps.compare(result.directory, store, Progress(events))
    assert compared.analysis["failures"] == {"trials": [], "counts": {"succeeded": 4}}
    effect = compared.analysis["ablation_analysis"]["no_counting"]["classification_accuracy"]
    assert (effect["n_seeds"], effect["n_images"]) == (2, 40)
    assert compared.report.is_file()
    assert [name.name for name in result.directory.glob("trials/*/stdout.log")] == ["stdout.log"] * 4


def test_a_step_is_told_of_an_engine_that_is_none(tmp_path: Path) -> None:
    experiment = planned(tmp_path, tmp_path / "store")
    with pytest.raises(UserError, match="did you mean 'katib'"):
        study_steps.sweep(experiment.read_text(), Store(tmp_path / "store"), "katibb", 0, Progress(Events()))


def test_a_step_that_is_stopped_ends_its_experiment(
    tmp_path: Path, server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Wakeup, "wait", lambda wakeup, others, timeout=None: os.kill(os.getpid(), signal.SIGTERM))
    experiment, store = planned(tmp_path, tmp_path / "store"), Store(tmp_path / "store")
    with pytest.raises(SweepStoppedError, match="is deleted"):
        study_steps.sweep(experiment.read_text(), store, "katib", 2, Progress(Events()))
    assert server.objects == {}
