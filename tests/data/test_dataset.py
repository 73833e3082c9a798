"""The dataset directory: complete or absent, the same fingerprint wherever it was made, refused when it is not one."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from receipt_counter.data.dataset import SPLITS, Dataset, DatasetWriter
from receipt_counter.errors import UserError
from receipt_counter.storage.files import read_json, write_json
from tests.data.pictures import stored, write_dataset


def test_what_was_written_is_read(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "data")
    again = Dataset.open(tmp_path / "data")
    assert again == dataset
    assert (again.name, again.origin, dict(again.spec)) == ("test", "rendered", {"made by": "a test"})
    assert dict(again.splits) == dict.fromkeys(SPLITS, 3)
    examples = again.examples("test")
    assert [example.id for example in examples] == ["test-000000", "test-000001", "test-000002"]
    assert [example.count for example in examples] == [0, 1, 2]
    assert all(example.image.is_absolute() and example.image.is_file() for example in examples)
    assert examples[2].questions[0].answer == "There are 2 receipts here."
    assert examples[1].slices == {"layout": "single", "source": "synthetic"}


def test_fingerprint_depends_on_neither_place_nor_order(tmp_path: Path) -> None:
    one = write_dataset(tmp_path / "one")
    other = write_dataset(tmp_path / "deep" / "other", reverse=True)
    moved = shutil.copytree(one.path, tmp_path / "moved")
    assert one.fingerprint == other.fingerprint == Dataset.open(moved).fingerprint
    assert len(one.fingerprint) == 16


@pytest.mark.parametrize(
    "change", [{"count": 5}, {"seed": 999}, {"split": "val"}], ids=["count", "pixels", "other split"]
)
def test_fingerprint_depends_on_content(tmp_path: Path, change: dict[str, object]) -> None:
    def write(path: Path, **what: object) -> str:
        with DatasetWriter(path, name="x", origin="rendered", spec={}) as writer:
            writer.add(stored(writer.directory, **({"split": "train", "index": 0, "seed": 1} | what)))  # type: ignore[arg-type]
            return writer.finish().fingerprint

    assert write(tmp_path / "a") == write(tmp_path / "b") != write(tmp_path / "c", **change)


def test_nothing_appears_without_finish(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "data", name="x", origin="rendered", spec={}) as writer:
        writer.add(stored(writer.directory, "train", 0))
    assert list(tmp_path.iterdir()) == []


def test_nothing_appears_after_an_error(tmp_path: Path) -> None:
    def fail() -> None:
        with DatasetWriter(tmp_path / "data", name="x", origin="rendered", spec={}) as writer:
            writer.add(stored(writer.directory, "train", 0))
            raise OSError("out of paper")

    with pytest.raises(OSError, match="out of paper"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_two_examples_of_one_index_are_refused(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "data", name="x", origin="rendered", spec={}) as writer:
        writer.add(stored(writer.directory, "train", 0))
        with pytest.raises(ValueError, match="two examples with index 0"):
            writer.add(stored(writer.directory, "train", 0))


def test_a_directory_with_content_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "precious").write_text("x")
    with (
        pytest.raises(UserError, match="not empty"),
        DatasetWriter(tmp_path / "data", name="x", origin="rendered", spec={}),
    ):
        pytest.fail("the block must not run")
    assert (tmp_path / "data" / "precious").read_text() == "x"


KILLED_BEFORE_THE_END = """
import sys, time
from pathlib import Path
from receipt_counter.data import dataset
from tests.data.pictures import stored
def stall(*arguments):
    print("about to write the card", flush=True)
    time.sleep(60)
dataset.write_card = stall
with dataset.DatasetWriter(Path(sys.argv[1]), name="x", origin="rendered", spec={}) as writer:
    writer.add(stored(writer.directory, "train", 0))
    writer.finish()
"""


def test_killed_half_way_leaves_no_dataset(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED_BEFORE_THE_END, str(tmp_path / "data")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"about to write the card\n"
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "data").exists()
    assert not list(tmp_path.rglob("dataset.json"))


def _remove(name: str) -> Callable[[Path], None]:
    return lambda path: (path / name).unlink()


def _edit_summary(**changes: object) -> Callable[[Path], None]:
    return lambda path: write_json(path / "dataset.json", read_json(path / "dataset.json") | changes)


def _append(path: Path) -> None:
    with (path / "val.jsonl").open("a") as file:
        file.write("{}\n")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(shutil.rmtree, "no such dataset directory", id="absent"),
        pytest.param(_remove("dataset.json"), "has no dataset.json", id="incomplete"),
        pytest.param(_edit_summary(format=7), "format 7 is not", id="of another version"),
        pytest.param(lambda path: write_json(path / "dataset.json", [1]), "format None is not", id="foreign"),
        pytest.param(_edit_summary(name=3, splits=None), "name, splits", id="ill-typed keys, all of them"),
        pytest.param(_remove("test.jsonl"), "test.jsonl: is missing", id="split file missing"),
        pytest.param(_append, "val.jsonl: has changed", id="split file edited"),
    ],
)
def test_open_refuses(tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    path = write_dataset(tmp_path / "data").path
    damage(path)
    with pytest.raises(UserError, match=message):
        Dataset.open(path)


def test_missing_images_are_counted_and_the_first_listed(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "data", images=12)
    shutil.rmtree(dataset.path / "images" / "train")
    with pytest.raises(UserError, match=r"train.jsonl:1: image images/train/000000.jpg is missing") as caught:
        dataset.examples("train")
    assert caught.value.message.endswith("and 2 more")


def test_unknown_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="valid splits are train, val, analysis, test"):
        write_dataset(tmp_path / "data").examples("tset")


def test_lines_are_as_the_format_says(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "data", images=1)
    assert json.loads((dataset.path / "val.jsonl").read_text()) == {
        "id": "val-000000",
        "image": "images/val/000000.jpg",
        "count": 0,
        "questions": [
            {
                "type": "counting",
                "question": "How many receipts do you see?",
                "answer": "There are 0 receipts here.",
            },
            {"type": "existence", "question": "Is there a receipt?", "answer": "Yes, there is one at least."},
        ],
        "slices": {"layout": "grid", "source": "synthetic"},
    }
