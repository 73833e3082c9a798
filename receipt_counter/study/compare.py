"""From a finished study to `analysis.json`: finds the runs behind its trials and compares them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from receipt_counter.config.loading import from_yaml
from receipt_counter.config.schema import Config
from receipt_counter.errors import UserError
from receipt_counter.katib.experiment import StudyDocument, read_document
from receipt_counter.katib.space import search_space
from receipt_counter.progress import Progress
from receipt_counter.storage.files import write_json
from receipt_counter.storage.run import Run
from receipt_counter.storage.store import Store
from receipt_counter.study.ablation_analysis import SPLIT, VariantRuns, analyse_ablation
from receipt_counter.study.compile import CONFIG_FILE, VARIANTS_FILE
from receipt_counter.study.findings import ablation_findings
from receipt_counter.study.runs import dataset_of, finished_run, with_seed
from receipt_counter.study.variants import read_variants


def compare_ablation(study: Path, store: Store, progress: Progress) -> dict[str, Any]:
    """Compare the variants of an ablation study and write its `analysis.json`.

    Args:
        study: the study's directory, with the `experiment.yaml` that was run.
        store: where its runs live.
        progress: shows how far it is.

    Returns:
        The content of `analysis.json`, with its findings in sentences.

    Raises:
        UserError: it is no ablation of ours, or its baseline did not finish.
    """
    document = read_document(study / "experiment.yaml")
    files = study_files(document)
    if VARIANTS_FILE not in files:
        raise UserError(f"{study}: this study has no {VARIANTS_FILE} among its ConfigMaps: it is no ablation of ours")
    (seeds,) = (axis.values for axis in search_space(document.experiment) if axis.name == "seed")
    config, place = base_config(files), str(study / "experiment.yaml")
    variants = [
        VariantRuns(
            v.name, v.family, v.changes(), _runs(v.apply(config), [int(seed) for seed in seeds], store, progress)
        )
        for v in read_variants(files[VARIANTS_FILE], place).values()
    ]
    objective = document.experiment.spec.objective
    priority = [objective.objective_metric_name, *objective.additional_metric_names]
    analysis = analyse_ablation(variants, [metric for metric in priority if metric != "answer_accuracy"])
    analysis["findings"] = ablation_findings(analysis)
    write_json(study / "analysis.json", analysis)
    return analysis


def study_files(document: StudyDocument) -> Mapping[str, str]:
    """The files that travel with an Experiment of ours; none with somebody else's."""
    return next((files for files in document.config_maps.values() if CONFIG_FILE in files), {})


def base_config(files: Mapping[str, str]) -> Config:
    """The config that every variant of a study changes."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / CONFIG_FILE
        path.write_text(files[CONFIG_FILE], encoding="utf-8")
        return from_yaml(path)


def _runs(config: Config, seeds: list[int], store: Store, progress: Progress) -> dict[int, Run]:
    """{seed: its finished run}; the failed ones are left out."""
    dataset = dataset_of(config, store, progress)
    found = {seed: finished_run(with_seed(config, seed), SPLIT, dataset, store) for seed in seeds}
    return {seed: run for seed, run in found.items() if run is not None}
