"""A store for the pages: runs in every state, hostile names, and a study of each kind."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from receipt_counter.storage.files import read_json, write_json
from tests.report.fabricate import fabricate_run, record, write_events
from tests.report.fabricate_search import fabricate_search
from tests.report.fabricate_study import fabricate_ablation

HOSTILE = '<img src=x onerror="window.hacked=1"><b>bold</b> & "quoted"'
SEARCH, ABLATION = "hparam_opt-0a1b2c3d", "ablation-4e5f6a7b"
FINISHED = "f00000000000"
FAILED = "badbadbadbad"
SEEDS = ("f00000000000", "f00000000001", "f00000000010", "f00000000011")
_MANIFESTS = Path(__file__).parents[2] / "manifests" / "katib"


def make_store(root: Path) -> Path:
    """Two trials of a search with two seeds each, a run that failed, one that was interrupted, and two studies.

    Args:
        root: made; the store.
    """
    runs = root / "runs"
    fabricate_run(runs / SEEDS[0], splits=("val", "analysis"), skill=0.9)
    for number, name in enumerate(SEEDS):
        if number:
            shutil.copytree(runs / SEEDS[0], runs / name)
        fields = {"seed": 42 + number % 2, "experiment_name": "hparam_opt", "device_seconds": 60.0 + number}
        kept = {
            key: value for key, value in read_json(runs / SEEDS[0] / "run.json").items() if key in ("metrics", "splits")
        }
        if number:
            kept["metrics"] = {metric: 0.99 * value for metric, value in kept["metrics"].items()}
            _worse(runs / name / "evaluation/analysis/metrics.json")
        _write(runs / name, _lineage(SEARCH, f"hparam-opt-{number // 2:04}"), **fields, **kept)
    error = {"message": f"RuntimeError: {HOSTILE}", "last_lines": ["Traceback", HOSTILE]}
    _write(runs / FAILED, {}, status="failed", experiment_name=HOSTILE, error=error, ended="2026-03-01T10:00:09+00:00")
    write_events(runs / FAILED / "events", last_epoch=3)
    _write(runs / "1nterrupted0", {}, status="interrupted", experiment_name="later")
    for study, source, analysis in (
        (SEARCH, "hyperparameter", fabricate_search()),
        (ABLATION, "ablation", fabricate_ablation()),
    ):
        directory = root / "studies" / study
        write_json(directory / "analysis.json", analysis)
        write_json(directory / "sweep.json", {"reason": "max_trials", "message": "every trial has ended"})
        shutil.copy(_MANIFESTS / f"{source}.yaml", directory / "experiment.yaml")
    return root


def _worse(file: Path) -> None:
    found = read_json(file)
    for figure in found["metrics"].values():
        figure.update({key: 0.99 * value for key, value in figure.items()})
    write_json(file, found)


def _lineage(study: str, trial: str) -> dict[str, Any]:
    return {"lineage": {**record()["lineage"], "study": study, "trial": trial}}


def _write(directory: Path, lineage: dict[str, Any], **fields: Any) -> None:
    write_json(directory / "run.json", record(run_id=directory.name, **lineage, **fields))
