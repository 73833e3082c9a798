"""A folder of photos with a CSV file that says what they show."""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from receipt_counter.data.dataset import SPLITS, Dataset, DatasetWriter, StoredExample, store_example
from receipt_counter.data.example import QUESTION_TYPES, Question
from receipt_counter.data.images import read_image
from receipt_counter.data.question_types import guess_type
from receipt_counter.data.similar import Look, groups, look, similar_pairs
from receipt_counter.data.splits import split_groups
from receipt_counter.data.tables import Row, read_table
from receipt_counter.errors import UserError, nearest, suggestion

COLUMNS = ("filename", "receipt_count", "question", "answer")
OPTIONAL_COLUMNS = ("type",)
SHARES = {"train": 0.7, "val": 0.1, "analysis": 0.1, "test": 0.1}
LONGEST_SIDE = 1344  # px; the largest `data.image_size`, so that nothing a model could see is lost
QUALITY = 92


@dataclass
class _Photo:
    """One image file and what the rows say about it."""

    path: Path
    row: Row  # the first one
    count: int
    questions: list[Question] = field(default_factory=list)


def import_folder(source: Path, output: Path, *, seed: int = 0) -> Dataset:
    """Make a dataset of a folder of photos.

    Args:
        source: a folder with one CSV file (filename, receipt_count, question, answer; optionally type), one row for
            each question. The images lie anywhere below the folder.
        output: the dataset's directory; must be absent or empty.
        seed: decides which photo goes to which split, together with its content; photos that look the same go together.

    Raises:
        UserError: something is missing, broken or contradictory; all of it is listed, and nothing is written.
    """
    table = read_table(_find_table(source), required=COLUMNS, optional=OPTIONAL_COLUMNS)
    photos, problems = _collect(source, table.rows)
    problems = [*table.problems, *problems]
    hashes, looks = {}, {}
    for photo, result in _read_all(photos):
        if isinstance(result, str):
            problems.append(f"{photo.row.place}: {result}")
        else:
            hashes[photo.path], looks[photo.path] = result
    problems += _same_file_other_count([photo for photo in photos if photo.path in hashes], hashes)
    if problems:
        raise UserError("\n".join(problems))
    # The order of the photos, too, is that of their content, not of the rows.
    photos.sort(key=lambda photo: hashes[photo.path])
    same = groups(len(photos), similar_pairs([looks[photo.path] for photo in photos]))
    if len(same) < len(SPLITS):
        raise UserError(f"{source}: {len(same)} different photos; {len(SPLITS)} are needed, one for each split")
    shared = split_groups([[hashes[photos[i].path] for i in group] for group in same], SHARES, seed)
    placed = [
        (split, index, photos[i])
        for split in SPLITS
        for index, i in enumerate(sorted(i for g in shared[split] for i in same[g]))
    ]
    with DatasetWriter(output, name=source.resolve().name, origin="folder", spec={"seed": seed}) as writer:
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            for stored in threads.map(lambda place: _store(writer.directory, *place), placed):
                writer.add(stored)
        return writer.finish()


def _find_table(source: Path) -> Path:
    if not source.is_dir():
        raise UserError(f"{source}: no such folder")
    tables = sorted(path for path in source.iterdir() if path.suffix.lower() == ".csv")
    if len(tables) != 1:
        found = ", ".join(path.name for path in tables) or "none"
        raise UserError(f"{source}: needs exactly one CSV file ({', '.join(COLUMNS)}); found: {found}")
    return tables[0]


def _collect(source: Path, rows: Sequence[Row]) -> tuple[list[_Photo], list[str]]:
    """Bring the rows of each photo together."""
    files = _Files(source)
    photos: dict[Path, _Photo] = {}
    problems = []
    for row in rows:
        path, problem = files.find(row["filename"])
        wrong = [problem] if problem else []
        count = row["receipt_count"]
        if not re.fullmatch(r"\d{1,3}", count):
            wrong.append(f"receipt_count {count!r} is not a whole number from 0 to 999")
        wrong += [f"empty {column}" for column in ("question", "answer") if not row[column]]
        kind = row["type"] or guess_type(row["question"])
        if kind not in QUESTION_TYPES:
            wrong.append(f"unknown type {kind!r}: {suggestion(kind, QUESTION_TYPES)}")
        if path is not None and not wrong:
            photo = photos.setdefault(path, _Photo(path, row, int(count)))
            wrong = _add_question(photo, int(count), Question(kind, row["question"], row["answer"]))
        problems += [f"{row.place}: {message}" for message in wrong]
    return list(photos.values()), problems


def _add_question(photo: _Photo, count: int, question: Question) -> list[str]:
    """Add a question, unless it is there already; returns what contradicts earlier rows."""
    if count != photo.count:
        return [f"receipt_count {count} contradicts {photo.count} in line {photo.row.line} for the same image"]
    for other in photo.questions:
        if other.question == question.question and other.answer != question.answer:
            return [
                f"answer {question.answer!r} contradicts {other.answer!r} to the same question about the same image"
            ]
    if question not in photo.questions:
        photo.questions.append(question)
    return []


class _Files:
    """The files below a folder, found by path or by name alone."""

    def __init__(self, source: Path) -> None:
        self._by_path = {
            path.relative_to(source).as_posix(): path for path in sorted(source.rglob("*")) if path.is_file()
        }
        self._by_name: dict[str, list[str]] = {}
        for relative in self._by_path:
            self._by_name.setdefault(relative.rsplit("/", 1)[-1], []).append(relative)

    def find(self, name: str) -> tuple[Path | None, str | None]:
        """The file a row names, or what is wrong with the name."""
        if not name:
            return None, "empty filename"
        if name.lower().endswith(".pdf"):
            return None, f"{name} is a PDF, which is not read; save its pages as images"
        wanted = name.replace("\\", "/").removeprefix("./")
        if wanted in self._by_path:
            return self._by_path[wanted], None
        found = self._by_name.get(wanted, [])
        if len(found) > 1:
            return None, f"{name} could be any of {', '.join(found)}; write its folder too"
        if not found:
            near = nearest(wanted, self._by_path)
            return None, f"{name} does not exist" + (f"; did you mean {near!r}?" if near else "")
        return self._by_path[found[0]], None


def _read_all(photos: Sequence[_Photo]) -> Iterator[tuple[_Photo, tuple[str, Look] | str]]:
    """Content hash and look of every photo, or what is wrong with it."""

    def read(photo: _Photo) -> tuple[str, Look] | str:
        try:
            return hashlib.sha256(photo.path.read_bytes()).hexdigest(), look(read_image(photo.path))
        except UserError as error:
            return error.message

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        yield from zip(photos, threads.map(read, photos), strict=True)


def _same_file_other_count(photos: Sequence[_Photo], hashes: dict[Path, str]) -> list[str]:
    first: dict[str, _Photo] = {}
    problems = []
    for photo in photos:
        twin = first.setdefault(hashes[photo.path], photo)
        if twin.count != photo.count:
            problems.append(
                f"{photo.row.place}: receipt_count {photo.count} contradicts {twin.count} in line {twin.row.line}: "
                f"{photo.path.name} and {twin.path.name} are the same image"
            )
    return problems


def _store(directory: Path, split: str, index: int, photo: _Photo) -> StoredExample:
    """Store a photo upright, no larger than needed, and without what cameras write beside the pixels."""
    image = read_image(photo.path)
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return store_example(
        directory,
        split,
        index,
        buffer.getvalue(),
        count=photo.count,
        questions=photo.questions,
        slices={"source": "real"},
    )
