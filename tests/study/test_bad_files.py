"""Study files with mistakes: what is said of each, word for word."""

from __future__ import annotations

from pathlib import Path

import pytest

from receipt_counter.cli.main import main
from receipt_counter.config.loading import resolve
from receipt_counter.errors import UserError
from receipt_counter.storage.store import Store
from receipt_counter.study.plan import plan_ablation, plan_search
from tests.study.test_estimate import STEPS, past_run

RATE = "parameters: {training.learning_rate: {values: [1e-3, 1e-4]}}"
BATCH = "parameters.data.batch_size:"
SEARCHES = {
    "empty": ("# nothing", "mine.yaml: the study file is empty; leave its option out to use the defaults"),
    "broken YAML": (
        "seeds: [1]\nparameters: {a: [1, 2}",
        "mine.yaml:2: not valid YAML: expected ',' or ']', but got '}'",
    ),
    "a list": ("- seeds", "mine.yaml: the top level must be a mapping such as 'training: {epochs: 3}'"),
    "two documents": (f"{RATE}\n---\nseeds: [1]", "mine.yaml:3: a second YAML document begins; a study file is one"),
    "no parameters": ("seeds: [1]", "mine.yaml: no parameters: there is nothing to search"),
    "nothing below parameters": (
        "parameters:",
        "mine.yaml:1: parameters.KEY: write it as KEY: {values: [...]} or {min: ..., max: ...}",
    ),
    "misspelled setting": (
        f"{RATE}\nbudgets: {{trials: 3}}",
        "mine.yaml:2: budgets.trials: unknown key; did you mean 'budget.trials'?",
    ),
    "beginning of a name": (
        f"{RATE}\nalgorithm: {{name: bayes}}",
        "mine.yaml:2: algorithm.name: 'bayes' is not one of them; did you mean 'bayesianoptimization'? (valid: random,"
        " grid, tpe, multivariate-tpe, bayesianoptimization, cmaes, sobol)",
    ),
    "a value for a group": (
        f"{RATE}\nbudget: 5",
        "mine.yaml:2: budget: 5 is no group of keys; write it as budget: {trials: ...}",
    ),
    "misspelled parameter": (
        "parameters:\n  training.learnin_rate: {values: [1, 2]}",
        "mine.yaml:2: parameters: training.learnin_rate: unknown key; did you mean training.learning_rate?",
    ),
    "where it runs": (
        "parameters: {cluster.gpus: {values: [1, 2]}}",
        "mine.yaml:1: cluster.gpus: has no effect in a study: all its trials run in the same way; set it in the config",
    ),
    "misspelled word": (
        "parameters: {data.batch_size: {vals: [8, 16]}}",
        f"mine.yaml:1: {BATCH} vals: unknown key; did you mean 'values'? (valid: values, min, max, step, log)",
    ),
    "wrong type": (
        "parameters: {data.batch_size: {values: [8, many]}}",
        f"mine.yaml:1: {BATCH} 'many' is not a whole number",
    ),
    "neither range nor values": (
        "parameters: {data.batch_size: 8}",
        f"mine.yaml:1: {BATCH} write it as data.batch_size: {{values: [...]}} or {{min: ..., max: ...}}",
    ),
    "one value": (
        "parameters: {data.batch_size: {values: [8]}}",
        f"mine.yaml:1: {BATCH} values: [8] is no list of at least two values",
    ),
    "value twice": (
        "parameters: {data.batch_size: {values: [8, 16, 8]}}",
        f"mine.yaml:1: {BATCH} values: [8, 16, 8] names one twice",
    ),
    "range without max": (
        "parameters: {data.batch_size: {min: 16}}",
        f"mine.yaml:1: {BATCH} give either `values`, or `min` and `max` (with `step` or `log`)",
    ),
    "range upside down": (
        "parameters: {data.batch_size: {min: 16, max: 8}}",
        f"mine.yaml:1: {BATCH} min 16 is not below max 8",
    ),
    "range of texts": (
        "parameters: {training.optimizer.name: {min: adamw, max: sgd}}",
        "mine.yaml:1: parameters.training.optimizer.name: only numbers have a range; list its `values`",
    ),
    "log with step": (
        "parameters: {data.batch_size: {min: 8, max: 16, step: 8, log: true}}",
        f"mine.yaml:1: {BATCH} step: 8 stands beside `log`: a logarithmic range has no steps",
    ),
    "log from 0": (
        "parameters: {training.optimizer.weight_decay: {min: 0, max: 1, log: true}}",
        "mine.yaml:1: parameters.training.optimizer.weight_decay: a logarithmic range begins above 0",
    ),
    "a step of text": (
        "parameters: {data.batch_size: {min: 8, max: 16, step: big}}",
        f"mine.yaml:1: {BATCH} step: 'big' is not a number above 0",
    ),
    "a value the config refuses": (
        "parameters:\n  model.cross_attention.num_heads: {values: [4, 5]}",
        "mine.yaml:2: model.cross_attention.num_heads: 5 heads do not divide the width 64; nearest that does: 4",
    ),
    "unknown algorithm": (
        f"{RATE}\nalgorithm: {{name: tpi}}",
        "mine.yaml:2: algorithm.name: 'tpi' is not one of them; did you mean 'tpe'? (valid: random, grid, tpe,"
        " multivariate-tpe, bayesianoptimization, cmaes, sobol)",
    ),
    "unknown metric": (
        f"{RATE}\nobjective: {{metric: classification_acuracy}}",
        "mine.yaml:2: objective.metric: 'classification_acuracy' is not one of them; did you mean"
        " 'classification_accuracy'?",
    ),
    "metrics that are no list": (
        f"{RATE}\npriority_metrics: answer_accuracy",
        "mine.yaml:2: priority_metrics: 'answer_accuracy' is not a list of texts, such as [one, another]",
    ),
    "seed twice": (f"{RATE}\nseeds: [1, 1]", "mine.yaml:2: seeds: [1, 1]: at least one, each once"),
    "no seed": (f"{RATE}\nseeds: []", "mine.yaml:2: seeds: []: at least one, each once"),
    "unknown preset": (
        f"{RATE}\npresets: {{labtop: {{seeds: [1]}}}}",
        "mine.yaml:2: presets.labtop: no such preset; did you mean 'laptop'? (valid: full, laptop, study)",
    ),
    "setting twice": (
        f"{RATE}\nseeds: [1]\nseeds: [2]",
        "mine.yaml:3: seeds is written twice (first at mine.yaml:2)",
    ),
    "more trials than a grid has": (
        f"{RATE}\nalgorithm: {{name: grid}}\nbudget: {{trials: 9}}",
        "mine.yaml: spec.maxTrialCount: 9 is more than the grid's 2 combinations",
    ),
    "several at once": (
        "parameters: {data.batch_sice: {values: [1, 2]}}\nbudget: {trials: 0}",
        "mine.yaml:2: budget.trials: 0 is below the smallest value 1\n"
        "mine.yaml:1: parameters: data.batch_sice: unknown key; did you mean data.batch_size?",
    ),
}

TWO = "families: {data: {augmented: {data.augmentation: true}, short: {data.max_text_length: 16}}}"
LINES = TWO.count("\n") + 1
LABEL = "a variation's name begins and ends with a letter or digit and has at most 63: it is a label too"
CHANGES = "give each variation a name and the keys it changes: {NAME: {KEY: VALUE}}"
ABLATIONS = {
    "no families": (
        "seeds: [1]",
        "mine.yaml: no families of variations and no path: nothing is compared with the baseline",
    ),
    "nothing below families": ("families:", f"mine.yaml:1: families: {CHANGES}"),
    "variation without keys": ("families: {data: {a: {}}}", f"mine.yaml:1: families.data: {CHANGES}"),
    "unknown key": (
        "families: {data: {a: {data.augmentatoin: false}}}",
        "mine.yaml:1: a: data.augmentatoin: unknown key; did you mean data.augmentation?",
    ),
    "value of a wrong type": (
        "families: {data: {a: {data.augmentation: maybe}}}",
        "mine.yaml:1: a: data.augmentation: 'maybe' is not true or false",
    ),
    "variation twice": (
        "families:\n  data:\n    a: {data.augmentation: true}\n    a: {data.max_text_length: 16}",
        "mine.yaml:4: families.data.a is written twice (first at mine.yaml:3)",
    ),
    "variation in two families": (
        "families:\n  data: {a: {data.augmentation: true}}\n  other: {a: {data.max_text_length: 16}}",
        "mine.yaml:3: a is written twice (first at mine.yaml:2)",
    ),
    "name of the baseline": (
        "families: {data: {baseline: {data.augmentation: true}}}",
        "mine.yaml:1: 'baseline': a variation's name is letters, digits, '-', '_', and not baseline",
    ),
    "name with a space": (
        "families: {data: {a b: {data.augmentation: true}}}",
        "mine.yaml:1: 'a b': a variation's name is letters, digits, '-', '_', and not baseline",
    ),
    "name that ends in a sign": (
        "families: {data: {a_: {data.augmentation: true}}}",
        f"mine.yaml:1: 'a_': {LABEL}",
    ),
    "name that is too long for a label": (
        f"families: {{data: {{{'a' * 64}: {{data.augmentation: true}}}}}}",
        f"mine.yaml:1: {'a' * 64!r}: {LABEL}",
    ),
    "unknown design": (
        f"{TWO}\ndesign: {{name: factorial, factors: [augmented, short]}}",
        "mine.yaml:2: design.name: 'factorial' is not one of them; did you mean 'full-factorial'? (valid:"
        " one-at-a-time, full-factorial, fractional-factorial)",
    ),
    "design without its keys": (
        f"{TWO}\ndesign: full-factorial",
        "mine.yaml:2: design: 'full-factorial' is no group of keys; write it as design: {name: ...}",
    ),
    "unknown key of a design": (
        f"{TWO}\ndesign: {{factor: [short]}}",
        "mine.yaml:2: design.factor: unknown key; did you mean 'factors'? (valid: name, factors, resolution)",
    ),
    "unknown factor": (
        f"{TWO}\ndesign: {{name: full-factorial, factors: [augmented, shrot]}}",
        "mine.yaml:2: design.factors: 'shrot': no such variation; did you mean 'short'? (valid: augmented, short)",
    ),
    "factor twice": (
        f"{TWO}\ndesign: {{name: full-factorial, factors: [short, short]}}",
        "mine.yaml:2: design.factors: 'short' is named twice",
    ),
    "one factor": (
        f"{TWO}\ndesign: {{name: full-factorial, factors: [short]}}",
        "mine.yaml:2: design.factors: ['short']: a factorial design has at least two factors",
    ),
    "factors without a factorial": (
        f"{TWO}\ndesign: {{factors: [augmented, short]}}",
        "mine.yaml:2: design.factors: only factorial designs have factors; name one with design.name",
    ),
    "resolution of a full factorial": (
        f"{TWO}\ndesign: {{name: full-factorial, factors: [augmented, short], resolution: 4}}",
        "mine.yaml:2: design.resolution: 4: only a fractional-factorial has one; leave it out",
    ),
    "resolution that there is not": (
        f"{TWO}\ndesign: {{name: fractional-factorial, factors: [augmented, short], resolution: 2}}",
        "mine.yaml:2: design.resolution: 2 is below the smallest value 3",
    ),
    "factor without effect": (
        "families: {data: {same: {data.augmentation: false}, short: {data.max_text_length: 16}}}\n"
        "design: {name: full-factorial, factors: [same, short]}",
        "mine.yaml:1: design: same is the same as baseline: it is no factor here",
    ),
    "factors that do not go together": (
        "families:\n  strategy:\n    one: {training.three_stage.enabled: false}\n"
        "    late: {training.three_stage.stage2.start_epoch: 3}\ndesign: {name: full-factorial, factors: [one, late]}",
        "mine.yaml:5: one.late: training.three_stage.stage2.start_epoch: has no effect while"
        " training.three_stage.enabled is False: there is one stage",
    ),
    "path to nowhere": (
        "path: {to: mien.yaml}",
        "mine.yaml:1: path.to: mien.yaml: no such config file; did you mean 'mine.yaml'? (valid: mine.yaml)",
    ),
    "path without an end": (
        "path: {order: [seed]}",
        "mine.yaml:1: path: no `to`: name the config it leads to, a file or {KEY: VALUE}",
    ),
    "path without its keys": ("path: best.yaml", "mine.yaml:1: path: unknown key; write it as path: {to: FILE}"),
    "unknown key in a path": (
        "path: {to: {training.learnin_rate: 1}}",
        "mine.yaml:1: path.to: training.learnin_rate: unknown key; did you mean training.learning_rate?",
    ),
    "path to the baseline": (
        "path: {to: {data.augmentation: false}}",
        "mine.yaml:1: path.to: the target does not differ from the baseline",
    ),
    "unknown key in the order": (
        "path: {to: {training.learning_rate: 0.5, data.batch_size: 32}, order: [data.batchsize]}",
        "mine.yaml:1: path.order: 'data.batchsize' is no key that differs; did you mean 'data.batch_size'? (valid:"
        " training.learning_rate, data.batch_size)",
    ),
    "key twice in the order": (
        "path: {to: {data.batch_size: 32}, order: [data.batch_size, data]}",
        "mine.yaml:1: path.order: 'data' was made in a step before",
    ),
    "settings of a search": (
        f"{TWO}\nalgorithm: {{name: tpe}}\nbudget: {{trials: 3}}\nconfirmation_seeds: [7]",
        "\n".join(
            (
                f"mine.yaml:{LINES + 1}: algorithm.name: has no effect: an ablation runs every variant with every seed",
                f"mine.yaml:{LINES + 2}: budget.trials: has no effect: an ablation runs every variant with every seed",
                f"mine.yaml:{LINES + 3}: confirmation_seeds: has no effect: only a search has a winner to confirm",
            )
        ),
    ),
    "order that is no list": (
        "path: {to: {data.batch_size: 32}, order: data}",
        "mine.yaml:1: path.order: 'data' is not a list of keys; keys that change in one step stand in a list"
        " of their own",
    ),
}
CASES = [
    pytest.param(plan, text, expected, id=f"{kind}: {name}")
    for kind, plan, table in (("search", plan_search, SEARCHES), ("ablation", plan_ablation, ABLATIONS))
    for name, (text, expected) in table.items()
]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path("mine.yaml")


@pytest.mark.parametrize(("plan", "text", "expected"), CASES)
def test_mistakes_are_told_with_their_place_and_the_nearest_choice(plan, text: str, expected: str, here: Path) -> None:
    here.write_text(text)
    with pytest.raises(UserError) as caught:
        plan(here, resolve(None, "study"), Store(Path("store")))
    assert caught.value.message == expected


def test_a_file_that_is_not_there(here: Path) -> None:
    with pytest.raises(UserError) as caught:
        plan_search(here, resolve(None, "study"), Store(Path("store")))
    assert caught.value.message == "mine.yaml: no such study file"


@pytest.mark.parametrize(
    ("mode", "text", "hours"),
    [("hyperparameter", f"{RATE}\nseeds: [1]\nbudget: {{trials: 4}}", 4), ("ablation", f"{TWO}\nseeds: [1]", 3)],
)
def test_a_study_over_its_budget(
    mode: str, text: str, hours: int, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A past run tells that a run of the preset takes an hour."""
    config = resolve(None, "study").config
    share = STEPS * config.data.batch_size / (config.data.epoch_images * config.training.epochs)
    past_run(Store(Path("store")), "past", config, 3600 * share)
    here.write_text(text)
    plan = ["plan", "--mode", mode, "--preset", "study", f"--{mode}-config", "mine.yaml", "--store", "store"]
    assert main([*plan, "--budget", f"{hours + 0.1}"]) == 0
    assert main([*plan, "--budget", "2.5"]) == 1
    assert capsys.readouterr().err == (
        f"error: the study is expected to take {hours} device-hours, more than the budget of 2.5: give it fewer trials,"
        " seeds or epochs, or a larger --budget\n"
    )
