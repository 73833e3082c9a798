"""Predictions made up for tests: plausible, seeded, with every kind of mistake."""

from __future__ import annotations

from typing import Any

import numpy as np

from receipt_counter.evaluation.answers import is_correct

STORES = ("Bakery Miller", "Corner Shop", "Green Garden", "City Pharmacy")


def fabricate_predictions(
    images: int = 60, classes: int = 3, skill: float = 0.9, seed: int = 0
) -> list[dict[str, Any]]:
    """Predictions of a model that is right with probability `skill`.

    Args:
        images: how many.
        classes: count classes.
        skill: 0 is always wrong, 1 always right.
        seed: of everything.
    """
    generator = np.random.default_rng(seed)
    lines = []
    for index in range(images):
        count = int(generator.integers(0, classes + 2))
        label = min(count, classes - 1)
        right = generator.random() < skill
        predicted = label if right else int((label + generator.integers(1, classes)) % classes)
        confidence = float(generator.uniform(0.6, 1.0) if right else generator.uniform(0.4, 0.95))
        probabilities = [(1 - confidence) / (classes - 1)] * classes
        probabilities[predicted] = confidence
        answers = [_counting(count, count if right else predicted)]
        answers.append(_value(generator, skill))
        lines.append(
            {
                "id": f"test-{index:06d}",
                "image": f"images/test/{index:06d}.jpg",
                "count": count,
                "label": label,
                "predicted": predicted,
                "probabilities": [round(value, 6) for value in probabilities],
                "seconds": 0.01 + 0.002 * float(generator.random()),
                "nll": 4 * float(generator.random()),
                "answer_tokens": 20,
                "slices": {
                    "layout": str(generator.choice(["single", "scattered", "grid"])) if count else "none",
                    "overlap": str(generator.choice(["none", "light", "heavy"])),
                },
                "answers": answers,
            }
        )
    return lines


def fabricate_mistakes(skill: float = 0.9, images: int = 200, seed: int = 0, truth: int = 0) -> list[dict[str, Any]]:
    """Predictions whose truths depend on `truth` alone and whose mistakes depend on `seed`."""
    lines = fabricate_predictions(images, skill=1.0, seed=truth)
    generator = np.random.default_rng([seed, 1])
    for line in lines:
        if generator.random() > skill:
            line["predicted"] = (line["label"] + 1) % 3
            line["probabilities"] = list(np.roll(line["probabilities"], 1))
            for answer in line["answers"]:
                answer.update(predicted="There are 9 receipts in this photo.", correct=False)
    return lines


def _counting(truth: int, predicted: int) -> dict[str, Any]:
    def sentence(count: int) -> str:
        return f"There are {count} receipts in this photo."

    return _answer("counting", "How many receipts do you see?", sentence(truth), sentence(predicted))


def _value(generator: np.random.Generator, skill: float) -> dict[str, Any]:
    total, store = generator.uniform(1, 90), generator.choice(STORES)
    truth = f"The receipt from {store} comes to {total:.2f} euros in all."
    wrong = f"The total of {store} is {total + 1:.2f} euros."
    return _answer("value", "What is the total value?", truth, truth if generator.random() < skill else wrong)


def _answer(kind: str, question: str, truth: str, predicted: str) -> dict[str, Any]:
    correct = is_correct(predicted, truth)
    return {"type": kind, "question": question, "answer": truth, "predicted": predicted, "correct": correct}
