"""What a hyperparameter search found, in sentences a person reads first."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from receipt_counter.evaluation.wording import format_value, spoken
from receipt_counter.study.settings import MINIMISED

_SIGNIFICANT = 0.05
_MOST = 0.5  # a parameter that explains more than this explains most
_FEW = 0.25  # chance alone gives importances above this: the trials are few
_SHOWN = 3  # failures that are told one by one


def search_findings(analysis: Mapping[str, Any]) -> list[str]:
    """The findings of `analyse_search`, the most important first.

    Args:
        analysis: the content of `analysis.json`.
    """
    return [*_best(analysis), *_parameters(analysis), *_ended(analysis)]


def _best(analysis: Mapping[str, Any]) -> Iterable[str]:
    best, metric = analysis["best_configurations"], analysis["objective"]["metric"]
    if best["objective"] is None:
        yield f"No trial succeeded with a value of {spoken(metric)}: there is no best configuration."
        return
    changes = ", ".join(f"{key}={short_value(value)}" for key, value in best["objective"]["parameters"].items())
    yield f"Best: trial {best['objective']['trial']} reaches {_figure(metric, best['objective'])} with {changes}."
    yield from _goal(analysis["objective"], best["objective"]["value"])
    for other in analysis["priority_metrics"]:
        if best[other] is not None and best[other]["trial"] != best["objective"]["trial"]:
            yield f"By {spoken(other)} trial {best[other]['trial']} is the best: {_figure(other, best[other])}."
    front = [entry["trial"] for entry in analysis["pareto_front"]]
    if len(front) > 1:
        among = ", ".join(spoken(name) for name in analysis["priority_metrics"])
        yield f"{len(front)} trials are the best compromises between {among}: {', '.join(front)}."


def short_value(value: Any) -> str:
    """A parameter's value for people: as a config file has it, but numbers in three digits."""
    return f"{value:.3g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)


def _figure(metric: str, entry: Mapping[str, Any]) -> str:
    return f"{format_value(metric, entry['value'])} {spoken(metric)}"


def _goal(objective: Mapping[str, Any], value: float) -> Iterable[str]:
    goal, metric = objective["goal"], objective["metric"]
    if goal is not None:
        reached = value >= goal if objective["maximise"] else value <= goal
        yield f"The goal of {format_value(metric, goal)} is {'reached' if reached else 'not reached'}."


def _parameters(analysis: Mapping[str, Any]) -> Iterable[str]:
    importance, metric = analysis["parameter_importance"], analysis["objective"]["metric"]
    if importance["parameters"] is None:
        yield chance_sentence(analysis)
        return
    shares: Mapping[str, Mapping[str, float]] = importance["parameters"]
    clear = [key for key, share in shares.items() if share["importance"] > importance["chance"]]
    for key in clear:
        share = shares[key]
        how_much = "most" if share["importance"] > _MOST else "some"
        spread = f"fANOVA {share['importance']:.2f}, spread {share['low']:.2f}-{share['high']:.2f}"
        yield f"{key} explains {how_much} of the differences ({spread}){_direction(analysis, key, metric)}."
    if not clear:
        yield "No parameter explains more of the differences than chance would."
    yield chance_sentence(analysis)


def chance_sentence(analysis: Mapping[str, Any]) -> str:
    """The honest line: which importances a search of this size can tell from chance.

    Args:
        analysis: the content of `analysis.json`.
    """
    importance = analysis["parameter_importance"]
    if importance["parameters"] is None:
        return f"Importances of the parameters are not known: {importance['reason']}."
    few = " are few" if importance["chance"] > _FEW else ""
    bar = f"importances of parameters below {importance['chance']:.2f} cannot be told from chance"
    return f"{importance['trials']} trials{few}: {bar}."


def _direction(analysis: Mapping[str, Any], key: str, metric: str) -> str:
    """Which way to turn a parameter, where its values have an order and the trials agree on it."""
    ordered = analysis["parameter_sensitivity"][key]["spearman"]
    if ordered is None or ordered["p"] is None or ordered["p"] >= _SIGNIFICANT:
        return ""
    better = (ordered["rho"] > 0) != (metric in MINIMISED)
    return f"; larger values are {'better' if better else 'worse'} (Spearman {ordered['rho']:+.2f})"


def _ended(analysis: Mapping[str, Any]) -> Iterable[str]:
    failures = analysis["failures"]
    failed, counts = failures["trials"], failures["counts"]
    if failed:
        shown = "; ".join(_reason(trial) for trial in failed[:_SHOWN])
        more = f"; and {len(failed) - _SHOWN} more" if len(failed) > _SHOWN else ""
        yield f"{len(failed)} of {analysis['trials']} trials gave no figures: {shown}{more}."
    stopped = counts.get("early-stopped", 0)
    if stopped:
        yield f"{stopped} of {analysis['trials']} trials were stopped early, and are not compared."


def _reason(trial: Mapping[str, str]) -> str:
    lines = trial["message"].strip().splitlines()
    return f"{trial['trial']} ({lines[-1].strip().rstrip('.')})" if lines else trial["trial"]
