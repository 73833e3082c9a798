"""The report of a study: one HTML file that needs nothing else, no network included."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from receipt_counter.errors import UserError
from receipt_counter.report import study_figures as figures
from receipt_counter.report.effect_cells import effect_cell
from receipt_counter.report.page import Page, study_templates
from receipt_counter.report.search_report import render_search_report
from receipt_counter.report.seed_curves import Histories, read_histories, seed_curves
from receipt_counter.storage.files import read_json, write_atomic
from receipt_counter.storage.labels import BOARD
from receipt_counter.storage.store import Store
from receipt_counter.study.findings import detectable_sentence
from receipt_counter.study.trials import cost_sentences

_EFFECTS = {"averaged over the other factors": "main_effects", "beyond the sum of both": "interactions"}
_COSTS = {"device_seconds": "Device time", "model_gigabytes": "Model size"}


def write_study_report(study_directory: Path, output: Path | None = None) -> Path:
    """Write the report of a study that has been compared.

    Args:
        study_directory: with an analysis.json.
        output: the HTML file; `report.html` in the study's directory when absent.

    Returns:
        The file written.

    Raises:
        UserError: there is no analysis.json, it is broken or of another kind, or the report cannot be written.
    """
    source = study_directory / "analysis.json"
    analysis = read_json(source)
    kind = analysis.get("kind") if isinstance(analysis, dict) else None
    study = study_directory.resolve()
    runs = Store(study.parent.parent).runs  # a study lies in its store, with its runs
    board = read_json(study / BOARD) if (study / BOARD).exists() else None
    if kind == "ablation":
        text = render_ablation_report(analysis, study.name, read_histories(analysis, runs), board)
    elif kind == "hyperparameter":
        confirmation = analysis.get("confirmation")
        histories = read_histories(confirmation, runs) if confirmation else {}
        text = render_search_report(analysis, study.name, histories, board)
    else:
        raise UserError(f"{source}: kind is {kind!r}: a report can be drawn of 'ablation' and 'hyperparameter'")
    path = output or study_directory / "report.html"
    write_atomic(path, text)
    return path


def render_ablation_report(
    analysis: Mapping[str, Any], name: str, histories: Histories, board: Mapping[str, Any] | None = None
) -> str:
    """The report of an ablation as HTML text.

    Args:
        analysis: the content of analysis.json.
        name: the study's.
        histories: {variant: {seed: what its run logged}}.
        board: where the study's TensorBoard is, if a cluster has one.
    """
    environment = study_templates()
    page, priority = Page(), list(analysis["priority_metrics"])
    metrics = list(analysis["baseline_metrics"])
    notice = detectable_sentence(analysis)
    return environment.get_template("study_report.html.j2").render(
        page=page,
        name=name,
        board=board,
        analysis=analysis,
        priority=priority,
        notice=notice,
        findings=[sentence for sentence in analysis["findings"] if sentence != notice],
        families=_rows(analysis),
        forests=page.keep([figures.effect_forest(analysis, metric) for metric in priority]),
        ranked=page.keep([figures.tornado(analysis, priority[0]), figures.radar(analysis)]),
        bars=page.keep([figures.metric_bars(analysis, metric) for metric in metrics]),
        learning=page.keep(list(seed_curves(analysis, histories))),
        slices=page.keep([figures.slice_heat_map(analysis, "classification_accuracy")]),
        factorial=_factorial(analysis),
        path=_path(analysis),
        costs=page.keep([figures.cost_bars(analysis, key, text) for key, text in _COSTS.items()]),
        spent=cost_sentences(analysis),
    )


def _rows(analysis: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """{family: [rows of the table]}."""
    return {
        family: [
            {
                "name": name,
                "changes": analysis["variations"][name]["changes"],
                "seeds": analysis["variations"][name]["seeds"],
                "effects": {
                    metric: effect_cell(effect) for metric, effect in analysis["ablation_analysis"][name].items()
                },
                "costs": {_COSTS[key]: _cost(analysis["variations"][name]["cost_ratio"][key]) for key in _COSTS},
            }
            for name in names
        ]
        for family, names in figures.families(analysis).items()
    }


def _cost(cost: Mapping[str, float | None] | float | None) -> dict[str, str]:
    """A ratio as a change in percent, and its interval where there is one."""
    ratio, low, high = figures.cost_ratio(cost)
    interval = "" if low is None or high is None or low == high else f"{_change(low)} to {_change(high)}"
    return {"change": "–" if ratio is None else _change(ratio), "interval": interval}


def _change(ratio: float) -> str:
    change = round(100 * (ratio - 1))
    return f"{change:+d} %".replace("-", "−") if change else "same"


def _factorial(analysis: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of a factorial design: main effects, then interactions, each with its effects by metric."""
    return [
        {
            "name": " and ".join(entry["levels"].values()),
            "kind": kind,
            "aliases": [alias.removeprefix("-") for alias in entry["aliases"]],
            "effects": {metric: effect_cell(effect) for metric, effect in entry["effects"].items()},
        }
        for kind, part in _EFFECTS.items()
        for entry in analysis.get("factorial", {}).get(part, {}).values()
    ]


def _path(analysis: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of an ablation path, a step each."""
    return [
        {**step, **{side: {m: effect_cell(e) for m, e in step[side].items()} for side in ("effect", "cumulative")}}
        for step in analysis.get("path", [])
    ]
