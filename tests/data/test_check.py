"""Everything that is wrong with a dataset is found, each thing in its place; nothing is found in a sound one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from receipt_counter.data.check import check_dataset
from receipt_counter.storage.files import read_json, write_json
from tests.data.pictures import jpeg, write_dataset

Damage = Callable[[Path], object]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "data").path


def edit(split: str, number: int, **changes: Any) -> Damage:
    """Change keys of a line."""

    def damage(path: Path) -> None:
        file = path / f"{split}.jsonl"
        lines = file.read_text().splitlines()
        lines[number - 1] = json.dumps(json.loads(lines[number - 1]) | changes)
        file.write_text("\n".join(lines) + "\n")

    return damage


def replace(name: str, content: bytes) -> Damage:
    return lambda path: (path / name).write_bytes(content)


def question(**changes: str) -> list[dict[str, str]]:
    return [{"type": "counting", "question": "How many?", "answer": "There is 1 receipt."} | changes]


def test_a_sound_dataset_has_no_problems(path: Path) -> None:
    assert check_dataset(path) == []


PROBLEMS = [
    (
        "image missing",
        lambda p: (p / "images/val/000001.jpg").unlink(),
        "val.jsonl:2: image images/val/000001.jpg is miss",
    ),
    (
        "image truncated",
        replace("images/val/000001.jpg", jpeg(1)[:-200]),
        "val.jsonl:2: image .* cannot be read: .*trunc",
    ),
    ("image header alone", replace("images/val/000001.jpg", jpeg(1)[:100]), "val.jsonl:2: image .* cannot be read"),
    ("no image", replace("images/test/000000.jpg", b"text"), "test.jsonl:1: image .* cannot be read: cannot identify"),
    ("empty image", replace("images/test/000000.jpg", b""), "test.jsonl:1: image .* cannot be read"),
    ("image unlisted", replace("images/test/more.jpg", jpeg(9)), "images/test/more.jpg: is listed in no split"),
    (
        "same file in two splits",
        replace("images/test/000002.jpg", jpeg(1)),
        "test.jsonl:3: .* same file .* train.jsonl:2",
    ),
    ("same look in two splits", replace("images/test/000002.jpg", jpeg(1, 60)), "test.jsonl:3: .* shows the same as"),
    ("negative count", edit("train", 1, count=-1), "train.jsonl:1: count -1 is not a whole number"),
    ("count in words", edit("train", 1, count="two"), "train.jsonl:1: count 'two' is not a whole number"),
    ("fraction of a receipt", edit("train", 1, count=1.5), "train.jsonl:1: count 1.5 is not a whole number"),
    ("no count", edit("train", 1, count=None), "train.jsonl:1: count None is not a whole number"),
    ("truth as a count", edit("train", 1, count=True), "train.jsonl:1: count True is not a whole number"),
    ("no questions", edit("analysis", 3, questions=[]), "analysis.jsonl:3: has no questions"),
    ("empty answer", edit("train", 2, questions=question(answer=" ")), "train.jsonl:2: question 1: empty answer"),
    ("empty question", edit("train", 2, questions=question(question="")), "train.jsonl:2: question 1: empty question"),
    (
        "unknown type",
        edit("train", 2, questions=question(type="riddle")),
        "train.jsonl:2: question 1: unknown type 'riddle'",
    ),
    ("question no object", edit("train", 2, questions=["?"]), "train.jsonl:2: question 1: is not a JSON object"),
    ("slices no mapping", edit("train", 2, slices={"a": 1}), "train.jsonl:2: slices .* is not a mapping"),
    ("image outside", edit("train", 2, image="../x.jpg"), "train.jsonl:2: image '../x.jpg' lies outside"),
    ("id twice", edit("val", 1, id="train-000000"), "val.jsonl:1: id 'train-000000' is already that of train.jsonl:1"),
    (
        "image twice",
        edit("val", 1, image="images/val/000001.jpg"),
        "val.jsonl:2: image .* is already that of val.jsonl:1",
    ),
    ("no JSON", lambda p: (p / "val.jsonl").write_text("{\n"), "val.jsonl:1: is not valid JSON"),
    ("no object", lambda p: (p / "val.jsonl").write_text("[]\n"), "val.jsonl:1: is not a JSON object"),
    ("cut short", lambda p: (p / "val.jsonl").write_text('{"id": "va'), "val.jsonl:1: is cut short"),
    ("not text", replace("val.jsonl", b"\xff\n"), "val.jsonl: cannot be read"),
    ("split file missing", lambda p: (p / "val.jsonl").unlink(), "val.jsonl: is missing"),
    ("incomplete", lambda p: (p / "dataset.json").unlink(), "dataset.json: .*has no dataset.json"),
    ("words changed", edit("test", 2, questions=question()), "dataset.json: fingerprint .* is not that of the content"),
    ("pixels changed", replace("images/test/000002.jpg", jpeg(77)), "dataset.json: fingerprint .* is not that of the"),
]


@pytest.mark.parametrize(("damage", "message"), [pytest.param(*case[1:], id=case[0]) for case in PROBLEMS])
def test_a_problem_is_found(path: Path, damage: Damage, message: str) -> None:
    damage(path)
    found = [str(problem) for problem in check_dataset(path)]
    assert any(re.match(message, problem) for problem in found), found


def test_wrong_numbers_of_images_are_found(path: Path) -> None:
    summary = read_json(path / "dataset.json")
    summary["splits"]["val"] = 7
    write_json(path / "dataset.json", summary)
    assert [str(problem) for problem in check_dataset(path)] == [
        "dataset.json: says 7 val images, val.jsonl has 3",
    ]


def test_all_problems_are_found_together(path: Path) -> None:
    (path / "images/val/000001.jpg").unlink()
    (path / "images/test/000000.jpg").write_bytes(b"")
    (path / "images/stray.jpg").write_bytes(jpeg(5))
    edit("train", 1, count=-3, questions=question(answer="", question=""))(path)
    assert [(problem.file, problem.line) for problem in check_dataset(path)] == [
        ("train.jsonl", 1),
        ("train.jsonl", 1),
        ("train.jsonl", 1),
        ("val.jsonl", 2),
        ("test.jsonl", 1),
        ("images/stray.jpg", None),
    ]


def test_an_absent_directory_is_one_problem(tmp_path: Path) -> None:
    [problem] = check_dataset(tmp_path / "nowhere")
    assert "no such dataset directory" in problem.message
