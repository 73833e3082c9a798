"""A study's file read into plain objects, every wrong field refused with its line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from kubeflow_katib_api import models

from receipt_counter.config.source import compose_yaml
from receipt_counter.errors import UserError, suggestion
from receipt_counter.katib.job import Runtime, trial_model
from receipt_counter.katib.kubernetes_yaml import KubernetesLoader
from receipt_counter.katib.template import DEFAULT_NAMESPACE, TRAIN_JOB
from receipt_counter.katib.typed_nodes import NULL, NodeChecker, construct, entries, require_trees

EXPERIMENT = ("kubeflow.org/v1beta1", "Experiment")
CONFIG_MAP = ("v1", "ConfigMap")
RUNTIME = (TRAIN_JOB[0], "TrainingRuntime")
_ARCHITECTURE_SEARCH = ("enas", "darts")


@dataclass(frozen=True)
class _Objects:
    experiments: list[yaml.MappingNode]
    config_maps: list[yaml.MappingNode]
    runtimes: list[yaml.MappingNode]


def read_objects(path: Path) -> tuple[dict[str, Any], dict[str, dict[str, str]], dict[str, dict[str, Any]]]:
    """Read the Experiment, the ConfigMaps and the TrainingRuntimes of a file.

    Returns:
        The Experiment, {name: data} of the ConfigMaps, and {name: spec} of the TrainingRuntimes.

    Raises:
        UserError: everything that is wrong with the file's form.
    """
    roots = [node for node in compose_yaml(path, "study file", KubernetesLoader) if node.tag != NULL]
    checker = NodeChecker(str(path))
    if require_trees(roots, checker):
        objects = _sort(roots, checker)
        _check_numbers(objects, path, checker)
        for node in objects.config_maps:
            _check_config_map(node, checker)
        for node in objects.runtimes:
            checker.check(node, Runtime)
        for node in objects.experiments:
            _check_experiment(node, checker)
    if not checker.problems:
        _check_namespaces(objects, checker)
        _check_template_text(objects, path, checker)
    if checker.problems:
        raise UserError("\n".join(checker.problems))
    config_maps, runtimes = ([*map(construct, nodes)] for nodes in (objects.config_maps, objects.runtimes))
    return (
        construct(objects.experiments[0]),
        {item["metadata"]["name"]: item.get("data") or {} for item in config_maps},
        {item["metadata"]["name"]: item["spec"] for item in runtimes},
    )


def _sort(roots: list[yaml.Node], checker: NodeChecker) -> _Objects:
    objects = _Objects([], [], [])
    places = ((EXPERIMENT, objects.experiments), (CONFIG_MAP, objects.config_maps), (RUNTIME, objects.runtimes))
    for node in _unlisted(roots, checker):
        kind, version = _scalar(node, "kind"), _scalar(node, "apiVersion")
        for (expected, name), found in places:
            if kind == name:
                found.append(node)
                if version != expected:
                    checker.problem(node, f"apiVersion: {version} of kind {kind} must be {expected}")
        kinds = [EXPERIMENT[1], CONFIG_MAP[1], RUNTIME[1]]
        if kind not in kinds:
            hint = suggestion(str(kind), [*kinds, "List"])
            checker.problem(node, f"kind: {kind}: a study file holds an Experiment and what its trials need; {hint}")
    return objects


def _unlisted(roots: list[yaml.Node], checker: NodeChecker) -> Iterator[yaml.MappingNode]:
    for node in roots:
        if not isinstance(node, yaml.MappingNode):
            checker.problem(node, "must be a Kubernetes object, a mapping with apiVersion and kind")
        elif _scalar(node, "kind") == "List":
            items = entries(node).get("items")
            yield from _unlisted(items.value if isinstance(items, yaml.SequenceNode) else [], checker)
        else:
            yield node


def _check_numbers(objects: _Objects, path: Path, checker: NodeChecker) -> None:
    if not objects.experiments and not checker.problems:
        checker.problems.append(f"{path}: holds no Experiment ({EXPERIMENT[0]})")
    for node in objects.experiments[1:]:
        first = objects.experiments[0].start_mark.line + 1
        checker.problem(node, f"a second Experiment (the first is at line {first}); a study is one")
    for (_, kind), nodes in ((CONFIG_MAP, objects.config_maps), (RUNTIME, objects.runtimes)):
        names: dict[str, int] = {}
        for node in nodes:
            name = _metadata(node, "name")
            if name is None:
                checker.problem(node, "metadata.name: is missing")
            elif names.setdefault(name, node.start_mark.line) != node.start_mark.line:
                checker.problem(node, f"a second {kind} {name} (the first is at line {names[name] + 1})")


def _check_config_map(node: yaml.MappingNode, checker: NodeChecker) -> None:
    checker.check(node, models.IoK8sApiCoreV1ConfigMap)
    if "binaryData" in entries(node):
        checker.problem(node, "binaryData: a study's ConfigMaps hold text only")


def _check_experiment(node: yaml.MappingNode, checker: NodeChecker) -> None:
    checker.check(node, models.V1beta1Experiment)
    nas = _below(node, "spec", "nasConfig")
    if nas is not None and nas.tag != NULL:
        checker.problem(nas, "spec.nasConfig: architecture search (NAS) is not supported; a study has spec.parameters")
    algorithm = _below(node, "spec", "algorithm", "algorithmName")
    if algorithm is not None and algorithm.value in _ARCHITECTURE_SEARCH:
        checker.problem(
            algorithm, f"spec.algorithm.algorithmName: {algorithm.value} searches architectures (NAS); not supported"
        )
    trial = _below(node, "spec", "trialTemplate", "trialSpec")
    if trial is not None:
        checker.check(trial, trial_model(_scalar(trial, "kind")), "spec.trialTemplate.trialSpec")


def _check_namespaces(objects: _Objects, checker: NodeChecker) -> None:
    """A pod sees the ConfigMaps of its own namespace only; Katib reads a template where the Experiment says."""
    experiment = objects.experiments[0]
    home = _metadata(experiment, "namespace") or DEFAULT_NAMESPACE
    template = _below(experiment, "spec", "trialTemplate", "configMap")
    name = _scalar(template, "configMapName") if template else None
    place = _scalar(template, "configMapNamespace") if template else None
    for node in (*objects.config_maps, *objects.runtimes):
        found, kind = _metadata(node, "namespace") or DEFAULT_NAMESPACE, _scalar(node, "kind")
        is_template = kind == CONFIG_MAP[1] and _metadata(node, "name") == name
        expected = (place or home) if is_template else home
        if found != expected:
            checker.problem(node, f"metadata.namespace: {found} of {kind} {_metadata(node, 'name')} must be {expected}")


def _check_template_text(objects: _Objects, path: Path, checker: NodeChecker) -> None:
    """Check a Job that is written as text in a ConfigMap, like one in trialSpec."""
    reference = _below(objects.experiments[0], "spec", "trialTemplate", "configMap")
    if reference is None:
        return
    name, key = _scalar(reference, "configMapName"), _scalar(reference, "templatePath")
    node = next((item for item in objects.config_maps if _metadata(item, "name") == name), None)
    text = _below(node, "data", str(key)) if node else None
    if text is None:
        return
    checker.problems += trial_problems(text.value, f"{path}: ConfigMap {name}, {key}")


def trial_problems(text: str, source: str) -> list[str]:
    """What is wrong with the form of a trial's manifest.

    Args:
        text: the manifest as YAML.
        source: what it is, for messages.
    """
    try:
        node = yaml.compose(text, Loader=KubernetesLoader)
    except yaml.YAMLError as error:
        return [f"{source}: not valid YAML: {getattr(error, 'problem', error)}"]
    checker = NodeChecker(source)
    if not isinstance(node, yaml.MappingNode):
        return [f"{source}: must be a mapping"]
    if require_trees([node], checker):
        checker.check(node, trial_model(_scalar(node, "kind")))
    return checker.problems


def _below(node: yaml.Node, *keys: str) -> yaml.Node | None:
    found: yaml.Node | None = node
    for key in keys:
        found = entries(found).get(key) if isinstance(found, yaml.MappingNode) else None
    return found


def _scalar(node: yaml.Node, key: str) -> str | None:
    found = _below(node, key)
    return str(found.value) if isinstance(found, yaml.ScalarNode) else None


def _metadata(node: yaml.Node, key: str) -> str | None:
    metadata = _below(node, "metadata")
    return _scalar(metadata, key) if metadata is not None else None
