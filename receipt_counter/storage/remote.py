"""Stores of objects, as far as they can be spoken of without speaking to one: URLs, listings, failures.

Apart from `objects`, which imports a client: every command would wait for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from receipt_counter.errors import UserError

SCHEME = "s3://"
WORKERS = 8  # objects that travel at a time
_URL = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<prefix>.*))?")

S = TypeVar("S")
T = TypeVar("T")


class StoreError(UserError):
    """The store did not do what it was asked.

    Attributes:
        is_temporary: whether the same may succeed later without anybody mending anything here.
    """

    def __init__(self, message: str, *, is_temporary: bool = False) -> None:
        super().__init__(message, status=1)
        self.is_temporary = is_temporary


class DamagedError(StoreError):
    """What came is not what was sent."""

    def __init__(self, message: str) -> None:
        super().__init__(message, is_temporary=True)


@dataclass(frozen=True)
class Entry:
    """What a listing says of an object: its size in bytes and its ETag."""

    size: int
    etag: str


def is_url(text: str) -> bool:
    """Whether a location is one of objects."""
    return text.startswith(SCHEME)


def split_url(url: str) -> tuple[str, str]:
    """The bucket and the prefix, without slashes at its ends.

    Raises:
        UserError: it is no such URL.
    """
    found = _URL.fullmatch(url)
    prefix = (found["prefix"] or "").strip("/") if found else ""
    if found is None or any(part in ("", ".", "..") for part in prefix.split("/") if prefix):
        raise UserError(f"{url}: not a URL of the form s3://bucket/prefix")
    return found["bucket"], prefix


def in_parallel(function: Callable[[S], T], items: Iterable[S]) -> list[T]:
    """Apply a function to items in threads; the first failure is raised once all that began have ended."""
    waiting = list(items)
    if len(waiting) < 2:
        return [function(item) for item in waiting]
    with ThreadPoolExecutor(WORKERS) as pool:
        futures = [pool.submit(function, item) for item in waiting]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()
