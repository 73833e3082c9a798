"""The store's registry: published models, `models/<name>/<version>`, and which version of each is the current one.

A version looks like the run it came from (`config.yaml run.json model/ evaluation/`), with a card and a manifest, and
never changes. `CURRENT` names the current one and is written last.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from receipt_counter.errors import UserError
from receipt_counter.storage.files import atomic_directory, exclusive, read_json, remove_leftovers, write_atomic
from receipt_counter.storage.manifest import MANIFEST, verify, write_manifest
from receipt_counter.storage.ownership import lease
from receipt_counter.storage.pusher import push
from receipt_counter.storage.run import Run
from receipt_counter.storage.store import Store
from receipt_counter.storage.sync import mirror_of, pull

DEFAULT_MODEL = "receipt-counter"
CURRENT = "CURRENT"
CARD = "card.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Version:
    """A published version.

    Attributes:
        model: the name it was published under.
        number: 1, 2, 3 ...
        directory: where it lies.
    """

    model: str
    number: int
    directory: Path

    def __str__(self) -> str:
        return f"{self.model}/{self.number}"

    @property
    def run(self) -> Run:
        """The run it was published from, as far as it was copied."""
        return Run.open(self.directory)

    @property
    def run_id(self) -> str:
        """Id of that run."""
        identity: str = self.run.record["run_id"]
        return identity

    @property
    def card(self) -> dict[str, Any]:
        """What card.json says."""
        content: dict[str, Any] = read_json(self.directory / CARD)
        return content

    def check(self) -> None:
        """Have all files here, and compare them with the manifest.

        Raises:
            UserError: one is missing or corrupt.
        """
        pull(self.directory)
        problem = verify(self.directory)
        if problem:
            raise UserError(f"{self.directory}: {problem}; restore it from a copy, or use another version")


class Registry:
    """The versions of one model.

    Args:
        store: where it is.
        model: its name.

    Raises:
        UserError: no name for a model.
    """

    def __init__(self, store: Store, model: str = DEFAULT_MODEL) -> None:
        if not _NAME.fullmatch(model):
            raise UserError(
                f"model name {model!r}: letters, digits, '.', '_' and '-' only, for example {DEFAULT_MODEL}"
            )
        self.model, self.directory = model, store.models / model
        self._pull()

    def _pull(self) -> None:
        """Have all that is there but the weights, which `Version.check` fetches."""
        mirror = mirror_of(self.directory)
        if mirror is not None:
            mirror.pull(self.directory, lambda name: "/model/" not in name)

    def versions(self) -> list[Version]:
        """All complete versions, the oldest first."""
        numbers = (number for number in self._numbers() if (self.directory / str(number) / MANIFEST).is_file())
        return [self._version(number) for number in sorted(numbers)]

    def version(self, number: str) -> Version:
        """One version.

        Raises:
            UserError: there is none of that number.
        """
        known = self.versions()
        found = next((version for version in known if str(version.number) == number), None)
        if found is None:
            there = ", ".join(str(version.number) for version in known) or "none yet"
            raise UserError(f"{self.model}/{number}: no such version in {self.directory}; there: {there}")
        return found

    def current(self) -> Version | None:
        """The current version; None before the first one.

        Raises:
            UserError: CURRENT names a version that is not there.
        """
        file = self.directory / CURRENT
        return self.version(file.read_text(encoding="utf-8").strip()) if file.exists() else None

    def publish(self, run_id: str, instead_of: Version | None, fill: Callable[[Path, int], None]) -> Version | None:
        """Publish a version and make it the current one; whenever this is killed, either the old or the new one is.

        Args:
            run_id: of the run it comes from. Where a publication of this run was killed just before its version became
                the current one, that is done now, instead of publishing it twice.
            instead_of: the current version it was found to be better than.
            fill: puts all files but the manifest into a directory; also given the version's number.

        Returns:
            The version; None, and nothing is published, where another process has made another version the current one.

        Raises:
            UserError: the disk is full, or the place cannot be written to.
        """
        with exclusive(self.directory, "model", wait=True), self._lease():
            self._pull()
            if self.current() != instead_of:
                return None
            remove_leftovers(self.directory)
            since = [v for v in self.versions() if instead_of is None or v.number > instead_of.number]
            version = next((v for v in since if v.run_id == run_id), None)
            if version is None:
                version = self._version(max(self._numbers(), default=0) + 1)
                with atomic_directory(version.directory) as staged:
                    fill(staged, version.number)
                    write_manifest(staged)
            push(version.directory)
            write_atomic(self.directory / CURRENT, f"{version.number}\n")
            push(self.directory / CURRENT)
            return version

    def _lease(self) -> AbstractContextManager[None]:
        """Keeps other machines from publishing meanwhile."""
        mirror = mirror_of(self.directory)
        return nullcontext() if mirror is None else lease(mirror.bucket, mirror.name(self.directory))

    def _version(self, number: int) -> Version:
        return Version(self.model, number, self.directory / str(number))

    def _numbers(self) -> list[int]:
        return [int(path.name) for path in self.directory.glob("[0-9]*") if path.name.isdecimal()]


def all_models(store: Store) -> list[Registry]:
    """Every model that has a version, by name."""
    names = [name for name in store.names(store.models, "*") if _NAME.fullmatch(name)]
    return [registry for registry in (Registry(store, name) for name in names) if registry.versions()]


def find_version(reference: str, store: Store) -> Version | None:
    """The version a user means by NAME (its current one) or NAME/VERSION.

    Returns:
        None where no model of that name is registered.

    Raises:
        UserError: the model has no such version, or no current one.
    """
    name, slash, number = reference.partition("/")
    registry = next((registry for registry in all_models(store) if registry.model == name), None)
    if registry is None:
        return None
    version = registry.version(number) if slash else registry.current()
    if version is None:
        there = ", ".join(str(known) for known in registry.versions())
        raise UserError(f"{name}: no version of it is the current one; there: {there}")
    return version
