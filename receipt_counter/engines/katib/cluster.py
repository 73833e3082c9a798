"""What the engine does on a cluster: Experiments, their Trials and their ConfigMaps, in one namespace."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from kubeflow_katib_api.models import V1beta1Experiment, V1beta1Trial
from pydantic import ValidationError

from receipt_counter.cluster.connection import TIMEOUT, ApiError, Connection, Request
from receipt_counter.cluster.objects import MANAGED_BY, RUNTIMES, Objects
from receipt_counter.engines.base import name_of
from receipt_counter.errors import UserError
from receipt_counter.katib.experiment import plain
from receipt_counter.katib.template import TRAIN_JOB

GROUP, VERSION = "kubeflow.org", "v1beta1"
EXPERIMENT_LABEL = "katib.kubeflow.org/experiment"  # of its Trials; Katib's consts.LabelExperimentName
_Answer = TypeVar("_Answer")


class Cluster:
    """A namespace of a cluster.

    Args:
        connection: to its API server.
        namespace: where everything is.
    """

    def __init__(self, connection: Connection, namespace: str) -> None:
        self._connection = connection
        self.namespace = namespace

    def experiment(self, name: str) -> V1beta1Experiment | None:
        """An Experiment, or None if there is none of that name."""
        call = self._connection.custom_objects.get_namespaced_custom_object
        arguments = (GROUP, VERSION, self.namespace, "experiments", name)
        return _found(lambda: _typed(V1beta1Experiment, self._send("get", "experiments", name, call, *arguments)))

    def create_experiment(self, experiment: V1beta1Experiment) -> V1beta1Experiment:
        """Create an Experiment; one that is there already is left as it is.

        Returns:
            The Experiment as the cluster has it.
        """
        name = name_of(experiment)
        call = self._connection.custom_objects.create_namespaced_custom_object
        arguments = (GROUP, VERSION, self.namespace, "experiments", plain(experiment))
        try:
            return _typed(V1beta1Experiment, self._send("create", "experiments", name, call, *arguments))
        except ApiError as error:
            there = self.experiment(name) if error.code == 409 else None
            if there is None:
                raise
            return there

    def delete_experiment(self, name: str) -> None:
        """Delete an Experiment; Kubernetes deletes what it owns: Trials, their Jobs, its ConfigMaps."""
        call = self._connection.custom_objects.delete_namespaced_custom_object
        _found(
            lambda: self._send("delete", "experiments", name, call, GROUP, VERSION, self.namespace, "experiments", name)
        )

    def trials(self, experiment: str) -> list[V1beta1Trial]:
        """The Trials of an Experiment, in no order."""
        call = self._connection.custom_objects.list_namespaced_custom_object
        selector = f"{EXPERIMENT_LABEL}={experiment}"
        answer = self._send(
            "list", "trials", "", call, GROUP, VERSION, self.namespace, "trials", label_selector=selector
        )
        return [_typed(V1beta1Trial, item) for item in answer["items"]]

    def require_config_map(self, name: str, data: Mapping[str, str]) -> bool:
        """Create a ConfigMap unless it is there.

        Returns:
            Whether it is one that this engine made.

        Raises:
            UserError: it is there with other data.
        """
        there = self._config_map(name)
        if there is None:
            body = {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": name, "labels": MANAGED_BY},
                "data": dict(data),
            }
            try:
                call = self._connection.core.create_namespaced_config_map
                there = self._send("create", "configmaps", name, call, self.namespace, body)
            except ApiError as error:
                there = self._config_map(name) if error.code == 409 else None
                if there is None:
                    raise
        found = there.data or {}
        if found != dict(data):
            keys = ", ".join(sorted(key for key in {*found, *data} if found.get(key) != data.get(key)))
            raise UserError(
                f"ConfigMap {name} in namespace {self.namespace} differs from the study's in {keys}: somebody changed"
                f" it. If nothing uses it: kubectl delete configmap {name} -n {self.namespace}"
            )
        return MANAGED_BY.items() <= (there.metadata.labels or {}).items()

    def own_config_map(self, name: str, owner: V1beta1Experiment) -> None:
        """Have Kubernetes delete a ConfigMap with the Experiment that uses it."""
        assert owner.metadata is not None
        reference = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": "Experiment",
            "name": owner.metadata.name,
            "uid": owner.metadata.uid,
        }
        # a strategic merge: other owners stay, and the same one is not listed twice
        patch = {"metadata": {"ownerReferences": [reference]}}
        call = self._connection.core.patch_namespaced_config_map
        self._send("patch", "configmaps", name, call, name, self.namespace, patch)

    def require_runtime(self, name: str, spec: Mapping[str, Any]) -> None:
        """Create a TrainingRuntime unless it is there; its name is that of one study alone."""
        metadata = {"name": name, "labels": MANAGED_BY}
        body = {"apiVersion": TRAIN_JOB[0], "kind": "TrainingRuntime", "metadata": metadata, "spec": dict(spec)}
        Objects(self._connection, self.namespace).require(RUNTIMES, body)

    def own_runtime(self, name: str, owner: V1beta1Experiment) -> None:
        """Have Kubernetes delete a TrainingRuntime with the Experiment that uses it."""
        Objects(self._connection, self.namespace).own(RUNTIMES, name, plain(owner))

    def _config_map(self, name: str) -> Any:
        call = self._connection.core.read_namespaced_config_map
        return _found(lambda: self._send("get", "configmaps", name, call, name, self.namespace))

    def _send(
        self, verb: str, plural: str, name: str, call: Callable[..., Any], *arguments: Any, **options: Any
    ) -> Any:
        resource = plural if plural == "configmaps" else f"{plural}.{GROUP}"
        request = Request(verb, resource, self.namespace, name)
        return self._connection.send(request, lambda: call(*arguments, _request_timeout=TIMEOUT, **options))


def _found(ask: Callable[[], _Answer]) -> _Answer | None:
    try:
        return ask()
    except ApiError as error:
        if error.object_missing:
            return None
        raise


def _typed(model: Any, answer: dict[str, Any]) -> Any:
    try:
        return model.from_dict(answer)
    except ValidationError as error:
        kind, version = answer.get("kind") or model.__name__, answer.get("apiVersion")
        raise UserError(f"the cluster's {kind} is not as {GROUP}/{VERSION} has it ({version}): {error}") from None
