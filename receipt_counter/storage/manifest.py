"""A directory's manifest: names, sizes and SHA-256 of its files. What has none is not complete."""

from __future__ import annotations

import hashlib
from pathlib import Path

from receipt_counter.errors import UserError
from receipt_counter.storage.files import read_json, write_json

MANIFEST = "manifest.json"


def write_manifest(directory: Path) -> None:
    """List every file below a directory in its manifest.

    Args:
        directory: complete but for the manifest.
    """
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    entries = [
        {"name": str(path.relative_to(directory)), "size": path.stat().st_size, "sha256": _sha256(path)}
        for path in files
    ]
    write_json(directory / MANIFEST, {"files": entries})


def verify(directory: Path) -> str | None:
    """Compare a directory with its manifest.

    Returns:
        What is wrong, or None.
    """
    try:
        entries = read_json(directory / MANIFEST)["files"]
    except (UserError, KeyError):
        return "it has no readable manifest"
    for entry in entries:
        path = directory / entry["name"]
        if not path.is_file():
            return f"{entry['name']} is missing"
        if path.stat().st_size != entry["size"] or _sha256(path) != entry["sha256"]:
            return f"{entry['name']} is corrupt"
    return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
