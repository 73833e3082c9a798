"""What the designs of an ablation found: effects and interactions of a factorial, and the steps of a path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np

from receipt_counter.comparison.compare_models import aligned_runs, metric_effect
from receipt_counter.comparison.effects import Effect, contrast_effect
from receipt_counter.comparison.multiple_comparisons import with_holm
from receipt_counter.comparison.scores import EvaluatedRun
from receipt_counter.study.ablation_analysis import VariantRuns, effect_entry
from receipt_counter.study.contrasts import Contrast, contrasts, factors_in, resolution
from receipt_counter.study.variants import BASELINE

Effects = Mapping[tuple[str, str], Effect]


def analyse_design(variants: Sequence[VariantRuns], priority: Sequence[str], split: str) -> dict[str, Any]:
    """Analyse the factorial design and the path that an ablation has, if any.

    Args:
        variants: all of the study, the baseline among them.
        priority: the metrics to look at first.
        split: that their runs were judged on.

    Returns:
        For `analysis.json`, with an effect as `effect_entry` writes it:
        "factorial": {} without a design, else {"factors": {factor: [levels, the baseline's first]}, "cells": {variant:
        {factor: level}}, "resolution": that of a fraction or null, "seeds": those that all cells have, "missing":
        [cells without any run], "main_effects" and "interactions": {name: {"levels": {factor: level}, "aliases": [names
        of effects that cannot be told from it], "effects": {metric: effect}}}}; names are those of the levels, "a" and
        "a.b". Holm's correction is over all these effects x metrics. No seed in all cells, no effects.
        "path": [{"step": number, "variant": name, "changes": text, "effect": {metric: effect against the step before},
        "cumulative": {metric: effect against the baseline}}], over the seeds that all steps have; a step without any
        run is left out, and the next one has its changes too. Holm's corrections are over steps x metrics, one for the
        steps and one for the cumulative effects.
    """
    return {
        "factorial": _factorial([v for v in variants if v.levels], priority, split),
        "path": _path(variants, priority, split),
    }


def _factorial(cells: Sequence[VariantRuns], priority: Sequence[str], split: str) -> dict[str, Any]:
    if not cells:
        return {}
    levels = {cell.name: cell.levels for cell in cells}
    seeds = _shared_seeds(cells)
    found = contrasts(levels) if seeds else []
    runs = _aligned(cells, seeds, split) if seeds else {}
    effects: dict[tuple[str, str], Effect] = {}
    for metric in priority if seeds else ():
        scores = {cell: np.stack([run.score(metric) for run in of_seeds]) for cell, of_seeds in runs.items()}
        effects.update({(effect.name, metric): contrast_effect(scores, effect.weights) for effect in found})
    corrected = with_holm(effects, metric_of=itemgetter(1))
    return {
        "factors": factors_in(levels),
        "cells": {name: dict(cell) for name, cell in levels.items()},
        "resolution": resolution(levels),
        "seeds": seeds,
        "missing": [cell.name for cell in cells if not cell.runs],
        "main_effects": {e.name: _entry(e, corrected, priority) for e in found if len(e.levels) == 1},
        "interactions": {e.name: _entry(e, corrected, priority) for e in found if len(e.levels) == 2},
    }


def _entry(effect: Contrast, effects: Effects, priority: Sequence[str]) -> dict[str, Any]:
    return {
        "levels": dict(effect.levels),
        "aliases": list(effect.aliases),
        "effects": _entries(effect.name, effects, priority),
    }


def _entries(name: str, effects: Effects, priority: Sequence[str]) -> dict[str, Any]:
    return {metric: effect_entry(metric, effects[name, metric]) for metric in priority}


def _path(variants: Sequence[VariantRuns], priority: Sequence[str], split: str) -> list[dict[str, Any]]:
    numbered = sorted((v.step.number, v.step.changes, v) for v in variants if v.step)
    steps: list[tuple[int, str, VariantRuns]] = []
    pending: list[str] = []
    for number, changes, variant in numbered:
        pending.append(changes)
        if variant.runs:
            steps.append((number, " ".join(pending), variant))
            pending = []
    passed = [*(v for v in variants if v.name == BASELINE), *(variant for _, _, variant in steps)]
    seeds = _shared_seeds(passed)
    if not seeds or not steps:
        return []
    runs = list(_aligned(passed, seeds, split).values())
    names = [variant.name for _, _, variant in steps]
    single, cumulative = (
        with_holm(
            {
                (name, metric): metric_effect(before, after, metric)
                for name, before, after in zip(names, befores, runs[1:], strict=True)
                for metric in priority
            },
            metric_of=itemgetter(1),
        )
        for befores in (runs[:-1], [runs[0]] * len(steps))
    )
    return [
        {
            "step": number,
            "variant": variant.name,
            "changes": changes,
            "effect": _entries(variant.name, single, priority),
            "cumulative": _entries(variant.name, cumulative, priority),
        }
        for number, changes, variant in steps
    ]


def _shared_seeds(variants: Sequence[VariantRuns]) -> list[int]:
    return sorted(set.intersection(*(set(variant.runs) for variant in variants))) if variants else []


def _aligned(variants: Sequence[VariantRuns], seeds: Sequence[int], split: str) -> dict[str, list[EvaluatedRun]]:
    """{variant: its runs, a seed each}, all over the same images in the same order."""
    files = [v.runs[seed].evaluation(split) / "predictions.jsonl" for v in variants for seed in seeds]
    runs = aligned_runs(files)
    return {v.name: runs[i * len(seeds) : (i + 1) * len(seeds)] for i, v in enumerate(variants)}
