"""What the engine does on a cluster: Experiments, their Trials, ConfigMaps and pods, in one namespace."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from kubeflow_katib_api.models import V1beta1Experiment, V1beta1Trial
from pydantic import ValidationError

from receipt_counter.cluster.connection import TIMEOUT, ApiError, Connection, Request, require_json
from receipt_counter.cluster.objects import MANAGED_BY, RUNTIMES, Objects
from receipt_counter.engines.base import name_of
from receipt_counter.errors import UserError
from receipt_counter.katib.experiment import plain
from receipt_counter.katib.template import TRAIN_JOB

GROUP, VERSION = "kubeflow.org", "v1beta1"
# Of an Experiment's Trials and pods, and of a Trial's pods; Katib's consts.LabelExperimentName and LabelTrialName.
EXPERIMENT_LABEL, TRIAL_LABEL = "katib.kubeflow.org/experiment", "katib.kubeflow.org/trial"
_CORE = frozenset({"configmaps", "pods", "pods/log", "events"})
_FEW = 2  # tries of what a study can do without: the next look asks again
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

    def patch_experiment(self, name: str, spec: Mapping[str, Any]) -> V1beta1Experiment:
        """Change an Experiment.

        Args:
            name: of the Experiment.
            spec: {key: value} of what changes; None takes it out.

        Returns:
            The Experiment as the cluster has it then.
        """
        call = self._connection.custom_objects.patch_namespaced_custom_object
        arguments = (GROUP, VERSION, self.namespace, "experiments", name, {"spec": dict(spec)})
        return _typed(V1beta1Experiment, self._send("patch", "experiments", name, call, *arguments))

    def trials(self, experiment: str) -> list[V1beta1Trial]:
        """The Trials of an Experiment, in no order."""
        call = self._connection.custom_objects.list_namespaced_custom_object
        selector = f"{EXPERIMENT_LABEL}={experiment}"
        answer = self._send(
            "list", "trials", "", call, GROUP, VERSION, self.namespace, "trials", label_selector=selector
        )
        return [_typed(V1beta1Trial, item) for item in answer["items"]]

    def pods(self, selector: str) -> list[Any]:
        """The pods (V1Pod) that have some labels, in no order; not asked for long if the server fails."""
        call = self._connection.core.list_namespaced_pod
        answer = self._send("list", "pods", "", call, self.namespace, label_selector=selector, tries=_FEW)
        return list(answer.items)

    def is_disrupted(self, pod: str) -> bool:
        """Whether a pod is taken away by its node, an eviction or a more important pod; not asked for long."""
        call = self._connection.core.read_namespaced_pod
        found = _found(lambda: self._send("get", "pods", pod, call, pod, self.namespace, tries=_FEW))
        return found is not None and was_disrupted(found)

    def log(self, pod: str, container: str, lines: int, size: int) -> str | None:
        """The last lines a container printed; not asked for long if the server fails.

        Args:
            pod: name of the pod.
            container: name of the container.
            lines: how many at most.
            size: bytes that the answer may have; more of the same lines are cut off.

        Returns:
            The text; None if the pod is gone, or the container has not started.
        """
        call = self._connection.core.read_namespaced_pod_log
        options = {"container": container, "tail_lines": lines, "limit_bytes": size, "_preload_content": False}

        def read(*arguments: Any, **more: Any) -> bytes:
            data: bytes = call(*arguments, **more).data  # as it is: the client would read a line of JSON as JSON
            return data

        try:
            data = self._send("get", "pods/log", pod, read, pod, self.namespace, **options, tries=_FEW)
        except ApiError as error:
            if error.code in (400, 404):
                return None
            raise
        return str(data, "utf-8", errors="replace")

    def refused_pods(self) -> list[Any]:
        """The events (CoreV1Event) of pods that could not be made; not asked for long if the server fails."""
        call = self._connection.core.list_namespaced_event
        selector = "reason=FailedCreate,type=Warning"
        answer = self._send("list", "events", "", call, self.namespace, field_selector=selector, tries=_FEW)
        return list(answer.items)

    def require_config_map(self, name: str, data: Mapping[str, str], labels: Mapping[str, str]) -> bool:
        """Create a ConfigMap unless it is there.

        Args:
            name: of the ConfigMap.
            data: of it.
            labels: beside the one that says who made it.

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
                "metadata": {"name": name, "labels": {**labels, **MANAGED_BY}},
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

    def require_runtime(self, name: str, spec: Mapping[str, Any], labels: Mapping[str, str]) -> None:
        """Create a TrainingRuntime, labelled so, unless it is there; its name is that of one study alone."""
        metadata = {"name": name, "labels": {**labels, **MANAGED_BY}}
        body = {"apiVersion": TRAIN_JOB[0], "kind": "TrainingRuntime", "metadata": metadata, "spec": dict(spec)}
        Objects(self._connection, self.namespace).require(RUNTIMES, body)

    def own_runtime(self, name: str, owner: V1beta1Experiment) -> None:
        """Have Kubernetes delete a TrainingRuntime with the Experiment that uses it."""
        Objects(self._connection, self.namespace).own(RUNTIMES, name, plain(owner))

    def _config_map(self, name: str) -> Any:
        call = self._connection.core.read_namespaced_config_map
        return _found(lambda: self._send("get", "configmaps", name, call, name, self.namespace))

    def _send(
        self,
        verb: str,
        plural: str,
        name: str,
        call: Callable[..., Any],
        *arguments: Any,
        tries: int | None = None,
        **options: Any,
    ) -> Any:
        resource = plural if plural in _CORE else f"{plural}.{GROUP}"
        request = Request(verb, resource, self.namespace, name)
        return self._connection.send(
            request, lambda: require_json(call(*arguments, _request_timeout=TIMEOUT, **options)), tries
        )


def was_disrupted(pod: Any) -> bool:
    """Whether a pod (V1Pod) was, or is being, taken away for no reason of its own."""
    return any(found.type == "DisruptionTarget" and found.status == "True" for found in pod.status.conditions or ())


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
