"""Importing a folder of photos: everything that is wrong in one message, or a dataset that holds it all."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from receipt_counter.data.check import check_dataset
from receipt_counter.data.dataset import SPLITS
from receipt_counter.data.folder import LONGEST_SIDE, import_folder
from receipt_counter.data.question_types import guess_type
from receipt_counter.data.render import phrasings
from receipt_counter.errors import UserError
from tests.data.pictures import jpeg, picture

HEADER = ("filename", "receipt_count", "question", "answer")
ASKED = ("How many receipts do you see?", "There is 1 receipt here.")


def make_folder(
    path: Path, images: int = 6, rows: Sequence[Sequence[str]] = (), header: Sequence[str] = HEADER
) -> Path:
    """A folder with images/0.jpg ... and a table: a row for each image, then `rows`."""
    (path / "images").mkdir(parents=True)
    for i in range(images):
        (path / "images" / f"{i}.jpg").write_bytes(jpeg(i))
    with (path / "photos.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(header)
        if header == HEADER:
            table.writerows([f"images/{i}.jpg", "1", *ASKED] for i in range(images))
        table.writerows(rows)
    return path


def test_a_folder_becomes_a_sound_dataset(tmp_path: Path) -> None:
    rows = [
        ["0.jpg", "1", "What is the total?", "The total is RM 9.00."],
        ["./images/1.jpg", " 1 ", "Who signed it?", "Ines has signed it."],
        ["images/1.jpg", "1", "Who signed it?", "Ines has signed it."],
    ]
    dataset = import_folder(make_folder(tmp_path / "photos", 20, rows), tmp_path / "data")
    assert dict(dataset.splits) == {"train": 14, "val": 2, "analysis": 2, "test": 2}
    assert (dataset.name, dataset.origin) == ("photos", "folder")
    assert check_dataset(dataset.path) == []
    examples = [example for split in SPLITS for example in dataset.examples(split)]
    assert all(example.count == 1 and example.slices == {"source": "real"} for example in examples)
    questions = sorted((len(e.questions), e.questions[-1].type, e.questions[-1].answer) for e in examples)
    assert questions[-2:] == [(2, "detail", "Ines has signed it."), (2, "value", "The total is RM 9.00.")]


def test_order_of_rows_and_names_of_files_do_not_matter(tmp_path: Path) -> None:
    one = make_folder(tmp_path / "one")
    other = make_folder(tmp_path / "other", 0, [[f"photo {i}.jpg", "1", *ASKED] for i in (4, 2, 0, 5, 1, 3)])
    for i in range(6):
        (other / f"photo {i}.jpg").write_bytes(jpeg(i))
    assert (
        import_folder(one, tmp_path / "a").fingerprint
        == import_folder(other, tmp_path / "b").fingerprint
        != import_folder(one, tmp_path / "c", seed=1).fingerprint
    )


def test_photos_that_look_the_same_go_together(tmp_path: Path) -> None:
    source = make_folder(tmp_path / "photos", 12, [[f"again {i}.jpg", "1", *ASKED] for i in range(12)])
    for i in range(12):
        (source / f"again {i}.jpg").write_bytes(jpeg(i, quality=70))
    dataset = import_folder(source, tmp_path / "data")
    assert sum(dataset.splits.values()) == 24
    assert check_dataset(dataset.path) == []


def test_large_photos_are_shrunk_turned_upright_and_stripped(tmp_path: Path) -> None:
    source = make_folder(tmp_path / "photos", 4, [["large.png", "1", *ASKED], ["turned.jpg", "1", *ASKED]])
    picture(50, (3000, 1000)).save(source / "large.png")
    turned = picture(51, (100, 50))
    exif = turned.getexif()
    exif[0x0112] = 6  # orientation: turn right
    exif[0x010F] = "camera"
    turned.save(source / "turned.jpg", exif=exif)
    dataset = import_folder(source, tmp_path / "data")
    sizes = []
    for split in SPLITS:
        for example in dataset.examples(split):
            with Image.open(example.image) as image:
                sizes.append(image.size)
                assert not image.getexif()
    assert (LONGEST_SIDE, 448) in sizes
    assert (50, 100) in sizes


def test_a_type_column_decides(tmp_path: Path) -> None:
    rows = [[f"{i}.jpg", "1", "edge" if i else "", *ASKED] for i in range(6)]
    header = ("filename", "receipt_count", "type", "question", "answer")
    dataset = import_folder(make_folder(tmp_path / "photos", 6, rows, header), tmp_path / "data")
    types = [e.questions[0].type for split in SPLITS for e in dataset.examples(split)]
    assert sorted(types) == ["counting"] + ["edge"] * 5


@pytest.mark.parametrize(
    ("row", "message"),
    [
        pytest.param(["9.jpg", "1", *ASKED], r"photos.csv:8: 9.jpg does not exist", id="missing file"),
        pytest.param(["imagse/1.jpg", "1", *ASKED], r"did you mean 'images/1.jpg'", id="misspelt file"),
        pytest.param(["1.pdf", "1", *ASKED], r"1.pdf is a PDF, which is not read", id="PDF"),
        pytest.param(["", "1", *ASKED], r"photos.csv:8: empty filename", id="no file"),
        pytest.param(["broken.jpg", "1", *ASKED], r"photos.csv:8: .*broken.jpg: cannot read", id="truncated image"),
        pytest.param(["text.jpg", "1", *ASKED], r"photos.csv:8: .*text.jpg: cannot read", id="no image"),
        pytest.param(["1.jpg", "2", *ASKED], r"receipt_count 2 contradicts 1 in line 3", id="contradictory count"),
        pytest.param(["copy.jpg", "3", *ASKED], r"copy.jpg and 2.jpg are the same image", id="copy with another count"),
        pytest.param(["1.jpg", "1", ASKED[0], "None."], r"answer 'None.' contradicts", id="contradictory answer"),
        pytest.param(["1.jpg", "-1", *ASKED], r"receipt_count '-1' is not a whole number", id="negative count"),
        pytest.param(["1.jpg", "two", *ASKED], r"receipt_count 'two' is not a whole number", id="count in words"),
        pytest.param(["1.jpg", "", *ASKED], r"receipt_count '' is not a whole number", id="no count"),
        pytest.param(["1.jpg", "1", "Why?", "  "], r"photos.csv:8: empty answer", id="empty answer"),
        pytest.param(["1.jpg", "1", "", "Yes."], r"photos.csv:8: empty question", id="empty question"),
        pytest.param(["1.jpg", "1", "Why?"], r"photos.csv:8: 3 values for 4 columns", id="too few values"),
        pytest.param(["twice.jpg", "1", *ASKED], r"could be any of a/twice.jpg, b/twice.jpg", id="ambiguous name"),
    ],
)
def test_a_bad_row_is_named_and_nothing_written(tmp_path: Path, row: list[str], message: str) -> None:
    source = make_folder(tmp_path / "photos", 6, [row])
    (source / "broken.jpg").write_bytes(jpeg(7)[:400])
    (source / "text.jpg").write_text("not pixels")
    (source / "copy.jpg").write_bytes(jpeg(2))
    for folder in ("a", "b"):
        (source / folder).mkdir()
        (source / folder / "twice.jpg").write_bytes(jpeg(8))
    with pytest.raises(UserError, match=message) as caught:
        import_folder(source, tmp_path / "data")
    assert len(caught.value.message.splitlines()) == 1
    assert not (tmp_path / "data").exists()


def test_all_problems_are_listed_together(tmp_path: Path) -> None:
    rows = [["9.jpg", "x", "", ""], ["1.jpg", "5", *ASKED], ["8.jpg"]]
    with pytest.raises(UserError) as caught:
        import_folder(make_folder(tmp_path / "photos", 6, rows), tmp_path / "data")
    lines = caught.value.message.splitlines()
    assert len(lines) == 6
    assert [sum(f"photos.csv:{number}:" in line for line in lines) for number in (8, 9, 10)] == [4, 1, 1]


@pytest.mark.parametrize(
    ("header", "messages"),
    [
        pytest.param(
            ("filename", "reciept_count", "question"),
            ["unknown column 'reciept_count': did you mean 'receipt_count'?", "column 'answer' is missing"],
            id="misspelt and missing",
        ),
        pytest.param((*HEADER, "colour"), ["unknown column 'colour'"], id="unknown"),
        pytest.param((*HEADER, "answer"), ["column 'answer' stands there twice"], id="twice"),
        pytest.param((), ["column 'filename' is missing"], id="empty file"),
    ],
)
def test_wrong_columns_are_named(tmp_path: Path, header: tuple[str, ...], messages: list[str]) -> None:
    source = make_folder(tmp_path / "photos", 4, [], header)
    with pytest.raises(UserError) as caught:
        import_folder(source, tmp_path / "data")
    for message in messages:
        assert message in caught.value.message


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        pytest.param(lambda path: None, "no such folder", id="no folder"),
        pytest.param(lambda path: path.mkdir(), "exactly one CSV file .* found: none", id="no table"),
        pytest.param(
            lambda path: [make_folder(path), (path / "b.csv").write_text("x")],
            "found: b.csv, photos.csv",
            id="two tables",
        ),
        pytest.param(lambda path: make_folder(path, 0), "has no rows", id="no rows"),
        pytest.param(lambda path: make_folder(path, 3), "3 different photos; 4 are needed", id="too few photos"),
        pytest.param(
            lambda path: [make_folder(path), (path / "photos.csv").write_bytes(b"filename\xff")],
            "not UTF-8",
            id="encoding",
        ),
    ],
)
def test_a_folder_that_is_none_of_ours(tmp_path: Path, prepare: object, message: str) -> None:
    assert callable(prepare)
    prepare(tmp_path / "photos")
    with pytest.raises(UserError, match=message):
        import_folder(tmp_path / "photos", tmp_path / "data")
    assert not (tmp_path / "data").exists()


def _all_phrasings() -> list[tuple[str, str]]:
    kinds = {
        "counting": phrasings.COUNTING,
        "existence": phrasings.EXISTENCE,
        "value": [phrase for phrases in phrasings.VALUE.values() for phrase in phrases],
        "detail": [phrase for phrases in phrasings.DETAIL.values() for phrase in phrases],
    }
    words = {"receipt": "the receipt from Lidl", "item": "oat milk"}
    return [(phrase.format(**words), kind) for kind, phrases in kinds.items() for phrase in phrases]


@pytest.mark.parametrize(("question", "kind"), _all_phrasings())
def test_types_of_the_renderers_questions_are_guessed(question: str, kind: str) -> None:
    assert guess_type(question) == kind


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("how many receipt are there", "counting"),
        ("Number of receipts?", "counting"),
        ("Are there any receipts in the photo?", "existence"),
        ("Is the receipt from Lidl?", "edge"),
        ("How much did they pay?", "value"),
        ("What date is on it?", "detail"),
        ("Are there more than two receipts?", "edge"),
        ("Is this upside down?", "edge"),
    ],
)
def test_types_of_other_questions_are_guessed(question: str, kind: str) -> None:
    assert guess_type(question) == kind
