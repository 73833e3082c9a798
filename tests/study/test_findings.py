"""What is said of an ablation, and what is not."""

from __future__ import annotations

from typing import Any

import pytest

from receipt_counter.study.findings import ablation_findings

METRIC = "classification_accuracy"


def costs(low: float | None = 0.9, high: float | None = 1.1, ratio: float = 1.0, size: float = 1.0) -> dict[str, Any]:
    """What a variation costs beside the baseline."""
    return {"device_seconds": {"ratio": ratio, "low": low, "high": high}, "model_gigabytes": size}


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
        "variations": {"plain": {"changes": "a.b=1", "cost_ratio": changed.get("cost", costs())}},
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
        {"verdict": "undecided", "low": -0.07, "high": 0.01, "cost": costs(0.5, 0.72, 0.6)},
        "no measurable loss (the 95 % intervals allow up to 7.0 points of counting accuracy) and saves 40 % of the"
        " training time (95 % interval 28 to 50 %).",
    ),
    "nothing, and smaller": (
        {"verdict": "undecided", "low": -0.07, "high": 0.01, "cost": costs(size=0.75)},
        "7.0 points of counting accuracy) and saves 25 % of the model's size.",
    ),
    "identical": (
        {"effect": 0.0, "low": 0.0, "high": 0.0, "verdict": "undecided", "identical": True},
        "Identical to the baseline in every answer: plain.",
    ),
    "what it can see": ({}, "3 seeds detect differences above 2.1 points of counting accuracy"),
    "what it cannot see": (
        {"detectable": {METRIC: 1.8}},
        "3 seeds are too few to detect any difference of counting accuracy.",
    ),
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
    sentences = ablation_findings(analysis(cost=costs(0.4, 0.6, 0.5), **CASES[case][0]))
    assert not any("No measurable difference" in text or "no measurable loss" in text for text in sentences)


@pytest.mark.parametrize(
    "cost",
    [
        pytest.param(costs(0.4, 1.05, 0.6), id="its interval holds 1"),
        pytest.param(costs(None, None, 0.6), id="one seed"),
        pytest.param(costs(0.96, 0.99, 0.98), id="next to nothing"),
        pytest.param({"device_seconds": None, "model_gigabytes": None}, id="not measured"),
    ],
)
def test_a_saving_that_may_be_chance_is_not_claimed(cost: dict[str, Any]) -> None:
    sentences = ablation_findings(analysis(verdict="undecided", low=-0.07, high=0.01, cost=cost))
    assert not any("saves" in text for text in sentences)
