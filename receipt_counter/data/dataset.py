"""The dataset directory: how it is written, and how everything else reads it."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from PIL import Image

from receipt_counter.data.card import write_card
from receipt_counter.data.example import SPLITS, Example, Question, from_line, image_name, parse_line, to_line
from receipt_counter.errors import UserError
from receipt_counter.storage.files import atomic_directory, read_json, write_atomic, write_json

__all__ = ["SPLITS", "Dataset", "DatasetWriter", "Example", "Question", "StoredExample", "store_example"]

FORMAT = 1
_SHOWN_PROBLEMS = 10


@dataclass(frozen=True)
class Dataset:
    """A complete dataset on disk; get one from `Dataset.open` or `DatasetWriter.finish`.

    Attributes:
        path: absolute path of the directory.
        name: what its maker called it.
        origin: "rendered", "folder" or "sroie".
        fingerprint: hash of every split file and image, the same wherever and in whatever order it was made.
        splits: {split: number of images}, in the order of `SPLITS`.
        spec: what made it.
    """

    path: Path
    name: str
    origin: str
    fingerprint: str
    splits: Mapping[str, int]
    spec: Mapping[str, Any]

    @classmethod
    def open(cls, path: Path) -> Dataset:
        """Open a dataset directory, checking cheaply that it is one, complete and as it was written.

        The images themselves are not read; `receipt_counter.data.check` does that.

        Raises:
            UserError: nothing is there, it is no dataset, it is incomplete, or a split file has changed.
        """
        path = path.absolute()
        summary = read_summary(path)
        dataset = cls(
            path, summary["name"], summary["origin"], summary["fingerprint"], summary["splits"], summary["spec"]
        )
        problems = []
        for split in SPLITS:
            file = path / f"{split}.jsonl"
            if not file.is_file():
                problems.append(f"{file}: is missing")
            elif hash_bytes(file.read_bytes()) != summary["files"][file.name]:
                problems.append(f"{file}: has changed since the dataset was made; make the dataset again")
        if problems:
            raise UserError("\n".join(problems))
        return dataset

    def examples(self, split: str) -> list[Example]:
        """The examples of a split, in the order of their ids.

        Raises:
            UserError: a line is broken or an image is missing; all of them are counted, the first are listed.
        """
        if split not in SPLITS:
            raise UserError(f"split {split!r}: valid splits are {', '.join(SPLITS)}")
        file = self.path / f"{split}.jsonl"
        folder = self.path / "images" / split
        present = {f"images/{split}/{found.name}" for found in folder.iterdir()} if folder.is_dir() else set()
        examples, problems = [], []
        for number, text in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
            line, found = parse_line(text)
            if line is not None and not found and line["image"] not in present:
                found = [f"image {line['image']} is missing"]
            problems += [f"{file}:{number}: {problem}" for problem in found]
            if line is not None and not found:
                examples.append(from_line(line, self.path))
        if problems:
            more = f"\nand {len(problems) - _SHOWN_PROBLEMS} more" if len(problems) > _SHOWN_PROBLEMS else ""
            raise UserError("\n".join(problems[:_SHOWN_PROBLEMS]) + more)
        return examples


@dataclass(frozen=True)
class StoredExample:
    """An example whose image is already in the writer's directory; small enough to send between processes."""

    split: str
    index: int
    count: int
    questions: tuple[Question, ...]
    slices: Mapping[str, str]
    size: tuple[int, int]
    image_sha256: str


def store_example(
    directory: Path,
    split: str,
    index: int,
    jpeg: bytes,
    *,
    count: int,
    questions: Iterable[Question],
    slices: Mapping[str, str],
) -> StoredExample:
    """Put an image into a writer's directory; worker processes call this, the writer's own process calls `add`.

    Args:
        directory: `DatasetWriter.directory`.
        split: one of `SPLITS`.
        index: position of the image in its split, from 0; decides its id and file name.
        jpeg: the encoded picture.
        count: exact number of receipts in it.
        questions: at least one.
        slices: {slice: value}.

    Returns:
        What `DatasetWriter.add` takes.
    """
    with Image.open(io.BytesIO(jpeg)) as image:
        size = image.size
    (directory / image_name(split, index)).write_bytes(jpeg)
    return StoredExample(split, index, count, tuple(questions), dict(slices), size, hash_bytes(jpeg))


class DatasetWriter:
    """Writes a dataset that appears complete or not at all.

    ```
    with DatasetWriter(output, name="shop", origin="folder", spec={...}) as writer:
        writer.add(store_example(writer.directory, "train", 0, jpeg, count=1, questions=[...], slices={}))
        dataset = writer.finish()
    ```

    Examples may be added in any order. Leaving the block without `finish` removes everything.

    Args:
        path: the dataset's directory; must be absent or empty.
        name: what to call it.
        origin: "rendered", "folder" or "sroie".
        spec: what makes it, JSON values; written into dataset.json, no part of the fingerprint.
    """

    directory: Path

    def __init__(self, path: Path, *, name: str, origin: str, spec: Mapping[str, Any]) -> None:
        self._path = path.absolute()
        self._name = name
        self._origin = origin
        self._spec = dict(spec)
        self._stored: dict[str, dict[int, StoredExample]] = {split: {} for split in SPLITS}
        self._filling = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self.directory = self._filling.enter_context(atomic_directory(self._path))
        for split in SPLITS:
            (self.directory / "images" / split).mkdir(parents=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Remove what is not finished: without an exception of its own, the block is treated as abandoned."""
        abandoned = error or RuntimeError("the block ended without finish()")
        self._filling.__exit__(type(abandoned), abandoned, traceback)

    def add(self, stored: StoredExample) -> None:
        """Add an example whose image `store_example` has put into `directory`.

        Raises:
            ValueError: the split has one with that index already.
        """
        if stored.index in self._stored[stored.split]:
            raise ValueError(f"{stored.split} has two examples with index {stored.index}")
        self._stored[stored.split][stored.index] = stored

    def finish(self) -> Dataset:
        """Write split files, card and, last, dataset.json; then let the directory appear."""
        ordered = {split: [examples[i] for i in sorted(examples)] for split, examples in self._stored.items()}
        lines: dict[str, list[str]] = {}
        for split, stored in ordered.items():
            lines[split] = [
                json.dumps(to_line(split, s.index, s.count, s.questions, s.slices), ensure_ascii=False) for s in stored
            ]
            write_atomic(self.directory / f"{split}.jsonl", "".join(line + "\n" for line in lines[split]))
        hashes = {split: [s.image_sha256 for s in stored] for split, stored in ordered.items()}
        summary = {
            "format": FORMAT,
            "name": self._name,
            "origin": self._origin,
            "splits": {split: len(stored) for split, stored in ordered.items()},
            "fingerprint": fingerprint(lines, hashes),
            "files": {
                f"{split}.jsonl": hash_bytes((self.directory / f"{split}.jsonl").read_bytes()) for split in SPLITS
            },
            "spec": self._spec,
        }
        examples = {split: [from_line(json.loads(line), self.directory) for line in lines[split]] for split in SPLITS}
        sizes = {split: [s.size for s in stored] for split, stored in ordered.items()}
        write_card(self.directory, summary, examples, sizes)
        write_json(self.directory / "dataset.json", summary)
        self._filling.close()
        return Dataset.open(self._path)


def fingerprint(lines: Mapping[str, Iterable[str]], image_hashes: Mapping[str, Iterable[str]]) -> str:
    """The content hash of a dataset: 16 hexadecimal digits.

    Args:
        lines: {split: its lines, in order, without line ends}.
        image_hashes: {split: SHA-256 of each line's image}.
    """
    digest = hashlib.sha256(f"format {FORMAT}\n".encode())
    for split in SPLITS:
        for line, image_hash in zip(lines[split], image_hashes[split], strict=True):
            digest.update(f"{split} {image_hash} {line}\n".encode())
    return digest.hexdigest()[:16]


def hash_bytes(content: bytes) -> str:
    """SHA-256, hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def read_summary(path: Path) -> dict[str, Any]:
    """Read dataset.json.

    Args:
        path: the dataset's directory.

    Raises:
        UserError: it is no dataset, or not one of this version.
    """
    file = path / "dataset.json"
    if not path.is_dir():
        raise UserError(f"{path}: no such dataset directory")
    if not file.is_file():
        raise UserError(
            f"{path}: is no dataset, or an incomplete one: it has no dataset.json. "
            "Make one with `receipt-counter data render` or `receipt-counter data import`."
        )
    summary = read_json(file)
    if not isinstance(summary, dict) or summary.get("format") != FORMAT:
        found = summary.get("format") if isinstance(summary, dict) else None
        raise UserError(f"{file}: format {found!r} is not the dataset format {FORMAT} this version reads")
    expected = {"name": str, "origin": str, "fingerprint": str, "splits": dict, "files": dict, "spec": dict}
    wrong = [key for key, kind in expected.items() if not isinstance(summary.get(key), kind)]
    wrong += [f"splits.{split}" for split in SPLITS if split not in (summary.get("splits") or {})]
    wrong += [f"files.{split}.jsonl" for split in SPLITS if f"{split}.jsonl" not in (summary.get("files") or {})]
    if wrong:
        raise UserError(f"{file}: missing or ill-typed: {', '.join(wrong)}")
    return summary
