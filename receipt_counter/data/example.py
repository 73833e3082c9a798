"""One image with its count and its questions, and the line of a split file that holds it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SPLITS = ("train", "val", "analysis", "test")
QUESTION_TYPES = ("counting", "existence", "value", "detail", "edge")


@dataclass(frozen=True)
class Question:
    """A question about an image, of one of `QUESTION_TYPES`, and its reference answer."""

    type: str
    question: str
    answer: str


@dataclass(frozen=True)
class Example:
    """One image and what is true of it.

    Attributes:
        id: unique in the dataset, "<split>-<index>".
        image: absolute path of the picture.
        count: exact number of receipts; its class is min(count, classes - 1).
        questions: at least one.
        slices: {slice: value}, the groups in which figures are reported.
    """

    id: str
    image: Path
    count: int
    questions: tuple[Question, ...]
    slices: Mapping[str, str]


def image_name(split: str, index: int) -> str:
    """Where an image lies, relative to the dataset."""
    return f"images/{split}/{index:06d}.jpg"


def to_line(
    split: str, index: int, count: int, questions: tuple[Question, ...], slices: Mapping[str, str]
) -> dict[str, Any]:
    """The JSON object of an example, as it stands in the split's file."""
    return {
        "id": f"{split}-{index:06d}",
        "image": image_name(split, index),
        "count": count,
        "questions": [{"type": q.type, "question": q.question, "answer": q.answer} for q in questions],
        "slices": dict(slices),
    }


def from_line(line: Mapping[str, Any], directory: Path) -> Example:
    """The example in a line that `line_problems` found nothing wrong with.

    Args:
        line: the JSON object.
        directory: absolute path of the dataset.
    """
    questions = tuple(Question(q["type"], q["question"], q["answer"]) for q in line["questions"])
    return Example(line["id"], directory / line["image"], line["count"], questions, dict(line["slices"]))


def parse_line(text: str) -> tuple[Mapping[str, Any] | None, list[str]]:
    """Read one line of a split file.

    Returns:
        The JSON object (None if there is none) and everything that is wrong with it.
    """
    try:
        line = json.loads(text)
    except json.JSONDecodeError as error:
        return None, [f"is not valid JSON: {error.msg}"]
    if not isinstance(line, dict):
        return None, ["is not a JSON object"]
    return line, line_problems(line)


def line_problems(line: Mapping[str, Any]) -> list[str]:
    """Everything that is wrong with the JSON object of an example, the pixels apart."""
    problems = [f"{key} {line.get(key)!r} is no text" for key in ("id", "image") if not _is_text(line.get(key))]
    image = line.get("image")
    if isinstance(image, str) and (image.startswith("/") or ".." in Path(image).parts):
        problems.append(f"image {image!r} lies outside the dataset")
    count = line.get("count")
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        problems.append(f"count {count!r} is not a whole number from 0 up")
    slices = line.get("slices")
    if not isinstance(slices, dict) or not all(isinstance(value, str) for value in slices.values()):
        problems.append(f"slices {slices!r} is not a mapping of names to text")
    questions = line.get("questions")
    if not isinstance(questions, list) or not questions:
        return [*problems, "has no questions"]
    for number, question in enumerate(questions, start=1):
        problems += [f"question {number}: {problem}" for problem in _question_problems(question)]
    return problems


def _question_problems(question: Any) -> list[str]:
    if not isinstance(question, dict):
        return ["is not a JSON object"]
    problems = []
    if question.get("type") not in QUESTION_TYPES:
        problems.append(f"unknown type {question.get('type')!r} (valid: {', '.join(QUESTION_TYPES)})")
    return problems + [f"empty {key}" for key in ("question", "answer") if not _is_text(question.get(key))]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())
