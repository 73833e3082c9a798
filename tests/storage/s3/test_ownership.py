"""Who may work on a run that several machines see."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from receipt_counter.errors import UserError
from receipt_counter.storage import ownership
from receipt_counter.storage.keeper import kept
from receipt_counter.storage.manifest import MANIFEST
from receipt_counter.storage.ownership import STALE_BEATS, catch_up, claim, edited, lease
from receipt_counter.storage.pusher import push
from receipt_counter.storage.remote import StoreError
from receipt_counter.storage.run import FINISHED, RUNNING, Run
from receipt_counter.storage.sync import Mirror, open_mirror, pull
from receipt_counter.training.checkpoints import CheckpointStore
from tests.storage.s3.conftest import another_machine, bucket_at
from tests.storage.s3.proxy import Fault, Proxy
from tests.storage.s3.test_sync import write_checkpoint


def ignore(text: str) -> None:
    pass


@pytest.fixture
def mirror(environment: dict[str, str], url: str) -> Mirror:
    return open_mirror(url)


def run_of(mirror: Mirror) -> Run:
    return Run(mirror.root / "runs" / "abc")


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> float:
    """An owner is dead after so many seconds without a heartbeat; the server tells time in whole seconds."""
    monkeypatch.setenv("RECEIPT_COUNTER_HEARTBEAT_SECONDS", "0.25")
    return STALE_BEATS * 0.25


def test_a_living_owner_keeps_others_away(
    mirror: Mirror, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, brief: float
) -> None:
    with kept(run := run_of(mirror), claim(run, ignore), ignore) as keeper:
        other = another_machine(url, tmp_path / "other", monkeypatch)
        with pytest.raises(
            UserError, match=r"is working on it .last heard of .*it can be taken over 2 s after"
        ) as raised:
            claim(run_of(other), ignore)
        assert f"{url}/runs/abc" in raised.value.message
        assert not keeper.is_lost
    assert run_of(mirror).status == RUNNING


@pytest.mark.parametrize("status", ["interrupted", "failed", RUNNING])
def test_who_left_or_died_is_replaced(
    status: str, mirror: Mirror, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, brief: float
) -> None:
    first = run_of(mirror)
    claim(first, ignore)
    write_checkpoint(mirror.root)
    first.update(status=status, step=8)
    push(first.directory)
    other = another_machine(url, tmp_path / "other", monkeypatch)
    run, notes = run_of(other), list[str]()
    began = time.monotonic()
    token = claim(run, notes.append)
    took = time.monotonic() - began
    assert took > brief / 2 or status != RUNNING
    assert bool(notes) == (status == RUNNING)
    assert run.record["step"] == 8
    assert run.record["owner"] == token != first.record["owner"]
    assert (run.checkpoints / "step-8" / "manifest.json").is_file()


def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    mirror: Mirror, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run_of(mirror)
    claim(first, ignore)
    for step in (4, 8, 12):
        write_checkpoint(mirror.root, name=f"runs/abc/checkpoints/step-{step}")
    first.update(status="interrupted")
    push(first.directory)
    mirror.bucket.put("runs/abc/checkpoints/step-12/engine/1.pt", b"damaged")
    mirror.bucket.delete(["runs/abc/checkpoints/step-8/engine/1.pt"])
    other = another_machine(url, tmp_path / "other", monkeypatch)
    notes: list[str] = []
    claim(run_of(other), notes.append)
    assert [path.name for path in sorted(run_of(other).checkpoints.glob("step-*"))] == ["step-4"]
    assert [note.partition("step-")[2][:2] for note in notes] == ["12", "8:"]


def test_an_owner_that_was_replaced_notices_and_sends_nothing(
    mirror: Mirror, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("receipt_counter.storage.keeper.beat_seconds", lambda: 0.1)

    def work() -> None:
        with kept(run := run_of(mirror), claim(run, ignore), ignore) as keeper:
            mirror.bucket.put("runs/abc/run.json", b'{"owner": "other", "status": "running", "step": 99}')
            deadline = time.monotonic() + 20
            while not keeper.is_lost and time.monotonic() < deadline:
                time.sleep(0.02)
            run_of(mirror).update(step=1)

    with pytest.raises(UserError, match="another machine took over"):
        work()
    assert b'"step": 99' in (mirror.bucket.read("runs/abc/run.json") or b"")


def test_only_one_of_many_holds_a_lease(mirror: Mirror) -> None:
    inside, most, entered = [], [], []

    def hold(number: int) -> None:
        bucket = bucket_at(mirror.bucket.url, mirror.bucket.server.endpoint, patience=30.0)
        with lease(bucket, "models/m"):
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.05)
            inside.remove(number)
            entered.append(number)

    threads = [threading.Thread(target=hold, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(entered) == [0, 1, 2]
    assert max(most) == 1
    assert mirror.bucket.entries() == {}


def test_a_dead_holders_lease_passes(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror.bucket.put("models/m/.lease/dead", b"")
    quick = bucket_at(mirror.bucket.url, mirror.bucket.server.endpoint, patience=0.3)
    with pytest.raises(StoreError, match="other processes keep it busy"), lease(quick, "models/m"):
        pass
    monkeypatch.setattr(ownership, "LEASE_SECONDS", 1.0)
    time.sleep(2.1)  # the server tells time in whole seconds
    with lease(mirror.bucket, "models/m"):
        pass
    assert mirror.bucket.entries() == {}


def test_a_holder_that_takes_long_keeps_its_lease(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownership, "LEASE_SECONDS", 2.0)
    other = bucket_at(mirror.bucket.url, mirror.bucket.server.endpoint, patience=4.0)
    with (
        lease(mirror.bucket, "models/m"),
        pytest.raises(StoreError, match="other processes keep it busy"),
        lease(other, "models/m"),
    ):
        pass
    assert mirror.bucket.entries() == {}


def test_what_could_not_be_sent_is_sent_later(
    mirror: Mirror, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(mirror)
    claim(run, ignore)
    run.update(status=FINISHED, step=3)
    catch_up(run)  # of this machine: what is here is right
    other = another_machine(url, tmp_path / "other", monkeypatch)
    there = run_of(other)
    catch_up(there)
    assert (there.status, there.record["step"]) == (FINISHED, 3)
    with edited(there):
        there.update(step=4)
    mirror.bucket.put("runs/abc/run.json", (there.directory / "run.json").read_bytes().replace(b"4", b"5"))
    catch_up(there)
    assert there.record["step"] == 5


@pytest.mark.parametrize("status", [RUNNING, FINISHED])
def test_a_pull_undoes_nothing_that_is_not_sent_yet(status: str, mirror: Mirror) -> None:
    run = run_of(mirror)
    claim(run, ignore)
    run.update(status=status, step=3)
    pull(run.directory)
    assert Run(run.directory).record["step"] == 3
    push(run.directory)
    elsewhere = (run.directory / "run.json").read_bytes().replace(b'"step": 3', b'"step": 4')
    mirror.bucket.put("runs/abc/run.json", elsewhere.replace(RUNNING.encode(), FINISHED.encode()))  # judged elsewhere
    pull(run.directory)
    assert Run(run.directory).record["step"] == 4


def test_the_keeper_catches_up_after_an_outage(
    mirror: Mirror, proxy: Proxy, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checkpoints come and go faster than they can be sent; of those that were sent the newest always stays."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    monkeypatch.setenv("RECEIPT_COUNTER_STORE_PATIENCE", "0.3")
    here = another_machine(url, tmp_path / "here", monkeypatch)
    run, notes, seen = run_of(here), list[str](), list[int]()
    checkpoints = CheckpointStore(run.checkpoints, keep=1)

    def save(step: int) -> None:
        with checkpoints.writing(f"step-{step}", {"step": step}) as directory:
            (directory / "engine.pt").write_bytes(bytes([step]) * 100_000)
        checkpoints.prune(None)
        keeper.wake()

    def newest() -> int:
        names = [name for name in mirror.bucket.entries("runs/abc/checkpoints/") if name.endswith(MANIFEST)]
        return max((int(name.split("/")[3][5:]) for name in names), default=0)

    def wait_for(text: str = "", step: int = 0) -> None:
        deadline = time.monotonic() + 30
        while (text and not any(text in note for note in notes)) or newest() < step:
            seen.append(newest())
            assert time.monotonic() < deadline
            time.sleep(0.02)

    with kept(run, claim(run, ignore), notes.append) as keeper:
        save(1)
        wait_for(step=1)
        with proxy.outage():
            for step in (2, 3, 4):
                save(step)
            wait_for("the work goes on, and what is new is sent later")
        wait_for("the store answers again", step=4)
        for step in range(5, 12):
            save(step)
            seen.append(newest())
        run.update(status=FINISHED)
    assert seen == sorted(seen)
    assert newest() == 11
    assert mirror.bucket.folders("runs/abc/checkpoints/") == ["step-11"]
    assert mirror.bucket.read("runs/abc/checkpoints/LATEST") == b"step-11"
    assert not (run.directory / ".sending" / "step-11").exists()


def test_who_sends_a_large_checkpoint_is_known_to_live(
    mirror: Mirror, proxy: Proxy, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, brief: float
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    here = another_machine(url, tmp_path / "here", monkeypatch)
    run = run_of(here)
    with kept(run, claim(run, ignore), ignore) as keeper:
        proxy.plan.append(Fault("slow", times=50, method="PUT", path="checkpoints"))
        write_checkpoint(here.root, files=40)  # 8 at a time, a second each
        keeper.wake()
        deadline = time.monotonic() + 20
        while not any("checkpoints" in path for _, path in proxy.requests):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(brief + 1)
        monkeypatch.setenv("AWS_ENDPOINT_URL", mirror.bucket.server.endpoint)
        other = another_machine(url, tmp_path / "other", monkeypatch)
        with pytest.raises(UserError, match="is working on it"):
            claim(run_of(other), ignore)
        run.update(status=FINISHED)
    assert b'"finished"' in (mirror.bucket.read("runs/abc/run.json") or b"")
    assert mirror.bucket.read(f"runs/abc/checkpoints/step-8/{MANIFEST}")


def test_the_store_hears_of_the_end_last(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receipt_counter.storage.keeper.beat_seconds", lambda: 0.05)
    run = run_of(mirror)

    def there() -> dict[str, str]:
        found: dict[str, str] = json.loads(mirror.bucket.read("runs/abc/run.json") or b"{}")
        return found

    with kept(run, claim(run, ignore), ignore):
        run.update(status=FINISHED, step=3)
        deadline = time.monotonic() + 20
        while there().get("step") != 3:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert there()["status"] == RUNNING
    assert there()["status"] == FINISHED


def test_who_comes_back_looks_for_others_before_it_sends(
    mirror: Mirror, proxy: Proxy, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, brief: float
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    monkeypatch.setenv("RECEIPT_COUNTER_STORE_PATIENCE", "0.3")
    here = another_machine(url, tmp_path / "here", monkeypatch)
    run, notes = run_of(here), list[str]()

    def work() -> None:
        with kept(run, claim(run, ignore), notes.append) as keeper, proxy.outage():
            time.sleep(0.6)
            monkeypatch.setattr("receipt_counter.storage.keeper.beat_seconds", lambda: 60.0)
            time.sleep(0.6)  # the last quick heartbeat
            write_checkpoint(here.root)
            keeper.wake()
            deadline = time.monotonic() + 20
            while not notes:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            monkeypatch.setenv("AWS_ENDPOINT_URL", mirror.bucket.server.endpoint)
            claim(run_of(another_machine(url, tmp_path / "other", monkeypatch)), ignore)
            proxy.is_down = False
            while not keeper.is_lost:
                keeper.wake()
                assert time.monotonic() < deadline
                time.sleep(0.02)

    with pytest.raises(UserError, match="another machine took over"):
        work()
    assert mirror.bucket.entries("runs/abc/checkpoints/") == {}
