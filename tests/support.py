"""Small real inputs that several test folders need."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import psutil
from PIL import Image, ImageDraw

from receipt_counter.config.loading import resolve
from receipt_counter.config.schema import Config
from receipt_counter.data.dataset import Dataset, DatasetWriter, Question, store_example

# A model and a schedule small enough to train in a second or two.
SMALL = (
    "data.image_size=64",
    "data.batch_size=8",
    "model.architecture.vision_width=32",
    "model.architecture.language_width=32",
    "model.classifier.hidden=[16]",
    "model.classifier.dropout=[0.1]",
    "training.processes=1",
    "training.learning_rate=0.002",
    "training.optimizer.name=adamw",
    "training.loss_weights.language=1",
    "data.epoch_images=null",
    "training.epochs=3",
    "training.schedule.epochs=3",
    "training.schedule.warmup_steps=2",
    "training.log_every_steps=1",
    "training.checkpoint.every_steps=2",
    "evaluation.epoch_answer_images=4",
    "evaluation.bootstrap_samples=100",
)


def small_config(*overrides: str) -> Config:
    """The laptop preset shrunk by SMALL, then changed by `overrides`."""
    return resolve(None, "laptop", [*SMALL, *overrides]).config


def alive(process: psutil.Process) -> bool:
    """Whether it still runs."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def ends(*processes: psutil.Process, within: float = 1.0) -> bool:
    """Whether processes that must not outlive another one are soon gone.

    At once, on a machine that has nothing else to do; what would stay stays for longer than any busy one takes.
    """
    deadline = time.monotonic() + within
    while any(map(alive, processes)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(map(alive, processes))


def write_squares(
    path: Path, images: Mapping[str, int], *, size: int = 64, questions: int = 2, seed: int = 0
) -> Dataset:
    """A dataset of white squares on noise, counted and asked about like receipts.

    Args:
        path: where it goes.
        images: {split: how many}; absent splits get 8.
        size: side of the pictures, pixels.
        questions: how many about each picture.
        seed: of the pictures.
    """
    with DatasetWriter(path, name="squares", origin="rendered", spec={"seed": seed}) as writer:
        for number, split in enumerate(("train", "val", "analysis", "test")):
            for index in range(images.get(split, 8)):
                generator = np.random.default_rng([seed, number, index])
                count = int(generator.integers(0, 4))
                asked = [
                    Question("counting", f"How many receipts do you see{'?' * (n + 1)}", _answer(count))
                    for n in range(questions)
                ]
                writer.add(
                    store_example(
                        writer.directory,
                        split,
                        index,
                        _picture(generator, count, size),
                        count=count,
                        questions=asked,
                        slices={"layout": "scattered", "source": "synthetic"},
                    )
                )
        return writer.finish()


def _answer(count: int) -> str:
    return f"There {'is' if count == 1 else 'are'} {count} receipt{'' if count == 1 else 's'} in this photo."


def _picture(generator: np.random.Generator, count: int, size: int) -> bytes:
    # coarse patches, so that no two pictures pass for the same
    coarse = Image.fromarray(generator.integers(20, 140, (8, 8, 3), dtype=np.uint8))
    image = coarse.resize((size, size), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(image)
    cells = generator.permutation(4)[:count]
    for cell in cells:
        left, top = (cell % 2) * size // 2 + 4, (cell // 2) * size // 2 + 4
        draw.rectangle((left, top, left + size // 3, top + size // 3), fill=(250, 250, 250))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=90)
    return stream.getvalue()
