"""The index of a run: what was read is never read again, and no crash doubles or loses a point."""

from __future__ import annotations

import copy
import errno
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receipt_counter.errors import UserError
from receipt_counter.monitor import run_index
from receipt_counter.monitor.columns import ColumnsLostError
from receipt_counter.monitor.event_files import EventDecoder
from receipt_counter.monitor.run_index import RunIndex, event_files, unread_bytes, update_index
from tests.monitor.support import restart, scalar, write_events


class Reader:
    """An index that reads a run's event files."""

    def __init__(self, directory: Path) -> None:
        self.run, self.place = directory / "run", directory / "cache"
        self.index, self.decoder = RunIndex(), EventDecoder()

    def read(self) -> bool:
        return update_index(self.index, self.run / "events", self.place, self.decoder)

    def points(self, tag: str = "loss") -> list[tuple[int, float]]:
        state = self.index.tags[tag]
        points = self.index.columns(self.place).read(state.number, state.count)
        return list(zip(points["step"].tolist(), points["value"].tolist(), strict=True))


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    return Reader(tmp_path)


def losses(*steps: int, value: float = 1.0) -> bytes:
    return b"".join(scalar("loss", step, value) for step in steps)


@given(st.lists(st.integers(1, 5), max_size=8), st.booleans())
def test_a_growing_file_gives_each_point_once(
    tmp_path_factory: pytest.TempPathFactory, grows: list[int], restarted: bool
) -> None:
    reader, content, step = Reader(tmp_path_factory.mktemp("run")), b"", 0
    for count in grows:
        content += losses(*range(step, step + count))
        step += count
        write_events(reader.run, content + losses(99)[:7])  # and a record that is being written
        reader.read()
        if restarted:  # the monitor, not the run
            reader.index = RunIndex.from_plain(reader.index.to_plain())
    if step:
        assert reader.points() == [(number, 1.0) for number in range(step)]
    assert not reader.read()


def test_what_was_read_is_not_read_again(reader: Reader) -> None:
    content = losses(1, 2, 3)
    file = write_events(reader.run, content)
    reader.read()
    with file.open("r+b") as opened:  # the same file: reading its beginning would find zeros, and stop
        opened.write(b"\0" * len(content))
        opened.seek(0, 2)
        opened.write(losses(4))
    assert reader.read()
    assert [step for step, _ in reader.points()] == [1, 2, 3, 4]
    assert reader.index.problems == []


def test_a_continued_run_takes_back_what_the_killed_one_wrote_later(reader: Reader) -> None:
    write_events(reader.run, losses(1, 2, 3, 4))
    reader.read()
    write_events(reader.run, restart(3) + losses(3, 4, 5, value=2.0), number=1)
    reader.read()
    assert reader.points() == [(1, 1.0), (2, 1.0), (3, 2.0), (4, 2.0), (5, 2.0)]


def test_files_are_read_in_the_order_they_were_begun(reader: Reader) -> None:
    write_events(reader.run, losses(3), number=2)
    write_events(reader.run, losses(1, 2), number=1)
    reader.read()
    assert [step for step, _ in reader.points()] == [1, 2, 3]


@pytest.mark.parametrize("how", ["replaced", "cut", "gone"])
def test_a_run_that_began_anew_is_read_anew(reader: Reader, how: str) -> None:
    file = write_events(reader.run, losses(*range(20)))
    reader.read()
    if how == "replaced":
        other = file.with_name("other")
        other.write_bytes(losses(7, value=3.0) * 30)
        other.rename(file)
        expected = [(7, 3.0)] * 30
    elif how == "cut":
        file.write_bytes(losses(7, value=3.0))
        expected = [(7, 3.0)]
    else:
        file.unlink()
        write_events(reader.run, losses(8), number=9)
        expected = [(8, 1.0)]
    assert reader.read()
    assert reader.points() == expected


def test_points_of_a_monitor_that_died_before_it_remembered_them_count_once(reader: Reader) -> None:
    write_events(reader.run, losses(1, 2))
    reader.read()
    remembered = copy.deepcopy(reader.index)
    write_events(reader.run, losses(1, 2, 3, 4)[len(losses(1, 2)) :], number=1)
    reader.read()
    reader.index = remembered
    reader.read()
    assert [step for step, _ in reader.points()] == [1, 2, 3, 4]


def test_columns_that_were_lost_are_noticed(reader: Reader) -> None:
    write_events(reader.run, losses(1, 2))
    reader.read()
    shutil.rmtree(reader.place)
    with pytest.raises(ColumnsLostError):
        reader.points()
    write_events(reader.run, losses(3), number=1)
    with pytest.raises(ColumnsLostError):
        reader.read()


def test_a_record_longer_than_what_is_read_at_a_time(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receipt_counter.monitor.run_index._STRETCH", 64)
    write_events(reader.run, losses(1) + scalar("t" * 500, 1, 1.0) + losses(2, 3))
    reader.read()
    assert [step for step, _ in reader.points()] == [1, 2, 3]


def test_a_broken_file_does_not_stop_the_next_one(reader: Reader) -> None:
    write_events(reader.run, losses(1) + b"\xff" * 50, number=1)
    write_events(reader.run, losses(2), number=2)
    reader.read()
    assert not reader.read()
    assert [step for step, _ in reader.points()] == [1, 2]
    (problem,) = reader.index.problems
    assert "corrupt record length at byte" in problem


def test_a_file_that_could_not_be_opened_is_tried_again_once_it_changed(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_events(reader.run, losses(1, 2))

    def refuse(path: str, flags: int) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(run_index, "_unlinked", refuse)
        assert reader.read()
        assert reader.index.problems == [
            f"{file.name}: cannot be read (Permission denied) at byte 0; what follows cannot be read"
        ]
        assert not reader.read(), "nothing new to tell"
    present = event_files(file.parent)
    assert unread_bytes(reader.index, present) == 0, "no worker is asked for what cannot be opened"
    file.chmod(0o600)
    assert reader.read()
    assert (reader.index.problems, len(reader.points())) == ([], 2)


def test_a_full_disk_is_no_fault_of_the_event_file(reader: Reader) -> None:
    write_events(reader.run, losses(1, 2))
    reader.place.write_text("a file where the columns are to lie")
    with pytest.raises(UserError, match="cannot write"):
        reader.read()
    assert reader.index.problems == []


def test_a_link_put_in_place_of_an_event_file_is_not_followed(reader: Reader, tmp_path: Path) -> None:
    """Between the look at the directory and the opening of the file."""
    file = write_events(reader.run, losses(1))
    present = event_files(file.parent)
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_index, "event_files", lambda directory: present)
        reader.read()
    assert "loss" not in reader.index.tags
