"""Study files: what they say, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from receipt_counter.config.loading import preset_names, resolve
from receipt_counter.study.ablation_file import read_ablation
from receipt_counter.study.search_file import read_search
from receipt_counter.study.settings import Design

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

    def test_a_section_replaces_families_and_design_whole_or_drops_the_design(self, tmp_path: Path) -> None:
        text = """
        families:
          data: {a: {data.augmentation: false}, b: {data.max_text_length: 64}}
          strategy: {c: {training.three_stage.enabled: false}}
        design: {name: full-factorial, factors: [a, c]}
        presets:
          study: {design: null, families: {data: {d: {data.max_text_length: 16}}}}
          full: {design: {name: full-factorial, factors: [b, c]}}
        """
        path = write(tmp_path, text)
        there = read_ablation(path, "study")
        assert ({variant.name for variant in there.variants}, there.design) == ({"c", "d"}, Design())
        assert read_ablation(path, "laptop").design == Design("full-factorial", ("a", "c"))
        assert read_ablation(path, "full").design == Design("full-factorial", ("b", "c"))
