"""Real receipts: pictures composed of the scans of the SROIE challenge (Huang et al., ICDAR 2019).

No scan is in two splits, nor are two scans of the same receipt. Papers that are no receipts are drawn and then given
the tone and grain of a real scan of the same split, so that only what is on a paper tells a receipt from another.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from receipt_counter.data.dataset import SPLITS, Dataset, DatasetWriter
from receipt_counter.data.parallel import make_examples
from receipt_counter.data.scans import Scan, load_scan
from receipt_counter.data.similar import groups, look, similar_pairs
from receipt_counter.data.splits import split_groups
from receipt_counter.data.sroie_pictures import Job, Receipt, make_picture
from receipt_counter.data.tables import Row, Table, read_table
from receipt_counter.errors import UserError

COLUMNS = ("filename", "company", "date", "address", "total")
IMAGES = {"train": 9000, "val": 400, "analysis": 400, "test": 1000}
SHARES = {"train": 0.68, "val": 0.08, "analysis": 0.08, "test": 0.16}
FEWEST_RECEIPTS = 16  # From here on every split gets a receipt or more.


def import_sroie(
    source: Path,
    output: Path,
    *,
    image_size: int = 128,
    images: Mapping[str, int] = IMAGES,
    seed: int = 0,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Compose a dataset of pictures with 0 to 4 real receipts.

    Args:
        source: directory with `keys.csv` (filename, company, date, address, total) and `images/`.
        output: the dataset's directory; must be absent or empty.
        image_size: long side of the pictures, pixels.
        images: {split: number of pictures}.
        seed: decides which receipt goes to which split, and every picture.
        workers: processes; default one for each processor. The pictures do not depend on it.
        progress: called with (done, total).

    Raises:
        UserError: the source lacks something or something in it is broken; everything is listed.
    """
    receipts = share_out(read_receipts(source, image_size), seed)
    spec = {
        "image_size": image_size,
        "images": dict(images),
        "seed": seed,
        "receipts": {split: len(found) for split, found in receipts.items()},
    }
    with DatasetWriter(output, name=source.resolve().name, origin="sroie", spec=spec) as writer:
        job = Job(writer.directory, image_size, seed, receipts)
        total = sum(images.values())
        for done, stored in enumerate(make_examples(make_picture, job, images, workers), start=1):
            writer.add(stored)
            if progress is not None:
                progress(done, total)
        return writer.finish()


def share_out(receipts: list[Receipt], seed: int) -> dict[str, list[Receipt]]:
    """Give every receipt to one split; of several scans of one receipt, one is kept.

    Args:
        receipts: in any order: the outcome does not depend on it.
        seed: another one shares out differently.

    Returns:
        {split: its receipts}.
    """
    content = [receipt.scan.sha256 for receipt in receipts]
    looks = [look(receipt.scan.delivered.image) for receipt in receipts]
    same = groups(len(receipts), similar_pairs(looks))
    kept = [min(group, key=lambda i: content[i]) for group in same]
    shared = split_groups([[content[i]] for i in kept], SHARES, seed)
    return {
        split: [receipts[i] for i in sorted((kept[g] for g in shared[split]), key=lambda i: content[i])]
        for split in SPLITS
    }


def read_receipts(source: Path, image_size: int) -> list[Receipt]:
    """Read keys.csv and every scan it names.

    Args:
        source: see `import_sroie`.
        image_size: long side of the pictures to be made, pixels.

    Raises:
        UserError: no keys.csv, wrong columns, rows or images that are missing or broken, too few receipts.
    """
    file = source / "keys.csv"
    if not file.is_file():
        raise UserError(f"{file}: no such file; the SROIE layout is keys.csv beside a folder images/")
    table = read_table(file, required=COLUMNS)
    problems, named = list(table.problems), _named_scans(table.rows)
    receipts = []
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        loaded = threads.map(lambda row: _load(source / "images" / row["filename"], image_size), named.rows)
        for row, result in zip(named.rows, loaded, strict=True):
            if isinstance(result, str):
                problems.append(f"{row.place}: {result}")
            else:
                receipts.append(Receipt(result, row["company"], row["date"], row["total"]))
    problems += named.problems
    if not problems and len(receipts) < FEWEST_RECEIPTS:
        problems.append(f"{file}: {len(receipts)} receipts; {FEWEST_RECEIPTS} are needed, to share out")
    if problems:
        raise UserError("\n".join(problems))
    return receipts


def _named_scans(rows: Sequence[Row]) -> Table:
    """The rows that name a scan that no row before them names."""
    first: dict[str, Row] = {}
    problems = []
    for row in rows:
        name = row["filename"]
        if not name:
            problems.append(f"{row.place}: empty filename")
        elif name in first:
            problems.append(f"{row.place}: {name} is already named in line {first[name].line}")
        else:
            first[name] = row
    return Table(list(first.values()), problems)


def _load(path: Path, image_size: int) -> Scan | str:
    """A scan, or what is wrong with it."""
    try:
        return load_scan(path, image_size)
    except FileNotFoundError:
        return f"{path} does not exist"
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return f"{path} is no readable image: {error}"
