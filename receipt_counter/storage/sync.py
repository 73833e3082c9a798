"""Local directories that mirror an object store: code works on files, which are pulled before and pushed when whole.

A mirror's root holds MARKER, which says what it mirrors, so any path below it knows where it belongs:
`uri(path)` is what other machines call it, `locate(uri)` the way back. Where a store is a plain directory, `uri`
returns the path, and `pull` and `push` do nothing.

What has a seal (manifest.json of checkpoints, models and versions; dataset.json) counts only with it: it is written
last and removed first, here and there.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import shutil
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from receipt_counter.errors import UserError
from receipt_counter.storage.files import atomic_directory, exclusive, write_json, writing
from receipt_counter.storage.manifest import MANIFEST, verify
from receipt_counter.storage.record import OWNER, RUNNING
from receipt_counter.storage.remote import DamagedError, Entry, in_parallel, is_url, split_url
from receipt_counter.storage.segments import join, split_segment

if TYPE_CHECKING:  # it imports a client: every command would wait for it
    from receipt_counter.storage.objects import Bucket

SCRATCH = "RECEIPT_COUNTER_SCRATCH"  # directory for the mirrors; else the user's cache
MARKER = ".remote.json"
DATASET = "dataset.json"
IMAGES, BUNDLE = "images", "images.tar"  # a dataset's thousands of small files travel as one object
# Written after what they speak of, in this order.
FINAL = ("metrics.json", "LATEST", "CURRENT", "sweep.json", "run.json", MANIFEST)
CHECKPOINTS = "checkpoints"
_RECORDS = ("run.json", "owner.json")
_SEALED = re.compile(r"(?P<dataset>datasets/[^/]+)/.*|(?P<rest>runs/[^/]+/(?:checkpoints/(?:step|best)-\d+|model))/.*")
_VERSION = re.compile(r"(models/[^/]+/\d+)/.*")
# The last that could be one: a store's own prefix may have such names too.
_IN_STORE = re.compile(r"(?P<store>s3://.+)/(?P<path>(?:runs|studies|datasets|models)/.+)")

Wanted = Callable[[str], bool]


def sealed_directory(name: str) -> tuple[str, str] | None:
    """The directory that a file of a store belongs to and that appears whole, and its seal; None for other files."""
    found = _SEALED.fullmatch(name)
    if found is None:
        return None
    return (found["dataset"], DATASET) if found["dataset"] else (found["rest"], MANIFEST)


class Mirror:
    """A local directory and the prefix it mirrors.

    Args:
        root: the directory.
        bucket: the objects.
    """

    def __init__(self, root: Path, bucket: Bucket) -> None:
        self.root, self.bucket = root, bucket
        self._same: dict[Path, tuple[int, int, int, str]] = {}  # {file: its time, size and inode, and the ETag it has}

    def name(self, path: Path) -> str:
        """What a path below the root is called in the bucket; "" for the root."""
        relative = path.absolute().relative_to(self.root).as_posix()
        return "" if relative == "." else relative

    def url(self, path: Path) -> str:
        """What other machines call a path."""
        return f"{self.bucket.url}/{self.name(path)}".rstrip("/")

    def pull(self, path: Path, wanted: Wanted = lambda name: True) -> set[str]:
        """Fetch what is missing or has changed below a path; what was fetched before is not fetched again.

        Args:
            path: a directory of the mirror; where the store has none it is left as it is.
            wanted: says of a name relative to the path whether it is needed.

        Returns:
            Names, relative to the root, of the event files and other loose files that the store has of it.

        Raises:
            StoreError: the store does not answer.
            UserError: the disk is full, or the place cannot be written to.
        """
        prefix = f"{self.name(path)}/".lstrip("/")
        entries = self.bucket.entries(prefix)
        sealed: dict[tuple[str, str], dict[str, Entry]] = {}
        events: dict[str, dict[int, int]] = {}
        plain: dict[str, Entry] = {}
        whole = {
            found[1] for name in entries if (found := _VERSION.fullmatch(name)) and f"{found[1]}/{MANIFEST}" in entries
        }
        for name, entry in entries.items():
            version = _VERSION.fullmatch(name)
            below = name.removeprefix(prefix)
            if _is_hidden(below) or not wanted(below) or (version and version[1] not in whole):
                continue
            if f"{prefix}{DATASET}" in entries:
                sealed.setdefault((prefix.rstrip("/"), DATASET), {})[name] = entry
            elif (directory := sealed_directory(name)) is not None:
                sealed.setdefault(directory, {})[name] = entry
            elif (segment := split_segment(name)) is not None:
                events.setdefault(segment[0], {})[segment[1]] = entry.size
            else:
                plain[name] = entry
        for (directory_name, seal), content in sorted(sealed.items()):
            if f"{directory_name}/{seal}" in content:
                self._pull_sealed(directory_name, seal, content)
        for file, sizes in sorted(events.items()):
            self._pull_events(file, sizes)
        self._pull_plain(plain)
        return {*events, *plain}

    def pull_sealed(self, path: Path, seal: str = MANIFEST) -> bool:
        """Fetch a directory that appears whole, checked, or not at all.

        Returns:
            Whether it is there.

        Raises:
            DamagedError: what the store has is not what its manifest says.
        """
        name = self.name(path)
        entries = self.bucket.entries(f"{name}/")
        if f"{name}/{seal}" not in entries:
            return False
        self._pull_sealed(name, seal, entries)
        return True

    def _pull_sealed(self, name: str, seal: str, entries: Mapping[str, Entry]) -> None:
        path = self.root / name
        # one process at a time: those that wait find it done, and nobody replaces what another has begun to read
        with exclusive(self.root / ".pulling", "store", wait=True):
            if not self._is_same(path / seal, entries[f"{name}/{seal}"]):
                self._fetch_sealed(path, name, seal, entries)

    def _fetch_sealed(self, path: Path, name: str, seal: str, entries: Mapping[str, Entry]) -> None:
        with atomic_directory(path, replace=True) as staged:
            in_parallel(lambda one: self.bucket.get(one, staged / one[len(name) + 1 :]), entries)
            bundle = staged / BUNDLE
            if seal == DATASET and bundle.exists():
                _unpack(bundle, staged)
            problem = verify(staged) if seal == MANIFEST else None
            if problem:
                raise DamagedError(f"{self.bucket.url}/{name}: {problem}")

    def _pull_events(self, file: str, sizes: Mapping[int, int]) -> None:
        target = self.root / file
        with writing(target):
            for offset, size in sorted(sizes.items()):
                here = target.stat().st_size if target.exists() else 0
                if here >= offset + size:
                    continue
                content = self.bucket.read(f"{file}.{offset:012d}") if here >= offset else None
                if content is None:  # removed meanwhile, or the one before it is not listed yet
                    return
                join(target, offset, content)

    def _pull_plain(self, entries: Mapping[str, Entry]) -> None:
        changed = [name for name, entry in entries.items() if not self._is_same(self.root / name, entry)]
        last = [name for name in changed if Path(name).name in FINAL]
        in_parallel(self._get, [name for name in changed if name not in last])
        for name in sorted(last, key=lambda name: (FINAL.index(Path(name).name), -name.count("/"))):
            self._get(name)

    def _get(self, name: str) -> None:
        if not self._is_newer_here(name):
            self.bucket.get(name, self.root / name)

    def _is_newer_here(self, name: str) -> bool:
        """Whether a record is of work that this machine does, or has ended and could not send yet."""
        path = self.root / name
        owner = path.with_name(OWNER)
        if path.name not in _RECORDS or not (path.exists() and owner.exists()):
            return False
        there = json.loads(self.bucket.read(name) or b"{}")
        return bool(there.get("status") == RUNNING and there.get("owner") == owner.read_text(encoding="utf-8").strip())

    def _is_same(self, path: Path, entry: Entry) -> bool:
        """Whether a file is the object; one that has not changed since that was found is not read again."""
        if not path.is_file() or (status := path.stat()).st_size != entry.size:
            return False
        found = (status.st_mtime_ns, status.st_size, status.st_ino, entry.etag)
        if self._same.get(path) != found:
            if self.bucket.etag_of(path) != entry.etag:
                return False
            self._same[path] = found
        return True


def _is_hidden(name: str) -> bool:
    """Whether a name is one of those that machines keep to themselves or tell each other of who works on what."""
    return name.startswith(".") or "/." in name


def _unpack(bundle: Path, directory: Path) -> None:
    """Unpack files alone, below the directory alone (`extractall` has no filter before Python 3.11.4)."""
    top = directory.resolve()
    with writing(directory):
        try:
            with tarfile.open(bundle) as archive:
                for member in archive:
                    target = (top / member.name).resolve()
                    content = archive.extractfile(member) if member.isfile() and target.is_relative_to(top) else None
                    if content is None:
                        raise DamagedError(f"{bundle}: cannot be unpacked: {member.name}: not a file of its own")
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with target.open("wb") as file:
                        shutil.copyfileobj(content, file)
        except tarfile.TarError as error:
            raise DamagedError(f"{bundle}: cannot be unpacked: {error}") from None
        bundle.unlink()


def mirror_of(path: Path) -> Mirror | None:
    """The mirror that a path lies in; None where it lies in none."""
    whole = path.absolute()
    root = next((place for place in (whole, *whole.parents) if (place / MARKER).is_file()), None)
    return None if root is None else _mirror(root, os.getpid())


@functools.lru_cache(maxsize=16)
def _mirror(root: Path, process: int) -> Mirror:
    """Connections are not shared with the processes that fork from this one."""
    from receipt_counter.storage.objects import Bucket

    marker: dict[str, Any] = json.loads((root / MARKER).read_text(encoding="utf-8"))
    return Mirror(root, Bucket(marker["url"]))


def open_mirror(url: str) -> Mirror:
    """The mirror of a URL on this machine.

    Args:
        url: s3://bucket/prefix.

    Raises:
        UserError: no such URL, or there is no place for a mirror.
    """
    from receipt_counter.storage.connection import connection

    bucket, prefix = split_url(url)
    whole = "s3://" + "/".join(filter(None, (bucket, prefix)))
    identity = hashlib.sha256(f"{connection().endpoint} {whole}".encode()).hexdigest()[:12]
    readable = re.sub(r"[^A-Za-z0-9.-]+", "-", "-".join(filter(None, (bucket, prefix))))[-60:]
    root = _scratch() / "stores" / f"{readable}-{identity}"
    if not (root / MARKER).exists():
        write_json(root / MARKER, {"url": whole})
    found = mirror_of(root)
    assert found is not None
    return found


def _scratch() -> Path:
    named = os.environ.get(SCRATCH)
    if named:
        return Path(named).absolute()
    cache = os.environ.get("XDG_CACHE_HOME") or (f"{os.environ['HOME']}/.cache" if os.environ.get("HOME") else "/tmp")
    return Path(cache) / "receipt-counter"


def uri(path: Path) -> str:
    """What any machine calls a path: its URL where it lies in a mirror, else the path itself."""
    mirror = mirror_of(path)
    return str(path) if mirror is None else mirror.url(path)


def locate(text: str, *parts: str) -> Path:
    """The path that a uri means, with its content here.

    Args:
        text: what `uri` returned, or any path or URL of a dataset that a user names.
        parts: what is needed of a run, see `pull`.

    Raises:
        UserError: no such URL, or the store has nothing there.
    """
    path = place_of(text)
    mirror = mirror_of(path) if is_url(text) else None
    if mirror is None or _fetch_file(mirror, path):
        return path
    pull(path, *parts)
    if not path.exists():
        raise UserError(f"{text}: there is nothing whole")
    return path


def place_of(text: str) -> Path:
    """The path that a uri means, whatever is there.

    Args:
        text: see `locate`.
    """
    if not is_url(text):
        return Path(text)
    bucket, prefix = split_url(text)
    inside = _IN_STORE.fullmatch(f"s3://{bucket}/{prefix}")
    store, name = (inside["store"], inside["path"]) if inside else _parent(text, bucket, prefix)
    return open_mirror(store).root / name


def _parent(text: str, bucket: str, prefix: str) -> tuple[str, str]:
    """A dataset beside any store: the mirror of what it lies in, and its name there."""
    if not prefix:
        raise UserError(f"{text}: name what lies in the bucket, s3://{bucket}/NAME")
    above, _, name = prefix.rpartition("/")
    return f"s3://{bucket}/{above}".rstrip("/"), name


def _fetch_file(mirror: Mirror, path: Path) -> bool:
    """Fetch a single file, if it is one."""
    name = mirror.name(path)
    if not path.suffix or path.is_dir() or mirror.bucket.etag(name) is None:
        return False
    mirror.bucket.get(name, path)
    return True


def pull(path: Path, *parts: str) -> None:
    """Fetch what the store has below a path; nothing to do where the store is a directory.

    Args:
        path: a directory.
        parts: directories right below it that are needed, beside the files right below it; none means everything but
            checkpoints, which only training needs and asks for itself.
    """
    mirror = mirror_of(path)
    if mirror is None:
        return

    def wanted(name: str) -> bool:
        first, below, _ = name.partition("/")
        return (first in parts if parts else first != CHECKPOINTS) if below else True

    mirror.pull(path, wanted)


def remove_tree(path: Path) -> None:
    """Remove what a directory holds but its lock."""
    for entry in path.iterdir() if path.is_dir() else ():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != ".lock":
            entry.unlink()
