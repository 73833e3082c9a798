"""What a trial can be, as far as Katib's package does not model it.

Fields: Kubernetes API reference, batch/v1; kubeflow/trainer, pkg/apis/trainer/v1alpha1/trainjob_types.go. A runtime is
typed by Trainer's own package.
"""

from __future__ import annotations

from typing import Any

from kubeflow_katib_api import models
from kubeflow_trainer_api.models import TrainerV1alpha1TrainingRuntimeSpec
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr


class JobSpec(BaseModel):
    """Fields of a Job's spec; its pod template is typed to the bottom."""

    active_deadline_seconds: StrictInt | None = Field(None, alias="activeDeadlineSeconds")
    backoff_limit: StrictInt | None = Field(None, alias="backoffLimit")
    backoff_limit_per_index: StrictInt | None = Field(None, alias="backoffLimitPerIndex")
    completion_mode: StrictStr | None = Field(None, alias="completionMode")
    completions: StrictInt | None = None
    managed_by: StrictStr | None = Field(None, alias="managedBy")
    manual_selector: StrictBool | None = Field(None, alias="manualSelector")
    max_failed_indexes: StrictInt | None = Field(None, alias="maxFailedIndexes")
    parallelism: StrictInt | None = None
    pod_failure_policy: dict[str, Any] | None = Field(None, alias="podFailurePolicy")
    pod_replacement_policy: StrictStr | None = Field(None, alias="podReplacementPolicy")
    selector: models.IoK8sApimachineryPkgApisMetaV1LabelSelector | None = None
    success_policy: dict[str, Any] | None = Field(None, alias="successPolicy")
    suspend: StrictBool | None = None
    template: models.IoK8sApiCoreV1PodTemplateSpec
    ttl_seconds_after_finished: StrictInt | None = Field(None, alias="ttlSecondsAfterFinished")


class Job(BaseModel):
    """A Job as a trial's template writes it."""

    api_version: StrictStr = Field(alias="apiVersion")
    kind: StrictStr
    metadata: models.IoK8sApimachineryPkgApisMetaV1ObjectMeta | None = None
    spec: JobSpec
    status: dict[str, Any] | None = None


class Trainer(BaseModel):
    """What a TrainJob says of its training container."""

    model_config = ConfigDict(extra="allow")  # an alpha API: it may have fields that are newer than this

    args: list[StrictStr] | None = None
    command: list[StrictStr] | None = None
    env: list[models.IoK8sApiCoreV1EnvVar] | None = None
    image: StrictStr | None = None
    num_nodes: StrictInt | None = Field(None, alias="numNodes")
    num_proc_per_node: models.IoK8sApimachineryPkgUtilIntstrIntOrString | None = Field(None, alias="numProcPerNode")
    resources_per_node: models.IoK8sApiCoreV1ResourceRequirements | None = Field(None, alias="resourcesPerNode")


class TrainJobSpec(BaseModel):
    """Fields of a TrainJob's spec that every version has."""

    model_config = ConfigDict(extra="allow")

    initializer: dict[str, Any] | None = None
    runtime_ref: dict[str, Any] = Field(alias="runtimeRef")
    suspend: StrictBool | None = None
    trainer: Trainer | None = None


class TrainJob(BaseModel):
    """A TrainJob as a trial's template writes it."""

    api_version: StrictStr = Field(alias="apiVersion")
    kind: StrictStr
    metadata: models.IoK8sApimachineryPkgApisMetaV1ObjectMeta | None = None
    spec: TrainJobSpec
    status: dict[str, Any] | None = None


class Runtime(BaseModel):
    """A TrainingRuntime of a study's file."""

    api_version: StrictStr = Field(alias="apiVersion")
    kind: StrictStr
    metadata: models.IoK8sApimachineryPkgApisMetaV1ObjectMeta
    spec: TrainerV1alpha1TrainingRuntimeSpec


class OtherObject(BaseModel):
    """Any other Kubernetes object."""

    model_config = ConfigDict(extra="allow")

    api_version: StrictStr | None = Field(None, alias="apiVersion")
    kind: StrictStr | None = None
    metadata: models.IoK8sApimachineryPkgApisMetaV1ObjectMeta | None = None


def trial_model(kind: str | None) -> type[BaseModel]:
    """The model that a trial's manifest of some kind must fit."""
    known: dict[str, type[BaseModel]] = {"Job": Job, "TrainJob": TrainJob}
    return known.get(str(kind), OtherObject)
