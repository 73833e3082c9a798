"""The card says what is in a dataset, in numbers, words and a picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from receipt_counter.data.dataset import SPLITS, DatasetWriter, Question
from receipt_counter.data.faces import truetype
from receipt_counter.data.render.vocabulary import CURRENCIES
from receipt_counter.data.samples import COLUMNS, ROWS, choose, sample_sheet
from receipt_counter.storage.files import read_json
from tests.data.pictures import stored, write_dataset


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("card") / "data", images=4).path


def test_numbers_agree_with_the_examples(path: Path) -> None:
    card = read_json(path / "card.json")
    assert card["fingerprint"] == read_json(path / "dataset.json")["fingerprint"]
    assert card["total"] == {
        "images": 16,
        "questions": 32,
        "classes": {"0": 4, "1": 4, "2+": 8},
        "counts": {"0": 4, "1": 4, "2": 4, "3": 4},
        "question_types": {"counting": 16, "existence": 16},
        "slices": {"layout": {"grid": 12, "single": 4}, "source": {"synthetic": 16}},
        "width": [40, 40],
        "height": [60, 60],
    }
    assert {split: card["splits"][split]["images"] for split in SPLITS} == dict.fromkeys(SPLITS, 4)


def test_words_name_all_that_matters(path: Path) -> None:
    text = (path / "card.md").read_text()
    for wanted in (
        "16 images with 32 questions",
        read_json(path / "dataset.json")["fingerprint"],
        "| 3 | 1 | 1 | 1 | 1 | 4 |",
        "8 of class 2+",
        "| counting | 4 | 4 | 4 | 4 | 16 |",
        "| single | 1 | 1 | 1 | 1 | 4 |",
        "40 px wide and 60 px high",
        "samples.jpg",
        "Licence",
    ):
        assert wanted in text


def test_picture_is_there(path: Path) -> None:
    with Image.open(path / "samples.jpg") as sheet:
        assert sheet.width > 1000


@pytest.mark.parametrize("origin", ["rendered", "folder", "sroie"])
def test_every_origin_has_a_licence(tmp_path: Path, origin: str) -> None:
    with DatasetWriter(tmp_path / "data", name="x", origin=origin, spec={}) as writer:
        writer.add(stored(writer.directory, "test", 0))
        writer.finish()
    assert len(read_json(tmp_path / "data" / "card.json")["licence"]) > 40


def test_an_empty_dataset_has_a_card_without_a_picture(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "data", name="x", origin="folder", spec={}) as writer:
        writer.finish()
    assert "0 images" in (tmp_path / "data" / "card.md").read_text()
    assert not (tmp_path / "data" / "samples.jpg").exists()


def test_samples_cover_the_classes(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "data", images=12)
    examples = [example for split in SPLITS for example in dataset.examples(split)]
    chosen = choose(examples)
    assert len(chosen) == COLUMNS * ROWS == len({example.id for example in chosen})
    assert [min(example.count, 2) for example in chosen[:COLUMNS]] == [0] * 4 + [1]
    assert {min(example.count, 2) for example in chosen} == {0, 1, 2}
    assert chosen == choose(examples)


def test_amounts_are_written_with_signs_that_the_font_has() -> None:
    font = truetype("sans", 17)
    missing = bytes(font.getmask("\uffff"))
    signs = {sign for currency in CURRENCIES for sign in currency.write(1234567) if sign != " "}
    assert [sign for sign in signs if bytes(font.getmask(sign)) == missing] == []


def test_a_long_text_stays_in_its_column(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "data", images=1)
    [example] = dataset.examples("train")
    long = replace(example, questions=(Question("edge", "w" * 200, "many words " * 40),))
    short = replace(example, questions=(Question("edge", "w", "few words"),))
    assert sample_sheet([long], "t").size == sample_sheet([short], "t").size
    right_of_the_tile = sample_sheet([long], "t").crop((40 + 300, 0, 1692, 540))
    assert right_of_the_tile.getextrema() == ((255, 255),) * 3
