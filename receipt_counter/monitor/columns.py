"""The points of a run on disk: an append-only file a tag, of which only what the catalogue has counted is valid."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from receipt_counter.monitor.event_files import POINT, PointArray
from receipt_counter.storage.files import write_atomic, writing


class ColumnsLostError(Exception):
    """The files hold less than the catalogue says: the cache was damaged, and the run is to be read again."""


class Columns:
    """One run's columns.

    Args:
        directory: made on the first append.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def _file(self, number: int) -> Path:
        return self.directory / f"{number}.points"

    def read(self, number: int, count: int, start: int = 0) -> PointArray:
        """Points of a tag.

        Args:
            number: the tag's.
            count: how many there are.
            start: the first one wanted.

        Raises:
            ColumnsLostError: there are fewer.
        """
        if count <= start:
            return np.empty(0, POINT)
        try:
            points = np.fromfile(self._file(number), POINT, count - start, offset=start * POINT.itemsize)
        except FileNotFoundError:
            raise ColumnsLostError(f"{self._file(number)}: is missing") from None
        if len(points) != count - start:
            raise ColumnsLostError(f"{self._file(number)}: holds {start + len(points)} points instead of {count}")
        return points

    def append(self, number: int, count: int, points: PointArray) -> None:
        """Put points behind the first `count` ones; what a killed process left behind those is overwritten.

        Raises:
            ColumnsLostError: there are fewer than `count`.
            UserError: the disk is full, or the place cannot be written to.
        """
        with writing(self.directory):
            self._append(number, count, points)

    def _append(self, number: int, count: int, points: PointArray) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        with open(self._file(number), "ab") as file:
            if file.tell() < count * POINT.itemsize:
                raise ColumnsLostError(f"{self._file(number)}: holds fewer than {count} points")
            file.truncate(count * POINT.itemsize)
            points.tofile(file)

    def drop_from(self, number: int, count: int, step: int) -> PointArray:
        """Remove the points at or after a step; readers of the old file are not disturbed.

        Returns:
            The points that are left.

        Raises:
            ColumnsLostError, UserError: as for `append`.
        """
        points = self.read(number, count)
        kept = points[points["step"] < step]
        if len(kept) < count:
            write_atomic(self._file(number), kept.tobytes())
        return kept


def in_order(points: PointArray) -> PointArray:
    """Points with strictly rising steps: of a step that was written twice the later one counts."""
    steps = points["step"]
    if len(steps) < 2 or bool(np.all(steps[1:] > steps[:-1])):
        return points
    ordered = points[np.argsort(steps, kind="stable")]
    last = np.append(ordered["step"][1:] != ordered["step"][:-1], True)
    kept: PointArray = ordered[last]
    return kept
