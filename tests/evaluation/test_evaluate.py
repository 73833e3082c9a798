"""Judging a real (untrained) model on real pictures: what is written, and that it is right."""

import dataclasses
import json
import math
import shutil

import pytest
import torch

from receipt_counter.data.dataset import Dataset
from receipt_counter.errors import UserError
from receipt_counter.evaluation.evaluate import evaluate_model, judge_predictions, model_gigabytes, quick_metrics
from receipt_counter.evaluation.mistakes import thumbnail_path, worst_mistakes
from tests.evaluation.fabricate import fabricate_predictions


def predictions_in(output):
    return [json.loads(line) for line in (output / "predictions.jsonl").read_text().splitlines()]


def test_the_three_files_tell_the_same_story(evaluated, small_config, small_dataset):
    metrics, output, calls = evaluated
    predictions = predictions_in(output)
    assert json.loads((output / "metrics.json").read_text()) == metrics
    assert [line["id"] for line in predictions] == [example.id for example in small_dataset.examples("test")]
    confusion = json.loads((output / "confusion.json").read_text())
    assert confusion["labels"] == ["0", "1", "2+"]
    for truth in range(3):
        assert sum(confusion["matrix"][truth]) == sum(line["label"] == truth for line in predictions)
    assert metrics["n_images"] == 11
    assert metrics["n_questions"] == 16
    assert calls == [(4, 11), (8, 11), (11, 11)]
    # metrics.json is a function of predictions.jsonl
    again = judge_predictions(predictions, small_config, metrics["metrics"]["model_gigabytes"]["value"])
    assert {"split": "test", **again} == metrics


def test_every_promised_figure_is_there_with_its_interval(evaluated):
    metrics, _, _ = evaluated
    expected = {
        *(f"classification_{name}" for name in ("accuracy", "precision", "recall", "f1", "off_by_one", "ece")),
        *(f"generation_bleu{order}" for order in ("", 1, 2, 3, 4)),
        *(f"generation_rouge{kind}_f" for kind in (1, 2, "L")),
        *("generation_perplexity", "answer_accuracy", "seconds_per_image", "model_gigabytes"),
    }
    assert set(metrics["metrics"]) == expected
    for figure in metrics["metrics"].values():
        assert figure["low"] <= figure["value"] <= figure["high"]
    assert set(metrics["answer_accuracy_by_type"]) == {"counting", "existence"}
    assert metrics["slices"]["overlap"]["heavy"]["n"] == 4
    assert metrics["gates"]["model_gigabytes"]["verdict"] == "target"


def test_predictions_hold_what_the_model_says(evaluated, small_model, small_dataset):
    _, output, _ = evaluated
    model, processor = small_model
    example = small_dataset.examples("test")[1]
    model.eval()
    pixels = processor.normalise(processor.read_images([example.image]))
    probabilities, answers = model.answer(pixels, [[q.question for q in example.questions]], processor, 6)
    line = predictions_in(output)[1]
    assert line["image"] == "images/test/000001.jpg"
    assert line["probabilities"] == pytest.approx(probabilities[0].tolist(), abs=1e-5)
    assert [answer["predicted"] for answer in line["answers"]] == answers[0]
    assert line["answer_tokens"] > 0
    assert line["seconds"] > 0


def test_an_untrained_model_is_as_perplexed_as_its_vocabulary_is_large(evaluated, small_model):
    metrics, _, _ = evaluated
    _, processor = small_model
    assert metrics["metrics"]["generation_perplexity"]["value"] == pytest.approx(len(processor.tokenizer), rel=0.5)


def test_the_worst_mistakes_keep_a_picture(evaluated):
    _, output, _ = evaluated
    worst = worst_mistakes(predictions_in(output))
    assert worst
    assert {path.name for path in (output / "mistakes").iterdir()} == {
        thumbnail_path(output, line["id"]).name for line in worst
    }


def test_perplexity_can_be_left_out(small_config, small_dataset, small_model, tmp_path):
    config = dataclasses.replace(
        small_config, evaluation=dataclasses.replace(small_config.evaluation, perplexity=False)
    )
    metrics = evaluate_model(*small_model, small_dataset, "test", config, output=tmp_path, device="cpu")
    assert "generation_perplexity" not in metrics["metrics"]


def test_the_size_of_a_model_is_that_of_its_file(small_model, tmp_path):
    model, _ = small_model
    model.save_pretrained(tmp_path)
    saved = sum(path.stat().st_size for path in tmp_path.glob("*.safetensors"))
    assert model_gigabytes(model) == pytest.approx(saved / 1e9, rel=0.1)


def test_an_empty_split_is_refused(small_config, small_dataset, small_model, tmp_path):
    with pytest.raises(UserError, match="split val has no images"):
        evaluate_model(*small_model, small_dataset, "val", small_config, output=tmp_path, device="cpu")
    assert list(tmp_path.iterdir()) == []


def test_a_truncated_picture_is_named(small_config, small_dataset, small_model, tmp_path):
    copy = tmp_path / "data"
    shutil.copytree(small_dataset.path, copy)
    broken = copy / "images/test/000003.jpg"
    broken.write_bytes(broken.read_bytes()[:300])
    with pytest.raises(UserError, match=r"000003\.jpg: cannot read the image"):
        evaluate_model(*small_model, Dataset.open(copy), "test", small_config, output=tmp_path / "out", device="cpu")
    assert not (tmp_path / "out").exists()


def test_quick_metrics_agree_with_the_full_evaluation(evaluated, small_config, small_dataset, small_model):
    metrics, _, _ = evaluated
    model, _ = small_model
    model.train()
    quick = quick_metrics(*small_model, small_dataset.examples("test"), small_config, "cpu", answer_images=11)
    assert model.training
    for name, figure in metrics["metrics"].items():
        if name not in ("seconds_per_image", "model_gigabytes"):
            assert quick[name] == pytest.approx(figure["value"], rel=1e-4), name
    assert math.exp(quick["val_lm_loss"]) == pytest.approx(quick["generation_perplexity"], rel=1e-5)
    assert quick["val_total_loss"] == pytest.approx(quick["val_cls_loss"] + quick["val_lm_loss"])


def test_quick_metrics_weigh_the_losses_and_answer_as_many_images_as_asked(small_config, small_dataset, small_model):
    weights = dataclasses.replace(small_config.training.loss_weights, classification=2.0, language=0.5)
    config = dataclasses.replace(
        small_config, training=dataclasses.replace(small_config.training, loss_weights=weights)
    )
    examples = small_dataset.examples("test")
    loaded = []

    def load_images(batch):
        assert not torch.is_grad_enabled()
        loaded.append(len(batch))
        return small_model[1].read_images([example.image for example in batch])

    quick = quick_metrics(*small_model, examples, config, "cpu", answer_images=5, load_images=load_images)
    assert quick["val_total_loss"] == pytest.approx(2 * quick["val_cls_loss"] + 0.5 * quick["val_lm_loss"])
    assert loaded == [4, 4, 3]
    without = quick_metrics(*small_model, examples, config, "cpu", answer_images=0)
    assert "answer_accuracy" in quick
    assert "answer_accuracy" not in without
    assert without["classification_accuracy"] == quick["classification_accuracy"]


def test_the_batch_size_changes_no_figure(small_config, small_dataset, small_model):
    found = []
    for size in (4, 11):  # 4 leaves a smaller last batch
        evaluation = dataclasses.replace(small_config.evaluation, batch_size=size)
        config = dataclasses.replace(small_config, evaluation=evaluation)
        found.append(quick_metrics(*small_model, small_dataset.examples("test"), config, "cpu", answer_images=6))
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_a_diverged_model_is_judged_without_nan(small_config, small_dataset, small_model, tmp_path):
    model, processor = small_model
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(math.nan)
    quick = quick_metrics(model, processor, small_dataset.examples("test"), small_config, "cpu", answer_images=11)
    assert "val_total_loss" not in quick
    assert all(math.isfinite(value) for value in quick.values())
    metrics = evaluate_model(model, processor, small_dataset, "test", small_config, output=tmp_path, device="cpu")
    assert "generation_perplexity" not in metrics["metrics"]
    for line in predictions_in(tmp_path):
        assert line["probabilities"] == pytest.approx([1 / 3] * 3, abs=1e-5)
        assert line["nll"] is None


def test_worst_mistakes_are_ordered_and_mixed():
    predictions = fabricate_predictions(300, skill=0.7)
    worst = worst_mistakes(predictions, 24)
    miscounted = [line for line in worst if line["predicted"] != line["label"]]
    assert worst[: len(miscounted)] == miscounted
    assert len(miscounted) == 16
    confidences = [max(line["probabilities"]) for line in miscounted]
    assert confidences == sorted(confidences, reverse=True)
    assert confidences[0] == max(max(x["probabilities"]) for x in predictions if x["predicted"] != x["label"])
    assert worst_mistakes(fabricate_predictions(50, skill=1.0)) == []
