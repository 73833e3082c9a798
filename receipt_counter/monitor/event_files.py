"""Reading TensorBoard event files while they grow: records framed as TFRecord, each a serialized `Event`.

A record is its length (8 bytes), that length's checksum (4), the data, and the data's checksum (4); checksums are
CRC-32C, masked (tensorflow/core/lib/io/record_writer.h). What is half-written is left for later.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import google_crc32c
import numpy as np
from google.protobuf.message import DecodeError
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.util.tensor_util import make_ndarray

_LENGTH = struct.Struct("<Q").unpack_from
_CHECKSUM = struct.Struct("<I").unpack_from
_DOUBLE = struct.Struct("<d").unpack_from
_FLOAT = struct.Struct("<f").unpack_from
_HEAD, _TAIL = 12, 4  # bytes before and after a record's data
_WALL_TIME, _STEP = 0x09, 0x10  # protobuf keys of the first two fields of an Event

MOST_TAGS = 2000  # of one run; a file that names more is not one of training
LONGEST_TAG = 512


def masked_crc(data: bytes) -> int:
    """The checksum that TFRecord keeps of some bytes."""
    crc = google_crc32c.value(data)
    return int(((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


@dataclass
class Points:
    """Points of one tag, in the order they were written."""

    steps: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)


@dataclass
class Chunk:
    """What a stretch of an event file holds.

    Attributes:
        parts: ({tag: points}, restart) in order; a restart is the first step of a continued run, at or after which
            everything that was written before counts no more, and comes before its points. None: no restart.
        consumed: bytes up to the end of the last whole record.
        problem: what is wrong with the file, once something is; nothing behind it can be read.
        damaged: records that were skipped because their data does not match its checksum.
    """

    parts: list[tuple[dict[str, Points], int | None]] = field(default_factory=lambda: [({}, None)])
    consumed: int = 0
    problem: str | None = None
    damaged: int = 0


class EventDecoder:
    """Decodes the records of a run's event files; remembers what scalars look like, which makes it fast."""

    def __init__(self) -> None:
        self._tags: dict[bytes, str | None] = {}

    def decode(self, data: bytes) -> Chunk:
        """Decode a stretch that begins with a record.

        A record whose data is corrupt is skipped; one whose length is corrupt ends what can be read of a file.

        Args:
            data: may end within a record.
        """
        chunk = Chunk()
        position, size = 0, len(data)
        while position + _HEAD <= size:
            (length,) = _LENGTH(data, position)
            end = position + _HEAD + length
            whole = end + _TAIL <= size
            payload = data[position + _HEAD : end] if whole else b""
            if not whole or masked_crc(payload) != _CHECKSUM(data, end)[0]:
                # only here is the length in doubt, so only here its checksum is worth the time
                if masked_crc(data[position : position + 8]) != _CHECKSUM(data, position + 8)[0]:
                    chunk.problem = "corrupt record length"
                    break
                if not whole:
                    break
                chunk.damaged += 1
            else:
                self._add(payload, chunk)
            position = end + _TAIL
        chunk.consumed = position
        return chunk

    def _add(self, payload: bytes, chunk: Chunk) -> None:
        """Add one event, by the short way if it is a single scalar in the form that protobuf writes."""
        tag, step, at = None, 0, 9
        if len(payload) > 24 and payload[0] == _WALL_TIME:
            if payload[9] == _STEP:
                byte, at = payload[10], 11
                step, shift = byte & 127, 7
                while byte > 127 and at < 20:
                    byte = payload[at]
                    step |= (byte & 127) << shift
                    at, shift = at + 1, shift + 7
            tag = self._tags.get(payload[at:-4])
        if tag is None:
            self._add_any(payload, payload[at:-4], chunk)
            return
        value = _FLOAT(payload, len(payload) - 4)[0]
        points = chunk.parts[-1][0].get(tag)
        if points is None:
            points = chunk.parts[-1][0][tag] = Points()
        points.steps.append(step)
        points.times.append(_DOUBLE(payload, 1)[0])
        points.values.append(value)

    def _add_any(self, payload: bytes, form: bytes, chunk: Chunk) -> None:
        try:
            event = Event.FromString(payload)
        except DecodeError:
            chunk.damaged += 1
            return
        if event.HasField("session_log") and event.session_log.status == SessionLog.START:
            chunk.parts.append(({}, event.step))
        for value in event.summary.value:
            number = _number(value)
            if number is None or len(value.tag) > LONGEST_TAG:
                continue
            points = chunk.parts[-1][0].setdefault(value.tag, Points())
            points.steps.append(event.step)
            points.times.append(event.wall_time)
            points.values.append(number)
            scalar = Event(summary=Summary(value=[Summary.Value(tag=value.tag, simple_value=1.0)]))
            if len(self._tags) < MOST_TAGS and scalar.SerializeToString()[:-4] == form:
                self._tags[form] = value.tag


def _number(value: Summary.Value) -> float | None:
    """The scalar in a summary; None for histograms, pictures, texts ..."""
    kind = value.WhichOneof("value")
    if kind == "simple_value":
        return float(value.simple_value)
    if kind != "tensor" or value.metadata.plugin_data.plugin_name not in ("scalars", ""):
        return None
    try:
        array = make_ndarray(value.tensor)
    except (TypeError, ValueError, IndexError):
        return None
    return float(array.reshape(-1)[0]) if array.size == 1 and np.issubdtype(array.dtype, np.number) else None
