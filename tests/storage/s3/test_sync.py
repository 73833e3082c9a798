"""Mirrors: what is pulled and pushed is whole or absent at every moment, and nothing travels twice."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from receipt_counter import tensorboard
from receipt_counter.cli import main
from receipt_counter.data.dataset import Dataset
from receipt_counter.errors import UserError
from receipt_counter.storage.files import write_atomic, write_json
from receipt_counter.storage.labels import labelled_runs
from receipt_counter.storage.manifest import MANIFEST, verify, write_manifest
from receipt_counter.storage.objects import Bucket
from receipt_counter.storage.pusher import Pusher, push
from receipt_counter.storage.remote import StoreError
from receipt_counter.storage.segments import contiguous, join, split_segment, whole_records
from receipt_counter.storage.store import open_store
from receipt_counter.storage.sync import DATASET, Mirror, locate, open_mirror, place_of, pull, uri
from tests.storage.s3.conftest import another_machine, bucket_at
from tests.storage.s3.proxy import Fault, Proxy
from tests.support import write_squares

CHECKPOINT = "runs/abc/checkpoints/step-8"


def write_checkpoint(root: Path, content: bytes = b"weights", files: int = 4, name: str = CHECKPOINT) -> Path:
    directory = root / name
    (directory / "engine").mkdir(parents=True, exist_ok=True)
    for number in range(files):
        (directory / "engine" / f"{number}.pt").write_bytes(content * (number + 1))
    (directory / MANIFEST).unlink(missing_ok=True)
    write_manifest(directory)
    return directory


def transfers(proxy: Proxy) -> list[str]:
    """Objects written and read since the last call."""
    moved = [
        path.partition("/team/")[2]
        for method, path in proxy.requests
        if method in ("PUT", "GET") and "list-type" not in path
    ]
    proxy.requests.clear()
    return sorted(moved)


@pytest.fixture
def mirror(environment: dict[str, str], url: str) -> Mirror:
    return open_mirror(url)


def test_a_directory_is_its_own_uri(tmp_path: Path) -> None:
    assert uri(tmp_path) == str(tmp_path)
    assert locate(str(tmp_path)) == tmp_path
    pull(tmp_path)
    push(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_uris_and_paths_correspond(mirror: Mirror, url: str) -> None:
    assert open_store(url).root == mirror.root
    assert open_store(f"{url}/").location == url
    assert open_store(str(mirror.root)).location == url  # as a trial is told
    for name in ("runs/abc", "studies/x-1/trials.csv", "datasets/d", "models/m/1"):
        assert uri(mirror.root / name) == f"{url}/{name}"
        assert place_of(f"{url}/{name}") == mirror.root / name
    assert uri(place_of(f"{url}-data/mine")) == f"{url}-data/mine"


@pytest.mark.parametrize("prefix", ["runs", "models/team", "datasets/x/studies", "a b+c=d&e%20ü'(1)"])
def test_a_prefix_may_be_called_anything(prefix: str, mirror: Mirror, url: str, tmp_path: Path) -> None:
    store = open_store(f"{url}/{prefix}/")
    for name in ("runs/abc", "studies/s-1"):
        (store.root / name).mkdir(parents=True)
        (store.root / name / "run.json").write_text(name)
        push(store.root / name)
        assert place_of(uri(store.root / name)) == store.root / name
    assert mirror.bucket.read(f"{prefix}/runs/abc/run.json") == b"runs/abc"
    assert store.names(store.runs, "run.json") == ["abc"]
    (store.runs / "abc" / "run.json").unlink()
    assert (locate(f"{url}/{prefix}/runs/abc") / "run.json").read_text() == "runs/abc"


def test_nothing_travels_twice(mirror: Mirror, proxy: Proxy, tmp_path: Path) -> None:
    there = Bucket(mirror.bucket.url, bucket_at(mirror.bucket.url, proxy.url).server)
    here, other = Mirror(mirror.root, there), Mirror(tmp_path / "other", there)
    write_checkpoint(here.root)
    run = here.root / "runs" / "abc"
    (run / "config.yaml").write_text("seed: 1")
    (run / "run.json").write_text("{}")
    Pusher(here, run).push()
    sent = transfers(proxy)
    assert sent[-1] == "runs/abc/run.json"
    assert len(sent) == 7
    Pusher(here, run).push()
    assert transfers(proxy) == []
    other.pull(other.root / "runs" / "abc")
    assert transfers(proxy) == sent
    other.pull(other.root / "runs" / "abc")
    assert transfers(proxy) == []
    (run / "run.json").write_text('{"status": 1}')
    Pusher(here, run).push()
    other.pull(other.root / "runs" / "abc")
    assert transfers(proxy) == ["runs/abc/run.json"] * 2
    assert verify(other.root / CHECKPOINT) is None
    assert (other.root / "runs" / "abc" / "run.json").read_text() == '{"status": 1}'


def test_what_has_not_changed_is_not_read_again(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = mirror.root / "runs" / "abc"
    write_atomic(run / "run.json", "{}")
    Pusher(mirror, run).push()
    other = Mirror(tmp_path / "other", mirror.bucket)
    file, read, really = other.root / "runs" / "abc" / "run.json", [], mirror.bucket.etag_of
    monkeypatch.setattr(mirror.bucket, "etag_of", lambda path: (read.append(path), really(path))[1])
    for _ in range(3):
        other.pull(other.root / "runs")
    assert read == [file], "once after it was fetched"
    file.write_text("[]")  # as long, and not what the store has
    other.pull(other.root / "runs")
    assert file.read_text() == "{}"


def test_without_its_seal_nothing_is_there(mirror: Mirror, tmp_path: Path) -> None:
    write_checkpoint(mirror.root)
    push(mirror.root / "runs" / "abc")
    mirror.bucket.delete([f"{CHECKPOINT}/{MANIFEST}"])
    for name in ("models/m/1/run.json", "models/m/1/model/x.safetensors", "datasets/d/train.jsonl"):
        mirror.bucket.put(name, b"half")
    other = Mirror(tmp_path / "other", mirror.bucket)
    for name in ("runs/abc", "models/m", "datasets/d"):
        other.pull(other.root / name)
    assert [path for path in other.root.rglob("*") if path.is_file()] == []
    with pytest.raises(UserError, match="there is nothing whole"):
        locate(f"{mirror.bucket.url}/datasets/d")


def test_other_content_replaces_and_removal_begins_with_the_seal(mirror: Mirror, proxy: Proxy, tmp_path: Path) -> None:
    write_checkpoint(mirror.root, b"one", files=5)
    push(mirror.root / "runs" / "abc")
    (mirror.root / CHECKPOINT / "engine" / "4.pt").unlink()
    write_checkpoint(mirror.root, b"two", files=3)
    (mirror.root / CHECKPOINT / "engine" / "3.pt").unlink()
    write_checkpoint(mirror.root, b"two", files=3)
    push(mirror.root / "runs" / "abc")
    other = Mirror(tmp_path / "other", mirror.bucket)
    other.pull(other.root / "runs" / "abc")
    assert verify(other.root / CHECKPOINT) is None
    assert len(list((other.root / CHECKPOINT / "engine").iterdir())) == 3
    through = Mirror(mirror.root, bucket_at(mirror.bucket.url, proxy.url, patience=0.0))
    proxy.plan = [Fault("500", 9, "POST", "delete", after=1)]
    with pytest.raises(StoreError):
        Pusher(through, mirror.root / "runs" / "abc").remove_sealed(mirror.root / CHECKPOINT)
    assert set(mirror.bucket.entries("runs/")) == {f"{CHECKPOINT}/engine/{n}.pt" for n in range(3)}


@contextmanager
def watching(mirror: Mirror, directory: Path) -> Iterator[list[str]]:
    """A reader who looks all the time, at the store and at a pulled directory; what it saw that was not whole."""
    seen: list[str] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            manifest = mirror.bucket.read(f"{CHECKPOINT}/{MANIFEST}")
            if manifest is not None:
                listed = {f"{CHECKPOINT}/{entry['name']}" for entry in json.loads(manifest)["files"]}
                lacking = listed - mirror.bucket.entries(f"{CHECKPOINT}/").keys()
                # it may have been withdrawn between the two looks
                if lacking and mirror.bucket.read(f"{CHECKPOINT}/{MANIFEST}") == manifest:
                    seen.append(f"the store lacks {lacking}")
            if directory.exists() and (problem := verify(directory)) and directory.exists() and verify(directory):
                seen.append(problem)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


FAULTY = (
    "503 SlowDown",
    "500",
    "reset in body",
    "answer lost",
    "answer cut short",
    "answer altered",
    "reset in answer",
)


@pytest.mark.parametrize("fault", FAULTY)
def test_readers_never_see_a_part(fault: str, mirror: Mirror, proxy: Proxy, tmp_path: Path) -> None:
    """Every kind of request fails now and then, for as long as it takes; what was given up is repeated."""
    flaky = bucket_at(mirror.bucket.url, proxy.url, patience=2.0)
    here, other = Mirror(mirror.root, flaky), Mirror(tmp_path / "other", flaky)
    write_checkpoint(mirror.root, b"0123456789" * 1000, files=6)
    with watching(mirror, other.root / CHECKPOINT) as seen:
        proxy.plan = [Fault(fault, 1, after=after) for after in (1, 3, 6, 9, 11, 14)]
        Pusher(here, mirror.root / "runs" / "abc").push()
        assert other.pull_sealed(other.root / CHECKPOINT)
    assert seen == []
    assert verify(other.root / CHECKPOINT) is None
    assert [path.name for path in other.root.rglob("*.tmp")] == []


@pytest.mark.parametrize("fault", ["507 full", "403 denied"])
def test_a_store_that_refuses_has_nothing_whole(fault: str, mirror: Mirror, proxy: Proxy) -> None:
    write_checkpoint(mirror.root)
    full = Mirror(mirror.root, bucket_at(mirror.bucket.url, proxy.url, patience=0.2))
    proxy.plan = [Fault(fault, 99, "PUT", after=2)]
    with pytest.raises(StoreError):
        Pusher(full, mirror.root / "runs" / "abc").push()
    assert mirror.bucket.read(f"{CHECKPOINT}/{MANIFEST}") is None
    proxy.plan = []
    Pusher(full, mirror.root / "runs" / "abc").push()
    assert mirror.bucket.read(f"{CHECKPOINT}/{MANIFEST}") is not None


def test_damage_in_the_store_is_found(mirror: Mirror, tmp_path: Path) -> None:
    write_checkpoint(mirror.root)
    push(mirror.root / "runs" / "abc")
    mirror.bucket.put(f"{CHECKPOINT}/engine/2.pt", b"something else")
    other = Mirror(tmp_path / "other", mirror.bucket)
    with pytest.raises(StoreError, match=r"engine/2.pt is corrupt"):
        other.pull_sealed(other.root / CHECKPOINT)
    assert not (other.root / CHECKPOINT).exists()


def test_datasets_travel_in_one_piece(
    mirror: Mirror, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = write_squares(mirror.root / "datasets" / "squares", {"train": 30})
    push(made.path)
    names = set(mirror.bucket.entries("datasets/"))
    assert "datasets/squares/images.tar" in names
    assert len(names) == len({path for path in made.path.iterdir() if path.is_file()}) + 1
    another_machine(url, tmp_path / "elsewhere", monkeypatch)
    found = Dataset.open(locate(f"{url}/datasets/squares"))
    assert found.path != made.path
    assert found.fingerprint == made.fingerprint
    assert [e.image.read_bytes() for e in found.examples("train")] == [
        e.image.read_bytes() for e in made.examples("train")
    ]


def test_a_users_plain_files_are_a_dataset_too(mirror: Mirror, tmp_path: Path, url: str) -> None:
    made = write_squares(tmp_path / "squares", {"train": 10})
    for path in made.path.rglob("*"):
        if path.is_file():
            mirror.bucket.put(f"photos/{path.relative_to(made.path)}", path)
    assert Dataset.open(locate(f"{url}/photos")).examples("train")[3].image.is_file()
    (made.path / DATASET).unlink()


def write_events(directory: Path, values: range, purge: int | None = None) -> None:
    with SummaryWriter(str(directory), purge_step=purge) as writer:
        for step in values:
            writer.add_scalar("loss", 1 / step, step)


def points(directory: Path) -> list[tuple[int, float]]:
    accumulator = EventAccumulator(str(directory), size_guidance={"scalars": 0})
    accumulator.Reload()
    return [(event.step, event.value) for event in accumulator.Scalars("loss")]


def test_events_travel_as_they_grow(mirror: Mirror, proxy: Proxy, tmp_path: Path) -> None:
    there = bucket_at(mirror.bucket.url, proxy.url)
    run = mirror.root / "runs" / "abc"
    pusher = Pusher(Mirror(mirror.root, there), run)
    other = Mirror(tmp_path / "other", there)
    sent = 0
    with SummaryWriter(str(run / "events")) as writer:
        for step in range(1, 31):
            writer.add_scalar("loss", 1 / step, step)
            if step % 10 == 0:
                writer.flush()
                with next((run / "events").iterdir()).open("ab") as torn:  # as when the writer is in the middle of one
                    size = torn.tell()
                    torn.write(b"\x18\0\0\0\0\0\0\0abc")
                    torn.flush()
                    pusher.push_events()
                    torn.truncate(size)
                other.pull(other.root / "runs" / "abc")
                sent += sum(len(whole) for whole in transfers(proxy)) > 0
                assert points(other.root / "runs" / "abc" / "events") == [
                    (s, pytest.approx(1 / s)) for s in range(1, step + 1)
                ]
    assert sent == 3
    write_events(run / "events", range(21, 41), purge=21)  # continued from an earlier checkpoint
    pusher.push_events()
    other.pull(other.root / "runs" / "abc")
    assert points(other.root / "runs" / "abc" / "events") == points(run / "events")
    assert len(points(run / "events")) == 40
    names = [split_segment(name) for name in there.entries()]
    sizes = [entry.size for entry in there.entries().values()]
    assert None not in names
    assert sum(sizes) == sum(path.stat().st_size for path in (run / "events").iterdir())  # nothing twice
    for path in (run / "events").iterdir():
        path.unlink()
    pusher.push_events()
    assert there.entries() == {}


@given(st.lists(st.integers(0, 60), min_size=1, max_size=12), st.data())
def test_segments_join_to_the_file(sizes: list[int], data: st.DataObject) -> None:
    """However a file grows between looks, and wherever the looks fall within its records."""
    import tempfile

    records = [len(str(i)).to_bytes(1, "little") * size for i, size in enumerate(sizes)]
    whole = b"".join(len(r).to_bytes(8, "little") + b"crc1" + r + b"crc2" for r in records)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=5)))
    with tempfile.TemporaryDirectory() as scratch:
        source, target = Path(scratch) / "source", Path(scratch) / "target"
        segments: list[tuple[int, bytes]] = []
        for cut in [*cuts, len(whole)]:
            source.write_bytes(whole[:cut])
            end = contiguous((offset, len(content)) for offset, content in segments)
            if content := whole_records(source, end):
                segments.append((end, content))
        for offset, content in segments:
            join(target, offset, content[: len(content) // 2])  # killed in the middle
            join(target, offset, content)
        assert target.read_bytes() == whole


def test_tensorboard_has_what_others_send(
    mirror: Mirror, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorboard, "SECONDS_BETWEEN_FETCHES", 0.05)
    run = mirror.root / "runs" / "abc"
    write_json(run / "run.json", {"experiment_name": "laptop", "seed": 42})
    (run / "model").mkdir()
    (run / "model" / "model.safetensors").write_bytes(b"weights")
    with SummaryWriter(str(run / "events")) as writer:
        writer.add_scalar("loss", 1.0, 1)
        writer.flush()
        push(run)
        here = another_machine(url, tmp_path / "here", monkeypatch).root / "runs"
        with tensorboard.fetched(here):
            (events,) = labelled_runs(here)["laptop-seed42 abc"].iterdir()
            before = events.stat().st_size
            write_json(here / "abc" / "run.json", {"experiment_name": "newer here", "seed": 42})
            writer.add_scalar("loss", 0.5, 2)
            writer.flush()
            push(run)
            deadline = time.monotonic() + 20
            while events.stat().st_size == before:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            assert list(labelled_runs(here)) == ["newer here-seed42 abc"]
    assert not (here / "abc" / "model").exists()


def test_tensorboard_of_a_bucket_that_is_not_there(
    environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tensorboard", "--store", "s3://no-such-bucket/team"]) == 1
    assert "there is no bucket 'no-such-bucket'" in capsys.readouterr().err


def test_a_pulled_directory_waits_for_its_turn(mirror: Mirror, tmp_path: Path) -> None:
    """Two processes that want the same: one fetches, the other finds it done."""
    write_checkpoint(mirror.root, b"x" * 100_000)
    push(mirror.root / "runs" / "abc")
    other = Mirror(tmp_path / "other", mirror.bucket)
    threads = [threading.Thread(target=other.pull_sealed, args=(other.root / CHECKPOINT,)) for _ in range(3)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verify(other.root / CHECKPOINT) is None
    assert time.monotonic() - began < 30
