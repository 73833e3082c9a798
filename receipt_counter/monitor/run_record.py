"""What run.json and config.yaml of a run say, whatever is in them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from receipt_counter.monitor.reading import (
    UnreadableError,
    clean,
    mapping,
    number,
    read_inside,
    read_json_inside,
    text,
)
from receipt_counter.storage.run import STATUSES

NOT_YET_READ = "config.yaml: is yet to be read"

_CONFIG_LIMIT = 1 << 20
_MOST_KEYS = 2000
_MOST_ALIASES = 16
_DEEPEST = 20
_LONGEST_NAME = 300
_YAML_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Stamp = tuple[int, int, int]  # mtime in ns, size, inode: another one means another content


def stamp(path: Path) -> Stamp | None:
    """What tells whether a file has changed; None where there is none."""
    try:
        status = os.stat(path, follow_symlinks=False)
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_size, status.st_ino)


@dataclass
class RunRecord:
    """A run's record and config.

    Attributes:
        record: content of run.json; empty if it is unreadable.
        problem: why it is.
        config: {dotted key: value}.
        config_problem: why it is empty.
    """

    record: dict[str, Any] = field(default_factory=dict)
    problem: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    config_problem: str | None = None

    @property
    def status(self) -> str:
        """One of run.json's, or "unreadable"."""
        found = self.record.get("status")
        return found if self.problem is None and found in STATUSES else "unreadable"

    @property
    def error(self) -> str | None:
        """What went wrong, whole."""
        if self.problem:
            return self.problem
        error = self.record.get("error")
        message = mapping(error).get("message", error)
        if message:
            return str(message)
        unknown = self.status == "unreadable"
        return f"run.json: status is {self.record.get('status')!r}, which is none"[:_LONGEST_NAME] if unknown else None

    @property
    def lineage(self) -> Mapping[str, Any]:
        """What the run came from."""
        return mapping(self.record.get("lineage"))

    def name(self, key: str, source: Mapping[str, Any] | None = None) -> str | None:
        """A text of the record, or of a part of it, shortened."""
        found = (self.record if source is None else source).get(key)
        return text(str(found), _LONGEST_NAME) if isinstance(found, (str, int, float)) else None

    @property
    def metrics(self) -> dict[str, float]:
        """The top-level figures, those that are numbers; before the first evaluation those of val."""
        found = mapping(self.record.get("metrics")) or mapping(mapping(self.record.get("splits")).get("val"))
        numbers = {str(name): number(value) for name, value in found.items()}
        return {name: value for name, value in numbers.items() if value is not None}

    @cached_property
    def signature(self) -> str:
        """What runs have in common that differ only in the seed."""
        return config_signature(self.config)


def config_signature(config: Mapping[str, Any]) -> str:
    """A hash over a flat config without its seed, and without what only says where it runs."""
    kept = {k: v for k, v in config.items() if k != "seed" and not k.startswith("cluster.")}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()[:12]


def read_record(root: Path, directory: Path, *, config: bool = True) -> RunRecord:
    """Read a run's record and config.

    Args:
        root: the folder that nothing is read from outside of.
        directory: the run's.
        config: whether config.yaml is read at once; YAML takes ten times as long as the record.

    Raises:
        FileNotFoundError: there is no run.json.
    """
    found = RunRecord()
    try:
        record = read_json_inside(root, directory / "run.json")
        if isinstance(record, dict):
            found.record = record
        else:
            found.problem = f"run.json: holds a {type(record).__name__}, not a record"
    except UnreadableError as error:
        found.problem = str(error)
    found.config, found.config_problem = read_config(root, directory) if config else ({}, NOT_YET_READ)
    return found


def read_config(root: Path, directory: Path) -> tuple[dict[str, Any], str | None]:
    """{dotted key: value} of a run's config.yaml, and why it is empty; arguments as for `read_record`."""
    try:
        written = read_inside(root, directory / "config.yaml", _CONFIG_LIMIT)
        refuse_aliases("config.yaml", written)
        content = flat(yaml.load(written, _YAML_LOADER))
    except FileNotFoundError:
        return {}, "config.yaml: is not there"
    except UnreadableError as error:
        return {}, str(error)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        return {}, f"config.yaml: cannot be read: {' '.join(str(error).split())}"[:_LONGEST_NAME]
    return content, None


def refuse_aliases(name: str, content: bytes) -> None:
    """Refuse YAML whose aliases may multiply without end.

    Args:
        name: the file's.
        content: what it holds; other mistakes are for whoever reads it.

    Raises:
        UnreadableError: it has too many.
    """
    if content.count(b"*") <= _MOST_ALIASES:
        return
    try:
        aliases = sum(isinstance(event, yaml.AliasEvent) for event in yaml.parse(content, _YAML_LOADER))
    except yaml.YAMLError:
        return
    if aliases > _MOST_ALIASES:
        raise UnreadableError(f"{name}: has {aliases} YAML aliases; it is not read")


def flat(tree: Any) -> dict[str, Any]:
    """{dotted key: value} of a config.

    Raises:
        ValueError: it is no mapping, too large, or has no end (YAML's anchors can lead back).
    """
    if not isinstance(tree, dict):
        raise ValueError(f"holds a {type(tree).__name__}, not a config")
    found: dict[str, Any] = {}
    branches: list[tuple[str, Mapping[Any, Any]]] = [("", tree)]
    while branches:
        prefix, branch = branches.pop()
        if prefix.count(".") > _DEEPEST:
            raise ValueError(f"is nested more than {_DEEPEST} deep")
        for key, value in branch.items():
            if isinstance(value, dict):
                branches.append((f"{prefix}{key}.", value))
            else:
                found[text(f"{prefix}{key}", _LONGEST_NAME)] = _leaf(value)
            if len(found) + len(branches) > _MOST_KEYS:
                raise ValueError(f"has more than {_MOST_KEYS} keys")
    return dict(sorted(found.items()))


def _leaf(value: Any) -> Any:
    """A value of a config; of what no config holds, only that it is there."""
    nested = isinstance(value, list) and (
        len(value) > 100 or any(isinstance(item, (list, dict, tuple)) for item in value)
    )
    return "…" if nested else clean(value)
