"""Parallel coordinates of a search.

Drawn from lines: Plotly's own trace of that name compiles code in the browser, which the page's policy forbids.
"""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from plotly import graph_objects as go

from receipt_counter.evaluation.wording import format_value, spoken, title
from receipt_counter.report.search_axes import (
    Axis,
    Trial,
    compared_trials,
    label,
    objective_axis,
    parameter_axis,
)
from receipt_counter.report.theme import BLUE, GREY, ORANGE, figure, translucent
from receipt_counter.study.search_findings import short_value

_AXIS_PIXELS = 96  # the least that an axis's name needs
_GOOD = 0.25  # share of the trials that is called the best ones
_TOP = 1.13  # where the axes' names stand


class _Group(NamedTuple):
    """Trials drawn alike; a group's name says how good they are."""

    name: str
    colour: str
    width: float
    trials: Sequence[int]


def parallel_coordinates(analysis: Mapping[str, Any]) -> go.Figure:
    """A line for each trial through its parameters, the most important first, to its objective.

    Args:
        analysis: the content of analysis.json.
    """
    trials, objective = compared_trials(analysis), analysis["objective"]
    keys = _ordered(analysis)
    drawn = figure("From parameters to the objective", height=420)
    if not trials:
        return drawn
    spaces = analysis["search_space"]
    axes = [parameter_axis(spaces[key], [trial["parameters"][key] for trial in trials]) for key in keys]
    axes.append(objective_axis(objective["metric"], [trial["value"] for trial in trials]))
    for group in _groups(trials, maximise=objective["maximise"]):
        _add_lines(drawn, group, axes, [_hovers(trial, keys, objective["metric"]) for trial in trials])
    names = [*(label(key, keys) for key in keys), f"<b>{title(objective['metric']).replace(' ', '<br>', 1)}</b>"]
    _add_axes(drawn, axes, names)
    drawn.update_xaxes(visible=False, range=[-0.35, len(axes) - 0.45])
    drawn.update_yaxes(visible=False, range=[-0.06, 1.24])
    return drawn.update_layout(showlegend=True, meta={"least_width": _AXIS_PIXELS * len(axes)}, hovermode="closest")


def _ordered(analysis: Mapping[str, Any]) -> list[str]:
    """The parameters, the most important first where that is known."""
    return list(analysis["parameter_importance"]["parameters"] or analysis["search_space"])


def _groups(trials: Sequence[Trial], *, maximise: bool) -> list[_Group]:
    """What is drawn first lies below."""
    ranked = sorted(range(len(trials)), key=lambda row: trials[row]["value"], reverse=maximise)
    many = max(1, math.ceil(_GOOD * len(ranked)))
    return [
        _Group("the others", translucent(GREY, 0.55), 1.2, ranked[many:]),
        _Group("the best quarter", translucent(BLUE, 0.85), 2.0, ranked[1:many]),
        _Group("the best trial", ORANGE, 3.5, ranked[:1]),
    ]


def _add_lines(drawn: go.Figure, group: _Group, axes: Sequence[Axis], hovers: Sequence[Sequence[str]]) -> None:
    if not group.trials:
        return
    # None lifts the pen between two trials
    lines = [([*range(len(axes)), None], [*(axis.places[row] for axis in axes), None]) for row in group.trials]
    drawn.add_scatter(
        x=list(itertools.chain.from_iterable(x for x, _ in lines)),
        y=list(itertools.chain.from_iterable(y for _, y in lines)),
        customdata=[text for row in group.trials for text in (*hovers[row], "")],
        name=group.name,
        mode="lines+markers",
        line={"color": group.colour, "width": group.width},
        marker={"size": 4 + group.width},
        hovertemplate="%{customdata}<extra></extra>",
    )


def _hovers(trial: Trial, keys: Sequence[str], metric: str) -> list[str]:
    name = f"{html.escape(trial['trial'])}: {format_value(metric, trial['value'])} {spoken(metric)}"
    values = [html.escape(f"{key} = {short_value(trial['parameters'][key])}") for key in keys]
    return [*(f"{name}<br>{value}" for value in values), name]


def _add_axes(drawn: go.Figure, axes: Sequence[Axis], names: Sequence[str]) -> None:
    for x, (axis, name) in enumerate(zip(axes, names, strict=True)):
        drawn.add_shape(
            type="line", x0=x, x1=x, y0=0, y1=1, line={"color": translucent(GREY, 0.7), "width": 1}, layer="below"
        )
        drawn.add_annotation(x=x, y=_TOP, text=name, showarrow=False, font={"size": 11}, align="center")
        for place, text in axis.ticks.items():
            drawn.add_annotation(
                x=x,
                y=place,
                text=html.escape(text),
                showarrow=False,
                xanchor="right",
                xshift=-7,
                font={"size": 10},
                bgcolor="rgba(0,0,0,0)",  # the page's own, so that lines do not strike the text through
                borderpad=1,
            )
