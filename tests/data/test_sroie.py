"""Importing real receipts, tried on drawn ones in the same layout: no receipt in two splits, every answer true."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from receipt_counter.data.check import check_dataset
from receipt_counter.data.compose import Paper, handled, photographed, scanned_alone, scanned_together
from receipt_counter.data.dataset import SPLITS, Dataset, DatasetWriter
from receipt_counter.data.documents import PAGES, SMALL
from receipt_counter.data.render.facts import draw_currency, draw_receipt, draw_stores
from receipt_counter.data.render.paper import rasterise
from receipt_counter.data.render.receipts import draw_sheet
from receipt_counter.data.scans import Tone, cut_sheet, load_scan, measure_tone, print_size, scan_of_drawing
from receipt_counter.data.sroie import COLUMNS, import_sroie, read_receipts, share_out
from receipt_counter.data.sroie_pictures import Job, make_picture
from receipt_counter.errors import UserError

SIZE = 96
RECEIPTS = 20


def scan(seed: int) -> Image.Image:
    """A drawn receipt as a scanner would deliver it, about 500 px high."""
    rng = np.random.default_rng(seed)
    [(kind, store)] = draw_stores(rng, 1)
    drawing = rasterise(draw_sheet(rng, draw_receipt(rng, kind, store, draw_currency(rng), 9)), 14.0)
    return scan_of_drawing(drawing, Tone(240.0, 70.0, 2.0), rng).image


def make_source(path: Path, rows: Sequence[Sequence[str]], header: Sequence[str] = COLUMNS) -> Path:
    path.mkdir(exist_ok=True)
    with (path / "keys.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(header)
        table.writerows(rows)
    return path


def rows() -> list[list[str]]:
    return [[f"{i:03d}.jpg", f"Shop {i}", "01/02/2018", "Some street", f"{i}.50"] for i in range(RECEIPTS)]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = make_source(tmp_path_factory.mktemp("sroie") / "source", rows())
    (path / "images").mkdir()
    for i in range(RECEIPTS):
        scan(i).save(path / "images" / f"{i:03d}.jpg", quality=85)
    return path


@pytest.fixture(scope="module")
def dataset(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    images = {"train": 90, "val": 6, "analysis": 6, "test": 20}
    return import_sroie(source, tmp_path_factory.mktemp("sroie") / "data", image_size=SIZE, images=images, workers=1)


def test_the_dataset_is_sound(dataset: Dataset) -> None:
    assert dict(dataset.splits) == {"train": 90, "val": 6, "analysis": 6, "test": 20}
    assert (dataset.origin, dataset.spec["image_size"]) == ("sroie", SIZE)
    assert check_dataset(dataset.path) == []


def test_pictures_are_grey_and_of_the_wanted_size(dataset: Dataset) -> None:
    for example in dataset.examples("train"):
        with Image.open(example.image) as image:
            assert (image.mode, max(image.size)) == ("L", SIZE)


def test_answers_follow_from_the_count(dataset: Dataset) -> None:
    seen = set()
    for example in dataset.examples("train"):
        counting, existence, *_ = example.questions
        seen.add(example.count)
        number = "no receipts" if example.count == 0 else f"{example.count} receipt"
        assert (counting.type, existence.type) == ("counting", "existence")
        assert number in counting.answer
        assert existence.answer.startswith("Yes" if example.count else "No")
        assert all(len(question.answer.split()) >= 4 for question in example.questions)
        assert (example.slices["source"] == "real") == (example.count > 0)
    assert seen == {0, 1, 2, 3, 4}


def test_every_kind_of_picture_holds_every_class(dataset: Dataset) -> None:
    """Neither the scanner's glass nor a filled picture may tell the number."""
    kinds = {(example.slices["layout"], min(example.count, 2)) for example in dataset.examples("train")}
    assert {("glass", 0), ("glass", 1), ("glass", 2), ("scan", 0), ("scan", 1), ("empty", 0), ("single", 1)} <= kinds


def test_small_pictures_hold_no_more_papers_than_can_be_told_apart(dataset: Dataset) -> None:
    beside = {(min(example.count, 2), example.slices["negatives"]) for example in dataset.examples("train")}
    assert beside == {(0, "yes"), (1, "yes"), (1, "no"), (2, "no")}


def test_classes_are_balanced(dataset: Dataset) -> None:
    counts = [min(example.count, 2) for example in dataset.examples("train")]
    assert all(counts.count(i) > len(counts) / 5 for i in range(3))


def test_workers_and_order_do_not_matter(source: Path, tmp_path: Path) -> None:
    shuffled = make_source(tmp_path / "shuffled", rows()[::-1])
    (shuffled / "images").symlink_to(source / "images")
    images = {"train": 51, "val": 1, "analysis": 1, "test": 1}
    done: list[tuple[int, int]] = []
    one = import_sroie(source, tmp_path / "one", image_size=48, images=images, workers=1)
    two = import_sroie(
        shuffled, tmp_path / "two", image_size=48, images=images, workers=2, progress=lambda *at: done.append(at)
    )
    other = import_sroie(source, tmp_path / "other", image_size=48, images=images, workers=1, seed=1)
    assert one.fingerprint == two.fingerprint != other.fingerprint
    assert done[-1] == (54, 54)


def test_no_receipt_is_in_two_splits_and_copies_are_left_out(source: Path, tmp_path: Path) -> None:
    copied = make_source(tmp_path / "copied", [*rows(), ["copy.jpg", "", "", "", ""], ["again.jpg", "", "", "", ""]])
    (copied / "images").mkdir()
    for file in (source / "images").iterdir():
        (copied / "images" / file.name).write_bytes(file.read_bytes())
    (copied / "images" / "copy.jpg").write_bytes((source / "images" / "003.jpg").read_bytes())
    with Image.open(source / "images" / "004.jpg") as image:
        image.save(copied / "images" / "again.jpg", quality=70)
    receipts = read_receipts(copied, SIZE)
    assert len(receipts) == RECEIPTS + 2
    shared = share_out(receipts, seed=0)
    kept = [receipt.scan.sha256 for split in SPLITS for receipt in shared[split]]
    assert len(kept) == len(set(kept)) == RECEIPTS
    assert all(shared[split] for split in SPLITS)


@pytest.mark.parametrize("split", SPLITS)
def test_pictures_hold_receipts_of_their_own_split_only(source: Path, tmp_path: Path, split: str) -> None:
    shared = share_out(read_receipts(source, SIZE), seed=0)
    with DatasetWriter(tmp_path / "data", name="x", origin="sroie", spec={}) as writer:

        def pictures(receipts: dict[str, list[object]]) -> list[str]:
            job = Job(writer.directory, SIZE, 0, receipts)  # type: ignore[arg-type]
            return [make_picture(job, split, index).image_sha256 for index in range(4)]

        alone = pictures({split: list(shared[split])})
        together = pictures({name: list(found) for name, found in shared.items()})
    assert alone == together


def test_what_is_written_is_asked_only_where_it_can_be_read(source: Path, tmp_path: Path) -> None:
    missing = [
        [name, "" if i % 2 else shop, date, street, total] for i, (name, shop, date, street, total) in enumerate(rows())
    ]
    partly = make_source(tmp_path / "partly", missing)
    (partly / "images").symlink_to(source / "images")
    images = {"train": 80, "val": 1, "analysis": 1, "test": 1}
    large = import_sroie(partly, tmp_path / "large", image_size=400, images=images)
    small = import_sroie(partly, tmp_path / "small", image_size=64, images=images)
    assert all(len(example.questions) == 2 for example in small.examples("train"))
    totals, stores = set(), set()
    for example in large.examples("train"):
        for question in example.questions[2:]:
            assert (example.count, example.slices["layout"]) == (1, "scan")
            if question.type == "value":
                totals.add(question.answer)
            elif "from" in question.answer:
                stores.add(question.answer)
    assert len(totals) > 3
    assert totals <= {f"The total on the receipt is {i}.50." for i in range(RECEIPTS)}
    assert stores
    assert stores <= {f"The receipt is from Shop {i}." for i in range(0, RECEIPTS, 2)}


def _row(*values: str) -> Callable[[Path], object]:
    return lambda path: make_source(path, [*rows(), list(values)])


def _header(*names: str) -> Callable[[Path], object]:
    return lambda path: make_source(path, [], names)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(
            lambda path: (path / "keys.csv").unlink(), "keys.csv: no such file; the SROIE layout", id="no table"
        ),
        pytest.param(_row("999.jpg", "", "", "", ""), r"keys.csv:22: .*999.jpg does not exist", id="missing image"),
        pytest.param(_row("", "Shop", "", "", ""), "keys.csv:22: empty filename", id="no file name"),
        pytest.param(_row("000.jpg", "", "", "", ""), "keys.csv:22: 000.jpg is already named in line 2", id="twice"),
        pytest.param(_row("000.jpg", ""), "keys.csv:22: 2 values for 5 columns", id="too few values"),
        pytest.param(
            _row("broken.jpg", "", "", "", ""), "keys.csv:22: .*broken.jpg is no readable image", id="truncated"
        ),
        pytest.param(_row("text.jpg", "", "", "", ""), "keys.csv:22: .*text.jpg is no readable image", id="no image"),
        pytest.param(
            _header("filename", "comany", "date", "address", "total"), "did you mean 'company'", id="misspelt"
        ),
        pytest.param(_header("filename", "company"), "column 'total' is missing", id="missing column"),
        pytest.param(lambda path: make_source(path, rows()[:9]), "9 receipts; 16 are needed", id="too few receipts"),
    ],
)
def test_a_bad_source_is_a_message(
    source: Path, tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    path = make_source(tmp_path / "source", rows())
    (path / "images").mkdir()
    for file in (source / "images").iterdir():
        (path / "images" / file.name).symlink_to(file)
    (path / "images" / "broken.jpg").write_bytes((source / "images" / "000.jpg").read_bytes()[:3000])
    (path / "images" / "text.jpg").write_text("not pixels")
    damage(path)
    with pytest.raises(UserError, match=message):
        import_sroie(path, tmp_path / "data", image_size=48)
    assert not (tmp_path / "data").exists()


def test_all_problems_of_a_source_are_listed(tmp_path: Path) -> None:
    path = make_source(tmp_path / "source", rows())
    with pytest.raises(UserError) as caught:
        import_sroie(path, tmp_path / "data")
    assert len(caught.value.message.splitlines()) == RECEIPTS


def test_the_sheet_is_cut_out_of_the_scan() -> None:
    page = np.full((400, 300), 12, np.uint8)  # a black lid
    page[30:390, 40:280] = 235  # a paper
    page[100:300:20, 90:200] = 40  # its print
    page[101:300:20, 90:200] = 40
    sheet = cut_sheet(page)
    assert sheet.min() >= 40
    assert (170, 105) < sheet.shape < (230, 150)


def test_a_blank_scan_stays_whole() -> None:
    assert cut_sheet(np.full((40, 30), 250, np.uint8)).shape == (40, 30)


def test_tone_survives_scanning_of_a_drawing() -> None:
    tone = Tone(paper=220.0, ink=80.0, grain=3.0)
    rng = np.random.default_rng(0)
    scanned = scan_of_drawing(rasterise(PAGES[0](rng), 12.0), tone, rng)
    found = measure_tone(np.asarray(scanned.image))
    assert found.paper == pytest.approx(tone.paper, abs=8)
    assert found.grain == pytest.approx(tone.grain, abs=1.2)
    assert np.asarray(scanned.image).min() == pytest.approx(tone.ink, abs=25)


@pytest.mark.parametrize("em", [10.0, 16.0, 24.0])
def test_size_of_print_is_measured(em: float) -> None:
    sizes = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        [(kind, store)] = draw_stores(rng, 1)
        raster = rasterise(draw_sheet(rng, draw_receipt(rng, kind, store, draw_currency(rng), 9)), em)
        sizes.append(print_size(np.asarray(raster.image.convert("L"))))
    assert np.median(sizes) == pytest.approx(em, rel=0.25)


def test_paper_without_lines_has_no_size_of_print() -> None:
    assert print_size(np.full((200, 100), 240, np.uint8)) == 0.0


@pytest.mark.parametrize("draw", sorted({*PAGES, *SMALL}, key=lambda draw: draw.__name__))
def test_documents_keep_their_print_on_the_paper(draw: Callable[..., object]) -> None:
    for seed in range(6):
        sheet = draw(np.random.default_rng(seed))
        for text in sheet.texts:  # type: ignore[attr-defined]
            assert text.x >= 0
            assert text.x + text.width <= sheet.width + 1e-6  # type: ignore[attr-defined]
            assert 0 <= text.y <= sheet.height - 0.6 * text.size  # type: ignore[attr-defined]


def test_pictures_are_no_larger_than_wanted_whatever_the_papers(source: Path) -> None:
    rng = np.random.default_rng(0)
    narrow = Paper(Image.new("L", (20, 200), 240), None, 0.0)
    wide = Paper(Image.new("L", (200, 20), 240), Image.new("L", (200, 20), 255), 0.0)
    for papers in ([narrow], [wide], [narrow, wide], [narrow, narrow, wide]):
        changed = [handled(paper, rng) for paper in papers]
        assert max(scanned_together(changed, 64, rng).size) == 64
        assert photographed(changed, 1, 64, rng)[0].size == (64, 64)
    assert max(scanned_alone(narrow, 64, rng).size) == max(scanned_alone(wide, 64, rng).size) == 64


def test_scans_are_kept_no_larger_than_pictures_can_show(source: Path) -> None:
    found = load_scan(source / "images" / "000.jpg", 48)
    assert max(found.sheet.image.size) == 72
    assert max(found.delivered.image.size) == 48
    assert found.sha256 == hashlib.sha256((source / "images" / "000.jpg").read_bytes()).hexdigest()
