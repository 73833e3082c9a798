"""Ask a trained model about photos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from receipt_counter.config.loading import from_yaml
from receipt_counter.config.schema import Evaluation
from receipt_counter.data.images import read_image
from receipt_counter.errors import UserError
from receipt_counter.evaluation.metrics import class_labels
from receipt_counter.model.build import load_model
from receipt_counter.storage.registry import DEFAULT_MODEL, all_models, find_version
from receipt_counter.storage.remote import is_url
from receipt_counter.storage.run import Run
from receipt_counter.storage.store import Store
from receipt_counter.storage.sync import locate

DEFAULT_QUESTION = "How many receipts do you see?"
BATCH_SIZE = 16


@dataclass(frozen=True)
class Prediction:
    """What a model says about one photo, or why it could not.

    Args:
        image: the file.
        count: the class it sees, "0", "1", ... or "2+"; None if the photo cannot be read.
        confidence: probability it gives that class.
        probabilities: {class: probability}.
        answers: {question: answer}.
        error: why there is no answer.
    """

    image: str
    count: str | None = None
    confidence: float | None = None
    probabilities: dict[str, float] | None = None
    answers: dict[str, str] | None = None
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The fields that are there."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class FoundModel:
    """A model that can be asked.

    Args:
        directory: of the saved model.
        name: what it is called before a person.
    """

    directory: Path
    name: str


def find_model(reference: str | None, store: Store) -> FoundModel:
    """The model a user means.

    Args:
        reference: a model, run or version directory; a promoted model's NAME (its current version) or NAME/VERSION; a
            run id of the store (its beginning is enough). None is the current version of the default model.
        store: where promoted models and run ids are looked up.

    Raises:
        UserError: nothing of that name, a run that has no model, or a damaged version.
    """
    if reference is not None and (is_url(reference) or Path(reference).is_dir()):
        given = locate(reference)
        return _model_of(Run.open(given)) if (given / "run.json").exists() else FoundModel(given, reference)
    version = find_version(reference or DEFAULT_MODEL, store)
    if version is not None:
        version.check()
        return FoundModel(version.run.model, f"{version} (run {version.run_id})")
    if reference is None:
        raise UserError(
            f"no model has been promoted in {store.location} yet: `receipt-counter promote RUN` does it, "
            "or name one with --model"
        )
    try:
        return _model_of(Run.open(store.find_run(reference)))
    except UserError as error:
        promoted = ", ".join(registry.model for registry in all_models(store)) or "none yet"
        raise UserError(f"{error.message}; promoted models: {promoted}") from None


def _model_of(run: Run) -> FoundModel:
    if not run.model.is_dir():
        raise UserError(f"{run.directory}: this run has no model yet: its training has not finished")
    return FoundModel(run.model, f"run {run.record['run_id']}")


def predict(model_directory: Path, images: Sequence[str], questions: Sequence[str]) -> Iterator[Prediction]:
    """Count the receipts in photos and answer questions about them.

    Args:
        model_directory: of the model that `find_model` returned.
        images: files; one that cannot be read gets a prediction with an error.
        questions: asked about every photo.

    Yields:
        One prediction a photo, in order.
    """
    model, processor = load_model(model_directory)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device)
    longest = _longest_answer(model_directory)
    for start in range(0, len(images), BATCH_SIZE):
        batch = images[start : start + BATCH_SIZE]
        pictures, errors = {}, {}
        for image in batch:
            try:
                pictures[image] = processor.pad_image(read_image(Path(image)))
            except UserError as error:
                errors[image] = error.message
        found = {image: Prediction(image, error=message) for image, message in errors.items()}
        if pictures:
            pixels = processor.normalise(np.stack(list(pictures.values()))).to(device)
            with torch.no_grad():
                counted, answered = model.answer(pixels, [list(questions)] * len(pictures), processor, longest)
            for image, probabilities, answers in zip(pictures, counted.tolist(), answered, strict=True):
                found[image] = _prediction(image, probabilities, dict(zip(questions, answers, strict=True)))
        yield from (found[image] for image in batch)


def _prediction(image: str, probabilities: list[float], answers: dict[str, str]) -> Prediction:
    by_class = dict(zip(class_labels(len(probabilities)), probabilities, strict=True))
    count = max(by_class, key=by_class.__getitem__)
    return Prediction(image, count, by_class[count], by_class, answers)


def _longest_answer(model_directory: Path) -> int:
    """The run's own limit in tokens; the default for a model without a run."""
    config = model_directory.parent / "config.yaml"
    return (from_yaml(config).evaluation if config.exists() else Evaluation()).max_new_tokens
