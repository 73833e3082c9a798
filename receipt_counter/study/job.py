"""The batch/v1 Job as far as Katib's package does not model it: JobSpec (Kubernetes API reference, batch/v1)."""

from __future__ import annotations

from typing import Any

from kubeflow_katib_api import models
from pydantic import BaseModel, Field, StrictBool, StrictInt, StrictStr


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
