"""The report of one run: one HTML file that needs nothing else, no network included."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plotly import graph_objects as go

from receipt_counter.config.schema import Config, leaves
from receipt_counter.evaluation.gates import LOWER_IS_BETTER, bound_text
from receipt_counter.evaluation.metrics import class_labels
from receipt_counter.evaluation.mistakes import thumbnail_path, worst_mistakes
from receipt_counter.evaluation.wording import TITLES, format_interval, format_value
from receipt_counter.report import curves, figures, story
from receipt_counter.report.contents import RunContents, SplitResults, read_run
from receipt_counter.report.page import Page, templates
from receipt_counter.storage.files import write_atomic


def write_run_report(run_directory: Path, output: Path | None = None) -> Path:
    """Write the report of a run, whatever there is of it.

    Args:
        run_directory: with at least a run.json.
        output: the HTML file; `report.html` in the run directory when absent.

    Returns:
        The file written.

    Raises:
        UserError: it is no run directory, a file in it is broken, or the report cannot be written.
    """
    path = output or run_directory / "report.html"
    write_atomic(path, render_run_report(read_run(run_directory)))
    return path


def render_run_report(contents: RunContents) -> str:
    """The report as HTML text."""
    environment = templates()
    environment.filters.update(interval=format_interval, value=format_value, bound=bound_text)
    main = contents.results[contents.main_split] if contents.main_split else None
    page = Page()
    return environment.get_template("run_report.html.j2").render(
        record=contents.record,
        lineage=_lineage(contents.record),
        headline=story.headline(contents),
        sentences=story.sentences(contents),
        page=page,
        curves=page.keep(_curves(contents)),
        main=main,
        main_split=contents.main_split,
        gates=_gates(main),
        counting=page.keep(_counting_figures(main)),
        answering=page.keep(_answer_figures(main)),
        slices=page.keep(_slice_figures(main)),
        mistakes=_mistakes(main),
        all_figures=_all_figures(contents.results),
        config=_config_tree(contents.config),
    )


def _curves(contents: RunContents) -> list[go.Figure]:
    drawing = (curves.loss_curves, curves.accuracy_curves, curves.text_curves, curves.learning_rate_curves)
    return [draw(contents.history) for draw in drawing]


def _counting_figures(results: SplitResults | None) -> list[go.Figure]:
    if results is None:
        return []
    return [
        figures.confusion_matrix(results.confusion),
        figures.reliability_diagram(results.metrics["calibration"]),
        figures.class_scores(results.metrics["per_class"]),
    ]


def _answer_figures(results: SplitResults | None) -> list[go.Figure]:
    return [figures.question_types(results.metrics["answer_accuracy_by_type"])] if results else []


def _slice_figures(results: SplitResults | None) -> list[go.Figure]:
    if results is None:
        return []
    found = results.metrics["metrics"]
    shown = [name for name in ("classification_accuracy", "answer_accuracy") if name in found]
    return [figures.slice_forest(results.metrics["slices"], name, found[name]) for name in shown]


def _gates(results: SplitResults | None) -> list[dict[str, Any]]:
    """The gates with their places, in percent, on a scale that begins at 0 and ends at 1 or at what is allowed."""
    rows = []
    for name, gate in (results.metrics["gates"] if results else {}).items():
        scale = 1.15 * gate["minimum"] if name in LOWER_IS_BETTER else 1.0
        marks = {key: gate[key] for key in ("value", "low", "high", "target", "minimum") if gate[key] is not None}
        places = {key: round(100 * min(1.0, mark / scale), 2) if scale else 0 for key, mark in marks.items()}
        rows.append({"name": name, **gate, "places": places})
    return rows


def _mistakes(results: SplitResults | None) -> list[dict[str, Any]]:
    if results is None:
        return []
    labels = class_labels(len(results.confusion["labels"]))
    cards = []
    for line in worst_mistakes(results.predictions):
        picture = thumbnail_path(results.directory, line["id"])
        cards.append(
            {
                "id": line["id"],
                "picture": _data_uri(picture) if picture.is_file() else None,
                "truth": str(line["count"]),
                "predicted": labels[line["predicted"]],
                "miscounted": line["predicted"] != line["label"],
                "confidence": max(line["probabilities"]),
                "slices": line["slices"],
                "answers": line["answers"],
            }
        )
    return cards


def _data_uri(picture: Path) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(picture.read_bytes()).decode("ascii")


def _all_figures(results: Mapping[str, SplitResults]) -> dict[str, dict[str, Any]]:
    """{figure: {split: {value, low, high}}}, in the order of the titles, BLEU-4 once."""
    return {
        name: {split: found.metrics["metrics"].get(name) for split, found in results.items()}
        for name in TITLES
        if name != "generation_bleu" and any(name in found.metrics["metrics"] for found in results.values())
    }


def _config_tree(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config with, for each value, whether it differs from the reference, {key: subtree or {text, changed}}."""
    reference = {name: _plain(value) for name, value in leaves(Config()).items()}

    def branch(tree: Mapping[str, Any], prefix: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in tree.items():
            name = f"{prefix}{key}"
            if isinstance(value, dict):
                found[key] = {"branch": branch(value, f"{name}.")}
            else:
                default = reference.get(name)
                found[key] = {"text": json.dumps(value), "changed": value != default, "default": json.dumps(default)}
        return found

    return branch(config, "")


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _lineage(record: Mapping[str, Any]) -> dict[str, str]:
    """What the run came from and what it took, {name: text}; what is unknown is left out."""
    lineage = record.get("lineage", {})
    seconds, memory = record.get("device_seconds"), record.get("peak_memory_gigabytes")
    rows = {
        "Run": record.get("run_id"),
        "Experiment": record.get("experiment_name"),
        "Seed": record.get("seed"),
        "Status": record.get("status"),
        "Started": story.moment(record.get("started")),
        "Ended": story.moment(record.get("ended")),
        "Device time": story.duration(seconds) if seconds is not None else None,
        "Peak memory": f"{memory:.2f} GB" if memory is not None else None,
        "Device": lineage.get("device"),
        "Processes": lineage.get("processes"),
        "Threads": lineage.get("threads"),
        "Code version": lineage.get("code_version"),
        "Data": lineage.get("data_name"),
        "Data fingerprint": lineage.get("data_fingerprint"),
        "Image": lineage.get("image"),
        "Study": lineage.get("study"),
        "Trial": lineage.get("trial"),
        "Versions": ", ".join(f"{name} {version}" for name, version in lineage.get("versions", {}).items()),
    }
    return {name: str(text) for name, text in rows.items() if text not in (None, "")}
