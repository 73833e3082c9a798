"""Files are whole or absent, and a user's trouble is a message."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receipt_counter.errors import UserError
from receipt_counter.storage.files import atomic_directory, exclusive, read_json, write_atomic, write_json, writing

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


@pytest.mark.parametrize(
    ("data", "content"),
    [
        pytest.param(b"\x00\xff", b"\x00\xff", id="bytes"),
        pytest.param("Grüße\n", "Grüße\n".encode(), id="text is UTF-8"),
        pytest.param(b"", b"", id="empty"),
    ],
)
def test_write_atomic_replaces_and_leaves_no_temporary_file(tmp_path: Path, data: bytes | str, content: bytes) -> None:
    path = tmp_path / "deep" / "file"
    write_atomic(path, "old")
    write_atomic(path, data)
    assert path.read_bytes() == content
    assert names(path.parent) == {"file"}


def test_write_atomic_respects_the_umask(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("x")
    write_atomic(tmp_path / "file", "x")
    assert (tmp_path / "file").stat().st_mode == plain.stat().st_mode


@given(JSON)
def test_json_round_trip(tmp_path_factory: pytest.TempPathFactory, obj: object) -> None:
    path = tmp_path_factory.mktemp("json") / "file.json"
    write_json(path, obj)
    assert read_json(path) == obj


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_write_json_refuses_what_json_does_not_have(tmp_path: Path, value: float) -> None:
    path = tmp_path / "file.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": value})
    assert read_json(path) == {"a": 1}
    assert names(tmp_path) == {"file.json"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(None, "no such file", id="missing"),
        pytest.param(b'{"a": 1,\n "b"', "file.json:2: is not valid JSON", id="cut short"),
        pytest.param(b'"\xff"', "is not UTF-8 text", id="not text"),
    ],
)
def test_read_json_names_the_trouble(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "file.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_json(path)


def test_read_json_of_a_directory_is_a_message(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_json(tmp_path)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EROFS], ids=["full", "forbidden", "read-only"])
def test_writing_explains_what_the_user_can_mend(code: int) -> None:
    with pytest.raises(UserError, match="cannot write place: "), writing(Path("place")):
        raise OSError(code, os.strerror(code))


def test_writing_leaves_our_own_defects_alone() -> None:
    with pytest.raises(OSError, match="bad"), writing(Path("place")):
        raise OSError(errno.EBADF, "bad")


def test_writing_below_a_file_is_a_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="cannot write"):
        write_atomic(tmp_path / "file" / "below", "y")


def test_full_disk_is_a_message() -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    with pytest.raises(UserError, match="No space left"), writing(Path("x")), open("/dev/full", "wb", 0) as file:
        file.write(b"x")


def test_atomic_directory_appears_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "target"
    with atomic_directory(target) as temporary:
        (temporary / "sub").mkdir()
        (temporary / "sub" / "file").write_text("x")
        assert not target.exists()
        assert temporary.parent == target.parent
    assert (target / "sub" / "file").read_text() == "x"
    assert names(target.parent) == {"target"}


def test_atomic_directory_leaves_nothing_after_a_failure(tmp_path: Path) -> None:
    def fill_and_fail() -> None:
        with atomic_directory(tmp_path / "target") as temporary:
            (temporary / "file").write_text("x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill_and_fail()
    assert names(tmp_path) == set()


def test_atomic_directory_takes_over_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    with atomic_directory(tmp_path / "target") as temporary:
        (temporary / "file").write_text("x")
    assert names(tmp_path / "target") == {"file"}


def test_atomic_directory_in_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with atomic_directory(Path("target")) as temporary:
        (temporary / "file").write_text("x")
    assert names(tmp_path / "target") == {"file"}


@pytest.mark.parametrize("kind", ["directory with content", "file", "dangling link"])
def test_atomic_directory_refuses_what_is_in_the_way(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "target"
    if kind == "directory with content":
        target.mkdir()
        (target / "old").write_text("x")
    elif kind == "file":
        target.write_text("x")
    else:
        target.symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match="target: "), atomic_directory(target):
        pytest.fail("the block must not run")
    assert names(tmp_path) == {"target"}


@pytest.mark.parametrize("fails", [False, True])
def test_atomic_directory_replaces_only_when_asked_and_only_on_success(tmp_path: Path, fails: bool) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "old").write_text("x")

    def fill() -> None:
        with atomic_directory(target, replace=True) as temporary:
            (temporary / "new").write_text("y")
            if fails:
                raise ValueError("broken")

    if fails:
        with pytest.raises(ValueError, match="broken"):
            fill()
    else:
        fill()
    assert names(target) == ({"old"} if fails else {"new"})
    assert names(tmp_path) == {"target"}


KILLED_IN_THE_MIDDLE = """
import sys, time
from pathlib import Path
from receipt_counter.storage.files import atomic_directory
with atomic_directory(Path(sys.argv[1])) as temporary:
    (temporary / "file").write_text("x")
    print("half-way", flush=True)
    time.sleep(60)
"""


def test_killed_in_the_middle_leaves_nothing_for_good(tmp_path: Path) -> None:
    target = tmp_path / "target"
    command = [sys.executable, "-c", KILLED_IN_THE_MIDDLE, str(target)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"half-way\n"
        time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    assert not target.exists()
    alive = tmp_path / f".target.{socket.gethostname()}-{os.getpid()}-00.tmp"
    elsewhere = tmp_path / f".target.another-machine-{process.pid}-00.tmp"
    for being_written in (alive, elsewhere):
        being_written.mkdir()
    assert len(names(tmp_path)) == 3
    with atomic_directory(target) as temporary:
        (temporary / "file").write_text("again")
    assert (target / "file").read_text() == "again"
    assert names(tmp_path) == {"target", alive.name, elsewhere.name}


def test_what_a_killed_owner_forked_is_waited_for(tmp_path: Path) -> None:
    """A fork holds its parent's locks; killed with it, it may need a moment longer to die."""
    code = f"""
import os, signal, time
from pathlib import Path
from receipt_counter.storage.files import exclusive
with exclusive(Path({str(tmp_path)!r}), "run"):
    if os.fork():
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.5)
"""
    subprocess.run([sys.executable, "-c", code], check=False)
    with exclusive(tmp_path, "run"), pytest.raises(UserError, match=f"process {os.getpid()} is already working"):
        exclusive(tmp_path, "run").__enter__()
