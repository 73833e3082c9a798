"""Figures against independent references: sacrebleu, rouge_score, and definitions written out by hand."""

import json
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU

from receipt_counter.config.schema import Config
from receipt_counter.evaluation.answers import is_correct, normalise_answer
from receipt_counter.evaluation.bootstrap import points
from receipt_counter.evaluation.evaluate import judge_predictions
from receipt_counter.evaluation.metrics import (
    all_figures,
    answer_accuracy_by_type,
    calibration,
    class_labels,
    confusion_matrix,
    per_class_metrics,
)
from receipt_counter.evaluation.statistics import statistics_of
from tests.evaluation.fabricate import fabricate_predictions


def figures(predictions, classes=3):
    return points(statistics_of(predictions, classes), all_figures)


def counted(pairs, confidence=0.9):
    """Predictions from (truth, predicted) pairs of three classes."""
    lines = []
    for index, (label, predicted) in enumerate(pairs):
        probabilities = [(1 - confidence) / 2] * 3
        probabilities[predicted] = confidence
        lines.append(
            {"id": f"{index}", "count": label, "label": label, "predicted": predicted, "probabilities": probabilities}
        )
    return lines


def spoken(pairs, kind="value"):
    """One prediction whose answers are (predicted, truth) pairs."""
    answers = [
        {
            "type": kind,
            "question": "?",
            "answer": truth,
            "predicted": predicted,
            "correct": is_correct(predicted, truth),
        }
        for predicted, truth in pairs
    ]
    return [{**counted([(1, 1)])[0], "answers": answers}]


@pytest.mark.parametrize(
    ("predicted", "truth", "right"),
    [
        pytest.param("There are 2 receipts.", "There are 2 receipts.", True, id="same"),
        pytest.param("there ARE 2 receipts", "There are 2 receipts.", True, id="case and full stop"),
        pytest.param("  There are\t2  receipts . ", "There are 2 receipts.", True, id="white space"),
        pytest.param("There are 3 receipts.", "There are 2 receipts.", False, id="wrong digit"),
        pytest.param("There are 2 receipts!", "There are 2 receipts.", False, id="other punctuation counts"),
        pytest.param("The total is 3.50", "The total is 350", False, id="inner full stop counts"),
        pytest.param("", "There are 2 receipts.", False, id="nothing said"),
    ],
)
def test_exact_answers(predicted, truth, right):
    assert is_correct(predicted, truth) is right


@given(st.text())
def test_normalisation_changes_nothing_twice_but_a_second_full_stop(text):
    once = normalise_answer(text)
    assert normalise_answer(once + ".") == once


WORDS = st.lists(
    st.sampled_from(
        ["there", "are", "is", "one", "two", "receipts", "receipt", "in", "this", "photo", ",", ".", "3.50"]
    ),
    max_size=12,
)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(WORDS.map(" ".join), WORDS.filter(bool).map(" ".join)), min_size=1, max_size=8))
def test_bleu_and_rouge_equal_their_reference_libraries(pairs):
    found = figures(spoken(pairs))
    predicted, truth = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    for order in (1, 2, 3, 4):
        expected = BLEU(max_ngram_order=order).corpus_score(predicted, [truth]).score / 100
        assert found[f"generation_bleu{order}"] == pytest.approx(expected, rel=1e-12, abs=1e-15)
    assert found["generation_bleu"] == found["generation_bleu4"]
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    for name in ("rouge1", "rouge2", "rougeL"):
        expected = np.mean([scorer.score(*reversed(pair))[name].fmeasure for pair in pairs])
        assert found[f"generation_{name}_f"] == pytest.approx(expected, rel=1e-12)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40))
def test_classification_equals_its_definition(pairs):
    found = figures(counted(pairs))
    present = sorted({label for pair in pairs for label in pair})
    precision, recall, f1 = [], [], []
    for label in present:
        hits = sum(pair == (label, label) for pair in pairs)
        predicted, true = sum(pair[1] == label for pair in pairs), sum(pair[0] == label for pair in pairs)
        precision.append(hits / predicted if predicted else 0.0)
        recall.append(hits / true if true else 0.0)
        both = precision[-1] + recall[-1]
        f1.append(2 * precision[-1] * recall[-1] / both if both else 0.0)
    assert found["classification_accuracy"] == pytest.approx(np.mean([a == b for a, b in pairs]))
    assert found["classification_precision"] == pytest.approx(np.mean(precision))
    assert found["classification_recall"] == pytest.approx(np.mean(recall))
    assert found["classification_f1"] == pytest.approx(np.mean(f1))
    assert found["classification_off_by_one"] == pytest.approx(np.mean([abs(a - b) == 1 for a, b in pairs]))


def test_a_worked_example_of_counting():
    statistics = statistics_of(counted([(0, 0), (0, 1), (1, 1), (1, 1), (2, 0)]), 3)
    found = points(statistics, all_figures)
    assert confusion_matrix(statistics) == [[1, 1, 0], [0, 2, 0], [1, 0, 0]]
    assert found["classification_accuracy"] == pytest.approx(3 / 5)
    assert found["classification_recall"] == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert found["classification_precision"] == pytest.approx((1 / 2 + 2 / 3 + 0) / 3)
    assert found["classification_off_by_one"] == pytest.approx(1 / 5)


@pytest.mark.parametrize(
    ("confidence", "pairs", "expected"),
    [
        pytest.param(0.9, [(1, 1)] * 9 + [(0, 1)], 0.0, id="90 % sure, 90 % right"),
        pytest.param(1.0, [(1, 0)] * 4, 1.0, id="sure and wrong"),
        pytest.param(0.7, [(1, 1)] * 10, 0.3, id="too modest"),
    ],
)
def test_calibration_error(confidence, pairs, expected):
    assert figures(counted(pairs, confidence))["classification_ece"] == pytest.approx(expected)


def test_calibration_bins_hold_every_image_once():
    statistics = statistics_of(fabricate_predictions(200), 3)
    bins = calibration(statistics)
    assert len(bins) == 15
    assert sum(bin_["n"] for bin_ in bins) == 200
    gap = sum(bin_["n"] * abs(bin_["accuracy"] - bin_["confidence"]) for bin_ in bins if bin_["n"]) / 200
    assert gap == pytest.approx(points(statistics, all_figures)["classification_ece"])
    for bin_ in bins:
        assert bin_["n"] == 0 or bin_["low"] < bin_["confidence"] <= bin_["high"]


def test_perplexity_is_the_exponential_of_the_mean_over_tokens_not_images():
    lines = counted([(0, 0), (1, 1)])
    lines[0].update(nll=2.0, answer_tokens=1)
    lines[1].update(nll=4.0, answer_tokens=5)
    assert figures(lines)["generation_perplexity"] == pytest.approx(math.exp(1))


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_images_does_not_matter(seed):
    lines = fabricate_predictions(40)
    shuffled = [lines[index] for index in np.random.default_rng(seed).permutation(40)]
    assert figures(shuffled) == pytest.approx(figures(lines), rel=1e-12)


ONE = counted([(0, 0)])[0]


@pytest.mark.parametrize(
    ("line", "absent"),
    [
        pytest.param(ONE, {"answer_accuracy", "generation_bleu", "generation_perplexity"}, id="no answers"),
        pytest.param({**ONE, "nll": None, "answer_tokens": 3}, {"generation_perplexity"}, id="diverged"),
        pytest.param({**ONE, "nll": 9999.0, "answer_tokens": 1}, {"generation_perplexity"}, id="overflow"),
    ],
)
def test_an_undefined_figure_is_left_out(line, absent):
    found = figures([line])
    assert not absent & set(found)
    assert all(math.isfinite(value) for value in found.values())
    json.dumps(judge_predictions([line], Config(), 0.1), allow_nan=False)


def test_a_class_that_does_not_occur_has_no_scores():
    per_class = per_class_metrics(statistics_of(counted([(0, 0), (1, 0)]), 3), 200, 0)
    assert per_class["2+"] == {"support": 0, "precision": None, "recall": None, "f1": None}
    assert per_class["1"]["precision"]["value"] == 0.0  # occurs, but is never predicted
    assert per_class["0"]["recall"]["value"] == 1.0


def test_labels():
    assert class_labels(2) == ["0", "1+"]
    assert class_labels(4) == ["0", "1", "2", "3+"]


def test_answer_accuracy_of_each_type():
    lines = spoken([("a b", "a b"), ("a c", "a b")], "value") + spoken([("x", "x")], "counting")
    by_type = answer_accuracy_by_type(statistics_of(lines, 3), 200, 0)
    assert by_type["value"]["value"] == 0.5
    assert by_type["value"]["n"] == 2
    assert by_type["counting"]["value"] == 1.0


def test_slices_hold_their_own_images_only():
    lines = fabricate_predictions(120)
    slices = judge_predictions(lines, Config(), 0.1)["slices"]
    for key, values in slices.items():
        assert sum(entry["n"] for entry in values.values()) == 120
        for value, entry in values.items():
            members = [line for line in lines if line["slices"][key] == value]
            expected = np.mean([line["label"] == line["predicted"] for line in members])
            assert entry["n"] == len(members)
            assert entry["classification_accuracy"]["value"] == pytest.approx(expected)


def test_a_thousand_images_are_judged_in_seconds():
    lines = fabricate_predictions(1000)
    began = time.process_time()
    judge_predictions(lines, Config(), 0.1)
    assert time.process_time() - began < 5  # measured: 0.4 s alone on one core
