"""How fast receipts are rendered: images per second and core at 128 px, time for 10,000 images at 448 px on two cores.

Everything counts that `data render` does for an image: facts, drawing, questions, JPEG, hashing, writing. Other work on
the machine slows the clock, so wall time and processor time are both shown; on a quiet machine they agree.

    python benchmarks/render_speed.py            # about a minute: samples, the large run extrapolated
    python benchmarks/render_speed.py --full     # renders all 10,000 images at 448 px
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from receipt_counter.config.schema import Config, Data, QuestionMix, Render
from receipt_counter.data.render import render_dataset
from receipt_counter.data.render.build import make_recipe, render_example

WANTED_PER_SECOND = 250
WANTED_SECONDS = 240
LARGE = 10_000
LAPTOP_MIX = QuestionMix(counting=0.7, existence=0.3, value=0.0, detail=0.0, edge=0.0)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=3000, help="images of the 128 px sample")
    parser.add_argument("--large-images", type=int, default=400, help="images of the 448 px sample")
    parser.add_argument("--full", action="store_true", help=f"render all {LARGE} images at 448 px")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        one_core(Path(directory), options.images)
        two_cores(Path(directory), LARGE if options.full else options.large_images)


def one_core(directory: Path, images: int) -> None:
    """Images a second in this process at 128 px, once its glyphs and textures are warm."""
    recipe = make_recipe(Config(data=Data(image_size=128, render=Render(question_mix=LAPTOP_MIX))))
    (directory / "images" / "train").mkdir(parents=True)
    for index in range(images, images + 300):
        render_example(directory, recipe, "train", index)
    wall, processor = time.perf_counter(), time.process_time()
    for index in range(images):
        render_example(directory, recipe, "train", index)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    print(
        f"128 px, one process, {images} images: {images / wall:.0f} images/s by the clock, "
        f"{images / processor:.0f} images/s of processor time (wanted: {WANTED_PER_SECOND})"
    )


def two_cores(directory: Path, images: int) -> None:
    """Seconds for 10,000 images at 448 px in two processes, start and card included; a sample is extrapolated."""
    seconds = {}
    for size in sorted({images // 2, images}) if images < LARGE else (images,):
        render = Render(train_images=size - 3, val_images=1, analysis_images=1, test_images=1)
        started = time.perf_counter()
        render_dataset(Config(data=Data(image_size=448, render=render)), directory / f"large-{size}", workers=2)
        seconds[size] = time.perf_counter() - started
    if images == LARGE:
        print(f"448 px, two processes, {LARGE} images: {seconds[LARGE]:.0f} s (wanted: {WANTED_SECONDS})")
        return
    per_image = (seconds[images] - seconds[images // 2]) / (images - images // 2)
    start = max(seconds[images] - images * per_image, 0.0)
    print(
        f"448 px, two processes, {images} images: {seconds[images]:.1f} s, of which {start:.1f} s to start; "
        f"{LARGE} images: {start + LARGE * per_image:.0f} s, extrapolated (wanted: {WANTED_SECONDS})"
    )


if __name__ == "__main__":
    main()
