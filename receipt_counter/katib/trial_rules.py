"""Katib's rules for the template of the trials (validator.go), and what it joins into a shell's command line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from receipt_counter.errors import UserError, suggestion
from receipt_counter.katib.rules import wraps_command
from receipt_counter.katib.shell import wrapping_problem
from receipt_counter.katib.template import (
    JOB,
    METADATA,
    PLACEHOLDER,
    TRAIN_JOB,
    fill,
    metadata_value,
    replace,
    section,
    template_text,
)

if TYPE_CHECKING:
    from kubeflow_katib_api.models import V1beta1ParameterSpec, V1beta1TrialTemplate

    from receipt_counter.katib.experiment import StudyDocument

_KEY = "spec.trialTemplate"
_LABEL = re.compile(r"([A-Za-z0-9]([\w.-]*[A-Za-z0-9])?)?", re.ASCII)
_LONGEST_LABEL = 63
_HARMLESS = re.compile(r"[\w.,:/=+-]*")


def check_template(document: StudyDocument) -> Iterator[str]:
    """Every rule that the trial template breaks.

    Args:
        document: with Katib's defaults filled in, spec present.
    """
    spec = document.experiment.spec
    assert spec is not None
    template = spec.trial_template
    if template is None:
        yield f"{_KEY}: is missing"
        return
    if not template.primary_container_name:
        yield f"{_KEY}.primaryContainerName: is missing"
    for name, condition in (("success", template.success_condition), ("failure", template.failure_condition)):
        if not condition:
            yield f"{_KEY}.{name}Condition: is missing; Katib knows one only for Jobs written in trialSpec"
    if template.trial_parameters is None:
        yield f"{_KEY}.trialParameters: is missing"
    source_problems = [*_check_source(template)]
    yield from source_problems
    if source_problems:
        return
    try:
        text, source = template_text(document)
    except UserError as error:
        yield error.message
        return
    parameters = {parameter.name or "": parameter for parameter in spec.parameters or []}
    if template.trial_parameters is not None:
        yield from _check_trial_parameters(document, template, parameters, text)
    yield from _check_filled(document, template, parameters, text, source)


def _check_source(template: V1beta1TrialTemplate) -> Iterator[str]:
    reference = template.config_map
    if (template.trial_spec is None) == (reference is None):
        yield f"{_KEY}: needs exactly one of trialSpec and configMap"
    elif reference is not None:
        parts = {
            "configMapName": reference.config_map_name,
            "configMapNamespace": reference.config_map_namespace,
            "templatePath": reference.template_path,
        }
        yield from (f"{_KEY}.configMap.{name}: is missing" for name, value in parts.items() if not value)


def _check_trial_parameters(
    document: StudyDocument, template: V1beta1TrialTemplate, parameters: Mapping[str, Any], text: str
) -> Iterator[str]:
    names, references = set[str](), set[str]()
    placeholders = set(PLACEHOLDER.findall(text))
    for index, item in enumerate(template.trial_parameters or []):
        key, name, reference = f"{_KEY}.trialParameters[{index}]", item.name or "", item.reference or ""
        if not name or not reference or "{" in name or "}" in name:
            yield f"{key}: needs a name, without '{{' and '}}', and a reference"
            continue
        if name in names:
            yield f"{key}.name: {name} is declared twice"
        elif name not in placeholders:
            hint = suggestion(name, sorted(placeholders - names)) if placeholders - names else "the template has none"
            yield f"{key}.name: ${{trialParameters.{name}}} is nowhere in the template; {hint}"
        if reference in references:
            yield f"{key}.reference: {reference} is referenced twice"
        else:
            yield from _check_reference(document, reference, parameters, f"{key}.reference")
        names.add(name)
        references.add(reference)
    for unknown in sorted(placeholders - names):
        hint = suggestion(unknown, sorted(names)) if names else "there are none"
        yield f"{_KEY}: ${{trialParameters.{unknown}}} in the template is no trialParameter; {hint}"
    for index, unused in enumerate(parameters):
        if unused not in references:
            yield f"spec.parameters[{index}]: no trialParameter refers to {unused}, so Katib would create no trial"


def _check_reference(document: StudyDocument, reference: str, parameters: Mapping[str, Any], key: str) -> Iterator[str]:
    if METADATA.search(reference):
        try:
            metadata_value(document, "trial", reference)
        except UserError as error:
            yield f"{key}: {error.message}"
    elif reference not in parameters:
        yield f"{key}: {reference} is no parameter; {suggestion(reference, parameters)}"


def _check_filled(
    document: StudyDocument,
    template: V1beta1TrialTemplate,
    parameters: Mapping[str, V1beta1ParameterSpec],
    text: str,
    source: str,
) -> Iterator[str]:
    from receipt_counter.katib.reading import trial_problems  # it imports all models of Kubernetes

    is_json = template.trial_spec is not None
    samples = [*_samples(template, parameters)]
    for values in samples:
        if values is samples[0] or any(not _HARMLESS.fullmatch(value) for value in values.values()):
            try:
                manifest = fill(text, values, source, is_json=is_json)
            except UserError as error:
                yield error.message
                return
            if values is samples[0]:
                # Text of a ConfigMap can change its type: a bare ${trialParameters.rate} becomes a number.
                problems = [] if is_json else trial_problems(replace(text, values), source)
                yield from problems or _check_manifest(manifest, template, source)
                if problems:
                    return
    unfilled = fill(text, {}, source, is_json=is_json)
    yield from _check_labels(unfilled, samples, source)
    spec = document.experiment.spec
    assert spec is not None
    if wraps_command(spec):
        yield from _check_command(unfilled, template, samples, source)


def _samples(
    template: V1beta1TrialTemplate, parameters: Mapping[str, V1beta1ParameterSpec]
) -> Iterator[dict[str, str]]:
    """Values for the placeholders: each listed value of each parameter occurs in one of them."""
    choices: dict[str, list[str]] = {}
    for item in template.trial_parameters or []:
        parameter = parameters.get(item.reference or "")
        space = parameter.feasible_space if parameter else None
        # Metadata and numbers are filled in with a word, as Katib's validator does with all of them.
        choices[item.name or ""] = (space.list if space else None) or ["1"]
    first = {name: values[0] for name, values in choices.items()}
    yield first
    for name, values in choices.items():
        yield from ({**first, name: value} for value in values[1:])


def _check_manifest(manifest: Mapping[str, Any], template: V1beta1TrialTemplate, source: str) -> Iterator[str]:
    metadata = section(manifest, "metadata")
    for name in ("name", "namespace"):
        if metadata.get(name):
            yield f"{source}: metadata.{name} must be left out: Katib sets it"
    for name in ("apiVersion", "kind"):
        if not manifest.get(name):
            yield f"{source}: {name} is missing"
    for version, kind in (JOB, TRAIN_JOB):
        if manifest.get("kind") == kind and manifest.get("apiVersion") not in (None, version):
            yield f"{source}: apiVersion {manifest['apiVersion']} of a {kind} must be {version}"
    if manifest.get("kind") != JOB[1]:
        return
    pod = section(manifest, "spec", "template", "spec")
    names = [str(container.get("name")) for container in pod.get("containers") or []]
    primary = template.primary_container_name
    if primary and primary not in names:
        yield f"{_KEY}.primaryContainerName: {primary} is no container of the template; {suggestion(primary, names)}"
    policies = ("Never", "OnFailure")
    if pod.get("restartPolicy") not in policies:
        found = pod.get("restartPolicy") or "missing"
        yield f"{source}: spec.template.spec.restartPolicy is {found}; a Job's is {' or '.join(policies)}"


def _check_labels(unfilled: Mapping[str, Any], samples: Sequence[Mapping[str, str]], source: str) -> Iterator[str]:
    """What the API server says against labels only when a trial is made, which then fails."""
    for path in (("metadata", "labels"), ("spec", "template", "metadata", "labels")):
        for name, text in section(unfilled, *path).items():
            values = dict.fromkeys(replace(str(text), values) for values in samples)
            bad = [value for value in values if len(value) > _LONGEST_LABEL or not _LABEL.fullmatch(value)]
            if bad:
                yield (
                    f"{source}: {'.'.join(path)}: {name}: {bad[0]!r} is no label's value: at most {_LONGEST_LABEL}"
                    " letters, digits, '-', '_', '.', the first and the last a letter or digit"
                )


def _check_command(
    unfilled: Mapping[str, Any], template: V1beta1TrialTemplate, samples: list[dict[str, str]], source: str
) -> Iterator[str]:
    if unfilled.get("kind") == TRAIN_JOB[1]:
        containers = [{**section(unfilled, "spec", "trainer"), "name": template.primary_container_name}]
    elif unfilled.get("kind") == JOB[1]:
        containers = section(unfilled, "spec", "template", "spec").get("containers") or []
    else:
        containers = []
    for container in containers:
        if container.get("name") != template.primary_container_name:
            continue
        tokens = [str(token) for token in (*(container.get("command") or []), *(container.get("args") or []))]
        variables = [str(item.get("name")) for item in container.get("env") or []]
        reported = set()
        for values in samples:
            filled = [replace(token, values) for token in tokens]
            problem = wrapping_problem(filled, variables)
            if problem and problem not in reported:
                reported.add(problem)
                yield (
                    f"{source}: container {container['name']}: {json.dumps(filled[problem[0]], ensure_ascii=False)}:"
                    f" {problem[1]}, because Katib gives the command to `sh -c` to collect metrics"
                )
