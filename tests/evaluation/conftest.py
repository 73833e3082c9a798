"""A small real dataset and a small real model."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageDraw

from receipt_counter.config.schema import Config
from receipt_counter.data.dataset import Dataset, DatasetWriter, Question, store_example
from receipt_counter.evaluation.evaluate import evaluate_model
from receipt_counter.model.build import build_model
from receipt_counter.model.processor import ReceiptProcessor
from receipt_counter.model.receipt_counter import ReceiptCounter

IMAGES = 11


@pytest.fixture(scope="session")
def small_config() -> Config:
    config = Config()
    architecture = dataclasses.replace(
        config.model.architecture,
        vision_width=32,
        vision_layers=1,
        vision_heads=2,
        language_width=32,
        language_layers=1,
        language_heads=2,
    )
    classifier = dataclasses.replace(config.model.classifier, hidden=(16,), dropout=(0.0,))
    model = dataclasses.replace(
        config.model,
        architecture=architecture,
        classifier=classifier,
        cross_attention=dataclasses.replace(config.model.cross_attention, num_heads=2),
    )
    evaluation = dataclasses.replace(config.evaluation, batch_size=4, max_new_tokens=6, bootstrap_samples=100)
    data = dataclasses.replace(config.data, image_size=64)
    return dataclasses.replace(config, model=model, evaluation=evaluation, data=data)


@pytest.fixture(scope="session")
def small_dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    path = tmp_path_factory.mktemp("data") / "small"
    with DatasetWriter(path, name="small", origin="folder", spec={}) as writer:
        for index in range(IMAGES):
            count = index % 4
            questions = [
                Question("counting", "How many receipts do you see?", f"There are {count} receipts in this photo."),
                Question("existence", "Is there a receipt?", "Yes, there is." if count else "No, there is none."),
            ][: 1 + index % 2]
            slices = {"overlap": "none" if index % 3 else "heavy", "source": "synthetic"}
            picture = _picture(count)
            writer.add(
                store_example(writer.directory, "test", index, picture, count=count, questions=questions, slices=slices)
            )
        return writer.finish()


def _picture(count: int) -> bytes:
    image = Image.new("RGB", (90, 70), "saddlebrown")
    for index in range(count):
        ImageDraw.Draw(image).rectangle((5 + 20 * index, 10, 20 + 20 * index, 60), fill="white")
    content = io.BytesIO()
    image.save(content, "JPEG")
    return content.getvalue()


@pytest.fixture
def small_model(small_config: Config, small_dataset: Dataset) -> tuple[ReceiptCounter, ReceiptProcessor]:
    texts = [
        text
        for example in small_dataset.examples("test")
        for item in example.questions
        for text in (item.question, item.answer)
    ]
    torch.manual_seed(0)
    return build_model(small_config, texts)


@pytest.fixture
def evaluated(small_config, small_dataset, small_model, tmp_path: Path):
    """(metrics, output directory, progress calls) of an evaluation."""
    calls: list[tuple[int, int]] = []
    model, processor = small_model
    metrics = evaluate_model(
        model,
        processor,
        small_dataset,
        "test",
        small_config,
        output=tmp_path / "evaluation" / "test",
        device="cpu",
        progress=lambda done, total: calls.append((done, total)),
    )
    return metrics, tmp_path / "evaluation" / "test", calls
