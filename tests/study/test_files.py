"""Study files: what they say, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from receipt_counter.config.loading import preset_names, resolve
from receipt_counter.errors import UserError
from receipt_counter.study.ablation_file import read_ablation
from receipt_counter.study.search_file import read_search

ROOT = Path(__file__).resolve().parents[2]
SEARCH, ABLATION = (ROOT / "config" / f"{kind}_config.yaml" for kind in ("hyperparameter", "ablation"))
FAMILIES = {"loss_weights", "architecture", "strategy", "data"}


def write(directory: Path, text: str) -> Path:
    path = directory / "mine.yaml"
    path.write_text(text)
    return path


def test_the_documents_search_is_there() -> None:
    file = read_search(SEARCH, "full")
    assert {parameter.key: parameter.values for parameter in file.parameters} == {
        "training.learning_rate": (1e-5, 2e-5, 5e-5),
        "training.loss_weights.classification": (0.5, 1.0, 2.0),
        "training.loss_weights.language": (0.5, 1.0, 2.0),
        "training.three_stage.stage2.start_epoch": (3, 6, 9),
        "training.three_stage.stage2.lr_multiplier": (0.005, 0.01, 0.02),
        "training.optimizer.weight_decay": (0.01, 0.001),
        "data.batch_size": (8, 16, 32),
    }
    assert (file.settings.base_name, file.settings.seeds) == ("hparam_opt", (42, 43))


def test_the_documents_ablation_is_there() -> None:
    changed: dict[str, set[object]] = {}
    for variant in read_ablation(ABLATION, "full").variants:
        for key, value in variant.overrides.items():
            changed.setdefault(key, set()).add(value)
    assert changed["training.loss_weights.classification"] == {0, 0.5, 2, 5}
    assert changed["training.loss_weights.language"] == {0, 0.5, 2, 5}
    assert changed["model.cross_attention.num_heads"] == {0, 1, 4, 16}
    assert changed["data.max_text_length"] == {64, 256}
    for key, value in (
        ("training.three_stage.enabled", False),
        ("model.freeze_vision_encoder", True),
        ("data.augmentation", False),
    ):
        assert changed[key] == {value}


@pytest.mark.parametrize("preset", preset_names())
def test_every_preset_has_a_study_of_all_families_whose_values_fit_it(preset: str) -> None:
    config = resolve(None, preset).config
    file = read_ablation(ABLATION, preset)
    assert {variant.family for variant in file.variants} == FAMILIES
    assert len(file.variants) >= 10
    for variant in file.variants:
        assert variant.apply(config) != config, variant.name
    assert len(read_search(SEARCH, preset).parameters) == 7


class TestPresets:
    def test_a_section_replaces_settings_one_by_one_and_parameters_whole(self, tmp_path: Path) -> None:
        text = """
        seeds: [1, 2]
        budget: {trials: 5, failed_trials: 1}
        parameters: {training.learning_rate: {values: [1e-3, 1e-4]}, data.batch_size: {values: [8, 16]}}
        presets:
          study:
            budget: {trials: 9}
            parameters: {training.learning_rate: {min: 1e-4, max: 1e-2, log: true}}
        """
        path = write(tmp_path, text)
        there, elsewhere = read_search(path, "study"), read_search(path, "laptop")
        assert (there.settings.budget.trials, there.settings.budget.failed_trials) == (9, 1)
        assert (there.settings.seeds, elsewhere.settings.budget.trials) == ((1, 2), 5)
        keys = {parameter.key: parameter for parameter in there.parameters}
        assert set(keys) == {"data.batch_size", "training.learning_rate"}
        assert (keys["training.learning_rate"].values, keys["training.learning_rate"].log) == ((), True)

    def test_a_section_replaces_families_whole_and_may_drop_the_crossing(self, tmp_path: Path) -> None:
        text = """
        families:
          data: {a: {data.augmentation: false}, b: {data.max_text_length: 64}}
          strategy: {c: {training.three_stage.enabled: false}}
        crossed: [a, c]
        presets:
          study: {crossed: null, families: {data: {d: {data.max_text_length: 16}}}}
        """
        path = write(tmp_path, text)
        there = read_ablation(path, "study")
        assert ({variant.name for variant in there.variants}, there.crossed) == ({"c", "d"}, ())
        assert read_ablation(path, "laptop").crossed == ("a", "c")


RATE = "parameters: {training.learning_rate: {values: [1e-3, 1e-4]}}"
BAD_SEARCHES = {
    "empty": ("# nothing", ["the config file is empty"]),
    "no parameters": ("seeds: [1]", ["no parameters: there is nothing to search"]),
    "misspelled parameter": (
        "parameters: {training.learnin_rate: {values: [1, 2]}}",
        ["mine.yaml:1", "training.learnin_rate: unknown key; did you mean training.learning_rate?"],
    ),
    "value of a wrong type": (
        "parameters: {data.batch_size: {values: [8, many]}}",
        ["parameters.data.batch_size: 'many' is not a whole number"],
    ),
    "one value": ("parameters: {data.batch_size: {values: [8]}}", ["no list of at least two values"]),
    "value twice": ("parameters: {data.batch_size: {values: [8, 16, 8]}}", ["names one twice"]),
    "range upside down": ("parameters: {data.batch_size: {min: 16, max: 8}}", ["min 16 is not below max 8"]),
    "range without an end": ("parameters: {data.batch_size: {min: 16}}", ["give either `values`, or `min` and `max`"]),
    "range of texts": (
        "parameters: {training.optimizer.name: {min: adamw, max: sgd}}",
        ["only numbers have a range; list its `values`"],
    ),
    "log and step": (
        "parameters: {data.batch_size: {min: 8, max: 16, step: 8, log: true}}",
        ["step: 8", "stands beside `log`"],
    ),
    "no range, no values": ("parameters: {data.batch_size: 8}", ["write it as data.batch_size: {values: [...]}"]),
    "misspelled setting": (f"{RATE}\nbudgets: {{trials: 3}}", ["mine.yaml:2: budgets.trials", "budget.trials"]),
    "unknown algorithm": (f"{RATE}\nalgorithm: {{name: tpi}}", ["algorithm.name: 'tpi'", "did you mean 'tpe'?"]),
    "unknown metric": (
        f"{RATE}\nobjective: {{metric: classification_acuracy}}",
        ["did you mean 'classification_accuracy'?"],
    ),
    "seed twice": (f"{RATE}\nseeds: [1, 1]", ["mine.yaml:2: seeds: [1, 1]: at least one, each once"]),
    "unknown preset": (f"{RATE}\npresets: {{labtop: {{seeds: [1]}}}}", ["presets.labtop", "did you mean 'laptop'?"]),
    "written twice": (f"{RATE}\nseeds: [1]\nseeds: [2]", ["seeds is written twice (first at"]),
    "several at once": (
        "parameters: {data.batch_sice: {values: [1, 2]}}\nbudget: {trials: 0}",
        ["data.batch_size?", "budget.trials: 0 is below the smallest value 1"],
    ),
}


@pytest.mark.parametrize(("text", "expected"), BAD_SEARCHES.values(), ids=BAD_SEARCHES.keys())
def test_bad_searches_are_refused(tmp_path: Path, text: str, expected: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        read_search(write(tmp_path, text), "laptop")
    for part in expected:
        assert part in caught.value.message


SINGLE = "strategy: {single: {training.three_stage.enabled: false}}"
BAD_ABLATIONS = {
    "no families": ("seeds: [1]", ["no families of variations"]),
    "variation without keys": ("families: {data: {a: {}}}", ["give each variation a name and the keys it changes"]),
    "unknown key": ("families: {data: {a: {data.augmentatoin: false}}}", ["did you mean data.augmentation?"]),
    "wrong type": ("families: {data: {a: {data.augmentation: maybe}}}", ["a: data.augmentation: 'maybe'"]),
    "name of the baseline": ("families: {data: {baseline: {data.augmentation: false}}}", ["and not baseline"]),
    "name with a space": ("families: {data: {a b: {data.augmentation: false}}}", ["'a b': a variation's name"]),
    "name in two families": (
        f"families: {{data: {{single: {{data.augmentation: false}}}}, {SINGLE}}}",
        ["single is written twice"],
    ),
    "crossed unknown": (f"families: {{{SINGLE}}}\ncrossed: [single, singel]", ["'singel'", "did you mean 'single'?"]),
    "crossed with itself": (f"families: {{{SINGLE}}}\ncrossed: [single, single]", ["name at least two variations"]),
    "misspelled section": (
        f"families: {{{SINGLE}}}\ncrosed: [single]",
        ["crosed: unknown key; did you mean 'crossed'?"],
    ),
}


@pytest.mark.parametrize(("text", "expected"), BAD_ABLATIONS.values(), ids=BAD_ABLATIONS.keys())
def test_bad_ablations_are_refused(tmp_path: Path, text: str, expected: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        read_ablation(write(tmp_path, text), "laptop")
    for part in expected:
        assert part in caught.value.message
