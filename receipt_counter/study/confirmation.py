"""The last word on a search: its winner beside the baseline, trained with other seeds, compared on the test split.

A search's best trial is best on val by some luck: so many were tried. Seeds that no trial used and images that nothing
was chosen on tell what remains of it. The confirmation is a small ablation Experiment, with one variation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from statistics import fmean
from typing import Any

from receipt_counter.katib.experiment import StudyDocument
from receipt_counter.storage.run import Run
from receipt_counter.study.compile import ablation_document
from receipt_counter.study.documents import base_config, preset_of, study_files, study_settings
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
    settings = dataclasses.replace(
        settings, base_name=f"confirm-{settings.base_name}", seeds=settings.confirmation_seeds
    )
    return ablation_document(settings, variants, config, preset_of(search), SPLIT)


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
