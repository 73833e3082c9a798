"""What the figures of a search share: how parameters and metrics are named, and where their values stand on an axis."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from receipt_counter.evaluation.wording import SHARES, format_value, title
from receipt_counter.study.search_findings import short_value
from receipt_counter.study.settings import MINIMISED
from receipt_counter.study.trials import SUCCEEDED

_SMALL_RANGE = 0.05  # an axis of shares shorter than this needs a decimal

Trial = Mapping[str, Any]


class Axis(NamedTuple):
    """Values on a line from 0 to 1.

    Attributes:
        places: of the values that were asked for.
        ticks: {place: what stands there}, few.
    """

    places: list[float]
    ticks: dict[float, str]


def compared_trials(analysis: Mapping[str, Any]) -> list[Trial]:
    """The succeeded trials that have the objective, in the order they were made."""
    history = analysis["optimization_history"]
    return [trial for trial in history if trial["status"] == SUCCEEDED and trial["value"] is not None]


def label(key: str, keys: Sequence[str]) -> str:
    """A parameter's name for a narrow place, as markup: its last two parts on two lines where that is clear."""
    parts = key.split(".")
    tails = [other.split(".")[-2:] for other in keys]
    groups = parts[-2:-1] if tails.count(parts[-2:]) == 1 else parts[:-1]
    return "".join(f"{html.escape(group)}<br>" for group in groups) + f"<b>{html.escape(parts[-1])}</b>"


def metric_title(metric: str) -> str:
    """What a metric is called on an axis."""
    return f"{title(metric)}, less is better" if metric in MINIMISED else title(metric)


def metric_axis(metric: str, values: Sequence[float]) -> dict[str, Any]:
    """Range and number format of an axis for values of a metric."""
    low, high = min(values), max(values)
    air = 0.08 * (high - low) or 0.05 * (abs(high) or 1.0)
    digits = 0 if high - low >= _SMALL_RANGE else 1
    return {
        "range": [low - air, high + air],
        "tickformat": f".{digits}%" if metric in SHARES else "~g",
        "nticks": 6,
    }


def parameter_axis(space: Mapping[str, Any], values: Sequence[Any]) -> Axis:
    """Where values of a parameter stand: listed ones evenly, those of a range on its scale.

    Args:
        space: the parameter's entry in analysis.json's `search_space`.
        values: of some trials.
    """
    if "values" in space:
        listed = space["values"]
        steps = max(1, len(listed) - 1)
        ticks = {place / steps: short_value(value) for place, value in enumerate(listed)}
        return Axis([listed.index(value) / steps for value in values], ticks)
    scale, back = (math.log, math.exp) if space["log"] else (float, float)
    low, high = scale(space["low"]), scale(space["high"])
    places = [(scale(value) - low) / (high - low) for value in values]
    return Axis(places, {place: short_value(back(low + place * (high - low))) for place in (0.0, 0.5, 1.0)})


def objective_axis(metric: str, values: Sequence[float]) -> Axis:
    """Where values of the objective stand between the lowest and the highest."""
    low, high = min(values), max(values)
    if low == high:
        return Axis([0.5] * len(values), {0.5: format_value(metric, low)})
    places = [(value - low) / (high - low) for value in values]
    return Axis(places, {place: format_value(metric, low + place * (high - low)) for place in (0.0, 0.5, 1.0)})
