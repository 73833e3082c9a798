"""The store: where runs, datasets and caches live."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from receipt_counter.config.loading import to_plain
from receipt_counter.config.schema import Config
from receipt_counter.errors import UserError

DEFAULT_LOCATION = "./experiments"


class Store:
    """A directory that holds everything runs leave behind.

    Args:
        root: absolute path; made on first use.
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
        return str(self.root)

    def run_directory(self, run_id: str) -> Path:
        """Directory of one run, there or not."""
        return self.runs / run_id

    def find_run(self, reference: str) -> Path:
        """The run directory a user means.

        Args:
            reference: a path, a run id, or an unambiguous beginning of one.

        Raises:
            UserError: no run or several fit.
        """
        return _find(reference, self.runs, "run.json", ("run", "runs"))

    def find_study(self, reference: str) -> Path:
        """The study directory a user means; arguments and errors as for `find_run`.

        A study file's `base_name` is one too: the study has it as Kubernetes writes names, in small letters and without
        underscores.
        """
        if not (Path(reference) / "experiment.yaml").is_file():
            reference = reference.lower().replace("_", "-")
        return _find(reference, self.studies, "experiment.yaml", ("study", "studies"))


def _find(reference: str, parent: Path, record: str, what: tuple[str, str]) -> Path:
    """The directory below `parent` that holds `record` and that a path, a name or the beginning of one means."""
    if (Path(reference) / record).is_file():
        return Path(reference)
    known = sorted(path.parent.name for path in parent.glob(f"*/{record}"))
    found = [name for name in known if name.startswith(reference)]
    if len(found) == 1:
        return parent / found[0]
    one, several = what
    shown = ", ".join((found or known)[:5]) or "none yet"
    what_is_there = f"several {several}" if found else f"no {one}"
    raise UserError(f"{reference}: {what_is_there} of that name in {parent}; there: {shown}")


def open_store(location: str | None = None) -> Store:
    """Open the store at a location.

    Args:
        location: a directory; None is ./experiments.

    Raises:
        UserError: a kind of location that is not supported, or a path that is no directory.
    """
    text = location or DEFAULT_LOCATION
    if "://" in text:
        raise UserError(
            f"--store {text}: only a directory can be a store so far, for example --store {DEFAULT_LOCATION}"
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
