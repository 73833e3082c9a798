"""Keeps a directory in step with a store: `python -m receipt_counter.storage.mirror s3://bucket/prefix DIRECTORY`.

For TensorBoard, which cannot follow a store of objects itself: a sidecar mirrors the runs' events to a volume both see.
Only reads the store; goes on while it does not answer; ends at once when asked to.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path

from receipt_counter.errors import UserError
from receipt_counter.storage.files import writing
from receipt_counter.storage.objects import Bucket
from receipt_counter.storage.remote import StoreError
from receipt_counter.storage.segments import is_event_file
from receipt_counter.storage.sync import CHECKPOINTS, Mirror, Wanted


def follow(mirror: Mirror, path: Path, wanted: Wanted) -> set[str]:
    """Fetch what is new below a path; event files of training that began anew go as they went in the store.

    Args:
        mirror: the directory and the store.
        path: a directory of the mirror.
        wanted: says of a name relative to the path whether it is needed.

    Returns:
        What the store has of it, see `Mirror.pull`.

    Raises:
        StoreError: the store does not answer.
        UserError: the disk is full, or the directory cannot be written to.
    """
    there = mirror.pull(path, wanted)
    for file in path.rglob("events/*tfevents*"):
        name = mirror.name(file)
        if is_event_file(name) and name not in there:
            with writing(file):
                file.unlink(missing_ok=True)
    return there


def step(mirror: Mirror, only: str | None) -> None:
    """Fetch what is new; errors as for `follow`.

    Args:
        mirror: the directory and the store.
        only: name of the directories that are wanted, "events"; None takes everything but checkpoints.
    """

    def wanted(name: str) -> bool:
        above = name.split("/")[:-1]
        return CHECKPOINTS not in above if only is None else only in above

    follow(mirror, mirror.root, wanted)


def main() -> int:
    """Mirror until asked to stop.

    Returns:
        Exit status.
    """
    parser = argparse.ArgumentParser(prog="python -m receipt_counter.storage.mirror", description=__doc__)
    parser.add_argument("source", help="the store: s3://bucket/prefix")
    parser.add_argument("target", type=Path, help="the directory")
    parser.add_argument("--only", metavar="NAME", help="only files in directories of this name: events")
    parser.add_argument(
        "--every", type=float, default=10.0, metavar="SECONDS", help="pause between looks (default: 10)"
    )
    parser.add_argument("--once", action="store_true", help="look once")
    arguments = parser.parse_args()
    # every file is whole or absent, so nothing needs an end; the first process of a container ignores signals otherwise
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))
    try:
        mirror = Mirror(arguments.target.absolute(), Bucket(arguments.source))
    except UserError as error:
        print(error.message, file=sys.stderr)
        return error.status
    said = ""
    while True:
        try:
            with writing(mirror.root):
                mirror.root.mkdir(parents=True, exist_ok=True)
            step(mirror, arguments.only)
            failure, status = "", 0
        except UserError as error:
            failure, status = error.message, error.status
            if arguments.once or not isinstance(error, StoreError):
                print(failure, file=sys.stderr)
                return status
        if failure != said:
            print(failure or "the store answers again", file=sys.stderr, flush=True)
        said = failure
        if arguments.once:
            return 0
        time.sleep(arguments.every)


if __name__ == "__main__":
    sys.exit(main())
