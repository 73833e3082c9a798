"""The report of a hyperparameter search as HTML."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from receipt_counter.evaluation.wording import format_value, spoken
from receipt_counter.report import search_figures as figures
from receipt_counter.report import study_figures
from receipt_counter.report.effect_cells import effect_cell
from receipt_counter.report.page import Page, study_templates
from receipt_counter.report.parallel_coordinates import parallel_coordinates
from receipt_counter.report.seed_curves import Histories, seed_curves
from receipt_counter.study.findings import detectable_sentence
from receipt_counter.study.search_findings import chance_sentence
from receipt_counter.study.trials import cost_sentences

_FRONT_METRICS = 3  # more pairs than those of three metrics would be a wall


def render_search_report(
    analysis: Mapping[str, Any], name: str, histories: Histories, board: Mapping[str, Any] | None = None
) -> str:
    """The report of a search as HTML text.

    Args:
        analysis: the content of analysis.json.
        name: the study's.
        histories: of its confirmation, {variant: {seed: what its run logged}}.
        board: where the study's TensorBoard is, if a cluster has one.
    """
    page = Page()
    notice = chance_sentence(analysis)
    pairs = itertools.combinations(analysis["priority_metrics"][:_FRONT_METRICS], 2)
    environment = study_templates()
    environment.filters.update(value=format_value, spoken=spoken)
    return environment.get_template("search_report.html.j2").render(
        page=page,
        name=name,
        board=board,
        analysis=analysis,
        notice=notice,
        findings=[sentence for sentence in analysis["findings"] if sentence != notice],
        best=_best_trials(analysis),
        confirmation=_confirmation(analysis.get("confirmation"), histories, page),
        history=page.keep([figures.optimization_history(analysis)]),
        importance=page.keep([figures.importance_bars(analysis)]),
        parallel=page.keep([parallel_coordinates(analysis)]),
        curves=page.keep([figures.sensitivity_curve(analysis, key) for key in analysis["parameter_sensitivity"]]),
        correlations=page.keep([figures.correlation_heat_map(analysis)]),
        front=page.keep([figures.pareto_front(analysis, across, up) for across, up in pairs]),
        spent=cost_sentences(analysis),
    )


def _best_trials(analysis: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The trials that are best by the objective or a priority metric, each once, with what it is best by."""
    trials = {trial["trial"]: trial for trial in analysis["optimization_history"]}
    objective = analysis["objective"]["metric"]
    found: dict[str, list[str]] = {}
    for criterion, best in analysis["best_configurations"].items():
        metric = objective if criterion == "objective" else criterion
        if best is not None and metric not in found.setdefault(best["trial"], []):
            found[best["trial"]].append(metric)
    return [{**trials[name], "best_by": metrics} for name, metrics in found.items()]


def _confirmation(confirmation: Mapping[str, Any] | None, histories: Histories, page: Page) -> dict[str, Any] | None:
    """The winner beside the baseline on other seeds: an ablation's analysis with one variation."""
    if not confirmation:
        return None
    priority = confirmation["priority_metrics"]
    notice = detectable_sentence(confirmation)
    return {
        "split": confirmation["split"],
        "seeds": confirmation["seeds"],
        "findings": [sentence for sentence in confirmation["findings"] if sentence != notice],
        "notice": notice,
        "baseline": confirmation["baseline_metrics"],
        "effects": {
            name: {metric: effect_cell(effect) for metric, effect in effects.items()}
            for name, effects in confirmation["ablation_analysis"].items()
        },
        "forests": page.keep([study_figures.effect_forest(confirmation, metric) for metric in priority]),
        "learning": page.keep(list(seed_curves(confirmation, histories))),
    }
