"""Event files made record by record, and a monitor on a folder."""

from __future__ import annotations

import contextlib
import json
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary

from receipt_counter.monitor.app import create_app, guarded
from receipt_counter.monitor.catalogue import open_catalogue
from receipt_counter.monitor.event_files import masked_crc
from receipt_counter.monitor.monitor import Monitor
from receipt_counter.monitor.security import Access
from receipt_counter.monitor.source import LocalSource


def record(data: bytes) -> bytes:
    """A TFRecord."""
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked_crc(length)) + data + struct.pack("<I", masked_crc(data))


def scalar(tag: str, step: int, value: float, wall_time: float = 1000.0) -> bytes:
    """A record with one scalar."""
    summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
    return record(Event(wall_time=wall_time, step=step, summary=summary).SerializeToString())


def restart(step: int) -> bytes:
    """The record with which a continued run begins its file."""
    event = Event(wall_time=1.0, step=step, session_log=SessionLog(status=SessionLog.START))
    return record(event.SerializeToString())


def write_events(run: Path, content: bytes, number: int = 0) -> Path:
    """An event file of a run; later numbers are later files."""
    file = run / "events" / f"events.out.tfevents.{1000 + number}.host.1.{number}"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def write_record(run: Path, **fields: Any) -> None:
    """A run.json, put in place as training does."""
    run.mkdir(parents=True, exist_ok=True)
    content = {"run_id": run.name, "experiment_name": "one", "seed": 1, "status": "running", **fields}
    temporary = run / ".run.json.tmp"
    temporary.write_text(json.dumps(content))
    temporary.rename(run / "run.json")


@contextlib.contextmanager
def watching(root: Path, cache: Path, access: Access | None = None) -> Iterator[tuple[Monitor, TestClient]]:
    """A monitor that has read a folder, and a client that asks it as a browser would."""
    with open_catalogue(cache) as catalogue, Monitor(LocalSource(str(root)), catalogue, processes=1) as monitor:
        until(lambda: monitor.scans and monitor.scanning() is None)
        application = guarded(create_app(monitor), access or Access())
        with TestClient(application, base_url="http://localhost") as client:
            yield monitor, client


def until(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Wait for something to become true; what it then is."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
    return found
