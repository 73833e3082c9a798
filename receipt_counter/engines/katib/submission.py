"""A study as the cluster gets it: under a name made of its identity, begun once however often it is submitted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from kubeflow_katib_api.models import V1beta1Experiment, V1beta1ExperimentCondition, V1beta1TrialTemplate

from receipt_counter.cluster.connection import ApiError
from receipt_counter.cluster.objects import MANAGED_BY
from receipt_counter.engines.base import name_of, spec_of
from receipt_counter.engines.katib.cluster import Cluster
from receipt_counter.errors import UserError
from receipt_counter.katib.defaults import with_defaults
from receipt_counter.katib.experiment import StudyDocument, plain
from receipt_counter.katib.identity import cluster_name, name_suffix
from receipt_counter.katib.template import fill, section, template_text
from receipt_counter.study.trial import STORE

# keys under which a pod names ConfigMaps, and a TrainJob its runtime
_REFERENCES = ("configMap", "configMapRef", "configMapKeyRef", "runtimeRef")
_LIMITS = {"maxTrialCount", "maxFailedTrialCount", "goal"}  # not part of a study's identity, and without defaults
_COUNTS = ("maxTrialCount", "parallelTrialCount", "maxFailedTrialCount")  # that Katib lets change
_RESTARTABLE = ("LongRunning", "FromVolume")
MAX_TRIALS_REACHED = "ExperimentMaxTrialsReached"  # Katib's reason of a succeeded Experiment (status_util.go)
_LONGEST_VALUE = 60


def submitted(document: StudyDocument) -> StudyDocument:
    """The document under names that no other study has, so that studies of one name live side by side.

    The Experiment is named by the study's identity, and its other objects end in the same 8 digits. Where the trials
    are written as text in a ConfigMap those keep their names, since Katib reads the references from that text.

    Args:
        document: as read; not changed.
    """
    suffix = name_suffix(document)
    experiment = document.experiment.model_copy(deep=True)
    experiment.metadata.name = cluster_name(document)
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

    But where the document asks for more trials, or lets more of them run at a time or fail, than what is there, those
    counts are raised.

    Args:
        cluster: where.
        document: as `submitted` gives it.
        begun: the study's directory if trials of it are recorded there: then it is not begun again.

    Returns:
        The Experiment as the cluster has it.

    Raises:
        UserError: it is there with another spec, it has ended and asks for more, it is being deleted, or it was begun
            and is gone.
    """
    name = name_of(document.experiment)
    there = cluster.experiment(name)
    if there is None and begun is not None:
        raise UserError(
            f"Experiment {name} is gone from namespace {cluster.namespace}, and trials of it are recorded in {begun};"
            " remove that directory to begin the study anew"
        )
    if there is not None:
        more = _raised(there, document.experiment)
        _require_same(there, document.experiment, cluster.namespace, besides=more)
        if more and _may_go_on(there, more, cluster.namespace, begun):
            there = cluster.patch_experiment(name, more)
    labels = document.experiment.metadata.labels
    ours = {map_: data for map_, data in document.config_maps.items() if cluster.require_config_map(map_, data, labels)}
    for runtime, spec in document.runtimes.items():
        cluster.require_runtime(runtime, spec, labels)
    if there is None:
        there = cluster.create_experiment(document.experiment)
        _require_same(there, document.experiment, cluster.namespace)  # another process may have been faster
    for map_, data in ours.items():
        _own(partial(cluster.own_config_map, map_, there), partial(cluster.require_config_map, map_, data, labels))
    for runtime, spec in document.runtimes.items():
        _own(partial(cluster.own_runtime, runtime, there), partial(cluster.require_runtime, runtime, spec, labels))
    return there


def _own(own: Callable[[], object], make: Callable[[], object]) -> None:
    """Have an object go with the Experiment.

    Kubernetes may just have collected it with an Experiment of this name that was deleted: then it is made anew.
    """
    try:
        own()
    except ApiError as error:
        if not error.object_missing:
            raise
        make()
        own()


def _raised(there: V1beta1Experiment, here: V1beta1Experiment) -> dict[str, int | None]:
    """{count: value} of what the document wants more of; None for as many as there may be."""
    old, new = _meaning(there), _meaning(here)
    return {
        count: new.get(count)
        for count in _COUNTS
        if old.get(count) is not None and (new.get(count) is None or new[count] > old[count])
    }


def _may_go_on(there: V1beta1Experiment, more: Mapping[str, int | None], namespace: str, begun: Path | None) -> bool:
    """Whether raised counts make an Experiment do more; Katib's rule is in validator.go.

    Raises:
        UserError: they would, but Katib does not let them be raised any more.
    """
    end, policy = end_of(there), spec_of(there).resume_policy
    if end is None or (end.reason == MAX_TRIALS_REACHED and policy in _RESTARTABLE):
        return True
    if end.type == "Succeeded" and "maxTrialCount" not in more:
        return False
    name = name_of(there)
    raise UserError(
        f"Experiment {name} in namespace {namespace} has ended ({end.reason or end.type}), and its resumePolicy"
        f" {policy} lets nobody raise its {', '.join(more)}: Katib goes on only with one that made all its trials and"
        f" has the resumePolicy {' or '.join(_RESTARTABLE)}. To begin it anew: kubectl delete experiment {name} -n"
        f" {namespace}{f', and remove {begun}' if begun else ''}; runs that are in the store are not trained again"
    )


def _require_same(
    there: V1beta1Experiment, here: V1beta1Experiment, namespace: str, besides: Iterable[str] = ()
) -> None:
    name = name_of(here)
    if there.metadata.deletion_timestamp is not None:
        raise UserError(f"Experiment {name} in namespace {namespace} is being deleted; try again when it is gone")
    others = {f"spec.{count}" for count in besides}
    found = [line for line in _differences(_meaning(there), _meaning(here), "spec") if line.split(":")[0] not in others]
    if found:
        lines = "\n".join(f"  {line}" for line in found)
        raise UserError(
            f"Experiment {name} is in namespace {namespace} with another spec:\n{lines}\nEdit it there (kubectl edit"
            f" experiment {name} -n {namespace}: Katib lets the three trial counts change), or end it (kubectl delete"
            f" experiment {name} -n {namespace})"
        )


def runs_elsewhere(document: StudyDocument, store: str) -> dict[str, str]:
    """What to know where the trials keep their runs in another store than the study is recorded in.

    Args:
        document: the study.
        store: location of the store that it is recorded in.

    Returns:
        {"store": a sentence}; nothing where both are the same, or the trials are not ours.
    """
    theirs = _store_of_trials(document)
    if theirs is None or theirs.rstrip("/") == store.rstrip("/"):
        return {}
    mend = f"--store {theirs}" if "://" in theirs else "run this where that directory is mounted"
    return {
        "store": f"the trials keep their runs in {theirs}, and this study is recorded in {store}, where `compare` will"
        f" find none of them; to have both in one place: {mend}"
    }


def _store_of_trials(document: StudyDocument) -> str | None:
    try:
        text, source = template_text(document)
        manifest = fill(text, {}, source, is_json=spec_of(document.experiment).trial_template.trial_spec is not None)
    except UserError:
        return None
    trainer = section(manifest, "spec", "trainer")
    containers = [trainer, *(section(manifest, "spec", "template", "spec").get("containers") or ())]
    variables = (variable for container in containers for variable in container.get("env") or ())
    return next((variable.get("value") for variable in variables if variable.get("name") == STORE), None)


def end_of(experiment: V1beta1Experiment) -> V1beta1ExperimentCondition | None:
    """The condition with which an Experiment ended, if it has."""
    status = experiment.status
    true = (found for found in (status.conditions or [] if status else []) if found.status == "True")
    end = next((found for found in true if found.type in ("Succeeded", "Failed")), None)
    if (
        end is not None
        and end.reason == MAX_TRIALS_REACHED
        and (status.trials or 0) < (spec_of(experiment).max_trial_count or 0)
    ):
        return None  # it is to make others, and Katib has not noticed yet
    return end


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
