"""The steps of a study, as functions: what the pipelines' components call, and the command line too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from receipt_counter.engines.base import UNSUCCESSFUL, SweepResult, name_of
from receipt_counter.engines.local.engine import LocalEngine
from receipt_counter.engines.view import ReportedView
from receipt_counter.progress import Progress
from receipt_counter.storage.store import Store
from receipt_counter.study.compare import compare as compare_study
from receipt_counter.study.documents import parse_document


def sweep(experiment: str, store: Store, workers: int, progress: Progress) -> SweepResult:
    """Run a study's trials on this machine, or continue with them.

    Args:
        experiment: the Experiment and its ConfigMaps, as YAML.
        store: where runs and studies live.
        workers: processes at a time; 0 takes one a core.
        progress: shows the trials.

    Raises:
        UserError: see `LocalEngine.run`.
    """
    document = parse_document(experiment)
    phase = f"sweep {name_of(document.experiment)}"
    return LocalEngine(workers or None, open_view=lambda: ReportedView(progress, phase)).run(document, store.root)


def sweep_figures(result: SweepResult) -> dict[str, float]:
    """A sweep in flat numbers."""
    figures = {
        "trials": float(len(result.trials)),
        "failed": float(sum(trial.status in UNSUCCESSFUL for trial in result.trials)),
        "device_hours": sum(trial.seconds for trial in result.trials) / 3600,
    }
    best = result.optimum.objective if result.optimum else None
    return figures if best is None else {**figures, "best_objective": best}


@dataclass(frozen=True)
class Compared:
    """What `compare` leaves.

    Attributes:
        analysis: the content of analysis.json.
        report: the page.
        confirmation: the Experiment that confirms a search, as YAML; empty for an ablation.
        chosen: the directory of the run to ship; None before the confirmation, and for an ablation.
    """

    analysis: Mapping[str, Any]
    report: Path
    confirmation: str
    chosen: Path | None


def compare(study: Path, store: Store, progress: Progress) -> Compared:
    """Say what a study found: analysis.json, report.html, of a search also best_config.yaml and confirmation.yaml.

    Args:
        study: its directory.
        store: where its runs live.
        progress: shows how far it is.

    Raises:
        UserError: it is no study of ours, or nothing in it finished that could be compared.
    """
    from receipt_counter.report.study_report import write_study_report

    analysis = compare_study(study, store, progress)
    progress.start("draw report", 1)
    report = write_study_report(study)
    progress.finish()
    confirmation, chosen = study / "confirmation.yaml", analysis.get("chosen")
    searched = analysis["kind"] == "hyperparameter" and confirmation.exists()
    return Compared(
        analysis,
        report,
        confirmation.read_text(encoding="utf-8") if searched else "",
        store.run_directory(chosen["run"]) if chosen else None,
    )


def findings_markdown(analysis: Mapping[str, Any], name: str) -> str:
    """A study's findings as Markdown.

    Args:
        analysis: the content of analysis.json.
        name: the study's.
    """
    return "\n".join([f"# {name}", "", *(f"- {sentence}" for sentence in analysis["findings"]), ""])
