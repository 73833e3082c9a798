"""From a finished study to `analysis.json`: finds the runs behind its trials and compares them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from receipt_counter.config.loading import from_yaml
from receipt_counter.config.schema import Config
from receipt_counter.config.validation import coerce
from receipt_counter.errors import UserError
from receipt_counter.katib.experiment import StudyDocument, read_document
from receipt_counter.katib.space import Parameter, search_space
from receipt_counter.progress import Progress
from receipt_counter.storage.files import write_atomic, write_json
from receipt_counter.storage.run import Run
from receipt_counter.storage.store import Store
from receipt_counter.study.ablation_analysis import SPLIT, VariantRuns, analyse_ablation
from receipt_counter.study.compile import CONFIG_FILE, PRESET_ANNOTATION, VARIANTS_FILE
from receipt_counter.study.findings import ablation_findings
from receipt_counter.study.runs import code_versions, dataset_of, finished_run, with_seed
from receipt_counter.study.search_analysis import analyse_search, best_config
from receipt_counter.study.settings import Objective, SearchParameter
from receipt_counter.study.trials import cost, failures, read_trials
from receipt_counter.study.variants import BASELINE, read_variants

_AXES = ("variant", "seed")  # what an ablation's trials differ in


def compare(study: Path, store: Store, progress: Progress) -> dict[str, Any]:
    """Say what a study found and write its `analysis.json`; of a search also its `best_config.yaml`.

    Args:
        study: the study's directory, with the `experiment.yaml` that was run.
        store: where its runs live.
        progress: shows how far it is.

    Returns:
        The content of `analysis.json`, with its findings in sentences.

    Raises:
        UserError: it is no study of ours, or nothing in it finished that could be compared.
    """
    document = read_document(study / "experiment.yaml")
    files = study_files(document)
    if CONFIG_FILE not in files:
        raise UserError(f"{study}: its ConfigMaps hold no {CONFIG_FILE}: only studies made by `plan` can be compared")
    ablation = VARIANTS_FILE in files
    analysis = _ablation(document, study, store, progress) if ablation else _search(document, study)
    write_json(study / "analysis.json", analysis)
    return analysis


def _ablation(document: StudyDocument, study: Path, store: Store, progress: Progress) -> dict[str, Any]:
    files = study_files(document)
    (seeds,) = (axis.values for axis in search_space(document.experiment) if axis.name == "seed")
    config = base_config(files)
    for version in code_versions(store):  # all runs of one version: code that changed since may not explain effects
        variants = [
            VariantRuns(v.name, v.family, v.changes(), _runs(v.apply(config), seeds, store, version, progress))
            for v in read_variants(files[VARIANTS_FILE], VARIANTS_FILE).values()
        ]
        if any(variant.name == BASELINE and variant.runs for variant in variants):
            break
    analysis = analyse_ablation(variants, _priority(document))
    return {**analysis, **_ended(study, config.training.processes), "findings": ablation_findings(analysis)}


def _ended(study: Path, devices: int) -> dict[str, Any]:
    """What became of an ablation's trials; its runs may have been made without it, and then it has none."""
    import pandas as pd

    trials = read_trials(study)
    if trials is None:
        trials = pd.DataFrame(columns=["trial", "status", *_AXES])
    return {"failures": failures(trials, trials[list(_AXES)].astype(object)), "cost": cost(trials, devices)}


def _search(document: StudyDocument, study: Path) -> dict[str, Any]:
    parameters = [_searched(axis) for axis in search_space(document.experiment)]
    trials = read_trials(study, tuple(parameter.key for parameter in parameters))
    if trials is None:
        raise UserError(f"{study / 'trials.csv'}: no such file: no trial of this study has ended yet")
    metric, *_ = priority = _priority(document)
    config, objective = base_config(study_files(document)), Objective(metric, document.experiment.spec.objective.goal)
    analysis = analyse_search(trials, parameters, objective, priority, devices=config.training.processes)
    best = analysis["best_configurations"].get("objective")
    if best:
        preset = document.experiment.metadata.annotations[PRESET_ANNOTATION]
        text = best_config(config, preset, best["parameters"])
        write_atomic(study / "best_config.yaml", text)
    return analysis


def _priority(document: StudyDocument) -> list[str]:
    """The objective and the other metrics to look at first; exact answers are reported beside them anyway."""
    objective = document.experiment.spec.objective
    names = [objective.objective_metric_name, *objective.additional_metric_names]
    return [name for name in names if name != "answer_accuracy" or name == objective.objective_metric_name]


def _searched(axis: Parameter) -> SearchParameter:
    values = tuple(coerce(axis.name, yaml.safe_load(value)) for value in axis.values)
    return SearchParameter(axis.name, values, axis.low, axis.high, axis.step, axis.log)


def study_files(document: StudyDocument) -> Mapping[str, str]:
    """The files that travel with an Experiment of ours; none with somebody else's."""
    return next((files for files in document.config_maps.values() if CONFIG_FILE in files), {})


def base_config(files: Mapping[str, str]) -> Config:
    """The config that every variant of a study changes."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / CONFIG_FILE
        path.write_text(files[CONFIG_FILE], encoding="utf-8")
        return from_yaml(path)


def _runs(config: Config, seeds: Sequence[str], store: Store, version: str, progress: Progress) -> dict[int, Run]:
    """{seed: its finished run}; the failed ones are left out."""
    dataset = dataset_of(config, store, progress)
    found = {int(seed): finished_run(with_seed(config, int(seed)), SPLIT, dataset, store, version) for seed in seeds}
    return {seed: run for seed, run in found.items() if run is not None}
