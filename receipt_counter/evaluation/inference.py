"""What a model says about examples: the lines of predictions.jsonl."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from receipt_counter.data.example import Example
from receipt_counter.evaluation.answers import is_correct
from receipt_counter.model.processor import ReceiptProcessor
from receipt_counter.model.receipt_counter import Losses, ReceiptCounter

LoadImages = Callable[[Sequence[Example]], Tensor]
_DIGITS = 6


@dataclass(frozen=True)
class Inference:
    """A model with all it needs to look at examples.

    Args:
        model: in any mode; `frozen` puts it into evaluation mode.
        processor: the model's own.
        classes: how many count classes there are.
        max_new_tokens: longest answer.
        device: where the model is.
        load_images: from B examples to uint8 [B,S,S,3] (letterboxed) or float [B,3,S,S] (normalised); files are read
            one after another when absent.
    """

    model: ReceiptCounter
    processor: ReceiptProcessor
    classes: int
    max_new_tokens: int
    device: torch.device | str
    load_images: LoadImages | None = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Evaluation mode without gradients; leaves the model in the mode it was in."""
        training = self.model.training
        self.model.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.model.train(training)

    def pixels(self, examples: Sequence[Example]) -> Tensor:
        """Pictures as the model takes them, [B,3,S,S] on its device and in its precision."""
        read = self.load_images or (lambda batch: self.processor.read_images([example.image for example in batch]))
        loaded = read(examples)
        loaded = loaded.to(self.device)
        normalised = self.processor.normalise(loaded) if loaded.dtype == torch.uint8 else loaded
        return normalised.to(next(self.model.parameters()).dtype)

    def losses(self, examples: Sequence[Example], pixels: Tensor) -> Losses:
        """Both losses of the true counts and answers."""
        labels = [self.label(example) for example in examples]
        questions = [[(item.question, item.answer) for item in example.questions] for example in examples]
        losses: Losses = self.model(self.processor.pack(pixels, labels, questions).to(self.device, pixels.dtype))
        return losses

    def answers(self, examples: Sequence[Example], pixels: Tensor) -> tuple[Tensor, list[list[dict[str, Any]]]]:
        """Count probabilities [B,classes] and, for each image, its questions with true and generated answers."""
        asked = [[item.question for item in example.questions] for example in examples]
        probabilities, spoken = self.model.answer(pixels, asked, self.processor, self.max_new_tokens)
        judged = [
            [
                {
                    "type": item.type,
                    "question": item.question,
                    "answer": item.answer,
                    "predicted": text,
                    "correct": is_correct(text, item.answer),
                }
                for item, text in zip(example.questions, texts, strict=True)
            ]
            for example, texts in zip(examples, spoken, strict=True)
        ]
        return probabilities, judged

    def label(self, example: Example) -> int:
        """Count class of an example."""
        return min(example.count, self.classes - 1)

    def counted(self, example: Example, probabilities: Tensor) -> dict[str, Any]:
        """The part of a prediction that is about the count.

        A model that has diverged says nothing: where its probabilities are not numbers, all classes count as equal.

        Args:
            example: what was looked at.
            probabilities: [classes].
        """
        values = probabilities.float()
        if not bool(torch.isfinite(values).all()):
            values = torch.full_like(values, 1 / len(values))
        return {
            "count": example.count,
            "label": self.label(example),
            "predicted": int(values.argmax()),
            "probabilities": [round(value, _DIGITS) for value in values.tolist()],
        }

    def predictions(self, examples: Sequence[Example], root: Path, rate_truth: bool) -> list[dict[str, Any]]:
        """Look at a batch.

        Args:
            examples: of the batch.
            root: image paths are written relative to it, so that they mean the same on every machine.
            rate_truth: also rate the true answers, which costs a second pass.

        Returns:
            A line of predictions.jsonl for each; `seconds` is the batch's time, from file to answer, shared evenly.
        """
        began = time.perf_counter()
        pixels = self.pixels(examples)
        probabilities, answers = self.answers(examples, pixels)
        probabilities = probabilities.cpu()
        seconds = (time.perf_counter() - began) / len(examples)
        unrated = {"nll": None, "answer_tokens": 0}
        rated = likelihood(self.losses(examples, pixels)) if rate_truth else [unrated] * len(examples)
        return [
            {
                "id": example.id,
                "image": example.image.relative_to(root).as_posix(),
                **self.counted(example, probabilities[row]),
                "seconds": round(seconds, _DIGITS),
                **rated[row],
                "slices": dict(example.slices),
                "answers": answers[row],
            }
            for row, example in enumerate(examples)
        ]


def likelihood(losses: Losses) -> list[dict[str, Any]]:
    """The part of each image's prediction that rates the true answers.

    Returns:
        `nll`, the negative log-likelihood summed over answer tokens (natural log), None where it is infinite or nan;
        and `answer_tokens`, how many these are.
    """
    return [
        {"nll": round(nll, _DIGITS) if math.isfinite(nll) else None, "answer_tokens": int(tokens)}
        for nll, tokens in zip(losses.token_nll.tolist(), losses.tokens.tolist(), strict=True)
    ]


def batches(examples: Sequence[Example], size: int) -> Iterator[Sequence[Example]]:
    """Consecutive pieces of at most `size` examples."""
    for start in range(0, len(examples), size):
        yield examples[start : start + size]
