"""Keeps a run or a study alive and sent while a process works on it: heartbeats, events, checkpoints, records.

Two threads of the lead process: one says that it lives, however long the other takes to send a large checkpoint. A
store that does not answer stops nothing: both go on trying and catch up. What must be there at the end is sent when the
work ends, the record last; if that fails, the work fails, and everything is kept here.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from receipt_counter.errors import UserError
from receipt_counter.storage.files import write_atomic
from receipt_counter.storage.manifest import MANIFEST
from receipt_counter.storage.ownership import beat_seconds, is_ours
from receipt_counter.storage.pusher import Pusher
from receipt_counter.storage.record import RUNNING, Record, now
from receipt_counter.storage.remote import StoreError
from receipt_counter.storage.sync import CHECKPOINTS, Mirror, mirror_of

FIRST_PAUSE, LONGEST_PAUSE = 5.0, 60.0  # seconds between two looks at what has grown
_GROWTH = 60  # an hour's run is looked at every minute: segments are objects, and objects are listed
LATEST = "LATEST"


class Keeper:
    """See the module. Made by `kept`.

    Args:
        record: of what is kept; claimed.
        token: that the claim returned.
        mirror: where it is sent; None keeps the heartbeat alone.
        report: told when the store is lost and found.
    """

    def __init__(self, record: Record, token: str, mirror: Mirror | None, report: Callable[[str], None]) -> None:
        self._record, self._token, self._mirror, self._report = record, token, mirror, report
        self._pusher = None if mirror is None else Pusher(mirror, record.directory)
        self._checkpoints = record.directory / CHECKPOINTS
        self._began = time.monotonic()
        self._stop, self._wake = threading.Event(), threading.Event()
        self._lost = threading.Event()
        self._is_away = False
        self._stop_beating = threading.Event()
        self._sender = threading.Thread(target=self._send_on, name="store", daemon=True)
        self._heart = threading.Thread(target=self._beat_on, name="heartbeat", daemon=True)

    @property
    def is_lost(self) -> bool:
        """Whether another machine took over; what happens here counts no longer."""
        return self._lost.is_set()

    def wake(self) -> None:
        """There is something new worth sending at once, such as a checkpoint."""
        self._wake.set()

    def start(self) -> None:
        """Begin."""
        self._heart.start()
        if self._mirror is not None:
            self._sender.start()

    def stop_sending(self) -> None:
        """End the thread that sends; the heartbeats go on."""
        self._stop.set()
        self._wake.set()
        if self._sender.is_alive():
            self._sender.join()

    def close(self) -> None:
        """End both threads."""
        self.stop_sending()
        self._stop_beating.set()
        self._heart.join()

    def flush(self) -> None:
        """Send everything; the heartbeats end with it.

        Raises:
            StoreError: it could not be sent; it is kept here.
            UserError: another machine took over meanwhile.
        """
        if self._mirror is None or self._pusher is None:
            return
        self._look_for_others(self._mirror)
        if self.is_lost:
            raise self.lost_error()
        self._send_checkpoints(self._pusher)
        self._pusher.push(hold=self._record.record_file)
        self.close()  # a heartbeat says that somebody works on it
        self._pusher.push_file(self._record.record_file)

    def lost_error(self) -> UserError:
        """What to say then."""
        assert self._mirror is not None
        return UserError(
            f"{self._mirror.url(self._record.directory)}: another machine took over while the store could not be "
            "reached from here; what was done here since does not count",
            status=1,
        )

    def _beat_on(self) -> None:
        while not self._stop_beating.wait(beat_seconds()) and not self.is_lost:
            with suppress(OSError, UserError):  # whoever is silent too long is replaced, and notices
                self._record.update(heartbeat=now())
                if self._mirror is not None:
                    self._beat(self._mirror)

    def _beat(self, mirror: Mirror) -> None:
        """Say that somebody works on it: what the record says of its end counts once everything is there."""
        self._look_for_others(mirror)
        if not self.is_lost:
            living = {**self._record.record, "status": RUNNING}
            mirror.bucket.put(mirror.name(self._record.record_file), json.dumps(living).encode())

    def _look_for_others(self, mirror: Mirror) -> None:
        if not self.is_lost and not is_ours(mirror, self._record, self._token):
            self._lost.set()

    def _send_on(self) -> None:
        while not self.is_lost:
            look = min(max(FIRST_PAUSE, (time.monotonic() - self._began) / _GROWTH), LONGEST_PAUSE)
            self._wake.wait(min(look, beat_seconds()))
            self._wake.clear()
            if self._stop.is_set():
                return
            try:
                self._send()
            except StoreError as error:
                self._say(away=True, text=f"{error.message}; the work goes on, and what is new is sent later")
            except (OSError, UserError) as error:  # a full disk is the main thread's to tell
                self._say(away=True, text=str(error))
            else:
                self._say(away=False, text="the store answers again")

    def _say(self, *, away: bool, text: str) -> None:
        if away != self._is_away:
            self._is_away = away
            self._report(text)

    def _send(self) -> None:
        assert self._mirror is not None
        assert self._pusher is not None
        if self._is_away:  # perhaps for so long that another machine took over
            self._look_for_others(self._mirror)
            if self.is_lost:
                return
        self._send_checkpoints(self._pusher)
        if self._checkpoints.is_dir():
            self._pusher.push_events()
        else:
            self._pusher.push(logs=False, hold=self._record.record_file)

    def _send_checkpoints(self, pusher: Pusher) -> None:
        """The newest checkpoints, after the events before them; then LATEST; then those that are gone here go there."""
        if not self._checkpoints.is_dir():
            return
        whole = [
            path
            for path in self._checkpoints.iterdir()
            if not path.name.startswith(".") and (path / MANIFEST).is_file()
        ]
        new = sorted(
            (path for path in whole if not pusher.has_sealed(path)), key=lambda path: path.name.startswith("step-")
        )
        if not new:
            return
        pusher.push_events()
        for path in new:  # the best weights first: the step's state names them
            with _linked(path, self._record.directory / ".sending") as staged:
                if staged is not None:
                    pusher.push_sealed(staged, as_path=path)
        steps = sorted((path.name for path in new if path.name.startswith("step-")), key=lambda name: int(name[5:]))
        if steps:
            write_atomic(self._record.directory / ".sending" / LATEST, steps[-1])
            pusher.push_file(self._record.directory / ".sending" / LATEST, as_path=self._checkpoints / LATEST)
            # training may have removed even the new ones meanwhile; they stay until newer ones are there
            keep = {path.name for path in (*self._checkpoints.iterdir(), *new)}
            for name in pusher.folders(self._checkpoints):
                if name not in keep:
                    pusher.remove_sealed(self._checkpoints / name)


@contextmanager
def _linked(path: Path, scratch: Path) -> Iterator[Path | None]:
    """The same files under another name, so that training may delete theirs meanwhile; None where it already has."""
    staged = scratch / path.name
    shutil.rmtree(staged, ignore_errors=True)
    try:
        yield staged if _link(path, staged) else None
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _link(path: Path, staged: Path) -> bool:
    """Whether all files of a checkpoint are linked; training, which removes the manifest first, may be faster."""
    try:
        shutil.copytree(path, staged, copy_function=os.link)
    except (FileNotFoundError, shutil.Error):  # the second tells of files that went between listing and linking
        if (path / MANIFEST).is_file():
            raise
        return False
    return (staged / MANIFEST).is_file()


@contextmanager
def kept(record: Record, token: str, report: Callable[[str], None]) -> Iterator[Keeper]:
    """Keep a run or a study fresh and sent while the block lasts, and send all of it at its end.

    Args:
        record: of what is kept.
        token: that `claim` returned.
        report: told what a person should know.

    Yields:
        The keeper.

    Raises:
        UserError: another machine took over.
        StoreError: what must be in the store could not be sent; everything is kept here, and the same again sends it.
    """
    keeper = Keeper(record, token, mirror_of(record.directory), report)
    keeper.start()
    try:
        yield keeper
    except BaseException:
        keeper.stop_sending()
        if keeper.is_lost:
            raise keeper.lost_error() from None
        with suppress(UserError):  # what went wrong first is what counts
            keeper.flush()
        raise
    else:
        keeper.stop_sending()
        try:
            keeper.flush()
        except StoreError as error:
            raise StoreError(
                f"{error.message}\nEverything is kept in {record.directory}; the same command sends it"
            ) from None
    finally:
        keeper.close()
