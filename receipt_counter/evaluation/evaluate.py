"""Judging a model: in full, on one split, and with a quick look after each training epoch."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from receipt_counter.config.schema import Config
from receipt_counter.data.dataset import Dataset
from receipt_counter.data.example import Example
from receipt_counter.errors import UserError
from receipt_counter.evaluation.bootstrap import LEVEL, points
from receipt_counter.evaluation.gates import judge
from receipt_counter.evaluation.inference import Inference, LoadImages, batches, likelihood
from receipt_counter.evaluation.metrics import (
    all_figures,
    answer_accuracy_by_type,
    calibration,
    class_labels,
    confusion_matrix,
    metrics_with_intervals,
    per_class_metrics,
)
from receipt_counter.evaluation.mistakes import worst_mistakes, write_thumbnail
from receipt_counter.evaluation.slices import accuracy_by_slice
from receipt_counter.evaluation.statistics import Prediction, statistics_of
from receipt_counter.model.build import load_model
from receipt_counter.model.processor import ReceiptProcessor
from receipt_counter.model.receipt_counter import ReceiptCounter
from receipt_counter.storage.files import write_atomic, write_json


def evaluate_model(
    model: ReceiptCounter,
    processor: ReceiptProcessor,
    dataset: Dataset,
    split: str,
    config: Config,
    output: Path,
    device: torch.device | str,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Judge a model on a split and write everything a report needs.

    Args:
        model: already on `device`, in the precision it is to be judged in.
        processor: the model's own.
        dataset: where the split is.
        split: one of the dataset's splits.
        config: `evaluation`, `gates`, `model.classes` and `seed` (of the bootstrap) are used.
        output: directory for predictions.jsonl, confusion.json, metrics.json (last) and mistakes/, made if missing.
        device: where the model is.
        progress: called with (images done, images in all) after each batch.

    Returns:
        The content of metrics.json.

    Raises:
        UserError: the split is empty, or a picture cannot be read.
    """
    examples = dataset.examples(split)
    if not examples:
        raise UserError(f"{dataset.path}: split {split} has no images, so there is nothing to evaluate on")
    settings = config.evaluation
    inference = Inference(model, processor, config.model.classes, settings.max_new_tokens, device)
    predictions: list[dict[str, Any]] = []
    with inference.frozen():
        for batch in batches(examples, settings.batch_size):
            predictions += inference.predictions(batch, dataset.path, settings.perplexity)
            if progress:
                progress(len(predictions), len(examples))
    metrics = {"split": split, **judge_predictions(predictions, config, model_gigabytes(model))}
    lines = [json.dumps(line, ensure_ascii=False, allow_nan=False) for line in predictions]
    write_atomic(output / "predictions.jsonl", "".join(f"{line}\n" for line in lines))
    pictures = {example.id: example.image for example in examples}
    for line in worst_mistakes(predictions):
        write_thumbnail(output, line["id"], pictures[line["id"]])
    write_json(
        output / "confusion.json",
        {
            "labels": class_labels(config.model.classes),
            "matrix": confusion_matrix(statistics_of(predictions, config.model.classes)),
        },
    )
    write_json(output / "metrics.json", metrics)
    return metrics


def evaluate_saved(
    directory: Path,
    dataset: Dataset,
    split: str,
    config: Config,
    output: Path,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Judge a saved model; on the GPU where there is one.

    Args:
        directory: of the saved model.
        dataset, split, config, output, progress: see `evaluate_model`.

    Returns:
        The content of metrics.json.

    Raises:
        UserError: see `evaluate_model` and `load_model`.
    """
    model, processor = load_model(directory)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return evaluate_model(model.to(device), processor, dataset, split, config, output, device, progress)


def judge_predictions(predictions: Sequence[Prediction], config: Config, gigabytes: float) -> dict[str, Any]:
    """All figures of some predictions, as metrics.json has them, without the name of the split.

    An undefined figure (nothing asked, an infinite perplexity) is left out; its gate's verdict is "unknown".

    Args:
        predictions: at least one.
        config: see `evaluate_model`.
        gigabytes: size of the model, known exactly, so that its interval has no width.
    """
    samples, seed = config.evaluation.bootstrap_samples, config.seed
    statistics = statistics_of(predictions, config.model.classes)
    metrics = {name: found.as_dict() for name, found in metrics_with_intervals(statistics, samples, seed).items()}
    metrics["model_gigabytes"] = {"value": gigabytes, "low": gigabytes, "high": gigabytes}
    return {
        "n_images": len(predictions),
        "n_questions": sum(len(line.get("answers", ())) for line in predictions),
        "bootstrap": {"method": "BCa", "unit": "image", "level": LEVEL, "samples": samples, "seed": seed},
        "metrics": metrics,
        "answer_accuracy_by_type": answer_accuracy_by_type(statistics, samples, seed),
        "per_class": per_class_metrics(statistics, samples, seed),
        "slices": accuracy_by_slice(predictions, statistics, samples, seed),
        "calibration": calibration(statistics),
        "gates": judge(metrics, config.gates),
    }


def model_gigabytes(model: torch.nn.Module) -> float:
    """Size of all weights, shared ones once, in 10^9 bytes: the size of the saved model but for its small files."""
    weights = [*model.parameters(), *model.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in weights) / 1e9


@dataclass(frozen=True)
class _Looked:
    """What a quick look at one batch found: summed losses, and a prediction for each image."""

    count_loss: float
    answer_loss: float
    tokens: int
    lines: list[dict[str, Any]]


_Seen = dict[int, _Looked]  # by the batch's number


def quick_metrics(
    model: ReceiptCounter,
    processor: ReceiptProcessor,
    examples: Sequence[Example],
    config: Config,
    device: torch.device | str,
    *,
    answer_images: int,
    load_images: LoadImages | None = None,
    part: tuple[int, int] = (0, 1),
    gather: Callable[[_Seen], list[_Seen]] = lambda seen: [seen],
) -> dict[str, float]:
    """Figures without intervals, for a look after each epoch.

    Args:
        model: on `device`; its mode is left as it was.
        processor: the model's own.
        examples: of the val split; at least one.
        config: `evaluation`, `model.classes` and `training.loss_weights` are used.
        device: where the model is.
        answer_images: how many of the first images are also answered in words.
        load_images: see `Inference`.
        part: (rank, world) of this process among those that share the work.
        gather: from what this process saw to what each of them did, by rank.

    Returns:
        {name: value}, the same in every process: val_cls_loss (mean over images), val_lm_loss (mean over answer
        tokens), val_total_loss (weighted), classification_*, generation_*, answer_accuracy. Only finite values: a
        figure that is undefined, or nan because the model has diverged, is left out.
    """
    inference = Inference(model, processor, config.model.classes, config.evaluation.max_new_tokens, device, load_images)
    size, rated = config.evaluation.batch_size, config.evaluation.perplexity
    own: _Seen = {}
    with inference.frozen():
        for number, batch in enumerate(batches(examples, size)):
            if number % part[1] == part[0]:
                own[number] = _look(inference, batch, answer_images - number * size, rated)
    seen = {number: batch for parts in gather(own) for number, batch in parts.items()}
    ordered = [seen[number] for number in sorted(seen)]
    lines = [line for batch in ordered for line in batch.lines]
    count_loss, answer_loss, tokens = (
        sum(getattr(batch, name) for batch in ordered) for name in ("count_loss", "answer_loss", "tokens")
    )
    weights = config.training.loss_weights
    parts = {"val_cls_loss": count_loss / len(examples), "val_lm_loss": answer_loss / max(tokens, 1)}
    total = weights.classification * parts["val_cls_loss"] + weights.language * parts["val_lm_loss"]
    found = {
        "val_total_loss": total,
        **parts,
        **points(statistics_of(lines, config.model.classes), all_figures),
    }
    return {name: value for name, value in found.items() if math.isfinite(value)}


def _look(inference: Inference, batch: Sequence[Example], answer_images: int, rate_truth: bool) -> _Looked:
    """Rate a batch, and answer the questions about its first `answer_images` images."""
    pixels = inference.pixels(batch)
    losses = inference.losses(batch, pixels)
    answered = batch[: max(0, answer_images)]
    rated = likelihood(losses) if rate_truth else [{}] * len(batch)
    answers = inference.answers(answered, pixels[: len(answered)])[1] if answered else []
    lines = []
    for row, probabilities in enumerate(losses.count_logits.float().softmax(-1).cpu()):
        spoken = answers[row] if row < len(answers) else []
        lines.append({**inference.counted(batch[row], probabilities), "answers": spoken, **rated[row]})
    return _Looked(
        count_loss=float(losses.cls_loss) * len(batch),
        answer_loss=float(losses.token_nll.sum()),
        tokens=losses.answer_tokens,
        lines=lines,
    )
