"""What a factorial design and an ablation path found, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from receipt_counter.evaluation.wording import format_p, format_points, spoken
from receipt_counter.study.findings import change


def design_findings(analysis: Mapping[str, Any]) -> list[str]:
    """The findings of `analyse_design`; none of a study without designs.

    Args:
        analysis: the content of `analysis.json`.
    """
    return [*_factorial(analysis["factorial"], analysis["seeds"]), *_path(analysis["path"])]


def _factorial(factorial: Mapping[str, Any], seeds: Sequence[int]) -> list[str]:
    if not factorial:
        return []
    if not factorial["seeds"]:
        lacking = ", ".join(factorial["missing"]) or "some cell of every seed"
        return [f"The factorial design tells nothing: {lacking} has no finished run."]
    sentences = [
        f"Averaged over the other factors, {name} {'; '.join(decided)}{_aliased(effect)}."
        for name, effect in factorial["main_effects"].items()
        if (decided := _decided(effect["effects"]))
    ]
    sentences += [
        f"The effects of {' and '.join(effect['levels'].values())} on {spoken(metric)} do not add up: together they"
        f" make {format_points(found['effect'])} points beyond their sum (p {format_p(found['p_holm'])})"
        f"{_aliased(effect)}."
        for effect in factorial["interactions"].values()
        for metric, found in effect["effects"].items()
        if found["verdict"] != "undecided"
    ]
    if not sentences:
        cells = len(factorial["cells"])
        sentences = [f"In the factorial design of {cells} cells no effect and no interaction is measurable."]
    if factorial["seeds"] != list(seeds):
        shared = ", ".join(map(str, factorial["seeds"]))
        sentences.append(f"The factorial design is analysed over seed {shared}, which all its cells have.")
    return sentences


def _decided(effects: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [change(metric, effect) for metric, effect in effects.items() if effect["verdict"] != "undecided"]


def _aliased(effect: Mapping[str, Any]) -> str:
    names = [alias.removeprefix("-") for alias in effect["aliases"]]
    return f"; this fraction cannot tell it from {', '.join(names)}" if names else ""


def _path(path: Sequence[Mapping[str, Any]]) -> list[str]:
    if not path:
        return []
    sentences, silent = [], []
    for step in path:
        if decided := _decided(step["effect"]):
            sentences.append(f"Step {step['step']} of the path ({step['changes']}) {'; '.join(decided)}.")
        else:
            silent.append(f"{step['step']} ({step['changes']})")
    if silent:
        steps = f"step{'s' * (len(silent) > 1)} {', '.join(silent)}"
        sentences.append(f"On the path, {steps} change{'s' * (len(silent) == 1)} nothing measurable.")
    whole = _decided(path[-1]["cumulative"])
    end = "; ".join(whole) if whole else "differs from the baseline in nothing measurable"
    return [*sentences, f"The end of the path {end}."]
