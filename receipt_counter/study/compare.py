"""From a finished study to `analysis.json`: finds the runs behind its trials and compares them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from receipt_counter.config.schema import Config
from receipt_counter.config.validation import coerce
from receipt_counter.errors import UserError
from receipt_counter.katib.experiment import StudyDocument, read_document, write_document
from receipt_counter.katib.space import Parameter, search_space
from receipt_counter.progress import Progress
from receipt_counter.storage.files import write_atomic, write_json
from receipt_counter.storage.run import Run
from receipt_counter.storage.store import Store
from receipt_counter.study.ablation_analysis import VariantRuns, analyse_ablation
from receipt_counter.study.compile import VARIANTS_FILE
from receipt_counter.study.confirmation import choose_run, confirmation_document, confirmation_findings
from receipt_counter.study.design_analysis import analyse_design
from receipt_counter.study.design_findings import design_findings
from receipt_counter.study.documents import base_config, preset_of, split_of, study_files
from receipt_counter.study.findings import ablation_findings
from receipt_counter.study.runs import code_versions, dataset_of, finished_run, with_seed
from receipt_counter.study.search_analysis import analyse_search, best_config
from receipt_counter.study.settings import Objective, SearchParameter
from receipt_counter.study.trials import cost, failures, read_trials
from receipt_counter.study.variants import BASELINE, read_variants

_AXES = ("variant", "seed")  # what an ablation's trials differ in


FingerprintOf = Callable[[Config], str]  # of the dataset that a config trains on


@dataclass(frozen=True)
class Analysed:
    """What a study has found.

    Attributes:
        analysis: the content of analysis.json.
        best_config: of a search, its best trial's config as YAML.
        confirmation: of a search, the Experiment that trains the best trial and the baseline with other seeds.
    """

    analysis: dict[str, Any]
    best_config: str | None = None
    confirmation: StudyDocument | None = None


def compare(study: Path, store: Store, progress: Progress) -> dict[str, Any]:
    """Say what a study found and write its `analysis.json`.

    Of a search also its `best_config.yaml`, and `confirmation.yaml`. Once the confirmation's runs are there, they are
    compared too.

    Args:
        study: the study's directory, with the `experiment.yaml` that was run.
        store: where its runs live.
        progress: shows how far it is.

    Returns:
        The content of `analysis.json`, with its findings in sentences.

    Raises:
        UserError: it is no study of ours, or nothing in it finished that could be compared.
    """
    found = analyse(study, store, lambda config: dataset_of(config, store, progress).fingerprint)
    if found.best_config is not None and found.confirmation is not None:
        write_atomic(study / "best_config.yaml", found.best_config)
        write_document(found.confirmation, study / "confirmation.yaml")
    write_json(study / "analysis.json", found.analysis)
    return found.analysis


def analyse(study: Path, store: Store, fingerprint_of: FingerprintOf) -> Analysed:
    """Say what a study has found so far; writes nothing.

    Args:
        study: the study's directory, with the `experiment.yaml` that was run.
        store: where its runs live.
        fingerprint_of: the dataset's, by which runs are found.

    Raises:
        UserError: it is no study of ours, or nothing in it finished that could be compared.
    """
    document = read_document(study / "experiment.yaml")
    try:
        ablation = VARIANTS_FILE in study_files(document)
    except UserError as error:
        raise UserError(f"{study}: {error.message}") from None
    make = _ablation if ablation else _search
    return make(document, study, store, fingerprint_of)


def _ablation(document: StudyDocument, study: Path, store: Store, fingerprint_of: FingerprintOf) -> Analysed:
    variants = _variant_runs(document, store, fingerprint_of)
    devices = base_config(study_files(document)).training.processes
    return Analysed({**_analysed(variants, _priority(document), split_of(document)), **_ended(study, devices)})


def _analysed(variants: Sequence[VariantRuns], priority: Sequence[str], split: str) -> dict[str, Any]:
    analysis = {**analyse_ablation(variants, priority, split), **analyse_design(variants, priority, split)}
    return {**analysis, "findings": [*ablation_findings(analysis), *design_findings(analysis)]}


def _variant_runs(document: StudyDocument, store: Store, fingerprint_of: FingerprintOf) -> list[VariantRuns]:
    """The runs of an ablation's variants, all by one version of the code: changed code may not explain effects."""
    files, split = study_files(document), split_of(document)
    (seeds,) = (axis.values for axis in search_space(document.experiment) if axis.name == "seed")
    config = base_config(files)
    for version in code_versions(store):
        variants = [
            VariantRuns(
                v.name,
                v.family,
                v.changes(),
                _runs(v.apply(config), seeds, split, store, version, fingerprint_of),
                v.levels,
                v.step,
            )
            for v in read_variants(files[VARIANTS_FILE], VARIANTS_FILE).values()
        ]
        if any(variant.name == BASELINE and variant.runs for variant in variants):
            break
    return variants


def _ended(study: Path, devices: int) -> dict[str, Any]:
    """What became of an ablation's trials; its runs may have been made without it, and then it has none."""
    import pandas as pd

    trials = read_trials(study)
    if trials is None:
        trials = pd.DataFrame(columns=["trial", "status", *_AXES])
    return {"failures": failures(trials, trials[list(_AXES)].astype(object)), "cost": cost(trials, devices)}


def _search(document: StudyDocument, study: Path, store: Store, fingerprint_of: FingerprintOf) -> Analysed:
    parameters = [_searched(axis) for axis in search_space(document.experiment)]
    trials = read_trials(study, tuple(parameter.key for parameter in parameters))
    if trials is None:
        raise UserError(f"{study / 'trials.csv'}: no such file: no trial of this study has ended yet")
    metric, *_ = priority = _priority(document)
    config, objective = base_config(study_files(document)), Objective(metric, document.experiment.spec.objective.goal)
    analysis = analyse_search(trials, parameters, objective, priority, devices=config.training.processes)
    best = analysis["best_configurations"].get("objective")
    if not best:
        return Analysed({**analysis, "confirmation": None, "chosen": None})
    confirmation = confirmation_document(document, best["parameters"])
    confirmed = _confirmed(confirmation, objective, store, fingerprint_of)
    return Analysed(
        _with_confirmation({**analysis, **confirmed}),
        best_config(config, preset_of(document), best["parameters"]),
        confirmation,
    )


def _confirmed(
    document: StudyDocument, objective: Objective, store: Store, fingerprint_of: FingerprintOf
) -> dict[str, Any]:
    """What the confirmation says, and the run it chooses; None while a variant has no finished run."""
    variants = _variant_runs(document, store, fingerprint_of)
    if not all(variant.runs for variant in variants):
        return {"confirmation": None, "chosen": None}
    chosen = choose_run({variant.name: variant.runs for variant in variants}, objective)
    return {"confirmation": _analysed(variants, _priority(document), split_of(document)), "chosen": chosen}


def _with_confirmation(analysis: dict[str, Any]) -> dict[str, Any]:
    """The analysis of a search whose findings say what is left of the winner: after what won, before all else."""
    if analysis["confirmation"] is None:
        return analysis
    best, *others = analysis["findings"]
    confirmed = confirmation_findings(analysis["confirmation"], analysis["chosen"])
    return {**analysis, "findings": [best, *confirmed, *others]}


def _priority(document: StudyDocument) -> list[str]:
    """The objective and the other metrics to look at first; exact answers are reported beside them anyway."""
    objective = document.experiment.spec.objective
    names = [objective.objective_metric_name, *objective.additional_metric_names]
    return [name for name in names if name != "answer_accuracy" or name == objective.objective_metric_name]


def _searched(axis: Parameter) -> SearchParameter:
    values = tuple(coerce(axis.name, yaml.safe_load(value)) for value in axis.values)
    return SearchParameter(axis.name, values, axis.low, axis.high, axis.step, axis.log)


def _runs(
    config: Config, seeds: Sequence[str], split: str, store: Store, version: str, fingerprint_of: FingerprintOf
) -> dict[int, Run]:
    """{seed: its finished run}; the failed ones are left out."""
    data = fingerprint_of(config)
    found = {int(seed): finished_run(with_seed(config, int(seed)), split, data, store, version) for seed in seeds}
    return {seed: run for seed, run in found.items() if run is not None}
