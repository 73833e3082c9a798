"""The ablation path: from the baseline to another config, one change after the other."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receipt_counter.config.loading import resolve, resolve_onto
from receipt_counter.config.source import Setting
from receipt_counter.errors import UserError
from receipt_counter.storage.store import Store
from receipt_counter.study.ablation_file import AblationPath, read_ablation
from receipt_counter.study.path import path_variants
from receipt_counter.study.plan import plan_ablation
from receipt_counter.study.search_analysis import best_config
from receipt_counter.study.variants import Variant, read_variants, write_variants

STUDY = resolve(None, "study")
VALUES = {
    "training.learning_rate": 0.02,
    "training.loss_weights.classification": 2.0,
    "training.loss_weights.language": 1.0,
    "data.batch_size": 32,
    "training.optimizer.weight_decay": 0.005,
}


def steps(directory: Path, text: str) -> list[Variant]:
    (directory / "mine.yaml").write_text(text)
    path = read_ablation(directory / "mine.yaml", "study").path
    assert path is not None
    return path_variants(path, STUDY)[0]


def added(variants: list[Variant]) -> list[str]:
    return [variant.step.changes for variant in variants if variant.step]


@given(st.permutations(list(VALUES)).flatmap(lambda keys: st.tuples(st.just(keys), st.integers(0, len(keys)))))
def test_the_declared_steps_come_first_each_adds_one_key_and_the_end_is_the_target(keys: tuple[list[str], int]) -> None:
    written, declared = keys
    settings = tuple(Setting(key, VALUES[key], "here") for key in written)
    order = sorted(written)[:declared]
    found, _ = path_variants(AblationPath(settings, tuple((key,) for key in order)), STUDY)
    assert [list(variant.overrides) for variant in found] == [
        [*order, *(key for key in written if key not in order)][: number + 1] for number in range(len(written))
    ]
    assert found[-1].apply(STUDY.config) == resolve_onto(STUDY.config, settings)


class TestOrder:
    def test_a_group_and_a_list_are_one_step(self, tmp_path: Path) -> None:
        text = """
        path:
          to: {training.learning_rate: 0.02, data.batch_size: 32,
               training.loss_weights.language: 1, training.loss_weights.classification: 2}
          order: [training.loss_weights, [data.batch_size, training.learning_rate]]
        """
        found = steps(tmp_path, text)
        assert [variant.name for variant in found] == ["path.1.loss_weights", "path.2.batch_size-and-learning_rate"]
        assert added(found)[0] == "training.loss_weights.language=1 training.loss_weights.classification=2"

    def test_a_files_keys_come_in_its_own_order(self, tmp_path: Path) -> None:
        (tmp_path / "best.yaml").write_text("data: {batch_size: 32}\ntraining: {learning_rate: 0.02}\n")
        assert added(steps(tmp_path, "path: {to: best.yaml}")) == ["data.batch_size=32", "training.learning_rate=0.02"]

    def test_steps_that_do_not_fit_are_told(self, tmp_path: Path) -> None:
        text = "path: {to: {model.classifier.hidden: [32], model.classifier.dropout: [0.1]}}"
        with pytest.raises(UserError) as caught:
            steps(tmp_path, text)
        assert "step 1 (model.classifier.hidden=[32]) cannot follow" in caught.value.message
        both = text.replace("}}", "}, order: [[model.classifier.hidden, model.classifier.dropout]]}")
        assert len(steps(tmp_path, both)) == 1


def test_a_searchs_best_config_is_a_target(tmp_path: Path) -> None:
    """What the search left at the preset's value, the baseline's own override included, is a step too."""
    base = resolve(None, "study", ["training.optimizer.weight_decay=0.5", "training.epochs=5"])
    best = {**VALUES, "training.optimizer.weight_decay": 0.05}
    (tmp_path / "best_config.yaml").write_text(best_config(base.config, "study", best))
    found, notes = path_variants(AblationPath(tmp_path / "best_config.yaml"), base)
    settings = [Setting(key, value, "best") for key, value in best.items()]
    assert found[-1].apply(base.config) == resolve_onto(base.config, settings)
    assert {key: found[-1].overrides[key] for key in best} == best
    assert set(found[-1].overrides) == set(best)
    assert notes == []


def test_seed_and_pictures_stay_the_baselines(tmp_path: Path) -> None:
    (tmp_path / "best.yaml").write_text("seed: 7\ntraining: {learning_rate: 0.02}\ndata: {render: {seed: 3}}\n")
    found, notes = path_variants(AblationPath(tmp_path / "best.yaml"), STUDY)
    assert added(found) == ["training.learning_rate=0.02"]
    assert notes[0].startswith("path: the baseline's seed, data.render.seed are kept, not those of ")


def test_what_does_nothing_in_the_target_is_no_step(tmp_path: Path) -> None:
    (tmp_path / "best.yaml").write_text("preset: laptop\nmodel: {cross_attention: {num_heads: 0}}\n")
    resolved = resolve(None, "laptop", ["model.cross_attention.dropout=0.3"])
    found, _ = path_variants(AblationPath(tmp_path / "best.yaml"), resolved)
    assert added(found) == ["model.cross_attention.num_heads=0"]


def test_a_step_that_is_a_variation_runs_once_and_has_both_places(tmp_path: Path) -> None:
    text = """
    families: {data: {augmented: {data.augmentation: true}, short: {data.max_text_length: 16}}}
    design: {name: full-factorial, factors: [augmented, short]}
    path: {to: {data.augmentation: true, data.max_text_length: 16}}
    """
    (tmp_path / "mine.yaml").write_text(text)
    planned = plan_ablation(tmp_path / "mine.yaml", STUDY, Store(tmp_path / "store"))
    assert [name for name, _ in planned.changes] == ["baseline", "augmented", "short", "augmented.short"]
    assert planned.notes[0].startswith("path.1.augmentation is left out: it is the same as augmented")
    (files,) = planned.document.config_maps.values()
    found = read_variants(files["variants.yaml"], "here")
    assert {name: variant.step.number for name, variant in found.items() if variant.step} == {
        "augmented": 1,
        "augmented.short": 2,
    }
    assert found["augmented"].levels == {"augmented": "augmented", "short": "baseline"}
    assert (found["augmented"].family, found["augmented.short"].family) == ("data", "")
    assert read_variants(write_variants(found.values()), "here") == found
