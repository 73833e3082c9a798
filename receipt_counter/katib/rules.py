"""Katib's rules for an Experiment (kubeflow/katib, webhook validator.go), all broken ones together.

Where Katib accepts what then fails in its services, or what has no effect, that is refused here as well.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from receipt_counter.errors import suggestion
from receipt_counter.katib import algorithms
from receipt_counter.katib.defaults import DEFAULT_FILTER
from receipt_counter.katib.shell import WRAPPING_COLLECTORS
from receipt_counter.katib.space import DISTRIBUTIONS, KINDS, search_space
from receipt_counter.katib.template import TRAIN_JOB

if TYPE_CHECKING:
    from kubeflow_katib_api.models import (
        V1beta1Experiment,
        V1beta1ExperimentSpec,
        V1beta1FeasibleSpace,
        V1beta1FileSystemPath,
        V1beta1ParameterSpec,
    )

COLLECTORS = ("StdOut", "File", "TensorFlowEvent", "PrometheusMetric", "Custom", "Push")
_METRIC_NAME = re.compile(r"[\w|-]+", re.ASCII)
_TWO_GROUPS = re.compile(r".*\(.*\).*\(.*\).*")
_NOT_RE2 = re.compile(r"\(\?(?:[=!]|<[=!]|P=|>|\()|\\[1-9]")  # what Go's regular expressions do not have
_NAME_LIMIT = 63  # of a Job's and a Service's name


def check_spec(experiment: V1beta1Experiment) -> Iterator[str]:
    """Every rule that an Experiment breaks, but for those about its trial template.

    Args:
        experiment: with Katib's defaults filled in, spec present.
    """
    spec = experiment.spec
    assert spec is not None
    yield from _check_name(experiment)
    yield from _check_counts(spec)
    yield from _check_objective(spec)
    parameters = [*_check_parameters(spec.parameters or [])]
    settings = [*_check_algorithm_settings(spec)]
    yield from (*parameters, *settings)
    if not parameters and not settings:
        yield from algorithms.check_algorithm(spec, search_space(experiment))
    yield from _check_early_stopping(spec)
    yield from _one_of("spec.resumePolicy", spec.resume_policy, ("Never", "LongRunning", "FromVolume"))
    yield from _check_collector(spec)


def _one_of(key: str, value: str | None, choices: Iterable[str]) -> Iterator[str]:
    choices = list(choices)
    if not value:
        yield f"{key}: is missing; valid: {', '.join(choices)}"
    elif value not in choices:
        yield f"{key}: {value!r} is not valid; {suggestion(value, choices)}"


def room_for_name(experiment: V1beta1Experiment) -> int:
    """How many characters an Experiment's name may have.

    Katib appends 8 random characters for a trial, and the algorithm's name for its service. JobSet refuses a TrainJob
    whose pods' names, "TRIAL-node-0-INDEX-" and 5 random characters, are too long (jobset_webhook.go).
    """
    spec = experiment.spec
    algorithm = spec.algorithm.algorithm_name if spec and spec.algorithm else None
    trial = spec.trial_template.trial_spec if spec and spec.trial_template else None
    pods = len("-node-0-99-12345") if trial and trial.get("kind") == TRAIN_JOB[1] else 0
    return _NAME_LIMIT - 1 - max(8 + pods, len(algorithm or ""))


def _check_name(experiment: V1beta1Experiment) -> Iterator[str]:
    name = (experiment.metadata.name if experiment.metadata else None) or ""
    if not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name):
        yield (
            f"metadata.name: {name!r} must consist of lower-case letters, digits and '-', begin with a letter and end"
            " with a letter or digit"
        )
    room = room_for_name(experiment)
    if len(name) > room:
        yield f"metadata.name: {name} has {len(name)} characters, at most {room} leave room for what Katib appends"


def _check_counts(spec: V1beta1ExperimentSpec) -> Iterator[str]:
    parallel, most, failed = spec.parallel_trial_count, spec.max_trial_count, spec.max_failed_trial_count
    if failed is not None and failed < 0:
        yield f"spec.maxFailedTrialCount: {failed} must not be below 0"
    if most is not None and most <= 0:
        yield f"spec.maxTrialCount: {most} must be above 0"
    if parallel is not None and parallel <= 0:
        yield f"spec.parallelTrialCount: {parallel} must be above 0"
    for key, value in (("maxFailedTrialCount", failed), ("parallelTrialCount", parallel)):
        if value is not None and most is not None and value > most:
            yield f"spec.{key}: {value} is more than spec.maxTrialCount {most}"


def _check_objective(spec: V1beta1ExperimentSpec) -> Iterator[str]:
    objective = spec.objective
    if objective is None:
        yield "spec.objective: is missing"
        return
    yield from _one_of("spec.objective.type", objective.type, ("minimize", "maximize"))
    name, others = objective.objective_metric_name, objective.additional_metric_names or []
    if not name:
        yield "spec.objective.objectiveMetricName: is missing"
    if name in others:
        yield f"spec.objective.additionalMetricNames: must not contain the objectiveMetricName {name}"
    metrics = [metric for metric in (name, *others) if metric]
    for index, strategy in enumerate(objective.metric_strategies or []):
        key = f"spec.objective.metricStrategies[{index}]"
        if strategy.name and strategy.name not in metrics:
            yield f"{key}.name: {strategy.name} is no metric of the objective; {suggestion(strategy.name, metrics)}"
        yield from _one_of(f"{key}.value", strategy.value, ("min", "max", "latest"))


def _check_parameters(parameters: list[V1beta1ParameterSpec]) -> Iterator[str]:
    if not parameters:
        yield "spec.parameters: is missing"
    names = set()
    for index, parameter in enumerate(parameters):
        key, space = f"spec.parameters[{index}]", parameter.feasible_space
        if not parameter.name:
            yield f"{key}.name: is missing"
        elif parameter.name in names:
            yield f"{key}.name: {parameter.name} is declared twice"
        names.add(parameter.name)
        if parameter.parameter_type not in KINDS:
            yield from _one_of(f"{key}.parameterType", parameter.parameter_type, KINDS)
        elif space is None or not (space.list or space.min or space.max or space.step):
            yield f"{key}.feasibleSpace: is missing"
        elif parameter.parameter_type in ("double", "int"):
            yield from _check_range(space, parameter.parameter_type, f"{key}.feasibleSpace")
        else:
            yield from _check_list(space, parameter.parameter_type, f"{key}.feasibleSpace")


def _check_range(space: V1beta1FeasibleSpace, kind: str, key: str) -> Iterator[str]:
    if space.list:
        yield f"{key}.list: a parameter of type {kind} has min and max, no list; use type discrete"
    for name, value in (("min", space.min), ("max", space.max)):
        if not value:
            yield f"{key}.{name}: is missing; a parameter of type {kind} has min and max"
    texts = {"min": space.min, "max": space.max, "step": space.step}
    numbers = {name: _read_number(text, kind) for name, text in texts.items() if text}
    for name, number in numbers.items():
        if number is None:
            yield f"{key}.{name}: {texts[name]!r} is no {'whole number' if kind == 'int' else 'finite number'}"
    if None not in numbers.values():
        yield from _check_order(space, {name: number for name, number in numbers.items() if number is not None}, key)
    yield from _one_of(f"{key}.distribution", space.distribution, DISTRIBUTIONS)


def _read_number(text: str, kind: str) -> float | None:
    try:
        number = int(text) if kind == "int" else float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _check_order(space: V1beta1FeasibleSpace, numbers: Mapping[str, float], key: str) -> Iterator[str]:
    if "min" in numbers and "max" in numbers and numbers["min"] > numbers["max"]:
        yield f"{key}.min: {space.min} is more than max {space.max}"
    if numbers.get("step", 1) <= 0:
        yield f"{key}.step: {space.step} must be above 0"
    if (space.distribution or "").startswith("log") and numbers.get("min", 1) <= 0:
        yield f"{key}.min: {space.min} must be above 0 for distribution {space.distribution}"


def _check_list(space: V1beta1FeasibleSpace, kind: str, key: str) -> Iterator[str]:
    for name, value in (("min", space.min), ("max", space.max), ("step", space.step)):
        if value:
            yield f"{key}.{name}: a parameter of type {kind} has only a list"
    values = space.list or []
    if not values:
        yield f"{key}.list: is missing; a parameter of type {kind} has one"
    for value in sorted({value for value in values if values.count(value) > 1}):
        yield f"{key}.list: {value!r} is listed twice"
    if space.distribution != "uniform":
        yield f"{key}.distribution: a parameter of type {kind} has none"


def _check_algorithm_settings(spec: V1beta1ExperimentSpec) -> Iterator[str]:
    algorithm = spec.algorithm
    name = (algorithm.algorithm_name if algorithm else None) or ""
    yield from _one_of("spec.algorithm.algorithmName", name, algorithms.SETTINGS)
    if algorithm and name in algorithms.SETTINGS:
        key = "spec.algorithm.algorithmSettings"
        yield from algorithms.check_settings(name, algorithm.algorithm_settings or [], algorithms.SETTINGS[name], key)


def _check_early_stopping(spec: V1beta1ExperimentSpec) -> Iterator[str]:
    stopping = spec.early_stopping
    if stopping is None:
        return
    name = stopping.algorithm_name or ""
    if name not in algorithms.EARLY_STOPPING:
        yield from _one_of("spec.earlyStopping.algorithmName", name, algorithms.EARLY_STOPPING)
        return
    key, known = "spec.earlyStopping.algorithmSettings", algorithms.EARLY_STOPPING[name]
    yield from algorithms.check_settings(name, stopping.algorithm_settings or [], known, key)
    collector = spec.metrics_collector_spec.collector if spec.metrics_collector_spec else None
    if collector and collector.kind not in ("StdOut", "File"):
        yield f"spec.earlyStopping: needs the metrics collector StdOut or File; {collector.kind} cannot stop a trial"


def _check_collector(spec: V1beta1ExperimentSpec) -> Iterator[str]:
    assert spec.metrics_collector_spec is not None
    assert spec.metrics_collector_spec.collector is not None
    collector, source = spec.metrics_collector_spec.collector, spec.metrics_collector_spec.source
    key = "spec.metricsCollectorSpec"
    kind = collector.kind or ""
    place = source.file_system_path if source else None
    formats = (source.filter.metrics_format or []) if source and source.filter else []
    yield from _one_of(f"{key}.collector.kind", kind, COLLECTORS)
    if kind in ("File", "TensorFlowEvent") or (kind == "Custom" and place):
        yield from _check_place(place, kind, f"{key}.source.fileSystemPath")
    if kind == "File" and source and source.filter and place and place.format == "JSON":
        yield f"{key}.source.filter: must be absent when the metrics file is JSON"
    if kind == "Custom" and collector.custom_collector is None:
        yield f"{key}.collector.customCollector: is missing for kind Custom"
    if kind == "PrometheusMetric" and source and source.http_get:
        port, path = source.http_get.port.actual_instance, source.http_get.path or "/metrics"
        if not str(port).isdigit() or int(str(port)) <= 0:
            yield f"{key}.source.httpGet.port: {port!r} must be a whole number above 0"
        if not path.startswith("/"):
            yield f"{key}.source.httpGet.path: {path} must begin with /"
    for index, text in enumerate(formats):
        yield from _check_format(text, f"{key}.source.filter.metricsFormat[{index}]")
    yield from _check_metric_names(spec, kind, plain=not formats and not (place and place.format == "JSON"))


def _check_place(place: V1beta1FileSystemPath | None, kind: str, key: str) -> Iterator[str]:
    assert place is not None
    kinds = {"File": ("File",), "TensorFlowEvent": ("Directory",)}.get(kind, ("File", "Directory"))
    if place.kind not in kinds:
        yield f"{key}.kind: {place.kind!r} does not suit collector {kind}; valid: {', '.join(kinds)}"
    if not (place.path or "").startswith("/"):
        yield f"{key}.path: {place.path!r} must be absolute"
    if kind == "File":
        yield from _one_of(f"{key}.format", place.format, ("TEXT", "JSON"))
    if kind == "TensorFlowEvent" and place.format:
        yield f"{key}.format: must be absent for collector {kind}"


def _check_format(text: str, key: str) -> Iterator[str]:
    try:
        re.compile(text)
    except re.error as error:
        yield f"{key}: {text!r} is no regular expression: {error}"
        return
    if _NOT_RE2.search(text):
        yield f"{key}: {text!r} uses what Go's regular expressions lack (look-around, back-references)"
    if not _TWO_GROUPS.match(text):
        yield f"{key}: {text!r} needs two groups: the metric's name and its value"
    if ";" in text:
        yield f"{key}: {text!r} contains ';', at which Katib's collector splits its list of formats"


def _check_metric_names(spec: V1beta1ExperimentSpec, kind: str, *, plain: bool) -> Iterator[str]:
    if spec.objective is None:
        return
    names = [
        name for name in (spec.objective.objective_metric_name, *(spec.objective.additional_metric_names or [])) if name
    ]
    if kind in ("StdOut", "File") and plain:
        for name in names:
            if not _METRIC_NAME.fullmatch(name):
                yield (
                    f"spec.objective: metric {name!r} can never be found with Katib's filter {DEFAULT_FILTER}: use"
                    " letters, digits, '_', '|' and '-', or set spec.metricsCollectorSpec.source.filter.metricsFormat"
                )
    if kind == "TensorFlowEvent":
        for shorter, longer in _prefixes(names):
            yield f"spec.objective: metric {shorter} begins {longer}, and collector {kind} takes one for the other"


def _prefixes(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    ordered = sorted(names)
    return ((a, b) for index, a in enumerate(ordered) for b in ordered[index + 1 :] if b.startswith(a))


def wraps_command(spec: V1beta1ExperimentSpec) -> bool:
    """Whether Katib gives the trial's command to a shell to collect its metrics."""
    collector = spec.metrics_collector_spec.collector if spec.metrics_collector_spec else None
    return collector is not None and collector.kind in WRAPPING_COLLECTORS
