"""Small pictures for the tests of this folder."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from receipt_counter.data.dataset import SPLITS, Dataset, DatasetWriter, Question, StoredExample, store_example


def picture(seed: int, size: tuple[int, int] = (40, 60)) -> Image.Image:
    """A picture of coarse noise; different seeds look different."""
    cells = np.random.default_rng(seed).integers(0, 255, (9, 9)).astype(np.uint8)
    return Image.fromarray(cells).resize(size, Image.Resampling.BICUBIC)


def jpeg(seed: int, quality: int = 90) -> bytes:
    """The same as a JPEG file."""
    buffer = io.BytesIO()
    picture(seed).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def stored(directory: Path, split: str, index: int, *, count: int = 1, seed: int | None = None) -> StoredExample:
    """An example put into a writer's directory."""
    number = 100 * SPLITS.index(split) + index if seed is None else seed
    questions = [
        Question("counting", "How many receipts do you see?", f"There are {count} receipts here."),
        Question("existence", "Is there a receipt?", "Yes, there is one at least."),
    ]
    slices = {"layout": "single" if count == 1 else "grid", "source": "synthetic"}
    return store_example(directory, split, index, jpeg(number), count=count, questions=questions, slices=slices)


def write_dataset(path: Path, images: int = 3, *, reverse: bool = False) -> Dataset:
    """A sound dataset with `images` images in each split."""
    with DatasetWriter(path, name="test", origin="rendered", spec={"made by": "a test"}) as writer:
        places = [(split, index) for split in SPLITS for index in range(images)]
        for split, index in reversed(places) if reverse else places:
            writer.add(stored(writer.directory, split, index, count=index))
        return writer.finish()
