"""What produced a run: the version of this code and of the libraries that decide its numbers."""

from __future__ import annotations

import functools
import hashlib
import platform
from importlib import metadata
from pathlib import Path

import receipt_counter

PACKAGE_DIRECTORY = Path(receipt_counter.__file__).parent
LIBRARIES = ("torch", "transformers", "deepspeed", "kfp", "tokenizers", "sacrebleu", "rouge-score")


@functools.cache
def code_version() -> str:
    """Version of the library by content: its release and a hash over its source files.

    Returns:
        For example "0.1.0+3fa94c1b22d0"; it changes with any source file, committed or not.
    """
    digest = hashlib.sha256()
    for path in sorted(PACKAGE_DIRECTORY.rglob("*")):
        if path.suffix in (".py", ".yaml", ".html", ".j2", ".css") and path.is_file():
            digest.update(str(path.relative_to(PACKAGE_DIRECTORY)).encode())
            digest.update(path.read_bytes())
    return f"{receipt_counter.__version__}+{digest.hexdigest()[:12]}"


def library_versions() -> dict[str, str]:
    """Python's and the deciding libraries' versions, those that are installed."""
    versions = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
