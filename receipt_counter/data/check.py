"""Everything that is wrong with a dataset directory, found in one go."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from receipt_counter.data.dataset import fingerprint, hash_bytes, read_summary
from receipt_counter.data.example import SPLITS, parse_line
from receipt_counter.data.similar import LOOK_SIDE, Look, look, similar_pairs
from receipt_counter.errors import UserError


@dataclass(frozen=True)
class Problem:
    """Something wrong.

    Attributes:
        file: where, relative to the dataset.
        line: of that file, counted from 1; None where it is about the whole file.
        message: what.
    """

    file: str
    line: int | None
    message: str

    def __str__(self) -> str:
        return f"{self.file}{'' if self.line is None else f':{self.line}'}: {self.message}"


@dataclass(frozen=True)
class _Line:
    """A line of a split file that could be read, and its image once that could."""

    split: str
    number: int
    text: str
    id: str
    image: str
    sha256: str = ""
    look: Look | None = None

    @property
    def place(self) -> str:
        return f"{self.split}.jsonl:{self.number}"

    def problem(self, message: str) -> Problem:
        return Problem(f"{self.split}.jsonl", self.number, message)


def check_dataset(path: Path) -> list[Problem]:
    """Find everything that is wrong with a dataset: files, lines, images, duplicates across splits, fingerprint.

    Args:
        path: the dataset's directory.

    Returns:
        All problems; none, if the dataset is sound.
    """
    path = path.absolute()
    try:
        summary = read_summary(path)
        problems = []
    except UserError as error:
        summary = None
        problems = [Problem("dataset.json", None, error.message)]
    if not path.is_dir():
        return problems
    lines: list[_Line] = []
    for split in SPLITS:
        read, found = _read_split(path, split)
        lines += read
        problems += found
    lines, found = _read_images(path, lines)
    problems += [*found, *_repeated(lines), *_unlisted(path, lines), *_across_splits(lines)]
    return problems + (_contradictions(summary, lines) if summary is not None and not problems else [])


def _read_split(path: Path, split: str) -> tuple[list[_Line], list[Problem]]:
    name = f"{split}.jsonl"
    try:
        texts = (path / name).read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        return [], [Problem(name, None, "is missing")]
    except (OSError, UnicodeDecodeError) as error:
        return [], [Problem(name, None, f"cannot be read: {error}")]
    lines, problems = [], []
    if texts.pop():
        problems.append(Problem(name, len(texts) + 1, "is cut short: the last line has no end"))
    for number, text in enumerate(texts, start=1):
        line, found = parse_line(text)
        problems += [Problem(name, number, message) for message in found]
        if line is not None and isinstance(line.get("image"), str) and isinstance(line.get("id"), str):
            lines.append(_Line(split, number, text, line["id"], line["image"]))
    return lines, problems


def _read_images(path: Path, lines: Sequence[_Line]) -> tuple[list[_Line], list[Problem]]:
    """Read the image of every line; those that cannot be read keep an empty hash."""
    problems, read = [], []
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for line, result in zip(lines, threads.map(lambda line: _read_image(path / line.image), lines), strict=True):
            if isinstance(result, str):
                problems.append(line.problem(f"image {line.image} {result}"))
                read.append(line)
            else:
                sha256, seen = result
                read.append(replace(line, sha256=sha256, look=seen))
    return read, problems


def _read_image(file: Path) -> tuple[str, Look] | str:
    """Hash and look of an image, or what is wrong with it."""
    try:
        content = file.read_bytes()
        with Image.open(io.BytesIO(content)) as image:
            # Decoding at a smaller scale reads all of the file still, so a truncated one is noticed.
            image.draft("L", (LOOK_SIDE, LOOK_SIDE))
            return hash_bytes(content), look(image)
    except FileNotFoundError:
        return "is missing"
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return f"cannot be read: {error}"


def _repeated(lines: Sequence[_Line]) -> list[Problem]:
    problems = []
    ids: dict[str, _Line] = {}
    images: dict[str, _Line] = {}
    for line in lines:
        if (first := ids.setdefault(line.id, line)) is not line:
            problems.append(line.problem(f"id {line.id!r} is already that of {first.place}"))
        if (first := images.setdefault(line.image, line)) is not line:
            problems.append(line.problem(f"image {line.image} is already that of {first.place}"))
    return problems


def _unlisted(path: Path, lines: Sequence[_Line]) -> list[Problem]:
    listed = {line.image for line in lines}
    found = (file.relative_to(path).as_posix() for file in (path / "images").rglob("*") if file.is_file())
    return [Problem(name, None, "is listed in no split") for name in sorted(set(found) - listed)]


def _across_splits(lines: Sequence[_Line]) -> list[Problem]:
    """Pictures of one split that are in another too, byte for byte or to the eye."""
    first: dict[str, _Line] = {}
    problems = []
    for line in lines:
        if line.sha256 and (twin := first.setdefault(line.sha256, line)).split != line.split:
            problems.append(line.problem(f"image {line.image} is the same file as that of {twin.place}"))
    distinct = list(first.values())
    told: set[int] = set()
    for i, j in similar_pairs([line.look for line in distinct if line.look is not None]):
        one, other = distinct[i], distinct[j]
        if one.split != other.split and j not in told:
            told.add(j)
            problems.append(other.problem(f"image {other.image} shows the same as that of {one.place}"))
    return problems


def _contradictions(summary: dict[str, Any], lines: Sequence[_Line]) -> list[Problem]:
    """What dataset.json says and the files do not; asked only where all files are sound."""
    by_split = {split: [line for line in lines if line.split == split] for split in SPLITS}
    problems = [
        Problem("dataset.json", None, f"says {summary['splits'][split]} {split} images, {split}.jsonl has {len(found)}")
        for split, found in by_split.items()
        if summary["splits"][split] != len(found)
    ]
    actual = fingerprint(
        {split: [line.text for line in found] for split, found in by_split.items()},
        {split: [line.sha256 for line in found] for split, found in by_split.items()},
    )
    if actual != summary["fingerprint"]:
        problems.append(
            Problem("dataset.json", None, f"fingerprint {summary['fingerprint']} is not that of the content, {actual}")
        )
    return problems
