"""Scores of single images, and models compared by them, on predictions files."""

import json

import numpy as np
import pytest

from benchmarks.coverage import measure_corpus
from benchmarks.simulated_scores import BINARY
from receipt_counter.comparison.compare_models import compare_models, verdict
from receipt_counter.comparison.effects import paired_effect
from receipt_counter.comparison.jackknife import corpus_effect, image_contributions
from receipt_counter.comparison.scores import per_image_scores, read_run
from receipt_counter.errors import UserError
from receipt_counter.evaluation.bootstrap import points
from receipt_counter.evaluation.metrics import all_figures
from receipt_counter.evaluation.statistics import statistics_of
from tests.evaluation.fabricate import fabricate_mistakes as predictions


def write(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def runs(tmp_path):
    """Three seeds of a poor and of a good model."""

    def side(name, skill, first):
        return [write(tmp_path / f"{name}{s}.jsonl", predictions(skill, seed=first + s)) for s in range(3)]

    return side("poor", 0.6, 0), side("good", 0.97, 10)


@pytest.mark.parametrize(
    "metric", ["classification_accuracy", "answer_accuracy", "generation_bleu", "classification_f1"]
)
def test_mean_over_images_is_the_figure(tmp_path, metric):
    lines = predictions()
    ids, scores = per_image_scores(write(tmp_path / "p.jsonl", lines), metric)
    assert ids == [line["id"] for line in lines]
    assert scores.mean() == pytest.approx(points(statistics_of(lines, 3), all_figures)[metric], abs=1e-8)


def test_scores_of_means_are_the_images_own(tmp_path):
    lines = predictions()
    path = write(tmp_path / "p.jsonl", lines)
    right = [float(line["predicted"] == line["label"]) for line in lines]
    assert per_image_scores(path, "classification_accuracy")[1].tolist() == right
    answered = [np.mean([answer["correct"] for answer in line["answers"]]) for line in lines]
    assert per_image_scores(path, "answer_accuracy")[1] == pytest.approx(answered, abs=1e-8)
    tokens = np.sum([line["nll"] for line in lines]) / np.sum([line["answer_tokens"] for line in lines])
    assert per_image_scores(path, "lm_loss")[1].mean() == pytest.approx(tokens)
    loss = [-np.log(max(line["probabilities"][line["label"]], 5e-7)) for line in lines]
    assert per_image_scores(path, "cls_loss")[1] == pytest.approx(loss)


def test_corpus_effect_is_the_difference_of_figures():
    sides = [[statistics_of(predictions(skill, seed=seed), 3) for seed in range(3)] for skill in (0.8, 0.9)]
    found = corpus_effect(*sides, "generation_bleu")
    values = [[points(run, all_figures)["generation_bleu"] for run in side] for side in sides]
    assert found.effect == pytest.approx(np.mean(values[1]) - np.mean(values[0]), abs=1e-8)
    assert found.low < found.effect < found.high
    mean = corpus_effect(*sides, "classification_accuracy")
    right = [[image_contributions(run)["classification_accuracy"] for run in side] for side in sides]
    assert mean == paired_effect(np.array(right[1]) - np.array(right[0]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda before, after: (before, after[:1], "generation_bleu"), "do not pair", id="seeds"),
        pytest.param(lambda before, after: (before, after, "generation_blue"), "did you mean", id="metric"),
    ],
)
def test_corpus_effect_refuses(change, message):
    side = [statistics_of(predictions(seed=seed), 3) for seed in range(2)]
    with pytest.raises(UserError, match=message):
        corpus_effect(*change(side, side))


def test_intervals_of_corpus_figures_cover():
    found = measure_corpus(3, 200, 150, np.random.default_rng(0), BINARY["0/1, images, effect"])
    assert set(found) == {"macro F1", "calibration error", "BLEU-4"}
    assert min(coverage.hits for coverage in found.values()) >= 0.95 - 2.5 * (0.95 * 0.05 / 150) ** 0.5


def test_a_better_model_is_found_better_and_nowhere_worse(runs):
    poor, good = runs
    found = compare_models(poor, good, ["classification_accuracy", "classification_ece", "cls_loss"])
    assert {"classification_accuracy", "cls_loss"} <= set(found.better)
    assert found.worse == [] == found.worse_slices
    assert found.metrics["classification_accuracy"].effect == pytest.approx(0.37, abs=0.05)
    assert {name.partition("=")[0] for _, name in found.slices} == {"layout", "overlap"}
    assert all(effect.n_images >= 50 and effect.p_holm is not None for effect in found.slices.values())
    back = compare_models(good, poor, ["classification_accuracy"])
    assert back.worse == ["classification_accuracy"]
    assert back.worse_slices


def test_one_run_against_another_speaks_of_images_only(runs):
    found = compare_models(runs[0][:1], runs[1][:1])
    assert not found.metrics["generation_bleu"].holds_for_other_seeds
    assert "generation_bleu" in found.better


def test_a_model_is_identical_to_itself_and_undecided(runs):
    found = compare_models(runs[0], runs[0])
    assert all(effect.identical for effect in found.metrics.values())
    assert {verdict(metric, effect) for metric, effect in found.metrics.items()} == {"undecided"}


def test_images_in_another_order_are_brought_into_order(runs, tmp_path):
    poor, good = runs
    lines = [json.loads(line) for line in good[0].read_text().splitlines()]
    shuffled = write(tmp_path / "shuffled.jsonl", lines[::-1])
    assert compare_models(poor[:1], [shuffled]).slices == compare_models(poor[:1], good[:1]).slices


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda lines: lines[:-2], "2 images are only in the first and 0 only in the second", id="fewer"),
        pytest.param(lambda lines: predictions(truth=1), "other counts, questions or true answers", id="other truth"),
        pytest.param(lambda lines: [*lines, lines[3]], "image test-000003 is there twice", id="twice"),
        pytest.param(lambda lines: lines[:1], "holds 1 images", id="one image"),
        pytest.param(lambda lines: [*lines, {"id": "x"}], r"201: is no prediction: count, label", id="no prediction"),
    ],
)
def test_refuses_runs_that_saw_other_images(runs, tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        compare_models(runs[0][:1], [write(tmp_path / "other.jsonl", change(predictions()))])


def test_refuses_unpaired_seeds_unknown_metrics_and_broken_files(runs, tmp_path):
    poor, good = runs
    with pytest.raises(UserError, match="3 of the baseline and 2 of the candidate"):
        compare_models(poor, good[:2])
    with pytest.raises(UserError, match="did you mean 'classification_accuracy'"):
        compare_models(poor, good, ["classification_acuracy"])
    with pytest.raises(UserError, match="cannot be read"):
        read_run(tmp_path / "missing.jsonl")
    (tmp_path / "broken.jsonl").write_text("{}\n{")
    with pytest.raises(UserError, match=r"broken\.jsonl:1: is no prediction"):
        read_run(tmp_path / "broken.jsonl")
    (tmp_path / "broken.jsonl").write_text("{")
    with pytest.raises(UserError, match=r"broken\.jsonl:1: is not valid JSON"):
        read_run(tmp_path / "broken.jsonl")


def test_a_metric_undefined_in_a_diverged_run_is_refused_by_name(runs, tmp_path):
    lines = predictions()
    lines[0]["nll"] = None
    with pytest.raises(UserError, match="generation_perplexity is unknown or undefined"):
        compare_models(runs[0][:1], [write(tmp_path / "diverged.jsonl", lines)], ["generation_perplexity"])
