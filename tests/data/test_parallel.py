"""Examples made in several processes: all of them, the same as in one, and a dead process is a message."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from receipt_counter.data.dataset import SPLITS, StoredExample
from receipt_counter.data.parallel import make_examples
from receipt_counter.errors import UserError
from tests.data.pictures import stored


def make(directory: Path, split: str, index: int) -> StoredExample:
    return stored(directory, split, index, count=index)


def die_at_the_first(directory: Path, split: str, index: int) -> StoredExample:
    os._exit(9)


@pytest.mark.parametrize("workers", [1, 2, None], ids=["in this process", "two", "one a core"])
def test_every_example_is_made_once(tmp_path: Path, workers: int | None) -> None:
    for split in SPLITS:
        (tmp_path / "images" / split).mkdir(parents=True)
    sizes = {"train": 101, "val": 1, "analysis": 0, "test": 2}
    made = list(make_examples(make, tmp_path, sizes, workers))
    assert sorted((example.split, example.index) for example in made) == sorted(
        (split, index) for split, size in sizes.items() for index in range(size)
    )
    assert len(list(tmp_path.rglob("*.jpg"))) == 104


def test_no_examples_need_no_processes(tmp_path: Path) -> None:
    assert list(make_examples(make, tmp_path, dict.fromkeys(SPLITS, 0), None)) == []


def test_a_dead_process_is_a_message(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a worker process was killed"):
        list(make_examples(die_at_the_first, tmp_path, {"train": 120}, 2))
