"""A dataset so small that the whole pipeline runs on it in seconds."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from receipt_counter.data.dataset import SPLITS, Dataset, DatasetWriter, store_example
from receipt_counter.data.example import Question

IMAGES = {"train": 24, "val": 6, "analysis": 6, "test": 6}

# What makes a run tiny; each test adds its own.
TINY = (
    "--preset=laptop",
    "--set=data.image_size=64",
    "--set=training.epochs=2",
    "--set=training.schedule.epochs=2",
    "--set=training.three_stage.enabled=false",
    "--set=training.schedule.warmup_steps=2",
    "--set=data.batch_size=8",
    "--set=evaluation.max_new_tokens=8",
    "--set=evaluation.bootstrap_samples=100",
)


def draw(count: int, rng: np.random.Generator) -> bytes:
    """White slips on a desk of many dark colours: no two pictures look alike."""
    desk = rng.integers(0, 150, (8, 8, 3), dtype=np.uint8)
    image = Image.fromarray(desk).resize((64, 64), Image.Resampling.BICUBIC)
    for slip in range(count):
        left, top = 2 + 32 * slip + int(rng.integers(0, 8)), int(rng.integers(2, 18))
        ImageDraw.Draw(image).rectangle((left, top, left + 20, top + 40), fill="white")
    jpeg = io.BytesIO()
    image.save(jpeg, "JPEG")
    return jpeg.getvalue()


def write_dataset(path: Path) -> Dataset:
    """A dataset of 0, 1 or 2 slips an image."""
    with DatasetWriter(path, name="slips", origin="folder", spec={}) as writer:
        rng = np.random.default_rng(0)
        for split in SPLITS:
            for index in range(IMAGES[split]):
                count = index % 3
                question = Question("counting", "How many slips are there?", f"There are {count} slips here.")
                jpeg = draw(count, rng)
                writer.add(
                    store_example(
                        writer.directory,
                        split,
                        index,
                        jpeg,
                        count=count,
                        questions=[question],
                        slices={"layout": "row"},
                    )
                )
        return writer.finish()


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_dataset(tmp_path_factory.mktemp("data") / "slips")
