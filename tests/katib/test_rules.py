"""Katib's rules: each broken one is named with key and value, and all of them together."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from receipt_counter.katib.experiment import check
from tests.katib.documents import (
    COMMAND,
    GOOD,
    JSON_FILE,
    LAYERS,
    MEDIAN_STOP,
    OPTIMIZER,
    RATE,
    STEPPED,
    config_map,
    experiment,
    job,
    read,
    settings,
    template,
    with_command,
)


def space(kind: str = "double", **feasible: Any) -> dict[str, Any]:
    return experiment(parameters=[{"name": "rate", "parameterType": kind, "feasibleSpace": feasible}, LAYERS])


def named(name: str) -> dict[str, Any]:
    return {**experiment(), "metadata": {"name": name, "namespace": "team"}}


def objective(**parts: Any) -> dict[str, Any]:
    return experiment(objective={"type": "maximize", "objectiveMetricName": "accuracy", **parts})


def algorithm(name: str, **values: str) -> dict[str, Any]:
    return experiment(algorithm=settings(name, **values))


def collector(kind: str, **source: Any) -> dict[str, Any]:
    return experiment(metricsCollectorSpec={"collector": {"kind": kind}, "source": source})


def trial(**parts: Any) -> dict[str, Any]:
    return experiment(trialTemplate={**template(), **parts})


def refer(*pairs: tuple[str, str]) -> dict[str, Any]:
    return trial(trialParameters=[{"name": name, "reference": reference} for name, reference in pairs])


def pod(**parts: Any) -> dict[str, Any]:
    whole = job()
    whole["spec"]["template"]["spec"] |= parts
    return trial(trialSpec=whole)


DISCRETE = {"name": "rate", "parameterType": "discrete", "feasibleSpace": {"list": ["0.5", "1"]}}
TEXTS = {"name": "rate", "parameterType": "categorical", "feasibleSpace": {"list": ["a", "b c"]}}
QUOTES = {"name": "rate", "parameterType": "categorical", "feasibleSpace": {"list": ["a", 'b"c']}}
HYPERBAND = {"r_l": "9", "eta": "3", "resource_name": "layers"}
WORD = "${trialParameters.rate}"
KEY = "spec.trialTemplate"
WORKFLOW = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "spec": {"run": COMMAND}}

# Each entry: the Experiment, and what check must say about it.
BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "no spec": ({key: value for key, value in experiment().items() if key != "spec"}, "spec: is missing"),
    "name": (named("Study_1"), "metadata.name: 'Study_1' must consist of lower-case letters"),
    "long name": (named("a" * 60), "metadata.name: " + "a" * 60 + " has 60 characters, at most 54 leave room"),
    "parallel more than all": (
        experiment(parallelTrialCount=5, maxTrialCount=3),
        "spec.parallelTrialCount: 5 is more than spec.maxTrialCount 3",
    ),
    "parallel by default": (
        experiment(parallelTrialCount=None, maxTrialCount=2),
        "spec.parallelTrialCount: 3 is more than spec.maxTrialCount 2",
    ),
    "no trials": (experiment(maxTrialCount=0), "spec.maxTrialCount: 0 must be above 0"),
    "none in parallel": (experiment(parallelTrialCount=0), "spec.parallelTrialCount: 0 must be above 0"),
    "failed below none": (experiment(maxFailedTrialCount=-1), "spec.maxFailedTrialCount: -1 must not be below 0"),
    "failed more than all": (experiment(maxFailedTrialCount=7), "spec.maxFailedTrialCount: 7 is more than"),
    "no objective": (experiment(objective=None), "spec.objective: is missing"),
    "objective type": (objective(type="maximise"), "type: 'maximise' is not valid; did you mean 'maximize'?"),
    "no metric": (objective(objectiveMetricName=""), "spec.objective.objectiveMetricName: is missing"),
    "metric twice": (objective(additionalMetricNames=["accuracy"]), "additionalMetricNames: must not contain"),
    "metric never found": (objective(objectiveMetricName="val/accuracy"), "metric 'val/accuracy' can never be found"),
    "strategy of no metric": (
        objective(metricStrategies=[{"name": "acuracy", "value": "max"}]),
        "spec.objective.metricStrategies[0].name: acuracy is no metric of the objective; did you mean 'accuracy'?",
    ),
    "unknown strategy": (
        objective(metricStrategies=[{"name": "accuracy", "value": "last"}]),
        "metricStrategies[0].value: 'last' is not valid; did you mean 'latest'?",
    ),
    "no algorithm": (experiment(algorithm=None), "spec.algorithm.algorithmName: is missing"),
    "unknown algorithm": (algorithm("tpee"), "spec.algorithm.algorithmName: 'tpee' is not valid; did you mean 'tpe'?"),
    "unknown setting": (algorithm("random", seed="1"), "random has no setting 'seed'; valid: random_state"),
    "setting of another service": (algorithm("tpe", n_ei_candidates="9"), "did you mean 'n_EI_candidates'?"),
    "setting's range": (algorithm("tpe", gamma="1.5"), "gamma is '1.5', must be a number between 0 and 1"),
    "setting's type": (
        algorithm("grid", random_state="x"),
        "random_state is 'x', must be a whole number of at least 0",
    ),
    "setting that fails later": (
        algorithm("multivariate-tpe", n_ei_candidates="0"),
        "n_ei_candidates is '0', must be a whole number above 0",
    ),
    "setting's choice": (algorithm("cmaes", restart_strategy="bibop"), "must be one of none, ipop, bipop"),
    "settings of sobol": (
        algorithm("sobol", random_state="1"),
        "sobol has no settings, so 'random_state' has no effect",
    ),
    "cmaes in one dimension": (
        with_command("a", WORD, algorithm=settings("cmaes")),
        "spec.parameters: cmaes needs at least two of type double or int",
    ),
    "grid without step": (
        algorithm("grid"),
        "spec.parameters[0].feasibleSpace.step: grid needs one for the double rate",
    ),
    "grid too small": (
        experiment(algorithm=settings("grid"), parameters=[STEPPED, LAYERS], maxTrialCount=13),
        "spec.maxTrialCount: 13 is more than the grid's 12 combinations",
    ),
    "hyperband without settings": (algorithm("hyperband"), "hyperband needs the setting r_l (a number of at least 1)"),
    "hyperband's parallelism": (
        experiment(algorithm=settings("hyperband", **HYPERBAND)),
        "spec.parallelTrialCount: 2 is less than the 9 trials of hyperband's widest bracket (r_l 9, eta 3)",
    ),
    "hyperband's eta": (
        algorithm("hyperband", **{**HYPERBAND, "eta": "1"}),
        "eta is '1', must be a number of at least 2",
    ),
    "hyperband's resource": (
        algorithm("hyperband", **{**HYPERBAND, "resource_name": "layer"}),
        "resource_name layer is no parameter; did you mean 'layers'?",
    ),
    "hyperband's discrete values": (
        experiment(algorithm=settings("hyperband", **HYPERBAND), parameters=[DISCRETE, LAYERS]),
        "hyperband takes whole numbers only as discrete values",
    ),
    "hyperband's steps": (
        experiment(algorithm=settings("hyperband", **HYPERBAND), parameters=[STEPPED, LAYERS]),
        "spec.parameters[0].feasibleSpace.step: Katib's hyperband ignores steps",
    ),
    "pbt without settings": (algorithm("pbt"), "pbt needs the setting n_population (a whole number of at least 5)"),
    "early stopping": (
        experiment(earlyStopping={"algorithmName": "medianstopp"}),
        "spec.earlyStopping.algorithmName: 'medianstopp' is not valid; did you mean 'medianstop'?",
    ),
    "early stopping's setting": (
        experiment(earlyStopping=settings("medianstop", start_step="0")),
        "start_step is '0', must be a whole number of at least 1",
    ),
    "early stopping without lines": (
        experiment(earlyStopping=MEDIAN_STOP, metricsCollectorSpec={"collector": {"kind": "TensorFlowEvent"}}),
        "spec.earlyStopping: needs the metrics collector StdOut or File",
    ),
    "resume policy": (experiment(resumePolicy="Always"), "spec.resumePolicy: 'Always' is not valid; valid: Never"),
    "no parameters": (experiment(parameters=None), "spec.parameters: is missing"),
    "parameter twice": (experiment(parameters=[RATE, RATE, LAYERS]), "spec.parameters[1].name: rate is declared twice"),
    "parameter type": (space("float", min="1", max="2"), "spec.parameters[0].parameterType: 'float' is not valid"),
    "no space": (space(), "spec.parameters[0].feasibleSpace: is missing"),
    "list of a double": (space(min="1", max="2", list=["1"]), "feasibleSpace.list: a parameter of type double has min"),
    "no maximum": (space(min="1"), "spec.parameters[0].feasibleSpace.max: is missing"),
    "maximum below minimum": (space(min="2", max="1"), "spec.parameters[0].feasibleSpace.min: 2 is more than max 1"),
    "no number": (space(min="a", max="1"), "spec.parameters[0].feasibleSpace.min: 'a' is no finite number"),
    "infinity": (space(min="0", max="inf"), "spec.parameters[0].feasibleSpace.max: 'inf' is no finite number"),
    "no whole number": (space("int", min="1.0", max="2"), "feasibleSpace.min: '1.0' is no whole number"),
    "step": (space(min="1", max="2", step="0"), "feasibleSpace.step: 0 must be above 0"),
    "distribution": (space(min="1", max="2", distribution="loguniform"), "did you mean 'logUniform'?"),
    "logarithm of nothing": (
        space(min="0", max="2", distribution="logUniform"),
        "min: 0 must be above 0 for distribution",
    ),
    "ignored distribution": (
        experiment(
            algorithm=settings("cmaes"),
            parameters=[{**RATE, "feasibleSpace": {"min": "1", "max": "2", "distribution": "logUniform"}}, LAYERS],
        ),
        "feasibleSpace.distribution: Katib's cmaes does not draw logUniform; valid: uniform",
    ),
    "range of a categorical": (
        space("categorical", list=["1"], min="1"),
        "min: a parameter of type categorical has only",
    ),
    "no list": (space("discrete", min="1"), "spec.parameters[0].feasibleSpace.list: is missing"),
    "listed twice": (space("categorical", list=["1", "1"]), "feasibleSpace.list: '1' is listed twice"),
    "collector": (collector("Stdout"), "collector.kind: 'Stdout' is not valid; did you mean 'StdOut'?"),
    "relative path": (
        collector("File", fileSystemPath={"path": "m.log"}),
        "fileSystemPath.path: 'm.log' must be absolute",
    ),
    "file format": (
        collector("File", fileSystemPath={"path": "/m", "format": "json"}),
        "spec.metricsCollectorSpec.source.fileSystemPath.format: 'json' is not valid",
    ),
    "directory of a file": (
        collector("File", fileSystemPath={"kind": "Directory"}),
        "'Directory' does not suit collector",
    ),
    "filter of JSON": (
        experiment(
            metricsCollectorSpec={**JSON_FILE, "source": {**JSON_FILE["source"], "filter": {"metricsFormat": []}}}
        ),
        "spec.metricsCollectorSpec.source.filter: must be absent when the metrics file is JSON",
    ),
    "format of events": (collector("TensorFlowEvent", fileSystemPath={"format": "TEXT"}), "format: must be absent for"),
    "no custom collector": (collector("Custom"), "collector.customCollector: is missing for kind Custom"),
    "prometheus path": (
        collector("PrometheusMetric", httpGet={"port": 80, "path": "m"}),
        "httpGet.path: m must begin with /",
    ),
    "no regular expression": (collector("StdOut", filter={"metricsFormat": ["("]}), "'(' is no regular expression"),
    "one group": (collector("StdOut", filter={"metricsFormat": ["(a)"]}), "'(a)' needs two groups"),
    "look-around": (collector("StdOut", filter={"metricsFormat": ["(?=a)(b)(c)"]}), "Go's regular expressions lack"),
    "prefixes in events": (
        experiment(
            objective={"type": "maximize", "objectiveMetricName": "acc", "additionalMetricNames": ["acc5"]},
            metricsCollectorSpec={"collector": {"kind": "TensorFlowEvent"}},
        ),
        "metric acc begins acc5, and collector TensorFlowEvent takes one for the other",
    ),
    "no template": (experiment(trialTemplate=None), f"{KEY}: is missing"),
    "no container name": (trial(primaryContainerName=""), f"{KEY}.primaryContainerName: is missing"),
    "other container name": (
        trial(primaryContainerName="man"),
        f"{KEY}.primaryContainerName: man is no container of the template; did you mean 'main'?",
    ),
    "no trial parameters": (trial(trialParameters=None), f"{KEY}.trialParameters: is missing"),
    "no source": (trial(trialSpec=None), f"{KEY}: needs exactly one of trialSpec and configMap"),
    "half a source": (
        trial(trialSpec=None, configMap={"configMapName": "a"}),
        f"{KEY}.configMap.templatePath: is missing",
    ),
    "absent source": (
        trial(trialSpec=None, configMap={"configMapName": "a", "configMapNamespace": "b", "templatePath": "c"}),
        f"{KEY}.configMap: ConfigMap a is not in the study's file",
    ),
    "unnamed trial parameter": (refer(("rate", ""), ("layers", "layers")), f"{KEY}.trialParameters[0]: needs a name"),
    "trial parameter twice": (
        refer(("rate", "rate"), ("rate", "layers")),
        f"{KEY}.trialParameters[1].name: rate is declared twice",
    ),
    "reference twice": (
        refer(("rate", "rate"), ("layers", "rate")),
        "trialParameters[1].reference: rate is referenced twice",
    ),
    "reference to nothing": (
        refer(("rate", "rat"), ("layers", "layers")),
        f"{KEY}.trialParameters[0].reference: rat is no parameter; did you mean 'rate'?",
    ),
    "no such metadata": (
        refer(("rate", "rate"), ("layers", "${trialSpec.Nme}")),
        "${trialSpec.Nme}: no such metadata of a trial; did you mean 'Name'?",
    ),
    "no such label": (
        refer(("rate", "rate"), ("layers", "${trialSpec.Labels[a]}")),
        "${trialSpec.Labels[a]}: the trialSpec has no such entry",
    ),
    "placeholder nowhere": (
        refer(("rate", "rate"), ("layrs", "layers")),
        f"{KEY}.trialParameters[1].name: ${{trialParameters.layrs}} is nowhere in the template; did you mean 'layers'?",
    ),
    "placeholder of nothing": (
        refer(("rate", "rate")),
        f"{KEY}: ${{trialParameters.layers}} in the template is no trialParameter; valid: rate",
    ),
    "unused parameter": (
        experiment(parameters=[RATE, LAYERS, OPTIMIZER]),
        "spec.parameters[2]: no trialParameter refers to optimizer",
    ),
    "name in the template": (
        trial(trialSpec={**job(), "metadata": {"name": "a"}}),
        "spec.trialTemplate.trialSpec: metadata.name must be left out",
    ),
    "label of a value": (
        trial(trialSpec={**job(), "metadata": {"labels": {"rate": "r_${trialParameters.rate}_"}}}),
        "spec.trialTemplate.trialSpec: metadata.labels: rate: 'r_1_' is no label's value: at most 63 letters",
    ),
    "conditions of an own kind": (trial(trialSpec=WORKFLOW), f"{KEY}.successCondition: is missing"),
    "old Job": (
        trial(trialSpec={**job(), "apiVersion": "batch/v1beta1"}),
        "apiVersion batch/v1beta1 of a Job must be batch/v1",
    ),
    "restart policy": (pod(restartPolicy="Always"), "restartPolicy is Always; a Job's is Never or OnFailure"),
    "no restart policy": (pod(restartPolicy=None), "restartPolicy is missing; a Job's is Never or OnFailure"),
    "spaces": (with_command("a", "--text=b c", WORD), 'container main: "--text=b c": it is split at its spaces'),
    "spaces of a value": (
        with_command("a", f"--text={WORD}", parameters=[TEXTS]),
        'container main: "--text=b c": it is split at its spaces',
    ),
    "JSON": (with_command("a", '{"b":1}', WORD), "the shell removes the quotes"),
    "quote in a value": (
        with_command("a", WORD, parameters=[QUOTES]),
        "spec.trialTemplate.trialSpec: with the values {'rate': 'b\"c'} it is not valid JSON",
    ),
    "script's last line break": (with_command("sh", "-c", f"a {WORD}\n"), "the script ends in a line break"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_rules_are_named(name: str, tmp_path: Path) -> None:
    document, expected = BROKEN[name]

    problems = check(read(tmp_path, document))

    assert any(expected in problem for problem in problems), problems


def test_all_broken_rules_are_told_together(tmp_path: Path) -> None:
    broken = experiment(
        parallelTrialCount=9, resumePolicy="Sometimes", algorithm=settings("tpe", gamma="2"), objective=None
    )

    keys = [problem.split(":")[0] for problem in check(read(tmp_path, broken))]

    assert keys == [
        "spec.parallelTrialCount",
        "spec.objective",
        "spec.algorithm.algorithmSettings[0].value",
        "spec.resumePolicy",
    ]


def test_missing_trial_parameters_are_told_once(tmp_path: Path) -> None:
    assert check(read(tmp_path, trial(trialParameters=None))) == [f"{KEY}.trialParameters: is missing"]


FINE = {
    "quoted value": with_command("a", f'--text="{WORD}"', parameters=[TEXTS]),
    "script": with_command("sh", "-c", f"a; b {WORD} 'c d' | e"),
    "variable": with_command("a", "$(HOME)/x", WORD),
    "anything without a wrapper": with_command(
        "a", "b; c 'd", WORD, metricsCollectorSpec={"collector": {"kind": "Push"}}
    ),
    "hyperband's widest bracket by floating-point logarithms: 3^4, not 3^5": experiment(
        algorithm=settings("hyperband", r_l="243", eta="3", resource_name="layers"),
        parallelTrialCount=81,
        maxTrialCount=100,
    ),
    "one combination fewer than the grid": experiment(
        algorithm=settings("grid"), parameters=[STEPPED, LAYERS], maxTrialCount=11
    ),
}
FINE["variable"]["spec"]["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]["containers"][0]["env"] = [
    {"name": "HOME", "value": "/root"}
]


@pytest.mark.parametrize("name", FINE)
def test_what_works_in_katib_is_left_alone(name: str, tmp_path: Path) -> None:
    assert check(read(tmp_path, config_map("other", {}), FINE[name])) == []


def test_a_bare_placeholder_in_a_config_map_must_stay_text(tmp_path: Path) -> None:
    maps, study = copy.deepcopy(GOOD["template in a ConfigMap"])
    maps["data"]["trial.yaml"] = maps["data"]["trial.yaml"].replace("--layers=", "")

    (problem,) = check(read(tmp_path, maps, study))

    assert "ConfigMap templates, trial.yaml:" in problem
    assert "command[3]: 1 is a whole number, must be text" in problem
