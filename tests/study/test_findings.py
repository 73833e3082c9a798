"""What is said of an ablation, and what is not."""

from __future__ import annotations

from typing import Any

import pytest

from receipt_counter.study.findings import ablation_findings

METRIC = "classification_accuracy"


def analysis(**changed: Any) -> dict[str, Any]:
    """One variation with one metric; `changed` replaces parts of its effect, or of the analysis."""
    effect = {
        "effect": -0.05,
        "low": -0.07,
        "high": -0.03,
        "p_holm": 0.0004,
        "identical": False,
        "verdict": "worse",
        **{key: value for key, value in changed.items() if key in ("effect", "low", "high", "p_holm", "verdict")},
    }
    effect["identical"] = changed.get("identical", False)
    return {
        "priority_metrics": [METRIC],
        "seeds": changed.get("seeds", [1, 2, 3]),
        "ranking": [{"variation": "plain"}],
        "ablation_analysis": {"plain": {METRIC: effect}},
        "variations": {"plain": {"changes": "a.b=1", "cost_ratio": changed.get("cost", {"device_seconds": 1.0})}},
        "detectable": changed.get("detectable", {METRIC: 0.021}),
        "missing": changed.get("missing", {}),
    }


CASES = {
    "worse": ({}, "plain (a.b=1) costs 5.0 points of counting accuracy (95 % interval -7.0 to -3.0, p < 0.001"),
    "better": (
        {"effect": 0.04, "low": 0.01, "high": 0.07, "p_holm": 0.012, "verdict": "better"},
        "gains 4.0 points of counting accuracy (95 % interval +1.0 to +7.0, p = 0.012",
    ),
    "a hint": ({"verdict": "undecided", "p_holm": 0.2}, "may change counting accuracy by -5.0 points"),
    "nothing": (
        {"verdict": "undecided", "low": -0.07, "high": 0.01},
        "No measurable difference from the baseline: plain.",
    ),
    "nothing, and cheaper": (
        {"verdict": "undecided", "low": -0.07, "high": 0.01, "cost": {"device_seconds": 0.6}},
        "plain could be had at no measurable loss and saves 40 % of the training time.",
    ),
    "identical": (
        {"effect": 0.0, "low": 0.0, "high": 0.0, "verdict": "undecided", "identical": True},
        "Identical to the baseline in every answer: plain.",
    ),
    "what it can see": ({}, "3 seeds detect differences above 2.1 points of counting accuracy"),
    "one seed": (
        {"seeds": [1], "detectable": {METRIC: None}},
        "One seed: the intervals say nothing about other seeds.",
    ),
    "a seed missing": ({"missing": {"plain": [3]}}, "plain is compared without it: the run of seed 3 failed"),
    "all missing": ({"missing": {"gone": [1, 2, 3]}}, "gone is not compared: the run of seed 1, 2, 3 failed"),
}


@pytest.mark.parametrize(("changed", "expected"), CASES.values(), ids=CASES.keys())
def test_sentences(changed: dict[str, Any], expected: str) -> None:
    assert any(expected in sentence for sentence in ablation_findings(analysis(**changed)))


@pytest.mark.parametrize("case", ["worse", "a hint", "identical"])
def test_what_may_matter_is_never_called_without_difference(case: str) -> None:
    sentences = ablation_findings(analysis(cost={"device_seconds": 0.5}, **CASES[case][0]))
    assert not any("No measurable difference" in text or "no measurable loss" in text for text in sentences)
