"""Learning curves of an ablation: each variant's mean over its seeds, in a band from the lowest seed to the highest."""

from __future__ import annotations

import bisect
import html
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from plotly import graph_objects as go

from receipt_counter.evaluation.wording import SHARES, spoken
from receipt_counter.report.history import History, read_history
from receipt_counter.report.study_figures import families, family_title
from receipt_counter.report.theme import BLUE, GREEN, ORANGE, PURPLE, RED, figure, translucent
from receipt_counter.storage.run import Run
from receipt_counter.storage.sync import pull
from receipt_counter.study.variants import BASELINE

_LOOKS = ((ORANGE, "dash"), (PURPLE, "dot"), (GREEN, "dashdot"), (RED, "longdash"))
_METRICS = 2  # of the priority metrics are drawn
_BAND = 0.15

Histories = Mapping[str, Mapping[int, History]]


def read_histories(analysis: Mapping[str, Any], runs: Path) -> Histories:
    """{variant: {seed: what its run logged}}, the baseline first.

    Args:
        analysis: the content of analysis.json.
        runs: the parent of the run directories; a run that is not there is left out.
    """
    named = {BASELINE: analysis["baseline_runs"]}
    named |= {name: variation["runs"] for name, variation in analysis["variations"].items()}
    for run_id in {run_id for by_seed in named.values() for run_id in by_seed.values()}:
        pull(runs / run_id, "events")
    return {
        name: {
            int(seed): read_history(Run(runs / run_id).events)
            for seed, run_id in by_seed.items()
            if (runs / run_id).is_dir()
        }
        for name, by_seed in named.items()
    }


def seed_curves(analysis: Mapping[str, Any], histories: Histories) -> Iterator[go.Figure]:
    """The variations of each family beside the baseline, a figure for each of the first priority metrics.

    Args:
        analysis: the content of analysis.json.
        histories: as `read_histories` gives them.
    """
    for family, names in families(analysis).items():
        # more lines in one figure could not be told apart
        for start in range(0, len(names), len(_LOOKS)):
            members = {name: histories[name] for name in names[start : start + len(_LOOKS)]}
            for metric in analysis["priority_metrics"][:_METRICS]:
                heading = f"{family_title(family)}: {spoken(metric)}"
                yield learning_curves(heading, metric, members, histories[BASELINE])


def learning_curves(name: str, metric: str, variations: Histories, baseline: Mapping[int, History]) -> go.Figure:
    """One metric on val after each epoch, of some variations and the baseline.

    Args:
        name: the figure's title.
        metric: a tag of the event files.
        variations: {name: {seed: history}}, at most four.
        baseline: {seed: history}.
    """
    drawn = figure(name)
    looks = dict(zip(variations, _LOOKS, strict=False))
    for variant, histories in {BASELINE: baseline, **variations}.items():
        colour, dash = looks.get(variant, (BLUE, "solid"))
        _add_curve(drawn, variant, _by_epoch(histories.values(), metric), colour, dash)
    if metric in SHARES:
        drawn.update_yaxes(tickformat=".0%")
    drawn.update_xaxes(title_text="epoch", tickformat="d", showgrid=False)
    return drawn.update_yaxes(title_text="on val").update_layout(showlegend=True, hovermode="x unified")


def _by_epoch(histories: Any, metric: str) -> dict[int, list[float]]:
    """{epoch: the seeds' values}, as long as every seed was trained: a mean over other seeds is another mean."""
    curves: list[dict[int, float]] = []
    for history in histories:
        series = history.series.get(metric)
        if series is not None:
            epochs = [bisect.bisect_left(history.epochs, step) + 1 for step in series.steps]
            curves.append(dict(zip(epochs, series.values, strict=True)))
    shared = sorted(set.intersection(*map(set, curves))) if curves else []
    return {epoch: [curve[epoch] for curve in curves] for epoch in shared}


def _add_curve(drawn: go.Figure, variant: str, values: Mapping[int, Sequence[float]], colour: str, dash: str) -> None:
    if not values:
        return
    epochs, seeds = list(values), list(values.values())
    shared = {"legendgroup": variant, "mode": "lines", "x": epochs}
    if len(seeds[0]) > 1:
        edge = {**shared, "showlegend": False, "hoverinfo": "skip", "line": {"width": 0}}
        drawn.add_scatter(y=[min(found) for found in seeds], **edge)
        drawn.add_scatter(
            y=[max(found) for found in seeds], fill="tonexty", fillcolor=translucent(colour, _BAND), **edge
        )
    drawn.add_scatter(
        y=[statistics.fmean(found) for found in seeds],
        name=html.escape(variant),
        line={"color": colour, "width": 2.5 if dash == "solid" else 2, "dash": dash},
        customdata=[f"{min(found):.3f} to {max(found):.3f}" for found in seeds],
        hovertemplate="%{y:.3f} (%{customdata})",
        **shared,
    )
