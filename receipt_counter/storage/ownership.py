"""Who works on a run or a study where several machines share an object store, which knows no locks.

- `lease`: exclusive. A token object is written and all tokens are listed; only who sees no other one goes on.
  (Object stores list what was written before, so of two that both went on, one would have seen the other.)
- `claim`: for hours. The record says who owns it and how fresh that is; a living owner keeps others away, a dead one is
  replaced after STALE_BEATS heartbeats. Ages are told by the server's clock, so machines' clocks do not matter.

On one machine the lock of `files.exclusive` comes first, so an owner that was of this machine is known to be dead.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from receipt_counter.errors import UserError
from receipt_counter.storage.files import write_atomic
from receipt_counter.storage.pusher import push
from receipt_counter.storage.record import OWNER, RUNNING, Record, now
from receipt_counter.storage.remote import StoreError
from receipt_counter.storage.sync import CHECKPOINTS, Mirror, mirror_of, pull, remove_tree

if TYPE_CHECKING:
    from receipt_counter.storage.objects import Bucket

HEARTBEAT = "RECEIPT_COUNTER_HEARTBEAT_SECONDS"
BEAT_SECONDS = 15.0
STALE_BEATS = 8
LEASE_SECONDS = 300.0  # after which a lease's holder is taken for dead
_RENEWALS = 5  # of a lease in that time


def beat_seconds() -> float:
    """Seconds between two heartbeats."""
    return float(os.environ.get(HEARTBEAT, BEAT_SECONDS))


@contextmanager
def lease(bucket: Bucket, name: str) -> Iterator[None]:
    """Hold something of the store for this process alone, however long.

    Args:
        bucket: the store.
        name: what is held, a prefix.

    Raises:
        StoreError: others hold it for longer.
    """
    folder = f"{name}/.lease/"
    token = f"{folder}{secrets.token_hex(8)}"
    for pause in bucket.server.patience.pauses():
        bucket.put(token, socket.gethostname().encode())
        try:
            others = set(bucket.entries(folder)) - {token}
            abandoned = [other for other in others if (bucket.age(other) or 0.0) > LEASE_SECONDS]
            bucket.delete(abandoned)
            if not others - set(abandoned):
                with _renewed(bucket, token):
                    yield
                return
        finally:
            bucket.delete([token])
        time.sleep(pause * random.uniform(0.5, 1.0))
    raise StoreError(f"{bucket.url}/{name}: other processes keep it busy; try again", is_temporary=True)


@contextmanager
def _renewed(bucket: Bucket, token: str) -> Iterator[None]:
    """Keep a lease's token young while the block lasts: its holder may have gigabytes to send."""
    done = threading.Event()

    def renew() -> None:
        while not done.wait(LEASE_SECONDS / _RENEWALS):
            with suppress(StoreError):  # the next time
                bucket.put(token, socket.gethostname().encode())

    thread = threading.Thread(target=renew, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def catch_up(record: Record) -> None:
    """Bring a record and its copy in the store together: whoever owned it last is right.

    What an earlier process of this machine finished and could not send is sent now.

    Raises:
        StoreError: the store does not answer.
    """
    mirror = mirror_of(record.directory)
    if mirror is None:
        return
    there = _read(mirror, record)
    if there is not None and there.get("owner") != _own_token(record.directory):
        write_atomic(record.record_file, json.dumps(there, indent=2, ensure_ascii=False) + "\n")
    elif _own_token(record.directory) and record.status != RUNNING and there != record.record:
        push(record.directory)
    record.reload()


def claim(record: Record, report: Callable[[str], None]) -> str:
    """Become the owner of a run or study whose lock this process holds, with what its former owner left at hand.

    Args:
        record: its record, which says so from now on.
        report: told what is waited for.

    Returns:
        The token that the record holds as long as nobody else took over.

    Raises:
        UserError: another machine is working on it.
        StoreError: the store does not answer.
    """
    directory = record.directory
    token = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    mirror = mirror_of(directory)
    if mirror is not None:
        _wait_for_silence(mirror, record, report)
        with lease(mirror.bucket, mirror.name(directory)):
            there = _read(mirror, record)
            if there is not None and there.get("owner") != _own_token(directory):
                if there.get("status") == RUNNING and not _is_stale(mirror, record):
                    raise _busy(mirror, record, there)
                _take_over(mirror, record, report)
            record.update(owner=token, heartbeat=now(), status=RUNNING)
            write_atomic(directory / OWNER, token)
            mirror.bucket.put(mirror.name(record.record_file), record.record_file)
    else:
        record.update(owner=token, heartbeat=now(), status=RUNNING)
    return token


def is_ours(mirror: Mirror, record: Record, token: str) -> bool:
    """Whether the store's record still names this owner."""
    there = _read(mirror, record)
    return there is None or there.get("owner") == token


@contextmanager
def edited(record: Record) -> Iterator[None]:
    """Change a record that nobody owns, such as a finished run's, while no other machine does."""
    mirror = mirror_of(record.directory)
    if mirror is None:
        yield
        return
    with lease(mirror.bucket, mirror.name(record.directory)):
        there = _read(mirror, record)
        if there is not None:
            record.record = there
        yield
        mirror.bucket.put(mirror.name(record.record_file), record.record_file)


def _read(mirror: Mirror, record: Record) -> dict[str, Any] | None:
    content = mirror.bucket.read(mirror.name(record.record_file))
    if content is None:
        return None
    found: dict[str, Any] = json.loads(content)
    return found


def _own_token(directory: Path) -> str | None:
    with suppress(FileNotFoundError):
        return (directory / OWNER).read_text(encoding="utf-8").strip()
    return None


def _wait_for_silence(mirror: Mirror, record: Record, report: Callable[[str], None]) -> None:
    """Until a running owner's heartbeat is stale; one that beats meanwhile is alive."""
    first: Any = None
    while True:
        there = _read(mirror, record)
        if there is None or there.get("owner") == _own_token(record.directory) or there.get("status") != RUNNING:
            return
        if _is_stale(mirror, record):
            return
        beat = (there.get("owner"), there.get("heartbeat"))
        if first is None:
            first = beat
            report(
                f"{mirror.url(record.directory)}: {there.get('owner')} may still work on it; waiting for its heartbeat"
            )
        elif beat != first:
            raise _busy(mirror, record, there)
        time.sleep(beat_seconds() / 2)


def _is_stale(mirror: Mirror, record: Record) -> bool:
    age = mirror.bucket.age(mirror.name(record.record_file))
    return age is None or age > STALE_BEATS * beat_seconds()


def _busy(mirror: Mirror, record: Record, there: dict[str, Any]) -> UserError:
    return UserError(
        f"{mirror.url(record.directory)}: {there.get('owner')} is working on it (last heard of"
        f" {there.get('heartbeat')}); it can be taken over {STALE_BEATS * beat_seconds():.0f} s after that ends",
        status=1,
    )


def _take_over(mirror: Mirror, record: Record, report: Callable[[str], None]) -> None:
    """Replace what is here, another story, by what is there: all but checkpoints, and of these the newest whole one."""
    directory = record.directory
    remove_tree(directory)
    directory.mkdir(parents=True, exist_ok=True)
    _pull_newest(mirror, directory / CHECKPOINTS, report)
    pull(directory)
    record.reload()


def _pull_newest(mirror: Mirror, checkpoints: Path, report: Callable[[str], None]) -> None:
    names = mirror.bucket.folders(f"{mirror.name(checkpoints)}/")
    by_step = {
        kind: sorted((name for name in names if name.startswith(f"{kind}-")), key=_number) for kind in ("step", "best")
    }
    for name in by_step["best"]:
        with suppress(StoreError):  # judged when it is needed
            mirror.pull_sealed(checkpoints / name)
    for name in reversed(by_step["step"]):
        try:
            if mirror.pull_sealed(checkpoints / name):
                return
        except StoreError as error:
            report(f"{error.message}; trying the checkpoint before it")


def _number(name: str) -> int:
    digits = name.rpartition("-")[2]
    return int(digits) if digits.isdecimal() else -1
