"""Reading TensorBoard event files while they grow: records framed as TFRecord, each a serialized `Event`.

A record is its length (8 bytes), that length's checksum (4), the data, and the data's checksum (4); checksums are
CRC-32C, masked (tensorflow/core/lib/io/record_writer.h). What is half-written is left for later.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import google_crc32c
import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.util.tensor_util import make_ndarray

POINT = np.dtype([("step", "<i8"), ("time", "<f8"), ("value", "<f4")])
PointArray = NDArray[np.void]

MOST_TAGS = 2000  # of one run; a file that names more is not one of training
LONGEST_TAG = 512

_LENGTH = struct.Struct("<Q").unpack_from
_CHECKSUM = struct.Struct("<I").unpack_from
_HEAD, _TAIL = 12, 4  # bytes before and after a record's data
_WALL_TIME, _STEP = 0x09, 0x10  # protobuf keys of the first two fields of an Event
_SHORTEST = 24  # bytes of an event that holds a scalar
_VARINT = 10  # bytes of the longest step
_SINGLY = 64  # records decoded one by one before the others are looked at again

Bytes = NDArray[np.uint8]
Integers = NDArray[np.int64]


def masked_crc(data: bytes) -> int:
    """The checksum that TFRecord keeps of some bytes."""
    crc = google_crc32c.value(data)
    return int(((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


class Part(NamedTuple):
    """Points of one life of a run.

    Attributes:
        restart: the first step of a continued run, at or after which all that was written before counts no more; None
            where the part only goes on.
        points: {tag: points}, in the order they were written.
    """

    restart: int | None
    points: dict[str, PointArray]


@dataclass
class Chunk:
    """What a stretch of an event file holds.

    Attributes:
        parts: in order.
        consumed: bytes up to the end of the last whole record.
        problem: what is wrong with the file, once something is; nothing behind it can be read.
        damaged: records that were skipped because their data does not match its checksum, or is no event.
    """

    parts: list[Part] = field(default_factory=list)
    consumed: int = 0
    problem: str | None = None
    damaged: int = 0


class _Frames(NamedTuple):
    """Where the data of whole records lies, and what else framing found."""

    starts: Integers
    lengths: Integers
    consumed: int
    problem: str | None
    damaged: int


class _Rows(NamedTuple):
    """Points of one tag, and the number of the record each comes from."""

    tag: str
    records: Integers
    points: PointArray


class EventDecoder:
    """Decodes the records of event files; remembers the form of each tag's scalars, which makes it fast."""

    def __init__(self) -> None:
        self._tags: dict[bytes, str] = {}

    def decode(self, data: bytes) -> Chunk:
        """Decode a stretch that begins with a record.

        A record whose data is corrupt is skipped; one whose length is corrupt ends what can be read of a file.

        Args:
            data: may end within a record.
        """
        frames = _frames(data)
        chunk = Chunk(consumed=frames.consumed, problem=frames.problem, damaged=frames.damaged)
        scalars = _Scalars(data, frames.starts, frames.lengths)
        rows: list[_Rows] = []
        restarts: list[tuple[int, int]] = []
        left, singly = np.arange(len(frames.starts)), _SINGLY
        while len(left):
            found, left = scalars.of_known_forms(left, self._tags)
            rows += found
            # some of what is left are decoded by protobuf, after which their like are known
            for number in left[:singly].tolist():
                payload = data[frames.starts[number] : frames.starts[number] + frames.lengths[number]]
                try:
                    event = Event.FromString(payload)
                except DecodeError:
                    chunk.damaged += 1
                    continue
                if event.HasField("session_log") and event.session_log.status == SessionLog.START:
                    restarts.append((number, event.step))
                rows += [_Rows(tag, np.array([number]), point) for tag, point in _points(event)]
                self._learn(event, scalars.form(number))
            left, singly = left[singly:], 2 * singly
        chunk.parts = _parts(rows, restarts)
        return chunk

    def _learn(self, event: Event, form: bytes) -> None:
        """Remember the form of an event, if it is a single scalar as protobuf writes it."""
        if len(event.summary.value) != 1 or len(self._tags) >= MOST_TAGS or form in self._tags:
            return
        tag = event.summary.value[0].tag
        like = Event(summary=Summary(value=[Summary.Value(tag=tag, simple_value=1.0)]))
        if len(tag) <= LONGEST_TAG and like.SerializeToString()[:-4] == form:
            self._tags[form] = tag


def _frames(data: bytes) -> _Frames:
    """Find the whole records of a stretch, and check them."""
    starts, ends, sums = [], [], []
    position, size, crc = 0, len(data), google_crc32c.value
    while position + _HEAD <= size:
        end = position + _HEAD + _LENGTH(data, position)[0]
        if end + _TAIL > size:
            break
        start = position + _HEAD
        starts.append(start)
        ends.append(end)
        sums.append(crc(data[start:end]))
        position = end + _TAIL
    first, last = np.array(starts, dtype=np.int64), np.array(ends, dtype=np.int64)
    computed = np.array(sums, dtype=np.uint64)
    masked = ((computed >> 15 | computed << 17) + 0xA282EAD8) & 0xFFFFFFFF
    wrong = np.flatnonzero(masked != _gather(data, last, 4).view("<u4")[:, 0])
    # a length is in doubt only where the data does not match, or does not end: only there its checksum is looked at
    for number in wrong.tolist():
        if not _length_holds(data, starts[number] - _HEAD):
            good = np.delete(np.arange(number), wrong[wrong < number])
            skipped = number - len(good)
            return _Frames(first[good], (last - first)[good], starts[number] - _HEAD, "corrupt record length", skipped)
    good = np.delete(np.arange(len(first)), wrong)
    torn = position + _HEAD <= size and not _length_holds(data, position)
    problem = "corrupt record length" if torn else None
    return _Frames(first[good], (last - first)[good], position, problem, len(wrong))


def _length_holds(data: bytes, position: int) -> bool:
    return masked_crc(data[position : position + 8]) == int(_CHECKSUM(data, position + 8)[0])


def _gather(data: bytes, places: Integers, width: int) -> Bytes:
    """The bytes at some places, [places, width]."""
    return np.ascontiguousarray(np.frombuffer(data, dtype=np.uint8)[places[:, None] + np.arange(width)])


class _Scalars:
    """Records seen as single scalars: time, step, form (what lies between step and value) and value.

    Args:
        data: what they lie in.
        starts: of each record's data.
        lengths: of it.
    """

    def __init__(self, data: bytes, starts: Integers, lengths: Integers) -> None:
        self._data, self._starts, self._lengths = data, starts, lengths
        bytes_ = np.frombuffer(data, dtype=np.uint8)
        self._usable = np.zeros(len(starts), dtype=bool)
        self._usable[:] = lengths > _SHORTEST
        usable = np.flatnonzero(self._usable)
        self._usable[usable] = bytes_[starts[usable]] == _WALL_TIME
        self._steps = np.zeros(len(starts), dtype=np.int64)
        self._forms = starts + 9
        stepped = usable[bytes_[starts[usable] + 9] == _STEP]
        self._forms[stepped] += 1
        for shift in range(0, 7 * _VARINT, 7):
            found = bytes_[np.minimum(self._forms[stepped], len(bytes_) - 1)].astype(np.int64)
            self._steps[stepped] |= (found & 127) << shift
            self._forms[stepped] += 1
            stepped = stepped[found > 127]
            if not len(stepped):
                break
        self._widths = starts + lengths - 4 - self._forms
        self._usable &= self._widths > 0

    def form(self, number: int) -> bytes:
        """The form of a record."""
        start = int(self._forms[number])
        return self._data[start : start + max(0, int(self._widths[number]))]

    def of_known_forms(self, numbers: Integers, tags: dict[bytes, str]) -> tuple[list[_Rows], Integers]:
        """The points of records whose form is known, and the records that are left."""
        rows, known = [], np.zeros(len(numbers), dtype=bool)
        widths = np.where(self._usable[numbers], self._widths[numbers], 0)
        by_width: dict[int, list[bytes]] = {}
        for form in tags:
            by_width.setdefault(len(form), []).append(form)
        for width, forms in by_width.items():
            places = np.flatnonzero(widths == width)
            if not len(places):
                continue
            found = _gather(self._data, self._forms[numbers[places]], width)
            for form in forms:
                same = (found == np.frombuffer(form, dtype=np.uint8)).all(axis=1)
                if same.any():
                    chosen = places[same]
                    known[chosen] = True
                    rows.append(_Rows(tags[form], numbers[chosen], self._points(numbers[chosen])))
        return rows, numbers[~known]

    def _points(self, numbers: Integers) -> PointArray:
        points = np.empty(len(numbers), POINT)
        points["step"] = self._steps[numbers]
        points["time"] = _gather(self._data, self._starts[numbers] + 1, 8).view("<f8")[:, 0]
        values = self._starts[numbers] + self._lengths[numbers] - 4
        points["value"] = _gather(self._data, values, 4).view("<f4")[:, 0]
        return points


def _points(event: Event) -> Iterator[tuple[str, PointArray]]:
    """(tag, point) of each scalar in an event."""
    for value in event.summary.value:
        number = _number(value)
        if number is not None and len(value.tag) <= LONGEST_TAG:
            with np.errstate(over="ignore"):
                yield value.tag, np.array([(event.step, event.wall_time, number)], dtype=POINT)


def _number(value: Summary.Value) -> float | None:
    """The scalar in a summary; None for histograms, pictures, texts ..."""
    kind = value.WhichOneof("value")
    if kind == "simple_value":
        return float(value.simple_value)
    if kind != "tensor" or value.metadata.plugin_data.plugin_name not in ("scalars", ""):
        return None
    # looked at first: a tensor is made as large as it says it is, from a single number
    if math.prod(dimension.size for dimension in value.tensor.tensor_shape.dim) != 1:
        return None
    try:
        array = make_ndarray(value.tensor)
    except (TypeError, ValueError, IndexError):
        return None
    return float(array.reshape(-1)[0]) if array.size == 1 and np.issubdtype(array.dtype, np.number) else None


def _parts(rows: Sequence[_Rows], restarts: Sequence[tuple[int, int]]) -> list[Part]:
    """Points by tag in the order they were written, cut where the run was continued."""
    by_tag: dict[str, list[_Rows]] = {}
    for row in rows:
        by_tag.setdefault(row.tag, []).append(row)
    whole = {}
    for tag, found in by_tag.items():
        records = np.concatenate([row.records for row in found])
        order = np.argsort(records, kind="stable")
        whole[tag] = (records[order], np.concatenate([row.points for row in found])[order])
    parts, begin = [], -1
    bounds = [*((number, step) for number, step in restarts), (np.iinfo(np.int64).max, None)]
    restart: int | None = None
    for end, step in bounds:
        inside = {tag: points[(records > begin) & (records < end)] for tag, (records, points) in whole.items()}
        parts.append(Part(restart, {tag: points for tag, points in inside.items() if len(points)}))
        begin, restart = end, step
    return parts
