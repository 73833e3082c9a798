"""Figures of a hyperparameter search, one function a figure, from the content of analysis.json."""

from __future__ import annotations

import html
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from plotly import graph_objects as go

from receipt_counter.evaluation.wording import format_value, spoken, title
from receipt_counter.report.search_axes import (
    Trial,
    compared_trials,
    label,
    metric_axis,
    metric_title,
    parameter_axis,
)
from receipt_counter.report.theme import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, figure, translucent
from receipt_counter.study.search_findings import short_value
from receipt_counter.study.trials import EARLY_STOPPED, FAILURES, SUCCEEDED

_ROW_PIXELS, _CELL_PIXELS = 40, 66
_SIGNIFICANT = 0.05
_FOOT = 0.08  # share of the axis below what failed
_JITTER = 0.22  # how far dots of one listed value are spread, of the way to the next
_MEASURES = {"spearman": "rho", "eta_squared": "eta_squared"}  # kind of correlation: where its size stands
_AIR = {"ticks": "outside", "ticklen": 6, "tickcolor": "rgba(0,0,0,0)"}  # between names and bars


def optimization_history(analysis: Mapping[str, Any]) -> go.Figure:
    """Every trial's objective in the order they were made, and the best so far.

    Args:
        analysis: the content of analysis.json.
    """
    metric, goal = analysis["objective"]["metric"], analysis["objective"]["goal"]
    history = list(enumerate(analysis["optimization_history"], 1))
    shown = [trial["value"] for _, trial in history if trial["value"] is not None]
    drawn = figure("Optimization history")
    if not shown:
        return drawn
    axis = metric_axis(metric, [*shown, *([goal] if goal is not None else [])])
    best = [(number, trial["best"]) for number, trial in history if trial["best"] is not None]
    if best:
        drawn.add_scatter(
            x=[number for number, _ in best],
            y=[value for _, value in best],
            name="best so far",
            mode="lines",
            line={"color": ORANGE, "width": 2, "shape": "hv"},
            hoverinfo="skip",
        )
    looks = {SUCCEEDED: ("succeeded", BLUE, "circle"), EARLY_STOPPED: ("stopped early", PURPLE, "circle-open")}
    for status, (name, colour, symbol) in looks.items():
        members = [(number, t) for number, t in history if t["status"] == status and t["value"] is not None]
        _add_trials(drawn, members, [t["value"] for _, t in members], metric, name, colour, symbol)
    failed = [(number, trial) for number, trial in history if trial["status"] in FAILURES]
    if failed:  # below all that has a value
        low, high = axis["range"]
        axis["range"] = [low - _FOOT * (high - low), high]
        _add_trials(drawn, failed, [low] * len(failed), metric, "failed", RED, "x-thin-open")
    if goal is not None:
        drawn.add_hline(y=goal, line={"color": GREEN, "width": 1.5, "dash": "dash"})
        drawn.add_annotation(x=1, xref="paper", y=goal, text="goal", showarrow=False, xanchor="right", yanchor="bottom")
    drawn.update_yaxes(title_text=metric_title(metric), **axis)
    drawn.update_xaxes(title_text="trial", range=[0.4, len(history) + 0.6], nticks=12, tickformat="d", showgrid=False)
    return drawn.update_layout(showlegend=True)


def _add_trials(
    drawn: go.Figure,
    members: Sequence[tuple[int, Trial]],
    values: Sequence[float],
    metric: str,
    name: str,
    colour: str,
    symbol: str,
) -> None:
    if members:
        drawn.add_scatter(
            x=[number for number, _ in members],
            y=list(values),
            name=name,
            mode="markers",
            marker={"color": colour, "size": 9, "symbol": symbol, "line": {"width": 2, "color": colour}},
            customdata=[_hover(trial, metric) for _, trial in members],
            hovertemplate="%{customdata}<extra></extra>",
            cliponaxis=False,
        )


def _hover(trial: Trial, metric: str) -> str:
    value = trial["status"] if trial["value"] is None else f"{format_value(metric, trial['value'])} {spoken(metric)}"
    parameters = [f"{key} = {short_value(found)}" for key, found in trial["parameters"].items()]
    return "<br>".join(map(html.escape, (f"{trial['trial']}: {value}", *parameters)))


def importance_bars(analysis: Mapping[str, Any]) -> go.Figure:
    """What share of the objective's variation each parameter explains, its spread, and what chance would give.

    Args:
        analysis: the content of analysis.json.
    """
    found = analysis["parameter_importance"]
    shares: Mapping[str, Mapping[str, float]] = found["parameters"] or {}
    drawn = figure("Importance (fANOVA)", height=90 + _ROW_PIXELS * max(2, len(shares)))
    if not shares:
        return drawn
    rows = list(range(len(shares)))
    values = [share["importance"] for share in shares.values()]
    lows, highs = ([share[side] for share in shares.values()] for side in ("low", "high"))
    drawn.add_bar(
        x=values,
        y=rows,
        orientation="h",
        name="importance",
        marker={"color": [translucent(BLUE if value > found["chance"] else GREY, 0.75) for value in values]},
        customdata=list(zip(map(html.escape, shares), lows, highs, strict=True)),
        hovertemplate="%{customdata[0]}: %{x:.2f} (%{customdata[1]:.2f} to %{customdata[2]:.2f})<extra></extra>",
    )
    # The spread is of resamples, which lie to one side of the whole's importance at times.
    drawn.add_scatter(
        x=list(itertools.chain.from_iterable((low, high, None) for low, high in zip(lows, highs, strict=True))),
        y=list(itertools.chain.from_iterable((row, row, None) for row in rows)),
        name="spread",
        mode="lines+markers",
        line={"color": GREY, "width": 2},
        marker={"symbol": "line-ns-open", "size": 8, "color": GREY, "line": {"width": 2}},
        hoverinfo="skip",
    )
    drawn.add_vline(x=found["chance"], line={"color": ORANGE, "width": 2, "dash": "dash"})
    drawn.add_annotation(
        x=found["chance"], y=1, yref="paper", yanchor="bottom", text=f"chance {found['chance']:.2f}", showarrow=False
    )
    drawn.update_xaxes(range=[0, 1.04 * max(*highs, *values, found["chance"])], nticks=6)
    drawn.update_xaxes(title_text="share of the objective's variation")
    drawn.update_layout(showlegend=False, margin={"t": 30})
    return _parameter_rows(drawn, list(shares))


def _parameter_rows(drawn: go.Figure, keys: Sequence[str]) -> go.Figure:
    return drawn.update_yaxes(
        tickvals=list(range(len(keys))),
        ticktext=[label(key, keys) for key in keys],
        range=[len(keys) - 0.45, -0.55],
        showgrid=False,
        **_AIR,
    )


def sensitivity_curve(analysis: Mapping[str, Any], key: str) -> go.Figure:
    """The objective along one parameter: every trial, and means with 95 % intervals.

    Args:
        analysis: the content of analysis.json.
        key: the parameter.
    """
    metric, space = analysis["objective"]["metric"], analysis["search_space"][key]
    found, trials = analysis["parameter_sensitivity"][key], compared_trials(analysis)
    drawn = figure(key, height=270)
    if not trials:
        return drawn
    places = _spread(space, [trial["parameters"][key] for trial in trials])
    drawn.add_scatter(
        x=places,
        y=[trial["value"] for trial in trials],
        name="trials",
        mode="markers",
        marker={"color": translucent(BLUE, 0.6), "size": 8},
        customdata=[_hover(trial, metric) for trial in trials],
        hovertemplate="%{customdata}<extra></extra>",
    )
    _add_means(drawn, space, [point for point in found["curve"] if point["n"]], metric)
    ticks = parameter_axis(space, []).ticks
    drawn.update_xaxes(
        tickvals=list(ticks), ticktext=list(map(html.escape, ticks.values())), showgrid=False, tickangle=0
    )
    margin = 0.5 / max(1, len(ticks) - 1) if "values" in space else 0.05
    drawn.update_xaxes(range=[-margin, 1 + margin], title_text=_order_text(found["spearman"]))
    drawn.update_yaxes(title_text=metric_title(metric), **metric_axis(metric, [trial["value"] for trial in trials]))
    return drawn.update_layout(showlegend=False)


def _order_text(spearman: Mapping[str, Any] | None) -> str:
    """Whether the objective rises or falls along the axis; nothing where values have no order."""
    if spearman is None or spearman["rho"] is None:
        return ""
    return f"Spearman {spearman['rho']:+.2f}, p {spearman['p']:.2g}".replace("-", "−", 1)


def _spread(space: Mapping[str, Any], values: Sequence[Any]) -> list[float]:
    """Places on the axis; trials of one listed value stand beside each other."""
    places = parameter_axis(space, values).places
    if "values" not in space:
        return places
    gap = 1 / max(1, len(space["values"]) - 1)
    spread = []
    for row, place in enumerate(places):
        order, many = places[:row].count(place), places.count(place)
        spread.append(place + _JITTER * gap * (2 * (order + 0.5) / many - 1))
    return spread


def _add_means(drawn: go.Figure, space: Mapping[str, Any], curve: Sequence[Mapping[str, Any]], metric: str) -> None:
    """Means with their intervals; those of a range's thirds reach from the first trial of it to the last."""
    ends = [(point["value"],) * 2 if "values" in space else (point["from"], point["to"]) for point in curve]
    first, last = (parameter_axis(space, side).places for side in zip(*ends, strict=True))
    sides = [(point["low"], point["high"]) if point["low"] is not None else (point["mean"],) * 2 for point in curve]
    drawn.add_scatter(
        x=[(low + high) / 2 for low, high in zip(first, last, strict=True)],
        y=[point["mean"] for point in curve],
        name="mean",
        mode="markers",
        marker={"color": ORANGE, "size": 11, "symbol": "diamond"},
        error_x={
            "type": "data",
            "array": [(high - low) / 2 for low, high in zip(first, last, strict=True)],
            "thickness": 3,
            "width": 0,
            "color": translucent(ORANGE, 0.8),
        },
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [high - point["mean"] for point, (_, high) in zip(curve, sides, strict=True)],
            "arrayminus": [point["mean"] - low for point, (low, _) in zip(curve, sides, strict=True)],
            "thickness": 2,
            "width": 5,
            "color": ORANGE,
        },
        customdata=[
            f"mean of {point['n']}: {format_value(metric, point['mean'])}"
            + (f" ({format_value(metric, low)} to {format_value(metric, high)})" if low != high else "")
            for point, (low, high) in zip(curve, sides, strict=True)
        ],
        hovertemplate="%{customdata}<extra></extra>",
    )


def correlation_heat_map(analysis: Mapping[str, Any]) -> go.Figure:
    """How every metric goes with every parameter: Spearman's rho, or the correlation ratio of categories.

    Args:
        analysis: the content of analysis.json.
    """
    found = analysis["parameter_correlations"]
    keys = list(found)
    metrics = list(next(iter(found.values()), {}))
    cells = {(x, y): found[key][metric] for y, key in enumerate(keys) for x, metric in enumerate(metrics)}
    drawn = figure("Parameters and metrics", height=110 + _ROW_PIXELS * len(keys)).update_layout(showlegend=False)
    if all(cell[_MEASURES[cell["kind"]]] is None for cell in cells.values()):
        return drawn
    scales = {
        "rho": (-1, [[0, translucent(ORANGE, 0.85)], [0.5, translucent(GREY, 0.06)], [1, translucent(BLUE, 0.85)]]),
        "eta_squared": (0, [[0, translucent(GREY, 0.06)], [1, translucent(PURPLE, 0.85)]]),
    }
    for measure, (lowest, colours) in scales.items():
        drawn.add_heatmap(
            z=[[cells[x, y].get(measure) for x in range(len(metrics))] for y in range(len(keys))],
            x=list(range(len(metrics))),
            y=list(range(len(keys))),
            zmin=lowest,
            zmax=1,
            colorscale=colours,
            showscale=False,
            xgap=2,
            ygap=2,
            customdata=[
                [html.escape(f"{key} and {metric}: {_measured(found[key][metric])}") for metric in metrics]
                for key in keys
            ],
            hovertemplate="%{customdata}<extra></extra>",
        )
    for (x, y), cell in cells.items():
        text = _cell(cell)
        clear = cell["p"] is not None and cell["p"] < _SIGNIFICANT
        drawn.add_annotation(x=x, y=y, text=f"<b>{text} *</b>" if clear else text, showarrow=False, font={"size": 11})
    names = [title(metric).replace(" ", "<br>", 1) for metric in metrics]
    drawn.update_layout(meta={"least_width": 120 + _CELL_PIXELS * len(metrics)})
    drawn.update_xaxes(
        tickvals=list(range(len(metrics))), ticktext=names, side="top", showgrid=False, tickangle=0, ticks=""
    )
    return _parameter_rows(drawn, keys)


def _cell(cell: Mapping[str, Any]) -> str:
    size = cell[_MEASURES[cell["kind"]]]
    if size is None:
        return "–"
    # "z": what rounds to nothing has no minus
    return f"{size:+z.2f}".replace("-", "−") if cell["kind"] == "spearman" else f"η² {size:.2f}"


def _measured(cell: Mapping[str, Any]) -> str:
    if cell["p"] is None:
        return f"not known from {cell['n']} trials"
    kind = "Spearman" if cell["kind"] == "spearman" else "correlation ratio"
    return f"{kind} {_cell(cell)}, p {cell['p']:.2g}, {cell['n']} trials"


def pareto_front(analysis: Mapping[str, Any], across: str, up: str) -> go.Figure:
    """Trials by two priority metrics; those of the front over all priority metrics are numbered as there.

    Args:
        analysis: the content of analysis.json.
        across, up: the two metrics.
    """
    places = {entry["trial"]: str(place) for place, entry in enumerate(analysis["pareto_front"], 1)}
    trials = [t for t in compared_trials(analysis) if across in t["metrics"] and up in t["metrics"]]
    drawn = figure(f"{title(up)} and {spoken(across)}", height=340)
    if not trials:
        return drawn
    others, front = ([t for t in trials if (t["trial"] in places) == within] for within in (False, True))
    looks: dict[str, Any] = {
        "mode": "markers+text",
        "marker": {"color": ORANGE, "size": 19, "symbol": "diamond"},
        "textfont": {"color": "#1c2129", "size": 11},  # on the marker, whatever the page's colours
    }
    _add_points(drawn, "the others", others, (across, up), mode="markers", marker={"color": GREY, "size": 8})
    texts = [places[trial["trial"]] for trial in front]
    _add_points(drawn, "best compromises", front, (across, up), text=texts, **looks)
    axes = {metric: metric_axis(metric, [trial["metrics"][metric] for trial in trials]) for metric in (across, up)}
    drawn.update_xaxes(title_text=metric_title(across), **axes[across])
    return drawn.update_yaxes(title_text=metric_title(up), **axes[up]).update_layout(showlegend=True)


def _add_points(drawn: go.Figure, name: str, trials: Sequence[Trial], axes: tuple[str, str], **looks: Any) -> None:
    if trials:
        drawn.add_scatter(
            x=[trial["metrics"][axes[0]] for trial in trials],
            y=[trial["metrics"][axes[1]] for trial in trials],
            name=name,
            customdata=[
                html.escape(f"{trial['trial']}: ")
                + ", ".join(f"{format_value(axis, trial['metrics'][axis])} {spoken(axis)}" for axis in axes)
                for trial in trials
            ],
            hovertemplate="%{customdata}<extra></extra>",
            cliponaxis=False,
            **looks,
        )
