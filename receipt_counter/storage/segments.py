"""Event files as objects: what has grown travels as a new object, cut between records, and nothing travels twice.

`FILE.000000004096` holds the bytes of FILE from 4096 on; the digits make names sort as they were written, and each
object is an event file that TensorBoard could read. Joined they are FILE again, byte by byte.

A record (TensorFlow's TFRecord): length (8 bytes, little-endian), its CRC (4), the content, its CRC (4).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from pathlib import Path

LARGEST = 8 * 2**20  # bytes of a segment
_HEADER, _FRAME = 8, 16
_NAME = re.compile(r"(?P<file>(?:.*/)?events/[^/]*tfevents[^/]*)\.(?P<offset>\d{12})")


def is_event_file(name: str) -> bool:
    """Whether a file's name, relative to its run, is that of events."""
    return _NAME.fullmatch(f"{name}.{0:012d}") is not None


def segment_name(file: str, offset: int) -> str:
    """Name of the object that holds a file's bytes from `offset` on."""
    return f"{file}.{offset:012d}"


def split_segment(name: str) -> tuple[str, int] | None:
    """The file and the offset of a segment; None for other names."""
    found = _NAME.fullmatch(name)
    return (found["file"], int(found["offset"])) if found else None


def whole_records(file: Path, start: int) -> bytes:
    """The complete records of an event file from an offset on, at most about LARGEST bytes.

    Args:
        file: the file; its writer may be in the middle of a record.
        start: an offset between two records.
    """
    with file.open("rb") as stream:
        end = start
        size = stream.seek(0, 2)
        while end + _HEADER <= size and end - start < LARGEST:
            stream.seek(end)
            (length,) = struct.unpack("<Q", stream.read(_HEADER))
            if end + length + _FRAME > size:
                break
            end += length + _FRAME
        stream.seek(start)
        return stream.read(end - start)


def join(target: Path, offset: int, content: bytes) -> None:
    """Append a segment to a file; what a killed call left of it is written over.

    Args:
        target: the file, which holds at least `offset` bytes.
        offset: where the segment begins.
        content: of the segment.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("ab") as stream:
        stream.truncate(offset)
        stream.write(content)


def contiguous(sizes: Iterable[tuple[int, int]]) -> int:
    """Length of a file of which these segments (offset, size) are there, as far as none is missing."""
    end = 0
    for offset, size in sorted(sizes):
        if offset != end:
            break
        end += size
    return end
