"""Reading files that anybody may have written: nothing outside the folder, nothing endless, nothing JSON cannot say."""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

JSON_LIMIT = 4 << 20  # bytes; a run.json has about 4 KB
_DEPTH = 40


class UnreadableError(Exception):
    """A file cannot be shown; the text says why, for people."""


def read_inside(root: Path, path: Path, limit: int = JSON_LIMIT) -> bytes:
    """Read a regular file that lies in a folder, wherever links on the way may lead.

    Args:
        root: the folder, resolved.
        path: the file.
        limit: bytes it may have.

    Raises:
        FileNotFoundError: it is not there.
        UnreadableError: it leads out of the folder, is no regular file, is too large or may not be read.
    """
    with os.fdopen(open_inside(root, path, limit), "rb") as file:
        return file.read(limit)


def open_inside(root: Path, path: Path, limit: int) -> int:
    """Like `read_inside`, but returns the open file's descriptor."""
    try:
        real = path.resolve(strict=True)
        if not real.is_relative_to(root):
            raise UnreadableError(f"{path.name}: leads out of the folder; it is not followed")
        descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)  # a pipe would block for ever
    except FileNotFoundError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        raise UnreadableError(f"{path.name}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_size > limit:
        os.close(descriptor)
        what = f"has {status.st_size / 1e6:,.0f} MB" if stat.S_ISREG(status.st_mode) else "is no regular file"
        raise UnreadableError(f"{path.name}: {what}; it is not read")
    return descriptor


def read_json_inside(root: Path, path: Path, limit: int = JSON_LIMIT) -> Any:
    """The content of a JSON file, as `clean` leaves it; arguments and errors as for `read_inside`."""
    try:
        return clean(json.loads(read_inside(root, path, limit)))
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"{path.name}: is not valid JSON: {error}"[:300]) from None


def clean(value: Any, depth: int = _DEPTH) -> Any:
    """A value as JSON can carry it to a browser: no nan, no infinity, no broken text, no endless depth."""
    if isinstance(value, str):
        return text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if not isinstance(value, (dict, list, tuple)):
        return value if value is None or isinstance(value, (bool, int)) else text(str(value))
    if depth == 0:
        raise ValueError(f"nested more than {_DEPTH} deep")
    if isinstance(value, dict):
        return {text(str(key)): clean(item, depth - 1) for key, item in value.items()}
    return [clean(item, depth - 1) for item in value]


def text(value: str, limit: int | None = None) -> str:
    """A text that is valid Unicode, shortened if it is longer than a limit."""
    valid = value.encode("utf-8", "backslashreplace").decode("utf-8")
    return valid if limit is None or len(valid) <= limit else valid[: limit - 1] + "…"


def number(value: Any) -> float | None:
    """A finite number, or None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def mapping(value: Any) -> Mapping[str, Any]:
    """A mapping, or an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def mappings(value: Any) -> dict[str, dict[str, Any]]:
    """The mappings that a mapping holds; what else is in it is left out."""
    return {name: item for name, item in mapping(value).items() if isinstance(item, dict)}
