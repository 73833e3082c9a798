"""What a process sends to the store of a directory that is its own: whole things only, what speaks of them last."""

from __future__ import annotations

import tarfile
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from receipt_counter.storage.files import writing
from receipt_counter.storage.labels import SUFFIX
from receipt_counter.storage.manifest import MANIFEST
from receipt_counter.storage.remote import Entry, in_parallel
from receipt_counter.storage.segments import contiguous, is_event_file, segment_name, split_segment, whole_records
from receipt_counter.storage.sync import BUNDLE, DATASET, FINAL, IMAGES, Mirror, mirror_of, sealed_directory


class Pusher:
    """Sends a directory, again and again as it changes. Nobody else writes there meanwhile, so one listing is enough.

    Args:
        mirror: that the directory lies in.
        directory: what is sent; hidden files stay here.
    """

    def __init__(self, mirror: Mirror, directory: Path) -> None:
        self._mirror, self._bucket, self._directory = mirror, mirror.bucket, directory
        self._name = mirror.name(directory)
        self._listing: dict[str, Entry] | None = None
        self._sent: dict[str, tuple[int, int]] = {}  # {name: (time of change, size) of the file as it was sent}
        self._lock = threading.RLock()

    @property
    def _there(self) -> dict[str, Entry]:
        if self._listing is None:
            self._listing = self._bucket.entries(f"{self._name}/")
        return self._listing

    def push(self, *, logs: bool = True, hold: Path | None = None) -> None:
        """Send everything that is not there as it is here.

        Args:
            logs: also `*.log`, which grow and travel whole.
            hold: a file that is not sent yet.

        Raises:
            StoreError: something could not be sent; what was sent is kept, and the next call goes on.
        """
        with self._lock:
            sealed, plain = set(), []
            for path in self._files(self._directory):
                name = self._mirror.name(path)
                found = sealed_directory(name)
                if found is not None:
                    sealed.add(found)
                elif not is_event_file(name) and path != hold and (logs or path.suffix != ".log"):
                    plain.append(path)
            self.push_events()
            for directory, seal in sorted(sealed):
                self.push_sealed(self._mirror.root / directory, seal)
            last = [path for path in plain if path.name in FINAL]
            in_parallel(self.push_file, [path for path in plain if path.name not in FINAL])
            for path in sorted(last, key=lambda path: FINAL.index(path.name)):
                self.push_file(path)

    def push_file(self, path: Path, *, as_path: Path | None = None) -> None:
        """Send a file, unless it is there; one that is gone meanwhile is left out.

        Args:
            path: the file.
            as_path: the path it is sent as, where that is another one.
        """
        name = self._mirror.name(as_path or path)
        try:
            status = path.stat()
            version = status.st_mtime_ns, status.st_size
            if self._sent.get(name) == version:
                return
            there = self._there.get(name)
            if there is None or there.size != status.st_size or there.etag != self._bucket.etag_of(path):
                self._there[name] = self._bucket.put(name, path)
            self._sent[name] = version
        except FileNotFoundError:
            return

    def push_events(self) -> None:
        """Send what event files have grown by, and labels; remove what is there of files that are no longer here."""
        with self._lock:
            sizes: dict[str, list[tuple[int, int]]] = {}
            for name, entry in self._there.items():
                if found := split_segment(name):
                    sizes.setdefault(found[0], []).append((found[1], entry.size))
            here = {self._mirror.name(path): path for path in self._files(self._directory)}
            files = {name: path for name, path in here.items() if is_event_file(name)}
            self._delete(segment_name(name, offset) for name in sizes.keys() - files for offset, _ in sizes[name])
            for name, path in sorted(files.items()):
                end = contiguous(sizes.get(name, ()))
                while content := whole_records(path, end):
                    segment = segment_name(name, end)
                    self._there[segment] = self._bucket.put(segment, content)
                    end += len(content)
            for name, path in here.items():
                if name.endswith(SUFFIX):
                    self.push_file(path)

    def has_sealed(self, path: Path, seal: str = MANIFEST) -> bool:
        """Whether a directory is there as it is here."""
        with self._lock:
            there = self._there.get(f"{self._mirror.name(path)}/{seal}")
            return there is not None and there.etag == self._bucket.etag_of(path / seal)

    def push_sealed(self, path: Path, seal: str = MANIFEST, *, as_path: Path | None = None) -> None:
        """Send a directory that counts only with its seal: the seal goes last, and an outdated one is removed first.

        Args:
            path: the directory.
            seal: name of the file that says it is whole.
            as_path: the path it is sent as, where that is another one.
        """
        with self._lock:
            name = self._mirror.name(as_path or path)
            there, sealed = self._there.get(f"{name}/{seal}"), path / seal
            if not sealed.is_file() or (there is not None and there.etag == self._bucket.etag_of(sealed)):
                return
            self._delete([f"{name}/{seal}"])
            with _bundled(path, seal) as files:
                names = {f"{name}/{relative}": file for relative, file in files.items()}
                self._delete([known for known in self._there if known.startswith(f"{name}/") and known not in names])

                def put(item: tuple[str, Path]) -> None:
                    known, file = self._there.get(item[0]), item[1]
                    if known is None or known.size != file.stat().st_size or known.etag != self._bucket.etag_of(file):
                        self._there[item[0]] = self._bucket.put(*item)

                in_parallel(put, names.items())
            self._there[f"{name}/{seal}"] = self._bucket.put(f"{name}/{seal}", sealed)

    def remove_sealed(self, path: Path, seal: str = MANIFEST) -> None:
        """Remove a directory there, its seal first."""
        with self._lock:
            name = self._mirror.name(path)
            self._delete([f"{name}/{seal}"])
            self._delete([known for known in self._there if known.startswith(f"{name}/")])

    def folders(self, path: Path) -> list[str]:
        """Names of the directories there that lie right below a path."""
        prefix = f"{self._mirror.name(path)}/"
        found = {known.removeprefix(prefix) for known in self._there if known.startswith(prefix)}
        return sorted({rest.partition("/")[0] for rest in found if "/" in rest})

    def _delete(self, names: Iterable[str]) -> None:
        gone = [name for name in names if name in self._there]
        self._bucket.delete(gone)
        for name in gone:
            del self._there[name]

    def _files(self, directory: Path) -> list[Path]:
        return [
            path
            for path in sorted(directory.rglob("*"))
            if not any(part.startswith(".") for part in path.relative_to(self._directory).parts) and path.is_file()
        ]


@contextmanager
def _bundled(path: Path, seal: str) -> Iterator[dict[str, Path]]:
    """{name: file} of what is to be sent of a sealed directory but its seal; a dataset's images are one file."""
    files = {file.relative_to(path).as_posix(): file for file in sorted(path.rglob("*")) if file.is_file()}
    del files[seal]
    if seal != DATASET:
        yield files
        return
    with tempfile.TemporaryDirectory(prefix=".bundle.", suffix=".tmp", dir=path.parent) as scratch, writing(path):
        bundle = Path(scratch) / BUNDLE
        images = {name: file for name, file in files.items() if name.startswith(f"{IMAGES}/")}
        with tarfile.open(bundle, "w", format=tarfile.PAX_FORMAT) as archive:
            for name, file in images.items():
                archive.add(file, name, recursive=False, filter=_anonymous)
        yield {**{name: file for name, file in files.items() if name not in images}, BUNDLE: bundle}


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """The same picture makes the same bundle, whoever packs it and when."""
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    member.mode = 0o644
    return member


def push(path: Path) -> None:
    """Send a file, or all of a directory; nothing to do where the store is a directory.

    Raises:
        StoreError: it could not be sent; it is kept here.
    """
    mirror = mirror_of(path)
    if mirror is None:
        return
    pusher = Pusher(mirror, path if path.is_dir() else path.parent)
    seal = next((seal for seal in (DATASET, MANIFEST) if (path / seal).is_file()), None)
    if seal is not None:
        pusher.push_sealed(path, seal)
    elif path.is_dir():
        pusher.push()
    else:
        pusher.push_file(path)
