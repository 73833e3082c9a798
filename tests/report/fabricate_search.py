"""The analysis of a search, really analysed, of trials made up for tests."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from receipt_counter.study.findings import ablation_findings
from receipt_counter.study.search_analysis import analyse_search
from receipt_counter.study.settings import Objective, SearchParameter
from tests.report.fabricate_study import LOG, METRICS, PRIORITY, effect_of, run_id

RATE = SearchParameter("training.learning_rate", (), 0.001, 0.1, None, log=True)
START = SearchParameter("training.three_stage.stage2.start_epoch", (2, 3, 6))
WEIGHT = SearchParameter("training.loss_weights.language", (), 1.0, 8.0)
NORM = SearchParameter("model.classifier.norm", ("batch", "layer", "none"))
HIDDEN = SearchParameter("model.classifier.hidden", ((64,), (128, 64)))
AUGMENTATION = SearchParameter("data.augmentation", (True, False))
SPACE = (RATE, START, WEIGHT, NORM, HIDDEN, AUGMENTATION)
TRIALS, STOPPED, FAILED = 24, (9, 15, 16), (5,)


def fabricate_rows() -> list[dict[str, Any]]:
    """Trials as `trials.csv` has them: the rate moves counting, the weight trades answers for it."""
    generator = np.random.default_rng(3)
    rows: list[dict[str, Any]] = []
    for number in range(TRIALS):
        status = "failed" if number in FAILED else "early-stopped" if number in STOPPED else "succeeded"
        rate, weight = float(10 ** generator.uniform(-3, -1)), float(generator.uniform(1, 8))
        row: dict[str, Any] = {
            "trial": f"hparam-opt-{number:04}",
            "status": status,
            RATE.key: repr(rate),
            START.key: str(generator.choice(START.values)),
            WEIGHT.key: repr(weight),
            NORM.key: str(generator.choice(NORM.values)),
            HIDDEN.key: ("[64]", "[128,64]")[generator.integers(2)],
            AUGMENTATION.key: ("true", "false")[generator.integers(2)],
            "seconds": 20.0 if status == "early-stopped" else 60.0,
            "message": "exit status 1" if status == "failed" else "",
            "log": LOG if status == "failed" else [],
        }
        counting = 0.9 - 0.3 * abs(math.log10(rate) + 1.9) - 0.012 * weight
        answers = 0.7 + 0.03 * weight - 0.1 * abs(math.log10(rate) + 1.9)
        for metric, mean in zip(METRICS, (counting, answers, answers + 0.04, answers + 0.01), strict=True):
            row[metric] = None if status == "failed" else mean + generator.normal(0, 0.01)
        rows.append(row)
    return rows


@functools.cache
def fabricate_search(resamples: int = 2) -> dict[str, Any]:
    """The content of an analysis.json, computed once: not to be changed."""
    objective = Objective("classification_accuracy", goal=0.92)
    return analyse_search(fabricate_rows(), SPACE, objective, PRIORITY, resamples=resamples)


def fabricate_confirmation() -> dict[str, Any]:
    """The winner of a search beside the baseline, on seeds of its own: one variation of an ablation."""
    seeds, values = [142, 143, 144], (0.031, 0.004, 0.006, 0.02)
    effects = {metric: effect_of(value, 0.012) for metric, value in zip(METRICS, values, strict=True)}
    changes = "training.learning_rate=0.0129 data.augmentation=true"
    analysis: dict[str, Any] = {
        "kind": "ablation",
        "split": "test",
        "priority_metrics": list(PRIORITY),
        "seeds": seeds,
        "baseline_metrics": {
            metric: {"mean": mean, "seeds": {str(seed): mean for seed in seeds}}
            for metric, mean in zip(METRICS, (0.87, 0.85, 0.88, 0.86), strict=True)
        },
        "baseline_runs": {str(seed): run_id("baseline", seed) for seed in seeds},
        "ablation_analysis": {"winner": effects},
        "variations": {
            "winner": {
                "family": "search",
                "changes": changes,
                "seeds": seeds,
                "runs": {str(seed): run_id("winner", seed) for seed in seeds},
                "cost_ratio": {"device_seconds": {"ratio": 1.1, "low": 0.9, "high": 1.3}, "model_gigabytes": 1.0},
            }
        },
        "ranking": [
            {
                "variation": "winner",
                "family": "search",
                "metric": METRICS[0],
                "effect": values[0],
                "significant": True,
            }
        ],
        "removable": ["winner"],
        "detectable": dict.fromkeys(PRIORITY, 0.015),
        "factorial": {},
        "path": [],
        "slices": {},
        "missing": {},
    }
    return {**analysis, "findings": ablation_findings(analysis)}
