"""What Katib's webhook fills in before it validates (kubeflow/katib v1beta1, experiment_defaults.go)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kubeflow_katib_api.models import V1beta1Experiment, V1beta1ExperimentSpec, V1beta1MetricsCollectorSpec

PARALLEL_TRIALS = 3
FILE_PATH = "/var/log/katib/metrics.log"
EVENT_DIRECTORY = "/var/log/katib/tfevent/"
DEFAULT_FILTER = r"([\w|-]+)\s*=\s*([+-]?\d*(\.\d+)?([Ee][+-]?\d+)?)"  # metricscollector/v1beta1/common/const.go
TRAINING_OPERATOR_KINDS = ("TFJob", "PyTorchJob", "XGBoostJob", "MPIJob")

_CONDITION = 'status.conditions.#(type=="{}")#|#(status=="True")#'
_SUCCESS = {"Job": "Complete", "TrainJob": "Complete", **dict.fromkeys(TRAINING_OPERATOR_KINDS, "Succeeded")}
_LABELS = {
    "TrainJob": {"jobset.sigs.k8s.io/replicatedjob-name": "node"},
    **{kind: {"training.kubeflow.org/job-role": "master"} for kind in TRAINING_OPERATOR_KINDS},
}
_STRATEGY = {"minimize": "min", "maximize": "max"}


def with_defaults(experiment: V1beta1Experiment) -> V1beta1Experiment:
    """A copy of an Experiment in which the defaults are filled in as Katib does.

    Args:
        experiment: as somebody wrote it; not changed.

    Returns:
        The copy; its metricsCollectorSpec and parallelTrialCount are always set.
    """
    filled = experiment.model_copy(deep=True)
    spec = filled.spec
    if spec is None:
        return filled
    if spec.parallel_trial_count is None:
        spec.parallel_trial_count = PARALLEL_TRIALS
    spec.resume_policy = spec.resume_policy or "Never"
    _fill_strategies(spec)
    _fill_template(spec)
    _fill_collector(spec)
    for parameter in spec.parameters or []:
        if parameter.feasible_space is not None and not parameter.feasible_space.distribution:
            parameter.feasible_space.distribution = "uniform"
    return filled


def _fill_strategies(spec: V1beta1ExperimentSpec) -> None:
    from kubeflow_katib_api.models import V1beta1MetricStrategy

    objective = spec.objective
    if objective is None:
        return
    strategies = list(objective.metric_strategies or [])
    named = {strategy.name for strategy in strategies}
    value = _STRATEGY.get(objective.type or "", "latest")
    for name in (objective.objective_metric_name, *(objective.additional_metric_names or [])):
        if name not in named:
            strategies.append(V1beta1MetricStrategy(name=name, value=value))
    objective.metric_strategies = strategies


def _fill_template(spec: V1beta1ExperimentSpec) -> None:
    template = spec.trial_template
    # The kind is known only where the template is written in place: one from a ConfigMap gets no defaults.
    kind = (template.trial_spec or {}).get("kind") if template else None
    if template is None or kind not in _SUCCESS:
        return
    template.success_condition = template.success_condition or _CONDITION.format(_SUCCESS[kind])
    template.failure_condition = template.failure_condition or _CONDITION.format("Failed")
    template.primary_pod_labels = template.primary_pod_labels or _LABELS.get(kind)


def _fill_collector(spec: V1beta1ExperimentSpec) -> None:
    from kubeflow_katib_api.models import V1beta1CollectorSpec, V1beta1MetricsCollectorSpec

    collector_spec = spec.metrics_collector_spec or V1beta1MetricsCollectorSpec()
    spec.metrics_collector_spec = collector_spec
    if collector_spec.collector is None:
        collector_spec.collector = V1beta1CollectorSpec(kind="StdOut")
    match collector_spec.collector.kind:
        case "File":
            _fill_path(collector_spec, "File", FILE_PATH, "TEXT")
        case "TensorFlowEvent":
            _fill_path(collector_spec, "Directory", EVENT_DIRECTORY, None)


def _fill_path(collector_spec: V1beta1MetricsCollectorSpec, kind: str, path: str, form: str | None) -> None:
    from kubeflow_katib_api.models import V1beta1FileSystemPath, V1beta1SourceSpec

    source = collector_spec.source or V1beta1SourceSpec()
    place = source.file_system_path or V1beta1FileSystemPath()
    place.kind = place.kind or kind
    place.path = place.path or path
    place.format = place.format or form
    source.file_system_path = place
    collector_spec.source = source
