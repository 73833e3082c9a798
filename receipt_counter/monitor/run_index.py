"""The index of one run's event files: how far each was read, and what is known of each tag without its points."""

from __future__ import annotations

import dataclasses
import math
import os
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from receipt_counter.monitor.columns import Columns
from receipt_counter.monitor.event_files import MOST_TAGS, EventDecoder, Part, PointArray

_STRETCH = 4 << 20  # bytes read at a time
_LONGEST_RECORD = 256 << 20


@dataclass
class FileState:
    """How far an event file was read.

    Attributes:
        inode: a file that was replaced by another of the same name is another file.
        offset: bytes that are in the columns.
        problem: why nothing behind `offset` can be read.
        damaged: records that were skipped.
        refused: the time of change, ns, of a file that could not be opened: it is tried again once that is another.
    """

    inode: int
    offset: int = 0
    problem: str | None = None
    damaged: int = 0
    refused: int | None = None

    def is_readable(self, status: os.stat_result) -> bool:
        """Whether there may be more to read."""
        return self.problem is None or (self.refused is not None and self.refused != status.st_ctime_ns)


@dataclass
class TagState:
    """What is known of a tag without its points.

    Attributes:
        number: names its columns.
        count: valid points in the columns.
        first_step: of the first point.
        last_step: of the last point.
        last_time: when it was written, seconds since 1970 by the writer's clock.
        last_value: None where it is no finite number.
    """

    number: int
    count: int = 0
    first_step: int = 0
    last_step: int = 0
    last_time: float = 0.0
    last_value: float | None = None

    def take(self, points: PointArray) -> None:
        """Let it know of the points that now are the last ones."""
        if not len(points):
            return
        if not self.count:
            self.first_step = int(points["step"][0])
        last = points[-1]
        self.last_step, self.last_time, self.last_value = int(last["step"]), float(last["time"]), finite(last["value"])


@dataclass
class RunIndex:
    """The index of a run; as plain JSON it lies in the catalogue.

    Attributes:
        files: {name: how far it was read}.
        tags: {tag: what is known of it}.
        generation: how often it began anew; each has columns of its own, so readers of the old ones are not disturbed.
    """

    files: dict[str, FileState] = field(default_factory=dict)
    tags: dict[str, TagState] = field(default_factory=dict)
    generation: int = 0

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> RunIndex:
        """The index that `to_plain` wrote."""
        return cls(
            {name: FileState(**state) for name, state in plain["files"].items()},
            {name: TagState(**state) for name, state in plain["tags"].items()},
            plain["generation"],
        )

    def to_plain(self) -> dict[str, Any]:
        """The index as JSON knows it."""
        return dataclasses.asdict(self)

    def columns(self, place: Path) -> Columns:
        """Its points, which lie in a folder that is this run's."""
        return Columns(place / str(self.generation))

    def begin_anew(self, place: Path) -> None:
        """Forget everything."""
        shutil.rmtree(self.columns(place).directory, ignore_errors=True)
        self.files.clear()
        self.tags.clear()
        self.generation += 1

    @property
    def points(self) -> int:
        """Of all tags together."""
        return sum(tag.count for tag in self.tags.values())

    @property
    def problems(self) -> list[str]:
        """What was wrong with its files, a sentence a file."""
        said = []
        for name, state in self.files.items():
            if state.problem:
                said.append(f"{name}: {state.problem} at byte {state.offset}; what follows cannot be read")
            elif state.damaged:
                said.append(f"{name}: {state.damaged} corrupt record{'s' * (state.damaged > 1)} skipped")
        return said


def finite(value: Any) -> float | None:
    """A number as JSON can hold it: None for nan and infinity."""
    number = float(value)
    return number if math.isfinite(number) else None


def event_files(directory: Path) -> dict[str, os.stat_result]:
    """{name: status} of a run's event files in the order they were begun; links are not followed."""
    try:
        if directory.is_symlink():
            return {}
        with os.scandir(directory) as entries:
            found = {e.name: e.stat(follow_symlinks=False) for e in entries if "tfevents" in e.name}
    except OSError:
        return {}
    return {name: found[name] for name in sorted(found) if stat.S_ISREG(found[name].st_mode)}


def began_anew(index: RunIndex, present: Mapping[str, os.stat_result]) -> bool:
    """Whether a file that the index knows is gone, was replaced or cut."""
    return any(
        name not in present or present[name].st_ino != state.inode or present[name].st_size < state.offset
        for name, state in index.files.items()
    )


def unread_bytes(index: RunIndex, present: Mapping[str, os.stat_result]) -> int:
    """How much `update_index` has to read."""
    states = index.files
    return sum(
        status.st_size - (states[name].offset if name in states else 0)
        for name, status in present.items()
        if name not in states or states[name].is_readable(status)
    )


def update_index(index: RunIndex, directory: Path, place: Path, decoder: EventDecoder) -> bool:
    """Read what was added to a run's event files.

    Args:
        index: changed in place; cleared first where a file it knows is gone or was replaced: the run began anew.
        directory: of the event files.
        place: where the run's points go.
        decoder: of this process.

    Returns:
        Whether anything changed.

    Raises:
        ColumnsLostError: the columns do not hold what the index says.
    """
    present = event_files(directory)
    changed = began_anew(index, present)
    if changed:
        index.begin_anew(place)
    columns = index.columns(place)
    for name, status in present.items():
        state = index.files.setdefault(name, FileState(status.st_ino))
        if status.st_size > state.offset and state.is_readable(status):
            before = (state.offset, state.problem)
            try:
                state.problem = state.refused = None
                _read_on(index, directory / name, state, columns, decoder)
            except FileNotFoundError:
                pass  # the next look tells
            except OSError as error:
                state.problem, state.refused = f"cannot be read ({error.strerror})", status.st_ctime_ns
            changed |= (state.offset, state.problem) != before
    return changed


def _read_on(index: RunIndex, path: Path, state: FileState, columns: Columns, decoder: EventDecoder) -> None:
    with open(path, "rb", opener=_unlinked) as file:
        stretch = _STRETCH
        while state.problem is None:
            file.seek(state.offset)
            data = file.read(stretch)
            chunk = decoder.decode(data)
            for part in chunk.parts:
                _add(index, part, columns)
            state.offset += chunk.consumed
            state.damaged += chunk.damaged
            state.problem = chunk.problem
            if len(data) < stretch:
                break
            # a record longer than the stretch, such as a picture
            stretch = _STRETCH if chunk.consumed else 2 * stretch
            if stretch > _LONGEST_RECORD:
                state.problem = f"a record of more than {_LONGEST_RECORD >> 20} MiB"


def _unlinked(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _add(index: RunIndex, part: Part, columns: Columns) -> None:
    if part.restart is not None:
        for tag in index.tags.values():
            if tag.count and tag.last_step >= part.restart:
                kept = columns.drop_from(tag.number, tag.count, part.restart)
                tag.count = len(kept)
                tag.take(kept)
    for name, points in part.points.items():
        state = index.tags.get(name)
        if state is None:
            if len(index.tags) >= MOST_TAGS:
                continue
            state = index.tags[name] = TagState(len(index.tags))
        columns.append(state.number, state.count, points)
        state.take(points)
        state.count += len(points)
