"""Planned studies: what is tried, what is left out, and the Experiment that comes of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from receipt_counter.cli.main import main
from receipt_counter.config.loading import preset_names, resolve
from receipt_counter.errors import UserError
from receipt_counter.katib.experiment import check, read_document, write_document
from receipt_counter.katib.identity import cluster_name
from receipt_counter.katib.space import grid, search_space
from receipt_counter.katib.template import primary_container, render_trial
from receipt_counter.storage.store import Store
from receipt_counter.study.compile import VARIANTS_FILE
from receipt_counter.study.confirmation import confirmation_document
from receipt_counter.study.documents import base_config, study_files
from receipt_counter.study.plan import Plan, plan_ablation, plan_search
from receipt_counter.study.variants import read_variants

ROOT = Path(__file__).resolve().parents[2]
SEARCH, ABLATION = (ROOT / "config" / f"{kind}_config.yaml" for kind in ("hyperparameter", "ablation"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def ablation(tmp_path: Path, text: str, store: Store) -> Plan:
    path = tmp_path / "ablation.yaml"
    path.write_text(text)
    return plan_ablation(path, resolve(None, "study"), store)


@pytest.mark.parametrize("preset", preset_names())
@pytest.mark.parametrize("kind", ["hyperparameter", "ablation"])
def test_the_documents_studies_pass_katibs_rules_and_survive_their_file(
    kind: str, preset: str, tmp_path: Path, store: Store
) -> None:
    make, path = (plan_search, SEARCH) if kind == "hyperparameter" else (plan_ablation, ABLATION)
    planned = make(path, resolve(None, preset), store)
    write_document(planned.document, tmp_path / "experiment.yaml")
    again = read_document(tmp_path / "experiment.yaml")
    assert again.fingerprint == planned.document.fingerprint
    assert check(again) == []
    assert base_config(study_files(again)) == resolve(None, preset).config


def test_a_search_trial_names_its_seeds_and_every_parameter(store: Store) -> None:
    planned = plan_search(SEARCH, resolve(None, "full"), store)
    axes = search_space(planned.document.experiment)
    assignments = {axis.name: axis.values[0] for axis in axes}
    container = primary_container(planned.document, render_trial(planned.document, "trial-0", assignments))
    assert container.args[container.args.index("--seeds") + 1] == "42,43"
    assert {f"{name}={value}" for name, value in assignments.items()} <= set(container.args)
    assert planned.notes == ("a full grid would be 1,458 variants x 2 seeds",)
    assert (planned.trials, planned.runs) == (48, 96)


def test_an_ablation_is_a_grid_over_variants_and_seeds(store: Store) -> None:
    planned = plan_ablation(ABLATION, resolve(None, "study"), store)
    trials = list(grid(search_space(planned.document.experiment)))
    assert len(trials) == planned.trials == 33
    assert trials[0] == {"variant": "baseline", "seed": "42"}
    variants = read_variants(study_files(planned.document)[VARIANTS_FILE], "here")
    assert variants["single_stage"].overrides == {"training.three_stage.enabled": False}
    assert {variant.family for variant in variants.values()} == {"", "loss_weights", "architecture", "strategy", "data"}


def test_studies_and_their_trials_are_found_by_labels(tmp_path: Path, store: Store) -> None:
    search = plan_search(SEARCH, resolve(None, "study"), store).document
    study = plan_ablation(ABLATION, resolve(None, "study"), store).document
    confirmation = confirmation_document(search, {"training.learning_rate": 0.004})
    ours = {"app.kubernetes.io/part-of": "receipt-counter"}
    for document, labels in (
        (search, {"study": "hparam-opt", "kind": "hyperparameter"}),
        (study, {"study": "ablation", "kind": "ablation"}),
        (confirmation, {"study": "confirm-hparam-opt", "kind": "confirmation", "search": cluster_name(search)}),
    ):
        found = document.experiment.metadata.labels
        assert found == {**ours, **{f"receipt-counter/{name}": value for name, value in labels.items()}}
    assert re.fullmatch(r"hparam-opt-[0-9a-f]{8}", cluster_name(search))
    arguments = primary_container(confirmation, render_trial(confirmation, "trial", {"variant": "v", "seed": "1"})).args
    assert arguments[-2:] == ("--search", cluster_name(search))  # its TensorBoard shows them
    job = render_trial(study, "trial-0", {"variant": "single_stage", "seed": "42"})
    for labels in (job["metadata"]["labels"], job["spec"]["template"]["metadata"]["labels"]):
        assert {name: labels[f"receipt-counter/{name}"] for name in ("study", "variant", "seed")} == {
            "study": "ablation",
            "variant": "single_stage",
            "seed": "42",
        }


@pytest.mark.parametrize("length", [8, 45, 53, 54])
def test_a_search_of_any_name_can_be_confirmed(length: int, tmp_path: Path, store: Store) -> None:
    file = tmp_path / "search.yaml"
    space = "parameters: {training.learning_rate: {min: 1e-4, max: 1e-2}}"
    file.write_text(f"base_name: {'s' * (length - 1)}e\nbudget: {{trials: 2}}\nalgorithm: {{name: random}}\n{space}\n")
    search = plan_search(file, resolve(None, "study"), store).document
    assert check(search) == check(confirmation_document(search, {"training.learning_rate": 0.004})) == []


def test_a_long_combination_has_a_name_that_fits_a_label(tmp_path: Path, store: Store) -> None:
    names = ("s" * 40, "a" * 40, "b" * 40)
    text = f"""
    families:
      strategy: {{{names[0]}: {{training.three_stage.enabled: false}}}}
      data: {{{names[1]}: {{data.augmentation: true}}, {names[2]}: {{data.max_text_length: 16}}}}
    design: {{name: full-factorial, factors: [{", ".join(names)}]}}
    """
    planned = [name for name, _ in ablation(tmp_path, text, store).changes]
    assert planned[1:4] == list(names)
    assert [len(name) for name in planned[4:]] == [63] * 4
    assert len(set(planned)) == 8


class TestPointlessVariants:
    def test_one_that_equals_another_is_left_out_and_said(self, tmp_path: Path, store: Store) -> None:
        text = """
        families:
          data:
            same: {data.augmentation: false}
            other: {data.augmentation: true}
            again: {data.augmentation: true}
        """
        planned = ablation(tmp_path, text, store)
        assert [name for name, _ in planned.changes] == ["baseline", "other"]
        assert planned.notes[0].startswith("same is left out: it is the same as baseline")
        assert planned.notes[1].startswith("again is left out: it is the same as other")

    def test_one_without_effect_is_refused(self, tmp_path: Path, store: Store) -> None:
        text = """
        families:
          strategy: {both: {training.three_stage.enabled: false, training.three_stage.stage2.start_epoch: 5}}
        """
        with pytest.raises(UserError, match=r"stage2\.start_epoch: has no effect while training\.three_stage\.enabled"):
            ablation(tmp_path, text, store)

    def test_a_searched_value_that_the_config_refuses(self, tmp_path: Path, store: Store) -> None:
        path = tmp_path / "search.yaml"
        path.write_text("parameters: {model.cross_attention.num_heads: {values: [4, 5]}}")
        with pytest.raises(UserError, match="5 heads do not divide the width 64"):
            plan_search(path, resolve(None, "study"), store)


def test_a_factors_variations_are_also_tried_together(tmp_path: Path, store: Store) -> None:
    text = """
    families:
      strategy: {single: {training.three_stage.enabled: false}}
      data: {augmented: {data.augmentation: true}, short: {data.max_text_length: 16}}
    design: {name: full-factorial, factors: [single, augmented, short]}
    """
    planned = ablation(tmp_path, text, store)
    names = [name for name, _ in planned.changes]
    assert names[4:] == ["single.augmented", "single.short", "augmented.short", "single.augmented.short"]
    (files,) = planned.document.config_maps.values()
    variants = read_variants(files[VARIANTS_FILE], "here")
    levels = {"single": "single", "augmented": "baseline", "short": "short"}
    assert (variants["single.short"].levels, variants["single.short"].family) == (levels, "")
    assert (variants["single"].family, variants["baseline"].levels["single"]) == ("strategy", "baseline")


def test_a_fraction_says_what_it_cannot_tell_apart(tmp_path: Path, store: Store) -> None:
    text = """
    families:
      strategy: {single: {training.three_stage.enabled: false}}
      data: {augmented: {data.augmentation: true}, short: {data.max_text_length: 16}}
      loss_weights: {counting: {training.loss_weights.classification: 5}}
    design: {name: fractional-factorial, factors: [single, augmented, short, counting]}
    """
    planned = ablation(tmp_path, text, store)
    assert planned.trials == 8 * 2
    assert planned.notes[0].startswith("a fraction of resolution 4, 8 of 16 combinations")
    assert "single.augmented = short.counting" in planned.notes[1]


def test_the_command_writes_the_experiment_or_refuses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    output = tmp_path / "experiment.yaml"
    common = ["plan", "--preset", "study", "--store", str(tmp_path / "store")]
    assert main([*common, "--mode", "ablation", "-o", str(output)]) == 0
    assert "33 trials" in capsys.readouterr().out
    assert check(read_document(output)) == []
    assert main([*common, "--mode", "ablatoin"]) == 2
    assert "did you mean 'ablation'?" in capsys.readouterr().err
