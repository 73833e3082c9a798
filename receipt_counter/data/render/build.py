"""Rendering a whole dataset, in as many processes as the machine has cores."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from receipt_counter.config.schema import Config
from receipt_counter.data.dataset import Dataset, DatasetWriter, StoredExample, store_example
from receipt_counter.data.parallel import make_examples
from receipt_counter.data.render.mix import Mix, draw_types, fit_mix
from receipt_counter.data.render.photo import encode, photograph
from receipt_counter.data.render.questions import ASKABLE, ask, askable
from receipt_counter.data.render.scene import draw_scene, source
from receipt_counter.errors import UserError

RENDERER = 3  # raised whenever the same config comes to give other pictures or questions

_SAMPLE = 400  # scenes from which the shares of askable types are estimated


@dataclass(frozen=True)
class Recipe:
    """What one picture depends on besides its split and index."""

    seed: int
    side: int
    max_receipts: int
    questions: int
    mix: Mix


def render_dataset(
    config: Config,
    output: Path,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Render the dataset that `config.data` describes; does nothing where it already is.

    The result depends on `data.render` and `data.image_size` only, not on the number of workers.

    Args:
        config: the config.
        output: the dataset's directory: absent, empty, or holding this very dataset.
        workers: processes; None for one a core.
        progress: called with (images done, images in all).

    Raises:
        UserError: the directory holds something else, cannot be written, or a process was killed.
    """
    spec = specification(config)
    if (output / "dataset.json").is_file():
        dataset = Dataset.open(output)
        if dataset.origin == "rendered" and dict(dataset.spec) == spec:
            return dataset
        raise UserError(f"{output}: holds another dataset ({dataset.name}); choose another directory or remove it")
    sizes = split_sizes(config)
    total = sum(sizes.values())
    report = progress or (lambda done, total: None)
    with DatasetWriter(output, name=f"rendered-{config.data.image_size}", origin="rendered", spec=spec) as writer:
        shared = (writer.directory, make_recipe(config))
        report(0, total)
        for done, stored in enumerate(make_examples(_render, shared, sizes, workers), start=1):
            writer.add(stored)
            report(done, total)
        return writer.finish()


def specification(config: Config) -> dict[str, Any]:
    """Everything the dataset depends on, as JSON values."""
    return {
        "renderer": RENDERER,
        "image_size": config.data.image_size,
        "render": dataclasses.asdict(config.data.render),
    }


def split_sizes(config: Config) -> dict[str, int]:
    """{split: number of images}."""
    render = config.data.render
    return {
        "train": render.train_images,
        "val": render.val_images,
        "analysis": render.analysis_images,
        "test": render.test_images,
    }


def make_recipe(config: Config) -> Recipe:
    """Settle the question mix on a sample of scenes that are in no split."""
    render, side = config.data.render, config.data.image_size
    wanted = {name: float(share) for name, share in dataclasses.asdict(render.question_mix).items()}
    sample = list(ASKABLE)  # so that the rarest kind of picture has shares too
    if any(wanted[name] for name in wanted if not all(name in kind for kind in ASKABLE)):
        sample += [askable(draw_scene(render.seed, "mix", i, side, render.max_receipts)) for i in range(_SAMPLE)]
    return Recipe(render.seed, side, render.max_receipts, render.questions_per_image, fit_mix(wanted, sample))


def render_example(directory: Path, recipe: Recipe, split: str, index: int) -> StoredExample:
    """Render one picture into a writer's directory."""
    scene = draw_scene(recipe.seed, split, index, recipe.side, recipe.max_receipts)
    rng = source(recipe.seed, split, index, "questions")
    questions = ask(rng, scene, draw_types(rng, recipe.mix[askable(scene)], recipe.questions))
    jpeg = encode(photograph(source(recipe.seed, split, index, "photo"), scene))
    return store_example(
        directory, split, index, jpeg, count=len(scene.receipts), questions=questions, slices=scene.slices()
    )


def _render(shared: tuple[Path, Recipe], split: str, index: int) -> StoredExample:
    return render_example(*shared, split, index)
