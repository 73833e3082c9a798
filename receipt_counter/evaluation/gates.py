"""Promotion gates: does a model reach what is aimed for, or at least what is required?"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from receipt_counter.config.schema import Gates
from receipt_counter.evaluation.wording import format_interval, format_value, markdown_table, title

LOWER_IS_BETTER = ("seconds_per_image", "model_gigabytes")
VERDICTS = ("target", "minimum", "failed", "unknown")  # from best to worst; unknown: not measured

_COLUMNS = ("value", "95 % interval", "target", "minimum")
_STYLES = {"target": "green", "minimum": "yellow", "failed": "bold red", "unknown": "dim"}
_WORDS = {"target": "✔ target", "minimum": "● minimum", "failed": "✘ failed", "unknown": "? unknown"}


def judge(metrics: Mapping[str, Mapping[str, float]], gates: Gates) -> dict[str, dict[str, Any]]:
    """Compare figures with the gates; a figure exactly on a bound passes it.

    Args:
        metrics: {name: {value, low, high}}, as in metrics.json.
        gates: the config's gates.

    Returns:
        {name: {"value", "low", "high", "target", "minimum", "verdict"}}; the first three are None and the verdict is
        "unknown" for a figure that was not measured.
    """
    verdicts = {}
    for field in dataclasses.fields(gates):
        bounds = getattr(gates, field.name)
        figure = metrics.get(field.name, {"value": None, "low": None, "high": None})
        verdicts[field.name] = {
            **figure,
            "target": bounds.target,
            "minimum": bounds.minimum,
            "verdict": _verdict(field.name, figure["value"], bounds.target, bounds.minimum),
        }
    return verdicts


def _verdict(name: str, value: float | None, target: float, minimum: float) -> str:
    if value is None:
        return "unknown"
    sign = -1 if name in LOWER_IS_BETTER else 1
    if sign * value >= sign * target:
        return "target"
    return "minimum" if sign * value >= sign * minimum else "failed"


def overall_verdict(gates: Mapping[str, Mapping[str, Any]]) -> str:
    """The worst verdict of all gates, where a failure is worse than an unknown; without gates "unknown"."""
    found = {gate["verdict"] for gate in gates.values()}
    return next((verdict for verdict in ("failed", "unknown", "minimum", "target") if verdict in found), "unknown")


def format_gates(gates: Mapping[str, Mapping[str, Any]], caption: str | None = None) -> Table:
    """The gates as a table for the terminal.

    Args:
        gates: what `judge` returned.
        caption: a line under the table.
    """
    table = Table(title="Promotion gates", caption=caption, title_justify="left", caption_justify="left")
    table.add_column("")
    for column in _COLUMNS:
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for name, gate in gates.items():
        value, *rest = _cells(name, gate)
        verdict = Text(_WORDS[gate["verdict"]], style=_STYLES[gate["verdict"]])
        table.add_row(title(name), Text(value, style="bold"), *rest, verdict)
    return table


def markdown_gates(gates: Mapping[str, Mapping[str, Any]]) -> str:
    """The gates as a Markdown table.

    Args:
        gates: what `judge` returned.
    """
    rows = [(title(name), *_cells(name, gate), gate["verdict"]) for name, gate in gates.items()]
    return markdown_table(("gate", *_COLUMNS, "verdict"), rows)


def _cells(name: str, gate: Mapping[str, Any]) -> tuple[str, ...]:
    """What `_COLUMNS` holds of a gate."""
    known = gate["value"] is not None
    measured = (format_value(name, gate["value"]), format_interval(name, gate)) if known else ("–", "")
    return (*measured, bound_text(name, gate["target"]), bound_text(name, gate["minimum"]))


def bound_text(name: str, bound: float) -> str:
    """A gate's bound with its direction: "≥ 95.0 %", "≤ 2 s"."""
    return f"{'≤' if name in LOWER_IS_BETTER else '≥'} {format_value(name, bound)}"
