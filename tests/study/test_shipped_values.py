"""The shipped studies: every value that is searched and every variation does what it claims, in every preset.

`tests/config/test_effects.py` shows it of one value of every key, and where to look; here it is shown of each value.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from receipt_counter.config.loading import preset_names, resolve, resolve_onto
from receipt_counter.config.schema import Config
from receipt_counter.config.source import Setting
from receipt_counter.data.dataset import Dataset
from receipt_counter.model.build import build_model
from receipt_counter.storage.store import Store
from receipt_counter.study.ablation_file import read_ablation
from receipt_counter.study.plan import plan_ablation, plan_search
from receipt_counter.study.search_file import read_search
from receipt_counter.training.batches import TrainingBatches
from receipt_counter.training.stages import plan_stages
from tests.config.test_effects import EFFECTS, nested
from tests.support import write_squares

ROOT = Path(__file__).resolve().parents[2]
SEARCH, ABLATION = (ROOT / "config" / f"{kind}_config.yaml" for kind in ("hyperparameter", "ablation"))
STAGES = "training.three_stage."
LONG_QUESTION = "How many receipts do you see " + "and how many more " * 200 + "?"


def searched(preset: str) -> dict[str, list[Any]]:
    """{key: values}; of a range its ends."""
    return {parameter.key: list(parameter.probes()) for parameter in read_search(SEARCH, preset).parameters}


def varied(preset: str) -> dict[str, list[Any]]:
    """{key: values that variations give it}."""
    found: dict[str, list[Any]] = {}
    for variant in read_ablation(ABLATION, preset).variants:
        for key, value in variant.overrides.items():
            found.setdefault(key, []).append(value)
    return found


def every_value() -> dict[str, set[Any]]:
    """{key: the values of it in any preset of both studies}."""
    found: dict[str, set[Any]] = {}
    for preset, values_of in itertools.product(preset_names(), (searched, varied)):
        for key, values in values_of(preset).items():
            found.setdefault(key, set()).update(values)
    return found


def stages(config: Config, directory: Path) -> Any:
    """When which part trains at which rate."""
    return [dataclasses.astuple(stage) for stage in plan_stages(config)]


def first_batch(config: Config, directory: Path) -> tuple[int, ...]:
    """How many pictures a step sees, and how many tokens there are of a text longer than any limit."""
    path = directory.parent / "many"
    dataset = Dataset.open(path) if path.exists() else write_squares(path, {"train": 64})
    _, processor = build_model(config, [LONG_QUESTION])
    (batch,) = next(TrainingBatches(dataset.examples("train"), processor, config).epoch(1))
    packed = processor.pack(batch.pixel_values[:1], [1], [[(LONG_QUESTION, "One.")]])
    return len(batch.counts), packed.input_ids.shape[-1]


# What is looked at instead of a whole training, where the tiny base is too small for a value.
LOOKS: dict[str, Callable[[Config, Path], Any]] = {
    "data.batch_size": first_batch,
    "data.max_text_length": first_batch,
    f"{STAGES}stage2.start_epoch": stages,
    f"{STAGES}stage2.lr_multiplier": stages,
    f"{STAGES}stage3.start_epoch": stages,
}
# Room for every value of a stage's start: stage 2 before stage 3 before the end.
GIVEN = {
    f"{STAGES}stage2.start_epoch": ("training.epochs=15", f"{STAGES}stage3.start_epoch=14"),
    f"{STAGES}stage3.start_epoch": ("training.epochs=15", f"{STAGES}stage2.start_epoch=2"),
}


@pytest.mark.parametrize("key", sorted(every_value()))
def test_every_value_has_an_effect_of_its_own(key: str, tmp_path: Path) -> None:
    """No two values of a key, anywhere in the shipped studies, make the same training, plan or batch."""
    effect = EFFECTS[key]
    look = LOOKS.get(key, effect.look)
    file = tmp_path / "base.yaml"
    file.write_text(nested([*effect.base, *effect.given]))
    base = resolve(file, "laptop", [*GIVEN.get(key, ()), "training.processes=1"]).config
    found: dict[str, Any] = {}
    for number, value in enumerate(sorted(every_value()[key])):
        seen = look(resolve_onto(base, [Setting(key, value, "here")]), tmp_path / str(number))
        same = next((other for other, result in found.items() if result == seen), None)
        assert same is None, f"{key}: {value} does the same as {same}"
        found[str(value)] = seen
    if len(found) == 1:  # a variation of its own kind: it differs from the baseline
        assert look(base, tmp_path / "base") not in found.values()


@pytest.mark.parametrize("preset", preset_names())
class TestInEveryPreset:
    def test_no_variation_is_left_out_or_does_nothing(self, preset: str, tmp_path: Path) -> None:
        """Notes tell of variations equal to others and of stages that never start: there are none."""
        planned = plan_ablation(ABLATION, resolve(None, preset), Store(tmp_path))
        assert planned.notes == ()
        assert {v.name for v in read_ablation(ABLATION, preset).variants} < {name for name, _ in planned.changes}

    def test_searched_values_are_all_different_configs(self, preset: str, tmp_path: Path) -> None:
        resolved = resolve(None, preset)
        planned = plan_search(SEARCH, resolved, Store(tmp_path))
        assert all("full grid" in note for note in planned.notes)
        for key, values in searched(preset).items():
            configs = [resolve_onto(resolved.config, [Setting(key, value, "here")]) for value in values]
            assert len(set(configs)) == len(values), key

    def test_a_stages_start_or_rate_changes_the_presets_own_plan(self, preset: str, tmp_path: Path) -> None:
        config = resolve(None, preset).config
        plans = [
            stages(variant.apply(config), tmp_path)
            for variant in read_ablation(ABLATION, preset).variants
            if any(key.startswith(STAGES) for key in variant.overrides)
        ]
        searches = [
            [stages(resolve_onto(config, [Setting(key, value, "here")]), tmp_path) for value in values]
            for key, values in searched(preset).items()
            if key.startswith(STAGES)
        ]
        for different in (plans, *searches):
            assert all(one != other for one, other in itertools.combinations(different, 2))
        assert stages(config, tmp_path) not in plans
