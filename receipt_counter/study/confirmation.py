"""The last word on a search: its winner beside the baseline, trained with other seeds, compared on the test split.

A search's best trial is best on val by some luck: so many were tried. Seeds that no trial used and images that nothing
was chosen on tell what remains of it. The confirmation is a small ablation Experiment, with one variation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from statistics import fmean
from typing import Any

from receipt_counter.evaluation.wording import format_points, format_value, spoken
from receipt_counter.katib.experiment import StudyDocument
from receipt_counter.katib.identity import cluster_name
from receipt_counter.katib.rules import room_for_name
from receipt_counter.storage.run import Run
from receipt_counter.study.compile import ablation_document
from receipt_counter.study.documents import base_config, preset_of, study_files, study_settings
from receipt_counter.study.findings import change
from receipt_counter.study.settings import Objective
from receipt_counter.study.variants import BASELINE, Variant, same_config

SPLIT = "test"
WINNER = "winner"


def confirmation_document(search: StudyDocument, parameters: Mapping[str, Any]) -> StudyDocument:
    """The Experiment that confirms a search.

    Args:
        search: the Experiment of the search.
        parameters: {dotted key: value} of its best trial.

    Returns:
        Baseline and winner with the confirmation's seeds; the baseline alone where the winner is equal to it.
    """
    files = study_files(search)
    settings, config = study_settings(files), base_config(files)
    winner = Variant(WINNER, parameters, "search", "best trial")
    equal = same_config(winner.apply(config), {BASELINE: config}) is not None
    variants = [Variant(BASELINE, {})] if equal else [Variant(BASELINE, {}), winner]
    # a name as long as may be has no room for a prefix
    name = f"confirm-{settings.base_name}"[: room_for_name(search.experiment)].rstrip("-_")
    settings = dataclasses.replace(settings, base_name=name, seeds=settings.confirmation_seeds)
    return ablation_document(settings, variants, config, preset_of(search), SPLIT, cluster_name(search))


def choose_run(runs: Mapping[str, Mapping[int, Run]], objective: Objective) -> dict[str, Any]:
    """The run to ship: of the variant that is best on val, the seed that is best on val. Test figures do not count.

    Args:
        runs: {variant: {seed: its finished run}}.
        objective: what the search was for.

    Returns:
        `variant`, `seed`, `run` (its id), `metric` and its `value` on val.
    """
    sign = 1 if objective.maximise else -1
    figures = {
        variant: {seed: sign * run.record["splits"]["val"][objective.metric] for seed, run in by_seed.items()}
        for variant, by_seed in runs.items()
    }
    variant = max(figures, key=lambda name: fmean(figures[name].values()))
    seed = max(figures[variant], key=lambda seed: figures[variant][seed])
    return {
        "variant": variant,
        "seed": seed,
        "run": runs[variant][seed].directory.name,
        "metric": objective.metric,
        "value": sign * figures[variant][seed],
    }


def confirmation_findings(confirmation: Mapping[str, Any], chosen: Mapping[str, Any]) -> list[str]:
    """What a confirmation found, in sentences.

    Args:
        confirmation: shaped like an ablation's analysis.
        chosen: what `choose_run` gave.
    """
    seeds = ", ".join(map(str, confirmation["seeds"]))
    again = f"Trained again with seeds {seeds} and judged on the {confirmation['split']} split, the winner"
    effects = confirmation["ablation_analysis"].get(WINNER)
    metric = chosen["metric"]
    ship = (
        f"To ship: the {chosen['variant']} with seed {chosen['seed']} (run {chosen['run']}), the best on val with"
        f" {format_value(metric, chosen['value'])} {spoken(metric)}."
    )
    if effects is None:
        return ["The winner is the baseline: there is nothing to compare it with.", ship]
    parts = [_beside_baseline(metric, effects[metric]) for metric in confirmation["priority_metrics"]]
    return [f"{again} {'; '.join(parts)}.", ship]


def _beside_baseline(metric: str, effect: Mapping[str, Any]) -> str:
    if effect["verdict"] != "undecided":
        return change(metric, effect)
    if effect["identical"]:
        return f"is identical to the baseline in {spoken(metric)}"
    interval = f"{format_points(effect['low'])} to {format_points(effect['high'])}"
    return (
        f"shows no measurable difference in {spoken(metric)} ({format_points(effect['effect'])} points,"
        f" 95 % interval {interval})"
    )
