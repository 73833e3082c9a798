"""What an ablation study found, in sentences a person reads first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from receipt_counter.comparison.scores import LOWER_IS_BETTER
from receipt_counter.evaluation.wording import format_p, format_points, spoken

_POINTS = 100  # metrics between 0 and 1 are spoken of in points
_WORTH_SAYING = 0.97  # ratios above save next to nothing


def ablation_findings(analysis: Mapping[str, Any]) -> list[str]:
    """The findings of `analyse_ablation`, the most important first.

    Args:
        analysis: the content of `analysis.json`.
    """
    priority: Sequence[str] = analysis["priority_metrics"]
    effects: Mapping[str, Mapping[str, Any]] = analysis["ablation_analysis"]
    sentences = []
    for entry in analysis["ranking"]:
        name = entry["variation"]
        found = [
            (metric, effects[name][metric]) for metric in priority if effects[name][metric]["verdict"] != "undecided"
        ]
        if found:
            changes = analysis["variations"][name]["changes"]
            sentences.append(f"{name} ({changes}) {'; '.join(change(metric, effect) for metric, effect in found)}.")
    sentences += _unchanged(analysis, priority)
    sentences.append(detectable_sentence(analysis))
    for name, seeds in analysis["missing"].items():
        reason = f"the run of seed {', '.join(map(str, seeds))} failed or is missing"
        sentences.append(
            f"{name} is {'not compared' if len(seeds) == len(analysis['seeds']) else 'compared without it'}: {reason}."
        )
    return sentences


def change(metric: str, effect: Mapping[str, Any]) -> str:
    """What a decided effect does, as the rest of a sentence: "costs 2.1 points of ..."."""
    word = "costs" if effect["verdict"] == "worse" else "gains"
    return (
        f"{word} {abs(effect['effect']) * _POINTS:.1f} points of {spoken(metric)}"
        f" (95 % interval {format_points(effect['low'])} to {format_points(effect['high'])},"
        f" p {format_p(effect['p_holm'])} after Holm's correction)"
    )


def _unchanged(analysis: Mapping[str, Any], priority: Sequence[str]) -> list[str]:
    effects = analysis["ablation_analysis"]
    identical = [name for name in effects if all(effects[name][metric]["identical"] for metric in priority)]
    open_ = [
        name
        for name in effects
        if name not in identical and all(effects[name][metric]["verdict"] == "undecided" for metric in priority)
    ]
    hinted = {name: hints for name in open_ if (hints := _hints(effects[name], priority))}
    undecided = [name for name in open_ if name not in hinted]
    sentences = [f"{name} {'; '.join(hints)}: more seeds would decide." for name, hints in hinted.items()]
    if identical:
        sentences.append(f"Identical to the baseline in every answer: {', '.join(identical)}.")
    if undecided:
        sentences.append(f"No measurable difference from the baseline: {', '.join(undecided)}.")
    for name in undecided:
        saved = _saved(analysis["variations"][name]["cost_ratio"])
        if saved:
            possible = _largest_loss(effects[name], priority)
            sentences.append(f"{name} could be had at no measurable loss ({possible}) and saves {' and '.join(saved)}.")
    return sentences


def _largest_loss(effects: Mapping[str, Any], priority: Sequence[str]) -> str:
    """The worst that the intervals hold: in a small study "no measurable loss" may hide a large one."""
    losses = {m: effects[m]["high"] if m in LOWER_IS_BETTER else -effects[m]["low"] for m in priority}
    worst = max(losses, key=losses.__getitem__)
    return f"the 95 % intervals allow up to {max(losses[worst], 0) * _POINTS:.1f} points of {spoken(worst)}"


def _hints(effects: Mapping[str, Any], priority: Sequence[str]) -> list[str]:
    """Effects whose own interval excludes 0, though they do not survive the correction for many questions."""
    return [
        f"may change {spoken(metric)} by {format_points(effect['effect'])} points (95 % interval"
        f" {format_points(effect['low'])} to {format_points(effect['high'])}), which does not survive Holm's correction"
        f" (p {format_p(effect['p_holm'])})"
        for metric in priority
        if not (effect := effects[metric])["identical"] and not effect["low"] <= 0 <= effect["high"]
    ]


def _saved(costs: Mapping[str, Any]) -> list[str]:
    """What a variation saves for certain: device time, which is disturbed, only where its interval says so."""
    time, size = costs["device_seconds"], costs["model_gigabytes"]
    saved = []
    if time is not None and time["high"] is not None and time["high"] < 1 and time["ratio"] < _WORTH_SAYING:
        low, high = (100 * (1 - time[end]) for end in ("high", "low"))
        percent = 100 * (1 - time["ratio"])
        saved.append(f"{percent:.0f} % of the training time (95 % interval {low:.0f} to {high:.0f} %)")
    if size is not None and size < _WORTH_SAYING:
        saved.append(f"{100 * (1 - size):.0f} % of the model's size")
    return saved


def detectable_sentence(analysis: Mapping[str, Any]) -> str:
    """The honest line: what a study of this size can see at all.

    Args:
        analysis: the content of `analysis.json`.
    """
    seeds = len(analysis["seeds"])
    seen = {metric: value for metric, value in analysis["detectable"].items() if value is not None}
    if not seen:
        return "One seed: the intervals say nothing about other seeds."
    # what lies between 0 and 1 cannot differ by more than 1
    blind = [metric for metric, value in seen.items() if value >= 1 and metric not in LOWER_IS_BETTER]
    parts = [f"{seen[metric] * _POINTS:.1f} points of {spoken(metric)}" for metric in seen if metric not in blind]
    sentences = []
    if parts:
        sentences.append(
            f"{seeds} seeds detect differences above {', '.join(parts)}; smaller ones may be there unseen."
        )
    if blind:
        sentences.append(f"{seeds} seeds are too few to detect any difference of {', '.join(map(spoken, blind))}.")
    return " ".join(sentences)
