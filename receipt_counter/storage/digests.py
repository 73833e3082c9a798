"""What identifies content to an object store."""

from __future__ import annotations

import errno
import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

CHUNK = 2**20  # bytes read at a time


@contextmanager
def opened(content: Path | bytes) -> Iterator[tuple[BinaryIO, int]]:
    """A file to read and how many bytes of it."""
    if isinstance(content, bytes):
        yield io.BytesIO(content), len(content)
        return
    with content.open("rb") as file:
        yield file, os.fstat(file.fileno()).st_size


def digests(file: BinaryIO, size: int, part: int) -> tuple[str, str]:
    """SHA-256 of the first `size` bytes, and the ETag that S3 gives them: MD5, or MD5 of the parts' MD5."""
    whole, left = hashlib.sha256(), size
    parts: list[Any] = []
    while left or not parts:
        digest, left_of_part = hashlib.md5(usedforsecurity=False), min(part, left)
        left -= left_of_part
        while left_of_part:
            chunk = file.read(min(CHUNK, left_of_part))
            if not chunk:
                raise OSError(errno.EIO, "the file became shorter while it was read")
            whole.update(chunk)
            digest.update(chunk)
            left_of_part -= len(chunk)
        parts.append(digest)
    if len(parts) == 1:
        return whole.hexdigest(), parts[0].hexdigest()
    joined = hashlib.md5(b"".join(digest.digest() for digest in parts), usedforsecurity=False)
    return whole.hexdigest(), f"{joined.hexdigest()}-{len(parts)}"
