"""The Katib Experiment as the study's spec: one file that `kubectl apply -f` and the local engine take alike."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from receipt_counter.katib import kubernetes_yaml
from receipt_counter.katib.defaults import with_defaults
from receipt_counter.katib.template import TRAIN_JOB
from receipt_counter.storage.files import write_atomic

if TYPE_CHECKING:
    from kubeflow_katib_api.models import V1beta1Experiment

_TEMPLATE_LABEL = {"katib.kubeflow.org/component": "trial-templates"}  # by which Katib's interface finds templates


@dataclass(frozen=True)
class StudyDocument:
    """What a study's file holds.

    Args:
        experiment: as written, without Katib's defaults.
        config_maps: {metadata.name: data} of the ConfigMaps in the same file.
        runtimes: {metadata.name: spec} of the TrainingRuntimes there, which trials that are TrainJobs run in.
    """

    experiment: V1beta1Experiment
    config_maps: Mapping[str, Mapping[str, str]]
    runtimes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """16 hex digits that change with anything the study means: name, namespace, spec with defaults, and
        the other objects."""
        whole = plain(with_defaults(self.experiment))
        metadata = whole.get("metadata") or {}
        meaning = {
            "name": metadata.get("name"),
            "namespace": metadata.get("namespace"),
            "spec": whole.get("spec"),
            "configMaps": {name: dict(data) for name, data in self.config_maps.items()},
            **({"trainingRuntimes": dict(self.runtimes)} if self.runtimes else {}),
        }
        canonical = json.dumps(meaning, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def read_document(path: Path) -> StudyDocument:
    """Read a study's file.

    Args:
        path: YAML with one kubeflow.org/v1beta1 Experiment and any number of v1 ConfigMaps and
            trainer.kubeflow.org/v1alpha1 TrainingRuntimes, as several documents or as a v1 List.

    Returns:
        The document; `check` judges what it says.

    Raises:
        UserError: everything that is wrong with its form, with lines: bad YAML, no or several Experiments, unknown
            fields, values of a wrong type, architecture search, other kinds of objects.
    """
    from kubeflow_katib_api.models import V1beta1Experiment

    from receipt_counter.katib.reading import read_objects

    plain, config_maps, runtimes = read_objects(path)
    experiment = V1beta1Experiment.from_dict(plain)
    assert experiment is not None
    return StudyDocument(experiment, config_maps, runtimes)


def write_document(document: StudyDocument, path: Path) -> None:
    """Write a study's file, atomically; see `document_text`.

    Args:
        document: the study.
        path: where the file goes.

    Raises:
        UserError: the place cannot be written to.
    """
    write_atomic(path, document_text(document))


def document_text(document: StudyDocument) -> str:
    """A study as YAML that `kubectl apply -f` takes: ConfigMaps and TrainingRuntimes by name, then the Experiment.

    Args:
        document: the study. Labels that they may have had in another file are not part of it.
    """
    experiment = plain(document.experiment)
    namespace = (experiment.get("metadata") or {}).get("namespace")
    template = ((experiment.get("spec") or {}).get("trialTemplate") or {}).get("configMap") or {}
    objects = []
    for name, data in sorted(document.config_maps.items()):
        metadata: dict[str, Any] = {"name": name}
        is_template = name == template.get("configMapName")
        place = template.get("configMapNamespace") if is_template else namespace
        if place:
            metadata["namespace"] = place
        if is_template:
            metadata["labels"] = _TEMPLATE_LABEL
        objects.append(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": dict(sorted(data.items()))}
        )
    for name, spec in sorted(document.runtimes.items()):
        metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
        objects.append(
            {"apiVersion": TRAIN_JOB[0], "kind": "TrainingRuntime", "metadata": metadata, "spec": dict(spec)}
        )
    return kubernetes_yaml.dump(*objects, experiment)


def check(document: StudyDocument) -> list[str]:
    """Every rule of Katib that a study breaks, as "spec.parallelTrialCount: 5 is more than spec.maxTrialCount 3".

    Beyond Katib's webhook this covers what its algorithm services refuse later, what it would accept and ignore, and
    commands that break when its metrics collector wraps them.

    Args:
        document: as `read_document` gives it, or made from the typed models.

    Returns:
        The problems; none means that Katib runs it.
    """
    from receipt_counter.katib.rules import check_spec
    from receipt_counter.katib.trial_rules import check_template

    if document.experiment.spec is None:
        return ["spec: is missing"]
    filled = dataclasses.replace(document, experiment=with_defaults(document.experiment))
    return [*check_spec(filled.experiment), *check_template(filled)]


def plain(experiment: V1beta1Experiment) -> dict[str, Any]:
    """The Experiment as the JSON that the API server takes."""
    plain: dict[str, Any] = json.loads(json.dumps(experiment.to_dict(), default=_time))
    return plain


def _time(value: datetime.datetime) -> str:
    return value.isoformat()
