"""A study as the cluster gets it: under a name made of its identity, begun once however often it is submitted."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kubeflow_katib_api.models import V1beta1Experiment, V1beta1TrialTemplate

from receipt_counter.cluster.objects import MANAGED_BY
from receipt_counter.engines.base import name_of, spec_of
from receipt_counter.engines.journal import study_id
from receipt_counter.engines.katib.cluster import Cluster
from receipt_counter.errors import UserError
from receipt_counter.katib.defaults import with_defaults
from receipt_counter.katib.experiment import StudyDocument, plain
from receipt_counter.katib.rules import room_for_name

# keys under which a pod names ConfigMaps, and a TrainJob its runtime
_REFERENCES = ("configMap", "configMapRef", "configMapKeyRef", "runtimeRef")
_LIMITS = {"maxTrialCount", "maxFailedTrialCount", "goal"}  # not part of a study's identity, and without defaults
_LONGEST_VALUE = 60


def submitted(document: StudyDocument) -> StudyDocument:
    """The document under names that no other study has, so that studies of one name live side by side.

    The Experiment is named by the study's identity, and its other objects end in the same 8 digits. Where the trials
    are written as text in a ConfigMap those keep their names, since Katib reads the references from that text.

    Args:
        document: as read; not changed.
    """
    identity = study_id(document)
    suffix = identity[-9:]
    base = name_of(document.experiment)[: room_for_name(document.experiment) - len(suffix)].rstrip("-")
    experiment = document.experiment.model_copy(deep=True)
    experiment.metadata.name = base + suffix
    experiment.metadata.labels = {**(experiment.metadata.labels or {}), **MANAGED_BY}
    template: V1beta1TrialTemplate | None = spec_of(experiment).trial_template
    if template is None or template.trial_spec is None:
        return StudyDocument(experiment, document.config_maps, document.runtimes)
    names = {name: f"{name}{suffix}" for name in (*document.config_maps, *document.runtimes)}
    template.trial_spec = _renamed(template.trial_spec, names)
    return StudyDocument(
        experiment,
        {names[name]: data for name, data in document.config_maps.items()},
        {names[name]: _renamed(spec, names) for name, spec in document.runtimes.items()},
    )


def submit(cluster: Cluster, document: StudyDocument, *, begun: Path | None) -> V1beta1Experiment:
    """Create a study on a cluster, or attach to it: whatever part of it is there already is left as it is.

    Args:
        cluster: where.
        document: as `submitted` gives it.
        begun: the study's directory if trials of it are recorded there: then it is not begun again.

    Returns:
        The Experiment as the cluster has it.

    Raises:
        UserError: it is there with another spec, it is being deleted, or it was begun and is gone.
    """
    name = name_of(document.experiment)
    there = cluster.experiment(name)
    if there is None and begun is not None:
        raise UserError(
            f"Experiment {name} is gone from namespace {cluster.namespace}, and trials of it are recorded in {begun};"
            " remove that directory to begin the study anew"
        )
    if there is not None:
        _require_same(there, document.experiment, cluster.namespace)
    ours = [map_ for map_, data in document.config_maps.items() if cluster.require_config_map(map_, data)]
    for runtime, spec in document.runtimes.items():
        cluster.require_runtime(runtime, spec)
    if there is None:
        there = cluster.create_experiment(document.experiment)
        _require_same(there, document.experiment, cluster.namespace)  # another process may have been faster
    for map_ in ours:
        cluster.own_config_map(map_, there)
    for runtime in document.runtimes:
        cluster.own_runtime(runtime, there)
    return there


def _require_same(there: V1beta1Experiment, here: V1beta1Experiment, namespace: str) -> None:
    name = name_of(here)
    if there.metadata.deletion_timestamp is not None:
        raise UserError(f"Experiment {name} in namespace {namespace} is being deleted; try again when it is gone")
    found = list(_differences(_meaning(there), _meaning(here), "spec"))
    if found:
        lines = "\n".join(f"  {line}" for line in found)
        raise UserError(
            f"Experiment {name} is in namespace {namespace} with another spec:\n{lines}\nEdit it there (kubectl edit"
            f" experiment {name} -n {namespace}: Katib lets the three trial counts change), or end it (kubectl delete"
            f" experiment {name} -n {namespace})"
        )


def _meaning(experiment: V1beta1Experiment) -> Any:
    """The spec with Katib's defaults, without what Go leaves out when it writes: empty texts, lists, false."""
    return _without_empty(plain(with_defaults(experiment)).get("spec"))


def _without_empty(value: Any) -> Any:
    if isinstance(value, Mapping):
        kept = {key: _without_empty(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item not in (None, "", [], {}) and item is not False}
    return [_without_empty(item) for item in value] if isinstance(value, list) else value


def _differences(there: Any, here: Any, path: str) -> Iterator[str]:
    """What the cluster has not as it is here; what it has beside that are defaults, of whatever version of Katib."""
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        for key in sorted({*here, *(there.keys() & _LIMITS)}):
            yield from _differences(there.get(key), here.get(key), f"{path}.{key}")
    elif isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        for index, pair in enumerate(zip(there, here, strict=True)):
            yield from _differences(*pair, f"{path}[{index}]")
    elif there != here:
        yield f"{path}: {_short(there)} there, {_short(here)} here"


def _short(value: Any) -> str:
    text = "nothing" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"


def _renamed(manifest: Any, names: Mapping[str, str], key: str = "") -> Any:
    """A manifest in which references to ConfigMaps have other names."""
    if isinstance(manifest, list):
        return [_renamed(item, names, key) for item in manifest]
    if not isinstance(manifest, Mapping):
        return manifest
    renamed = {child: _renamed(item, names, child) for child, item in manifest.items()}
    if key in _REFERENCES and renamed.get("name") in names:
        renamed["name"] = names[renamed["name"]]
    return renamed
