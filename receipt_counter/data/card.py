"""The dataset's card: what it holds, in numbers, in words and in one picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from receipt_counter.data.example import QUESTION_TYPES, SPLITS, Example
from receipt_counter.data.samples import sample_sheet
from receipt_counter.storage.files import write_atomic, write_json

ORIGINS = {
    "rendered": "drawn by Receipt Counter Pipelines from made-up facts",
    "folder": "imported from a folder of photos",
    "sroie": "composed of real receipts in the layout of the SROIE challenge",
}
LICENCES = {
    "rendered": "No third-party image is in it; use it under the licence of the software that drew it (Apache-2.0).",
    "folder": "The photos keep their owner's terms. Receipts can hold personal data: check before passing them on.",
    "sroie": (
        "The scans keep the terms of the ICDAR 2019 SROIE challenge (Huang et al., ICDAR2019 Competition on Scanned "
        "Receipt OCR and Information Extraction). They show real shops and people: check before passing them on."
    ),
}
COUNT_CLASSES = ("0", "1", "2+")
SAMPLES_QUALITY = 88


def write_card(
    directory: Path,
    summary: Mapping[str, Any],
    examples: Mapping[str, Sequence[Example]],
    sizes: Mapping[str, Sequence[tuple[int, int]]],
) -> None:
    """Write card.json, card.md and samples.jpg into a dataset.

    Args:
        directory: the dataset, its images in place.
        summary: what goes into dataset.json.
        examples: {split: its examples}.
        sizes: {split: (width, height) of each example's image, pixels}.
    """
    everything = [example for split in SPLITS for example in examples[split]]
    card = {
        "name": summary["name"],
        "origin": summary["origin"],
        "fingerprint": summary["fingerprint"],
        "licence": LICENCES[summary["origin"]],
        "total": _tallies(everything, [size for split in SPLITS for size in sizes[split]]),
        "splits": {split: _tallies(examples[split], sizes[split]) for split in SPLITS},
        "spec": summary["spec"],
    }
    write_json(directory / "card.json", card)
    write_atomic(directory / "card.md", _markdown(card))
    if everything:
        sample_sheet(everything, summary["name"]).save(directory / "samples.jpg", quality=SAMPLES_QUALITY)


def _tallies(examples: Sequence[Example], sizes: Sequence[tuple[int, int]]) -> dict[str, Any]:
    questions = [question for example in examples for question in example.questions]
    slices = sorted({name for example in examples for name in example.slices})
    classes = _tally(COUNT_CLASSES[min(example.count, 2)] for example in examples)
    types = _tally(question.type for question in questions)
    return {
        "images": len(examples),
        "questions": len(questions),
        "classes": {name: classes.get(name, 0) for name in COUNT_CLASSES},
        "counts": _tally(example.count for example in examples),
        "question_types": {name: types[name] for name in QUESTION_TYPES if name in types},
        "slices": {name: _tally(e.slices[name] for e in examples if name in e.slices) for name in slices},
        "width": _range([width for width, _ in sizes]),
        "height": _range([height for _, height in sizes]),
    }


def _tally(values: Iterable[str | int]) -> dict[str, int]:
    return {str(value): number for value, number in sorted(Counter(values).items())}


def _range(pixels: Sequence[int]) -> list[int]:
    return [min(pixels), max(pixels)] if pixels else []


def _markdown(card: Mapping[str, Any]) -> str:
    total, splits = card["total"], card["splits"]
    parts = [
        f"# {card['name']}",
        f"{total['images']:,} images with {total['questions']:,} questions, {ORIGINS[card['origin']]}. "
        f"Fingerprint `{card['fingerprint']}`.",
    ]
    if total["images"]:
        parts.append(f"Images are {_pixels(total['width'])} wide and {_pixels(total['height'])} high.")
        parts.append("![Sample images, each with its count and one of its questions](samples.jpg)")
    parts += [
        "## Splits",
        _table("", {"images": "images", "questions": "questions"}, splits, lambda tallies: tallies),
        "## Receipts in an image",
        _table("count", total["counts"], splits, lambda tallies: tallies["counts"]),
        "The count head tells apart 0, 1 and 2+: "
        + ", ".join(f"{number:,} of class {name}" for name, number in total["classes"].items())
        + ".",
        "## Questions",
        _table("type", total["question_types"], splits, lambda tallies: tallies["question_types"]),
    ]
    if total["slices"]:
        parts.append("## Slices")
    for name, values in total["slices"].items():
        parts.append(_table(name, values, splits, lambda tallies, name=name: tallies["slices"].get(name, {})))
    parts += ["## Licence", card["licence"]]
    return "\n\n".join(parts) + "\n"


def _table(corner: str, rows: Iterable[str], splits: Mapping[str, Any], of: Any) -> str:
    """A row for each value, a column for each split, and their sum."""
    lines = [f"| {corner} | " + " | ".join(splits) + " | all |", "|---" + "|---:" * (len(splits) + 1) + "|"]
    for row in rows:
        numbers = [of(tallies).get(row, 0) for tallies in splits.values()]
        lines.append(f"| {row} | " + " | ".join(f"{number:,}" for number in [*numbers, sum(numbers)]) + " |")
    return "\n".join(lines)


def _pixels(ends: Sequence[int]) -> str:
    low, high = ends
    return f"{low} px" if low == high else f"{low} to {high} px"
