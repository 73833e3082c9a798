"""What an ablation study found: paired effects of every variation against the baseline, as `analysis.json` has them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import numpy as np

from receipt_counter.comparison.compare_models import aligned_runs, metric_effect, slice_effects, verdict
from receipt_counter.comparison.effects import Effect
from receipt_counter.comparison.multiple_comparisons import with_holm
from receipt_counter.comparison.power import detectable_difference
from receipt_counter.comparison.ratios import paired_ratio
from receipt_counter.comparison.scores import EvaluatedRun
from receipt_counter.errors import UserError
from receipt_counter.storage.run import Run
from receipt_counter.study.variants import BASELINE, Step

SPLIT = "analysis"


@dataclass(frozen=True)
class VariantRuns:
    """The runs of one variant.

    Attributes:
        name: of the variant.
        family: what kind of part it changes; empty where it is no variation (see `Variant`).
        changes: its overrides, for people.
        runs: {seed: its run}, without the failed ones.
        levels: its cell in a factorial design, {factor: level}.
        step: its place on the ablation path.
    """

    name: str
    family: str
    changes: str
    runs: Mapping[int, Run]
    levels: Mapping[str, str] = field(default_factory=dict)
    step: Step | None = None


def analyse_ablation(variants: Sequence[VariantRuns], priority: Sequence[str], split: str = SPLIT) -> dict[str, Any]:
    """Compare every variation with the baseline over the seeds both have finished, and the same images.

    Args:
        variants: the baseline and the variations.
        priority: the metrics to look at first; Holm's correction is over variations x these, weighted by what the
            seeds' differences show (`comparison/multiple_comparisons.py`).
        split: that the runs were judged on.

    Returns:
        The content of `analysis.json`; see docs/ANALYSIS.md.

    Raises:
        UserError: no baseline, or its runs did not finish.
    """
    baseline = next((variant for variant in variants if variant.name == BASELINE), None)
    if baseline is None or not baseline.runs:
        raise UserError("the baseline has no finished run: there is nothing to compare with")
    metrics = list(dict.fromkeys((*priority, "answer_accuracy")))
    pairs = {v.name: _Pair(baseline, v, split) for v in variants if v is not baseline and v.runs.keys() & baseline.runs}
    compared = {name: pair for name, pair in pairs.items() if pair.variation.family}
    effects = {(name, metric): pair.effect(metric) for name, pair in compared.items() for metric in metrics}
    family = with_holm({key: effect for key, effect in effects.items() if key[1] in priority}, metric_of=itemgetter(1))
    effects.update(family)
    return {
        "kind": "ablation",
        "split": split,
        "priority_metrics": list(priority),
        "seeds": sorted(baseline.runs),
        "baseline_metrics": _figures(baseline, metrics, split),
        "baseline_runs": _run_ids(baseline, sorted(baseline.runs)),
        "ablation_analysis": {
            name: {metric: effect_entry(metric, effects[name, metric]) for metric in metrics} for name in compared
        },
        "variations": {name: _described(pair, baseline) for name, pair in compared.items()},
        "ranking": _ranking(compared, family, priority),
        "removable": [name for name in compared if _removable(name, effects, priority)],
        "detectable": {metric: _detectable((compared or pairs).values(), metric) for metric in priority},
        "slices": {name: pair.slices() for name, pair in compared.items()},
        "missing": {v.name: sorted(baseline.runs.keys() - v.runs.keys()) for v in variants if _incomplete(v, baseline)},
    }


class _Pair:
    """A variation beside the baseline, over the seeds both have."""

    def __init__(self, baseline: VariantRuns, variation: VariantRuns, split: str) -> None:
        self.variation, self.split = variation, split
        self.seeds = sorted(baseline.runs.keys() & variation.runs.keys())
        files = [
            variant.runs[seed].evaluation(split) / "predictions.jsonl"
            for variant in (baseline, variation)
            for seed in self.seeds
        ]
        runs = aligned_runs(files)
        self.before: list[EvaluatedRun] = runs[: len(self.seeds)]
        self.after: list[EvaluatedRun] = runs[len(self.seeds) :]

    def effect(self, metric: str) -> Effect:
        """The paired effect on one metric."""
        return metric_effect(self.before, self.after, metric)

    def scores(self, metric: str) -> tuple[Any, Any]:
        """Baseline's and variation's scores, each [seeds, images]."""
        before, after = (np.stack([run.score(metric) for run in runs]) for runs in (self.before, self.after))
        return before, after

    def slices(self) -> dict[str, dict[str, Any]]:
        """Effects on the slices that hold enough images, corrected over slices x metrics."""
        found = slice_effects(self.before, self.after)
        nested: dict[str, dict[str, Any]] = {}
        for (metric, name), effect in with_holm(found, metric_of=itemgetter(0)).items():
            nested.setdefault(name, {})[metric] = effect_entry(metric, effect)
        return nested


def effect_entry(metric: str, effect: Effect) -> dict[str, Any]:
    """An effect as `analysis.json` has it.

    Args:
        metric: decides which direction is good.
        effect: corrected by Holm where it belongs to a family.
    """
    found = dataclasses.asdict(effect)
    return {**found, "identical": effect.identical, "verdict": verdict(metric, effect)}


def _figures(variant: VariantRuns, metrics: Sequence[str], split: str) -> dict[str, dict[str, Any]]:
    per_seed = {seed: run.record["splits"][split] for seed, run in sorted(variant.runs.items())}
    return {
        metric: {
            "mean": float(np.mean([figures[metric] for figures in per_seed.values()])),
            "seeds": {str(seed): figures[metric] for seed, figures in per_seed.items()},
        }
        for metric in metrics
    }


def _described(pair: _Pair, baseline: VariantRuns) -> dict[str, Any]:
    """What a variation changes, and what it costs beside the baseline (ratios; below 1 it saves)."""
    variation = pair.variation
    mine, theirs = ([variant.runs[seed].record for seed in pair.seeds] for variant in (variation, baseline))
    seconds, base_seconds = ([float(record["device_seconds"]) for record in side] for side in (mine, theirs))
    size, base_size = (
        np.mean([run["splits"][pair.split]["model_gigabytes"] for run in side]) for side in (mine, theirs)
    )
    costs = {
        "device_seconds": dataclasses.asdict(paired_ratio(seconds, base_seconds))
        if min(*seconds, *base_seconds) > 0
        else None,
        "model_gigabytes": float(size / base_size) if base_size else None,  # depends on no seed: exact
    }
    return {
        "family": variation.family,
        "changes": variation.changes,
        "seeds": pair.seeds,
        "runs": _run_ids(variation, pair.seeds),
        "cost_ratio": costs,
    }


def _run_ids(variant: VariantRuns, seeds: Sequence[int]) -> dict[str, str]:
    """{seed: id of the run}."""
    return {str(seed): variant.runs[seed].directory.name for seed in seeds}


def _ranking(
    compared: Mapping[str, _Pair], effects: Mapping[tuple[str, str], Effect], priority: Sequence[str]
) -> list[dict[str, Any]]:
    """Variations by their largest effect on a priority metric, in points of that metric."""
    ranked = []
    for name, pair in compared.items():
        metric = max(priority, key=lambda metric: abs(effects[name, metric].effect))
        largest = effects[name, metric]
        ranked.append(
            {
                "variation": name,
                "family": pair.variation.family,
                "metric": metric,
                "effect": largest.effect,
                "significant": verdict(metric, largest) != "undecided",
            }
        )
    return sorted(ranked, key=lambda entry: -abs(entry["effect"]))


def _removable(name: str, effects: Mapping[tuple[str, str], Effect], priority: Sequence[str]) -> bool:
    """Whether nothing hints that a variation is worse in a metric that matters first: no correction is asked here."""
    alone = [(metric, dataclasses.replace(effects[name, metric], p_holm=None)) for metric in priority]
    return all(verdict(metric, effect) != "worse" for metric, effect in alone)


def _detectable(compared: Any, metric: str) -> float | None:
    """The smallest true difference a study of this size finds with 80 % probability, from all pairs' spread."""
    differences = [np.subtract(*pair.scores(metric)[::-1]) for pair in compared]
    most = max((len(matrix) for matrix in differences), default=0)
    if most < 2:
        return None
    whole = np.stack([matrix for matrix in differences if len(matrix) == most])
    return detectable_difference(whole, most, whole.shape[-1])


def _incomplete(variant: VariantRuns, baseline: VariantRuns) -> bool:
    return bool(baseline.runs.keys() - variant.runs.keys())
