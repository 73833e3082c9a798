"""Study files: read, checked, written, and given Katib's defaults."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kubeflow_katib_api.models import V1beta1Experiment

from receipt_counter.errors import UserError
from receipt_counter.katib import kubernetes_yaml
from receipt_counter.katib.defaults import with_defaults
from receipt_counter.katib.experiment import StudyDocument, check, read_document, write_document
from receipt_counter.katib.template import primary_container, render_trial
from tests.katib.documents import GOOD, JSON_FILE, config_map, experiment, job, read, template


@pytest.mark.parametrize("name", GOOD)
def test_good_studies_are_accepted_and_survive_writing(name: str, tmp_path: Path) -> None:
    document = read(tmp_path, *GOOD[name])

    assert check(document) == []
    write_document(document, tmp_path / "again.yaml")
    again = read_document(tmp_path / "again.yaml")
    assert again == document
    assert again.fingerprint == document.fingerprint
    write_document(again, tmp_path / "third.yaml")
    assert (tmp_path / "third.yaml").read_bytes() == (tmp_path / "again.yaml").read_bytes()


def test_a_list_of_objects_is_the_same_study(tmp_path: Path) -> None:
    objects = GOOD["template in a ConfigMap"]

    documents = read(tmp_path, *objects)
    listed = read(tmp_path, {"apiVersion": "v1", "kind": "List", "items": objects})

    assert listed == documents


# Each entry: the text of the file, and what its message must say.
HEAD = "apiVersion: kubeflow.org/v1beta1\nkind: Experiment\nmetadata: {name: study}\nspec:\n"
RUNTIME = "---\napiVersion: trainer.kubeflow.org/v1alpha1\nkind: TrainingRuntime\nmetadata: {{name: {}}}\nspec: {}\n"
JOB_HEAD = HEAD + (
    "  trialTemplate:\n    trialSpec:\n      apiVersion: batch/v1\n      kind: Job\n      spec:\n        template:\n"
)
BAD_FORM = {
    "no YAML": ("spec: [", "study.yaml:1: not valid YAML"),
    "empty": ("---\n", "holds no Experiment"),
    "no mapping": ("- 1\n", "study.yaml:1: must be a Kubernetes object"),
    "two Experiments": (HEAD + "---\n" + HEAD, "study.yaml:6: a second Experiment (the first is at line 1)"),
    "old version": (
        HEAD.replace("v1beta1", "v1alpha3"),
        "apiVersion: kubeflow.org/v1alpha3 of kind Experiment must be",
    ),
    "other kind": (HEAD + "---\nkind: Secret\n", "study.yaml:6: kind: Secret: a study file holds an Experiment and"),
    "misspelled in spec": (
        HEAD + "  maxTrialCout: 3\n",
        "study.yaml:5: spec.maxTrialCout: unknown field; did you mean",
    ),
    "misspelled deeper": (
        HEAD + "  objective:\n    objectivMetricName: a\n",
        "study.yaml:6: spec.objective.objectivMetricName: unknown field; did you mean 'objectiveMetricName'?",
    ),
    "misspelled in a list": (
        HEAD + "  parameters:\n  - name: a\n    feasibleSpace: {mim: '1'}\n",
        "spec.parameters[0].feasibleSpace.mim: unknown field; did you mean 'min'?",
    ),
    "number for text": (
        HEAD + "  parameters:\n  - feasibleSpace:\n      min: 1e-5\n",
        'study.yaml:7: spec.parameters[0].feasibleSpace.min: 1e-5 is a number, must be text: write "1e-5" in quotes',
    ),
    "yes for text": (
        HEAD + "  parameters:\n  - feasibleSpace: {list: [yes, 'no']}\n",
        "spec.parameters[0].feasibleSpace.list[0]: yes is true or false, must be text",
    ),
    "text for a number": (HEAD + "  maxTrialCount: '3'\n", "spec.maxTrialCount: 3 is text, must be a whole number"),
    "fraction for a count": (HEAD + "  maxTrialCount: 3.5\n", "spec.maxTrialCount: 3.5 is a number, must be a whole"),
    "one for many": (HEAD + "  parameters: {name: a}\n", "spec.parameters: must be a list"),
    "many for one": (HEAD + "  maxTrialCount: [3]\n", "spec.maxTrialCount: must be a whole number, not a list"),
    "written twice": (
        HEAD + "  maxTrialCount: 3\n  maxTrialCount: 4\n",
        "study.yaml:6: spec.maxTrialCount: is written twice (first at line 5)",
    ),
    "architecture search": (HEAD + "  nasConfig: {graphConfig: {}}\n", "spec.nasConfig: architecture search (NAS)"),
    "architecture search algorithm": (HEAD + "  algorithm: {algorithmName: enas}\n", "enas searches architectures"),
    "misspelled command": (
        JOB_HEAD + "          spec:\n            containers:\n            - {name: a, comand: [b]}\n",
        "study.yaml:13: spec.trialTemplate.trialSpec.spec.template.spec.containers[0].comand: unknown field; did",
    ),
    "misspelled in a TrainJob": (
        HEAD + "  trialTemplate:\n    trialSpec: {kind: TrainJob, spec: {trainer: {comand: [a], newer: 1}}}\n",
        "trialSpec.spec.trainer.comand: unknown field; did you mean 'command'?",
    ),
    "misspelled restartPolicy": (
        JOB_HEAD + "          spec: {containers: [{name: a}], restartpolicy: Never}\n",
        "spec.template.spec.restartpolicy: unknown field; did you mean 'restartPolicy'?",
    ),
    "misspelled in a Job": (
        JOB_HEAD.replace("template:\n        ", "").replace("        template:\n", "        backofLimit: 1\n"),
        "spec.trialTemplate.trialSpec.spec.backofLimit: unknown field; did you mean 'backoffLimit'?",
    ),
    "placeholder for a number": (
        JOB_HEAD.replace("        template:\n", "        parallelism: ${trialParameters.n}\n        template: {}\n"),
        "trialSpec.spec.parallelism: ${trialParameters.n} is text, must be a whole number",
    ),
    "number in a command": (
        JOB_HEAD + "          spec:\n            containers:\n            - {name: a, command: [sleep, 3]}\n",
        "containers[0].command[1]: 3 is a whole number, must be text",
    ),
    "anchor in itself": (
        HEAD + "  trialTemplate: &a\n    trialSpec: {x: *a}\n",
        "an anchor is used inside its own value",
    ),
    "two ConfigMaps of a name": (
        HEAD + "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n" * 2,
        "study.yaml:10: a second ConfigMap a (the first is at line 6)",
    ),
    "two TrainingRuntimes of a name": (
        HEAD + RUNTIME.format("a", "{}") * 2,
        "study.yaml:11: a second TrainingRuntime a (the first is at line 6)",
    ),
    "misspelled in a TrainingRuntime": (
        HEAD + RUNTIME.format("a", "{mlPolicy: {numNode: 2}}"),
        "study.yaml:9: spec.mlPolicy.numNode: unknown field; did you mean 'numNodes'?",
    ),
    "TrainingRuntime of another namespace": (
        HEAD + RUNTIME.format("a, namespace: other", "{}"),
        "metadata.namespace: other of TrainingRuntime a must be ",
    ),
    "TrainingRuntime of another version": (
        HEAD + RUNTIME.format("a", "{}").replace("v1alpha1", "v2"),
        "apiVersion: trainer.kubeflow.org/v2 of kind TrainingRuntime must be trainer.kubeflow.org/v1alpha1",
    ),
    "number in a ConfigMap": (
        HEAD + "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: 1}\n",
        "study.yaml:9: data[x]: 1 is a whole number, must be text",
    ),
    "binary ConfigMap": (
        HEAD + "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\nbinaryData: {x: aGk=}\n",
        "binaryData: a study's ConfigMaps hold text only",
    ),
    "ConfigMap of another namespace": (
        HEAD + "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: b}\n",
        "metadata.namespace: b of ConfigMap a must be default",
    ),
}


@pytest.mark.parametrize("name", BAD_FORM)
def test_bad_files_are_refused_with_file_and_line(name: str, tmp_path: Path) -> None:
    text, expected = BAD_FORM[name]
    path = tmp_path / "study.yaml"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(UserError) as caught:
        read_document(path)

    assert expected in caught.value.message
    assert str(path) in caught.value.message


def test_all_problems_of_a_file_are_told_together(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(HEAD + "  maxTrialCout: 3\n  parallelTrialCount: x\n  resumPolicy: Never\n", encoding="utf-8")

    with pytest.raises(UserError) as caught:
        read_document(path)

    assert [line.split(":")[1] for line in caught.value.message.splitlines()] == ["5", "6", "7"]


def test_a_job_in_a_config_map_is_checked_like_one_in_place(tmp_path: Path) -> None:
    objects = json.loads(json.dumps(GOOD["template in a ConfigMap"]).replace("restartPolicy", "restartPolice"))

    with pytest.raises(
        UserError, match=r"ConfigMap templates, trial.yaml:\d+: spec.template.spec.restartPolice: unknown"
    ):
        read(tmp_path, *objects)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such study file"):
        read_document(tmp_path / "absent.yaml")


def test_an_experiment_fetched_from_a_cluster_is_read(tmp_path: Path) -> None:
    fetched = experiment()
    fetched["metadata"] |= {"creationTimestamp": "2026-01-31T12:00:00Z", "resourceVersion": "1", "labels": {"a": "b"}}
    fetched["status"] = {"trials": 2, "startTime": "2026-01-31T12:00:00Z"}

    document = read(tmp_path, fetched)

    assert check(document) == []
    assert document.fingerprint == read(tmp_path, experiment()).fingerprint
    write_document(document, tmp_path / "again.yaml")
    assert read_document(tmp_path / "again.yaml") == document


def test_defaults_are_katibs() -> None:
    bare = V1beta1Experiment.from_dict(
        experiment(
            parallelTrialCount=None,
            objective={"type": "minimize", "objectiveMetricName": "loss", "additionalMetricNames": ["accuracy"]},
            metricsCollectorSpec={"collector": {"kind": "File"}},
        )
    )

    filled = with_defaults(bare).to_dict()["spec"]

    assert filled["parallelTrialCount"] == 3
    assert filled["resumePolicy"] == "Never"
    assert filled["objective"]["metricStrategies"] == [
        {"name": "loss", "value": "min"},
        {"name": "accuracy", "value": "min"},
    ]
    condition = 'status.conditions.#(type=="{}")#|#(status=="True")#'
    assert filled["trialTemplate"]["successCondition"] == condition.format("Complete")
    assert filled["trialTemplate"]["failureCondition"] == condition.format("Failed")
    place = {"path": "/var/log/katib/metrics.log", "kind": "File", "format": "TEXT"}
    assert filled["metricsCollectorSpec"]["source"]["fileSystemPath"] == place
    assert [item["feasibleSpace"]["distribution"] for item in filled["parameters"]] == ["uniform", "uniform"]
    assert bare.spec.parallel_trial_count is None


def test_written_defaults_do_not_change_the_fingerprint(tmp_path: Path) -> None:
    document = read(tmp_path, experiment())
    filled = StudyDocument(with_defaults(document.experiment), document.config_maps)

    assert filled.fingerprint == document.fingerprint
    assert len(document.fingerprint) == 16
    int(document.fingerprint, 16)


def test_the_fingerprint_sees_every_change(tmp_path: Path) -> None:
    plain = read(tmp_path, experiment())
    more = read(tmp_path, experiment(maxTrialCount=7))
    mapped = read(tmp_path, config_map("a", {"x": "1"}), experiment())

    assert len({plain.fingerprint, more.fingerprint, mapped.fingerprint}) == 3


_TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=12) | st.sampled_from(
    [
        "1e-5",
        "y",
        "no",
        "null",
        "~",
        "0o17",
        "1:30",
        "2026-01-01",
        "1_000",
        ".5",
        "-",
        "a\nb\n",
        "  x",
        "\t",
        "#",
        "<<",
        "=",
    ]
)


@settings(max_examples=60, deadline=None)
@given(
    value=st.recursive(
        _TEXT | st.booleans() | st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    )
)
def test_whatever_is_written_is_read_back(value: Any) -> None:
    assert kubernetes_yaml.parse(kubernetes_yaml.dump({"x": value})) == {"x": value}


_NUMBER = st.floats(-1e6, 1e6).map(repr)
_PARAMETER = st.fixed_dictionaries(
    {
        "name": _TEXT,
        "parameterType": st.sampled_from(["double", "int", "discrete", "categorical"]),
        "feasibleSpace": st.fixed_dictionaries(
            {}, optional={"min": _NUMBER, "max": _NUMBER, "step": _NUMBER, "list": st.lists(_TEXT, max_size=3)}
        ),
    }
)


@settings(max_examples=40, deadline=None)
@given(parameters=st.lists(_PARAMETER, max_size=3), data=st.dictionaries(st.sampled_from(["a", "b.yaml"]), _TEXT))
def test_any_parameters_and_config_maps_survive_writing(
    parameters: list[dict[str, Any]], data: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    spec = experiment(parameters=parameters, metricsCollectorSpec=JSON_FILE, trialTemplate=template(job(["a", "1"])))
    document = StudyDocument(V1beta1Experiment.from_dict(spec), {"settings": data})
    path = tmp_path_factory.getbasetemp() / "hypothesis.yaml"

    write_document(document, path)

    assert read_document(path) == document
    check(document)  # whatever it finds, it finds without a traceback


_PARTS = st.sampled_from([None, {}, [], "", "x", "${trialParameters.rate}", 0, -1, 2.5, True, {"a": "b"}, ["a"], [{}]])


@settings(max_examples=150, deadline=None)
@given(name=st.sampled_from(sorted(GOOD)), place=st.integers(0, 200), part=_PARTS)
def test_no_damage_to_a_study_makes_a_traceback(
    name: str, place: int, part: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    objects = json.loads(json.dumps(GOOD[name]))
    spots = list(_spots(objects))
    holder, key = spots[place % len(spots)]
    holder[key] = part
    try:
        document = read(tmp_path_factory.getbasetemp(), *(item for item in objects if isinstance(item, dict)))
        if not check(document):
            values = {item.name: "1" for item in document.experiment.spec.parameters}
            primary_container(document, render_trial(document, "t", values))
    except UserError:
        pass


def _spots(holder: Any) -> Iterator[tuple[Any, Any]]:
    for key, value in list(holder.items() if isinstance(holder, dict) else enumerate(holder)):
        yield holder, key
        if isinstance(value, dict | list):
            yield from _spots(value)
