"""Trials of an Experiment: its template with values filled in (kubeflow/katib, manifest/generator.go), and the
container in it that does the work."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from receipt_counter.errors import UserError, suggestion
from receipt_counter.katib import kubernetes_yaml

if TYPE_CHECKING:
    from kubeflow_katib_api.models import V1beta1TrialTemplate

    from receipt_counter.katib.experiment import StudyDocument

PLACEHOLDER = re.compile(r"\$\{trialParameters\.(.+?)\}")
METADATA = re.compile(r"\$\{trialSpec\.(.+?)\}")
DEFAULT_NAMESPACE = "default"
JOB = ("batch/v1", "Job")
TRAIN_JOB = ("trainer.kubeflow.org/v1alpha1", "TrainJob")
GPU = "nvidia.com/gpu"

_INDEXED = re.compile(r"(.+)\[(.+)\]")
_REFERENCE = re.compile(r"\$\$|\$\(([^()]*)\)")  # of an environment variable in a container's command, args or env


@dataclass(frozen=True)
class Container:
    """What a trial runs.

    Args:
        name: of the container.
        command: the program and its first arguments; never empty.
        args: further arguments.
        env: environment variables.
        working_dir: where it runs, if the manifest says so.
        mounts: {directory: {file name: text}} of the ConfigMaps mounted into it.
        gpus: how many GPUs it may use.
    """

    name: str
    command: tuple[str, ...]
    args: tuple[str, ...]
    env: Mapping[str, str]
    working_dir: str | None
    mounts: Mapping[str, Mapping[str, str]]
    gpus: int


def render_trial(document: StudyDocument, trial_name: str, assignments: Mapping[str, str]) -> dict[str, Any]:
    """The manifest of one trial.

    Args:
        document: the study.
        trial_name: becomes the manifest's metadata.name.
        assignments: {parameter's name: value} of every parameter of the Experiment.

    Returns:
        The Kubernetes object that Katib would create.

    Raises:
        UserError: an assignment is missing or no parameter's, the template is not in the document, or the values do
            not fit into it.
    """
    template = trial_template(document)
    text, source = template_text(document)
    values = trial_values(document, trial_name, assignments)
    missing = sorted({name for name in PLACEHOLDER.findall(text) if name not in values})
    if missing:
        raise UserError(
            f"{source}: ${{trialParameters.{missing[0]}}} is no trialParameter; {suggestion(missing[0], values)}"
        )
    manifest = fill(text, values, source, is_json=template.trial_spec is not None)
    metadata = {**section(manifest, "metadata"), "name": trial_name, "namespace": namespace(document)}
    return {**manifest, "metadata": metadata}


def trial_template(document: StudyDocument) -> V1beta1TrialTemplate:
    """The Experiment's trialTemplate.

    Raises:
        UserError: there is none.
    """
    specification = document.experiment.spec
    if specification is None or specification.trial_template is None:
        raise UserError("spec.trialTemplate: is missing")
    return specification.trial_template


def template_text(document: StudyDocument) -> tuple[str, str]:
    """The template's text with its placeholders, and where it comes from, for messages.

    Raises:
        UserError: it is in a ConfigMap that is not in the document.
    """
    template = trial_template(document)
    if template.trial_spec is not None:
        return json.dumps(template.trial_spec, ensure_ascii=False), "spec.trialTemplate.trialSpec"
    reference = template.config_map
    if reference is None:
        raise UserError("spec.trialTemplate: needs trialSpec or configMap")
    text = _from_config_map(
        document, reference.config_map_name or "", reference.template_path or "", "spec.trialTemplate.configMap"
    )
    return text, f"ConfigMap {reference.config_map_name}, {reference.template_path}"


def namespace(document: StudyDocument) -> str:
    """The namespace the study's trials run in."""
    metadata = document.experiment.metadata
    return (metadata.namespace if metadata else None) or DEFAULT_NAMESPACE


def trial_values(document: StudyDocument, trial_name: str, assignments: Mapping[str, str]) -> dict[str, str]:
    """{trialParameter's name: value} for the placeholders of one trial.

    Raises:
        UserError: see `render_trial`.
    """
    template = trial_template(document)
    values, used = {}, set()
    for item in template.trial_parameters or []:
        name, reference = item.name or "", item.reference or ""
        if METADATA.search(reference):
            values[name] = metadata_value(document, trial_name, reference)
        elif reference in assignments:
            values[name] = assignments[reference]
            used.add(reference)
        else:
            raise UserError(f"trial {trial_name}: no value for parameter {reference!r}")
    unused = sorted(set(assignments) - used)
    if unused:
        raise UserError(
            f"trial {trial_name}: {unused[0]!r} is no parameter of the Experiment; {suggestion(unused[0], used)}"
        )
    return values


def metadata_value(document: StudyDocument, trial_name: str, reference: str) -> str:
    """What a reference such as `${trialSpec.Labels[team]}` stands for.

    Raises:
        UserError: there is no such metadata.
    """
    found = METADATA.search(reference)
    key = found[1] if found else ""
    indexed = _INDEXED.search(key)
    source = _unfilled(document)
    plain = {
        "Name": trial_name,
        "Namespace": namespace(document),
        "Kind": str(source.get("kind", "")),
        "APIVersion": str(source.get("apiVersion", "")),
    }
    if indexed is None and key in plain:
        return plain[key]
    metadata = section(source, "metadata")
    tables = {"Labels": section(metadata, "labels"), "Annotations": section(metadata, "annotations")}
    if indexed is None or indexed[1] not in tables:
        choices = [*plain, "Labels[...]", "Annotations[...]"]
        raise UserError(f"{reference}: no such metadata of a trial; {suggestion(key, choices)}")
    table = tables[indexed[1]]
    if indexed[2] not in table:
        raise UserError(f"{reference}: the trialSpec has no such entry; {suggestion(indexed[2], table)}")
    return str(table[indexed[2]])


def _unfilled(document: StudyDocument) -> dict[str, Any]:
    template = trial_template(document)
    if template.trial_spec is not None:
        return dict(template.trial_spec)
    text, source = template_text(document)
    return fill(text, {}, source, is_json=False)


def replace(text: str, values: Mapping[str, str]) -> str:
    """Put values for the placeholders of a text, all at once: a value that looks like one stays."""
    return PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), text)


def section(manifest: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """The mapping below some keys, empty where there is none."""
    found: Any = manifest
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return dict(found) if isinstance(found, Mapping) else {}


def fill(text: str, values: Mapping[str, str], source: str, *, is_json: bool) -> dict[str, Any]:
    """Replace placeholders in a template's text, then read it: a quote in a value can break it, as it does in Katib.

    Raises:
        UserError: the result is no mapping.
    """
    replaced = replace(text, values)
    try:
        manifest = json.loads(replaced) if is_json else kubernetes_yaml.parse(replaced)
    except (json.JSONDecodeError, yaml.YAMLError):
        raise UserError(
            f"{source}: with the values {dict(values)} it is not valid {'JSON' if is_json else 'YAML'}"
        ) from None
    if not isinstance(manifest, dict):
        raise UserError(f"{source}: must be a mapping")
    return manifest


def primary_container(document: StudyDocument, manifest: Mapping[str, Any]) -> Container:
    """The container whose process is the trial.

    Args:
        document: the study; its ConfigMaps fill environment variables and mounts.
        manifest: what `render_trial` gave.

    Returns:
        The container, with references to environment variables, `$(NAME)`, replaced as the kubelet does.

    Raises:
        UserError: the manifest is neither a Job nor a TrainJob, the container or its command is missing, or its
            environment needs something that only a cluster has.
    """
    name = trial_template(document).primary_container_name or ""
    identity = (manifest.get("apiVersion"), manifest.get("kind"))
    volumes: list[dict[str, Any]] = []
    if identity == JOB:
        pod = section(manifest, "spec", "template", "spec")
        volumes = pod.get("volumes") or []
        containers = {str(item.get("name")): item for item in pod.get("containers") or []}
        if name not in containers:
            hint = suggestion(name, containers)
            raise UserError(f"spec.trialTemplate.primaryContainerName: {name}: no such container; {hint}")
        container = containers[name]
        limits = section(container, "resources", "limits")
    elif identity == TRAIN_JOB:
        container, volumes = _train_job_container(document, manifest, name)
        limits = section(container, "resources", "limits")
    else:
        supported = " or ".join(f"{kind} ({version})" for version, kind in (JOB, TRAIN_JOB))
        raise UserError(
            f"spec.trialTemplate.trialSpec: {identity[1]} ({identity[0]}) cannot run without a cluster;"
            f" a trial here is a {supported}"
        )
    place = f"spec.trialTemplate: container {name}"
    command = container.get("command") or []
    if not command:
        raise UserError(f"{place}: has no command; the image's own is not known here, so write it out")
    env = _environment(document, container, place)
    return Container(
        name=name,
        command=tuple(expand(str(token), env) for token in command),
        args=tuple(expand(str(token), env) for token in container.get("args") or []),
        env=env,
        working_dir=container.get("workingDir"),
        mounts=_mounts(document, container, volumes),
        gpus=_gpus(limits, place),
    )


def _train_job_container(
    document: StudyDocument, manifest: Mapping[str, Any], name: str
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The container that Trainer makes of a TrainJob and its runtime, and its pod's volumes.

    Nothing is known of a runtime that is not in the document, such as those of the whole cluster.
    """
    trainer = section(manifest, "spec", "trainer")
    if "resourcesPerNode" in trainer:
        trainer["resources"] = trainer["resourcesPerNode"]
    runtime = document.runtimes.get(section(manifest, "spec", "runtimeRef").get("name", ""), {})
    for job in section(runtime, "template", "spec").get("replicatedJobs") or []:
        pod = section(job, "template", "spec", "template", "spec")
        for container in pod.get("containers") or []:
            if job.get("name") == container.get("name") == name:
                env = [*(container.get("env") or []), *(trainer.get("env") or [])]
                return {**container, **trainer, "env": env}, pod.get("volumes") or []
    return trainer, []


def _gpus(limits: Mapping[str, Any], place: str) -> int:
    limit = str(limits.get(GPU, 0))
    if not limit.isdigit():
        raise UserError(f"{place}: resources.limits: {GPU} is {limit!r}, must be a whole number")
    return int(limit)


def expand(text: str, env: Mapping[str, str]) -> str:
    """Replace `$(NAME)` of a known variable; `$$` is a dollar (Kubernetes, third_party/forked/golang/expansion)."""
    return _REFERENCE.sub(lambda found: "$" if found[0] == "$$" else env.get(found[1], found[0]), text)


def _environment(document: StudyDocument, container: Mapping[str, Any], place: str) -> dict[str, str]:
    env: dict[str, str] = {}
    for item in container.get("envFrom") or []:
        reference = item.get("configMapRef")
        if reference is None:
            raise UserError(f"{place}: envFrom: only configMapRef can be resolved without a cluster")
        data = document.config_maps.get(reference.get("name"))
        if data is None and not reference.get("optional"):
            raise UserError(f"{place}: envFrom: {_absent(document, reference.get('name'))}")
        env |= {f"{item.get('prefix') or ''}{key}": value for key, value in (data or {}).items()}
    for item in container.get("env") or []:
        source = item.get("valueFrom")
        where = f"{place}: env {item.get('name')}"
        if source is None:
            env[item["name"]] = expand(str(item.get("value") or ""), env)
        elif "configMapKeyRef" in source:
            reference = source["configMapKeyRef"]
            if reference.get("optional") and reference["key"] not in document.config_maps.get(reference["name"], {}):
                continue
            env[item["name"]] = _from_config_map(document, reference["name"], reference["key"], where)
        else:
            raise UserError(
                f"{where}: valueFrom {', '.join(source)}: only configMapKeyRef can be resolved without a cluster"
            )
    return env


def _mounts(
    document: StudyDocument, container: Mapping[str, Any], volumes: list[dict[str, Any]]
) -> dict[str, dict[str, str]]:
    """The files of mounted ConfigMaps; other volumes hold no files that a manifest knows."""
    sources = {volume.get("name"): volume["configMap"] for volume in volumes if volume.get("configMap")}
    mounts: dict[str, dict[str, str]] = {}
    for mount in container.get("volumeMounts") or []:
        if mount.get("name") not in sources:
            continue
        files = _volume_files(document, sources[mount["name"]], f"volume {mount['name']}")
        directory = mount["mountPath"].rstrip("/") or "/"
        if mount.get("subPath"):  # one file, mounted under a name of its own
            directory, _, file_name = directory.rpartition("/")
            files = {file_name: files[mount["subPath"]]} if mount["subPath"] in files else {}
        mounts[directory] = {**mounts.get(directory, {}), **files}
    return mounts


def _volume_files(document: StudyDocument, source: Mapping[str, Any], where: str) -> dict[str, str]:
    name, optional = source.get("name"), source.get("optional")
    data = document.config_maps.get(str(name))
    if data is None and not optional:
        raise UserError(f"{where}: {_absent(document, name)}")
    files = dict(data or {})
    if not source.get("items"):
        return files
    missing = [item["key"] for item in source["items"] if item["key"] not in files]
    if missing and not optional:
        raise UserError(f"{where}: ConfigMap {name} has no key {missing[0]}; {suggestion(missing[0], files)}")
    return {item["path"]: files[item["key"]] for item in source["items"] if item["key"] in files}


def _from_config_map(document: StudyDocument, name: str, key: str, where: str) -> str:
    if name not in document.config_maps:
        raise UserError(f"{where}: {_absent(document, name)}")
    data = document.config_maps[name]
    if key not in data:
        raise UserError(f"{where}: ConfigMap {name} has no key {key}; {suggestion(key, data)}")
    return data[key]


def _absent(document: StudyDocument, name: str | None) -> str:
    hint = f"; {suggestion(str(name), document.config_maps)}" if document.config_maps else ": write it there"
    return f"ConfigMap {name} is not in the study's file{hint}"
