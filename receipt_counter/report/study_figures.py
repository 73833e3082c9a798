"""Figures of an ablation study, one function a figure, from the content of analysis.json."""

from __future__ import annotations

import html
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from plotly import graph_objects as go

from receipt_counter.evaluation.wording import title
from receipt_counter.report.theme import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, figure, translucent

_POINTS = 100  # effects are shown in points of their metric
_ROW_PIXELS = 30
_RADAR_VARIATIONS = 3
_AXIS_MEDIANS = 6  # an axis reaches this many times the median effect; what lies beyond is told by a number at its end

_EDGE = 0.94  # where on the axis such an arrow stands

Effect = Mapping[str, Any]


_TICKS = {"ticks": "outside", "ticklen": 6, "tickcolor": "rgba(0,0,0,0)"}  # air between names and bars


class _Look(NamedTuple):
    """How a verdict is drawn: never by colour alone."""

    colour: str
    symbol: str


_LOOKS = {
    "better": _Look(GREEN, "triangle-up"),
    "worse": _Look(RED, "triangle-down"),
    "undecided": _Look(GREY, "circle"),
    "identical": _Look(PURPLE, "x-thin-open"),
}


def verdict_of(effect: Effect) -> str:
    """ "better", "worse", "undecided", or "identical": every answer is the same."""
    return "identical" if effect["identical"] else str(effect["verdict"])


def points(share: float) -> str:
    """A difference in points, signed: "+1.2", "−0.4", "0.0"."""
    text = f"{_POINTS * share:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "−")


def effect_forest(analysis: Mapping[str, Any], metric: str) -> go.Figure:
    """The effect of every variation on one metric, with its interval, by families.

    Args:
        analysis: the content of analysis.json.
        metric: a priority metric.
    """
    effects = {name: found[metric] for name, found in analysis["ablation_analysis"].items()}
    rows, ticks = _family_rows(analysis)
    detectable = analysis["detectable"].get(metric)
    drawn = figure(title(metric), height=80 + _ROW_PIXELS * max(3, len(ticks)))
    if not effects:
        return drawn
    limit = _limit([max(abs(effect["low"]), abs(effect["high"])) for effect in effects.values()], detectable)
    for verdict, look in _LOOKS.items():
        members = [name for name in rows if verdict_of(effects[name]) == verdict]
        _add_effects(drawn, verdict, look, {name: (rows[name], effects[name]) for name in members}, limit)
    if detectable is not None:
        drawn.add_vrect(
            x0=-_POINTS * detectable, x1=_POINTS * detectable, fillcolor=translucent(BLUE, 0.1), line_width=0
        )
    drawn.add_vline(x=0, line={"color": GREY, "width": 1})
    drawn.update_layout(showlegend=True)
    drawn.update_xaxes(
        title_text="points beside the baseline", range=[-_POINTS * limit, _POINTS * limit], nticks=6, tickangle=0
    )
    return drawn.update_yaxes(
        tickvals=list(range(len(ticks))), ticktext=ticks, range=[len(ticks) - 0.4, -0.6], showgrid=False, **_TICKS
    )


def _family_rows(analysis: Mapping[str, Any]) -> tuple[dict[str, int], list[str]]:
    """{variation: its row}, and the text of every row: families are rows of their own."""
    rows: dict[str, int] = {}
    ticks: list[str] = []
    for family, names in families(analysis).items():
        ticks.append(f"<b>{html.escape(family_title(family))}</b>")
        for name in names:
            rows[name] = len(ticks)
            ticks.append(html.escape(name))
    return rows, ticks


def families(analysis: Mapping[str, Any]) -> dict[str, list[str]]:
    """{family: its variations}, both in the study's order."""
    found: dict[str, list[str]] = {}
    for name in analysis["ablation_analysis"]:
        found.setdefault(analysis["variations"][name]["family"], []).append(name)
    return found


def family_title(family: str) -> str:
    """A family's name for people: "Loss weights"."""
    return family.replace("_", " ").capitalize()


def _limit(extents: Sequence[float], detectable: float | None) -> float:
    """Where a symmetric axis ends: one huge effect does not hide all the others."""
    moving = [extent for extent in extents if extent > 0]
    if not moving:
        return max(0.01, 1.2 * (detectable or 0))
    enough = max(_AXIS_MEDIANS * statistics.median(moving), 1.5 * (detectable or 0))
    return 1.08 * min(max(*moving, 1.2 * (detectable or 0)), enough)


def _add_effects(
    drawn: go.Figure, verdict: str, look: _Look, members: Mapping[str, tuple[int, Effect]], limit: float
) -> None:
    """Dots with intervals; an effect beyond the axis is an arrow at its end with the number beside it."""
    if not members:
        return
    # The legend shows the first dot: arrows come last.
    members = dict(sorted(members.items(), key=lambda item: abs(item[1][1]["effect"]) > limit))
    places, effects = [place for place, _ in members.values()], [effect for _, effect in members.values()]
    sides = [(effect["effect"] > limit) - (effect["effect"] < -limit) for effect in effects]
    symbols = {0: look.symbol, 1: "triangle-right", -1: "triangle-left"}
    drawn.add_scatter(
        x=[_POINTS * (side * _EDGE * limit or effect["effect"]) for side, effect in zip(sides, effects, strict=True)],
        y=places,
        name=verdict,
        mode="markers",
        marker={
            "color": look.colour,
            "size": 11,
            "symbol": [symbols[side] for side in sides],
            "line": {"width": 2 if verdict == "identical" else 0, "color": look.colour},
        },
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [0 if s else _POINTS * (e["high"] - e["effect"]) for s, e in zip(sides, effects, strict=True)],
            "arrayminus": [0 if s else _POINTS * (e["effect"] - e["low"]) for s, e in zip(sides, effects, strict=True)],
            "thickness": 2,
            "width": 0,
            "color": translucent(look.colour, 0.6),
        },
        customdata=[
            (html.escape(name), *map(points, (e["effect"], e["low"], e["high"]))) for name, (_, e) in members.items()
        ],
        hovertemplate="%{customdata[0]}: %{customdata[1]} (%{customdata[2]} to %{customdata[3]})<extra></extra>",
    )
    for side, place, effect in zip(sides, places, effects, strict=True):
        if side:
            drawn.add_annotation(
                x=side * _EDGE * _POINTS * limit,
                y=place,
                text=points(effect["effect"]),
                showarrow=False,
                xanchor="right" if side > 0 else "left",
                xshift=-12 * side,
            )


def tornado(analysis: Mapping[str, Any], metric: str) -> go.Figure:
    """The effect of every variation on one metric at its full size, the largest on top."""
    effects = {name: found[metric] for name, found in analysis["ablation_analysis"].items()}
    ranked = sorted(effects, key=lambda name: -abs(effects[name]["effect"]))
    values = [effects[name]["effect"] for name in ranked]
    return _signed_bars(
        f"{title(metric)}, ranked",
        ranked,
        [_POINTS * value for value in values],
        [_LOOKS[verdict_of(effects[name])].colour for name in ranked],
        [points(value) for value in values],
        "points beside the baseline",
    )


def cost_bars(analysis: Mapping[str, Any], cost: str, name: str) -> go.Figure:
    """What every variation costs beside the baseline, in percent more or less; grey where its interval holds 0.

    Args:
        analysis: the content of analysis.json.
        cost: a key of `cost_ratio`.
        name: the figure's title.
    """
    ratios = {key: cost_ratio(entry["cost_ratio"][cost]) for key, entry in analysis["variations"].items()}
    known = {key: _POINTS * (ratio - 1) for key, (ratio, _, _) in ratios.items() if ratio is not None}
    if not any(round(change) for change in known.values()):
        return figure(name)
    ranked = sorted(known, key=known.__getitem__)
    changes = [known[key] for key in ranked]
    texts = [f"{change:+.0f} %".replace("-", "−") if round(change) else "0 %" for change in changes]
    colours = [GREY if _open(*ratios[key][1:]) else GREEN if known[key] < 0 else ORANGE for key in ranked]
    return _signed_bars(name, ranked, changes, colours, texts, "percent beside the baseline")


def cost_ratio(cost: Mapping[str, float | None] | float | None) -> tuple[float | None, float | None, float | None]:
    """A cost of analysis.json as ratio, low and high; exact costs have no interval."""
    return (cost["ratio"], cost["low"], cost["high"]) if isinstance(cost, Mapping) else (cost, cost, cost)


def _open(low: float | None, high: float | None) -> bool:
    return low is None or high is None or low <= 1 <= high


def _signed_bars(
    name: str, rows: Sequence[str], values: Sequence[float], colours: Sequence[str], texts: Sequence[str], unit: str
) -> go.Figure:
    drawn = figure(name, height=70 + _ROW_PIXELS * max(3, len(rows)))
    if not rows:
        return drawn
    drawn.add_bar(
        x=list(values),
        y=list(range(len(rows))),
        orientation="h",
        marker={"color": [translucent(colour, 0.75) for colour in colours]},
        text=list(texts),
        textposition="outside",
        cliponaxis=False,
        customdata=[html.escape(row) for row in rows],
        hovertemplate="%{customdata}: %{text}<extra></extra>",
    )
    low, high = min(0, *values), max(0, *values)
    air = 0.34 * (high - low or 1)  # for the numbers at the bars' ends
    drawn.add_vline(x=0, line={"color": GREY, "width": 1})
    drawn.update_layout(showlegend=False).update_xaxes(
        range=[low - air, high + air], title_text=unit, nticks=6, tickangle=0
    )
    return _named_rows(drawn, rows)


def _named_rows(drawn: go.Figure, rows: Sequence[str]) -> go.Figure:
    return drawn.update_yaxes(
        tickvals=list(range(len(rows))),
        ticktext=[html.escape(row) for row in rows],
        range=[len(rows) - 0.4, -0.6],
        showgrid=False,
        **_TICKS,
    )


def metric_bars(analysis: Mapping[str, Any], metric: str) -> go.Figure:
    """The metric itself: the baseline with its seeds' range; a variation is the baseline plus its effect."""
    baseline = analysis["baseline_metrics"][metric]
    seeds = list(baseline["seeds"].values())
    names, values = ["baseline"], [baseline["mean"]]
    lows, highs = [min(seeds)], [max(seeds)]
    for name, found in analysis["ablation_analysis"].items():
        start = _baseline_value(analysis, name, metric)
        names.append(name)
        for side, key in ((values, "effect"), (lows, "low"), (highs, "high")):
            side.append(min(1.0, max(0.0, start + found[metric][key])))
    drawn = figure(title(metric), height=60 + 26 * len(names)).update_layout(showlegend=False)
    drawn.add_bar(
        x=values,
        y=list(range(len(names))),
        orientation="h",
        marker={"color": [BLUE, *[translucent(BLUE, 0.45)] * (len(names) - 1)]},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [max(0.0, high - value) for high, value in zip(highs, values, strict=True)],
            "arrayminus": [max(0.0, value - low) for value, low in zip(values, lows, strict=True)],
            "color": GREY,
            "thickness": 1.6,
            "width": 4,
        },
        customdata=list(zip(map(html.escape, names), lows, highs, strict=True)),
        hovertemplate="%{customdata[0]}: %{x:.1%} (%{customdata[1]:.1%} to %{customdata[2]:.1%})<extra></extra>",
    )
    drawn.update_xaxes(range=[0, 1.03], tickformat=".0%", nticks=4, tickangle=0)
    return _named_rows(drawn, names)


def _baseline_value(analysis: Mapping[str, Any], name: str, metric: str) -> float:
    """The baseline's mean over the seeds that a variation has too."""
    seeds = analysis["baseline_metrics"][metric]["seeds"]
    return statistics.fmean(seeds[str(seed)] for seed in analysis["variations"][name]["seeds"])


def radar(analysis: Mapping[str, Any]) -> go.Figure:
    """The baseline and the variations most unlike it, on the priority metrics and exact answers."""
    effects = analysis["ablation_analysis"]
    axes = list(dict.fromkeys((*analysis["priority_metrics"], "answer_accuracy")))
    drawn = figure("The baseline and what differs most", height=420)
    if len(axes) < 3 or not effects:
        return drawn
    different = sorted(effects, key=lambda name: -sum(abs(effects[name][axis]["effect"]) for axis in axes))
    shapes = {"baseline": [analysis["baseline_metrics"][axis]["mean"] for axis in axes]}
    for name in different[:_RADAR_VARIATIONS]:
        values = [_baseline_value(analysis, name, axis) + effects[name][axis]["effect"] for axis in axes]
        shapes[name] = [min(1.0, max(0.0, value)) for value in values]
    corners = [title(axis).replace(" ", "<br>") for axis in axes]
    dashes = ("solid", "dash", "dot", "dashdot")
    for (name, values), colour, dash in zip(shapes.items(), (BLUE, ORANGE, PURPLE, GREEN), dashes, strict=False):
        drawn.add_scatterpolar(
            r=[*values, values[0]],
            theta=[*corners, corners[0]],
            name=html.escape(name),
            line={"color": colour, "width": 2, "dash": dash},
            marker={"size": 6},
            mode="lines+markers",
            hovertemplate="%{theta}: %{r:.1%}",
        )
    axis = {
        "range": [0, 1],
        "tickformat": ".0%",
        "nticks": 4,
        "angle": 45,
        "tickangle": 45,
        "linecolor": "rgba(0,0,0,0)",
    }
    return drawn.update_layout(
        polar={"bgcolor": "rgba(0,0,0,0)", "radialaxis": axis, "angularaxis": {"linecolor": GREY}},
        margin={"l": 80, "r": 80, "b": 40},
        legend={"y": 1.08},
    )


def slice_heat_map(analysis: Mapping[str, Any], metric: str) -> go.Figure:
    """Effects on parts of the images, {variation x slice}; those that are significant are bold and starred."""
    found = {
        name: {part: effects[metric] for part, effects in parts.items() if metric in effects}
        for name, parts in analysis["slices"].items()
    }
    rows = [name for name, parts in found.items() if parts]
    parts = list(dict.fromkeys(part for name in rows for part in found[name]))
    drawn = figure(title(metric), height=150 + _ROW_PIXELS * len(rows)).update_layout(showlegend=False)
    if not rows:
        return drawn
    limit = _POINTS * _limit([abs(effect["effect"]) for name in rows for effect in found[name].values()], None)
    columns = [html.escape(part).replace("=", "<br>", 1) for part in parts]
    shown = [[found[name].get(part) for part in parts] for name in rows]
    drawn.add_heatmap(
        z=[[effect and _POINTS * effect["effect"] for effect in line] for line in shown],
        x=list(range(len(parts))),
        y=list(range(len(rows))),
        customdata=[
            [f"{html.escape(name)}, {html.escape(part)}: {_interval(found[name].get(part))}" for part in parts]
            for name in rows
        ],
        zmin=-limit,
        zmax=limit,
        colorscale=[[0, translucent(RED, 0.75)], [0.5, translucent(GREY, 0.05)], [1, translucent(GREEN, 0.75)]],
        showscale=False,
        xgap=2,
        ygap=2,
        hovertemplate="%{customdata}<extra></extra>",
    )
    for y, line in enumerate(shown):
        for x, effect in enumerate(line):
            if effect is not None:
                text = points(effect["effect"])
                significant = verdict_of(effect) in ("better", "worse")
                drawn.add_annotation(
                    x=x, y=y, text=f"<b>{text} *</b>" if significant else text, showarrow=False, font={"size": 11}
                )
    drawn.update_xaxes(tickvals=list(range(len(parts))), ticktext=columns, side="top", showgrid=False, tickangle=0)
    return _named_rows(drawn, rows)


def _interval(effect: Effect | None) -> str:
    if effect is None:
        return "too few images"
    return f"{points(effect['effect'])} ({points(effect['low'])} to {points(effect['high'])})"
