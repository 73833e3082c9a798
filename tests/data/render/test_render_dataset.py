"""The rendered dataset: the same whatever the number of processes, whole or absent, made once."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from receipt_counter.config.schema import Config
from receipt_counter.data.dataset import SPLITS, Dataset
from receipt_counter.data.render import render_dataset
from receipt_counter.errors import UserError

MakeConfig = Callable[..., Config]


def content(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    from receipt_counter.config.schema import Data, QuestionMix, Render

    mix = QuestionMix(counting=0.6, existence=0.4, value=0.0, detail=0.0, edge=0.0)
    sizes = Render(train_images=400, val_images=30, analysis_images=30, test_images=40, question_mix=mix)
    config = Config(data=Data(image_size=64, render=sizes))
    return render_dataset(config, tmp_path_factory.mktemp("rendered") / "data", workers=1)


def test_one_process_and_two_give_the_same_bytes(tmp_path: Path, small_config: MakeConfig) -> None:
    """At full size, where all types of question are asked; the two have hash seeds of their own."""
    config = small_config(image_size=448, train_images=55, val_images=5, analysis_images=5, test_images=5)
    one = render_dataset(config, tmp_path / "one", workers=1)
    two = render_dataset(config, tmp_path / "two", workers=2)
    assert one.fingerprint == two.fingerprint
    assert content(one.path) == content(two.path)
    asked = {question.type for example in one.examples("train") for question in example.questions}
    assert asked == {"counting", "value", "detail", "edge"}


def test_every_image_is_a_square_jpeg_of_the_wanted_size(rendered: Dataset) -> None:
    for split in SPLITS:
        for example in rendered.examples(split):
            with Image.open(example.image) as image:
                assert (image.format, image.size, image.mode) == ("JPEG", (64, 64), "RGB")


def test_splits_and_seeds_share_no_picture(rendered: Dataset, tmp_path: Path, small_config: MakeConfig) -> None:
    other = render_dataset(small_config(seed=1), tmp_path / "other", workers=1)
    files = [path for dataset in (rendered, other) for path in (dataset.path / "images").rglob("*.jpg")]
    assert len({hashlib.sha256(path.read_bytes()).digest() for path in files}) == len(files)


def test_a_longer_split_begins_with_the_shorter_one(tmp_path: Path, small_config: MakeConfig) -> None:
    short = render_dataset(small_config(train_images=5), tmp_path / "short", workers=1)
    long = render_dataset(small_config(train_images=9), tmp_path / "long", workers=1)
    for a, b in zip(short.examples("train"), long.examples("train"), strict=False):
        assert a.image.read_bytes() == b.image.read_bytes()
        assert a.questions == b.questions


def test_classes_and_question_types_have_their_shares(rendered: Dataset) -> None:
    examples = rendered.examples("train")
    classes = Counter(min(example.count, 2) for example in examples)
    assert all(classes[name] / 400 == pytest.approx(1 / 3, abs=0.08) for name in range(3))
    types = Counter(question.type for example in examples for question in example.questions)
    assert types["counting"] / 1200 == pytest.approx(0.6, abs=0.05)
    assert types["existence"] / 1200 == pytest.approx(0.4, abs=0.05)
    assert all(len(example.questions) == 3 for example in examples)


def test_every_picture_has_the_slices(rendered: Dataset) -> None:
    wanted = {"layout", "overlap", "rotation", "stapled", "cropped", "negatives", "source"}
    assert all(set(example.slices) == wanted for example in rendered.examples("train"))


def test_brightness_does_not_give_the_count_away(rendered: Dataset) -> None:
    """Receipts are white; were the other pictures darker throughout, brightness would do for counting."""
    light: dict[int, list[float]] = {0: [], 1: [], 2: []}
    for example in rendered.examples("train"):
        with Image.open(example.image) as image:
            light[min(example.count, 2)].append(float(np.asarray(image).mean()))
    spread = np.std([value for values in light.values() for value in values])
    means = [np.mean(values) for values in light.values()]
    assert max(means) - min(means) < spread


def test_the_same_dataset_is_not_made_twice(tmp_path: Path, small_config: MakeConfig) -> None:
    first = render_dataset(small_config(), tmp_path / "data", workers=1)
    before = (first.path / "dataset.json").stat().st_mtime_ns
    calls: list[tuple[int, int]] = []
    again = render_dataset(small_config(), tmp_path / "data", progress=lambda done, total: calls.append((done, total)))
    assert again.fingerprint == first.fingerprint
    assert (first.path / "dataset.json").stat().st_mtime_ns == before
    assert not calls


def test_another_dataset_is_not_overwritten(tmp_path: Path, small_config: MakeConfig) -> None:
    first = render_dataset(small_config(train_images=2), tmp_path / "data", workers=1)
    before = content(first.path)
    with pytest.raises(UserError, match="data: holds another dataset"):
        render_dataset(small_config(train_images=3), tmp_path / "data", workers=1)
    assert content(first.path) == before


def test_progress_counts_up_to_all_images(tmp_path: Path, small_config: MakeConfig) -> None:
    calls: list[tuple[int, int]] = []
    render_dataset(
        small_config(), tmp_path / "data", workers=2, progress=lambda done, total: calls.append((done, total))
    )
    assert calls[0] == (0, 180)
    assert calls[-1] == (180, 180)
    assert calls == sorted(calls)


RENDER = """
import sys
from pathlib import Path
from receipt_counter.config.schema import Config, Data, Render
from receipt_counter.data.render import render_dataset
if __name__ == "__main__":
    config = Config(data=Data(image_size=64, render=Render(train_images=100000)))
    render_dataset(config, Path(sys.argv[1]), workers=2, progress=lambda done, total: print(done, flush=True))
"""


def test_killed_half_way_it_leaves_no_dataset_and_no_process(tmp_path: Path) -> None:
    script = tmp_path / "render.py"
    script.write_text(RENDER)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "data")],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        assert process.stdout is not None
        while int(process.stdout.readline()) == 0:
            pass
        children = children_of(process.pid)
        process.send_signal(signal.SIGKILL)
    assert len(children) >= 2
    deadline = time.monotonic() + 10
    while any(alive(pid) for pid in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in children if alive(pid)]
    with pytest.raises(UserError):
        Dataset.open(tmp_path / "data")


def children_of(parent: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
