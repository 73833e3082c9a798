"""The store: where runs, datasets and caches live."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from receipt_counter.config.loading import to_plain
from receipt_counter.config.schema import Config
from receipt_counter.errors import UserError
from receipt_counter.storage.remote import is_url
from receipt_counter.storage.sync import locate, mirror_of, open_mirror, pull, uri

DEFAULT_LOCATION = "./experiments"


class Store:
    """A directory that holds everything runs leave behind.

    Args:
        root: absolute path; made on first use. That of a mirror is a store of objects: see `storage.sync`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def runs(self) -> Path:
        """Parent of all run directories."""
        return self.root / "runs"

    @property
    def studies(self) -> Path:
        """Parent of all study directories."""
        return self.root / "studies"

    @property
    def models(self) -> Path:
        """Parent of the registry's models: `<name>/<version>`."""
        return self.root / "models"

    @property
    def datasets(self) -> Path:
        """Parent of the datasets rendered for runs."""
        return self.root / "datasets"

    @property
    def pipeline(self) -> Path:
        """Where kfp's local runner keeps the small files of each step."""
        return self.root / "pipeline"

    @property
    def cache(self) -> Path:
        """Where kfp's local runner remembers finished steps."""
        return self.root / "cache"

    @property
    def location(self) -> str:
        """What another process or machine opens it by: its URL, or the directory."""
        return uri(self.root)

    def names(self, parent: Path, record: str) -> list[str]:
        """Names of the directories below `parent` that hold a file of the name `record`, sorted.

        In a store of objects also those that are only there, whatever they hold.
        """
        here = {path.parent.name for path in parent.glob(f"*/{record}")}
        mirror = mirror_of(parent)
        return sorted(here if mirror is None else here.union(mirror.bucket.folders(f"{mirror.name(parent)}/")))

    def pull_records(self) -> None:
        """Have run.json and config.yaml of every run here."""
        mirror = mirror_of(self.runs)
        if mirror is not None:
            mirror.pull(self.runs, lambda name: name.count("/") == 1 and name.endswith(("run.json", "config.yaml")))

    def run_directory(self, run_id: str) -> Path:
        """Directory of one run, there or not."""
        return self.runs / run_id

    def find_run(self, reference: str, *parts: str) -> Path:
        """The run directory a user means, with its content here.

        Args:
            reference: a path, a URL, a run id, or an unambiguous beginning of one.
            parts: what of it is needed, see `storage.sync.pull`.

        Raises:
            UserError: no run or several fit.
        """
        return self._find(reference, self.runs, "run.json", ("run", "runs"), parts)

    def find_study(self, reference: str) -> Path:
        """The study directory a user means, with its content here; arguments and errors as for `find_run`.

        A study file's `base_name` is one too: the study has it as Kubernetes writes names, in small letters and without
        underscores.
        """
        if not is_url(reference) and not (Path(reference) / "experiment.yaml").is_file():
            reference = reference.lower().replace("_", "-")
        return self._find(reference, self.studies, "experiment.yaml", ("study", "studies"))

    def _find(
        self, reference: str, parent: Path, record: str, what: tuple[str, str], parts: tuple[str, ...] = ()
    ) -> Path:
        """The directory below `parent` that holds `record` and that a path, a name or the beginning of one means."""
        if is_url(reference):
            return locate(reference, *parts)
        if (Path(reference) / record).is_file():
            pull(Path(reference), *parts)
            return Path(reference)
        known = self.names(parent, record)
        found = [name for name in known if name.startswith(reference)]
        if len(found) == 1:
            pull(parent / found[0], *parts)
            return parent / found[0]
        one, several = what
        shown = ", ".join((found or known)[:5]) or "none yet"
        what_is_there = f"several {several}" if found else f"no {one}"
        raise UserError(f"{reference}: {what_is_there} of that name in {uri(parent)}; there: {shown}")


def open_store(location: str | None = None) -> Store:
    """Open the store at a location.

    Args:
        location: a directory, or s3://bucket/prefix, which is mirrored on this machine; None is ./experiments.

    Raises:
        UserError: a kind of location that is not supported, or a path that is no directory.
    """
    text = location or DEFAULT_LOCATION
    if is_url(text):
        return Store(open_mirror(text).root)
    if "://" in text:
        raise UserError(
            f"--store {text}: a store is a directory, for example {DEFAULT_LOCATION}, or s3://bucket/prefix"
        )
    root = Path(text).resolve()
    if root.exists() and not root.is_dir():
        raise UserError(f"--store {text}: this is a file, not a directory")
    return Store(root)


def run_id(config: Config, data_fingerprint: str, code_version: str) -> str:
    """Identity of a run: the same inputs give the same id, so running them again is a no-op.

    The dataset counts by content, not by where it lies, and the experiment's name does not count at all.

    Args:
        config: the resolved config, its seed included.
        data_fingerprint: content hash of the dataset.
        code_version: version of this library by content.

    Returns:
        12 hexadecimal characters.
    """
    tree = to_plain(config)
    del tree["data"]["path"], tree["data"]["render"]
    if (nodes := tree.pop("cluster")["nodes"]) > 1:  # they share the batch, as processes do
        tree["nodes"] = nodes
    text = json.dumps([tree, data_fingerprint, code_version], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
