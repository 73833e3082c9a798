"""The analysis of an ablation made up for tests: ten variations, two of them crossed, and a path."""

from __future__ import annotations

import itertools
from typing import Any

from receipt_counter.study.design_findings import design_findings
from receipt_counter.study.findings import ablation_findings
from receipt_counter.study.variants import BASELINE

METRICS = ("classification_accuracy", "generation_bleu", "generation_rouge1_f", "answer_accuracy")
PRIORITY = METRICS[:3]
SEEDS = [42, 43, 44]
VARIATIONS = {  # family, what it changes, effects on the metrics, half an interval, ratio of device time
    "classification_weight_0": ("loss_weights", "weights.classification=0", (-0.61, 0.004, 0.003, 0.0), 0.05, 0.98),
    "classification_weight_5": ("loss_weights", "weights.classification=5", (0.004, -0.011, -0.009, -0.02), 0.009, 1.0),
    "language_weight_0": ("loss_weights", "weights.language=0", (-0.012, -0.83, -0.79, -0.88), 0.02, 0.99),
    "without_cross_attention": ("architecture", "attention.num_heads=0", (-0.021, -0.034, -0.03, -0.04), 0.012, 0.88),
    "cross_attention_heads_1": ("architecture", "attention.num_heads=1", (-0.003, 0.002, 0.001, 0.0), 0.01, 0.97),
    "frozen_vision_encoder": ("architecture", "freeze_vision=true", (-0.094, -0.051, -0.047, -0.06), 0.03, 0.71),
    "single_stage": ("strategy", "training.three_stage.enabled=false", (0.014, 0.019, 0.016, 0.02), 0.011, 1.12),
    "late_transitions": (
        "strategy",
        "training.three_stage.stage2.start_epoch=3 training.three_stage.stage3.start_epoch=6",
        (-0.006, -0.012, -0.01, -0.01),
        0.014,
        0.93,
    ),
    "with_augmentation": ("data", "data.augmentation=true", (0.006, -0.004, -0.003, 0.0), 0.012, 1.21),
    "text_length_16": ("data", "data.max_text_length=16", (0.0, 0.0, 0.0, 0.0), 0.0, 1.0),
}  # fmt: skip
SLICES = (
    "overlap=heavy",
    "overlap=light",
    "overlap=none",
    "light=dim",
    "light=bright",
    "count=0",
    "count=1",
    "count=4+",
)
LOG = ["Traceback (most recent call last):", "RuntimeError: out of <memory>: 2.0 GiB wanted"]  # of a failed trial


def run_id(variant: str, seed: int) -> str:
    """The id of a run of the made-up study."""
    return f"{variant}-{seed}"


def effect_of(value: float, half: float) -> dict[str, Any]:
    """One effect as analysis.json has it."""
    decided = abs(value) > half
    return {
        "effect": value,
        "low": value - half,
        "high": value + half,
        "p": 0.0004 if decided else 0.6,
        "p_holm": 0.004 if decided else 1.0,
        "standardized": value / 0.1,
        "df": 4.2,
        "se": half / 2.4,
        "n_seeds": 3,
        "n_images": 400,
        "identical": half == 0,
        "verdict": ("better" if value > 0 else "worse") if decided else "undecided",
    }


FAILED_TRIAL = {
    "trial": "ablation-0017",
    "status": "failed",
    "parameters": {"variant": "late_transitions", "seed": 44},
    "message": "exit status 1",
    "log": LOG,
}


def fabricate_ablation() -> dict[str, Any]:
    """The content of an analysis.json: late_transitions lacks a seed, text_length_16 changes nothing."""
    effects = {
        name: {metric: effect_of(value, half) for metric, value in zip(METRICS, values, strict=True)}
        for name, (_, _, values, half, _) in VARIATIONS.items()
    }
    missing = {"late_transitions": [44]}
    analysis: dict[str, Any] = {
        "kind": "ablation",
        "split": "analysis",
        "priority_metrics": list(PRIORITY),
        "seeds": SEEDS,
        "baseline_metrics": {
            metric: {"mean": mean, "seeds": {str(seed): mean + 0.008 * (seed - 43) for seed in SEEDS}}
            for metric, mean in zip(METRICS, (0.942, 0.871, 0.896, 0.913), strict=True)
        },
        "baseline_runs": {str(seed): run_id("baseline", seed) for seed in SEEDS},
        "ablation_analysis": effects,
        "variations": {
            name: {
                "family": family,
                "changes": changes,
                "seeds": [seed for seed in SEEDS if seed not in missing.get(name, [])],
                "runs": {str(seed): run_id(name, seed) for seed in SEEDS if seed not in missing.get(name, [])},
                "cost_ratio": {
                    "device_seconds": {"ratio": ratio, "low": 0.96 * ratio, "high": 1.04 * ratio},
                    "model_gigabytes": 0.91 if name.startswith("without") else 1.0,
                },
            }
            for name, (family, changes, _, _, ratio) in VARIATIONS.items()
        },
        "ranking": rank(effects),
        "removable": [n for n, found in effects.items() if all(found[m]["verdict"] != "worse" for m in PRIORITY)],
        "detectable": {"classification_accuracy": 0.013, "generation_bleu": 0.017, "generation_rouge1_f": 0.015},
        "factorial": fabricate_factorial(),
        "path": fabricate_path(),
        "slices": {
            name: {
                part: {METRICS[0]: effect_of(values[0] * (0.4 + 0.2 * place), 1.6 * half)}
                for place, part in enumerate(SLICES)
            }
            for name, (_, _, values, half, _) in VARIATIONS.items()
        },
        "missing": missing,
        "failures": {"trials": [FAILED_TRIAL], "counts": {"succeeded": 35, "failed": 1}},
        "cost": {
            "device_seconds": 1068.0,
            "by_status": {"failed": 18.0, "succeeded": 1050.0},
            "saved_by_early_stopping": None,
        },
    }
    return {**analysis, "findings": [*ablation_findings(analysis), *design_findings(analysis)]}


def rank(effects: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Variations by their largest effect on a priority metric."""
    ranking = []
    for name, found in effects.items():
        metric = max(PRIORITY, key=lambda metric: abs(found[metric]["effect"]))
        entry = {"variation": name, "family": VARIATIONS[name][0], "metric": metric, "effect": found[metric]["effect"]}
        ranking.append({**entry, "significant": found[metric]["verdict"] != "undecided"})
    return sorted(ranking, key=lambda entry: -abs(entry["effect"]))


def priority_effects(values: tuple[float, ...], half: float) -> dict[str, Any]:
    """An effect on each priority metric."""
    return {metric: effect_of(value, half) for metric, value in zip(PRIORITY, values, strict=True)}


def fabricate_factorial() -> dict[str, Any]:
    """A full factorial of two factors that interact."""
    names = ("without_cross_attention", "single_stage")
    cells = [dict(zip(names, levels, strict=True)) for levels in itertools.product(*((BASELINE, n) for n in names))]
    main = {
        name: {"levels": {name: name}, "aliases": [], "effects": priority_effects(VARIATIONS[name][2][:3], 0.009)}
        for name in names
    }
    both = {"levels": dict(zip(names, names, strict=True)), "aliases": []}
    return {
        "factors": {name: [BASELINE, name] for name in names},
        "cells": {".".join(level for level in cell.values() if level != BASELINE) or BASELINE: cell for cell in cells},
        "resolution": None,
        "seeds": SEEDS,
        "missing": [],
        "main_effects": main,
        "interactions": {".".join(names): {**both, "effects": priority_effects((0.026, 0.002, 0.002), 0.015)}},
    }


def fabricate_path() -> list[dict[str, Any]]:
    """Two steps; the first does nothing."""
    return [
        {
            "step": number,
            "variant": f"path.{number}.{change}",
            "changes": f"training.{change}=0.02",
            "effect": priority_effects(values, 0.01),
            "cumulative": priority_effects(values, 0.01),
        }
        for number, (change, values) in enumerate(
            {"weight_decay": (0.001, 0.0, 0.002), "learning_rate": (0.031, 0.024, 0.02)}.items(), 1
        )
    ]
