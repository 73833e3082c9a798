"""Files that are either whole or absent: temporary name, fsync, rename, fsync of the parent directory."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import psutil

from receipt_counter.errors import UserError

# What the user can mend; any other OSError is a defect of ours and keeps its traceback.
_USERS_TROUBLE = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.EEXIST,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.ENAMETOOLONG,
    }
)

# Forks of a killed process, such as those that load its data, hold its locks until they are dead too.
_SECONDS_TO_LET_GO = 10.0


class InUseError(UserError):
    """Another process holds a directory."""


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a full disk or a forbidden place into a message that names the path.

    Args:
        path: what is being written, named in the message.

    Raises:
        UserError: the disk is full, or the place cannot be written to.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _USERS_TROUBLE:
            raise
        raise UserError(f"cannot write {path}: {error.strerror}") from error


def _lock(handle: TextIO) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def exclusive(directory: Path, what: str, *, wait: bool = False) -> Iterator[None]:
    """Hold a directory for this process; the lock goes with the process, however it ends.

    Args:
        directory: made where it is missing.
        what: it holds, for the message: "run" or "study".
        wait: until another process is done with it, instead of refusing.

    Raises:
        InUseError: another process is working on it and `wait` is off.
        UserError: the place cannot be written to.
    """
    with writing(directory):
        directory.mkdir(parents=True, exist_ok=True)
        handle = (directory / ".lock").open("a+")
    with handle:
        patience = time.monotonic() + _SECONDS_TO_LET_GO
        if wait:
            fcntl.flock(handle, fcntl.LOCK_EX)
        while not wait and not _lock(handle):
            handle.seek(0)
            owner = handle.read().strip() or "unknown"
            has_died = owner.isdigit() and not psutil.pid_exists(int(owner))
            if not has_died or time.monotonic() > patience:
                raise InUseError(f"{directory}: process {owner} is already working on this {what}")
            time.sleep(0.05)
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        yield


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write a file so that a reader, or a crash, finds the old content or the new, never a part.

    Args:
        path: where the file goes; missing parent directories are made.
        data: its content; text is written as UTF-8.

    Raises:
        UserError: the disk is full, or the place cannot be written to.
    """
    content = data.encode("utf-8") if isinstance(data, str) else data
    temporary = _temporary_name(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _fsync(path.parent)


def write_json(path: Path, obj: Any) -> None:
    """Write an object as indented JSON, atomically.

    Raises:
        ValueError: it holds nan or infinity, which JSON does not have.
        UserError: see `write_atomic`.
    """
    write_atomic(path, json.dumps(obj, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        UserError: it is missing, unreadable or no JSON; the message says which, and where it breaks.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text (byte {error.start})") from error
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}: is not valid JSON: {error.msg}") from error


@contextlib.contextmanager
def atomic_directory(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Fill a directory so that it appears complete or not at all.

    Args:
        path: where the directory goes. An empty directory there is taken over.
        replace: whether a directory with content there gives way to the new one. It is moved aside first, so a
            crash in that instant leaves neither under this name; the new one is complete on disk by then.

    Yields:
        A temporary directory beside `path`, on the same file system. When the block ends, everything below it is
        fsynced and it is renamed to `path`; when the block raises, it is removed.

    Raises:
        UserError: `path` is in use and `replace` is off, the disk is full, or the place cannot be written to.
    """
    _require_free(path, replace)
    temporary = _temporary_name(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path)
        temporary.mkdir()
        try:
            yield temporary
            _fsync_tree(temporary)
            _require_free(path, replace)
            _move_into_place(temporary, path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        _fsync(path.parent)


def remove_leftovers(directory: Path) -> None:
    """Remove what killed processes left half-written in a directory that is this process's alone.

    Args:
        directory: nobody else writes there; hold its lock.
    """
    for leftover in directory.glob(".*.tmp"):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()


def _temporary_name(path: Path) -> Path:
    name = f".{path.absolute().name}.{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}.tmp"
    return path.absolute().with_name(name)


def _remove_abandoned(path: Path) -> None:
    """Remove what killed processes of this machine left of the same directory; another machine's may be alive."""
    whole = path.absolute()
    pattern = re.compile(rf"\.{re.escape(whole.name)}\.{re.escape(socket.gethostname())}-(\d+)-[0-9a-f]+\.tmp")
    for entry in whole.parent.iterdir():
        found = pattern.fullmatch(entry.name)
        if found and not psutil.pid_exists(int(found[1])):
            shutil.rmtree(entry, ignore_errors=True)


def _require_free(path: Path, replace: bool) -> None:
    if path.is_dir():
        if not replace and any(path.iterdir()):
            raise UserError(f"{path}: already exists and is not empty; name another directory or remove it first")
    elif path.exists() or path.is_symlink():
        raise UserError(f"{path}: is in the way: a directory goes there, and it is none")


def _move_into_place(source: Path, path: Path) -> None:
    if not path.is_dir() or not any(path.iterdir()):
        os.replace(source, path)
        return
    aside = _temporary_name(path)
    os.replace(path, aside)
    try:
        os.replace(source, path)
    except BaseException:
        os.replace(aside, path)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _fsync_tree(directory: Path) -> None:
    for parent, _, names in os.walk(directory):
        for name in names:
            _fsync(Path(parent) / name)
        _fsync(Path(parent))


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
