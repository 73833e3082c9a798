"""One picture composed of real receipts and other papers: what is in it, its pixels, its questions."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from receipt_counter.data.compose import Paper, handled, photographed, scanned_alone, scanned_together
from receipt_counter.data.dataset import Question, StoredExample, store_example
from receipt_counter.data.documents import PAGES, SMALL
from receipt_counter.data.render import phrasings
from receipt_counter.data.render.layout import turned
from receipt_counter.data.render.paper import Raster, rasterise
from receipt_counter.data.render.questions import count_answer, existence_answer
from receipt_counter.data.render.scene import LEGIBLE, draw_count, room_beside, source
from receipt_counter.data.scans import SHEET_SIDE, Scan, scan_of_drawing

MOST_RECEIPTS = 4
SCANNED = 0.25  # Share of pictures with less than two receipts that are one scan, as it came.
TOGETHER = 0.18  # Share of pictures that are several papers on a scanner's glass.
_MOST_TOGETHER = {True: 3, False: 2}  # Papers on the glass: receipts alone are narrow, other papers wide.
# Probabilities of 0, 1, ... other papers, by class.
_OTHERS = {0: (0.0, 0.53, 0.31, 0.16), 1: (0.5, 0.32, 0.18), 2: (0.68, 0.32)}
_DRAWINGS = {"train": 600, "val": 100, "analysis": 100, "test": 250}


@dataclass(frozen=True)
class Receipt:
    """A scanned receipt and what is known of it; a text is empty where the ground truth has none."""

    scan: Scan
    company: str
    date: str
    total: str


@dataclass(frozen=True)
class Job:
    """All that decides the pictures.

    Attributes:
        directory: where they go.
        image_size: their long side, pixels.
        seed: of the pictures.
        receipts: {split: its receipts}.
    """

    directory: Path
    image_size: int
    seed: int
    receipts: Mapping[str, Sequence[Receipt]]


def make_picture(job: Job, split: str, index: int) -> StoredExample:
    """Compose one picture; depends on nothing but the arguments."""
    rng = source(job.seed, split, index, "sroie")
    receipts = job.receipts[split]
    count = draw_count(rng, min(MOST_RECEIPTS, len(receipts)))
    chosen = [receipts[i] for i in rng.permutation(len(receipts))[:count]]
    picture, slices = _compose(job, split, chosen, rng)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=int(rng.integers(80, 95)))
    readable = slices["layout"] == "scan" and count == 1 and chosen[0].scan.delivered.em >= LEGIBLE
    questions = list(_questions(rng, count, chosen[0] if readable else None))
    return store_example(
        job.directory, split, index, buffer.getvalue(), count=count, questions=questions, slices=slices
    )


def _questions(rng: np.random.Generator, count: int, readable: Receipt | None) -> Iterator[Question]:
    """Ask for the number, and for what is written on a receipt that can be read in the picture."""
    yield Question("counting", _one_of(phrasings.COUNTING, rng), count_answer(count))
    yield Question("existence", _one_of(phrasings.EXISTENCE, rng), existence_answer(count))
    if readable is None:
        return
    asked = (
        ("value", phrasings.VALUE["total"], "The total on the receipt is {}.", readable.total),
        ("detail", phrasings.DETAIL["date"], "The date on the receipt is {}.", readable.date),
        ("detail", phrasings.DETAIL["store"], "The receipt is from {}.", readable.company),
    )
    for kind, phrases, answer, truth in asked:
        if truth:
            yield Question(kind, _one_of(phrases, rng).format(receipt="the receipt"), answer.format(truth))


def _one_of(phrases: Sequence[str], rng: np.random.Generator) -> str:
    return phrases[int(rng.integers(len(phrases)))]


def _compose(
    job: Job, split: str, receipts: Sequence[Receipt], rng: np.random.Generator
) -> tuple[Image.Image, dict[str, str]]:
    count, kind = len(receipts), rng.random()
    slices = {"overlap": "none", "rotation": "none", "stapled": "no", "source": "real" if count else "synthetic"}
    slices["negatives"] = "no" if count else "yes"
    if count < 2 and kind < SCANNED:
        picture = _scanned(job, split, receipts, rng)
        return picture, slices | {"layout": "scan"}
    others = int(rng.choice(len(_OTHERS[min(count, 2)]), p=_OTHERS[min(count, 2)]))
    others = min(others, room_beside(count, job.image_size))
    if others:
        slices["negatives"] = "yes"
    together = kind > 1 - TOGETHER and 0 < count + others <= _MOST_TOGETHER[others == 0]
    papers = [handled(receipt.scan.sheet, rng) for receipt in receipts]
    papers += [handled(_document(job, split, count + others == 1, rng), rng) for _ in range(others)]
    if together:
        order = rng.permutation(len(papers))
        return scanned_together([papers[i] for i in order], job.image_size, rng), slices | {"layout": "glass"}
    picture, layout = photographed(papers, count, job.image_size, rng)
    return picture, slices | {
        "layout": layout.name,
        "overlap": "slight" if layout.overlap else "none",
        "rotation": turned(layout),
    }


def _scanned(job: Job, split: str, receipts: Sequence[Receipt], rng: np.random.Generator) -> Image.Image:
    """One paper that fills the picture, as a scanner delivers it."""
    if receipts:
        return scanned_alone(receipts[0].scan.delivered, job.image_size, rng)
    document = _document(job, split, True, rng)
    if rng.random() < 0.5:
        return scanned_alone(document, job.image_size, rng)
    return scanned_together([document], job.image_size, rng)


def _document(job: Job, split: str, alone: bool, rng: np.random.Generator) -> Paper:
    """A paper that is no receipt, as if the scanner of one of the split's receipts had seen it."""
    drawing = _drawing(job.seed, split, int(rng.integers(_DRAWINGS[split])), alone, round(SHEET_SIDE * job.image_size))
    receipts = job.receipts[split]
    return scan_of_drawing(drawing, receipts[int(rng.integers(len(receipts)))].scan.tone, rng)


@lru_cache(maxsize=2048)
def _drawing(seed: int, split: str, number: int, alone: bool, side: int) -> Raster:
    """One of the split's drawn papers; drawn once per process, because drawing takes longer than composing."""
    rng = source(seed, split, number, "page" if alone else "small paper")
    kinds = PAGES if alone else SMALL
    sheet = kinds[int(rng.integers(len(kinds)))](rng)
    return rasterise(sheet, side / max(sheet.width, sheet.height))
