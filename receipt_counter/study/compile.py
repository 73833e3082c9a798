"""From a study file and a config to a Katib Experiment, the one spec of a study on a cluster and on a laptop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kubeflow_katib_api.models import V1beta1Experiment

from receipt_counter.config.cluster import Cluster
from receipt_counter.config.loading import to_yaml
from receipt_counter.config.schema import Config
from receipt_counter.config.validation import DECLARATIONS
from receipt_counter.katib.experiment import StudyDocument
from receipt_counter.study.search_file import SearchFile
from receipt_counter.study.settings import MINIMISED, Objective, SearchParameter, StudySettings
from receipt_counter.study.trial_job import CONFIG_FILE, MOUNT, NAME_PARAMETER, trial_runtimes, trial_template
from receipt_counter.study.variants import Variant, override_text, write_variants

PRESET_ANNOTATION = "receipt-counter/preset"
SPLIT_ANNOTATION = "receipt-counter/split"  # that its trials are judged on
# Of Experiments, and of their trials' Jobs and pods; Katib labels pods with the Experiment's and the trial's name.
STUDY_LABEL, KIND_LABEL = "receipt-counter/study", "receipt-counter/kind"
VARIANT_LABEL, SEED_LABEL = "receipt-counter/variant", "receipt-counter/seed"
SEARCH_LABEL = "receipt-counter/search"  # of a confirmation: the Experiment whose winner it confirms
VARIANTS_FILE, SETTINGS_FILE = "variants.yaml", "study.yaml"


def search_document(file: SearchFile, config: Config, preset: str) -> StudyDocument:
    """The Experiment of a hyperparameter study.

    Args:
        file: what is searched, how, and what it may cost.
        config: the resolved config that every variant changes.
        preset: that the config was resolved with.
    """
    settings = file.settings
    names = {parameter.key: parameter.key.replace(".", "_") for parameter in file.parameters}
    overrides = [
        argument for key, name in names.items() for argument in ("--set", f"{key}=${{trialParameters.{name}}}")
    ]
    spec: dict[str, Any] = {
        "objective": _objective(settings.objective, settings.priority_metrics),
        "algorithm": {
            "algorithmName": settings.algorithm.name,
            "algorithmSettings": _algorithm_settings(settings),
        },
        "parameters": [_parameter(parameter) for parameter in file.parameters],
        "maxTrialCount": settings.budget.trials,
        "parallelTrialCount": min(settings.parallelism, settings.budget.trials),
        "maxFailedTrialCount": min(settings.budget.failed_trials, settings.budget.trials),
        "trialTemplate": _template(
            settings,
            config,
            ["--seeds", ",".join(map(str, settings.seeds)), "--split", "val", *overrides],
            [{"name": name, "reference": key, "description": _described(key)} for key, name in names.items()],
            {},
        ),
    }
    stopping = settings.early_stopping
    if stopping.algorithm is not None:
        chosen = {"min_trials_required": stopping.min_trials_required, "start_step": stopping.start_step}
        spec["earlyStopping"] = {
            "algorithmName": stopping.algorithm,
            "algorithmSettings": [{"name": name, "value": str(value)} for name, value in chosen.items()],
        }
    files = {CONFIG_FILE: to_yaml(config), SETTINGS_FILE: to_yaml(settings)}
    return _document(settings, config.cluster, spec, files, {KIND_LABEL: "hyperparameter"}, preset, "val")


def ablation_document(
    settings: StudySettings,
    variants: Sequence[Variant],
    config: Config,
    preset: str,
    split: str = "analysis",
    search: str | None = None,
) -> StudyDocument:
    """The Experiment of an ablation study: a grid over `variant` and `seed`.

    Args:
        settings: of the study.
        variants: all that are run, the baseline first.
        config: the resolved config that every variant changes.
        preset: that the config was resolved with.
        split: that its runs are judged on.
        search: name of the Experiment on a cluster whose winner this one confirms; None for a study of its own.
    """
    trials = len(variants) * len(settings.seeds)
    spec = {
        "objective": _objective(Objective(metric=settings.objective.metric), settings.priority_metrics),
        "algorithm": {"algorithmName": "grid"},
        "parameters": [
            # a grid varies the last one fastest: all variants of a seed run side by side, so that what slows the
            # machine for a while falls on all of them and costs stay comparable
            _categorical("seed", [str(seed) for seed in settings.seeds]),
            _categorical("variant", [variant.name for variant in variants]),
        ],
        "maxTrialCount": trials,
        "parallelTrialCount": min(settings.parallelism, trials),
        "maxFailedTrialCount": min(settings.budget.failed_trials, trials),
        "trialTemplate": _template(
            settings,
            config,
            [
                "--variants", f"{MOUNT}/{VARIANTS_FILE}", "--variant", "${trialParameters.variant}",
                "--seeds", "${trialParameters.seed}", "--split", split, *(["--search", search] if search else []),
            ],
            [
                {"name": "variant", "reference": "variant", "description": "Which variant of the config."},
                {"name": "seed", "reference": "seed", "description": "Seed of the run."},
            ],
            {VARIANT_LABEL: "${trialParameters.variant}", SEED_LABEL: "${trialParameters.seed}"},
        ),
    }  # fmt: skip
    files = {CONFIG_FILE: to_yaml(config), VARIANTS_FILE: write_variants(variants)}
    labels = {KIND_LABEL: "confirmation", SEARCH_LABEL: search} if search else {KIND_LABEL: "ablation"}
    return _document(settings, config.cluster, spec, files, labels, preset, split)


def _document(
    settings: StudySettings,
    cluster: Cluster,
    spec: dict[str, Any],
    files: Mapping[str, str],
    labels: Mapping[str, str],
    preset: str,
    split: str,
) -> StudyDocument:
    content = {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {
            "name": experiment_name(settings),
            "labels": {
                "app.kubernetes.io/part-of": "receipt-counter",
                STUDY_LABEL: experiment_name(settings),
                **labels,
            },
            "annotations": {PRESET_ANNOTATION: preset, SPLIT_ANNOTATION: split},
        },
        "spec": {
            **spec,
            "metricsCollectorSpec": {"collector": {"kind": "StdOut"}},
            "resumePolicy": "Never",
        },
    }
    name = _config_map(settings)
    return StudyDocument(V1beta1Experiment.model_validate(content), {name: files}, trial_runtimes(cluster, name))


def experiment_name(settings: StudySettings) -> str:
    """The study's name as Kubernetes takes it: no capitals, no underscores."""
    return settings.base_name.lower().replace("_", "-")


def _config_map(settings: StudySettings) -> str:
    return f"{experiment_name(settings)}-study"


def _objective(objective: Objective, priority: Sequence[str]) -> dict[str, Any]:
    """Every metric counts with its last value: the mean over the seeds is printed last, and Katib's own default,
    the best value there ever was, would reward noise."""
    others = [metric for metric in dict.fromkeys((*priority, "answer_accuracy")) if metric != objective.metric]
    found: dict[str, Any] = {
        "type": "minimize" if objective.metric in MINIMISED else "maximize",
        "objectiveMetricName": objective.metric,
        "additionalMetricNames": others,
        "metricStrategies": [{"name": name, "value": "latest"} for name in (objective.metric, *others)],
    }
    return found if objective.goal is None else {**found, "goal": objective.goal}


def _algorithm_settings(settings: StudySettings) -> list[dict[str, str]]:
    if settings.algorithm.name == "grid":
        return []
    return [{"name": "random_state", "value": str(settings.algorithm.random_state)}]


def _parameter(parameter: SearchParameter) -> dict[str, Any]:
    if parameter.values:
        texts = [override_text(value) for value in parameter.values]
        numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in parameter.values)
        if not numbers:
            return _categorical(parameter.key, texts)
        return {"name": parameter.key, "parameterType": "discrete", "feasibleSpace": {"list": texts}}
    space = {"min": override_text(parameter.low), "max": override_text(parameter.high)}
    if parameter.step is not None:
        space["step"] = override_text(parameter.step)
    if parameter.log:
        space["distribution"] = "logUniform"
    whole = DECLARATIONS[parameter.key][0] is int
    return {"name": parameter.key, "parameterType": "int" if whole else "double", "feasibleSpace": space}


def _categorical(name: str, values: Sequence[str]) -> dict[str, Any]:
    return {"name": name, "parameterType": "categorical", "feasibleSpace": {"list": list(values)}}


def _described(key: str) -> str:
    doc: str = DECLARATIONS[key][1].metadata["doc"]
    return doc


def _template(
    settings: StudySettings,
    config: Config,
    arguments: Sequence[str],
    parameters: Sequence[Mapping[str, str]],
    labels: Mapping[str, str],
) -> dict[str, Any]:
    marks = {STUDY_LABEL: experiment_name(settings), **labels}
    name, processes = _config_map(settings), config.training.processes
    return {
        **trial_template(config.cluster, settings.base_name, name, processes, arguments, marks),
        "retain": True,
        "trialParameters": [*parameters, NAME_PARAMETER],
    }
