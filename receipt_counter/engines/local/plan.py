"""What a document asks of the local engine, all of it checked before anything runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubeflow_katib_api.models import V1beta1ExperimentSpec

from receipt_counter.engines.base import Objective, name_of, objective_of, spec_of
from receipt_counter.engines.local.algorithms import Algorithm, read_algorithm, read_early_stopping
from receipt_counter.engines.local.axes import Axis
from receipt_counter.engines.local.collectors import FILE, STDOUT, CollectorSpec, collector_spec
from receipt_counter.engines.local.median_stop import MedianStop
from receipt_counter.engines.local.trial_process import move_paths
from receipt_counter.errors import UserError, suggestion
from receipt_counter.katib.defaults import with_defaults
from receipt_counter.katib.experiment import StudyDocument, check
from receipt_counter.katib.space import Parameter, search_space
from receipt_counter.katib.template import Container, primary_container, render_trial, section

COLLECTORS = (STDOUT, FILE)


@dataclass(frozen=True)
class Plan:
    """A document as the local engine understands it.

    Args:
        name: the experiment's.
        parameters: the search space.
        algorithm: what suggests.
        objective: what is looked for.
        collector: how metrics are read.
        median_stop: the early stopping rule, if any.
        parallel_trials: Katib's parallelTrialCount: how far a suggestion may run ahead of the results it knows.
        max_trials: how many there are at most, if that is said.
        max_failed: how many failed ones end the sweep, if that is said.
        gpus: how many a trial asks for.
        container: of a first trial.
    """

    name: str
    parameters: tuple[Parameter, ...]
    algorithm: Algorithm
    objective: Objective
    collector: CollectorSpec
    median_stop: MedianStop | None
    parallel_trials: int
    max_trials: int | None
    max_failed: int | None
    gpus: int
    container: Container

    @property
    def has_window(self) -> bool:
        """Whether trial k waits for all trials up to k - parallel_trials.

        Without it what happens to a trial would depend on which others happened to be ready.
        """
        return self.algorithm.learns or self.median_stop is not None or self.objective.goal is not None

    def trial_name(self, index: int) -> str:
        """Name of a trial."""
        return f"{self.name}-{index:04d}"


def make_plan(document: StudyDocument, gpus: int) -> Plan:
    """Check a document.

    Args:
        document: as read.
        gpus: how many this machine has.

    Raises:
        UserError: everything that is wrong or not supported, a line each.
    """
    broken = check(document)
    if broken:
        raise UserError("\n".join(broken))
    experiment = with_defaults(document.experiment)  # what follows reads what Katib would accept
    spec, parameters = spec_of(experiment), search_space(experiment)
    assert spec.algorithm is not None
    assert spec.metrics_collector_spec is not None
    problems: list[str] = []
    algorithm = read_algorithm(spec.algorithm, parameters, problems)
    if spec.max_trial_count is None and (algorithm is None or algorithm.name not in ("grid", "hyperband")):
        problems.append("spec.maxTrialCount: missing; without it the sweep would never end")
    kind = spec.metrics_collector_spec.collector.kind
    if kind not in COLLECTORS:
        problems.append(
            f"spec.metricsCollectorSpec.collector.kind: {kind}: the local engine has no such collector;"
            f" {suggestion(kind, COLLECTORS)}"
        )
    collector = collector_spec(spec.metrics_collector_spec)
    container = _first_container(document, parameters, problems)
    if container is not None:
        problems += _container_problems(container, collector, gpus)
    if problems or algorithm is None or container is None:
        raise UserError("\n".join(problems))
    return Plan(
        name_of(experiment),
        parameters,
        algorithm,
        objective_of(experiment),
        collector,
        read_early_stopping(spec.early_stopping),
        spec.parallel_trial_count,
        spec.max_trial_count,
        spec.max_failed_trial_count,
        container.gpus,
        container,
    )


def _first_container(
    document: StudyDocument, parameters: tuple[Parameter, ...], problems: list[str]
) -> Container | None:
    axes = [Axis(parameter) for parameter in parameters]
    assignments = {axis.parameter.name: axis.text(axis.first) for axis in axes}
    try:
        return primary_container(document, render_trial(document, "trial", assignments))
    except UserError as error:
        problems.append(error.message)
        return None


def _container_problems(container: Container, collector: CollectorSpec, gpus: int) -> list[str]:
    problems = []
    place = f"spec.trialTemplate: container {container.name}"
    if container.working_dir and not Path(container.working_dir).is_dir():
        problems.append(f"{place}: workingDir {container.working_dir}: there is no such directory on this machine")
    if 0 < gpus < container.gpus:
        problems.append(f"{place}: asks for {container.gpus} GPUs; this machine has {gpus}")
    if collector.file is not None:
        moved = {os.path.dirname(collector.file): "?"}
        texts = (*container.command, *container.args, *container.env.values())
        if all(move_paths(text, moved) == text for text in texts):
            problems.append(
                f"spec.metricsCollectorSpec.source.fileSystemPath.path: {collector.file}: is named neither in the"
                " command nor in the environment of the trial, so parallel trials would share the file; pass it there"
            )
    return problems


@dataclass(frozen=True)
class JobPolicy:
    """How a Job's failures are treated.

    Args:
        retries: backoffLimit, of a TrainJob its runtime's maxRestarts; none where it is not written (Kubernetes would
            retry a Job six times).
        deadline: activeDeadlineSeconds over all attempts, if written.
    """

    retries: int
    deadline: float | None


def job_policy(document: StudyDocument, manifest: Mapping[str, Any]) -> JobPolicy:
    """The policy a rendered Job, or TrainJob, asks for."""
    spec = section(manifest, "spec")
    runtime = document.runtimes.get(section(spec, "runtimeRef").get("name", ""), {})
    retries = section(runtime, "template", "spec", "failurePolicy").get("maxRestarts") or spec.get("backoffLimit") or 0
    deadline = spec.get("activeDeadlineSeconds")
    return JobPolicy(int(retries), None if deadline is None else float(deadline))


def restart_refused(spec: V1beta1ExperimentSpec, outcome: Mapping[str, Any]) -> bool:
    """Whether Katib would not continue this experiment, which ended by its maxTrialCount, for a larger one."""
    return (
        spec.resume_policy in (None, "Never")
        and outcome.get("outcome") == "max-trials"
        and (spec.max_trial_count or 0) > outcome.get("max_trials", 0)
    )
