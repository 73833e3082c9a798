"""A run directory made up for tests: events, config, evaluation and record of a plausible run."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from torch.utils.tensorboard import SummaryWriter

from receipt_counter.config.loading import resolve, to_yaml
from receipt_counter.evaluation.evaluate import judge_predictions
from receipt_counter.evaluation.metrics import class_labels, confusion_matrix
from receipt_counter.evaluation.mistakes import thumbnail_path, worst_mistakes
from receipt_counter.evaluation.statistics import statistics_of
from receipt_counter.storage.files import write_atomic, write_json
from tests.evaluation.fabricate import fabricate_predictions

EPOCHS, STEPS_PER_EPOCH = 12, 64
STAGE_STARTS = {1: 1, 2: 2, 3: 6}  # first epoch of each stage
CONFIG = resolve(preset="laptop").config


def fabricate_run(directory: Path, *, splits: tuple[str, ...] = ("test", "val"), skill: float = 0.97) -> Path:
    """A run that has finished and been judged.

    Args:
        directory: made; holds the run afterwards.
        splits: judged on these.
        skill: of the model on them.
    """
    write_atomic(directory / "config.yaml", to_yaml(CONFIG))
    write_events(directory / "events")
    metrics = {}
    for seed, split in enumerate(splits):
        output = directory / "evaluation" / split
        predictions = fabricate_predictions(300, skill=skill, seed=seed)
        found = {"split": split, **judge_predictions(predictions, CONFIG, 0.0032)}
        write_atomic(output / "predictions.jsonl", "".join(json.dumps(line) + "\n" for line in predictions))
        matrix = confusion_matrix(statistics_of(predictions, 3))
        write_json(output / "confusion.json", {"labels": class_labels(3), "matrix": matrix})
        for line in worst_mistakes(predictions):
            thumbnail_path(output, line["id"]).parent.mkdir(parents=True, exist_ok=True)
            _picture(line["count"]).save(thumbnail_path(output, line["id"]))
        write_json(output / "metrics.json", found)
        metrics[split] = {name: figure["value"] for name, figure in found["metrics"].items()}
    write_json(directory / "run.json", record(metrics=metrics[splits[0]] if splits else {}, splits=metrics))
    return directory


def record(**fields: Any) -> dict[str, Any]:
    """A run.json of a finished run, with some fields replaced."""
    return {
        "run_id": "c0ffee12d00d",
        "experiment_name": "baseline",
        "seed": 42,
        "status": "finished",
        "started": "2026-03-01T10:00:00+00:00",
        "ended": "2026-03-01T10:01:13+00:00",
        "device_seconds": 68.4,
        "peak_memory_gigabytes": 1.127,
        "best_epoch": 11,
        "epochs": EPOCHS,
        "error": None,
        "lineage": {
            "code_version": "0.1.0+3fa94c1b22d0",
            "data_fingerprint": "9a0f6c1e55d2b741",
            "data_name": "rendered",
            "image": None,
            "device": "cpu",
            "versions": {"python": "3.11.9", "torch": "2.13.0"},
        },
        **fields,
    }


def write_events(directory: Path, *, last_epoch: int = EPOCHS) -> None:
    """TensorBoard events as training writes them, up to an epoch."""
    generator = np.random.default_rng(1)
    with SummaryWriter(str(directory)) as writer:
        for step in range(10, last_epoch * STEPS_PER_EPOCH + 1, 10):
            epoch = -(-step // STEPS_PER_EPOCH)
            stage = max(number for number, start in STAGE_STARTS.items() if start <= epoch)
            decay = math.exp(-step / 150) * (1 + 0.1 * generator.standard_normal())
            losses = {"train_cls_loss": 0.04 + 1.1 * decay, "train_lm_loss": 0.09 + 5 * decay}
            rate = 2e-3 * min(1, step / 50) * (0.05 + 0.95 * (1 + math.cos(math.pi * step / 768)) / 2)
            rates = {name: rate for name in ("projector", "language", "cross_attention", "head")}
            rates |= {"vision": rate * (0.1 if stage == 2 else 1.0)} if stage > 1 else {}
            figures = {**losses, "train_total_loss": sum(losses.values()), "stage": stage, "epoch": epoch}
            figures |= {f"learning_rate_{name}": value for name, value in rates.items()}
            for name, value in figures.items():
                writer.add_scalar(name, value, step)
            if step // STEPS_PER_EPOCH > (step - 10) // STEPS_PER_EPOCH:
                _write_val(writer, step // STEPS_PER_EPOCH)


def _write_val(writer: SummaryWriter, epoch: int) -> None:
    left = math.exp(-epoch / 2.5)
    figures = {"val_cls_loss": 0.06 + left, "val_lm_loss": 0.1 + 2 * left, "val_total_loss": 0.16 + 3 * left}
    figures |= {"classification_accuracy": 0.985 - 0.6 * left, "classification_f1": 0.984 - 0.65 * left}
    figures |= {"answer_accuracy": 0.975 - 0.9 * left, "epoch": float(epoch)}
    figures |= {f"generation_bleu{order}": 0.99 - (0.4 + 0.1 * order) * left for order in (1, 2, 3, 4)}
    figures["generation_bleu"] = figures["generation_bleu4"]
    figures |= {f"generation_rouge{kind}_f": 0.99 - 0.5 * left for kind in (1, 2, "L")}
    for name, value in figures.items():
        writer.add_scalar(name, value, epoch * STEPS_PER_EPOCH)


def _picture(count: int) -> Image.Image:
    image = Image.new("RGB", (320, 240), "#6b4f3a")
    draw = ImageDraw.Draw(image)
    for index in range(count):
        left = 15 + 58 * index
        draw.rectangle((left, 30, left + 48, 190), fill="#f4f1e8")
        for line in range(9):
            draw.line((left + 6, 45 + 15 * line, left + 40 - 3 * (line % 4), 45 + 15 * line), fill="#555555", width=3)
    return image
