"""The worst mistakes of a model: the ones worth looking at first."""

from __future__ import annotations

import io
import urllib.parse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from receipt_counter.storage.files import write_atomic

if TYPE_CHECKING:
    from receipt_counter.evaluation.statistics import Prediction  # which imports what takes seconds

SHOWN = 24
_SIDE = 320  # pixels, longest side
_QUALITY = 80  # JPEG


def worst_mistakes(predictions: Sequence[Prediction], limit: int = SHOWN) -> list[Prediction]:
    """Images with a mistake, the worst first.

    Wrong counts come first, the most confident ahead; then right counts with wrong answers, the largest share of wrong
    answers ahead. Wrong answers keep a third of the places, as far as there are any.

    Args:
        predictions: one mapping an image.
        limit: how many at most.
    """
    miscounted = [line for line in predictions if line["predicted"] != line["label"]]
    misspoken = [line for line in predictions if line["predicted"] == line["label"] and is_mistake(line)]
    miscounted.sort(key=lambda line: (-max(line["probabilities"]), -_wrong_answers(line), line["id"]))
    misspoken.sort(key=lambda line: (-_wrong_answers(line), line["id"]))
    counts_shown = limit - min(len(misspoken), limit // 3)
    return (miscounted[:counts_shown] + misspoken)[:limit]


def is_mistake(line: Prediction) -> bool:
    """Whether the count or an answer is wrong."""
    return line["predicted"] != line["label"] or _wrong_answers(line) > 0


def _wrong_answers(line: Prediction) -> float:
    """Share of the answers about an image that are wrong."""
    answers = line.get("answers", ())
    return sum(not answer["correct"] for answer in answers) / max(1, len(answers))


def thumbnail_path(evaluation: Path, identity: str) -> Path:
    """Where the small picture of an image is kept, under `evaluation/<split>`."""
    return evaluation / "mistakes" / f"{urllib.parse.quote(identity, safe='')}.jpg"


def write_thumbnail(evaluation: Path, identity: str, source: Path) -> None:
    """Keep a small copy of a picture beside the predictions, so that a report needs the run directory only.

    Args:
        evaluation: the run's evaluation/<split>.
        identity: the example's id.
        source: its picture.
    """
    with Image.open(source) as image:
        small = image.convert("RGB")
    small.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    content = io.BytesIO()
    small.save(content, "JPEG", quality=_QUALITY, optimize=True)
    write_atomic(thumbnail_path(evaluation, identity), content.getvalue())
