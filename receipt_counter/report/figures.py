"""Figures of an evaluation, one function a figure, from the content of metrics.json and confusion.json."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from plotly import graph_objects as go
from plotly.subplots import make_subplots

from receipt_counter.evaluation.wording import title
from receipt_counter.report.theme import BLUE, GREEN, GREY, ORANGE, PURPLE, TEMPLATE, figure, translucent

_ROW_PIXELS = 30


class _Row(NamedTuple):
    """A dot with its interval."""

    label: str
    figure: Mapping[str, float]
    n: int


def confusion_matrix(confusion: Mapping[str, Any]) -> go.Figure:
    """Counts of images; each row is a true count, coloured by its share of the row, mistakes in another colour.

    Args:
        confusion: {"labels": [names], "matrix": [[counts]]}, rows = truth.
    """
    labels, matrix = confusion["labels"], confusion["matrix"]
    drawn = figure("Counts: truth and prediction", height=360).update_layout(showlegend=False)
    for colour, diagonal in ((BLUE, True), (ORANGE, False)):
        shares = [
            [count / max(1, sum(row)) if (i == j) == diagonal else None for j, count in enumerate(row)]
            for i, row in enumerate(matrix)
        ]
        # A mistake is seen long before it fills its row.
        drawn.add_heatmap(
            x=labels,
            y=labels,
            z=shares,
            zmin=0,
            zmax=1 if diagonal else 0.25,
            colorscale=[[0, translucent(colour, 0.03)], [1, translucent(colour, 0.6)]],
            showscale=False,
            xgap=3,
            ygap=3,
            hovertemplate="truth %{y}, predicted %{x}: %{z:.1%} of the row<extra></extra>",
        )
    for i, row in enumerate(matrix):
        for j, count in enumerate(row):
            share = f"<br>{100 * count / sum(row):.1f} %" if sum(row) else ""
            drawn.add_annotation(
                x=labels[j], y=labels[i], text=f"<b>{count}</b>{share}", showarrow=False, font={"size": 13}
            )
    drawn.update_xaxes(title_text="predicted count", type="category", showgrid=False, side="bottom")
    return drawn.update_yaxes(title_text="true count", type="category", autorange="reversed", showgrid=False)


def reliability_diagram(bins: Sequence[Mapping[str, Any]]) -> go.Figure:
    """How often the model is right at each confidence, and how many images have it.

    Args:
        bins: the 15 bins of metrics.json's `calibration`.
    """
    filled = [bin_ for bin_ in bins if bin_["n"]]
    drawn = make_subplots(rows=2, shared_xaxes=True, row_heights=[0.74, 0.26], vertical_spacing=0.06)
    drawn.update_layout(template=TEMPLATE, title_text="Confidence and accuracy", height=360, showlegend=False)
    drawn.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line={"color": GREY, "dash": "dash", "width": 1}, hoverinfo="skip"
    )
    drawn.add_scatter(
        x=[bin_["confidence"] for bin_ in filled],
        y=[bin_["accuracy"] for bin_ in filled],
        customdata=[bin_["n"] for bin_ in filled],
        mode="lines+markers",
        line={"color": BLUE, "width": 2},
        marker={"size": 8},
        hovertemplate="confidence %{x:.1%}, right %{y:.1%}, %{customdata} images<extra></extra>",
    )
    middles = [(bin_["low"] + bin_["high"]) / 2 for bin_ in bins]
    drawn.add_bar(
        x=middles,
        y=[bin_["n"] for bin_ in bins],
        marker={"color": translucent(BLUE, 0.5)},
        hovertemplate="%{y} images<extra></extra>",
        row=2,
        col=1,
    )
    drawn.update_xaxes(range=[0, 1.02], tickformat=".0%")
    drawn.update_xaxes(title_text="confidence in the count", row=2, col=1)
    drawn.update_yaxes(range=[0, 1.05], tickformat=".0%", title_text="right", row=1, col=1)
    return drawn.update_yaxes(title_text="images", nticks=3, row=2, col=1)


def class_scores(per_class: Mapping[str, Mapping[str, Any]]) -> go.Figure:
    """Precision, recall and F1 of each count class, with intervals.

    Args:
        per_class: metrics.json's `per_class`.
    """
    scores = {"precision": BLUE, "recall": ORANGE, "f1": PURPLE}
    names = list(per_class)
    drawn = figure("Each count", height=80 + 3 * _ROW_PIXELS * len(names))
    for offset, (score, colour) in zip((-0.22, 0.0, 0.22), scores.items(), strict=True):
        known = [place for place, name in enumerate(names) if per_class[name][score] is not None]
        rows = [
            _Row(name, per_class[name][score], per_class[name]["support"]) for name in map(names.__getitem__, known)
        ]
        _add_dots(drawn, rows, [place + offset for place in known], colour, "F1" if score == "f1" else score)
    ticks = [f"{name}  <span style='color:{GREY}'>{per_class[name]['support']} images</span>" for name in names]
    return _finish_dots(drawn, ticks)


def question_types(by_type: Mapping[str, Mapping[str, Any]]) -> go.Figure:
    """Exact answers to each type of question, with intervals.

    Args:
        by_type: metrics.json's `answer_accuracy_by_type`.
    """
    rows = [_Row(name, entry, entry["n"]) for name, entry in by_type.items()]
    return _dots("Exact answers to each type of question", rows, "questions", GREEN)


def slice_forest(slices: Mapping[str, Mapping[str, Any]], metric: str, overall: Mapping[str, float]) -> go.Figure:
    """One figure on each part of the split, with intervals, beside its value on the whole.

    Args:
        slices: metrics.json's `slices`.
        metric: "classification_accuracy" or "answer_accuracy".
        overall: the same figure of the whole split, {value, low, high}.
    """
    rows = [
        _Row(html.escape(f"{key}: {value}"), entry[metric], entry["n"])
        for key, values in slices.items()
        for value, entry in values.items()
        if metric in entry
    ]
    drawn = _dots(title(metric), rows, "images", BLUE)
    if rows:
        drawn.add_vrect(x0=overall["low"], x1=overall["high"], fillcolor=translucent(GREY, 0.15), line_width=0)
        drawn.add_vline(x=overall["value"], line={"color": GREY, "width": 1, "dash": "dash"})
    return drawn


def _dots(name: str, rows: Sequence[_Row], unit: str, colour: str) -> go.Figure:
    drawn = figure(name, height=70 + _ROW_PIXELS * max(2, len(rows)))
    if rows:
        _add_dots(drawn, rows, list(range(len(rows))), colour, "")
    ticks = [f"{row.label}  <span style='color:{GREY}'>{row.n:,} {unit}</span>" for row in rows]
    return _finish_dots(drawn, ticks).update_layout(showlegend=False)


def _add_dots(drawn: go.Figure, rows: Sequence[_Row], places: Sequence[float], colour: str, name: str) -> None:
    values = [row.figure["value"] for row in rows]
    highs, lows = [row.figure["high"] for row in rows], [row.figure["low"] for row in rows]
    drawn.add_scatter(
        x=values,
        y=places,
        name=name,
        mode="markers",
        marker={"color": colour, "size": 9},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [high - value for high, value in zip(highs, values, strict=True)],
            "arrayminus": [value - low for low, value in zip(lows, values, strict=True)],
            "thickness": 2,
            "width": 0,
            "color": translucent(colour, 0.6),
        },
        customdata=list(zip((row.label for row in rows), lows, highs, strict=True)),
        hovertemplate=name
        + " %{customdata[0]}: %{x:.1%} (%{customdata[1]:.1%} to %{customdata[2]:.1%})<extra></extra>",
    )


def _finish_dots(drawn: go.Figure, ticks: Sequence[str]) -> go.Figure:
    lowest = min((low for trace in drawn.data for _, low, _ in trace.customdata), default=0.0)
    # From the last multiple of 10 % below everything, with a little air for the dots.
    start = max(0.0, math.floor(10 * lowest - 1e-9) / 10)
    air = 0.02 * (1 - start)
    drawn.update_xaxes(range=[start - air, 1 + air], tickformat=".0%", nticks=5, tickangle=0)
    return drawn.update_yaxes(
        tickvals=list(range(len(ticks))), ticktext=list(ticks), range=[len(ticks) - 0.45, -0.55], showgrid=False
    )
